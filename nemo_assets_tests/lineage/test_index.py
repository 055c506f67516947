from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pytest

from nemo_assets.errors import UserError
from nemo_assets.lineage import explain
from nemo_assets.lineage.entries import Ledger, ScannedLedger
from nemo_assets.lineage.index import LOOKUPS, LineageIndex, connection
from nemo_assets.lineage.references import find_entry
from nemo_assets.lineage.stage_rows import row_at, row_named, values_at
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.lineage.chain import LOW, MCQ, PARTITIONS, World
from nemo_assets_tests.lineage.indexing import build, copied, indexed_copy

MOST = 1_000


@pytest.fixture(scope="module")
def indexed(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small world with an index of every split."""
    return indexed_copy(world, tmp_path_factory.mktemp("indexed"))


def opened(settings: Settings, key: str) -> LineageIndex:
    index = LineageIndex.open(settings.store, key)
    assert index is not None
    return index


def scanned(settings: Settings, key: str) -> ScannedLedger:
    ledger = ScannedLedger.find(key, settings.store)
    assert ledger is not None
    return ledger


def names_of(settings: Settings, key: str) -> Iterator[str]:
    """Every name that some record of the split may be asked for by, and some that name nothing."""
    ledger = pl.read_parquet(settings.store.paths(settings.store.current(Stage.LEDGER, key)))
    rows = pl.read_parquet(settings.store.paths(settings.store.current(Stage.NORMALIZED, key)))
    for name in {*ledger["id"], *rows["source_uuid"], *rows["meta_problem_id"]} - {None}:
        yield from (name, name[:6], name[:-1], name + "0", name.upper())
    for uid in ledger["record_uid"]:
        yield from (uid.hex(), uid.hex().upper(), uid.hex()[:7], uid.hex()[:12])
    yield from ("", "f", "no such record", "%", "é" * 40, "0" * 40)


def answers(ledger: Ledger, name: str) -> list[object]:
    uid = bytes.fromhex(name) if len(name) == 32 and name.isalnum() else b""
    answered: list[object] = [ledger.by_uid(uid), ledger.removed_for(uid, MOST), ledger.count_removed_for(uid)]
    return [ledger.named(name, MOST), ledger.of_source_name(name, MOST), ledger.beginning(name, MOST), *answered]


@pytest.mark.parametrize("key", PARTITIONS)
def test_every_question_has_the_answer_that_reading_the_ledger_gives(indexed: World, key: str):
    agrees(indexed.settings, key, names_of(indexed.settings, key))


def test_it_has_in_the_sample_too(own_sample: Settings):
    for key in own_sample.catalog.splits:
        build(own_sample, key)
        agrees(own_sample, key, sorted(names_of(own_sample, key))[::40])


def agrees(settings: Settings, key: str, names: Iterable[str]) -> None:
    """Compare the answers of both to every question."""
    index, ledger = opened(settings, key), scanned(settings, key)
    for name in names:
        assert answers(index, name) == answers(ledger, name), (key, name)
    assert index.named("\udcff", MOST) == []  # polars takes no lone surrogate
    assert index.files() == ledger.files()
    for file, records in ledger.files().items():
        places = [(file, row) for row in (-1, 0, records // 2, records - 1, records)] + [("no file", 0)]
        assert [index.at(*place) for place in places] == [ledger.at(*place) for place in places]


def test_a_record_is_explained_alike_with_and_without_an_index(world: World, tmp_path: Path):
    made = copied(world, tmp_path)
    uids = [
        uid.hex()
        for key in PARTITIONS
        for uid in pl.read_parquet(made.store.paths(made.store.current(Stage.LEDGER, key)))["record_uid"]
    ]
    without = [explain(uid, made.catalog, made.store) for uid in uids]
    for key in PARTITIONS:
        build(made.settings, key)
    for uid, expected in zip(uids, without, strict=True):
        found = explain(uid, made.catalog, made.store)
        note = (
            f"{found.entry.partition} has no current lineage_index (never made): its ledger was read through instead."
        )
        assert set(expected.notes) - set(found.notes) == {note}
        assert replace(found, notes=()) == replace(expected, notes=())


@pytest.mark.parametrize("question", LOOKUPS)
def test_no_question_reads_the_whole_table(indexed: World, question: str):
    reading = connection(opened(indexed.settings, LOW).record_file)
    sql = LOOKUPS[question]
    plan = [step[3] for step in reading.execute(f"EXPLAIN QUERY PLAN {sql}", [0] * sql.count("?"))]
    assert plan[0].startswith("SEARCH")
    assert not any(step.startswith("SCAN") for step in plan)


def test_rows_lie_where_the_index_says(indexed: World):
    for key in PARTITIONS:
        index = opened(indexed.settings, key)
        pools = pl.read_parquet(indexed.store.paths(indexed.store.current(Stage.POOLS, key)))
        pools_of = dict(pools.select("record_uid", "pools").iter_rows())
        for number, entry in enumerate(index.entries(range(index.records))):
            assert index.number_of(entry) == number
            place, row = index.located(number), index.row(number)
            expected = pools_of.get(entry.uid)
            assert place.pools == (None if expected is None else tuple(expected))
            if entry.state == "rejected":
                assert (row, place.source) == (None, "rejected")
                continue
            assert row is not None
            assert (row["record_uid"], row["id"]) == (entry.uid, entry.id)
            assert place.stage == ("deduped" if entry.state == "kept" else "normalized")
            assert entry in index.by_content(row["content_sha1"], MOST)
            assert entry in index.by_text_sha1(row["text_sha1"].upper(), MOST)
            assert index.texts([number]) == [row["text"]]


@pytest.mark.parametrize("key", PARTITIONS)
def test_tables_of_other_stages_have_the_record_where_the_index_says(indexed: World, key: str):
    index, store = opened(indexed.settings, key), indexed.store
    entries = index.entries(range(index.records))
    places = [index.place_of(entry.uid) for entry in entries]
    signed, pools = (store.current(stage, key) for stage in (Stage.SIGNATURES, Stage.POOLS))
    for manifest, table, numbers in (
        (signed, "rows", [place.base for place in places if place]),
        (pools, "rows", [place.kept for place in places if place]),
        (pools, "joined", [place.joined for place in places if place]),
    ):
        assert len(numbers) == index.records
        paths = store.paths(manifest, table)
        uids = pl.read_parquet(paths)["record_uid"].to_list() if paths else []
        found = {number: entry.uid for number, entry in zip(numbers, entries, strict=True) if number is not None}
        assert [found[number] for number in sorted(found)] == uids
        assert sorted(found) == list(range(len(uids)))
    assert index.place_of(bytes(16)) is None
    assert {place.pools_version for place in places if place} == {pools.data_version}


def test_scores_lie_in_the_order_of_the_kept_rows(indexed: World):
    index, scored = opened(indexed.settings, LOW), indexed.store.current(Stage.SCORED, LOW)
    ids = pl.read_parquet(indexed.store.paths(scored, "scores.student"))["id"].to_list()
    kept = [entry for entry in index.entries(range(index.records)) if entry.state == "kept"]
    places = [index.place_of(entry.uid) for entry in kept]
    assert {place.kept: entry.id for place, entry in zip(places, kept, strict=True) if place} == dict(enumerate(ids))


@pytest.mark.parametrize("place", [None, 0, 1, 2, 3, 99])
def test_a_row_is_found_wherever_it_was_thought_to_lie(indexed: World, place: int | None):
    pools = indexed.store.current(Stage.POOLS, LOW)
    rows = pl.read_parquet(indexed.store.paths(pools)).to_dicts()
    for row in rows:
        assert row_named(indexed.store, pools, "rows", ("record_uid", row["record_uid"]), place) == row
        named = row_named(indexed.store, pools, "rows", ("id", row["id"]), place, ["pools"])
        assert named == {"id": row["id"], "pools": row["pools"]}
    assert row_named(indexed.store, pools, "rows", ("record_uid", bytes(16)), place) is None
    assert row_named(indexed.store, pools, "no such table", ("id", rows[0]["id"]), place) is None


def test_a_row_of_a_large_row_group_is_that_of_a_small_one(tmp_path: Path):
    rows = pl.DataFrame(
        {"text": [f"{n} " * 300_000 for n in range(12)], "n": range(12), "of": [[n] for n in range(12)]}
    )
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=5, compression="uncompressed")
    for number in range(12):
        assert row_at(tmp_path / "rows.parquet", number) == rows.row(number, named=True)
        assert row_at(tmp_path / "rows.parquet", number, ["n"]) == {"n": number}
    assert values_at(tmp_path / "rows.parquet", [11, 0, 5, 0], "n") == [11, 0, 5, 0]
    assert row_at(tmp_path / "rows.parquet", 12) is None
    assert row_at(tmp_path / "gone.parquet", 0) is None


def test_equal_content_is_found_together(indexed: World):
    index = opened(indexed.settings, MCQ)
    first = index.by_id("mcq-first", MOST)[0]
    row = index.row(index.number_of(first))
    assert row is not None
    assert [entry.id for entry in index.by_content(row["content_sha1"], MOST)] == ["mcq-first", "mcq-again"]
    assert [entry.id for entry in index.members(first.uid, MOST)] == ["mcq-first", "mcq-again"]
    almost = row["content_sha1"][:16] + "0" * 24  # the digest in the index is cut, that of the row is not
    assert index.by_content(almost, MOST) == []


def test_an_index_older_than_its_ledger_or_without_its_files_is_not_used(world: World, tmp_path: Path):
    made = copied(world, tmp_path)
    manifest = build(made.settings, LOW)
    assert LineageIndex.open(made.store, LOW) is not None
    assert LineageIndex.open(made.store, MCQ) is None
    ledger = made.store.current(Stage.LEDGER, LOW)
    made.store.write_manifest(msgspec.structs.replace(ledger, data_version="another"))
    assert LineageIndex.open(made.store, LOW) is None
    made.store.write_manifest(ledger)
    made.store.path(manifest.parts[-1]).unlink()
    assert LineageIndex.open(made.store, LOW) is None


def test_a_damaged_index_says_what_to_do(world: World, tmp_path: Path):
    made = copied(world, tmp_path)
    path = made.store.paths(build(made.settings, LOW), "records")[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:8_192] + bytes(len(whole) - 8_192))  # what the first page promises is not there
    with pytest.raises(UserError, match=r"index is damaged .* Delete it and materialise lineage_index"):
        find_entry("nemotron-math-v2:low::0", made.catalog, made.store)


def test_a_reader_keeps_its_version(own_sample: Settings):
    key = "nemotron-math-v2/low"
    old = build(own_sample, key)
    index = opened(own_sample, key)
    everything = index.entries(range(index.records))
    for part in old.parts:
        own_sample.store.path(part).unlink()
    new = build(own_sample, key)
    assert index.entries(range(index.records)) == everything
    assert new.data_version == old.data_version


def test_every_row_is_found_by_its_address_in_the_viewer(indexed: World, world: World):
    for made in (indexed, world):
        for key in PARTITIONS:
            for file, records in opened(indexed.settings, key).files().items():
                slug, _, split = key.partition("/")
                named = explain(f"{slug}:{split}:{file}:{records - 1}", made.catalog, made.store)
                found = find_entry(named.origin.viewer_url, made.catalog, made.store)
                assert (found.entry, found.matched_by) == (named.entry, "row in the viewer")
    with pytest.raises(UserError, match=r"data/low.jsonl of nemotron-math-v2/low has no row 6"):
        find_entry(
            "https://huggingface.co/datasets/nvidia/Nemotron-Math-v2/viewer/default/low?row=6",
            indexed.catalog,
            indexed.store,
        )
