"""What an adapter says of one record: only what is different about its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nemo_assets.harmony import Turn
from nemo_assets.records.evaluation import Results

Effort = str


class Draft(NamedTuple):
    """A record, understood.

    Either `turns` (to be rendered with `template`) or ready-made `text` (kept byte for byte). `results` are what the
    source measured on the problem; `expected_answer` to `capability_target` are the columns of these names, as far as
    this source has them; the rest is filled from the record and the catalog. `source_tags` are labels that the source
    gives, `tags` those of what was odd.
    """

    turns: tuple[Turn, ...] = ()
    text: str | None = None
    template: str | None = None
    effort: Effort = "medium"
    tools: tuple[dict[str, Any], ...] = ()
    tools_field: Any = None
    results: Results | None = None
    expected_answer: str | None = None
    problem_id: str | None = None
    reasoning: str | None = None
    capability_target: str | None = None
    source_tags: Sequence[str] = ()
    tags: Sequence[str] = ()
