"""The `tools` field of a record: its key in the tools catalog."""

from __future__ import annotations

import hashlib
from typing import Any

from nemo_assets.harmony import canonical_json


def catalog_entry(tools: Any) -> tuple[str, str] | None:
    """(source_tools_id, canonical JSON) of a non-empty tools list, None where there are no tools."""
    if not isinstance(tools, list) or not tools:
        return None
    text = canonical_json(tools)
    return hashlib.sha1(text.encode()).hexdigest(), text
