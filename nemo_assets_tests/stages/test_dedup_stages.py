"""From signatures to the ledger: decisions and rows stay in step, and every record has one fate."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pytest

from nemo_assets.dedup.signatures import signatures_of
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.stages import signatures
from nemo_assets.storage import Basis, Stage, Store
from nemo_assets.storage.parquet import ROW_GROUP_ROWS, PartWriter
from nemo_assets_tests.stages.making import files_below, make, make_chain, rows_of

LOW, MEDIUM, CHAT = "nemotron-math-v2/low", "nemotron-math-v2/medium", "nemotron-instruction-following-chat-v1/chat_if"
LOW_FILE = "nvidia/Nemotron-Math-v2/data/low.jsonl"


@pytest.fixture
def changeable(own_sample: Settings, tmp_path: Path) -> Settings:
    """The sample up to pools, with sources that a test may change."""
    shutil.copytree(HUB, tmp_path / "sources")
    return replace(own_sample, source_dir=tmp_path / "sources")


def change_low(settings: Settings, change: slice) -> None:
    """Keep some lines of the low split, and normalize it again."""
    assert settings.source_dir is not None
    path = settings.source_dir / LOW_FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[change]))
    make(Stage.RAW, LOW, settings)
    make(Stage.NORMALIZED, LOW, settings)


def test_rows_are_not_deduplicated_by_decisions_about_others(changeable: Settings) -> None:
    before = changeable.store.current(Stage.DEDUPED, LOW)
    change_low(changeable, slice(0, 30))
    with pytest.raises(
        UserError,
        match=r"looked at another version .*Materialise signatures of nemotron-math-v2/low and duplicates of distilled",
    ):
        make(Stage.DEDUPED, LOW, changeable)
    assert changeable.store.current(Stage.DEDUPED, LOW) == before
    make(Stage.DEDUPED, MEDIUM, changeable)  # what was decided about it still holds


@pytest.mark.parametrize("stage", [Stage.LEDGER, Stage.PUBLISHED])
def test_nothing_is_put_together_from_two_versions_of_a_split(changeable: Settings, stage: Stage) -> None:
    change_low(changeable, slice(1, 42))  # as many rejections as before, of other records
    before = changeable.store.find(stage, LOW)
    with pytest.raises(
        UserError, match=r"deduped is older than normalized\. Materialise deduped of nemotron-math-v2/low first"
    ):
        make(stage, LOW, changeable)
    assert changeable.store.find(stage, LOW) == before


def test_a_change_in_one_split_reaches_only_the_splits_that_name_its_rows(changeable: Settings) -> None:
    """The rows of a changed file have new uids, so the splits with a duplicate of one of them name another survivor."""
    store = changeable.store
    removed = rows_of(store.current(Stage.DUPLICATES, "distilled"), store, "removed").to_pylist()
    partition_of = {
        uid: key
        for key in changeable.catalog.scopes["distilled"]
        for uid in rows_of(store.current(Stage.NORMALIZED, key), store)["record_uid"].to_pylist()
    }
    concerned = {partition_of[row["record_uid"]] for row in removed if row["survivor_partition"] == LOW} | {LOW}
    before = {key: store.current(Stage.DEDUPED, key) for key in changeable.catalog.splits}
    change_low(changeable, slice(0, 41))
    made = make_chain(changeable, Stage.DEDUPED)
    assert made[:2] == [(Stage.SIGNATURES, LOW), (Stage.DUPLICATES, "distilled")]
    assert 1 < len(concerned) < 6
    assert (
        {key for _, key in made[2:]}
        == {key for key in before if store.current(Stage.DEDUPED, key) != before[key]}
        == concerned
    )


def test_a_rerun_whose_content_is_equal_stops_there(changeable: Settings) -> None:
    """Another code version makes signatures again; their data version, which is what duplicates compare, stays."""
    store = changeable.store
    signatures = store.current(Stage.SIGNATURES, CHAT)
    older = msgspec.structs.replace(signatures, version="0" * 16, settings={"code": "older"})
    store.write_manifest(older)
    assert make_chain(changeable, Stage.POOLS) == [(Stage.SIGNATURES, CHAT)]
    assert store.current(Stage.SIGNATURES, CHAT) == signatures


def test_survivors_are_never_removed_and_every_removal_is_in_the_ledger(sample: Settings) -> None:
    store = sample.store
    for scope, keys in sample.catalog.scopes.items():
        removed = rows_of(store.current(Stage.DUPLICATES, scope), store, "removed")
        gone, survivors = set(removed["record_uid"].to_pylist()), set(removed["survivor_uid"].to_pylist())
        assert len(gone) == removed.num_rows
        assert not gone & survivors
        ledger = pl.concat([pl.read_parquet(store.paths(store.current(Stage.LEDGER, key))) for key in keys])
        assert set(ledger.filter(pl.col("state") == "removed")["record_uid"]) == gone
        assert survivors <= set(ledger.filter(pl.col("state") == "kept")["record_uid"])
        assert not ledger["record_uid"].is_duplicated().any()


def test_each_split_has_what_was_decided_about_its_own_rows_in_order(sample: Settings) -> None:
    store = sample.store
    orders = {"removed": ("part", "record_uid"), "renamed": ("record_uid",), "relations": ("record_uid", "kind")}
    for scope, keys in sample.catalog.scopes.items():
        duplicates = store.current(Stage.DUPLICATES, scope)
        for table, order in orders.items():
            for key, path in zip(keys, store.paths(duplicates, table), strict=True):
                rows = pl.read_parquet(path)
                own = rows_of(store.current(Stage.NORMALIZED, key), store)["record_uid"].to_pylist()
                assert set(rows["record_uid"]) <= set(own)
                assert rows.equals(rows.sort(*order))
        assert duplicates.counters["removed"] == rows_of(duplicates, store, "removed").num_rows > 0
        assert sum(duplicates.counters["relations"].values()) == rows_of(duplicates, store, "relations").num_rows


def test_output_does_not_depend_on_the_number_of_workers(sample: Settings, own_sample: Settings) -> None:
    shutil.rmtree(own_sample.data_dir / Stage.DEDUPED)
    parallel = replace(own_sample, workers=2)
    for key in parallel.catalog.splits:
        make(Stage.DEDUPED, key, parallel)
    assert files_below(own_sample.data_dir / Stage.DEDUPED) == files_below(sample.data_dir / Stage.DEDUPED)


def test_a_record_with_two_fates_makes_no_ledger_current(own_sample: Settings) -> None:
    """A row that was kept although it was rejected too: the ledger of the file has one entry too many."""
    store = own_sample.store
    before, deduped = store.current(Stage.LEDGER, LOW), store.current(Stage.DEDUPED, LOW)
    twice = msgspec.structs.replace(deduped, parts=deduped.parts + deduped.table("rows"), data_version="f" * 16)
    store.write_manifest(twice)
    with pytest.raises(
        ConservationError, match=r"data/low\.jsonl holds 42 records, the ledger 78 entries for 42 of them"
    ):
        make(Stage.LEDGER, LOW, own_sample)
    assert store.current(Stage.LEDGER, LOW) == before


def test_a_scope_without_signatures_says_what_to_make(settings: Settings) -> None:
    with pytest.raises(
        UserError, match=r"rendered: no split of this scope has signatures yet\. Materialise signatures"
    ):
        make(Stage.DUPLICATES, "rendered", settings)


def test_ids_that_name_two_kept_rows_are_made_longer_for_both(settings: Settings, tmp_path: Path) -> None:
    """A source whose uuid names two rows although the catalog says it names one."""
    repo = "nvidia/Nemotron-Science-v1"
    shutil.copytree(HUB / repo, tmp_path / "sources" / repo)
    path = tmp_path / "sources" / repo / "data" / "MCQ.jsonl"
    records = [line for line in path.read_bytes().splitlines() if b'"messages"' in line][:3]
    values = [msgspec.json.decode(record) for record in records]
    lines = [
        msgspec.json.encode(value | {"uuid": uuid}) for value, uuid in zip(values, ("same", "same", "own"), strict=True)
    ]
    path.write_bytes(b"\n".join(lines))
    own = replace(settings, source_dir=tmp_path / "sources")
    make_chain(own, Stage.LEDGER, ["nemotron-science-v1/MCQ"])
    rows = rows_of(own.store.current(Stage.DEDUPED, "nemotron-science-v1/MCQ"), own.store).to_pylist()
    assert [row["id"] for row in rows] == [
        f"same-{rows[0]['content_sha1'][:12]}",
        f"same-{rows[1]['content_sha1'][:12]}",
        "own",
    ]
    ledger = rows_of(own.store.current(Stage.LEDGER, "nemotron-science-v1/MCQ"), own.store)
    assert ledger["id"].to_pylist() == [row["id"] for row in rows]


def test_what_a_cluster_signs_is_written_in_the_batches_of_this_machine(sample: Settings, tmp_path: Path) -> None:
    rows = rows_of(sample.store.current(Stage.NORMALIZED, LOW), sample.store)
    many = pa.concat_tables([rows] * (2 * ROW_GROUP_ROWS // rows.num_rows + 1)).slice(0, ROW_GROUP_ROWS + 300)
    source = tmp_path / "rows.parquet"
    with PartWriter(source, many.schema) as writer:
        for begin in (0, ROW_GROUP_ROWS):
            writer.write(many.slice(begin, ROW_GROUP_ROWS))
    with Store(tmp_path).staging(Stage.SIGNATURES, LOW, Basis({}, {})) as staging:
        piece = signatures.Piece(0, many.num_rows, source, (), b"", staging)
        here = signatures._sign_unit(piece)
        whole = signatures_of(many)
        there = signatures._write_unit(piece, signatures._in_batches(piece, whole))
    assert there == here
