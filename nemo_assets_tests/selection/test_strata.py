"""Cells of equal columns that are large stay; small ones merge with the small ones of the same parent."""

from collections import Counter
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.catalog.subset_policy import Strata
from nemo_assets.selection.strata import NO_STRATUM, length_cuts, length_deciles, stratify, stratum_of
from nemo_assets.selection.traits import CATEGORY

COLUMNS = ("dataset", "meta_domain", "quality_has_tool")


def frame_of(rows: list[tuple]) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pl.DataFrame(
        {
            "dataset": pl.Series(columns[0], dtype=pl.String).cast(CATEGORY),
            "meta_domain": pl.Series(columns[1], dtype=pl.String).cast(CATEGORY),
            "quality_has_tool": pl.Series(columns[2], dtype=pl.Boolean),
        }
    )


def strata_of(
    rows: list[tuple], policy: Strata, inside: list[bool] | None = None
) -> tuple[list[str | None], pl.DataFrame]:
    here = np.array(inside if inside is not None else [True] * len(rows), bool)
    codes, table = stratify(frame_of(rows).select(policy.columns).get_columns(), np.full(len(rows), 10), here, policy)
    labels = [None if code == NO_STRATUM else table["label"][int(code)] for code in codes]
    return labels, table


def test_small_cells_join_the_small_ones_of_their_parent_until_they_are_large_enough():
    rows = (
        [("a", "math", True)] * 4  # large enough by itself
        + [("a", "math", False)] * 2 + [("a", "math", None)] * 1  # together 3: large enough one level up
        + [("a", "chat", True)] * 2  # with nobody of its parent: two levels up it meets the next
        + [("a", "proof", True)] * 1
        + [("b", "math", True)] * 2  # alone in its dataset: only the root takes it
    )  # fmt: skip
    labels, table = strata_of(rows, Strata(COLUMNS, min_rows=3, min_share=1.0))
    assert Counter(labels) == {
        "dataset=a/meta_domain=math/quality_has_tool=true": 4,
        "dataset=a/meta_domain=math": 3,
        "dataset=a": 3,
        "all": 2,
    }
    assert table.rows() == [
        (0, "all", 0, 2, 20),
        (1, "dataset=a", 1, 3, 30),
        (2, "dataset=a/meta_domain=math", 2, 3, 30),
        (3, "dataset=a/meta_domain=math/quality_has_tool=true", 3, 4, 40),
    ]


def test_of_the_two_limits_the_lower_one_holds():
    rows = [("a", "math", True)] * 8 + [("a", "math", False)] * 2
    by_rows, _ = strata_of(rows, Strata(COLUMNS, min_rows=2, min_share=1.0))
    by_share, _ = strata_of(rows, Strata(COLUMNS, min_rows=1000, min_share=0.2))
    neither, _ = strata_of(rows, Strata(COLUMNS, min_rows=3, min_share=0.3))
    assert set(by_rows) == set(by_share)
    assert len(set(by_rows)) == 2
    assert set(neither) == {"dataset=a/meta_domain=math/quality_has_tool=true", "all"}


def test_rows_outside_the_population_are_in_no_stratum_and_are_not_counted():
    rows = [("a", "math", True)] * 3 + [("b", "math", True)]
    labels, table = strata_of(rows, Strata(("dataset",), 1), [True, True, False, False])
    assert labels == ["dataset=a", "dataset=a", None, None]
    assert table.rows() == [(0, "dataset=a", 1, 2, 20)]
    labels, table = strata_of(rows, Strata(("dataset",), 1), [False] * 4)
    assert (labels, table.height) == ([None] * 4, 0)


def test_a_later_row_falls_into_the_finest_stratum_that_there_is():
    rows = [("a", "math", True)] * 4 + [("a", "math", False)] * 3 + [("a", "chat", True)] + [("b", "x", None)]
    labels, table = strata_of(rows, Strata(COLUMNS, min_rows=3, min_share=1.0))
    for values, label in zip(rows, labels, strict=True):
        row = dict(zip(COLUMNS, values, strict=True))
        assert table["label"][stratum_of(row, table, COLUMNS)] == label
    other = {"dataset": "new", "meta_domain": "math", "quality_has_tool": True}
    assert table["label"][stratum_of(other, table, COLUMNS)] == "all"
    without_root = table.filter(pl.col("depth") > 0)
    assert stratum_of(other, without_root, COLUMNS) is None


def test_lengths_are_cut_at_values_that_a_tenth_of_the_rows_does_not_exceed():
    tokens = np.arange(1, 21)
    assert length_cuts(tokens) == (2, 4, 6, 8, 10, 12, 14, 16, 18)
    assert length_deciles(tokens, length_cuts(tokens)).tolist() == [n for n in range(1, 11) for _ in range(2)]
    assert length_cuts(np.array([5, 5, 5])) == (5,) * 9
    assert length_deciles(np.array([1, 5, 6]), (5,) * 9).tolist() == [1, 1, 10]
    assert length_cuts(np.array([7, 3, 9])) == (3, 3, 3, 7, 7, 7, 9, 9, 9)  # ceil(3 t / 10) of 3, 7, 9
    assert length_cuts(np.array([], int)) == ()


@pytest.mark.parametrize("kind", [pl.Int32, pl.UInt8])
def test_whole_numbers_make_strata_as_well(kind):
    column = pl.Series("n", [3, None, 3, 120], dtype=kind)
    codes, table = stratify([column], np.ones(4, int), np.ones(4, bool), Strata(("n",), 1))
    assert [table["label"][int(code)] for code in codes] == ["n=3", "n=", "n=3", "n=120"]


texts = st.sampled_from(["a", "b", "", None])
cells = st.lists(st.tuples(texts, texts, st.sampled_from([True, False, None])), max_size=60)


@settings(deadline=None)  # the first example may compile
@given(cells, st.integers(1, 12), st.floats(0, 1), st.randoms(use_true_random=False))
def test_strata_are_a_partition_that_the_order_of_rows_does_not_change(rows, enough, share, random: Random):
    policy = Strata(COLUMNS, enough, share)
    labels, table = strata_of(rows, policy)
    assert labels == slow_strata(rows, min(enough, share * len(rows)))
    assert dict(Counter(labels)) == dict(table.select("label", "rows").iter_rows())
    assert table["label"].to_list() == sorted(table["label"])
    places = random.sample(range(len(rows)), len(rows))
    shuffled, again = strata_of([rows[place] for place in places], policy)
    assert shuffled == [labels[place] for place in places]
    assert again.equals(table)


def slow_strata(rows: list[tuple], enough: float) -> list[str]:
    """The same by the words of the rule."""
    names = [
        [f"{name}={'' if value is None else str(value).lower()}" for name, value in zip(COLUMNS, row, strict=True)]
        for row in rows
    ]
    labels: list[str | None] = [None] * len(rows)
    for depth in (3, 2, 1, 0):
        prefixes = ["/".join(name[:depth]) or "all" for name in names]
        sizes = Counter(prefix for prefix, label in zip(prefixes, labels, strict=True) if label is None)
        for number, prefix in enumerate(prefixes):
            if labels[number] is None and (depth == 0 or sizes[prefix] >= enough):
                labels[number] = prefix
    return [label for label in labels if label is not None]
