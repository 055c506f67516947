"""Records of every end state, drawn from all splits of the sample: back to their source bytes, forward to the release.

What is expected is read here from the source files and from the release itself, never through what is tested.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.hub.destination import open_target
from nemo_assets.lineage import AmbiguousReferenceError, Passport, explain, original_bytes
from nemo_assets.lineage.coordinates import reference_at
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.stages.making import make_chain

DRAWN, FEWEST = 100, 3  # records in all, and of one end state and code, where there are as many

Row = dict[str, Any]


@pytest.fixture(scope="module")
def released(sample: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Every split of the bundled sample, indexed and released into a directory."""
    folder = tmp_path_factory.mktemp("released") / "data"
    shutil.copytree(sample.data_dir, folder)
    settings = replace(sample, data_dir=folder)
    make_chain(settings, until=Stage.PUBLISHED)
    return settings


@pytest.fixture(scope="module")
def drawn(released: Settings) -> list[Row]:
    """Ledger entries, some of every state and code, with the split that they are of."""
    return list(_drawn(_ledger(released)))


def _ledger(settings: Settings) -> list[Row]:
    tables = {key: settings.store.paths(settings.store.current(Stage.LEDGER, key)) for key in settings.catalog.splits}
    return [row | {"partition": key} for key, paths in tables.items() for row in pl.read_parquet(paths).to_dicts()]


def _drawn(entries: list[Row]) -> Iterator[Row]:
    draw = random.Random(0)
    by_end: dict[tuple[str, str | None], list[Row]] = {}
    for entry in entries:
        by_end.setdefault((entry["state"], entry["code"]), []).append(entry)
    rare = [each for end in by_end.values() for each in draw.sample(end, min(FEWEST, len(end)))]
    yield from rare
    known = {entry["record_uid"] for entry in rare}
    yield from draw.sample([entry for entry in entries if entry["record_uid"] not in known], DRAWN - len(rare))


def test_every_end_state_and_split_is_among_the_records(drawn: list[Row], released: Settings) -> None:
    assert len(drawn) == DRAWN
    ends = {(entry["state"], entry["code"]) for entry in _ledger(released)}
    assert {(entry["state"], entry["code"]) for entry in drawn} == ends
    assert {state for state, _ in ends} == {"kept", "removed", "rejected"}
    assert len(ends) >= 10
    assert len({entry["partition"] for entry in drawn}) >= 12


def test_each_leads_back_to_its_bytes_by_each_of_its_names(drawn: list[Row], released: Settings) -> None:
    for entry in drawn:
        expected = _source_record(HUB / entry["dataset"] / entry["source_file"], entry["source_row"])
        for reference in _names(entry):
            found = _of(reference, entry, released)
            assert found.original is not None
            assert found.original.form == ("line" if isinstance(expected, bytes) else "parquet_row")
            read = original_bytes(found)
            assert (read if isinstance(expected, bytes) else json.loads(read)) == expected, reference
            told = (found.entry.partition, found.entry.state, found.entry.code)
            assert told == (entry["partition"], entry["state"], entry["code"])


def _names(entry: Row) -> Iterator[str]:
    uid = entry["record_uid"].hex()
    yield uid
    yield uid.upper()
    yield f"{entry['dataset']}:{entry['split']}:{entry['source_file']}:{entry['source_row']}"
    yield f"{entry['partition'].partition('/')[0]}:{entry['split']}:{entry['source_file']}:{entry['source_row']}"
    yield f"{entry['partition']}:{uid[:16]}"
    if entry["id"] is not None:
        yield entry["id"]
        yield f"{entry['partition']}:{entry['id']}"


def _of(reference: str, entry: Row, settings: Settings) -> Passport:
    """The passport of the entry by a name of it, which may fit other records too: then it is listed with them."""
    uid = entry["record_uid"].hex()
    try:
        found = explain(reference, settings.catalog, settings.store)
        also = found.also
    except AmbiguousReferenceError as error:
        assert entry["id"] is not None
        assert reference.endswith(entry["id"])
        found, also = None, error.candidates
    if found is not None and found.entry.record_uid == uid:
        return found
    assert uid in {each.record_uid for each in also}
    return explain(uid, settings.catalog, settings.store)


@lru_cache(64)
def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")


@lru_cache(64)
def _table(path: Path) -> pa.Table:
    return pq.read_table(path)


def _source_record(path: Path, row: int) -> bytes | Row:
    """A line of a JSONL file without its end, or the values of a row of a Parquet file as JSON has them."""
    if path.suffix == ".jsonl":
        return _lines(path)[row]
    return {name: _value(column.chunk(0).slice(row, 1)) for name, column in _single(_table(path)).items()}


def _single(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {name: pa.chunked_array([table[name].combine_chunks()]) for name in table.column_names}


def _value(column: pa.Array) -> Any:
    if not pa.types.is_string(column.type):
        return column[0].as_py()
    raw = column.cast(pa.binary())[0].as_py()
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def test_each_leads_forward_to_its_release(drawn: list[Row], released: Settings) -> None:
    for entry in drawn:
        found = explain(entry["record_uid"].hex(), released.catalog, released.store)
        release, uid = found.release, entry["record_uid"].hex()
        assert release is not None
        configs = _configs(released, release.repo, release.commit, entry["split"])
        holding = {config for config, places in configs.items() if uid in places}
        assert set(release.files) == holding, uid
        assert "ledger" in holding
        assert ("rows" in holding, "removed" in holding, "rejected" in holding) == tuple(
            entry["state"] == state for state in ("kept", "removed", "rejected")
        )
        for config in holding:
            path, row = configs[config][uid]
            assert path in release.files[config]
            for revision in (release.tag, release.commit):
                assert reference_at(f"{release.repo}@{revision}:{path}:{row}", released) == uid
        if entry["state"] == "kept":
            assert found.row is not None
            assert set(found.pools or ()) == holding - {"rows", "ledger"}
            path, row = configs["rows"][uid]
            published = _published(released, release.repo, release.commit, path)
            assert published["text"][row].as_py() == found.row["text"]
            assert published["id"][row].as_py() == found.entry.id == entry["id"]


def _configs(settings: Settings, repo: str, commit: str, split: str) -> dict[str, dict[str, tuple[str, int]]]:
    """Of each config of a release the records of a split that it tells of: uid → file and row."""
    found: dict[str, dict[str, tuple[str, int]]] = {}
    for path in _paths(settings, repo, commit):
        config, _, name = path.partition("/")
        if path.endswith(".parquet") and name.rsplit("-", 1)[0] == split:
            table = _published(settings, repo, commit, path)
            if "record_uid" in table.column_names:
                uids = (uid if isinstance(uid, str) else uid.hex() for uid in table["record_uid"].to_pylist())
                found.setdefault(config, {}).update({uid: (path, row) for row, uid in enumerate(uids)})
    return found


@lru_cache(64)
def _paths(settings: Settings, repo: str, commit: str) -> list[str]:
    return sorted(open_target(settings.destination).paths(repo, commit))


@lru_cache(512)
def _published(settings: Settings, repo: str, commit: str, path: str) -> pa.Table:
    with open_target(settings.destination).open(repo, path, commit) as stream:
        return pq.read_table(stream)


def test_what_stands_behind_a_removed_record_is_kept_and_released(drawn: list[Row], released: Settings) -> None:
    for entry in (entry for entry in drawn if entry["state"] == "removed"):
        found = explain(entry["record_uid"].hex(), released.catalog, released.store)
        survivor = found.survivor
        assert survivor is not None
        assert (survivor.uid, survivor.state) == (entry["survivor_uid"], "kept")
        assert survivor.id is not None
        assert survivor.id in found.verdict
        stands_for = explain(survivor.record_uid, released.catalog, released.store).stands_for
        assert found.entry in stands_for


def test_without_its_index_each_is_told_the_same(drawn: list[Row], released: Settings, tmp_path: Path) -> None:
    """Every part of the passport, whether it was looked up or all of the tables were looked through."""
    some = drawn[::5]
    uids = [entry["record_uid"].hex() for entry in some]
    looked_up = [explain(uid, released.catalog, released.store) for uid in uids]
    indexes = released.data_dir / Stage.LINEAGE_INDEX
    indexes.rename(tmp_path / "indexes")
    try:
        looked_through = [explain(uid, released.catalog, released.store) for uid in uids]
    finally:
        (tmp_path / "indexes").rename(indexes)
    for with_index, without in zip(looked_up, looked_through, strict=True):
        assert replace(with_index, notes=()) == replace(without, notes=())
    assert Counter(note for found in looked_up for note in found.notes) == {}
