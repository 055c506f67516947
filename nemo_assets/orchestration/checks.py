"""Asset checks: facts about what is current, measured again and shown in the UI.

Belongs here: checks that read what is on disk, at the source or at the destination. Does not: gates; what must hold
raises inside the stage, before anything is made current, because a check only blocks within its own run.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from nemo_assets.dedup.guards import Finding, removal_shares
from nemo_assets.dedup.signatures import SIGNATURE_SCHEMA
from nemo_assets.errors import UserError
from nemo_assets.lineage.completeness import find_gaps
from nemo_assets.orchestration.external import SOURCE
from nemo_assets.orchestration.partitions import Partitions, Per
from nemo_assets.orchestration.resources import SettingsResource
from nemo_assets.orchestration.updates import look
from nemo_assets.records.schema import LEDGER_SCHEMA
from nemo_assets.stages.duplicate_findings import (
    candidate_findings,
    removal_findings,
    removals_of,
    survivor_findings,
)
from nemo_assets.stages.duplicates import REMOVED_SCHEMA, RENAMED_SCHEMA
from nemo_assets.stages.pools import correctness_origin
from nemo_assets.stages.published import missing_at_destination
from nemo_assets.stages.withdrawals import withdrawal_warnings
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets.storage.layout import PRECISION
from nemo_assets.storage.parquet import scan

SCORED_SHARE = 0.95  # below it, more rows than the odd overlong one were refused

Body = Callable[..., dg.AssetCheckResult]


@dataclass(frozen=True)
class ChainCheck:
    """A check in the making: everything but the catalog, which decides its partitions."""

    body: Body
    asset: str
    per: Per

    def build(self, partitions: Partitions) -> dg.AssetChecksDefinition:
        return dg.asset_check(
            asset=str(self.asset), name=self.body.__name__, partitions_def=partitions.definition(self.per)
        )(self.body)


def chain_check(asset: str, per: Per = "split") -> Callable[[Body], ChainCheck]:
    """Declare a check of an asset; its name and description are those of the function."""
    return lambda body: ChainCheck(body, asset, per)


@chain_check(SOURCE, per="project")
def splits_match_the_source(context: dg.AssetCheckExecutionContext, settings: SettingsResource) -> dg.AssetCheckResult:
    """Every split of the catalog is there upstream, and no other. Looked at again by whatever looks for updates."""
    return look(settings.load(), context.instance).check


@chain_check(Stage.LEDGER)
def records_are_conserved(context: dg.AssetCheckExecutionContext, settings: SettingsResource) -> dg.AssetCheckResult:
    """Every record read is kept, rejected or removed, exactly once: read = kept + rejected + removed."""
    store, key = settings.load().store, context.partition_key
    normalized, ledger = store.current(Stage.NORMALIZED, key), store.current(Stage.LEDGER, key)
    entries = scan(store.paths(ledger), LEDGER_SCHEMA).select("record_uid", "state").collect()
    states = dict(entries.group_by("state").len().sort("state").iter_rows())
    counts = {
        "records_read": normalized.counters["records"],
        "ledger_entries": entries.height,
        "distinct_records": entries["record_uid"].n_unique(),
        "counted": _counted(ledger),
    }
    return dg.AssetCheckResult(passed=len(set(counts.values())) == 1, metadata={**counts, **states})


def _counted(ledger: Manifest) -> int:
    """Kept, rejected and removed as the ledger's manifest says."""
    counters = ledger.counters
    return int(counters["kept"] + sum(counters["rejected"].values()) + sum(counters["removed"].values()))


@chain_check(Stage.LINEAGE_INDEX)
def lineage_is_complete(context: dg.AssetCheckExecutionContext, settings: SettingsResource) -> dg.AssetCheckResult:
    """Every record ended once, every survivor is kept; rows drawn at random are rendered again from their records."""
    here = settings.load()
    gaps = find_gaps(here.catalog.split(context.partition_key), here.catalog, here.store)
    named = {"ended_otherwise": gaps.ended_otherwise, "lost_survivors": gaps.lost_survivors, "untraced": gaps.untraced}
    told = {name: f"{len(uids)}, such as {uids[0]}" for name, uids in named.items() if uids}
    metadata: dict[str, Any] = {"records": gaps.records, "traced": gaps.traced, **told}
    if gaps.unseen and gaps.lost_survivors and gaps.is_complete:
        return _warning(f"Survivors may be in {', '.join(gaps.unseen)}, which have no ledger yet.", metadata)
    return dg.AssetCheckResult(passed=gaps.is_complete, metadata=metadata)


@chain_check(Stage.DUPLICATES, per="scope")
def ids_are_unique(context: dg.AssetCheckExecutionContext, settings: SettingsResource) -> dg.AssetCheckResult:
    """No two rows that stay share an id, over all splits of the scope."""
    store = settings.load().store
    manifest = store.current(Stage.DUPLICATES, context.partition_key)
    kept = _kept_ids(store, manifest)
    shared = kept.filter(pl.len().over("id") > 1)["id"].unique().sort()
    metadata: dict[str, Any] = {"kept_rows": kept.height, "shared_ids": shared.len()}
    if shared.len():
        metadata["such_as"] = ", ".join(shared.head(5))
    return dg.AssetCheckResult(passed=shared.len() == 0, metadata=metadata)


@chain_check(Stage.DUPLICATES, per="scope")
def removals_are_plausible(context: dg.AssetCheckExecutionContext, settings: SettingsResource) -> dg.AssetCheckResult:
    """Of no source a larger share was removed than its ceiling in `policies/duplicates.yaml`."""
    here = settings.load()
    manifest = here.store.current(Stage.DUPLICATES, context.partition_key)
    (page,) = here.store.paths(manifest, PRECISION)
    shares = {source: round(share, 4) for source, share in removal_shares(removals_of(manifest)).items()}
    findings = removal_findings(manifest, here.catalog.duplicate_policy)
    return _told(findings, {**shares, "precision_report": dg.MetadataValue.path(page)})


@chain_check(Stage.DUPLICATES, per="scope")
def no_survivor_stands_for_too_many(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource
) -> dg.AssetCheckResult:
    """No row stands for more removed ones than `survivor_ceiling`: a template taken for a duplicate would."""
    here = settings.load()
    manifest, policy = here.store.current(Stage.DUPLICATES, context.partition_key), here.catalog.duplicate_policy
    group = manifest.details["largest_group"]
    metadata = {"rows": group["rows"], "survivor": group["survivor"] or "nobody", "ceiling": policy.survivor_ceiling}
    return _told(survivor_findings(manifest, policy), metadata)


@chain_check(Stage.DUPLICATES, per="scope")
def all_candidates_were_compared(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource
) -> dg.AssetCheckResult:
    """No bucket had so many rows, and no row that stays so many candidates, that some were not compared."""
    manifest = settings.load().store.current(Stage.DUPLICATES, context.partition_key)
    overflowing, cap = manifest.counters["buckets_over_cap"], manifest.details["search"]["bucket_cap"]
    metadata = {"buckets": overflowing, "cap": cap, "rows_unsure": manifest.counters["rows_unsure"]}
    return _told(candidate_findings(manifest), metadata)


def _told(findings: Iterable[Finding], metadata: dict[str, Any]) -> dg.AssetCheckResult:
    """Failed, with a sentence for each finding and what to do; passed if there is none."""
    found = list(findings)
    told = [finding.sentence for finding in found] + [finding.advice for finding in found[:1]]
    return dg.AssetCheckResult(passed=not found, description=" ".join(told) or None, metadata=metadata)


def _kept_ids(store: Store, duplicates: Manifest) -> pl.DataFrame:
    """ids of the rows that `duplicates` keeps, as `deduped` writes them."""
    signed = [
        path for key in duplicates.details["splits"] for path in store.paths(store.current(Stage.SIGNATURES, key))
    ]
    rows = scan(signed, SIGNATURE_SCHEMA).select("record_uid", "id")
    removed = scan(store.paths(duplicates, "removed"), REMOVED_SCHEMA).select("record_uid")
    renamed = scan(store.paths(duplicates, "renamed"), RENAMED_SCHEMA).select("record_uid", "unique_id")
    kept = rows.join(removed, on="record_uid", how="anti").join(renamed, on="record_uid", how="left")
    return kept.select(id=pl.coalesce("unique_id", "id")).collect(engine="streaming")


@chain_check(Stage.POOLS)
def correctness_is_joined(context: dg.AssetCheckExecutionContext, settings: SettingsResource) -> dg.AssetCheckResult:
    """Rendered rows found their evaluation in the source they were rendered from. Other splits have nothing to join."""
    here = settings.load()
    split = here.catalog.split(context.partition_key)
    if split.source.correctness_from is None:
        return dg.AssetCheckResult(passed=True, description="Correctness comes with the rows.")
    if correctness_origin(split, here.catalog, here.store) is None:
        wanted = f"{split.source.correctness_from}/{split.name}"
        return _warning(f"Materialize normalized of {wanted}: without it no correctness can be joined.", {"matched": 0})
    join = here.store.current(Stage.POOLS, split.key).counters["join"]
    if join["rows"] and not join["matched"]:
        return _warning("Not one text is found in the source it was rendered from.", join)
    return dg.AssetCheckResult(passed=True, metadata=join)


@chain_check(Stage.PUBLISHED)
def release_is_at_destination(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource
) -> dg.AssetCheckResult:
    """The destination's head holds every file of the release of this split, unchanged."""
    here = settings.load()
    release = here.store.current(Stage.PUBLISHED, context.partition_key)
    metadata: dict[str, Any] = {"files": len(release.details["files"]), "commit": release.details["commit"]}
    try:
        missing = missing_at_destination(release, here)
    except UserError as error:
        return _warning(f"Could not be looked at: {error}", metadata)
    metadata["missing_or_changed"] = len(missing)
    told = f"Missing or changed at the head, such as {missing[0]}." if missing else None
    return dg.AssetCheckResult(passed=not missing, description=told, metadata=metadata)


@chain_check(Stage.PUBLISHED)
def withdrawals_take_effect(context: dg.AssetCheckExecutionContext, settings: SettingsResource) -> dg.AssetCheckResult:
    """Every entry of `catalog/policies/withdrawals.yaml` names a record, and none of the content it names stays."""
    here = settings.load()
    told = withdrawal_warnings(here.catalog, here.store)
    withdrawn = here.store.current(Stage.PUBLISHED, context.partition_key).counters["withdrawn"]
    metadata = {"withdrawn": sum(withdrawn.values())}
    return dg.AssetCheckResult(passed=not told, description=" ".join(told[:3]) or None, metadata=metadata)


@chain_check(Stage.SCORED)
def rows_are_scored(context: dg.AssetCheckExecutionContext, settings: SettingsResource) -> dg.AssetCheckResult:
    """Nearly every row has an NLL under every checkpoint, and every loss mask is that the row was written with."""
    checkpoints = settings.load().store.current(Stage.SCORED, context.partition_key).counters["checkpoints"]
    shares = {name: _ok_share(summary) for name, summary in checkpoints.items()}
    mismatches = sum(summary["status"].get("mask_mismatch", 0) for summary in checkpoints.values())
    metadata = {
        "mask_mismatches": mismatches,
        **{f"ok_share_{name}": round(share, 6) for name, share in shares.items()},
    }
    if mismatches:
        told = f"{mismatches} rows have another mask than they were written with."
        return dg.AssetCheckResult(passed=False, description=told, metadata=metadata)
    if any(share < SCORED_SHARE for share in shares.values()):
        return _warning(f"Fewer than {SCORED_SHARE:.0%} of the rows have an NLL.", metadata)
    return dg.AssetCheckResult(passed=True, metadata=metadata)


def _ok_share(summary: dict[str, Any]) -> float:
    return summary["status"].get("ok", 0) / summary["rows"] if summary["rows"] else 1.0


def _warning(description: str, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    """Failed, but nothing is wrong with the data as such."""
    warn = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=False, severity=warn, description=description, metadata=metadata)


CHECKS = (
    splits_match_the_source, records_are_conserved, lineage_is_complete, ids_are_unique, removals_are_plausible,
    no_survivor_stands_for_too_many, all_candidates_were_compared, correctness_is_joined, release_is_at_destination,
    withdrawals_take_effect, rows_are_scored,
)  # fmt: skip


def chain_checks(partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """All checks for these partitions. Partitioned checks are in preview in Dagster 1.13, which says so each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [check.build(partitions) for check in CHECKS]
