"""Residuals are log NLL less what rows of the same stratum and length have."""

import math

import numpy as np
import polars as pl
import pytest

from nemo_assets.selection.residual import BIN_ROWS, KNOTS, SMALLEST_NLL, _bin_of, merged_bins, residual, residuals
from nemo_assets.selection.strata import NO_STRATUM


def residuals_of(
    nlls: list[float], tokens: list[int], strata: list[int], count: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    return residuals(np.array(nlls, np.float32), np.array(tokens, np.int32), np.array(strata, np.uint32), count)


def test_bins_are_half_octaves():
    assert [_bin_of(tokens) for tokens in (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 1 << 20)] == [
        0,
        2,
        3,
        4,
        4,
        5,
        5,
        6,
        6,
        7,
        40,
    ]


def test_small_bins_merge_with_the_next_and_the_rest_with_the_last():
    assert merged_bins(10, np.array([10, 40, 70, 120, 130])) == [slice(10, 70), slice(70, 130)]
    assert merged_bins(0, np.array([30, 30])) == [slice(0, 30)]
    assert merged_bins(0, np.array([50, 100, 100])) == [slice(0, 50), slice(50, 100)]
    assert merged_bins(5, np.array([5, 5])) == []


def test_a_residual_is_the_logarithm_less_the_line_between_the_medians_of_two_lengths():
    # 50 rows of 100 tokens with median NLL 2 (the lower of the middle ones), 50 of 400 with median 1
    short = [1.0] * 24 + [2.0] * 2 + [4.0] * 24
    long = [0.5] * 24 + [1.0] * 2 + [2.0] * 24
    out, knots = residuals_of(short + long, [100] * 50 + [400] * 50, [0] * 100, 1)
    assert knots[0].tolist() == [[100.0, 2.0], [400.0, 1.0]]
    assert out[0] == pytest.approx(math.log(1 / 2))
    assert out[24] == pytest.approx(0.0, abs=1e-7)
    assert out[-1] == pytest.approx(math.log(2 / 1))
    table = pl.DataFrame({"completion_tokens": [100, 400], "nll_mean": [2.0, 1.0]})
    table = table.cast({name: kind for name, kind in KNOTS.items() if name in table.columns})
    # 200 is in the middle of 100 and 400 as 100 to 200 to 400: expected is the geometric mean, sqrt(2)
    assert residual(1.0, 200, table) == pytest.approx(-math.log(math.sqrt(2)))
    assert residual(1.0, 50, table) == pytest.approx(math.log(1 / 2))  # constant beyond the ends
    assert residual(1.0, 5_000, table) == pytest.approx(0.0)
    assert residual(0.0, 400, table) == pytest.approx(math.log(SMALLEST_NLL))


def test_rows_between_knots_and_beyond_them_are_measured_as_the_published_knots_say():
    draw = np.random.default_rng(1)
    tokens = np.concatenate([draw.integers(1, 9_000, 3_000), [1, 200_000]])
    nlls = draw.lognormal(-0.5, 0.4, len(tokens)).astype(np.float32)
    strata = draw.integers(0, 3, len(tokens))
    out, knots = residuals_of(nlls.tolist(), tokens.tolist(), strata.tolist(), 2)
    assert np.isnan(out[strata == 2]).all()
    for stratum in (0, 1):
        table = pl.DataFrame(knots[stratum], ["completion_tokens", "nll_mean"])
        assert table.height > 3
        assert table["completion_tokens"].is_sorted()
        for row in np.flatnonzero(strata == stratum)[:300]:
            assert out[row] == pytest.approx(residual(float(nlls[row]), int(tokens[row]), table), abs=1e-6)


def test_what_has_no_nll_or_no_stratum_has_no_residual_and_moves_no_median():
    nlls = [1.0, 1.0, float("nan"), 50.0]
    out, knots = residuals_of(nlls, [10] * 4, [0, 0, 0, int(NO_STRATUM)], 2)
    assert knots[0].tolist() == [[10.0, 1.0]]
    assert knots[1].shape == (0, 2)
    assert np.isnan(out).tolist() == [False, False, True, True]
    assert out[:2].tolist() == [0.0, 0.0]


def test_a_bin_of_forty_nine_rows_is_no_bin():
    out, knots = residuals_of([1.0] * (BIN_ROWS - 1) + [3.0] * BIN_ROWS, [10] * 49 + [1_000] * 50, [0] * 99, 1)
    assert knots[0].tolist() == [[1_000.0, 3.0]]
    assert out[0] == pytest.approx(math.log(1 / 3))
