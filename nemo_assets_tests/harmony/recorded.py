"""Recorded cases that lie beside these tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def cases(name: str) -> list[dict[str, Any]]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in (DATA / name).read_bytes().splitlines()]
