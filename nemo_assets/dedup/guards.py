"""When so much was removed, or in such a way, that a person should look before going on.

Belongs here: what is too much, as findings. Does not: who is told (`orchestration.checks`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nemo_assets.dedup.candidates import CANDIDATES_OF_ROW


@dataclass(frozen=True)
class Finding:
    """Something above its ceiling: a sentence that says so, and what the person who reads it can do."""

    where: str
    measured: float
    ceiling: float
    sentence: str
    advice: str


@dataclass(frozen=True)
class Removals:
    """Rows of one split, and how many of them were removed as duplicates."""

    partition: str
    rows: int
    removed: int


def removal_shares(splits: Sequence[Removals]) -> dict[str, float]:
    """The share of the rows of each source that was removed, over its splits."""
    rows, removed = dict[str, int](), dict[str, int]()
    for split in splits:
        source = split.partition.partition("/")[0]
        rows[source] = rows.get(source, 0) + split.rows
        removed[source] = removed.get(source, 0) + split.removed
    return {source: removed[source] / rows[source] if rows[source] else 0.0 for source in rows}


def high_removals(splits: Sequence[Removals], ceiling: float, ceilings: Mapping[str, float]) -> Iterator[Finding]:
    """Sources of which a larger share was removed than `ceilings` say, or `ceiling` for those not named."""
    for source, share in removal_shares(splits).items():
        allowed = ceilings.get(source, ceiling)
        if share > allowed:
            sentence = f"{source}: {share:.1%} of the rows were removed as duplicates, more than {allowed:.1%}."
            advice = (
                "See by which rules, and read the precision report; "
                "if these are duplicates, raise removal_ceilings in policies/duplicates.yaml."
            )
            yield Finding(source, share, allowed, sentence, advice)


def large_groups(survivor: str | None, stands_for: int, ceiling: int) -> Iterator[Finding]:
    """The survivor that stands for most rows, as `id (split)`, if these are more than `ceiling`."""
    if survivor is not None and stands_for > ceiling:
        sentence = f"{survivor} stands for {stands_for:,} removed rows, more than {ceiling:,}."
        advice = (
            f"See some of them with `nemo-assets explain {survivor.partition(' ')[0]}`; "
            "if these are duplicates, raise survivor_ceiling in policies/duplicates.yaml."
        )
        yield Finding(survivor, stands_for, ceiling, sentence, advice)


def full_buckets(scope: str, overflowing: int, cap: int) -> Iterator[Finding]:
    """Buckets that had more rows to compare than the cap: duplicates among their later rows may have been missed."""
    if overflowing:
        sentence = (
            f"{scope}: {overflowing:,} buckets have more than {cap:,} rows that stay, and later rows were compared "
            "with the best of them only."
        )
        advice = "Raise bucket_cap in policies/duplicates.yaml to compare with more."
        yield Finding(scope, overflowing, 0, sentence, advice)


def unsure_rows(scope: str, unsure: int) -> Iterator[Finding]:
    """Rows that stay although they have more candidates than were compared exactly."""
    if unsure:
        sentence = (
            f"{scope}: {unsure:,} rows stay that look similar to more than {CANDIDATES_OF_ROW} others, of which only "
            "the most similar were compared exactly."
        )
        advice = "Look at some of them: rows made from one template whose wording was varied look like this."
        yield Finding(scope, unsure, 0, sentence, advice)
