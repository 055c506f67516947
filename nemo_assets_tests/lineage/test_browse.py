from __future__ import annotations

from pathlib import Path

import pytest

from nemo_assets.errors import UserError
from nemo_assets.lineage import query, sample
from nemo_assets.storage import Store
from nemo_assets_tests.lineage.chain import LINES, LOW, MCQ, RQA, World


def test_a_sample_holds_only_matching_rows_and_repeats_under_its_seed(world: World):
    drawn = sample("normalized", MCQ, world.store, where="source_row >= 1", n=2, seed=3)
    assert drawn.height == 2
    assert drawn["source_row"].min() >= 1
    assert drawn["source_row"].is_sorted()
    assert drawn.equals(sample("normalized", MCQ, world.store, where="source_row >= 1", n=2, seed=3))
    draws = {tuple(sample("normalized", MCQ, world.store, n=2, seed=seed)["source_row"]) for seed in range(30)}
    assert len(draws) == 6  # every pair of four rows


def test_a_sample_larger_than_the_matches_is_all_of_them(world: World):
    rejected = sample("normalized.rejected", LOW, world.store, n=99)
    assert rejected["raw"].to_list() == [LINES[LOW][row] for row in (2, 3, 5)]
    assert sample("ledger", LOW, world.store, where="state = 'kept' AND source_row > 10").height == 0
    assert sample("scored", LOW, world.store)["nll_mean"].to_list() == [1.25, 2.25]


@pytest.mark.parametrize(
    ("stage", "partition", "where", "message"),
    [
        ("normalised", LOW, None, "no such stage. There are raw, evaluation_sets, normalized"),
        ("normalized.nope", LOW, None, "tables normalized.rejected, normalized.rows, normalized.tools"),
        ("raw", LOW, None, "no tables of rows"),
        (
            "ledger",
            "nemotron-math-v2/nope",
            None,
            "ledger does not exist for it. It exists for nemotron-math-v2/low",
        ),
        ("ledger", LOW, "stat = 'kept'", "has no column stat. It has record_uid, dataset"),
        ("ledger", LOW, "state =", "no condition over ledger of"),
        ("ledger", LOW, "source_row + 1", "no condition over ledger of"),
    ],
)
def test_what_cannot_be_sampled_is_said_in_one_line(
    world: World, stage: str, partition: str, where: str | None, message: str
):
    with pytest.raises(UserError, match=message) as raised:
        sample(stage, partition, world.store, where=where)
    assert "\n" not in str(raised.value)


def test_sql_counts_over_all_splits(world: World):
    counts = query("SELECT state, count(*) AS n FROM ledger GROUP BY state", world.catalog, world.store)
    assert dict(counts.iter_rows()) == {"kept": 10, "rejected": 6, "removed": 4}


def test_sql_joins_stages_on_uids_in_hex(world: World):
    joined = query(
        "SELECT d.partition, s.id AS survivor FROM duplicates d JOIN signatures s ON d.survivor_uid = s.record_uid "
        "WHERE s.id = 'mcq-first' ORDER BY d.partition",
        world.catalog,
        world.store,
    )
    assert joined.rows() == [(MCQ, "mcq-first"), (RQA, "mcq-first")]
    uid = query("SELECT record_uid FROM deduped WHERE id = 'mcq-first'", world.catalog, world.store).item()
    found = query(f"SELECT partition, pools FROM pools WHERE record_uid = '{uid}'", world.catalog, world.store)
    assert found.rows() == [(MCQ, ["candidates_missing_correctness_meta"])]


def test_a_limit_holds_whatever_the_query_says(world: World):
    assert query("SELECT id FROM normalized", world.catalog, world.store, limit=3).height == 3


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT zz FROM ledger", 'unable to find column "zz".*ledger has columns record_uid, .*, partition'),
        ("SELECT * FROM nope", "relation 'nope' was not found. Tables are normalized, rejected, tools"),
        ("SELEC", "sql parser error"),
        ("", "one .* statement"),
    ],
)
def test_an_sql_error_is_one_line_with_what_there_is(world: World, sql: str, message: str):
    with pytest.raises(UserError, match=message) as raised:
        query(sql, world.catalog, world.store)
    assert "\n" not in str(raised.value)


def test_a_table_not_made_yet_is_named(world: World, tmp_path: Path):
    with pytest.raises(UserError, match="scored is not made yet"):
        query("SELECT * FROM scored", world.catalog, Store(tmp_path))
