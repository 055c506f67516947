"""How alike planted rows are, measured in plain Python, and how well a tool did by that measure.

Belongs here: the exact Jaccard of every planted pair in each sense of similar, recall, rows removed without reason.
Does not: what is planted (`dedup_corpus`), who removes (`dedup_peers`, `dedup_speed`).

There are three senses, because tools do not compare the same thing:

words     whole texts as plain words
tokens    whole texts as maths-safe tokens
compared  what should count, as maths-safe tokens: shingles of what the assistant says, its calls with the name of the
          tool, and of all that is said after the opening (no system, no developer message); the lesser Jaccard of the
          two, and 0 where a pair of the domains `EXACT_NUMBERS` differs in a number, for then it is another problem
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from nemo_assets_tests.dedup.reference import Shingles, jaccard, numbers, shingles, tokens, words

Sense = Literal["words", "tokens", "compared"]
SENSES: tuple[Sense, ...] = ("words", "tokens", "compared")

ROWS_FILE, PLANTED_FILE, TRUTH_FILE = "rows.parquet", "planted.parquet", "truth.parquet"
OPENING = {"system", "developer"}
EXACT_NUMBERS = {"math", "proof"}
FOUND_FROM, REMOVED_FROM = 0.85, 0.8  # least Jaccard of pairs that recall counts; of a reason to remove a row
FLOODS = {"flood", "shared request"}
OF_A_FAMILY = 5  # pairs measured in each family: enough to show what it is like

_message = re.compile(r"<\|start\|>([\w.]+)(.*?)<\|message\|>(.*?)<\|(?:end|call|return)\|>", re.DOTALL)
_tool = re.compile(r" to=(?:functions\.)?([\w.]+)")


class Text:
    """One row, with each set of shingles made when it is first asked for."""

    def __init__(self, text: str, domain: str) -> None:
        self.text, self.domain = text, domain

    @cached_property
    def words(self) -> Shingles:
        return shingles(words(self.text))

    @cached_property
    def tokens(self) -> Shingles:
        return shingles(tokens(self.text))

    @cached_property
    def spoken(self) -> Shingles:
        return shingles(tokens(self._parts[0]))

    @cached_property
    def said(self) -> Shingles:
        return self.spoken | shingles(tokens(self._parts[1]))

    @cached_property
    def numbers(self) -> list[Counter[bytes]]:
        return [Counter(numbers(part)) for part in self._parts]

    @cached_property
    def _parts(self) -> tuple[str, str]:
        """What the assistant says and what others say, without the opening."""
        spoken, heard = [], []
        for role, header, body in _message.findall(self.text):
            if role == "assistant":
                spoken += [*_tool.findall(header), body]
            elif role not in OPENING:
                heard.append(body)
        return "\n".join(spoken), "\n".join(heard)


def similarity(one: Text, other: Text, sense: Sense) -> float:
    """How alike two rows are in that sense."""
    if one.text == other.text:
        return 1.0
    if sense != "compared":
        return jaccard(getattr(one, sense), getattr(other, sense))
    if {one.domain, other.domain} & EXACT_NUMBERS and one.numbers != other.numbers:
        return 0.0
    return min(jaccard(one.said, other.said), jaccard(one.spoken, other.spoken))


def measure_truth(place: Path) -> None:
    """Write every pair within a group and its similarity in each sense; of each family, `OF_A_FAMILY` pairs."""
    rows = pl.read_parquet(place / ROWS_FILE, columns=["id", "text", "domain"])
    stored = dict(rows.rows_by_key("id", unique=True))
    pairs: list[dict[str, Any]] = []
    for ids, related in _related(pl.read_parquet(place / PLANTED_FILE)):
        texts = {each: Text(*stored[each]) for each in ids}
        pairs += [
            {"one": one, "other": other, "kind": kind, "numbers": texts[one].numbers == texts[other].numbers}
            | {sense: similarity(texts[one], texts[other], sense) for sense in SENSES}
            for one, other, kind in related
        ]
    pl.DataFrame(pairs).write_parquet(place / TRUTH_FILE)


Related = tuple[list[str], list[tuple[str, str, str]]]


def _related(planted: pl.DataFrame) -> Iterator[Related]:
    """Ids of rows with a common origin, and their pairs with how the one came from the other, or `related`."""
    for _, group in planted.filter(pl.len().over("group") > 1).group_by("group", maintain_order=True):
        made = {(row["id"], row["base"]): row["kind"] for row in group.iter_rows(named=True)}
        ids = sorted(group["id"])
        pairs = itertools.combinations(ids, 2)
        yield ids, [(one, other, made.get((one, other)) or made.get((other, one)) or "related") for one, other in pairs]
    families = planted.filter(pl.col("family").is_not_null() & pl.col("base").is_null())
    for _, family in families.group_by("family", maintain_order=True):
        first, *others = ids = family["id"].to_list()[: OF_A_FAMILY + 1]
        yield ids, [(first, other, family["kind"][0]) for other in others]


@dataclass(frozen=True)
class Score:
    """How a run did. `wrong` rows were removed though no row that stayed is similar enough to them.

    `floods` is the share of the rows with a shared prompt or request that stayed.
    """

    sense: Sense
    rows: int
    kept: int
    pairs: int
    found: int
    wrong: int
    floods: float

    @property
    def recall(self) -> float:
        """Share of the pairs at least `FOUND_FROM` alike of which not both stayed."""
        return self.found / self.pairs if self.pairs else 1.0


def sample_ids(place: Path, rows: int) -> list[str]:
    """Ids of about as many rows of the corpus, whole groups so that pairs stay together, in the order of the file."""
    planted = pl.read_parquet(place / PLANTED_FILE).sort("group", "id")
    return sorted(planted["id"].head(rows))


def score(place: Path, kept: Collection[str], sense: Sense, among: Collection[str] | None = None) -> Score:
    """Judge what a run kept of the corpus in `place`, or of the rows `among` it, by the truth in that sense."""
    planted = pl.read_parquet(place / PLANTED_FILE)
    if among is not None:
        planted = planted.filter(pl.col("id").is_in(set(among)))
    present, stayed = set(planted["id"]), set(kept)
    if unknown := stayed - present:
        raise ValueError(f"{len(unknown)} rows were kept that are not in the corpus, {min(unknown)} for one")
    truth = pl.read_parquet(place / TRUTH_FILE).filter(pl.col("one").is_in(present) & pl.col("other").is_in(present))
    alike = truth.filter(pl.col(sense) >= FOUND_FROM, ~pl.col("kind").is_in(FLOODS)).select("one", "other").rows()
    floods = planted.filter(pl.col("kind").is_in(FLOODS))["id"].to_list()
    reasons = truth.filter(pl.col(sense) >= REMOVED_FROM).select("one", "other").rows()
    explained = {one for one, other in reasons if other in stayed} | {other for one, other in reasons if one in stayed}
    left = present - stayed - explained
    return Score(
        sense,
        len(present),
        len(stayed),
        len(alike),
        sum(not (one in stayed and other in stayed) for one, other in alike),
        len(left) - len(_explained_by_family(place, left, stayed, planted, sense)),
        sum(each in stayed for each in floods) / max(1, len(floods)),
    )


def _explained_by_family(
    place: Path, removed: Collection[str], stayed: Collection[str], planted: pl.DataFrame, sense: Sense
) -> set[str]:
    """Removed rows that are similar to a row of their family that stayed; of these, not every pair is in the truth."""
    families = defaultdict(list)
    for each, family in planted.drop_nulls("family").select("id", "family").iter_rows():
        families[family].append(each)
    doubtful = [members for members in families.values() if not set(members).isdisjoint(removed)]
    needed = pl.col("id").is_in({each for members in doubtful for each in members})
    stored = pl.scan_parquet(place / ROWS_FILE).select("id", "text", "domain").filter(needed).collect()
    texts = {each: (text, domain) for each, text, domain in stored.iter_rows()}
    explained: set[str] = set()
    for members in doubtful:
        partners = [Text(*texts[each]) for each in members if each in stayed]
        for each in set(members).intersection(removed):
            suspect = Text(*texts[each])
            if any(similarity(suspect, partner, sense) >= REMOVED_FROM for partner in partners):
                explained.add(each)
    return explained
