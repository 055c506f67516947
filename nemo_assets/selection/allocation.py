"""Dividing a budget among strata.

Belongs here: weights, and giving what one stratum cannot use to the others. Does not: which rows are taken (`select`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nemo_assets.catalog.subset_policy import Allocation

Array = npt.NDArray[Any]


class Shares(NamedTuple):
    """By stratum, in tokens or rows: what its weight entitles it to, and what it gets after others fell short."""

    wanted: Array
    given: Array


def weights(allocation: Allocation, tokens: Array, difference: Array) -> Array:
    """(strata,): the weight of each stratum, adding up to 1 unless there is none.

    natural: its tokens; temperature: tokens^exponent; degradation: tokens x max(0, mean difference of its
    candidates)^power (PASER, arXiv 2502.12594, weights capabilities by measured decline), of which the part `floor` is
    divided by tokens alone, so that no stratum goes empty, however many there are.

    Args:
        tokens: of all scored rows of each stratum. difference: mean of its candidates, NaN where it has none.
    """
    natural = tokens.astype(np.float64)
    if allocation.by == "natural":
        return _adding_up(natural)
    if allocation.by == "temperature":
        return _adding_up(np.where(tokens > 0, natural**allocation.exponent, 0.0))
    decline = np.maximum(np.nan_to_num(difference), 0.0)
    degraded = _adding_up(natural * np.where(decline > 0, decline**allocation.power, 0.0))
    return _adding_up((1 - allocation.floor) * degraded + allocation.floor * _adding_up(natural))


def _adding_up(weight: Array) -> Array:
    """The weights in parts of their sum, if they have one."""
    total = weight.sum()
    return weight / total if total else weight


def divide(budget: float, weight: Array, supply: Array) -> Shares:
    """Give each stratum its weight of the budget, but no more than its supply; the rest goes to the others by weight.

    The given amounts add up to the budget, or to the supply of all strata with a weight where that is less.
    """
    wanted = budget * weight
    given = np.zeros(len(weight))
    open_ones = (weight > 0) & (supply > 0)
    left = float(budget)
    while open_ones.any() and left > 0:
        share = np.where(open_ones, left * weight / weight[open_ones].sum(), 0.0)
        full = open_ones & (given + share >= supply)
        if not full.any():
            given = given + share
            break
        given = np.where(full, supply, given)
        open_ones &= ~full
        left = budget - given.sum()
    return Shares(wanted, given)
