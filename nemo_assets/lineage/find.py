"""Find records by anything a user pastes: a reference, a digest, a piece of a text, a text like theirs.

Belongs here: the order in which these are tried, the answer with what was searched. Does not: how each is looked up
(`references`, `index`, `text_search`, `similar`), how the answer is shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nemo_assets.catalog import Catalog
from nemo_assets.errors import UserError
from nemo_assets.harmony import START, content_sha1, parse_harmony, sha1_text_id, turns_of_parsed
from nemo_assets.lineage.entries import Entry, is_hex
from nemo_assets.lineage.index import LineageIndex, why_unusable
from nemo_assets.lineage.references import AmbiguousReferenceError, find_entry
from nemo_assets.lineage.similar import candidates, likeness
from nemo_assets.lineage.text_search import (
    SHORT_WINDOW,
    WINDOW,
    Span,
    Window,
    Words,
    common_spans,
    rare_windows,
    votes,
    with_all_between,
)
from nemo_assets.storage import Stage, Store

LONGEST = 100_000  # characters of a paste that are searched for
LONGEST_REFERENCE = 500  # characters

_MOST_READ = 50  # texts, to see what they have in common with the paste
_CANDIDATES = 10  # by sketch, to be compared exactly
_SIMILAR_FROM = 0.2  # Jaccard index
_MOST_SPANS = 20  # of a hit
_LONGEST_TEXT = 2_000_000  # characters of a row that are looked through
_AROUND = 80  # characters of a snippet on either side of a span

Place = tuple[LineageIndex, int]


@dataclass(frozen=True)
class Hit:
    """A record and by what it was found: a kind of reference, `equal text`, `equal content`, `verbatim` or `similar`.

    spans: what it has in common with the paste, longest first; jaccard, containment: how like the paste its row is.
    """

    entry: Entry
    matched_by: str
    snippet: str | None = None
    spans: tuple[Span, ...] = ()
    jaccard: float | None = None
    containment: float | None = None


@dataclass(frozen=True)
class Searched:
    """What a search looked at; `missing`: the splits that have a ledger but no current index, with the reason.

    built: when the oldest of the indexes was made, ISO 8601.
    """

    splits: tuple[str, ...]
    records: int
    texts: int
    built: str | None
    missing: dict[str, str]

    def sentence(self) -> str:
        """What was searched and what not, for a reader."""
        unused = ", ".join(f"{key} ({why})" for key, why in self.missing.items())
        if not self.splits:
            told = f" Not usable: {unused}." if unused else ""
            return f"No text was searched: no split has a current index.{told} Materialise lineage_index first."
        whole = f"Searched {self.texts:,} texts of {self.records:,} records (kept, removed and rejected)"
        told = f"{whole} of {len(self.splits)} splits, indexed {self.built} or later."
        if unused:
            told += f" Not searched, without a current index: {unused}."
        return told


@dataclass(frozen=True)
class Finding:
    """The answer to a search, best hits first. `notes`: what was cut, and why a reference named nothing."""

    paste: str
    hits: tuple[Hit, ...]
    searched: Searched
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values that the standard `json` writes."""
        return dataclasses.asdict(self) | {"searched_sentence": self.searched.sentence()}


def find(text: str, catalog: Catalog, store: Store, limit: int = 10) -> Finding:
    """At most `limit` records that a reference names, or that have a pasted text, pieces of it, or one like it.

    Raises UserError where there is nothing to look for.
    """
    whole = text.encode(errors="replace").decode()  # no text that is searched has a lone surrogate
    paste = whole.strip()
    if not paste:
        raise UserError("There is nothing to look for. Give a reference or paste a piece of a text.")
    indexes = [index for key in catalog.splits if (index := LineageIndex.open(store, key)) is not None]
    searched, notes = _searched(indexes, catalog, store), []
    if len(paste) <= LONGEST_REFERENCE and "\n" not in paste:
        named, note = _named(paste, catalog, store)
        if named:
            return Finding(paste, tuple(named[:limit]), searched, ())
        if " " not in paste:
            notes.append(note)
    if len(paste) > LONGEST:
        notes.append(f"Of {len(paste):,} characters the first {LONGEST:,} were looked for.")
    search = _Search(paste[:LONGEST], (whole, paste), indexes, limit, notes)
    return Finding(search.paste, tuple(search.hits()), searched, tuple(notes))


def _searched(indexes: Sequence[LineageIndex], catalog: Catalog, store: Store) -> Searched:
    found = [index.partition for index in indexes]
    without = (key for key in catalog.splits if key not in found and store.find(Stage.LEDGER, key) is not None)
    missing = {key: why for key in without if (why := why_unusable(store, key)) is not None}
    texts = sum(index.manifest.counters["texts"] for index in indexes)
    built = min((index.manifest.details["built"] for index in indexes), default=None)
    return Searched(tuple(found), sum(index.records for index in indexes), texts, built, missing)


def _named(reference: str, catalog: Catalog, store: Store) -> tuple[list[Hit], str]:
    """The record a reference names and those it fits too, or why it names none."""
    try:
        found = find_entry(reference, catalog, store)
    except AmbiguousReferenceError as error:
        return [Hit(entry, "one of several it names") for entry in error.candidates], ""
    except UserError as error:
        return [], str(error)
    return [Hit(found.entry, found.matched_by), *(Hit(entry, "fits it too") for entry in found.also)], ""


@dataclass(frozen=True)
class _Search:
    """One search for a text. `whole` is the paste before it was cut, as it came and without white space around it.

    notes: takes what there is to say about the search.
    """

    paste: str
    whole: tuple[str, str]
    indexes: Sequence[LineageIndex]
    limit: int
    notes: list[str]

    def hits(self) -> list[Hit]:
        """Equal ones first, then those with common words, then similar ones; no record twice."""
        hits: dict[str, Hit] = {}
        for found in (self._equal, self._verbatim, self._similar):
            for hit in found(set(hits)):
                hits.setdefault(hit.entry.record_uid, hit)
            if len(hits) >= self.limit:
                break
        return list(hits.values())[: self.limit]

    def _equal(self, _known: set[str]) -> Iterator[Hit]:
        """Rows whose digest this is, or that have the digests of this text."""
        if len(self.paste) == 40 and is_hex(self.paste):
            texts, contents = {self.paste}, {self.paste}
        else:
            texts = {sha1_text_id(text) for text in self.whole}
            contents = {content for text in self.whole if (content := _content_of(text)) is not None}
        for index in self.indexes:
            yield from (Hit(entry, "equal text") for sha1 in texts for entry in index.by_text_sha1(sha1, self.limit))
            found = (entry for sha1 in contents for entry in index.by_content(sha1, self.limit))
            yield from (Hit(entry, "equal content") for entry in found)

    def _verbatim(self, known: set[str]) -> list[Hit]:
        """Records that have most of the paste in common with it, in stretches of eight words or, without such, four."""
        paste = Words.of(self.paste)
        for size in (WINDOW, SHORT_WINDOW):
            windows = rare_windows(paste, self.indexes, size)
            hits = self._with_windows(paste, windows, with_all_between(paste, windows, size), known)
            if hits:
                break
        return sorted(hits, key=lambda hit: (-_covered(hit.spans), not hit.spans[0].is_exact))

    def _with_windows(
        self, paste: Words, windows: Sequence[Window], seeds: Sequence[Window], known: set[str]
    ) -> list[Hit]:
        """Records that hold some of the windows, with all that they have in common with the paste around the seeds."""
        found = votes(paste, windows, self.indexes)
        if found.left_out:
            size = windows[0].end - windows[0].begin
            self.notes.append(
                f"{found.left_out} of {len(windows)} stretches of {size} words were not looked up: their words are "
                "common, and other stretches were found."
            )
        voted = [(-weight, place, number) for (place, number), weight in found.weights.items()]
        waiting = [(self.indexes[place], number) for _, place, number in sorted(voted)[:_MOST_READ]]
        hits: list[Hit] = []
        while waiting and len(hits) < self.limit:
            some, waiting = waiting[: self.limit], waiting[self.limit :]
            for index, number, text in _with_texts(some):
                spans = common_spans(paste, seeds, text[:_LONGEST_TEXT])[:_MOST_SPANS]
                entry = index.entries([number])[0]
                if spans and entry.record_uid not in known:
                    hits.append(Hit(entry, "verbatim", _snippet(text, spans[0]), tuple(spans)))
        return hits

    def _similar(self, known: set[str]) -> list[Hit]:
        """Rows that deduplication would find most like the paste."""
        alike = [
            (-shared, place, number)
            for place, index in enumerate(self.indexes)
            for shared, number in candidates(self.paste, index, _CANDIDATES)
        ]
        places = [(self.indexes[place], number) for _, place, number in sorted(alike)[:_CANDIDATES]]
        read = [(index.entries([number])[0], text) for index, number, text in _with_texts(places)]
        new = [(entry, text) for entry, text in read if entry.record_uid not in known]
        measured = zip(new, likeness(self.paste, [text for _, text in new]), strict=True)
        hits = [
            Hit(entry, "similar", text[: 2 * _AROUND], (), found.jaccard, found.containment)
            for (entry, text), found in measured
            if found.jaccard >= _SIMILAR_FROM
        ]
        return sorted(hits, key=lambda hit: -(hit.jaccard or 0))


def _content_of(text: str) -> str | None:
    """The digest of what a Harmony text says; None where the text is none."""
    if START not in text:
        return None
    return content_sha1(turns_of_parsed(parse_harmony(text)))


def _with_texts(places: Iterable[Place]) -> Iterator[tuple[LineageIndex, int, str]]:
    """Each of these places with its text, those of one split together; without those that have none."""
    of_index: dict[str, tuple[LineageIndex, list[int]]] = {}
    for index, number in places:
        of_index.setdefault(index.partition, (index, []))[1].append(number)
    for index, numbers in of_index.values():
        for number, text in zip(numbers, index.texts(numbers), strict=True):
            if text is not None:
                yield index, number, text


def _covered(spans: Sequence[Span]) -> int:
    """Characters of the paste that some span holds."""
    covered, reached = 0, 0
    for span in sorted(spans, key=lambda span: span.begin):
        covered += max(0, span.end - max(reached, span.begin))
        reached = max(reached, span.end)
    return covered


def _snippet(text: str, span: Span) -> str:
    """The beginning of the span with what stands around it."""
    begin = max(0, span.row_begin - _AROUND)
    end = min(len(text), span.row_end + _AROUND, span.row_begin + 3 * _AROUND)
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
