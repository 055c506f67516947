"""Sources that are already Harmony text: one column `text`, kept byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemo_assets.catalog import Split
from nemo_assets.errors import Rejected
from nemo_assets.records.draft import Draft


def adapt(record: Mapping[str, Any], split: Split) -> Draft:
    """Nothing but the text is known; correctness is joined later from the split it was rendered from."""
    text = record.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Rejected("no_messages", reason="no_text", type=type(text).__name__)
    return Draft(text=text)
