"""Run the chain from a shell: skip what is current, materialise the rest in order, sum up.

Belongs here: the order of stages over several splits, and the summary of what is there. Does not: how a stage is
materialised (`orchestration.launch`), how the summary looks (`terminal`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from nemo_assets.catalog import Split
from nemo_assets.settings import Settings
from nemo_assets.stages.duplicate_findings import findings_of
from nemo_assets.stages.plan import AFTER_DUPLICATES, BEFORE_DUPLICATES, first_outdated, standing
from nemo_assets.stages.withdrawals import withdrawal_warnings
from nemo_assets.storage import Stage

Materialize = Callable[[Sequence[tuple[str, str | None]]], None]


class Step(NamedTuple):
    """What happened to one partition: the stages made anew, and those that were current."""

    partition: str
    made: tuple[Stage, ...]
    current: tuple[Stage, ...]


def run_chain(
    splits: Sequence[Split], settings: Settings, wanted: Sequence[Stage], materialize: Materialize
) -> Iterator[Step]:
    """Bring the wanted stages of `splits` up to date, scopes and joins included; yields after each partition.

    Every split passes a stage group before the next group begins, because duplicates are found across splits and
    rendered splits take their correctness from others.
    """
    if Stage.SIGNATURES in wanted and settings.catalog.evaluation_sets:
        yield _read_evaluation_sets(settings, materialize)
    yield from _run_group(splits, [s for s in BEFORE_DUPLICATES if s in wanted], settings, materialize)
    if Stage.DUPLICATES in wanted:
        for scope in sorted({split.scope for split in splits}):
            yield _run_whole(Stage.DUPLICATES, scope, settings, materialize)
    yield from _run_group(splits, [s for s in AFTER_DUPLICATES if s in wanted], settings, materialize)
    if Stage.SUBSETS in wanted:
        for name in settings.catalog.subset_policy.subsets:
            yield _run_whole(Stage.SUBSETS, name, settings, materialize)
    yield from _run_group(splits, [s for s in (Stage.RESULTS,) if s in wanted], settings, materialize)


def _run_whole(stage: Stage, partition: str, settings: Settings, materialize: Materialize) -> Step:
    """A partition that is made from several splits."""
    made = standing(stage, partition, settings).currency != "current"
    if made:
        materialize([(stage.value, partition)])
    return Step(partition, (stage,) * made, (stage,) * (not made))


def _read_evaluation_sets(settings: Settings, materialize: Materialize) -> Step:
    """The stage itself finds out whether its files are still the same."""
    stage, partition = Stage.EVALUATION_SETS, "all"
    before = settings.store.find(stage, partition)
    materialize([(stage.value, None)])
    made = settings.store.find(stage, partition) != before
    return Step(stage.value, (stage,) * made, (stage,) * (not made))


def _run_group(
    splits: Sequence[Split], stages: Sequence[Stage], settings: Settings, materialize: Materialize
) -> Iterator[Step]:
    if not stages:
        return
    for split in splits:
        todo = first_outdated(split, tuple(stages), settings)
        if todo:
            materialize([(stage.value, split.key) for stage in todo])
        yield Step(split.key, todo, tuple(stage for stage in stages if stage not in todo))


class SplitSummary(NamedTuple):
    """One line of the summary; None where a stage was never made."""

    partition: str
    records: int | None
    kept: int | None
    rejected: dict[str, int]
    removed: dict[str, int]
    pools: int | None
    commit: str | None
    scored: int | None
    nll_mean: float | None


def summarize(splits: Sequence[Split], settings: Settings) -> list[SplitSummary]:
    """What is there now, split by split."""
    return [_summary(split, settings) for split in splits]


def warnings(splits: Sequence[Split], settings: Settings) -> list[str]:
    """What the checks of `duplicates` of these splits and those of withdrawals would fail for, a line each."""
    catalog, store = settings.catalog, settings.store
    found = (store.find(Stage.DUPLICATES, scope) for scope in sorted({split.scope for split in splits}))
    removals = [
        f"{finding.sentence} {finding.advice}"
        for duplicates in found
        if duplicates is not None
        for finding in findings_of(duplicates, catalog.duplicate_policy)
    ]
    return [*removals, *withdrawal_warnings(catalog, store)]


def _summary(split: Split, settings: Settings) -> SplitSummary:
    store = settings.store
    found = {
        stage: store.find(stage, split.key) for stage in (Stage.LEDGER, Stage.POOLS, Stage.PUBLISHED, Stage.SCORED)
    }
    ledger, pools, published, scored = found.values()
    fates = ledger.counters if ledger else {}
    checkpoints = list(scored.counters["checkpoints"].values()) if scored else []
    return SplitSummary(
        split.key,
        fates.get("records"),
        fates.get("kept"),
        fates.get("rejected", {}),
        fates.get("removed", {}),
        sum(1 for rows in pools.counters["pools"].values() if rows) if pools else None,
        published.details["commit"] if published else None,
        checkpoints[0]["status"].get("ok", 0) if checkpoints else None,
        checkpoints[0]["nll_mean"] if checkpoints else None,
    )
