"""Soft measures of a row's text and the labels that follow from them. Nothing here drops a row."""

from __future__ import annotations

TOO_LONG = 400_000  # code points of text, about 100,000 tokens: beyond the context of the models trained here
TOO_SHORT = 32  # code points of the final answer
REPETITIVE = 0.5  # share of repeated windows; loops of a stuck teacher lie far above, long proofs below 0.3


def length_tags(char_len: int, final: str | None) -> list[str]:
    """too_long and too_short, as far as they hold; `final` is the last final answer, None without one."""
    tags = []
    if char_len > TOO_LONG:
        tags.append("too_long")
    if final is not None and _is_short(final):
        tags.append("too_short")
    return tags


def _is_short(final: str) -> bool:
    # Without blanks at either end, which is the rule, there is nothing to strip and hence nothing to copy.
    stripped = final.strip() if final[:1].isspace() or final[-1:].isspace() else final
    return len(stripped) < TOO_SHORT
