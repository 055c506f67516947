"""Soft measures of a row's text and the labels that follow from them. Nothing here drops a row."""

from __future__ import annotations

from collections.abc import Sequence

TOO_LONG = 400_000  # code points of text, about 100,000 tokens: beyond the context of the models trained here
TOO_SHORT = 32  # code points of the final answer
REPETITIVE = 0.5  # share of repeated windows; loops of a stuck teacher lie far above, long proofs below 0.3
WINDOW = 8  # words


def repeat_ratio(bodies: Sequence[str]) -> float:
    """Share of the 8-word windows that stood earlier in the same bodies, in [0, 1); 0 for fewer than 8 words."""
    words = " ".join(bodies).split()
    windows = len(words) - WINDOW + 1
    if windows < 2:
        return 0.0
    distinct = len(set(zip(*(words[shift:] for shift in range(WINDOW)), strict=False)))
    return 1 - distinct / windows


def length_tags(char_len: int, final: str | None, ratio: float) -> list[str]:
    """too_long, too_short, repetitive, as far as they hold; `final` is the last final answer, None without one."""
    tags = []
    if char_len > TOO_LONG:
        tags.append("too_long")
    if final is not None and len(final.strip()) < TOO_SHORT:
        tags.append("too_short")
    if ratio > REPETITIVE:
        tags.append("repetitive")
    return tags
