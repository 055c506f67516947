"""A sample of removals, side by side, for a person to judge whether they are duplicates.

Belongs here: the choice of the sample, the difference of two texts, the page. Does not: reading rows (`stages`).
"""

from __future__ import annotations

import difflib
import hashlib
import html
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nemo_assets.dedup.compared import compared

SAMPLED = 50
"""Removals in a report: if none is wrong, fewer than 6 % of all are, with 95 % confidence (rule of three)."""

WORDS_COMPARED = 6_000
"""Words of each side, from the first that differs to the last; beyond, the time to compare grows with the square."""

_SHOWN = 160  # characters of a difference in a line
_CONTEXT = 12  # equal words around a difference; the others are folded away
_FOLDED = 2_000  # words that are folded away; of more, those in the middle are left out of the page

# A run of letters and digits, with the backslash of a LaTeX command; any other character by itself, and so are those
# of Chinese, Japanese and Korean. Each with the white space before it. A longer run, such as Base64, is several words.
_words = re.compile(r"\s*(?:\\?[^\W\u2e80-\ua63f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]{1,99}|\S)").findall

_STYLE = """
:root { color-scheme: light dark; --added: #c9f0d0; --gone: #ffd0d0; --line: #d0d0d0; --quiet: #666; }
@media (prefers-color-scheme: dark) { :root { --added: #14532d; --gone: #7a1f1f; --line: #444; --quiet: #aaa; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 1rem auto; padding: 0 1rem; }
article { border-top: 2px solid var(--line); margin-top: 2rem; }
h2 a { font-size: 1rem; font-weight: normal; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
.quiet, summary { color: var(--quiet); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.6 ui-monospace, monospace; }
ins { background: var(--added); text-decoration: none; } del { background: var(--gone); }
.text del + ins { margin-left: .3em; }
summary { cursor: pointer; } details[open] { border-left: 3px solid var(--line); padding-left: .5rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { border: 1px solid var(--line); padding: .15rem .5rem; text-align: left; vertical-align: top; }
td:nth-child(4) { min-width: 8rem; overflow-wrap: anywhere; }
"""

# A page of other people's text: should any of it ever be taken for markup, it still loads and runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Stretch(NamedTuple):
    """Words of the removed row and of the one that stays. Both are given, equal or not, as white space may differ."""

    kind: str
    gone: Sequence[str]
    added: Sequence[str]


EQUAL, DIFFERENT, NOT_COMPARED = "equal", "different", "not compared"


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

    @cached_property
    def heard(self) -> tuple[Stretch, ...]:
        """How the two differ in what all but the assistant say."""
        one, other = compared(self.text.encode()), compared(self.survivor_text.encode())
        return tuple(stretches(one.heard.decode(), other.heard.decode()))

    @cached_property
    def spoken(self) -> tuple[Stretch, ...]:
        """How the two differ in what the assistant says."""
        one, other = compared(self.text.encode()), compared(self.survivor_text.encode())
        return tuple(stretches(one.spoken.decode(), other.spoken.decode()))


def sample_of(uids: Sequence[bytes], size: int = SAMPLED) -> NDArray[np.int64]:
    """Places of at most `size` of these rows, ascending: by a hash, so it does not depend on their order."""
    ranks = [hashlib.blake2b(uid, digest_size=8, key=b"precision").digest() for uid in uids]
    chosen = sorted(range(len(uids)), key=lambda place: (ranks[place], uids[place]))[:size]
    return np.array(sorted(chosen), np.int64)


def precision_report(scope: str, removals: Sequence[Removal], removed: int) -> str:
    """A page of HTML that needs nothing else: each removal with its figures and the words in which the two differ."""
    title = f"Near-duplicates of {html.escape(scope)}"
    ordered = _doubtful_first(removals)
    overview = _table([_overview_line(number, removal) for number, removal in enumerate(ordered, 1)])
    articles = "".join(_article(number, removal) for number, removal in enumerate(ordered, 1))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_STYLE}</style></head>'
        f'<body id="top"><h1>{title}</h1>{_introduction(len(removals), removed)}{overview}{articles}</body></html>\n'
    )


def summary_of(removals: Sequence[Removal]) -> list[dict[str, str | float | int]]:
    """One line a removal, the least similar first: who, for whom, how similar, in how many words they differ (of those
    compared), and the first of these.
    """
    return [
        {
            "removed": removal.id, "survivor": removal.survivor_id, "similarity": round(removal.similarity, 4),
            "words_that_differ": _words_that_differ(removal), "first": _first_difference(removal),
        }
        for removal in _doubtful_first(removals)
    ]  # fmt: skip


def stretches(removed: str, stays: str) -> Iterator[Stretch]:
    """The words of two texts in order, in stretches that are equal or differ. White space makes no difference."""
    one, other = _words(removed), _words(stays)
    bare, other_bare = [word.lstrip() for word in one], [word.lstrip() for word in other]
    before = _equal_at_start(bare, other_bare)
    after = _equal_at_start(bare[before:][::-1], other_bare[before:][::-1])
    end, other_end = len(one) - after, len(other) - after
    yield from _unless_empty(Stretch(EQUAL, one[:before], other[:before]))
    until, other_until = min(end, before + WORDS_COMPARED), min(other_end, before + WORDS_COMPARED)
    matcher = difflib.SequenceMatcher(None, bare[before:until], other_bare[before:other_until], autojunk=False)
    for tag, *places in matcher.get_opcodes():
        begin_gone, end_gone, begin_added, end_added = (before + place for place in places)
        kind = EQUAL if tag == "equal" else DIFFERENT
        yield Stretch(kind, one[begin_gone:end_gone], other[begin_added:end_added])
    yield from _unless_empty(Stretch(NOT_COMPARED, one[until:end], other[other_until:other_end]))
    yield from _unless_empty(Stretch(EQUAL, one[end:], other[other_end:]))


def _equal_at_start(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _unless_empty(stretch: Stretch) -> Iterator[Stretch]:
    if stretch.gone or stretch.added:
        yield stretch


def _doubtful_first(removals: Sequence[Removal]) -> list[Removal]:
    return sorted(removals, key=lambda removal: (removal.similarity, removal.partition, removal.id, removal.text))


def _differences(removal: Removal) -> list[Stretch]:
    return [stretch for stretch in (*removal.heard, *removal.spoken) if stretch.kind == DIFFERENT]


def _words_that_differ(removal: Removal) -> int:
    return sum(max(len(stretch.gone), len(stretch.added)) for stretch in _differences(removal))


def _first_difference(removal: Removal) -> str:
    """`what is gone → what stands there instead`, cut if it is long."""
    differences = _differences(removal)
    if not differences:
        return "white space" if all(s.kind == EQUAL for s in (*removal.heard, *removal.spoken)) else "not compared"
    gone, added = ("".join(words).strip() or "∅" for words in differences[0][1:])
    first = f"{gone} → {added}"
    return first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…"


def _introduction(sampled: int, removed: int) -> str:
    if not sampled:
        return "<p>No row was removed for its similarity to another one.</p>"
    return (
        f"<p>{sampled} of {removed:,} rows that were removed because they resemble one that stays, chosen by a hash; "
        "the least similar come first.</p><p><del>Struck out</del>: only in the removed row. <ins>Marked</ins>: only "
        'in the one that stays. Differences in white space are not shown.</p><p class="quiet">Similarity: Jaccard '
        "index of the shingles of all that is said, or of what the assistant says where that is lower; it decides. "
        "Containment: the share of the smaller set of shingles that the larger one holds.</p>"
    )


def _overview_line(number: int, removal: Removal) -> dict[str, str]:
    return {
        "": f'<a href="#{number}">{number}</a>',
        "similarity": f"{removal.similarity:.4f}",
        "words that differ": f"{_words_that_differ(removal):,}",
        "first difference": html.escape(_first_difference(removal)),
        "split": html.escape(removal.partition),
    }


def _table(lines: Sequence[dict[str, str]]) -> str:
    """Lines of cells that are HTML already."""
    if not lines:
        return ""
    names = "".join(f"<th>{name}</th>" for name in lines[0])
    cells = ("".join(f"<td>{cell}</td>" for cell in line.values()) for line in lines)
    return f"<table><tr>{names}</tr>{''.join(f'<tr>{line}</tr>' for line in cells)}</table>"


def _article(number: int, removal: Removal) -> str:
    rows = [
        {"": name, "split": html.escape(partition), "id": html.escape(row)}
        for name, partition, row in (
            ("removed", removal.partition, removal.id),
            ("stays", removal.survivor_partition, removal.survivor_id),
        )
    ]
    return (
        f'<article id="{number}"><h2>{number} <a href="#top" title="to the top">↑</a></h2>'
        f"<p>similarity <b>{removal.similarity:.4f}</b> (threshold {removal.threshold:g}), "
        f"of what the assistant says {removal.spoken_similarity:.4f}, containment {removal.containment:.4f}, "
        f"shared bands {removal.shared_bands}</p>{_table(rows)}"
        f'<h3>What others say</h3><div class="text">{_marked(removal.heard)}</div>'
        f'<h3>What the assistant says</h3><div class="text">{_marked(removal.spoken)}</div></article>'
    )


def _marked(text: Sequence[Stretch]) -> str:
    if not text:
        return '<span class="quiet">nothing</span>'
    return "".join(_marked_stretch(stretch) for stretch in text)


def _marked_stretch(stretch: Stretch) -> str:
    if stretch.kind == EQUAL:
        return _folded(stretch.gone)
    gone, added = "".join(stretch.gone), "".join(stretch.added)
    if stretch.kind == NOT_COMPARED:
        counts = f"{len(stretch.gone):,} words of the removed row and {len(stretch.added):,} of the one that stays"
        return f'\n<span class="quiet">[too long: {counts} are not compared here]</span>\n'
    text = gone or added
    space = text[: len(text) - len(text.lstrip())]
    marks = (f"<{tag}>{html.escape(side.lstrip())}</{tag}>" for tag, side in (("del", gone), ("ins", added)) if side)
    return space + "".join(marks)


def _folded(words: Sequence[str]) -> str:
    """Equal words; those far from a difference fold away."""
    if len(words) <= 3 * _CONTEXT:
        return html.escape("".join(words))
    before, middle, after = words[:_CONTEXT], words[_CONTEXT:-_CONTEXT], "".join(words[-_CONTEXT:])
    shown = middle if len(middle) <= _FOLDED else [*middle[: _FOLDED // 2], " […] ", *middle[-_FOLDED // 2 :]]
    folded = html.escape("".join(shown)).strip("\n")
    return (
        f"{html.escape(''.join(before))}<details><summary>⋯ {len(middle):,} equal words</summary>{folded}</details>"
        f"{html.escape(after.lstrip())}"
    )
