"""What the scores of a row mean beside those of its like: strata, residuals, percentiles, differences.

Nothing here depends on the order of the rows or on the number of threads.

Belongs here: which normalised column is made of what. Does not: how strata are formed (`strata`), lengths taken out
(`residual`), ranks (`ranks`), rows chosen (`select`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nemo_assets.catalog import SubsetPolicy
from nemo_assets.catalog.subset_policy import Quantile
from nemo_assets.compiled import compiled
from nemo_assets.selection.columns import column, singles
from nemo_assets.selection.ordering import grouped, places_of
from nemo_assets.selection.predicates import kept_columns_of
from nemo_assets.selection.ranks import CUT_POINTS, STEPS, percentiles, quantile
from nemo_assets.selection.residual import KNOTS, residuals
from nemo_assets.selection.strata import codes_of, length_cuts, length_deciles, stratify
from nemo_assets.selection.traits import CATEGORY, Kind

RANKED = {
    "percentile": "nll_residual",
    "reference_percentile": "reference_residual",
    "difference_percentile": "difference",
    "rank_surprisal_percentile": "rank_surprisal_ratio",
    "final_percentile": "final_nll_mean",
}
"""Columns of percentiles, and the column that each ranks; cut-points carry the name of the former."""

RESIDUALS = {"nll_residual": "nll_mean", "reference_residual": "reference_nll_mean"}
"""Columns of residuals, and the NLL that each is of; knots carry the name of the former."""

RATIOS = {
    "rank_surprisal_ratio": ("rank_mean_clipped", "nll_mean"),
    "ifd_first_512": ("nll_mean_first_512", "unconditional_nll_mean_first_512"),
}
"""Columns that are one trait over another."""

SOURCES = {*RESIDUALS, *RATIOS, "difference"}
"""Normalised columns that are made of traits alone."""

PER_TOKEN, PER_BYTE = "nats per token", "nats per byte"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Normalised:
    """The traits of all rows with normalised columns added, null outside the population, and what they were made by.

    rows: without the policy's quantiles, which `with_quantiles` adds to some of them. strata: `strata.TABLE`; knots:
    `residual.KNOTS`; cut_points: `ranks.CUT_POINTS`; quantiles: `stratum` and the columns of the policy's quantiles;
    length_cuts: the nine limits of length deciles in tokens; difference_unit: of column `difference`.
    """

    rows: pl.DataFrame
    strata: pl.DataFrame
    knots: pl.DataFrame
    cut_points: pl.DataFrame
    quantiles: pl.DataFrame
    length_cuts: tuple[int, ...]
    difference_unit: str

    def with_quantiles(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Some rows, of which `stratum` is known, with what the policy's quantiles are in the stratum of each."""
        of_strata = self.quantiles.drop("stratum")
        return rows.with_columns(pl.lit(values).gather(pl.col("stratum")).alias(values.name) for values in of_strata)


def normalise(
    traits: pl.DataFrame,
    policy: SubsetPolicy,
    *,
    comparable_tokens: bool,
    wanted: Collection[str] | None = None,
    places_later_rows: bool = True,
) -> Normalised:
    """Add the normalised columns among `wanted`, to the traits among them.

    All that the policy needs is wanted unless something else is said.

    The population, within which rows are ranked, are rows with status ok that were scored on something and not
    truncated. A reference counts where it scored the same in the same way.

    Args:
        traits: at least the traits among `columns_of(policy)`; scores that are not there are null.
        comparable_tokens: whether both checkpoints are known to use the same tokenizer; if not, they are compared in
            nats per byte.
        places_later_rows: whether cut-points are told, which are many.

    Raises:
        UserError: the policy names a column that there is not.
    """
    wanted = kept_columns_of(policy) if wanted is None else set(wanted)
    inside = population(traits)
    tokens = traits["completion_tokens"].fill_null(0).to_numpy()
    cuts = length_cuts(tokens[inside])
    deciles = column("length_decile", length_deciles(tokens, cuts), inside)
    classes = [deciles if name == deciles.name else traits[name] for name in policy.strata.columns]
    strata, table = stratify(classes, traits["tokens"].fill_null(0).to_numpy(), inside, policy.strata)
    columns = _Columns(traits, tokens, strata, *grouped(places_of(inside), strata, table.height), comparable_tokens)
    columns.most_cut_points = STEPS + 1 if places_later_rows else 0
    asked = {name: policy.quantiles[name] for name in policy.quantiles if name in wanted}
    ranked = [name for name in RANKED if name in wanted]
    sources = {*wanted, *(RANKED[name] for name in ranked), *(each.of for each in asked.values())} & SOURCES
    chains = [[name, *(each for each in ranked if RANKED[each] == name)] for name in sorted(sources, reverse=True)]
    chains += [[name] for name in ranked if RANKED[name] not in sources]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for _ in threads.map(columns.make_all, chains):
            pass  # but an error of a thread is raised
        of_strata = dict(zip(asked, threads.map(columns.quantile, asked.values()), strict=True))
    made = {name: columns.made.pop(name) for name in sorted(columns.made.keys() & wanted)}
    unknown = sorted(wanted & (SOURCES | RANKED.keys()) - made.keys())
    columns.made.clear()
    rows = traits.select(name for name in traits.columns if name in wanted).with_columns(
        deciles,
        column("stratum", strata, inside),
        *(singles(name, values) for name, values in made.items()),
        *(pl.lit(None, pl.Float32).alias(name) for name in unknown),
    )
    return Normalised(
        rows=rows,
        strata=table,
        knots=_table(KNOTS, {name: columns.knots[name] for name in RESIDUALS if name in columns.knots}),
        cut_points=_table(
            CUT_POINTS, {name: columns.cut_points[name] for name in RANKED if name in columns.cut_points}
        ),
        quantiles=pl.DataFrame([table["stratum"], *(singles(name, values) for name, values in of_strata.items())]),
        length_cuts=cuts,
        difference_unit=PER_TOKEN if comparable_tokens else PER_BYTE,
    )


def population(traits: pl.DataFrame, prefix: str = "") -> Array:
    """Whether each row can be ranked: scored on all of its completion, of which there is some."""
    is_ok = codes_of(traits[f"{prefix}status"]) == codes_of(pl.Series(["ok"], dtype=CATEGORY))
    is_whole = codes_of(traits[f"{prefix}truncated"]) == 0
    is_long: Array = traits["completion_tokens"].fill_null(0).to_numpy() > 0
    inside: Array = is_ok & is_whole & is_long
    return inside


@dataclass
class _Columns:
    """Columns of single numbers by name: arrays over all rows, NaN where there is no value.

    Those that were made of others are NaN outside the population too. rows: numbers of those in the population, by
    stratum; begins: where each stratum begins in `rows`, and the end.
    """

    traits: pl.DataFrame
    tokens: Array
    strata: Array
    rows: Array
    begins: Array
    comparable_tokens: bool
    most_cut_points: int = STEPS + 1
    made: dict[str, Array] = field(default_factory=dict)
    knots: dict[str, list[Array]] = field(default_factory=dict)
    cut_points: dict[str, list[Array]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        if name in self.made:
            return self.made[name]
        if name not in self.traits.columns:  # of a role that has no checkpoint
            return np.full(len(self.strata), np.nan, np.float32)
        column = self.traits[name]
        values: Array = (column if column.dtype.is_float() else column.cast(pl.Float64)).to_numpy()
        return values

    def is_known(self, name: str) -> bool:
        """Whether the traits are there that the column is made of."""
        of = RANKED.get(name, name)
        nll = "nll_mean" if self.comparable_tokens else "nll_per_byte"
        parts = (nll, f"reference_{nll}") if of == "difference" else RATIOS.get(of, (RESIDUALS.get(of, of),))
        return all(part in self.traits.columns for part in parts)

    def make_all(self, names: Iterable[str]) -> None:
        """Those that are known, in the order in which they are made of each other."""
        for name in names:
            if self.is_known(name):
                self.made[name] = self._make(name)

    def _make(self, name: str) -> Array:
        """One of `SOURCES`, or of `RANKED` when that is made which it ranks."""
        if name in RANKED:
            values, self.cut_points[name] = percentiles(
                self[RANKED[name]], self.rows, self.begins, self.most_cut_points
            )
        elif name in RESIDUALS:
            nlls = self[RESIDUALS[name]] if name == "nll_residual" else self._of_reference(RESIDUALS[name])
            values, self.knots[name] = residuals(nlls, self.tokens, self.strata, len(self.begins) - 1)
        elif name == "difference":
            nll = "nll_mean" if self.comparable_tokens else "nll_per_byte"
            values = np.empty(len(self.strata), np.float32)
            _differences(self[nll], self._of_reference(f"reference_{nll}"), self.strata, len(self.begins) - 1, values)
        else:
            over, under = RATIOS[name]
            values = np.empty(len(self.strata), np.float32)
            _ratios(self[over], self[under], self.strata, len(self.begins) - 1, values)
        return values

    def quantile(self, asked: Quantile) -> Array:
        """That quantile of each stratum."""
        return quantile(self[asked.of], asked.at, self.rows, self.begins)

    def _of_reference(self, name: str) -> Array:
        """An NLL by the reference, where it scored the whole completion."""
        values = self[name].copy()
        values[~population(self.traits, "reference_")] = np.nan
        return values


@compiled
def _differences(nlls: Array, others: Array, strata: Array, count: int, out: Array) -> None:
    for row in range(len(out)):
        out[row] = np.float64(nlls[row]) - np.float64(others[row]) if strata[row] < count else np.nan


@compiled
def _ratios(over: Array, under: Array, strata: Array, count: int, out: Array) -> None:
    for row in range(len(out)):
        is_known = strata[row] < count and under[row] > 0
        out[row] = np.float64(over[row]) / np.float64(under[row]) if is_known else np.nan


def _table(columns: Mapping[str, Kind], of_strata: Mapping[str, list[Array]]) -> pl.DataFrame:
    """What was made of each stratum for each column, one under the other."""
    frames = [pl.DataFrame(schema=dict(columns))]
    for name, arrays in of_strata.items():
        strata = np.repeat(np.arange(len(arrays), dtype=np.uint32), [len(rows) for rows in arrays])
        values = np.concatenate([*arrays, np.empty((0, len(columns) - 2))])
        frame = pl.DataFrame([strata, *(np.ascontiguousarray(each) for each in values.T)], list(columns)[1:])
        frames.append(frame.select(pl.lit(name, CATEGORY).alias("column"), pl.all()).cast(pl.Schema(columns)))
    return pl.concat(frames)
