"""What an adapter says of one record: only what is different about its source."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from nemo_assets.harmony import Turn

Effort = str


class Draft(NamedTuple):
    """A record, understood.

    Either `turns` (to be rendered with `template`) or ready-made `text` (kept byte for byte). `columns` holds canonical
    columns whose value the adapter knows; the rest is filled from the record and the catalog. `tags` are soft labels.
    """

    turns: tuple[Turn, ...] = ()
    text: str | None = None
    template: str | None = None
    effort: Effort = "medium"
    tools: tuple[dict[str, Any], ...] = ()
    tools_field: Any = None
    columns: Mapping[str, Any] = MappingProxyType({})
    tags: tuple[str, ...] = ()
