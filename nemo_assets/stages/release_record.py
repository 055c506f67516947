"""The record of a release: what the repo itself keeps about each split, in `lineage/<split>.json`.

The card and the difference between two releases are made from records alone, those of all splits of the repo.

Belongs here: what a record says, reading those of a repo. Does not: the files of a release (`release_files`), the card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from nemo_assets.catalog import Split
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.hub.features import features_of
from nemo_assets.hub.targets import Target
from nemo_assets.records.recipe import normalize_recipe, normalize_recipes
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.stages.release_files import config_schema
from nemo_assets.storage import Manifest, Stage, Store, Unit
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import scan

Record = dict[str, Any]
"""The JSON object of one split."""

_FOLDER, _RESULTS = "lineage/", "lineage/results/"
_STAGES = (Stage.NORMALIZED, Stage.SIGNATURES, Stage.DUPLICATES, Stage.DEDUPED, Stage.POOLS, Stage.LEDGER)


def record_path(split: str) -> str:
    """Where the record of a split lies in the repo."""
    return f"{_FOLDER}{split}.json"


def results_path(split: str) -> str:
    """Where the record of what was made from the scores of a split lies in the repo."""
    return f"{_RESULTS}{split}.json"


def make_record(
    split: Split, store: Store, inputs: Mapping[str, Manifest], units: Sequence[Unit], withdrawn: pl.DataFrame
) -> Record:
    """What is kept about the release of a split. `withdrawn` has record_uid, id, reason, note and the state it had.

    Raises ConservationError if the records read are not all accounted for.
    """
    raw, ledger = inputs[Stage.RAW], inputs[Stage.LEDGER].counters
    configs = configs_of(units)
    taken = withdrawn.filter(pl.col("state") == "kept")
    funnel = {key: ledger[key] for key in ("records", "kept", "rejected", "removed")}
    funnel["kept"] -= taken.height
    funnel["withdrawn"] = dict(taken.group_by("reason").len().sort("reason").iter_rows())
    written = configs["rows"]["rows"] if "rows" in configs else 0
    if funnel["kept"] != written:
        raise ConservationError(f"{split.key}: {funnel['kept']} rows stay, {written} were written")
    return {
        "split": split.name,
        "partition": split.key,
        "source": {
            "repo": split.repo,
            "revision": raw.details["revision"],
            "files": [
                {key: file[key] for key in ("path", "content_id", "size", "revision")} for file in raw.details["files"]
            ],
        },
        "stages": _stages(split, store, inputs),
        "funnel": funnel,
        "withdrawals": withdrawn.select(
            "id", pl.col("record_uid").bin.encode("hex"), "reason", "note", "state"
        ).sort("record_uid").to_dicts(),
        "license": split.source.license,
        "languages": list(split.source.languages),
        "configs": configs,
        "histograms": _histograms(store.paths(inputs[Stage.DEDUPED]), taken),
        "changes": None,
    }  # fmt: skip


def configs_of(units: Sequence[Unit]) -> dict[str, dict[str, Any]]:
    """Paths, digests, rows, bytes in memory and on disk, and features of every config, by name."""
    configs: dict[str, dict[str, Any]] = {}
    for unit in units:
        for part in unit.parts:
            entry = configs.setdefault(
                part.table, {"paths": [], "sha256": [], "rows": 0, "bytes": 0, "download_bytes": 0}
            )
            entry["paths"].append(f"{part.table}/{part.path.rpartition('/')[2]}")
            entry["sha256"].append(part.sha256)
            entry["rows"] += part.rows
            entry["bytes"] += unit.counters["configs"][part.table]["memory"]
            entry["download_bytes"] += part.bytes
    for name, entry in configs.items():
        entry["features"] = features_of(config_schema(name))
    return dict(sorted(configs.items()))


def _stages(split: Split, store: Store, inputs: Mapping[str, Manifest]) -> dict[str, dict[str, Any]]:
    """What each stage was made from, so that a later release can say why a row is another one."""
    found = dict(inputs)
    found[Stage.SIGNATURES] = store.current(Stage.SIGNATURES, split.key)
    found[Stage.DUPLICATES] = store.current(Stage.DUPLICATES, split.scope)
    told: dict[str, dict[str, Any]] = {
        str(stage): {
            "data_version": found[stage].data_version,
            "inputs": found[stage].inputs,
            "settings": dict(found[stage].settings),
        }
        for stage in _STAGES
    }
    settings = told[Stage.NORMALIZED]["settings"]
    if settings["recipe"] == normalize_recipe(split):  # else the code that made it is gone, and the halves with it
        settings |= normalize_recipes(split) | {"code": settings["code"] + normalize_recipes(split)["code"]}
        del settings["recipe"]
    return told


def _histograms(rows: Sequence[Path], withdrawn: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Rows by length (lower edges, powers of two), by correctness in tenths, and by domain."""
    light = scan(rows, ROW_SCHEMA).select("record_uid", "stats_approx_tokens", "meta_correctness", "meta_domain")
    kept = light.join(withdrawn.select("record_uid").lazy(), on="record_uid", how="anti")
    edge = pl.lit(2, pl.Int64).pow(pl.col("stats_approx_tokens").clip(1).log(2).floor().cast(pl.UInt32))
    tenth = (pl.col("meta_correctness") * 10 + 1e-9).floor() / 10
    binned = {
        "tokens": edge.cast(pl.String),
        "correctness": tenth.round(1).cast(pl.String).fill_null("none"),
        "domain": pl.col("meta_domain"),
    }
    return {name: _counts(kept, expression) for name, expression in binned.items()}


def _counts(rows: pl.LazyFrame, by: pl.Expr) -> dict[str, int]:
    counted = rows.group_by(by.alias("bin")).len().collect(engine="streaming").sort("bin")
    return {str(edge): int(count) for edge, count in counted.iter_rows()}


def as_json(record: Record) -> bytes:
    """Equal records give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=1)


def records_at(target: Target, repo: str, revision: str | None) -> dict[str, Record]:
    """The records of a repo at a revision, by split; none where there is no repo."""
    return _records(target, repo, revision, _FOLDER)


def results_at(target: Target, repo: str, revision: str | None) -> dict[str, Record]:
    """The records of what was made from scores, by split."""
    return _records(target, repo, revision, _RESULTS)


def _records(target: Target, repo: str, revision: str | None, folder: str) -> dict[str, Record]:
    if revision is None:
        return {}
    records = {}
    for path in sorted(target.paths(repo, revision)):
        if path.startswith(folder) and path.endswith(".json") and "/" not in path.removeprefix(folder):
            record = _record(target, repo, path, revision)
            if isinstance(record, dict) and path == f"{folder}{record.get('split')}.json":  # somebody may add files
                records[record["split"]] = record
    return records


def _record(target: Target, repo: str, path: str, revision: str) -> Any:
    try:
        return msgspec.json.decode(target.read(repo, path, revision) or b"null")
    except msgspec.DecodeError as error:
        raise UserError(
            f"{target.location(repo)}@{revision[:7]}: {path} is no JSON ({error}). Delete it there, and publish the "
            "split of that name again if there is one."
        ) from None


def rows_digest(record: Record) -> str:
    """Changes when other rows are published: what scores belong to."""
    withdrawn = sorted(entry["record_uid"] for entry in record["withdrawals"] if entry["state"] == "kept")
    return digest([record["stages"][Stage.DEDUPED]["data_version"], withdrawn])


def paths_of(record: Record | None) -> set[str]:
    """The Parquet files that a record names."""
    return {path for config in record["configs"].values() for path in config["paths"]} if record else set()


def files_of(record: Record) -> dict[str, str]:
    """Path → sha256 of the Parquet files that a record names."""
    configs = record["configs"].values()
    return {path: sha for config in configs for path, sha in zip(config["paths"], config["sha256"], strict=True)}
