"""What one drop or removal code did: each rule's threshold, what was measured, rows just above and below, a sample.

Belongs here: the page as a value, gathered from all splits. Does not: how it is shown, one record (`passport`).
"""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from nemo_assets.catalog import Catalog
from nemo_assets.dedup.rules import CODE_NEAR, RULE_SIMILAR
from nemo_assets.errors import UserError
from nemo_assets.lineage.entries import Entry, ScannedLedger
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.lineage.near_misses import near_misses
from nemo_assets.stages.lineage_records import with_reasons
from nemo_assets.storage import Stage, Store

BINS = 20  # of a histogram

Key = tuple[str, str | None, float | None]
"""Code, rule and threshold."""


class Judged(NamedTuple):
    """A record and what was measured of it; `other` is the row it was held against, where there is one."""

    entry: Entry
    value: float | None
    other: Entry | None = None


class Bin(NamedTuple):
    """How many `records` have a value in [low, high); the last bin holds its high end too."""

    low: float
    high: float
    records: int


@dataclass(frozen=True)
class RuleEffect:
    """What one rule with one threshold did. `value` of a record is what was held against the threshold.

    above: the records with the least value that reaches the threshold; below: those that just fall short of it, where
    anything remembers them; sample: drawn at random. Without a threshold `above` and `below` are empty.
    """

    rule: str | None
    threshold: float | None
    count: int
    histogram: tuple[Bin, ...]
    above: tuple[Judged, ...]
    below: tuple[Judged, ...]
    sample: tuple[Judged, ...]


@dataclass(frozen=True)
class WhyPage:
    """What a code did in these splits; `records` are all that they have, `notes` say what could not be looked at."""

    code: str
    partitions: tuple[str, ...]
    records: int
    count: int
    rules: tuple[RuleEffect, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values that the standard `json` writes."""
        told = dataclasses.asdict(self)
        for rule, plain in zip(self.rules, told["rules"], strict=True):
            plain["histogram"] = [each._asdict() for each in rule.histogram]
            for name in ("above", "below", "sample"):
                plain[name] = [_plain(each) for each in getattr(rule, name)]
        return told


def _plain(judged: Judged) -> dict[str, Any]:
    return {
        "entry": dataclasses.asdict(judged.entry),
        "value": judged.value,
        "other": dataclasses.asdict(judged.other) if judged.other else None,
    }


class Judgements(Protocol):
    """What was decided in one split under one code, rule and threshold at a time, ordered by value."""

    def keys(self, code: str) -> list[Key]: ...

    def values(self, key: Key) -> Counter[float | None]: ...

    def above(self, key: Key, most: int) -> list[Judged]: ...

    def below(self, key: Key, most: int) -> list[Judged]: ...

    def nth(self, key: Key, number: int) -> Judged: ...


def why(code: str, catalog: Catalog, store: Store, partition: str | None = None, n: int = 20, seed: int = 0) -> WhyPage:
    """What `code` did, in one split or all: `n` rows on each side of each threshold, and `n` drawn at random.

    Raises UserError for a code that no record has, naming those there are, and for a split without a ledger.
    """
    keys = list(catalog.splits) if partition is None else [catalog.split(partition).key]
    manifests = {key: manifest for key in keys if (manifest := store.find(Stage.LEDGER, key)) is not None}
    if not manifests:
        where = f"{partition}: ledger" if partition else "The ledger"
        raise UserError(f"{where} does not exist yet. Materialise ledger first.")
    known = {
        found for each in manifests.values() for state in ("rejected", "removed") for found in each.counters[state]
    }
    if code not in known:
        raise UserError(f"{code}: no record has this code. There are {', '.join(sorted(known)) or 'none'}.")
    judged = {key: _judgements(key, code, store) for key in manifests}
    rules = sorted({rule for each in judged.values() for rule in each.keys(code)}, key=str)
    effects = [_effect(rule, list(judged.values()), n, seed) for rule in rules]
    notes: list[str] = []
    if code == CODE_NEAR:
        effects, notes = _with_near_misses(effects, list(manifests), catalog, store, n)
    records = sum(manifest.counters["records"] for manifest in manifests.values())
    count = sum(effect.count for effect in effects)
    return WhyPage(code, tuple(manifests), records, count, tuple(effects), tuple(notes))


def _judgements(key: str, code: str, store: Store) -> Judgements:
    index = LineageIndex.open(store, key)
    if index is not None:
        return _Indexed(index)
    ledger = ScannedLedger.find(key, store)
    assert ledger is not None  # its manifest was found
    return _Scanned.of(ledger, code)


def _effect(key: Key, judged: Sequence[Judgements], n: int, seed: int) -> RuleEffect:
    counted = [each.values(key) for each in judged]
    sizes = [sum(each.values()) for each in counted]
    above, below = ([each for side in judged for each in getattr(side, name)(key, n)] for name in ("above", "below"))
    return RuleEffect(
        key[1],
        key[2],
        sum(sizes),
        tuple(histogram(sum(counted, Counter()))),
        tuple(heapq.nsmallest(n, above, key=_value)),
        tuple(heapq.nlargest(n, below, key=_value)),
        tuple(_sample(key, judged, sizes, n, seed)),
    )


def _value(judged: Judged) -> float:
    return judged.value or 0.0


def histogram(values: Counter[float | None]) -> Iterator[Bin]:
    """Bins of equal width over all values; one for a single value, none without."""
    known = {value: count for value, count in values.items() if value is not None}
    if len(known) < 2:
        yield from (Bin(value, value, count) for value, count in known.items())
        return
    counts, edges = np.histogram(list(known), BINS, weights=list(known.values()))
    for count, low, high in zip(counts.tolist(), edges.tolist(), edges[1:].tolist(), strict=False):
        yield Bin(low, high, int(count))


def _sample(key: Key, judged: Sequence[Judgements], sizes: Sequence[int], n: int, seed: int) -> Iterator[Judged]:
    for number in sorted(random.Random(seed).sample(range(sum(sizes)), min(n, sum(sizes)))):
        rest = number
        for each, size in zip(judged, sizes, strict=True):
            if rest < size:
                yield each.nth(key, rest)
                break
            rest -= size


@dataclass(frozen=True)
class _Indexed:
    """Judgements of a split that has an index."""

    index: LineageIndex

    def keys(self, code: str) -> list[Key]:
        return [reason for reason in self.index.dictionaries.reasons if reason[0] == code]

    def values(self, key: Key) -> Counter[float | None]:
        number = self._number(key)
        return Counter(dict(self.index.ask("values", number))) if number is not None else Counter()

    def above(self, key: Key, most: int) -> list[Judged]:
        return self._beside("above", key, most)

    def below(self, key: Key, most: int) -> list[Judged]:
        return self._beside("below", key, most)

    def nth(self, key: Key, number: int) -> Judged:
        return self._judged(self.index.ask("nth", self._number(key), number))[0]

    def _beside(self, side: str, key: Key, most: int) -> list[Judged]:
        number, threshold = self._number(key), key[2]
        if number is None or threshold is None:
            return []
        return self._judged(self.index.ask(side, number, threshold, most))

    def _judged(self, rows: Iterable[tuple[int, float | None]]) -> list[Judged]:
        return [Judged(self.index.entries([number])[0], value) for number, value in rows]

    def _number(self, key: Key) -> int | None:
        reasons = self.index.dictionaries.reasons
        return reasons.index(key) if key in reasons else None


@dataclass(frozen=True)
class _Scanned:
    """Judgements of a split without an index: `rows` has `reason`, `value` and the place of each, in order."""

    ledger: ScannedLedger
    reasons: list[Key]
    rows: pl.DataFrame

    @classmethod
    def of(cls, ledger: ScannedLedger, code: str) -> _Scanned:
        entries = ledger.frame.with_row_index("record").filter(pl.col("code") == code).collect()
        coded, reasons = with_reasons(entries)
        return cls(ledger, reasons, coded.sort("value", "record"))

    def keys(self, code: str) -> list[Key]:
        return [reason for reason in self.reasons if reason[0] == code]

    def values(self, key: Key) -> Counter[float | None]:
        return Counter(self._of(key)["value"].to_list())

    def above(self, key: Key, most: int) -> list[Judged]:
        reach = self._of(key).filter(pl.col("value") >= key[2]) if key[2] is not None else self.rows.clear()
        return self._judged(reach.head(most))

    def below(self, key: Key, most: int) -> list[Judged]:
        short = self._of(key).filter(pl.col("value") < key[2]) if key[2] is not None else self.rows.clear()
        return self._judged(short.sort("value", "record", descending=[True, False]).head(most))

    def nth(self, key: Key, number: int) -> Judged:
        return self._judged(self._of(key).slice(number, 1))[0]

    def _of(self, key: Key) -> pl.DataFrame:
        reason = self.reasons.index(key) if key in self.reasons else -1
        return self.rows.filter(pl.col("reason") == reason)

    def _judged(self, rows: pl.DataFrame) -> list[Judged]:
        found = (
            (self.ledger.at(file, row), value)
            for file, row, value in rows.select("source_file", "source_row", "value").iter_rows()
        )
        return [Judged(entry, value) for entry, value in found if entry is not None]


def _with_near_misses(
    effects: list[RuleEffect], partitions: Sequence[str], catalog: Catalog, store: Store, n: int
) -> tuple[list[RuleEffect], list[str]]:
    """The rules with the pairs that fell short of the threshold for being similar, and what was not looked at."""
    measured, notes = near_misses(partitions, catalog, store)
    found = [
        dataclasses.replace(
            effect, below=tuple(Judged(*each) for each in measured if each[1] < (effect.threshold or 0.0))[:n]
        )
        if effect.rule == RULE_SIMILAR
        else effect
        for effect in effects
    ]
    return found, notes
