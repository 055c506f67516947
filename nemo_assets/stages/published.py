"""Publish one split: rows, pools with text, tools catalog, ledger and card in one commit.

Belongs here: which files a release of a split has, what the repo's card says, when to try again. Does not: how a commit
is made (`hub.targets`), the wording of the card (`hub.card`).
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from nemo_assets.catalog import Catalog, Split
from nemo_assets.errors import UserError
from nemo_assets.hub import card
from nemo_assets.hub.card import CardContent, ConfigSplit, PoolText, SplitFunnel, dataset_card
from nemo_assets.hub.destination import open_target
from nemo_assets.hub.targets import Change, HeadMovedError, Target
from nemo_assets.records.recipe import code_digest
from nemo_assets.records.schema import COLUMNS, LEDGER_SCHEMA, ROW_SCHEMA, TOOLS_SCHEMA
from nemo_assets.settings import Settings
from nemo_assets.stages.ledger import require_in_step
from nemo_assets.stages.pools import JOINED_SCHEMA, with_correctness
from nemo_assets.stages.units import run_units
from nemo_assets.storage import Basis, Manifest, Part, Stage, Staging, Store, Unit
from nemo_assets.storage.parquet import PartWriter, read_batches, scan, write_part

PUBLISHED_CODE = "published 1"  # raise when the files of a release change their meaning
SHARD_BYTES = 400 << 20  # of Parquet; the Hub's tools expect shards of at most about 500 MB
COMMIT_ATTEMPTS = 10  # other splits of the source commit to the same repo

# The Hub's viewer and most readers show binary columns poorly: uids are published in hex.
_UID_COLUMNS = ("record_uid", "survivor_uid")


def published_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of a published table: uids in hex instead of 16 bytes."""
    for name in _UID_COLUMNS:
        if name in schema.names:
            field = schema.field(name)
            schema = schema.set(
                schema.get_field_index(name), pa.field(name, pa.string(), field.nullable, field.metadata)
            )
    return schema


@dataclass(frozen=True)
class Piece:
    """Some consecutive parts of kept rows, to become at most one shard in every config."""

    number: int
    split: str
    first_row: int
    rows: int
    sources: tuple[Path, ...]
    memberships: Path
    joined: Path | None
    configs: tuple[str, ...]
    staging: Staging


def publish(split: Split, settings: Settings) -> Manifest:
    """Write the release of a split and commit it; `details` holds repo, commit, url and the files by config.

    Nothing is committed when the release is already at the destination unchanged.

    Raises UserError for a missing token, an unreachable destination, or a repo others keep changing.
    """
    catalog, store = settings.catalog, settings.store
    target, repo = _target(settings), settings.release_repo(split)
    target.require_writable(repo)
    inputs = release_inputs(split, store)
    basis = publish_basis(split, settings, inputs)
    current = store.find_current(Stage.PUBLISHED, split.key, basis)
    if current is not None and is_at_destination(current, settings):
        return current
    with store.staging(Stage.PUBLISHED, split.key, basis) as staging:
        pieces = _pieces(split, catalog, store, inputs, staging)
        todo = set(staging.missing(piece.number for piece in pieces))
        label = f"published {split.key}"
        for unit in run_units(
            _shard_unit, [p for p in pieces if p.number in todo], settings.workers, label, lambda p: p.rows, "rows"
        ):
            staging.add(unit)
        staging.add(_side_tables(split, store, inputs, staging, len(pieces)))
        release = _release_record(split, inputs, staging)
        commit = _commit(split, catalog, target, repo, release, _additions(split, staging, store))
        shutil.rmtree(staging.directory)
        return _record(
            staging,
            store,
            release,
            {"repo": repo, "commit": commit, "url": target.url(repo, commit), "location": target.location(repo)},
        )


def release_inputs(split: Split, store: Store) -> dict[str, Manifest]:
    """The manifests a release is made from, made of one another."""
    stages = (Stage.POOLS, Stage.LEDGER, Stage.DEDUPED, Stage.NORMALIZED, Stage.RAW)
    found = {stage.value: store.current(stage, split.key) for stage in stages}
    require_in_step(split, found[Stage.DEDUPED], found[Stage.NORMALIZED])
    for stage in (Stage.POOLS, Stage.LEDGER):
        if found[stage].inputs["deduped"] != found[Stage.DEDUPED].data_version:
            raise UserError(f"{split.key}: {stage} is older than deduped. Materialise {stage} of {split.key} first.")
    return found


def publish_basis(split: Split, settings: Settings, inputs: dict[str, Manifest]) -> Basis:
    """A release depends on what it is made from, on where it goes, and on how cards are written."""
    depends = {
        str(name): inputs[name].data_version for name in (Stage.POOLS, Stage.LEDGER, Stage.DEDUPED, Stage.NORMALIZED)
    }
    target = f"{settings.destination.removeprefix(str(settings.data_dir))}/{settings.release_repo(split)}"
    return Basis(depends, {"code": PUBLISHED_CODE, "card": code_digest(Path(card.__file__)), "target": target})


def is_at_destination(release: Manifest, settings: Settings) -> bool:
    """Whether the head of the release's repo still has its files, byte for byte; asks the destination."""
    return not missing_at_destination(release, settings)


def missing_at_destination(release: Manifest, settings: Settings) -> list[str]:
    """The files of a release that the head of its repo lacks or has with other bytes, sorted; asks the destination."""
    target, repo = _target(settings), release.details["repo"]
    head = target.head(repo)
    there = target.paths(repo, head) if head else {}
    return sorted(path for path, sha256 in release.details["files"].items() if there.get(path) != sha256)


def _target(settings: Settings) -> Target:
    return open_target(settings.destination, settings.endpoint, settings.token, private=not settings.public)


def _pieces(split: Split, catalog: Catalog, store: Store, inputs: dict[str, Manifest], staging: Staging) -> list[Piece]:
    """Group the kept parts into shards of about SHARD_BYTES, in base row order."""
    joined = store.paths(inputs[Stage.POOLS], "joined")
    groups: list[list[Part]] = [[]]
    for part in inputs[Stage.DEDUPED].table("rows"):
        if groups[-1] and sum(p.bytes for p in groups[-1]) + part.bytes > SHARD_BYTES:
            groups.append([])
        groups[-1].append(part)
    pieces, first = [], 0
    for number, group in enumerate(groups):
        rows = sum(part.rows for part in group)
        paths = tuple(store.path(part) for part in group)
        memberships = store.paths(inputs[Stage.POOLS])[0]
        pieces.append(
            Piece(
                number,
                split.name,
                first,
                rows,
                paths,
                memberships,
                joined[0] if joined else None,
                tuple(catalog.pools),
                staging,
            )
        )
        first += rows
    return pieces


def _shard_unit(piece: Piece) -> Unit:
    """One shard of `rows` and of every pool that has a row here."""
    schema = published_schema(ROW_SCHEMA)
    pools = pl.scan_parquet(piece.memberships).select("pools").slice(piece.first_row, piece.rows).collect()["pools"]
    counts: dict[str, dict[str, int]] = {}
    parts = []
    for config in ("rows", *piece.configs):
        member = pools.list.contains(config) if config != "rows" else pl.repeat(True, piece.rows, eager=True)
        if not member.any():
            continue
        path = shard_path(piece.staging.directory, config, piece.split, piece.number)
        path.parent.mkdir(exist_ok=True)
        seen = memory = 0
        with PartWriter(path, schema) as writer:
            for table in read_batches(piece.sources):
                mask = member.slice(seen, table.num_rows).to_arrow()
                seen += table.num_rows
                rows = _published_rows(table.filter(mask), piece.joined, schema)
                memory += rows.nbytes
                writer.write(rows)
        parts.append(piece.staging.part(config, path, writer.rows))
        counts[config] = {"rows": writer.rows, "memory": memory}
    unit = Unit(piece.number, tuple(parts), {"configs": counts})
    piece.staging.record(unit)
    return unit


def shard_path(directory: Path, config: str, split: str, number: int) -> Path:
    """`<config>/<split>-<number>.parquet`: the same below the staging directory and in the repo."""
    return directory / config / f"{split}-{number:05d}.parquet"


def _published_rows(table: pa.Table, joined: Path | None, schema: pa.Schema) -> pa.Table:
    frame = pl.DataFrame(pl.from_arrow(table)).lazy()
    if joined is not None:
        frame = with_correctness(frame, scan([joined], JOINED_SCHEMA))
    hexed = [pl.col(name).bin.encode("hex") for name in _UID_COLUMNS if name in table.column_names]
    return frame.with_columns(hexed).collect().to_arrow().cast(schema)


def _side_tables(split: Split, store: Store, inputs: dict[str, Manifest], staging: Staging, number: int) -> Unit:
    """The tools catalog (left out where the split has no tools) and the ledger."""
    tools = (
        scan(store.paths(inputs[Stage.NORMALIZED], "tools"), TOOLS_SCHEMA)
        .unique("source_tools_id")
        .sort("source_tools_id")
    )
    ledger = scan(store.paths(inputs[Stage.LEDGER]), LEDGER_SCHEMA)
    parts, counts = [], {}
    for config, frame, schema in (("tools", tools, TOOLS_SCHEMA), ("ledger", ledger, LEDGER_SCHEMA)):
        table = _published_rows(frame.collect().to_arrow().cast(schema), None, published_schema(schema))
        if table.num_rows:
            path = shard_path(staging.directory, config, split.name, 0)
            path.parent.mkdir(exist_ok=True)
            parts.append(staging.part(config, path, write_part(path, table)))
            counts[config] = {"rows": table.num_rows, "memory": table.nbytes}
    return Unit(number, tuple(parts), {"configs": counts})


def _additions(split: Split, staging: Staging, store: Store) -> dict[str, Path | bytes]:
    parts = [part for unit in staging.units.values() for part in unit.parts]
    return {store.path(part).relative_to(staging.directory).as_posix(): store.path(part) for part in parts}


def _release_record(split: Split, inputs: dict[str, Manifest], staging: Staging) -> dict[str, Any]:
    """What the repo keeps about this split, in `lineage/<split>.json`; the card is made from those of all splits."""
    configs: dict[str, dict[str, Any]] = {}
    for _, unit in sorted(staging.units.items()):
        for part in unit.parts:
            entry = configs.setdefault(part.table, {"paths": [], "sha256": [], "rows": 0, "bytes": 0})
            entry["paths"].append(f"{part.table}/{part.path.rpartition('/')[2]}")
            entry["sha256"].append(part.sha256)
            entry["rows"] += part.rows
            entry["bytes"] += unit.counters["configs"][part.table]["memory"]
    ledger, raw = inputs[Stage.LEDGER].counters, inputs[Stage.RAW]
    return {
        "split": split.name,
        "source": {
            "repo": split.repo,
            "revision": raw.details["revision"],
            "files": [
                {key: file[key] for key in ("path", "content_id", "size", "revision")} for file in raw.details["files"]
            ],
        },
        "data_versions": {name: manifest.data_version for name, manifest in sorted(inputs.items())},
        "funnel": {key: ledger[key] for key in ("records", "kept", "rejected", "removed")},
        "configs": {name: configs[name] for name in sorted(configs)},
    }


def _commit(
    split: Split,
    catalog: Catalog,
    target: Target,
    repo: str,
    release: dict[str, Any],
    additions: dict[str, Path | bytes],
) -> str:
    """Commit the release on top of whatever the repo holds by then; other splits' releases stay as they are."""
    record_path = f"lineage/{split.name}.json"
    record = msgspec.json.format(msgspec.json.encode(release, order="sorted"), indent=1)
    for attempt in range(COMMIT_ATTEMPTS):
        time.sleep(min(10.0, 0.1 * (2**attempt - 1)))  # the head that the Hub names may lag behind what it enforces
        head = target.head(repo)
        there = target.paths(repo, head) if head else {}
        records = _records(target, repo, head, there) | {split.name: release}
        before = _paths_of(_records(target, repo, head, there).get(split.name))
        readme = dataset_card(_card_content(split, catalog, repo, records)).encode()
        change = Change(
            additions={**additions, record_path: record, "README.md": readme},
            deletions=tuple(sorted(path for path in before - set(additions) if path in there)),
            summary=f"Release {split.key}: {release['funnel']['kept']} rows of {release['source']['revision'][:7]}",
            description=f"{split.repo}@{release['source']['revision']}",
        )
        try:
            return target.commit(repo, change, head)
        except HeadMovedError:
            continue
    raise UserError(
        f"{target.location(repo)}: the repo changed during each of {COMMIT_ATTEMPTS} attempts to publish {split.key}. "
        "Run again later."
    )


def _records(target: Target, repo: str, head: str | None, there: dict[str, str]) -> dict[str, dict[str, Any]]:
    records = {}
    for path in sorted(there):
        if path.startswith("lineage/") and path.endswith(".json") and head is not None:
            content = target.read(repo, path, head)
            if content is not None:
                record = msgspec.json.decode(content)
                records[record["split"]] = record
    return records


def _paths_of(record: dict[str, Any] | None) -> set[str]:
    return {path for config in record["configs"].values() for path in config["paths"]} if record else set()


def _card_content(split: Split, catalog: Catalog, repo: str, records: dict[str, dict[str, Any]]) -> CardContent:
    order = [name for name in split.source.splits if name in records]
    configs = ("rows", *catalog.pools, "tools", "ledger")
    config_splits = [
        ConfigSplit(config, name, tuple(entry["paths"]), entry["rows"], entry["bytes"])
        for config in configs
        for name in order
        if (entry := records[name]["configs"].get(config))
    ]
    funnels = [SplitFunnel(name, **records[name]["funnel"]) for name in order]
    return CardContent(
        repo_id=repo,
        title=f"{split.source.title}: rows and candidate pools",
        source_repo=split.repo,
        source_revision=records[order[-1]]["source"]["revision"],
        license=_card_license(split.source.license),
        pools=tuple(PoolText(name, pool.purpose, pool.predicate) for name, pool in catalog.pools.items()),
        config_splits=tuple(config_splits),
        funnels=tuple(funnels),
        columns=tuple((c.name, str(published_schema(ROW_SCHEMA).field(c.name).type), c.description) for c in COLUMNS),
    )


def _card_license(license_text: str) -> str:
    """The Hub takes one licence id; several, which stand on the rows, are `other`."""
    return "other" if " " in license_text else license_text


def _record(staging: Staging, store: Store, release: dict[str, Any], commit: dict[str, str]) -> Manifest:
    """The manifest of what was committed. The files lie at the destination, so it names no parts of its own."""
    files = {path: sha for c in release["configs"].values() for path, sha in zip(c["paths"], c["sha256"], strict=True)}
    rows = {config: entry["rows"] for config, entry in release["configs"].items()}
    staging.units.clear()
    return staging.commit(
        counters={"rows": rows.get("rows", 0), "configs": rows, "files": len(files)},
        details={**commit, "files": files, "source_revision": release["source"]["revision"]},
        content=sorted(files.items()),
    )
