"""Which rows serve which purpose: memberships, and the correctness joined to rendered text. No copy of the text."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError

from nemo_assets.catalog import Catalog, PoolPolicy, Split
from nemo_assets.errors import UserError
from nemo_assets.records.recipe import pools_recipe
from nemo_assets.records.schema import CORRECTNESS_COLUMNS, ROW_SCHEMA
from nemo_assets.storage import Basis, Manifest, Part, Stage, Store, Unit
from nemo_assets.storage.parquet import scan, write_part

POOLS_CODE = "pools 1"  # raise when memberships or the join change their meaning

MEMBERSHIP_SCHEMA = pa.schema({"record_uid": pa.binary(16), "id": pa.string(), "pools": pa.list_(pa.string())})
JOINED_SCHEMA = pa.schema(
    [
        pa.field("record_uid", pa.binary(16)),
        *(ROW_SCHEMA.field(name).with_nullable(True) for name in CORRECTNESS_COLUMNS),
    ]
)


def pool_expressions(policy: PoolPolicy) -> dict[str, pl.Expr]:
    """A boolean expression for each pool, `requires` included, null taken as false.

    Raises UserError naming the pool if its predicate is no SQL expression, names an unknown column or is not boolean.
    """
    requires = _predicate("requires", policy.requires)
    return {name: (requires & _predicate(name, pool.predicate)).fill_null(False) for name, pool in policy.pools.items()}


def _predicate(name: str, sql: str) -> pl.Expr:
    where = (
        f"pool {name!r} in nemo_assets/catalog/policies/pools.yaml"
        if name != "requires"
        else "`requires` in nemo_assets/catalog/policies/pools.yaml"
    )
    try:
        # In parentheses, because polars takes a second condition after a forgotten AND for an alias.
        expression = pl.sql_expr(f"(\n{sql}\n)")
        unknown = sorted(set(expression.meta.root_names()) - set(ROW_SCHEMA.names))
        if unknown:
            raise UserError(f"{where}: there is no column {', '.join(unknown)}. See nemo_assets/records/schema.py.")
        member = _no_rows().select(expression.alias("member"))
    except PolarsError as error:
        raise UserError(
            f"{where}: {sql!r} is no predicate over the row columns ({str(error).splitlines()[0]})."
        ) from None
    if member.dtypes[0] != pl.Boolean:
        raise UserError(f"{where}: {sql!r} is {member.dtypes[0]}, not a condition.")
    if member.height and expression.meta.root_names():  # no rows in, a row out: an aggregate
        raise UserError(f"{where}: {sql!r} speaks of many rows at once, not of one.")
    return expression


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(ROW_SCHEMA.empty_table()))


def build_pools(split: Split, catalog: Catalog, store: Store) -> Manifest:
    """Evaluate every pool on every kept row of the split.

    Where the catalog says `correctness_from`, the correctness columns are first joined from the normalized rows of that
    source's split of the same name, by equal `text_sha1`; table `joined` keeps them and `counters.join` the match rate.
    """
    deduped = store.current(Stage.DEDUPED, split.key)
    origin = correctness_origin(split, catalog, store)
    basis = pools_basis(catalog, deduped, origin)
    current = store.find_current(Stage.POOLS, split.key, basis)
    if current is not None:
        return current
    with store.staging(Stage.POOLS, split.key, basis) as staging:
        rows = scan(store.paths(deduped), ROW_SCHEMA)
        joined = joined_correctness(rows, scan(store.paths(origin), ROW_SCHEMA)) if origin else None
        if joined is not None:
            rows = with_correctness(rows, joined)
        members = memberships(rows, catalog.pool_policy)
        membership_path, joined_path = staging.target("rows", 0), staging.target("joined", 0)
        parts = [
            staging.part(
                "rows", membership_path, write_part(membership_path, members.to_arrow().cast(MEMBERSHIP_SCHEMA))
            )
        ]
        if joined is not None:
            table = joined.collect().to_arrow().cast(JOINED_SCHEMA)
            parts.append(staging.part("joined", joined_path, write_part(joined_path, table)))
        staging.add(Unit(0, tuple(parts)))
        return staging.commit(
            counters=_counters(catalog, members, parts, split), details={"origin": origin.partition if origin else None}
        )


def pools_basis(catalog: Catalog, deduped: Manifest, origin: Manifest | None) -> Basis:
    """Memberships depend on the kept rows, the evaluation joined to them, and the pool policy."""
    inputs = {"deduped": deduped.data_version} | ({"correctness": origin.data_version} if origin else {})
    return Basis(inputs, {"pools": pools_recipe(catalog), "code": POOLS_CODE})


def correctness_origin(split: Split, catalog: Catalog, store: Store) -> Manifest | None:
    """The normalized split that correctness is joined from: None where the catalog names none or it is not made yet."""
    slug = split.source.correctness_from
    key = f"{slug}/{split.name}"
    return store.find(Stage.NORMALIZED, key) if slug and key in catalog.splits else None


def joined_correctness(rows: pl.LazyFrame, origin: pl.LazyFrame) -> pl.LazyFrame:
    """record_uid and correctness columns of the rows whose text stands in `origin`; of equal texts the first counts."""
    evaluated = origin.select("text_sha1", *CORRECTNESS_COLUMNS).unique("text_sha1", keep="first", maintain_order=True)
    return (
        rows.select("record_uid", "text_sha1")
        .join(evaluated, on="text_sha1", how="inner", maintain_order="left")
        .drop("text_sha1")
    )


def with_correctness(rows: pl.LazyFrame, joined: pl.LazyFrame) -> pl.LazyFrame:
    """`rows` with the joined correctness columns in place of their own nulls, columns and row order as before."""
    columns = rows.collect_schema().names()
    wide = rows.join(joined, on="record_uid", how="left", suffix="_joined", maintain_order="left")
    present = [name for name in CORRECTNESS_COLUMNS if name in columns]
    return wide.with_columns(pl.coalesce(name, f"{name}_joined").alias(name) for name in present).select(columns)


def memberships(rows: pl.LazyFrame, policy: PoolPolicy) -> pl.DataFrame:
    """record_uid, id and the sorted names of its pools, for every row in order."""
    expressions = pool_expressions(policy)
    flags = rows.select("record_uid", "id", *(expressions[name].alias(name) for name in sorted(expressions)))
    named = [pl.when(pl.col(name)).then(pl.lit(name)) for name in sorted(expressions)]
    lists = pl.concat_list(named).list.drop_nulls() if named else pl.lit([], pl.List(pl.String))
    return flags.select("record_uid", "id", pools=lists).collect(engine="streaming")


def _counters(catalog: Catalog, members: pl.DataFrame, parts: Sequence[Part], split: Split) -> dict[str, object]:
    counts = dict(members.select(pl.col("pools").explode()).to_series().drop_nulls().value_counts().iter_rows())
    counters: dict[str, object] = {
        "rows": members.height,
        "pools": {name: counts.get(name, 0) for name in catalog.pools},
    }
    if split.source.correctness_from:
        matched = parts[1].rows if len(parts) > 1 else 0
        counters["join"] = {
            "rows": members.height,
            "matched": matched,
            "rate": round(matched / members.height, 6) if members.height else 0.0,
        }
    return counters
