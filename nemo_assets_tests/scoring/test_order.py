"""A part of the rows that looks like the whole."""

from __future__ import annotations

import hashlib

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from nemo_assets.scoring.order import STRATA, stratified_order


def rows_of(strata: list[tuple[str, str | None, bool, int]]) -> pl.DataFrame:
    ids = [f"row-{number}" for number in range(len(strata))]
    columns = {
        "id": ids,
        "text_sha1": [hashlib.sha1(name.encode()).hexdigest() for name in ids],
        **{name: [stratum[place] for stratum in strata] for place, name in enumerate(STRATA[:3])},
        "stats_approx_tokens": [stratum[3] for stratum in strata],
    }
    kinds = {"meta_difficulty_bin": pl.String, "stats_approx_tokens": pl.Int64}
    return pl.DataFrame(columns, schema_overrides=kinds)


STRATUM = st.tuples(
    st.sampled_from(["math", "chat_if"]), st.sampled_from([None, "low"]), st.booleans(), st.integers(1, 3)
)


@given(st.lists(STRATUM, min_size=1, max_size=60), st.randoms())
def test_every_prefix_holds_its_share_of_every_stratum_whatever_the_order_of_the_rows(strata, random) -> None:
    rows = rows_of(strata)
    order = stratified_order(rows)
    assert sorted(order) == list(range(len(strata)))
    taken = rows.with_columns(order=order, length=pl.col("stats_approx_tokens").log(2).floor())
    groups = [stratum for _, stratum in taken.group_by(*STRATA)]
    for n in range(len(strata) + 1):
        for stratum in groups:
            among = stratum.filter(pl.col("order") < n).height
            # of each of the strata half a row may be rounded, which moves the place at which n rows are reached
            assert abs(among - stratum.height * n / len(strata)) <= 1 + len(groups) / 2 * stratum.height / len(strata)
    shuffled = taken.sample(fraction=1, shuffle=True, seed=random.randint(0, 9))
    assert stratified_order(shuffled.drop("order", "length")).to_list() == shuffled["order"].to_list()


def test_rows_of_a_stratum_come_in_the_order_of_their_digests_not_of_the_file() -> None:
    rows = rows_of([("math", "low", False, 5)] * 50)
    order = stratified_order(rows)
    assert rows.with_columns(order=order).sort("order")["text_sha1"].is_sorted()
    assert order.to_list() != list(range(50))
