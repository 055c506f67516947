"""Evaluation records as n-grams of 5 tokens, and the tables by which rows are asked for them.

An n-gram without any letter is no evidence: `= 2 + 3 .` stands everywhere. Of the n-grams of a record only some are
looked up, with every number masked, since what is found as it is, is found masked too. A row that holds enough of all
must hold a few of these, which hardly any other row does.

Belongs here: everything that is made of the records before the first row is seen. Does not: rows (`contamination`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.catalog import EvaluationSet
from nemo_assets.compiled import compiled
from nemo_assets.dedup.compared import Texts, texts_of
from nemo_assets.dedup.shingles import SHINGLE_TOKENS, shingle
from nemo_assets.dedup.signing import copied, table_size
from nemo_assets.dedup.tokens import CLASSES, NUMBER, PADDING, SINGLE, U64, tokenize, tokens_of
from nemo_assets.errors import UserError

MINIMUM = 4
"""A text with fewer n-grams that are evidence is not searched for: it would be found where nobody copied it."""

_LOOKED_UP_OF_NEEDED = 16  # one of so many n-grams that a hit needs must be among those that are looked up
_FILTER_BITS = 16  # for each n-gram that is looked up: about one other n-gram in 60 passes by accident
_COARSE_WORDS = 1 << 16  # 512 KB, which stay in the cache of a core; what passes there is asked for in the finer filter

FINE = U64(30)  # lower bits of an n-gram, which the coarse filter has used

# Blocks of code points beyond ASCII that are a token each and no letters; letters and numerals in them do not count.
_SIGNS = (
    (0x80, 0xFF), (0x2000, 0x2BFF), (0x3000, 0x303F), (0xFE00, 0xFE6F), (0xFF01, 0xFF20), (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF65), (0xFFE0, 0xFFFD), (0x1F000, 0x1FAFF),
)  # fmt: skip


class Lookup(NamedTuple):
    """Arrays for compiled code.

    `coarse` and `fine` are filters and `slots` an open addressing table of the n-grams that are looked up, with masked
    numbers; the one in slot s has the number m = numbers[s] and is in the texts postings[starts[m]:starts[m + 1]].

    Text t of set number set_of[t] has the distinct n-grams exact[begins[t]:begins[t + 1]], in `masked` the same with
    masked numbers; needed[t] of them make a hit, and then few[t] at least are among those that are looked up.
    """

    coarse: NDArray[np.uint64]
    fine: NDArray[np.uint64]
    slots: NDArray[np.uint64]
    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]
    postings: NDArray[np.int64]
    exact: NDArray[np.uint64]
    masked: NDArray[np.uint64]
    begins: NDArray[np.int64]
    needed: NDArray[np.int64]
    few: NDArray[np.int64]
    set_of: NDArray[np.int64]


@dataclass(frozen=True)
class ContaminationIndex:
    """What rows are searched for.

    texts: set, id and column of each text that is searched for, by its number in `lookup`; names: the sets as they are
    numbered there; actions: what each set does to a row, by tier; not_searchable: texts with too few n-grams, by set.
    """

    lookup: Lookup
    texts: pa.Table
    names: tuple[str, ...]
    actions: Mapping[str, Mapping[str, str]]
    not_searchable: Mapping[str, int]


def index_of(table: pa.Table, declared: Mapping[str, EvaluationSet]) -> ContaminationIndex:
    """The index over the texts of evaluation sets: columns evaluation_set, evaluation_id, column, text.

    Raises:
        UserError: the table holds other sets than the catalog declares.
    """
    names = tuple(declared)
    sets = table["evaluation_set"].to_pylist()
    if set(sets) != set(names):
        raise UserError(
            f"evaluation_sets holds {', '.join(sorted(set(sets))) or 'no set'}, the catalog declares "
            f"{', '.join(sorted(names)) or 'none'}. Materialise evaluation_sets again."
        )
    exact, masked, ends = _ngrams(texts_of(table["text"]))
    counts = np.diff(ends, prepend=0)
    enough = counts >= MINIMUM
    kept = np.repeat(enough, counts)
    numbers = {name: number for number, name in enumerate(names)}
    set_of = np.array([numbers[name] for name in sets], np.int64)
    near = np.array([declared[name].near for name in names])
    needed = np.ceil(counts * near[set_of] - 1e-9).astype(np.int64) if names else counts  # 0.7 × 10 are 7, not 8
    return ContaminationIndex(
        _lookup(exact[kept], masked[kept], counts[enough], needed[enough], set_of[enough]),
        table.select(["evaluation_set", "evaluation_id", "column"]).filter(pa.array(enough)),
        names,
        {name: msgspec.structs.asdict(entry.actions) for name, entry in declared.items()},
        {name: int(np.count_nonzero(~enough[set_of == number])) for name, number in numbers.items()},
    )


def _ngrams(texts: Texts) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct n-grams of each text that are evidence, the same with numbers masked, and where each text ends."""
    whole = int(texts.offsets[-1] - texts.offsets[0])
    exact, masked = np.empty(whole, np.uint64), np.empty(whole, np.uint64)
    ends = np.zeros(len(texts.offsets) - 1, np.int64)
    kept = _collect_ngrams(texts, texts.longest, CLASSES, _signs(), exact, masked, ends)
    return exact[:kept].copy(), masked[:kept].copy(), ends


@lru_cache(maxsize=1)
def _signs() -> NDArray[np.uint64]:
    """Token hashes of all signs that are neither letter nor number, sorted."""
    ascii_signs = [chr(point) for point in range(0x21, 0x80) if not chr(point).isalnum()]
    others = [
        chr(point)
        for first, last in _SIGNS
        for point in range(first, last + 1)
        if point >= len(CLASSES) or CLASSES[point] == SINGLE
    ]
    return np.unique(tokens_of(" ".join(ascii_signs + others).encode()))


@compiled
def _collect_ngrams(texts: Any, longest: int, classes: Any, signs: Any, exact: Any, masked: Any, ends: Any) -> int:
    data, offsets = texts.data, texts.offsets
    text, tokens = np.empty(longest + PADDING, np.uint8), np.empty(longest + 1, np.uint64)
    blind, shingles, masked_shingles = np.empty_like(tokens), np.empty_like(tokens), np.empty_like(tokens)
    slots = np.empty(table_size(longest), np.uint64)
    kept = 0
    for number in range(len(ends)):
        size = copied(data, offsets[number], offsets[number + 1], text)
        count = tokenize(text, size, classes, tokens)
        mask_numbers(tokens, count, blind)
        found = shingle(tokens, count, shingles)
        shingle(blind, count, masked_shingles)
        known = slots[: table_size(found)]
        known[:] = U64(0)
        letter = -1  # place of the last token with a letter
        for place in range(count):
            token = tokens[place]
            if not token & NUMBER and not _is_among(token, signs):
                letter = place
            begin = place - SHINGLE_TOKENS + 1
            if 0 <= begin <= letter:
                slot = slot_of(known, shingles[begin])
                if known[slot] == U64(0):
                    known[slot] = shingles[begin] | U64(1)
                    exact[kept], masked[kept] = shingles[begin], masked_shingles[begin]
                    kept += 1
        ends[number] = kept
    return kept


@compiled
def _is_among(value: Any, ordered: Any) -> bool:
    place = np.searchsorted(ordered, value)
    return bool(place < len(ordered) and ordered[place] == value)


def _lookup(
    exact: NDArray[np.uint64],
    masked: NDArray[np.uint64],
    counts: NDArray[np.int64],
    needed: NDArray[np.int64],
    set_of: NDArray[np.int64],
) -> Lookup:
    begins = np.concatenate(([0], np.cumsum(counts)))
    text = np.repeat(np.arange(len(counts)), counts)
    _, places, texts_with = np.unique(masked, return_inverse=True, return_counts=True)
    rarest_first = np.lexsort((masked, texts_with[places], text))
    rank = np.arange(len(text)) - begins[text]
    # A hit lacks `counts - needed` n-grams at most, so that of `few` more it has `few`.
    few = 1 + needed // _LOOKED_UP_OF_NEEDED
    chosen = rarest_first[rank < (counts - needed + few)[text]]
    chosen = chosen[np.argsort(masked[chosen], kind="stable")]
    keys, starts = np.unique(masked[chosen], return_index=True)
    slots = np.zeros(table_size(len(keys)), np.uint64)
    numbers = np.zeros(len(slots), np.int64)
    numbers[_placed(keys, slots)] = np.arange(len(keys))
    return Lookup(
        *_filters(keys), slots, numbers, np.append(starts, len(chosen)), text[chosen], exact, masked, begins, needed,
        few, set_of,
    )  # fmt: skip


def _filters(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The coarse and the fine filter. For each key two bits of one word are set; `may_hold` asks for them."""
    words = 1 << max(0, math.ceil(math.log2(max(1, len(keys) * _FILTER_BITS / 64))))
    filters = (np.zeros(min(words, _COARSE_WORDS), np.uint64), np.zeros(words, np.uint64))
    for bits, values in zip(filters, (keys, keys >> FINE), strict=True):
        both = U64(1) << (values & U64(63)) | U64(1) << ((values >> U64(6)) & U64(63))
        np.bitwise_or.at(bits, ((values >> U64(12)) & U64(len(bits) - 1)).astype(np.int64), both)
    return filters


@compiled
def may_hold(bits: Any, value: Any) -> Any:
    """1 for every key of the filter and a few other values, else 0. The fine filter has keys shifted by FINE."""
    word = bits[(value >> U64(12)) & U64(len(bits) - 1)]
    return (word >> (value & U64(63))) & (word >> ((value >> U64(6)) & U64(63))) & U64(1)


@compiled
def mask_numbers(tokens: Any, count: int, masked: Any) -> None:
    """Write the tokens with the same one in place of every number."""
    for place in range(count):
        token = tokens[place]
        masked[place] = NUMBER if token & NUMBER else token


@compiled
def slot_of(slots: Any, value: Any) -> Any:
    """Where a value stands in an open addressing table, its lowest bit set; else the empty slot, 0, for it."""
    value, places = value | U64(1), U64(len(slots) - 1)
    slot = (value >> U64(29)) & places
    while slots[slot] != U64(0) and slots[slot] != value:
        slot = (slot + U64(1)) & places
    return slot


@compiled
def _placed(keys: Any, slots: Any) -> Any:
    """Fill a table with keys and return the slot of each."""
    taken = np.empty(len(keys), np.int64)
    for place in range(len(keys)):
        slot = slot_of(slots, keys[place])
        slots[slot] = keys[place] | U64(1)
        taken[place] = np.int64(slot)
    return taken
