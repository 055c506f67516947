"""Which Dagster run made what a passport tells of.

Belongs here: from a decision to the manifest of the version that holds it. Does not: addresses (`web`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from nemo_assets.catalog import Split
from nemo_assets.lineage.decisions import Decision
from nemo_assets.lineage.version_inputs import made_of
from nemo_assets.storage import Manifest, Stage, Store


def with_runs(decisions: Iterable[Decision], split: Split, store: Store) -> tuple[Decision, ...]:
    """The decisions about a record of the split, each with the run that made its stage; None where none is known."""
    runs = {stage: manifest.run_id for stage, manifest in _made(split, store).items() if manifest}
    return tuple(
        dataclasses.replace(decision, run_id=decision.run_id or runs.get(Stage(decision.stage)))
        for decision in decisions
    )


def _made(split: Split, store: Store) -> dict[Stage, Manifest | None]:
    """The manifest of every stage: what the ledger was made from up to it, what is current after it."""
    ledger = store.current(Stage.LEDGER, split.key)
    deduped = made_of(Stage.DEDUPED, ledger.inputs[Stage.DEDUPED], split, store)
    normalized = made_of(Stage.NORMALIZED, ledger.inputs[Stage.NORMALIZED], split, store)
    decided = deduped.inputs.get(Stage.DUPLICATES) if deduped else None
    duplicates = made_of(Stage.DUPLICATES, decided, split, store) if decided else None
    others = (Stage.RAW, Stage.POOLS, Stage.PUBLISHED, Stage.SCORED)
    later = {stage: store.find(stage, split.key) for stage in others}
    return {Stage.NORMALIZED: normalized, Stage.DUPLICATES: duplicates, **later}
