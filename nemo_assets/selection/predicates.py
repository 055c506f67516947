"""What a policy says of columns: predicates in SQL, names of columns, and which of them a policy needs.

Belongs here: checking a policy against the columns there are. Does not: its form (`catalog.subset_policy`), computing
columns (`normalised`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

import polars as pl
from polars.exceptions import PolarsError

from nemo_assets.catalog import SubsetPolicy
from nemo_assets.errors import UserError
from nemo_assets.selection.traits import SCHEMA, SCORE_TRAITS, Kind

NORMALISED: dict[str, Kind] = {
    "length_decile": pl.UInt8,
    "stratum": pl.UInt32,
    "nll_residual": pl.Float32,
    "percentile": pl.Float32,
    "reference_residual": pl.Float32,
    "reference_percentile": pl.Float32,
    "difference": pl.Float32,
    "difference_percentile": pl.Float32,
    "rank_surprisal_ratio": pl.Float32,
    "rank_surprisal_percentile": pl.Float32,
    "final_percentile": pl.Float32,
    "ifd_first_512": pl.Float32,
}
"""The columns made by `normalise`, with their types."""

_REFERENCE = ("reference_status", "reference_truncated")
_MADE_OF = {
    "reference_residual": ("reference_nll_mean", *_REFERENCE),
    "reference_percentile": ("reference_nll_mean", *_REFERENCE),
    "rank_surprisal_ratio": ("rank_mean_clipped",),
    "rank_surprisal_percentile": ("rank_mean_clipped",),
    "final_percentile": ("final_nll_mean",),
    "ifd_first_512": ("nll_mean_first_512", "unconditional_nll_mean_first_512"),
}
"""Traits that a normalised column needs besides those that are always read."""

_ALWAYS = ("split_number", "row", "id_hash", "status", "truncated", "completion_tokens", "tokens")
_REPORTED = ("nll_mean", "meta_correctness", "meta_domain", "dataset", "quality_has_tool")
"""Traits that every report compares between a subset and its control."""


def schema_of(policy: SubsetPolicy) -> dict[str, Kind]:
    """Every column that the policy may name, with its type: traits, normalised columns, its own quantiles."""
    columns = {**SCHEMA, **NORMALISED}
    singles = {name for name, kind in columns.items() if kind == pl.Float32}
    return {**columns, **{n: pl.Float32 if q.of in singles else pl.Float64 for n, q in policy.quantiles.items()}}


def predicate(sql: str, where: str, columns: Mapping[str, Kind]) -> pl.Expr:
    """A condition on one row; null counts as false.

    Raises UserError beginning with `where` if it is no SQL expression, names an unknown column, is not boolean or
    speaks of many rows at once.
    """
    try:
        # In parentheses, because polars takes a second condition after a forgotten AND for an alias.
        expression = pl.sql_expr(f"(\n{sql}\n)")
        for name in sorted(set(expression.meta.root_names())):
            require_column(name, where, columns)
        used = {name: columns[name] for name in expression.meta.root_names()}
        member = pl.DataFrame(schema=used).select(expression.alias("member"))
    except PolarsError as error:
        raise UserError(f"{where}: {sql!r} is no predicate over its columns ({str(error).splitlines()[0]}).") from None
    if member.dtypes[0] != pl.Boolean:
        raise UserError(f"{where}: {sql!r} is {member.dtypes[0]}, not a condition.")
    if member.height and expression.meta.root_names():  # no rows in, a row out: an aggregate
        raise UserError(f"{where}: {sql!r} speaks of many rows at once, not of one.")
    return expression.fill_null(False)


def trust_predicate(policy: SubsetPolicy) -> pl.Expr:
    """The trust gate."""
    return predicate(policy.trust, f"{policy.path}: trust", schema_of(policy))


def subset_predicate(policy: SubsetPolicy, name: str) -> pl.Expr:
    """The predicate of one subset, without the trust gate."""
    return predicate(policy.subsets[name].predicate, f"{policy.path}: subset {name!r}: predicate", schema_of(policy))


def require_column(name: str, where: str, columns: Iterable[str]) -> None:
    """Raises UserError naming the columns that are spelled most like it."""
    known = list(columns)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or ["a column of nemo_assets/selection/traits.py"]
        raise UserError(f"{where}: there is no column {name!r}. Did you mean {' or '.join(near)}?")


def check_policy(policy: SubsetPolicy) -> None:
    """Raises UserError naming the file, the subset and the field of the first column or predicate that is wrong."""
    columns = schema_of(policy)
    for name, quantile in policy.quantiles.items():
        where = f"{policy.path}: quantile {name!r}"
        if name in SCHEMA or name in NORMALISED:
            raise UserError(f"{where}: there is a column of that name already; choose another.")
        _require_number(quantile.of, f"{where}: of", {**SCHEMA, **NORMALISED})
    for name in policy.strata.columns:
        where = f"{policy.path}: strata"
        require_column(name, where, columns)
        if not _is_class(columns[name]) and name != "length_decile":
            raise UserError(f"{where}: {name} is {columns[name]}; only text, integers and truth values make strata.")
    trust_predicate(policy)
    for name in policy.subsets:
        _check_subset(policy, name, columns)


def _check_subset(policy: SubsetPolicy, name: str, columns: Mapping[str, Kind]) -> None:
    subset, where = policy.subsets[name], f"{policy.path}: subset {name!r}"
    subset_predicate(policy, name)
    for key in subset.ranking:
        require_column(key.by, f"{where}: ranking", columns)
        if columns[key.by] == pl.List(pl.String):
            raise UserError(f"{where}: ranking: {key.by} is a list; rows are ranked by single values.")
    named = [("spread_over", subset.spread_over)] if subset.spread_over else []
    for field, column in [*named, *(("caps", column) for column in subset.caps)]:
        require_column(column, f"{where}: {field}", columns)
        if columns[column] in (pl.List(pl.String), pl.Float32, pl.Float64):
            raise UserError(f"{where}: {field}: {column} is {columns[column]}; rows share no value of it.")


def _require_number(name: str, where: str, columns: Mapping[str, Kind]) -> None:
    require_column(name, where, columns)
    if not pl.DataFrame(schema=columns).schema[name].is_numeric():
        raise UserError(f"{where}: {name} is {columns[name]}, which has no quantiles.")


def _is_class(kind: Kind) -> bool:
    return isinstance(kind, pl.Categorical) or kind in (pl.Boolean, pl.Int32)


def columns_of(policy: SubsetPolicy, comparable_tokens: bool | None = None) -> set[str]:
    """Every column that cutting subsets and reporting them needs: traits to read and normalised columns to make.

    Without the scores of a role that has no checkpoint, unless the policy names them. `comparable_tokens` as for
    `normalise`; what either way needs, where that is not known yet.

    Raises UserError where the policy names a column that is not there, or has a predicate that is none.
    """
    wanted = kept_columns_of(policy)
    ranked = {policy.quantiles[name].of for name in wanted & policy.quantiles.keys()}
    absent = {name for role in SCORE_TRAITS.keys() - policy.roles.keys() for name in SCORE_TRAITS[role]}
    made_of = [set(_made_of(name, comparable_tokens)) for name in wanted | ranked]
    return (wanted | ranked).union(*(traits for traits in made_of if not traits & absent))


def kept_columns_of(policy: SubsetPolicy) -> set[str]:
    """`columns_of` without the traits that only other columns are made of."""
    check_policy(policy)
    wanted = {*_named(policy), "stratum", "nll_residual", "percentile", *_ALWAYS, *_REPORTED}
    needs_reference = any("reference" in subset.needs for subset in policy.subsets.values())
    if any("unconditional" in subset.needs for subset in policy.subsets.values()):
        wanted.add("unconditional_nll_mean_first_512")
    return wanted | {"reference_nll_mean", "difference"} if needs_reference else wanted


def _made_of(name: str, comparable_tokens: bool | None) -> Iterable[str]:
    if not name.startswith("difference"):
        return _MADE_OF.get(name, ())
    nlls = ("nll_mean",) * (comparable_tokens is not False) + ("nll_per_byte",) * (comparable_tokens is not True)
    return (*nlls, *(f"reference_{nll}" for nll in nlls), *_REFERENCE)


def columns_of_subset(policy: SubsetPolicy, name: str) -> list[str]:
    """Columns that the predicate and the ranking of one subset read, and the trust gate where it applies, sorted."""
    subset = policy.subsets[name]
    read = {*subset_predicate(policy, name).meta.root_names(), *(key.by for key in subset.ranking)}
    return sorted(read | set(trust_predicate(policy).meta.root_names() if subset.trusted else ()))


def _named(policy: SubsetPolicy) -> Iterator[str]:
    yield from policy.strata.columns
    yield from trust_predicate(policy).meta.root_names()
    for name, subset in policy.subsets.items():
        yield from columns_of_subset(policy, name)
        yield from subset.caps
        if subset.spread_over:
            yield subset.spread_over
