"""The assets of the chain: each calls its stage and says what was made.

Belongs here: which asset depends on which, and one sentence on each that the UI shows. Does not: work on data.
"""

from pathlib import Path

import dagster as dg

from nemo_assets.catalog import Catalog, Split
from nemo_assets.hub.sources import open_source
from nemo_assets.orchestration import columns
from nemo_assets.orchestration.automation import OptIn, on_data_change
from nemo_assets.orchestration.chain import ChainAsset, chain_asset
from nemo_assets.orchestration.external import RECIPE, SOURCE, last_told, recipe, source_read, tell_what_was_read
from nemo_assets.orchestration.metadata import materialized
from nemo_assets.orchestration.partitions import Partitions, Per
from nemo_assets.orchestration.resources import SettingsResource
from nemo_assets.records.recipe import code_digest
from nemo_assets.records.schema import COLUMNS, LEDGER_COLUMNS
from nemo_assets.scoring.engine import SCORER_VERSION
from nemo_assets.stages import inventory as inventory_stage
from nemo_assets.stages import metadata_coverage as coverage_stage
from nemo_assets.stages.deduped import DEDUPED_CODE, dedupe
from nemo_assets.stages.duplicates import DUPLICATES_CODE, find_duplicates
from nemo_assets.stages.evaluation_sets import EVALUATION_SETS_CODE, read_evaluation_sets
from nemo_assets.stages.ledger import LEDGER_CODE, write_ledger
from nemo_assets.stages.lineage_index import INDEX_CODE, build_lineage_index
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.pools import POOLS_CODE, build_pools
from nemo_assets.stages.published import PUBLISHED_CODE, publish
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.results import RESULTS_CODE, publish_results
from nemo_assets.stages.scored import score
from nemo_assets.stages.signatures import SIGNATURES_CODE, sign
from nemo_assets.stages.subsets import SUBSETS_CODE, cut_subset


@chain_asset(
    deps=[SOURCE], group="sources", columns=columns.FILE_COLUMNS, kinds=["huggingface", "file"], pool="hf",
    automation=on_data_change(first_fill=False),
)  # fmt: skip
def raw(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """The files of the split as they are at the source, pinned to a revision, downloaded resumably, verified by sha256.

    Never filled by automation: the first download is started by hand.
    """
    here = settings.load()
    split = here.catalog.split(context.partition_key)
    source = open_source(split.repo, here.source_dir, here.endpoint, here.token)
    told = last_told(SOURCE, split.key, context.instance)
    made = fetch_split(split, source, here.store, here.sample_records, told.revision if told else None)
    tell_what_was_read(source_read(made), context)
    return materialized(made, here)


@chain_asset(
    deps=[RECIPE], group="sources", columns=columns.EVALUATION_COLUMNS, per="project", kinds=["huggingface", "parquet"],
    pool="hf", automation=on_data_change(first_fill=False, optional=[RECIPE]), code_version=EVALUATION_SETS_CODE,
)  # fmt: skip
def evaluation_sets(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """The texts that no row may hold, of the sets in `catalog/policies/evaluation_sets.yaml`.

    Never filled by automation: the first download is started by hand.
    """
    here = settings.load()
    return materialized(read_evaluation_sets(here), here)


@chain_asset(deps=["raw", RECIPE], group="rows", columns=COLUMNS)
def normalized(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """One canonical row per source record, or a rejection with its reason and evidence."""
    here = settings.load()
    split = here.catalog.split(context.partition_key)
    _tell_first_recipe(here.catalog, split, context)
    return materialized(normalize(split, here.store, here.workers), here)


@chain_asset(
    deps=["normalized", "evaluation_sets"], group="rows", columns=columns.SIGNATURE_COLUMNS,
    automation=on_data_change(optional=["evaluation_sets"]), code_version=SIGNATURES_CODE,
)  # fmt: skip
def signatures(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """What deduplication compares of each row, small enough that a whole scope fits in memory.

    Rows are searched for the texts of `evaluation_sets` as well, where the catalog declares any.
    """
    here = settings.load()
    split = here.catalog.split(context.partition_key)
    return materialized(sign(split, here.catalog, here.store, here.workers, here.cluster), here)


@chain_asset(
    deps=["signatures"], group="rows", columns=columns.REMOVED_COLUMNS, per="scope", code_version=DUPLICATES_CODE,
    automation=on_data_change(optional=["signatures"]),
)  # fmt: skip
def duplicates(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """Who duplicates whom among the splits of a scope that exist, and which row survives."""
    here = settings.load()
    made = find_duplicates(context.partition_key, here.catalog, here.store, here.workers, here.cluster)
    return materialized(made, here)


@chain_asset(
    deps=["duplicates", "normalized"], group="rows", columns=COLUMNS, code_version=DEDUPED_CODE,
    # A change in `normalized` arrives through signatures and duplicates; before that, decisions are about other rows.
    automation=on_data_change(untriggered_by=["normalized"]),
)  # fmt: skip
def deduped(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """The rows that stay, and each removed one with the row it duplicates and the measured similarity."""
    here = settings.load()
    return materialized(dedupe(here.catalog.split(context.partition_key), here.store, here.workers), here)


@chain_asset(deps=["deduped"], group="rows", columns=LEDGER_COLUMNS, code_version=LEDGER_CODE)
def ledger(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """One entry for every record there ever was: kept, rejected or removed, and why."""
    here = settings.load()
    return materialized(write_ledger(here.catalog.split(context.partition_key), here.store), here)


@chain_asset(
    deps=["deduped", RECIPE], origins="normalized", group="pools", columns=columns.MEMBERSHIP_COLUMNS,
    # Correctness is joined where the origin is here; a split whose origin nobody uses must not wait for it.
    automation=on_data_change(optional=["normalized"]), code_version=POOLS_CODE,
)  # fmt: skip
def pools(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """Which rows serve which purpose, by the predicates in `catalog/policies/pools.yaml`; the text is not copied."""
    here = settings.load()
    split = here.catalog.split(context.partition_key)
    _tell_first_recipe(here.catalog, split, context)
    return materialized(build_pools(split, here.catalog, here.store), here)


@chain_asset(
    deps=["ledger", "pools"], group="reports", columns=LEDGER_COLUMNS, kinds=["sqlite"], code_version=INDEX_CODE
)
def lineage_index(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """One lookup file a split, by which any record is found by its names, its words and what it resembles.

    The pages at /lineage and `nemo-assets explain`, `find` and `why` answer from it.
    """
    here = settings.load()
    split = here.catalog.split(context.partition_key)
    return materialized(build_lineage_index(split, here.catalog, here.store, here.workers), here)


@chain_asset(
    deps=["pools", "ledger"], group="pools", columns=columns.PUBLISHED_COLUMNS, kinds=["huggingface", "parquet"],
    pool="hf", opt_in="publish", code_version=PUBLISHED_CODE,
)  # fmt: skip
def published(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """One commit per split to the target repo: rows, pools with text, ledger, reports and card.

    What is there is verified before a tag makes it a release; with NEMO_APPROVAL=1 it waits for `nemo-assets approve`.
    Runs by itself only with NEMO_AUTO_PUBLISH=1.
    """
    here = settings.load()
    return materialized(publish(here.catalog.split(context.partition_key), here), here)


@chain_asset(
    deps=["published"], group="scores", columns=columns.SCORE_COLUMNS, kinds=["pytorch", "parquet"],
    pool="gpu", opt_in="score", code_version=SCORER_VERSION,
)  # fmt: skip
def scored(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """How surprised each checkpoint is by the completion of each row: NLL in nats per token, percentile in the split.

    Runs by itself only with NEMO_AUTO_SCORE=1.
    """
    here = settings.load()
    return materialized(score(here.catalog.split(context.partition_key), here), here)


@chain_asset(
    deps=["scored", RECIPE], group="scores", columns=columns.SUBSET_COLUMNS, per="subset",
    automation=on_data_change(first_fill=False, optional=["scored", RECIPE]), code_version=SUBSETS_CODE,
)  # fmt: skip
def subsets(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """Rows to train on, cut from the scores of every scored split by `catalog/policies/subsets.yaml`, each with the
    reason why; beside them a random control of the same strata and token budget.

    Cut by hand the first time, then whenever the scores of a split or the policy change.
    """
    here = settings.load()
    return materialized(cut_subset(context.partition_key, here), here)


@chain_asset(
    deps=["scored", "published", "subsets"], group="scores", columns=columns.SCORE_COLUMNS,
    kinds=["huggingface", "parquet"], pool="hf", automation=on_data_change(optional=["subsets"]), opt_in="publish",
    code_version=RESULTS_CODE,
)  # fmt: skip
def results(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """A second commit on top of the release: the scores, joinable by `id`, the training subsets with text, and what
    the card says of them.

    Runs by itself only with NEMO_AUTO_PUBLISH=1; it never triggers scoring.
    """
    here = settings.load()
    return materialized(publish_results(here.catalog.split(context.partition_key), here), here)


@chain_asset(
    deps=["normalized"], group="reports", columns=columns.INVENTORY_COLUMNS, per="project", kinds=["json"],
    automation=on_data_change(optional=["normalized"]), code_version=code_digest(Path(inventory_stage.__file__)),
)  # fmt: skip
def inventory(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """Columns, types, null rates, examples and defects of the records of every split that is normalized."""
    here = settings.load()
    return materialized(inventory_stage.take_inventory(here.catalog, here.store), here)


@chain_asset(
    deps=["normalized", "pools"], group="reports", columns=columns.COVERAGE_COLUMNS, per="project",
    kinds=["json", "markdown"], automation=on_data_change(optional=["normalized", "pools"]),
    code_version=code_digest(Path(coverage_stage.__file__)),
)  # fmt: skip
def metadata_coverage(context: dg.AssetExecutionContext, settings: SettingsResource) -> dg.MaterializeResult[None]:
    """What share of the rows of each split has correctness, reasoning, tools, licence and so on."""
    here = settings.load()
    return materialized(coverage_stage.measure_coverage(here.catalog, here.store), here)


def _tell_first_recipe(catalog: Catalog, split: Split, context: dg.AssetExecutionContext) -> None:
    """Only the first: a process of the UI that has not reloaded an edit would take every later one back, and so on."""
    known = recipe(catalog, split)
    if known.is_first(context.instance):
        tell_what_was_read(known, context)


CHAIN: tuple[ChainAsset, ...] = (
    raw, evaluation_sets, normalized, signatures, duplicates, deduped, ledger, pools, lineage_index, published, scored,
    subsets, results, inventory, metadata_coverage,
)  # fmt: skip

COVERS: dict[str, Per] = {SOURCE: "split", RECIPE: "split", **{asset.name: asset.per for asset in CHAIN}}


def chain_assets(partitions: Partitions, opt_in: OptIn, catalog: Catalog) -> list[dg.AssetsDefinition]:
    """All assets of the chain for these partitions. Rows are searched for evaluation sets only if there are any."""
    unused = () if catalog.evaluation_sets else (evaluation_sets.name,)
    return [asset.build(partitions, COVERS, opt_in, unused) for asset in CHAIN]
