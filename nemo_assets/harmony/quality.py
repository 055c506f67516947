"""The verdict on ready-made text in the three words that a row needs: drop it or not, why, and what is odd.

Belongs here: that short form. Does not: any rule (`validation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nemo_assets.harmony.parse import ParsedMessage
from nemo_assets.harmony.validation import validate_messages


class TextCheck(NamedTuple):
    """The verdict on one text: the drop code or None, what was measured, and tags for what is kept though odd."""

    fatal: str | None
    evidence: dict[str, Any]
    tags: tuple[str, ...]


def check_text(messages: Sequence[ParsedMessage]) -> TextCheck:
    """Judge ready-made text by its parsed messages, as `validate_messages` does; a null text has none."""
    verdict = validate_messages(messages)
    return TextCheck(verdict.fatal, verdict.evidence, verdict.tags)
