"""Why a row is in a subset, so that it can be worked out again from the row itself.

Belongs here: the reason of a row, and holding a reason against the policy. Does not: choosing rows (`select`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import polars as pl

from nemo_assets.catalog import SubsetPolicy, policy_digest
from nemo_assets.selection.normalised import Normalised
from nemo_assets.selection.predicates import columns_of_subset, schema_of, subset_predicate, trust_predicate
from nemo_assets.selection.select import Selection

Array = npt.NDArray[Any]

CONTROL_RULE = "random control"

_TOLD = ("split_number", "row", "stratum", "percentile", "nll_mean", "tokens", "completion_tokens")


def reasons(
    found: Selection,
    normalised: Normalised,
    policy: SubsetPolicy,
    control: bool = False,
    split_number: int | None = None,
) -> pl.DataFrame:
    """Why each row is in a subset, or in its random control where that is asked for; in order, of one split or of all.

    Columns: `split_number`, `row`, `stratum` (its label), `percentile`, `nll_mean`, `tokens` and `subset_reason`. That
    is JSON: `rule`, the name of the subset; `policy`, the digest of the policy; `stratum`, `percentile`,
    `completion_tokens`; of rows that were ranked `place` in the ranking of their stratum and `of` how many; and
    `values`, every column that the rule, the trust gate and the ranking looked at, if any.
    """
    places = found.control if control else found.rows
    names = sorted(set(trust_predicate(policy).meta.root_names())) if control else columns_of_subset(policy, found.name)
    order: dict[str, Array] = {}
    if found.place is not None and found.of is not None and not control:
        order = {"place": found.place, "of": found.of}
    if split_number is not None:
        here = normalised.rows["split_number"].gather(places).to_numpy() == split_number
        places, order = places[here], {name: values[here] for name, values in order.items()}
    read = sorted({*names, *_TOLD} - set(normalised.quantiles.columns[1:]))
    rows = normalised.with_quantiles(normalised.rows.select(read)[places])
    told = rows.join(normalised.strata.select("stratum", "label"), on="stratum", how="left", maintain_order="left")
    values = [pl.struct(*(_plain(rows[name]) for name in names)).alias("values")] if names else []
    reason = pl.struct(
        pl.lit(f"{CONTROL_RULE} of {found.name}" if control else found.name).alias("rule"),
        pl.lit(policy_digest(policy)).alias("policy"),
        pl.col("label").alias("stratum"),
        "percentile",
        "completion_tokens",
        *(pl.lit(pl.Series(numbers)).alias(name) for name, numbers in order.items()),
        *values,
    )
    return told.select(
        "split_number", "row", pl.col("label").alias("stratum"), pl.col("percentile").cast(pl.Float64),
        pl.col("nll_mean").cast(pl.Float64), pl.col("tokens").cast(pl.Int64),
        reason.struct.json_encode().alias("subset_reason"),
    )  # fmt: skip


def _plain(column: pl.Series) -> pl.Expr:
    """As JSON has it."""
    name = pl.col(column.name)
    return name.cast(pl.String) if isinstance(column.dtype, pl.Categorical) else name


def satisfies(reason: str, policy: SubsetPolicy) -> bool:
    """Whether the values in a reason satisfy the rule of its subset and, where it is asked, the trust gate.

    A control's values must pass the trust gate alone. Raises ValueError if the reason is of another policy.
    """
    told: Mapping[str, Any] = json.loads(reason)
    if told["policy"] != policy_digest(policy):
        raise ValueError(f"the reason is of policy {told['policy']}, not of {policy_digest(policy)}")
    schema, values = schema_of(policy), told.get("values", {})
    row = pl.DataFrame({name: [value] for name, value in values.items()}, {name: schema[name] for name in values})
    if told["rule"].startswith(CONTROL_RULE):
        return bool(row.select(trust_predicate(policy)).item())
    subset = policy.subsets[told["rule"]]
    rule = subset_predicate(policy, told["rule"])
    return bool(row.select(rule & trust_predicate(policy) if subset.trusted else rule).item())
