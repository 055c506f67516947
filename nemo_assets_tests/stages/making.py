"""Make stages without an orchestrator: the stage functions, called in the order of the chain."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from nemo_assets.catalog import CATALOG_DIR
from nemo_assets.chain import run_chain
from nemo_assets.hub.sources import open_source
from nemo_assets.settings import Settings
from nemo_assets.stages.deduped import dedupe
from nemo_assets.stages.duplicates import find_duplicates
from nemo_assets.stages.evaluation_sets import read_evaluation_sets
from nemo_assets.stages.ledger import write_ledger
from nemo_assets.stages.lineage_index import build_lineage_index
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.plan import CHAIN
from nemo_assets.stages.pools import build_pools
from nemo_assets.stages.published import publish
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.results import publish_results
from nemo_assets.stages.scored import score
from nemo_assets.stages.signatures import sign
from nemo_assets.stages.subsets import cut_subset
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets_tests.building import data_file


def make(name: str, partition: str, settings: Settings) -> Manifest:
    """One partition of one stage, as its asset would make it."""
    stage = Stage(name)
    store, catalog = settings.store, settings.catalog
    if stage is Stage.DUPLICATES:
        return find_duplicates(partition, catalog, store)
    if stage is Stage.SUBSETS:
        return cut_subset(partition, settings)
    split = catalog.split(partition)
    match stage:
        case Stage.RAW:
            source = open_source(split.repo, settings.source_dir, settings.endpoint, settings.token)
            return fetch_split(split, source, store, settings.sample_records)
        case Stage.NORMALIZED:
            return normalize(split, store, settings.workers)
        case Stage.SIGNATURES:
            return sign(split, catalog, store)
        case Stage.DEDUPED:
            return dedupe(split, store, settings.workers)
        case Stage.LEDGER:
            return write_ledger(split, store)
        case Stage.POOLS:
            return build_pools(split, catalog, store)
        case Stage.LINEAGE_INDEX:
            return build_lineage_index(split, catalog, store)
        case _:
            return _BY_SETTINGS[stage](split, settings)


_BY_SETTINGS = {Stage.PUBLISHED: publish, Stage.SCORED: score, Stage.RESULTS: publish_results}


def make_chain(settings: Settings, until: Stage, partitions: Iterable[str] | None = None) -> list[tuple[str, str]]:
    """Bring these splits (all of the catalog, if none is named) up to `until`; what had to be made, in order."""
    made: list[tuple[str, str]] = []

    def materialize(keys: Sequence[tuple[str, str | None]]) -> None:
        for stage, partition in keys:
            if partition is None:
                assert stage == Stage.EVALUATION_SETS
                read_evaluation_sets(settings)
            else:
                make(stage, partition, settings)
            made.append((stage, partition or "all"))

    splits = [settings.catalog.split(key) for key in partitions or settings.catalog.splits]
    for _ in run_chain(splits, settings, CHAIN[: CHAIN.index(until) + 1], materialize):
        pass
    return made


def rows_of(manifest: Manifest, store: Store, table: str = "rows") -> pa.Table:
    """All rows of one table of a manifest, in order."""
    return pa.concat_tables(pq.read_table(path) for path in store.paths(manifest, table))


def files_below(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, by relative path."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


ROLES = {
    "student": {"model": "a/b", "purpose": "One."},
    "reference": {"model": "a/c", "purpose": "Two.", "score": False},
}
"""Checkpoints that `policies/subsets.yaml` names."""


def catalog_with(directory: Path, *slugs: str, checkpoints: str | None = None) -> Path:
    """A catalog directory with some of the sources, and other checkpoints if they are given as YAML."""
    shutil.copytree(CATALOG_DIR / "policies", directory / "policies")
    for slug in slugs:
        shutil.copy(CATALOG_DIR / f"{slug}.yaml", directory)
    if checkpoints is not None:
        given = {"checkpoints": {**ROLES, **yaml.safe_load(checkpoints)["checkpoints"]}}
        (directory / "policies" / "checkpoints.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    return directory


def project_with(settings: Settings, directory: Path, records: Mapping[str, Sequence[Any]], **policy: Any) -> Settings:
    """A project below `directory` whose catalog has the sources of these splits, and whose sources these records.

    `policy` replaces what the policy on duplicates says.
    """
    catalog_dir = catalog_with(directory / "catalog", *{key.partition("/")[0] for key in records})
    duplicates = catalog_dir / "policies" / "duplicates.yaml"
    duplicates.write_text(yaml.safe_dump(yaml.safe_load(duplicates.read_text()) | policy))
    project = replace(settings, data_dir=directory / "data", source_dir=directory / "sources", catalog_dir=catalog_dir)
    write_records(project, records)
    return project


def write_records(project: Settings, records: Mapping[str, Sequence[Any]]) -> None:
    """Put these records into the sources of a project, in place of those that the splits had."""
    assert project.source_dir is not None
    for key, content in records.items():
        split = project.catalog.split(key)
        path = project.source_dir / split.repo / data_file(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in content))


def with_catalog(settings: Settings, directory: Path, written: Mapping[str, Any]) -> Settings:
    """The same settings with a copy of their catalog in `directory`, in which these files hold other YAML."""
    shutil.copytree(settings.catalog_dir, directory)
    for path, content in written.items():
        (directory / path).write_text(yaml.safe_dump(content))
    return replace(settings, catalog_dir=directory)
