"""Look into the tables of the stages: a sample of rows, or SQL over all of them.

Belongs here: which tables there are, lazy frames over their current versions. Does not: one record (`passport`),
writing anything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from nemo_assets.catalog import Catalog
from nemo_assets.errors import UserError
from nemo_assets.storage import Manifest, Stage, Store

# Tables of `query`: the stage they lie in, and the beginning of the names of its parts' tables.
TABLES: dict[str, tuple[Stage, str]] = {
    "normalized": (Stage.NORMALIZED, "rows"),
    "rejected": (Stage.NORMALIZED, "rejected"),
    "tools": (Stage.NORMALIZED, "tools"),
    "relations": (Stage.DUPLICATES, "relations"),
    "contamination": (Stage.SIGNATURES, "contamination"),
    "signatures": (Stage.SIGNATURES, "rows"),
    "duplicates": (Stage.DUPLICATES, "removed"),
    "deduped": (Stage.DEDUPED, "rows"),
    "ledger": (Stage.LEDGER, "rows"),
    "pools": (Stage.POOLS, "rows"),
    "scored": (Stage.SCORED, "scores"),
}

_UIDS = ("record_uid", "survivor_uid", "other_uid")
_NAMED_COLUMNS = 30  # in an error message


def sample(
    stage: str, partition: str, store: Store, where: str | None = None, n: int = 5, seed: int = 0
) -> pl.DataFrame:
    """`n` rows drawn at random among those of a partition that satisfy `where`, in row order; uids in hex.

    stage: a stage for its main table, or `<stage>.<table>` such as `normalized.rejected`; where: a polars SQL
    condition. The same seed over the same rows gives the same sample.

    Raises UserError for an unknown stage, table, partition or column, and for a `where` that is no condition.
    """
    manifest, table = _table_of(stage, partition, store)
    frame = _hexed(pl.scan_parquet(store.paths(manifest, table)))
    chosen = random.Random(seed)
    if where is None:
        matching: list[int] | range = range(manifest.rows(table))
    else:
        matching = _matching(frame, where, f"{stage} of {partition}")
    places = sorted(chosen.sample(matching, min(max(n, 0), len(matching))))
    rows = pl.collect_all([frame.slice(place, 1) for place in places])
    return pl.concat(rows) if rows else frame.limit(0).collect()


def _table_of(stage: str, partition: str, store: Store) -> tuple[Manifest, str]:
    name, _, table = stage.partition(".")
    if name not in set(Stage):
        raise UserError(
            f"{stage}: there is no such stage. There are {', '.join(Stage)}, and tables as in normalized.rejected."
        )
    manifest = store.find(Stage(name), partition)
    if manifest is None:
        there = [found.partition for found in store.manifests(Stage(name))]
        raise UserError(
            f"{partition}: {name} does not exist for it. It exists for {', '.join(there) or 'nothing yet'}; "
            f"materialise {name} of {partition} first."
        )
    tables = sorted({part.table for part in manifest.parts if part.path.endswith(".parquet") and part.table != "files"})
    table = table or ("rows" if "rows" in tables or not tables else tables[0])
    if table not in tables:
        told = f"tables {', '.join(f'{name}.{each}' for each in tables)}" if tables else "no tables of rows"
        raise UserError(f"{stage}: {name} of {partition} has {told}.")
    return manifest, table


def _matching(frame: pl.LazyFrame, where: str, place: str) -> list[int]:
    """Places of the rows that satisfy the condition; only the columns it names are read."""
    try:
        condition = pl.sql_expr(where)
        columns = frame.collect_schema().names()
        unknown = sorted(set(condition.meta.root_names()) - set(columns))
        if unknown:
            raise UserError(f"{where}: {place} has no column {', '.join(unknown)}. It has {', '.join(columns)}.")
        found = frame.select(condition.alias("holds")).with_row_index("place").filter(pl.col("holds")).select("place")
        return found.collect(engine="streaming")["place"].to_list()
    except PolarsError as error:
        raise UserError(f"{where}: no condition over {place} ({_first_line(error)}).") from None


def query(sql: str, catalog: Catalog, store: Store, limit: int | None = None) -> pl.DataFrame:
    """The result of one polars SQL query over the stages; uids in hex, `partition` says which split a row is of.

    Tables: those of TABLES; `duplicates` holds the removed rows. Only those that stand in the query are opened.
    At most `limit` rows of the result where one is given.

    Raises UserError with the first line of the SQL error and the tables and columns there are.
    """
    words = set(re.findall(r"\w+", sql.lower()))
    frames = {name: frame for name in TABLES if name in words and (frame := _frame(name, catalog, store)) is not None}
    missing = [name for name in TABLES if name in words - set(frames)]
    try:
        result = pl.SQLContext(frames).execute(sql)
        return (result if limit is None else result.limit(limit)).collect(engine="streaming")
    except PolarsError as error:
        raise UserError(f"{_first_line(error)}. {_what_there_is(frames, missing)}") from None


def _frame(table: str, catalog: Catalog, store: Store) -> pl.LazyFrame | None:
    """All current partitions of a table in precedence order, or None where there is none yet."""
    paths: dict[str, list[Path]] = {}
    for split, path in _parts(table, catalog, store):
        paths.setdefault(split, []).append(path)
    frames = [
        _hexed(pl.scan_parquet(of_split)).with_columns(partition=pl.lit(split)) for split, of_split in paths.items()
    ]
    # A split made before a column was added has nulls there.
    return pl.concat(frames, how="diagonal_relaxed") if frames else None


def _parts(table: str, catalog: Catalog, store: Store) -> Iterator[tuple[str, Path]]:
    """The split and path of every part of a table. Duplicates are made by scope, with one part for each split."""
    stage, prefix = TABLES[table]
    for partition in catalog.scopes if stage is Stage.DUPLICATES else catalog.splits:
        manifest = store.find(stage, partition)
        if manifest is None:
            continue
        splits = {decided.get(f"{prefix}_part"): key for key, decided in manifest.details.get("splits", {}).items()}
        for part in manifest.parts:
            if part.table == prefix or part.table.startswith(f"{prefix}."):
                yield splits.get(part.path, partition), store.path(part)


def _hexed(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Uids as people write them."""
    names = frame.collect_schema().names()
    return frame.with_columns(pl.col(name).bin.encode("hex") for name in _UIDS if name in names)


def _first_line(error: PolarsError) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _what_there_is(frames: dict[str, pl.LazyFrame], missing: Iterable[str]) -> str:
    described = []
    for name, frame in frames.items():
        columns = frame.collect_schema().names()
        rest = f", … {len(columns) - _NAMED_COLUMNS} more" if len(columns) > _NAMED_COLUMNS else ""
        described.append(f"{name} has columns {', '.join(columns[:_NAMED_COLUMNS])}{rest}.")
    absent = [f"{name} is not made yet." for name in missing]
    return " ".join([f"Tables are {', '.join(TABLES)}.", *described, *absent])
