"""Evaluation records found in rows, whole, in part, or with other numbers.

A record is looked for in what is spoken and heard in a row, by the share of its n-grams of 5 tokens that occur there.

Belongs here: the search, and its result as a table. Does not: how records become n-grams, and which of them are looked
up (`evaluation_ngrams`), what becomes of a row (`stages`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.compared import Texts, separate
from nemo_assets.dedup.evaluation_ngrams import FINE, ContaminationIndex, index_of, mask_numbers, may_hold, slot_of
from nemo_assets.dedup.shingles import shingle
from nemo_assets.dedup.signing import buffers, copied, in_threads, longest_of, table_size
from nemo_assets.dedup.tokens import CLASSES, PADDING, U64, tokenize

__all__ = ["CONTAMINATION_SCHEMA", "TIERS", "ContaminationIndex", "find_contamination", "index_of"]

TIERS = ("verbatim", "near", "template_sibling")
"""How much of a record is found: all its n-grams; the set's share of them; that share, but with other numbers."""

CONTAMINATION_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("evaluation_set", pa.string(), nullable=False),
        pa.field("evaluation_id", pa.string(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),  # of n-grams found; those with numbers masked for siblings
        pa.field("action", pa.string(), nullable=False),
        pa.field("further", pa.int64(), nullable=False),  # other texts of the same set that are found in the row
    ]
)
"""One line a row and evaluation set with a hit, sorted by row and set; the record is the one found best."""


def find_contamination(texts: Texts, index: ContaminationIndex, threads: int = 1) -> pa.Table:
    """What of the evaluation sets is found in rows of Harmony text; `row` counts them from 0.

    Best is the higher tier, then the larger share, then the text that was read first. What is found does not depend on
    `threads`.
    """
    shape = (len(texts.offsets) - 1, len(index.names))
    found = Found(np.full(shape, -1, np.int32), np.zeros(shape, np.uint8), np.zeros(shape), np.zeros(shape, np.int32))
    if index.texts.num_rows:
        in_threads(lambda first, last: _search(texts, first, last, CLASSES, index.lookup, found), texts, threads)
    row, number = np.nonzero(found.best >= 0)
    best = index.texts.take(pa.array(found.best[row, number]))
    tiers = [TIERS[tier] for tier in found.tier[row, number]]
    actions = [index.actions[name][tier] for name, tier in zip(best["evaluation_set"].to_pylist(), tiers, strict=True)]
    columns = (
        row, *best.columns, pa.array(tiers, pa.string()), found.share[row, number], pa.array(actions, pa.string()),
        found.hits[row, number].astype(np.int64) - 1,
    )  # fmt: skip
    return pa.table(list(columns), schema=CONTAMINATION_SCHEMA)


class Found(NamedTuple):
    """Of rows × sets: the number of the text found best, -1 for none, its tier and share, and how many are found."""

    best: NDArray[np.int32]
    tier: NDArray[np.uint8]
    share: NDArray[np.float64]
    hits: NDArray[np.int32]


@compiled
def _search(texts: Any, first: int, last: int, classes: Any, lookup: Any, found: Any) -> None:
    data, offsets = texts.data, texts.offsets
    text, spoken, heard, calls, tokens, ngrams = buffers(longest_of(offsets, first, last))
    masked, places = np.empty_like(tokens), np.empty(len(tokens), np.int64)
    room = np.empty(table_size(len(tokens)), np.uint64)
    asked = np.full(len(lookup.starts), -1, np.int32)  # by n-gram, the last row that has it
    tallied = np.full(len(lookup.needed), -1, np.int32)  # by text, the last row that has an n-gram of it
    tally, likely = np.empty(len(lookup.needed), np.int32), np.empty(len(lookup.needed), np.int64)
    for row in range(first, last):
        size = copied(data, offsets[row], offsets[row + 1], text)
        said, prompt, rest, _ = separate(text, size, spoken, heard, calls)
        middle = tokenize(spoken, said, classes, tokens)
        count = middle + tokenize(heard, prompt, classes, tokens[middle:])
        count += tokenize(heard[prompt + PADDING :], rest, classes, tokens[count:])
        mask_numbers(tokens, count, masked)
        size = _ngrams_of_both(masked, middle, count, ngrams)
        listed = _looked_up(ngrams, size, lookup, row - first, places, asked, tallied, tally, likely)
        if listed:
            _verify(tokens, middle, count, ngrams, size, lookup, room, likely[:listed], row, found)


@compiled
def _ngrams_of_both(tokens: Any, middle: int, count: int, ngrams: Any) -> int:
    """N-grams of what is spoken, tokens[:middle], and of what is heard; none of them is in both."""
    size = shingle(tokens, middle, ngrams)
    return size + shingle(tokens[middle:], count - middle, ngrams[size:])


@compiled
def _looked_up(
    ngrams: Any, size: int, lookup: Any, row: int, places: Any, asked: Any, tallied: Any, tally: Any, likely: Any
) -> int:
    """Write the numbers of the texts that the row has enough looked up n-grams of, masked; return how many."""
    passed, listed = 0, 0
    coarse, fine, slots = lookup.coarse, lookup.fine, lookup.slots
    for place in range(size):
        places[passed] = place
        passed += int(may_hold(coarse, ngrams[place]))
    rest, passed = passed, 0
    for place in range(rest):
        places[passed] = places[place]
        passed += int(may_hold(fine, ngrams[places[place]] >> FINE))
    for place in range(passed):
        slot = slot_of(slots, ngrams[places[place]])
        number = lookup.numbers[slot]
        if slots[slot] == U64(0) or asked[number] == row:
            continue
        asked[number] = row
        for text in lookup.postings[lookup.starts[number] : lookup.starts[number + 1]]:
            if tallied[text] != row:
                tallied[text], tally[text] = row, 0
            tally[text] += 1
            if tally[text] == lookup.few[text]:
                likely[listed] = text
                listed += 1
    return listed


@compiled
def _verify(
    tokens: Any, middle: int, count: int, ngrams: Any, size: int, lookup: Any, room: Any, likely: Any, row: int,
    found: Any,
) -> None:  # fmt: skip
    """Count the n-grams of each likely text in the row: masked first, as few texts have enough even of those."""
    slots = _filled(ngrams, size, room)
    kept = 0
    for text in likely:
        least, end = lookup.needed[text], lookup.begins[text + 1]
        if _held(slots, lookup.masked[lookup.begins[text] : end], least) >= least:
            likely[kept] = text
            kept += 1
    if kept == 0:
        return
    shares = np.empty(kept)
    for place in range(kept):
        begin, end = lookup.begins[likely[place]], lookup.begins[likely[place] + 1]
        shares[place] = _held(slots, lookup.masked[begin:end], 0) / (end - begin)
    slots = _filled(ngrams, _ngrams_of_both(tokens, middle, count, ngrams), room)
    for place in range(kept):
        text = likely[place]
        begin, end = lookup.begins[text], lookup.begins[text + 1]
        held = _held(slots, lookup.exact[begin:end], 0)
        is_whole, is_sibling = held == end - begin, shares[place] == 1.0  # equal once masked: only numbers differ
        tier = 0 if is_whole else 1 if held >= lookup.needed[text] and not is_sibling else 2
        _keep_best(found, row, lookup.set_of[text], text, tier, shares[place] if tier == 2 else held / (end - begin))


@compiled
def _filled(ngrams: Any, size: int, room: Any) -> Any:
    """A table of n-grams."""
    slots = room[: table_size(size)]
    slots[:] = U64(0)
    for place in range(size):
        slots[slot_of(slots, ngrams[place])] = ngrams[place] | U64(1)
    return slots


@compiled
def _held(slots: Any, ngrams: Any, least: int) -> int:
    """How many of the n-grams stand in the table; any number below `least` once they cannot be as many."""
    held = 0
    for place in range(len(ngrams)):
        if held + len(ngrams) - place < least:
            return held
        held += int(slots[slot_of(slots, ngrams[place])] != U64(0))
    return held


@compiled
def _keep_best(found: Any, row: int, number: int, text: int, tier: int, share: float) -> None:
    found.hits[row, number] += 1
    best, best_tier, best_share = found.best[row, number], found.tier[row, number], found.share[row, number]
    if best >= 0:
        if tier > best_tier or (tier == best_tier and share < best_share):
            return
        if tier == best_tier and share == best_share and text > best:
            return
    found.best[row, number], found.tier[row, number], found.share[row, number] = text, tier, share
