"""What is current, what is stale, what is missing: the same comparison every stage makes before it works."""

from __future__ import annotations

from typing import Literal, NamedTuple

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import open_source
from nemo_assets.settings import Settings
from nemo_assets.stages.contamination import current_evaluation_sets
from nemo_assets.stages.deduped import dedupe_basis
from nemo_assets.stages.duplicates import duplicates_basis, signed_splits
from nemo_assets.stages.ledger import ledger_basis
from nemo_assets.stages.lineage_index import index_basis
from nemo_assets.stages.normalized import normalize_basis
from nemo_assets.stages.pools import correctness_origin, pools_basis
from nemo_assets.stages.published import is_at_destination, publish_basis, release_inputs
from nemo_assets.stages.raw import raw_basis
from nemo_assets.stages.results import results_basis
from nemo_assets.stages.scored import score_basis, scored_checkpoints
from nemo_assets.stages.signatures import sign_basis
from nemo_assets.stages.split_files import split_files
from nemo_assets.stages.subset_files import current_subsets
from nemo_assets.stages.subsets import subset_basis
from nemo_assets.storage import Basis, Manifest, Stage

BEFORE_DUPLICATES = (Stage.RAW, Stage.NORMALIZED, Stage.SIGNATURES)
AFTER_DUPLICATES = (
    Stage.DEDUPED, Stage.LEDGER, Stage.POOLS, Stage.LINEAGE_INDEX, Stage.PUBLISHED, Stage.SCORED,
)  # fmt: skip
CHAIN = (*BEFORE_DUPLICATES, Stage.DUPLICATES, *AFTER_DUPLICATES, Stage.SUBSETS, Stage.RESULTS)

Currency = Literal["current", "stale", "missing"]


class Standing(NamedTuple):
    """How a partition of a stage stands, and its manifest if it has one."""

    currency: Currency
    manifest: Manifest | None


def standing(stage: Stage, partition: str, settings: Settings) -> Standing:
    """Compare the current manifest with what it would be made from now.

    Of `raw` this asks the source for its files, of `published` and `results` the destination whether it has them still.
    """
    manifest = settings.store.find(stage, partition)
    if manifest is None:
        return Standing("missing", None)
    basis = _basis(stage, partition, settings)
    current = basis is not None and settings.store.find_current(stage, partition, basis) is not None
    if current and stage in (Stage.PUBLISHED, Stage.RESULTS):
        current = is_at_destination(manifest, settings)
    return Standing("current" if current else "stale", manifest)


def first_outdated(split: Split, stages: tuple[Stage, ...], settings: Settings) -> tuple[Stage, ...]:
    """The stages of a split from the first one that is not current onwards; nothing if all are current."""
    for place, stage in enumerate(stages):
        if standing(stage, split.key, settings).currency != "current":
            return stages[place:]
    return ()


def _basis(stage: Stage, partition: str, settings: Settings) -> Basis | None:
    """What the partition would be made from now; None where something it needs is missing or out of step."""
    store, catalog = settings.store, settings.catalog
    if stage is Stage.DUPLICATES:
        signed = signed_splits(partition, catalog, store)
        return duplicates_basis(partition, catalog, signed) if signed else None
    if stage is Stage.SUBSETS:
        return subset_basis(partition, settings)
    split = catalog.split(partition)
    if stage is Stage.RAW:
        source = open_source(split.repo, settings.source_dir, settings.endpoint, settings.token)
        return raw_basis(split_files(split, source), settings.sample_records)
    try:
        return _split_basis(stage, split, settings)
    except UserError:
        # A stage that could not run now, because an input is missing or older than another, is not current.
        return None


def _split_basis(stage: Stage, split: Split, settings: Settings) -> Basis | None:
    store, catalog = settings.store, settings.catalog
    match stage:
        case Stage.NORMALIZED:
            return normalize_basis(split, store.current(Stage.RAW, split.key))
        case Stage.SIGNATURES:
            evaluation_sets = current_evaluation_sets(catalog, store)
            return sign_basis(store.current(Stage.NORMALIZED, split.key), catalog, evaluation_sets)
        case Stage.DEDUPED:
            normalized = store.current(Stage.NORMALIZED, split.key)
            decision = store.current(Stage.DUPLICATES, split.scope).details["splits"].get(split.key)
            in_step = decision is not None and decision["normalized"] == normalized.data_version
            return dedupe_basis(normalized, decision["decisions"]) if in_step else None
        case Stage.LEDGER:
            return ledger_basis(store.current(Stage.DEDUPED, split.key))
        case Stage.POOLS:
            origin = correctness_origin(split, catalog, store)
            return pools_basis(catalog, store.current(Stage.DEDUPED, split.key), origin)
        case Stage.LINEAGE_INDEX:
            return index_basis(store.current(Stage.LEDGER, split.key), store.find(Stage.POOLS, split.key))
        case Stage.PUBLISHED:
            return publish_basis(split, settings, release_inputs(split, store))
        case Stage.SCORED:
            return score_basis(settings, store.current(Stage.DEDUPED, split.key), scored_checkpoints(settings))
        case Stage.RESULTS:
            published, scored = (store.current(each, split.key) for each in (Stage.PUBLISHED, Stage.SCORED))
            return results_basis(split, published, scored, current_subsets(split, scored, settings))
        case _:
            raise ValueError(f"{stage} is not made split by split")
