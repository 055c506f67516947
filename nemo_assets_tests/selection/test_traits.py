"""Files of traits are put together in the order of splits, whatever categories each has; columns follow the schemas."""

import polars as pl
import pytest

from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.scoring.rows import SCORE_SCHEMA
from nemo_assets.selection.traits import (
    CATEGORY,
    ROW_TRAITS,
    SCHEMA,
    SCORE_TRAITS,
    TRAIT_COLUMNS,
    read_traits,
    write_traits,
)
from nemo_assets_tests.selection.scored_rows import traits_of


def test_what_is_written_is_read_by_split_with_only_the_columns_asked_for(tmp_path):
    parts = [
        [{"dataset": "a", "pools": ["x"], "nll_mean": 0.5}, {"dataset": None, "pools": []}],
        [{"dataset": "c", "row": 7}],
        [{"dataset": "b"}, {"dataset": "a"}],
    ]
    paths = [tmp_path / f"{number}.arrow" for number in range(3)]
    for path, rows in zip(paths, parts, strict=True):
        write_traits(path, traits_of(rows).drop("split_number"))
    read = read_traits([paths[:2], [], paths[2:]], {"dataset", "pools", "percentile"})
    assert read.to_dict(as_series=False) == {
        "split_number": [0, 0, 0, 2, 2],
        "row": [0, 1, 7, 0, 1],
        "dataset": ["a", None, "c", "b", "a"],
        "pools": [["x"], [], [], [], []],
    }
    assert read.schema == {"split_number": pl.UInt16} | {name: SCHEMA[name] for name in ("row", "dataset", "pools")}
    assert read.n_chunks("all") == [1, 1, 1, 1]
    everything = read_traits([paths[:1]], SCHEMA)
    assert everything.equals(traits_of(parts[0]))


@pytest.mark.parametrize("splits", [[], [[], []]])
def test_no_file_is_an_empty_table(splits):
    assert read_traits(splits, {"dataset"}).schema == {"split_number": pl.UInt16, "row": pl.UInt32, "dataset": CATEGORY}


def test_every_trait_is_a_column_of_the_rows_or_made_of_those_of_the_scores():
    assert set(ROW_TRAITS) <= set(ROW_SCHEMA.names) & set(TRAIT_COLUMNS)
    scores = pl.DataFrame(pl.from_arrow(SCORE_SCHEMA.empty_table()))
    for traits in SCORE_TRAITS.values():
        made = scores.select(expression.alias(name) for name, expression in traits.items())
        assert made.cast({name: TRAIT_COLUMNS[name] for name in traits}).columns == list(traits)
    sums = {"final_nll_sum": [6.0, None, 0.0], "final_token_count": [4, None, 0]}
    means = pl.DataFrame(sums).select(SCORE_TRAITS["student"]["final_nll_mean"])
    assert means.to_series().to_list() == [1.5, None, None]
