from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.catalog import Pool
from nemo_assets.dedup.compared import texts_of
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.settings import Settings
from nemo_assets.stages.lineage_index import build_lineage_index, index_basis, searchable
from nemo_assets.stages.lineage_records import cut_digest, measured_of
from nemo_assets.stages.pools import build_pools
from nemo_assets.stages.search_words import FREQUENCY_SLOTS, slot_of, word_pattern, words_of
from nemo_assets.storage import Manifest, Stage
from nemo_assets.storage.parquet import write_part

KEY = "nemotron-math-v2/low"


def build(made: Settings, workers: int = 1) -> Manifest:
    return build_lineage_index(made.catalog.split(KEY), made.catalog, made.store, workers)


def bytes_of(made: Settings, manifest: Manifest) -> dict[str, bytes]:
    return {part.table: made.store.path(part).read_bytes() for part in manifest.parts}


def inode(made: Settings, manifest: Manifest, table: str) -> int:
    return made.store.paths(manifest, table)[0].stat().st_ino


def test_an_index_says_over_how_many_records_it_was_made_and_is_made_once(own_sample: Settings):
    made = build(own_sample)
    ledger = own_sample.store.current(Stage.LEDGER, KEY)
    assert made.counters["records"] == ledger.rows() == 42
    assert {name: made.counters[name] for name in ledger.counters} == ledger.counters
    assert made.counters["texts"] == 42
    assert made.details["built"]
    assert build(own_sample) == made
    pools = own_sample.store.current(Stage.POOLS, KEY)
    basis = index_basis(ledger, pools)
    assert own_sample.store.find_current(Stage.LINEAGE_INDEX, KEY, basis) == made


def test_bytes_depend_neither_on_workers_nor_on_whether_signatures_are_there(own_sample: Settings):
    first = bytes_of(own_sample, build(own_sample))
    index = own_sample.store.directory(Stage.LINEAGE_INDEX, KEY)
    index.rename(index.with_name("first"))
    (own_sample.store.directory(Stage.SIGNATURES, KEY) / "manifest.json").unlink()
    assert bytes_of(own_sample, build(own_sample, workers=2)) == first


def test_new_pools_take_words_and_sketches_over(own_sample: Settings):
    first = build(own_sample)
    policy = own_sample.catalog.pool_policy
    pools = {**policy.pools, "added": Pool(predicate="stats_char_len > 0", purpose="scoring")}
    catalog = msgspec.structs.replace(own_sample.catalog, pool_policy=msgspec.structs.replace(policy, pools=pools))
    split = own_sample.catalog.split(KEY)
    build_pools(split, catalog, own_sample.store)
    second = build(own_sample)
    assert second.version != first.version
    assert [inode(own_sample, second, table) for table in ("text", "sketches")] == [
        inode(own_sample, first, table) for table in ("text", "sketches")
    ]
    assert inode(own_sample, second, "records") != inode(own_sample, first, "records")
    assert second.counters == first.counters


def test_a_killed_build_goes_on_where_it_was(own_sample: Settings):
    first = build(own_sample)
    untouched, lost = (own_sample.store.paths(first, table)[0] for table in ("records", "text"))
    number = untouched.stat().st_ino
    own_sample.store.directory(Stage.LINEAGE_INDEX, KEY).joinpath("manifest.json").unlink()
    lost.unlink()
    again = build(own_sample)
    assert again.data_version == first.data_version
    assert untouched.stat().st_ino == number
    assert lost.is_file()


@pytest.mark.parametrize("stage", [Stage.NORMALIZED, Stage.DEDUPED])
def test_a_ledger_of_other_rows_is_refused(own_sample: Settings, stage: Stage):
    manifest = own_sample.store.current(stage, KEY)
    own_sample.store.write_manifest(msgspec.structs.replace(manifest, data_version="newer"))
    with pytest.raises(UserError, match=f"the ledger is older than {stage}. Materialise ledger of {KEY} first"):
        build(own_sample)
    assert own_sample.store.find(Stage.LINEAGE_INDEX, KEY) is None


def test_a_ledger_that_lacks_a_record_gives_no_index(own_sample: Settings, tmp_path: Path):
    store = own_sample.store
    ledger = store.current(Stage.LEDGER, KEY)
    entries = pl.read_parquet(store.paths(ledger))
    path = store.path(ledger.parts[0]).with_name("short.parquet")
    write_part(path, entries.slice(1).to_arrow())
    part = msgspec.structs.replace(ledger.parts[0], path=path.relative_to(store.root).as_posix())
    store.write_manifest(msgspec.structs.replace(ledger, parts=(part,)))
    with pytest.raises(ConservationError, match="does not hold each of 42 records once"):
        build(own_sample)
    assert store.find(Stage.LINEAGE_INDEX, KEY) is None


def test_pools_of_other_rows_are_left_out(own_sample: Settings):
    store = own_sample.store
    pools = store.current(Stage.POOLS, KEY)
    store.write_manifest(msgspec.structs.replace(pools, inputs={"deduped": "older"}))
    assert "pools" not in build(own_sample).inputs


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1))
def test_words_are_those_that_the_pattern_finds(texts: list[str]):
    frequencies = np.zeros(FREQUENCY_SLOTS, np.uint32)
    found = words_of(texts_of(pa.array(texts)), frequencies)
    expected = [[lower(word) for word in word_pattern.findall(text)] for text in texts]
    assert [words.decode().split(" ")[:-1] for words in found] == expected
    assert frequencies.sum() == sum(map(len, expected))
    for word in {word for words in expected for word in words}:
        assert frequencies[slot_of(word)] >= sum(words.count(word) for words in expected)


def lower(word: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in word)


def test_short_words_are_left_out_and_characters_without_spaces_stand_alone():
    found = words_of(texts_of(pa.array(["Is 12 of 123 naïve? 日本語、x−y ЖУК"])), np.zeros(FREQUENCY_SLOTS, np.uint32))
    assert found[0].decode().split() == ["123", "naïve", "日", "本", "語", "、", "ЖУК"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"a": "one", "b": [{"c": "two"}, 3, null, "three"]}', "one\ntwo\nthree"),
        (b"no \xff JSON", "no \ufffd JSON"),
        (b'"\\ud800"', '"\\ud800"'),
        (b"[" * 100_000, "[" * 100_000),
        (b"", ""),
    ],
)
def test_a_rejected_record_is_searched_by_its_strings(raw: bytes, text: str):
    assert searchable(raw) == text


@pytest.mark.parametrize(
    ("evidence", "measured"),
    [
        ({"rule": "r", "reason": "nesting", "depth": 1207, "limit": 1000}, ("r", 1000.0, 1207.0)),
        ({"rule": "r", "share": 0.75, "further": 2}, ("r", None, 0.75)),
        ({"reason": "blank_line"}, (None, None, None)),
    ],
)
def test_what_a_rejection_measured(evidence: dict[str, object], measured: tuple[object, ...]):
    assert measured_of(evidence) == measured


def test_a_digest_is_cut_to_a_signed_number():
    assert cut_digest("0000000000000001" + "f" * 24) == 1
    assert cut_digest("f" * 40) == -1
