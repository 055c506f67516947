"""Why a row is in a pool or not: the first part of the pool's predicate that is not true for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from nemo_assets.catalog import Pool, PoolPolicy

_TOKENS = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|\w+|\s+|.""", re.DOTALL)
# With one of these outside of brackets, AND does not simply join conditions.
_NOT_SIMPLE = frozenset({"OR", "BETWEEN", "CASE"})


@dataclass(frozen=True)
class PoolReason:
    """`false_part`: None where every part is true; `values`: of the columns that it, else the predicate, names."""

    pool: str
    predicate: str
    purpose: str
    false_part: str | None
    values: dict[str, Any]


def pool_reasons(row: pl.DataFrame, policy: PoolPolicy) -> Iterator[PoolReason]:
    """One reason for each pool of the policy, for the single row of `row`."""
    for name, pool in policy.pools.items():
        yield _reason(row, name, pool, policy.requires)


def _reason(row: pl.DataFrame, name: str, pool: Pool, requires: str) -> PoolReason:
    parts = [*conjunction_parts(requires), *conjunction_parts(pool.predicate)]
    false_part = next((part for part in parts if not _holds(row, part)), None)
    columns = _columns(row, false_part or pool.predicate)
    values = row.select(columns).row(0, named=True) if columns else {}
    return PoolReason(name, pool.predicate, pool.purpose, false_part, values)


def conjunction_parts(sql: str) -> list[str]:
    """The conditions that AND joins in `sql`; all of it as one where it is more than a plain conjunction."""
    parts, part, depth = [], "", 0
    for token in _TOKENS.findall(sql):
        depth += (token == "(") - (token == ")")
        if depth == 0 and token.upper() in _NOT_SIMPLE:
            return [sql.strip()]
        if depth == 0 and token.upper() == "AND":
            parts.append(part.strip())
            part = ""
        else:
            part += token
    return [*parts, part.strip()]


def _holds(row: pl.DataFrame, condition: str) -> bool:
    try:
        return row.select(pl.sql_expr(condition).alias("holds")).item() is True
    except PolarsError:
        return False  # a policy edited since the pools were made may name what is not there; the part is shown as it is


def _columns(row: pl.DataFrame, sql: str) -> list[str]:
    try:
        named = pl.sql_expr(sql).meta.root_names()
    except PolarsError:
        return []
    return [name for name in row.columns if name in named]
