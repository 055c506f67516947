"""Training subsets, cut from the scores of every split by the policy of the catalog.

Belongs here: reading what a policy may read, writing what it chose, trying a policy out. Does not: how rows are chosen
(`selection`), publishing them (`results`), how plots look (`subset_plots`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pyarrow as pa

from nemo_assets.catalog import SubsetPolicy, policy_digest
from nemo_assets.disk import write_durably
from nemo_assets.errors import UserError
from nemo_assets.records.recipe import package_digest
from nemo_assets.records.schema import COLUMNS, ROW_SCHEMA, Column, arrow_schema
from nemo_assets.selection import (
    Normalised,
    Selection,
    check_policy,
    columns_of,
    normalise,
    reasons,
    report,
    select_all,
)
from nemo_assets.selection.traits import read_traits
from nemo_assets.settings import Settings
from nemo_assets.stages.release_files import STRATA_SCHEMA, SUBSET_COLUMNS
from nemo_assets.stages.subset_figures import plotted
from nemo_assets.stages.traits import traits_basis, traits_of
from nemo_assets.storage import Basis, Manifest, Stage, Staging, Unit
from nemo_assets.storage.layout import REPORT
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import scan, write_part

SUBSETS_CODE = package_digest("selection", "stages/subsets")

SUBSET_SCHEMA = arrow_schema((
    Column("row", pa.int64(), "Number of the row among the kept rows of its split, from 0", "rows"),
    *(column for column in COLUMNS if column.name in ("record_uid", "id")),
    *SUBSET_COLUMNS,
))  # fmt: skip
"""What is kept of a chosen row, and of one of the random control."""


class ScoredSplits(NamedTuple):
    """The traits of every split with usable scores, by partition key in catalog order; why the others have none."""

    traits: dict[str, Manifest]
    left_out: dict[str, str]


class Cut(NamedTuple):
    """Every subset of a policy, with what it was cut from. `columns` are those that the policy reads."""

    scored: ScoredSplits
    normalised: Normalised
    selections: dict[str, Selection]


def scored_splits(settings: Settings) -> ScoredSplits:
    """Traits of all splits, made where they are not current.

    Raises UserError if no split has scores.
    """
    found = {key: traits_of(split, settings) for key, split in settings.catalog.splits.items()}
    traits = {key: made for key, made in found.items() if isinstance(made, Manifest)}
    if not traits:
        reasons = sorted({f"{key}: {reason}" for key, reason in found.items() if reason != "not scored yet"})
        raise UserError("No split is scored yet. Materialise scored of one split first. " + " ".join(reasons))
    return ScoredSplits(traits, {key: reason for key, reason in found.items() if isinstance(reason, str)})


def cut(policy: SubsetPolicy, settings: Settings, places_later_rows: bool = True) -> Cut:
    """Cut all subsets of a policy from the scores there are; nothing is written but missing traits.

    `places_later_rows` as for `normalise`.
    """
    check_policy(policy)  # before anything is read
    scored = scored_splits(settings)
    comparable = _comparable(scored)
    paths = [settings.store.paths(made) for made in scored.traits.values()]
    normalised = normalise(
        read_traits(paths, columns_of(policy, comparable)),
        policy,
        comparable_tokens=comparable,
        places_later_rows=places_later_rows,
    )
    return Cut(scored, normalised, select_all(normalised, policy))


def _comparable(scored: ScoredSplits) -> bool:
    """Whether student and reference count the same tokens everywhere; only then are nats per token comparable."""
    found = [made.details["tokenizers"] for made in scored.traits.values()]
    return all(each.get("student") and each.get("student") == each.get("reference") for each in found)


def what_if(settings: Settings, policy: SubsetPolicy) -> dict[str, Any]:
    """What a policy would cut: the report that materialising it would keep."""
    made = cut(policy, settings, places_later_rows=False)
    return _told(made, policy)


def _told(made: Cut, policy: SubsetPolicy) -> dict[str, Any]:
    splits = {key: traits.details["scored"] for key, traits in made.scored.traits.items()}
    return {"policy": policy_digest(policy), "splits": splits, "left_out": made.scored.left_out} | report(
        made.selections, made.normalised, policy
    )


def subset_basis(name: str, settings: Settings) -> Basis | None:
    """A subset depends on the scores of all splits and on the whole policy, for subsets may exclude each other.

    None where no split is scored.
    """
    found = {key: traits_basis(split, settings) for key, split in settings.catalog.splits.items()}
    inputs = {key: basis.version(Stage.TRAITS, key) for key, basis in found.items() if basis is not None}
    return (
        Basis(inputs, {"policy": policy_digest(settings.catalog.subset_policy), "code": SUBSETS_CODE})
        if inputs
        else None
    )


def cut_subset(name: str, settings: Settings) -> Manifest:
    """Write one subset: tables `rows` and `control`, a part of each for every split it has rows of, and its report.

    `details.splits` says which scores of each split were read, and in which parts its rows are.

    Raises UserError if no split is scored or the policy is wrong; a subset whose checkpoint is not scored is empty, and
    says so.
    """
    store, policy = settings.store, settings.catalog.subset_policy
    basis = subset_basis(name, settings)
    current = store.find_current(Stage.SUBSETS, name, basis) if basis else None
    if current is not None:
        return current
    made = cut(policy, settings)
    assert basis is not None  # else there are no scores, and nothing was cut
    with store.staging(Stage.SUBSETS, name, basis) as staging:
        splits = _write_splits(name, made, settings, staging)
        told = _told(made, policy)
        path = staging.directory / "report.json"
        write_durably(path, msgspec.json.format(msgspec.json.encode(told, order="sorted"), indent=1))
        staging.add(Unit(len(settings.catalog.splits), (staging.part(REPORT, path, 0),)))
        details = {"splits": splits, "left_out": made.scored.left_out, "subset": told["subsets"][name]}
        pools = {key: store.paths(store.current(Stage.POOLS, key)) for key in splits}
        details["plots"] = plotted(made.selections[name], made.normalised, pools)
        return staging.commit(counters=_counters(told["subsets"][name]), details=details)


def _write_splits(name: str, made: Cut, settings: Settings, staging: Staging) -> dict[str, dict[str, Any]]:
    """Write the tables of each split, numbered by its place in the catalog; what `results` needs to know of them."""
    policy, positions = settings.catalog.subset_policy, list(settings.catalog.splits)
    told = {}
    for number, (key, traits) in enumerate(made.scored.traits.items()):
        names = _names_of(key, settings)
        tables = {"strata": _strata_of(made.normalised, number)}
        for table in ("rows", "control"):
            chosen = reasons(made.selections[name], made.normalised, policy, table == "control", number)
            tables[table] = _in_schema(chosen.with_columns(names[chosen["row"]]))
        parts = {}
        for table, rows in sorted(tables.items()):
            path = staging.target(table, positions.index(key))
            parts[table] = staging.part(table, path, write_part(path, rows))
        staging.add(Unit(positions.index(key), tuple(parts.values())))
        told[key] = {
            "scored": traits.details["scored"],
            "digest": digest([part.sha256 for part in parts.values()]),
            **{table: part.rows for table, part in parts.items()},
            **{f"{table}_part": part.path for table, part in parts.items()},
        }
    return told


def _names_of(key: str, settings: Settings) -> pl.DataFrame:
    """What names each kept row of a split."""
    deduped = settings.store.current(Stage.DEDUPED, key)
    return scan(settings.store.paths(deduped), ROW_SCHEMA).select("record_uid", "id").collect()


def _in_schema(rows: pl.DataFrame) -> pa.Table:
    return rows.with_columns(pl.col("row").cast(pl.Int64)).select(SUBSET_SCHEMA.names).to_arrow().cast(SUBSET_SCHEMA)


def _strata_of(normalised: Normalised, split_number: int) -> pa.Table:
    """What places a later row among those of the strata of one split, columns as STRATA_SCHEMA."""
    here = normalised.rows.filter(split_number=split_number)["stratum"].unique().drop_nulls()
    strata = normalised.strata.filter(pl.col("stratum").is_in(here.implode()))
    value, none = pl.col("value").cast(pl.Float64), pl.lit(None, pl.Float64)
    quantiles = normalised.quantiles.unpivot(index="stratum", variable_name="column")
    of_strata = {
        "size": strata.select(
            "stratum", column=pl.lit("rows"), value=pl.col("rows").cast(pl.Float64), below=none, above=none
        ),
        "knot": normalised.knots.select(
            "stratum", "column", value=pl.col("completion_tokens").cast(pl.Float64),
            below=pl.col("nll_mean").cast(pl.Float64), above=pl.col("nll_mean").cast(pl.Float64),
        ),
        "cut_point": normalised.cut_points.select("stratum", "column", value, "below", "above"),
        "quantile": quantiles.select("stratum", "column", value, below=none, above=none),
    }  # fmt: skip
    cuts = pl.DataFrame({"value": [float(cut) for cut in normalised.length_cuts]}, {"value": pl.Float64})
    everywhere = cuts.select(
        stratum=pl.lit(None, pl.String), kind=pl.lit("length_cut"), column=pl.lit("completion_tokens"), value="value",
        below=none, above=none,
    )  # fmt: skip
    told = [
        strata.select("stratum", "label").join(table, on="stratum", maintain_order="left").select(
            stratum="label", kind=pl.lit(kind), column=pl.col("column").cast(pl.String), value="value", below="below",
            above="above",
        )
        for kind, table in of_strata.items()
    ]  # fmt: skip
    return pl.concat([everywhere, *told]).to_arrow().cast(STRATA_SCHEMA)


def _counters(told: Mapping[str, Any]) -> dict[str, Any]:
    control = told["control"] or {"rows": 0, "tokens": 0}
    return {
        "rows": told["rows"], "tokens": told["tokens"], "control_rows": control["rows"],
        "control_tokens": control["tokens"], "shortfall": told["shortfall"],
        "steps": {step["name"]: step["rows"] for step in told["steps"]},
    }  # fmt: skip
