"""A sample of removals, side by side, for a person to judge whether they are duplicates.

Belongs here: the choice of the sample, the difference of two texts, the page. Does not: reading rows (`stages`).
"""

from __future__ import annotations

import difflib
import hashlib
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nemo_assets.dedup.compared import compared

SAMPLED = 50
"""Removals in a report: if none is wrong, fewer than 6 % of all are, with 95 % confidence (rule of three)."""

_WORDS_SHOWN = 4_000  # of each side: a longer text is cut, with a note
_SHOWN = 160  # characters of a difference in the summary
_CONTEXT = 12  # equal words around a difference; the others are folded away

_words = re.compile(r"\s*\S+").findall

_STYLE = """
:root { color-scheme: light dark; --added: #c9f0d0; --gone: #ffd0d0; --line: #d0d0d0; }
@media (prefers-color-scheme: dark) { :root { --added: #14532d; --gone: #6b1d1d; --line: #444; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 1rem auto; padding: 0 1rem; }
article { border-top: 2px solid var(--line); padding: .5rem 0 1.5rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace; }
ins { background: var(--added); text-decoration: none; } del { background: var(--gone); }
details { display: inline; } summary { display: inline; cursor: pointer; opacity: .6; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { border: 1px solid var(--line); padding: .15rem .5rem; text-align: left; }
nav { display: flex; flex-wrap: wrap; gap: .5rem; }
"""


@dataclass(frozen=True)
class Removal:
    """A removed row and the one it was removed for, with the text of both and what was measured."""

    id: str
    partition: str
    text: str
    survivor_id: str
    survivor_partition: str
    survivor_text: str
    similarity: float
    spoken_similarity: float
    containment: float
    shared_bands: int
    threshold: float


def sample_of(uids: Sequence[bytes], size: int = SAMPLED) -> NDArray[np.int64]:
    """Places of at most `size` of these rows, ascending: by a hash, so it does not depend on their order."""
    ranks = [hashlib.blake2b(uid, digest_size=8, key=b"precision").digest() for uid in uids]
    chosen = sorted(range(len(uids)), key=lambda place: (ranks[place], uids[place]))[:size]
    return np.array(sorted(chosen), np.int64)


def precision_report(scope: str, removals: Sequence[Removal], removed: int) -> str:
    """A page of HTML that needs nothing else: each removal with its figures and the words in which the two differ."""
    title = f"Near-duplicates of {html.escape(scope)}"
    links = "".join(f'<a href="#{number}">{number}</a>' for number in range(1, len(removals) + 1))
    articles = "".join(_article(number, removal) for number, removal in enumerate(removals, 1))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><h1>{title}</h1>"
        f"<p>{len(removals)} of {removed:,} rows that were removed because they resemble one that stays, chosen by a "
        f"hash. <del>Struck out</del>: only in the removed row. <ins>Marked</ins>: only in the one that stays.</p>"
        f"<nav>{links}</nav>{articles}</html>\n"
    )


def summary_of(removals: Sequence[Removal]) -> list[dict[str, str | float | int]]:
    """One line a removal: who, for whom, how similar, in how many words they differ, and the first of these."""
    lines: list[dict[str, str | float | int]] = []
    for removal in removals:
        differences = [
            ("".join(gone).strip(), "".join(added).strip())
            for spoken_or_heard in _sides(removal)
            for tag, gone, added in _opcodes(*spoken_or_heard)
            if tag != "equal"
        ]
        first = f"{differences[0][0]} → {differences[0][1]}" if differences else "case or white space"
        words = sum(max(len(_words(gone)), len(_words(added))) for gone, added in differences)
        lines.append({
            "removed": removal.id, "survivor": removal.survivor_id, "similarity": round(removal.similarity, 4),
            "words_that_differ": words, "first": first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…",
        })  # fmt: skip
    return lines


def _article(number: int, removal: Removal) -> str:
    figures = {
        "similarity": f"{removal.similarity:.4f} (threshold {removal.threshold:g})",
        "spoken": f"{removal.spoken_similarity:.4f}",
        "containment": f"{removal.containment:.4f}",
        "shared bands": str(removal.shared_bands),
        "removed": f"{removal.id} ({removal.partition})",
        "stays": f"{removal.survivor_id} ({removal.survivor_partition})",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in figures.items())
    spoken, heard = _sides(removal)
    return (
        f'<article id="{number}"><h2>{number}</h2><table>{rows}</table>'
        f"<h3>heard</h3><pre>{_difference(*heard)}</pre><h3>spoken</h3><pre>{_difference(*spoken)}</pre></article>"
    )


def _sides(removal: Removal) -> tuple[tuple[str, str], tuple[str, str]]:
    """What is spoken and what is heard, of the removed row and of the one that stays."""
    one, other = compared(removal.text.encode()), compared(removal.survivor_text.encode())
    return (one.spoken.decode(), other.spoken.decode()), (one.heard.decode(), other.heard.decode())


def _opcodes(removed: str, stays: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Stretches of words, each with the white space before it: equal, or different."""
    one, other = _words(removed)[:_WORDS_SHOWN], _words(stays)[:_WORDS_SHOWN]
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    for tag, begin, end, other_begin, other_end in matcher.get_opcodes():
        yield tag, one[begin:end], other[other_begin:other_end]


def _difference(removed: str, stays: str) -> str:
    marked = []
    for tag, gone, added in _opcodes(removed, stays):
        if tag == "equal":
            marked.append(_folded(gone))
        else:
            marked.append(f"<del>{html.escape(''.join(gone))}</del>" if gone else "")
            marked.append(f"<ins>{html.escape(''.join(added))}</ins>" if added else "")
    cut = max(len(_words(removed)), len(_words(stays))) > _WORDS_SHOWN
    return "".join(marked) + (f"\n[cut after {_WORDS_SHOWN:,} words]" if cut else "")


def _folded(words: Sequence[str]) -> str:
    """Equal words; those far from a difference fold away."""
    if len(words) <= 3 * _CONTEXT:
        return html.escape("".join(words))
    before, middle, after = words[:_CONTEXT], words[_CONTEXT:-_CONTEXT], words[-_CONTEXT:]
    folded = f"<details><summary> [{len(middle):,} equal words] </summary>{html.escape(''.join(middle))}</details>"
    return html.escape("".join(before)) + folded + html.escape("".join(after))
