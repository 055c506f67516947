"""Gaps in the lineage of a split."""

from __future__ import annotations

import polars as pl
import pytest

from nemo_assets.lineage.completeness import find_gaps
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.stages.making import make

RQA = "nemotron-science-v1/RQA"


def test_the_sample_has_no_gaps(sample: Settings) -> None:
    traced = 0
    for split in sample.catalog.splits.values():
        gaps = find_gaps(split, sample.catalog, sample.store, rows=10)
        assert gaps.is_complete, (split.key, gaps)
        assert (gaps.lost_survivors, gaps.unseen) == ((), ())
        traced += gaps.traced
    assert traced > 100


def rewritten(settings: Settings, stage: Stage, change: pl.Expr | None = None, keep: pl.Expr | None = None) -> None:
    """The main table of RQA with other values or fewer rows, as a damaged disk or a faulty stage would leave it."""
    (path,) = settings.store.paths(settings.store.current(stage, RQA))
    rows = pl.read_parquet(path, use_pyarrow=True)
    rows = rows.filter(keep) if keep is not None else rows.with_columns(change)
    path.chmod(0o644)
    rows.write_parquet(path)


def test_a_survivor_that_is_not_kept_is_named(own_sample: Settings) -> None:
    split, store = own_sample.catalog.split(RQA), own_sample.store
    ledger = pl.read_parquet(store.paths(store.current(Stage.LEDGER, RQA)))
    survivors = ledger["survivor_uid"].drop_nulls().unique()
    own = ledger.filter(pl.col("record_uid").is_in(survivors.implode()))["record_uid"]
    assert own.len() > 0
    rewritten(own_sample, Stage.LEDGER, keep=~pl.col("record_uid").is_in(own.implode()))
    gaps = find_gaps(split, own_sample.catalog, store, rows=0)
    assert set(gaps.lost_survivors) == {uid.hex() for uid in own}
    assert not gaps.is_complete


@pytest.mark.parametrize("change", ["state", "record_uid"])
def test_a_record_that_did_not_end_once_is_named(own_sample: Settings, change: str) -> None:
    value = {"state": pl.lit("lost"), "record_uid": pl.col("record_uid").first()}[change]
    rewritten(own_sample, Stage.LEDGER, change=value.alias(change))
    gaps = find_gaps(own_sample.catalog.split(RQA), own_sample.catalog, own_sample.store, rows=0)
    assert len(gaps.ended_otherwise) == (gaps.records if change == "state" else 1)
    assert not gaps.is_complete


def test_a_row_whose_record_says_something_else_is_named(own_sample: Settings) -> None:
    make(Stage.DEDUPED, RQA, own_sample)
    first = pl.int_range(pl.len()) == 0
    rewritten(own_sample, Stage.DEDUPED, change=pl.when(first).then(pl.lit("x")).otherwise("text").alias("text"))
    gaps = find_gaps(own_sample.catalog.split(RQA), own_sample.catalog, own_sample.store, rows=10**6)
    assert gaps.traced == own_sample.store.current(Stage.DEDUPED, RQA).rows()
    assert len(gaps.untraced) == 1
    for path in (own_sample.store.root / Stage.RAW / "blobs").iterdir():
        path.unlink()
    gone = find_gaps(own_sample.catalog.split(RQA), own_sample.catalog, own_sample.store, rows=5)
    assert len(gone.untraced) == gone.traced == 5
