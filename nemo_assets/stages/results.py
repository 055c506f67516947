"""Publish what was made from the scores of one split, in a second commit: config `scores`, joinable by `id`, and the
training subsets with their random controls.

It never triggers scoring: nothing that a score depends on comes from here.

Belongs here: the files and the record of that commit. Does not: scores (`scored`), the files of
subsets (`subset_files`), how a commit lands (`landing`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.hub.features import features_of
from nemo_assets.hub.targets import Target
from nemo_assets.records.recipe import package_digest
from nemo_assets.scoring.rows import PUBLISHED_SCORE_SCHEMA
from nemo_assets.settings import Settings
from nemo_assets.stages.landing import Release, certify, commit_release, target_of
from nemo_assets.stages.published import is_at_destination, require_tagged
from nemo_assets.stages.release_files import published_paths, shard_path
from nemo_assets.stages.release_record import Record, configs_of, files_of, records_at, rows_digest
from nemo_assets.stages.scored import texts_digest
from nemo_assets.stages.subset_files import build_subset_files, current_subsets, told_of
from nemo_assets.storage import Basis, Manifest, Stage, Staging, Store, Unit
from nemo_assets.storage.parquet import scan, write_part

SCORES = "scores"
_LONGEST_NLL = 10.0  # nats per token: the last bin of the histogram takes all above

RESULTS_CODE = package_digest(
    "card_plots",
    "hub/card",
    "hub/card_content",
    "hub/card_page",
    "stages/release_card",
    "stages/results",
    "stages/subset_files",
)


def publish_results(split: Split, settings: Settings) -> Manifest:
    """Commit the scores of a split on top of its release, verify and tag; `details` as of `published`.

    Rows withdrawn since they were scored are left out. Raises UserError where the scores are of other rows than the
    release, or the release waits for approval.
    """
    target, repo, store = target_of(settings), settings.release_repo(split), settings.store
    target.require_writable(repo)
    published, scored = store.current(Stage.PUBLISHED, split.key), store.current(Stage.SCORED, split.key)
    require_tagged(split, published)
    _require_same_rows(split, store, published, scored)
    subsets = current_subsets(split, scored, settings)
    basis = results_basis(split, published, scored, subsets)
    current = store.find_current(Stage.RESULTS, split.key, basis)
    if current is not None and is_at_destination(current, settings):
        return current
    with store.staging(Stage.RESULTS, split.key, basis) as staging:
        head = target.head(repo)
        release_record = _record_at(head, split, target, repo, published)
        withdrawn = [entry for entry in release_record["withdrawals"] if entry["state"] == "kept"]
        scores = [
            _scores_unit(number, name, split, store, scored, [entry["id"] for entry in withdrawn], staging)
            for number, name in enumerate(scored.counters["checkpoints"])
        ]
        gone = [bytes.fromhex(entry["record_uid"]) for entry in withdrawn]
        cut = build_subset_files(split, settings, subsets, gone, staging, len(scores))
        units = [*scores, *cut]
        record = _record(split, units, scored, release_record) | {"subsets": told_of(split, subsets)}
        additions = published_paths(units, store)
        summary = f"Scores of {split.key}: {', '.join(record['checkpoints'])}"
        release = Release(split, record, summary, published.details["commit"], additions, of_scores=True)
        landed = commit_release(release, settings, target, repo, head)
        revision, tag = certify(settings, target, repo, landed)
        shutil.rmtree(staging.directory)
        noted = {
            "repo": repo,
            "location": target.location(repo),
            "commit": landed.commit,
            "tag": tag,
            "revision": revision,
        }
        files = files_of(record)
        staging.units.clear()
        return staging.commit(
            counters={
                "rows": record["configs"][SCORES]["rows"],
                "configs": {name: entry["rows"] for name, entry in record["configs"].items()},
            },
            details={**noted, "url": target.url(repo, revision), "files": files},
            content=sorted(files.items()),
        )


def results_basis(split: Split, published: Manifest, scored: Manifest, subsets: Mapping[str, Manifest]) -> Basis:
    """Results depend on the release they belong to, on the scores, on the rows of the split in each subset, and on how
    they are written.
    """
    inputs = {"published": published.data_version, "scored": scored.data_version}
    inputs |= {f"subsets.{name}": made.details["splits"][split.key]["digest"] for name, made in subsets.items()}
    target = published.settings["target"]
    return Basis(inputs, {"code": RESULTS_CODE, "target": target, "withdrawals": published.settings["withdrawals"]})


def _require_same_rows(split: Split, store: Store, published: Manifest, scored: Manifest) -> None:
    """Refuse scores of other rows than those of the release."""
    deduped = store.current(Stage.DEDUPED, split.key)
    if published.inputs[Stage.DEDUPED] != deduped.data_version:
        raise UserError(f"{split.key}: published is older than deduped. Materialise published of {split.key} first.")
    if scored.inputs["texts"] != texts_digest(deduped, store):
        raise UserError(
            f"{split.key}: scored is of other rows than published. Materialise scored of {split.key} first."
        )


def _record_at(head: str | None, split: Split, target: Target, repo: str, published: Manifest) -> Record:
    """The record of the release, which must be what the repo holds now: it may have been rolled back."""
    record = records_at(target, repo, head).get(split.name)
    files = {
        p: sha
        for c in (record or {"configs": {}})["configs"].values()
        for p, sha in zip(c["paths"], c["sha256"], strict=True)
    }
    if record is None or files != published.details["files"]:
        raise UserError(
            f"{split.key}: {target.location(repo)} holds another release than the one made here. "
            f"Materialise published of {split.key} first."
        )
    return record


def _scores_unit(
    number: int, checkpoint: str, split: Split, store: Store, scored: Manifest, withdrawn: list[str], staging: Staging
) -> Unit:
    """One shard: the scores of a checkpoint, in base row order."""
    paths = store.paths(scored, f"scores.{checkpoint}")
    scores = scan(paths, PUBLISHED_SCORE_SCHEMA).select(PUBLISHED_SCORE_SCHEMA.names)
    table = scores.filter(~pl.col("id").is_in(withdrawn)).collect().to_arrow().cast(PUBLISHED_SCORE_SCHEMA)
    path = shard_path(staging.directory, SCORES, split.name, number)
    path.parent.mkdir(exist_ok=True)
    part = staging.part(SCORES, path, write_part(path, table))
    path.chmod(0o444)
    counters = {"configs": {SCORES: {"memory": table.nbytes}}, "checkpoint": checkpoint, "nll": _histogram(table)}
    return Unit(number, (part,), counters)


def _histogram(scores: pa.Table) -> dict[str, int]:
    """Rows with an NLL by tenths of a nat per token, lower edges."""
    measured = pl.DataFrame(pl.from_arrow(scores)).filter(pl.col("nll_mean").is_not_null())["nll_mean"]
    tenths = (measured.clip(0, _LONGEST_NLL) * 10 + 1e-9).floor().cast(pl.Int64)
    counts = pl.DataFrame({"tenth": tenths}).group_by("tenth").len().sort("tenth")
    return {f"{tenth / 10:.1f}": count for tenth, count in counts.iter_rows()}


def _record(split: Split, units: list[Unit], scored: Manifest, release: Record) -> Record:
    checkpoints: Mapping[str, Mapping[str, Any]] = scored.counters["checkpoints"]
    configs = configs_of(units)
    configs[SCORES]["features"] = features_of(PUBLISHED_SCORE_SCHEMA)
    scored_units = [unit for unit in units if "checkpoint" in unit.counters]
    return {
        "split": split.name,
        "of": rows_digest(release),
        "checkpoints": {
            unit.counters["checkpoint"]: {**checkpoints[unit.counters["checkpoint"]], "histogram": unit.counters["nll"]}
            for unit in scored_units
        },
        "configs": configs,
    }
