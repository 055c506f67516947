"""What the sources say of their rows: the share of each split with correctness, reasoning, tools, licence and so on.

Belongs here: what counts as having a thing, measuring it, the report. Does not: the columns themselves
(`records.schema`), raw types and nulls (`inventory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from nemo_assets.catalog import Catalog
from nemo_assets.disk import write_durably
from nemo_assets.errors import UserError
from nemo_assets.progress import track
from nemo_assets.records.recipe import code_digest
from nemo_assets.records.schema import CORRECTNESS_COLUMNS, ROW_SCHEMA
from nemo_assets.stages.pools import JOINED_SCHEMA, with_correctness
from nemo_assets.storage import Basis, Manifest, Stage, Staging, Store, Unit
from nemo_assets.storage.manifest import content_version
from nemo_assets.storage.parquet import scan

PARTITION = "all"

# A Python call also stands in the analysis channel (`assistant to=python<|channel|>analysis`): it is no reasoning.
_REASONING = "<|start|>assistant<|channel|>analysis<|message|>"


class Measure(NamedTuple):
    """Something a row may have: the condition for having it, and the condition in words."""

    has: pl.Expr
    meaning: str


MEASURES: dict[str, Measure] = {
    "correctness": Measure(
        pl.col("meta_correctness").is_not_null(),
        "the teacher was evaluated on the problem under at least one condition",
    ),
    "row_verified": Measure(
        pl.col("meta_row_verified").fill_null(False), "the source judged this very completion correct"
    ),
    "expected_answer": Measure(
        pl.col("meta_expected_answer").is_not_null(), "the source gives the answer it holds to be right"
    ),
    "problem_id": Measure(pl.col("meta_problem_id").is_not_null(), "the source names the problem"),
    "reasoning_text": Measure(
        pl.col("text").str.contains(_REASONING, literal=True), "the text holds an analysis message that is no tool call"
    ),
    "reasoning_flag": Measure(pl.col("meta_reasoning").is_not_null(), "the source marks reasoning as on or off"),
    "capability_target": Measure(
        pl.col("meta_capability_target").is_not_null(), "the source says what the row is meant to teach"
    ),
    "tools_offered": Measure(pl.col("source_tools_count") > 0, "tools are offered to the assistant"),
    "tool_calls": Measure(pl.col("quality_has_tool"), "the assistant calls a tool or a tool answers"),
    "license": Measure(pl.col("source_license").is_not_null(), "the record names its licence"),
    "uuid": Measure(pl.col("source_uuid").is_not_null(), "the record has a uuid"),
    "used_in": Measure(pl.col("source_used_in").list.len() > 0, "the record says which models it was used in"),
    "valid_tool_schema": Measure(
        pl.col("quality_valid_tool_schema"),
        "every tool call satisfies the JSON schema of its tool, or there is no call",
    ),
}

Counts = dict[str, int]  # rows, and rows having each measure


def measure_coverage(catalog: Catalog, store: Store) -> Manifest:
    """Write `metadata_coverage` as Markdown and JSON over the normalized rows of the splits that exist.

    Where correctness is joined to rendered text, the join that `pools` made counts. Splits unchanged since the last
    report are not read again. Raises UserError if no split is normalized yet.
    """
    splits = {key: normalized for key in catalog.splits if (normalized := store.find(Stage.NORMALIZED, key))}
    if not splits:
        raise UserError("metadata_coverage: no split is normalized yet. Materialise normalized of one split first.")
    joins = {key: pools for key in splits if (pools := store.find(Stage.POOLS, key)) and pools.table("joined")}
    basis = coverage_basis(splits, joins)
    current = store.find_current(Stage.METADATA_COVERAGE, PARTITION, basis)
    if current is not None:
        return current
    coverage = _unchanged(store, basis)
    with track("metadata coverage", sum(split.rows() for split in splits.values()), "rows") as meter:
        for key, normalized in splits.items():
            if key not in coverage:
                joined = store.paths(joins[key], "joined") if key in joins else []
                coverage[key] = coverage_of(store.paths(normalized), joined)
            meter.advance(normalized.rows())
    ordered = {key: coverage[key] for key in splits}
    with store.staging(Stage.METADATA_COVERAGE, PARTITION, basis) as staging:
        staging.add(_write(staging, ordered))
        table = [{"split": key, "rows": counts["rows"], **_percent(counts)} for key, counts in ordered.items()]
        return staging.commit(counters={"rows": sum(split["rows"] for split in table)}, details={"splits": table})


def coverage_basis(splits: Mapping[str, Manifest], joins: Mapping[str, Manifest]) -> Basis:
    """The rows of each split, the correctness joined to some, and the code that measures.

    `joins` are the pools manifests with a `joined` table; only that table counts, so pool policies change nothing here.
    """
    inputs = {key: normalized.data_version for key, normalized in splits.items()}
    joined = {_join_input(key): content_version(pools.table("joined")) for key, pools in joins.items()}
    return Basis(inputs | joined, {"code": code_digest(Path(__file__))})


def coverage_of(rows: list[Path], joined: list[Path]) -> Counts:
    """Rows in these normalized parts and how many have each measure; `joined` fills in correctness by record_uid."""
    flags = [measure.has.alias(name) for name, measure in MEASURES.items()]
    marked = scan(rows, ROW_SCHEMA).select("record_uid", *CORRECTNESS_COLUMNS, *flags)
    if joined:
        wide = with_correctness(marked, scan(joined, JOINED_SCHEMA))
        marked = wide.with_columns(flag for flag in flags if set(flag.meta.root_names()) <= set(CORRECTNESS_COLUMNS))
    totals = marked.select(pl.len().alias("rows"), *(pl.col(name).sum() for name in MEASURES))
    return {name: int(count) for name, count in totals.collect(engine="streaming").row(0, named=True).items()}


def _join_input(key: str) -> str:
    return f"{key} joined"


def _unchanged(store: Store, basis: Basis) -> dict[str, Counts]:
    """Counts in the current report of splits that are, with what is joined to them, as they were then."""
    previous = store.find(Stage.METADATA_COVERAGE, PARTITION)
    if previous is None or previous.settings != dict(basis.settings):
        return {}
    path = store.paths(previous, "metadata_coverage")[0]
    if not path.exists():
        return {}
    report = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])
    unchanged = {name for name in basis.inputs if previous.inputs.get(name) == basis.inputs[name]}
    changed = (set(basis.inputs) | set(previous.inputs)) - unchanged
    return {key: each["counts"] for key, each in report.items() if not changed & {key, _join_input(key)}}


def _write(staging: Staging, coverage: Mapping[str, Counts]) -> Unit:
    report = {key: {"counts": counts, "percent": _percent(counts)} for key, counts in coverage.items()}
    data, page = staging.directory / "metadata_coverage.json", staging.directory / "metadata_coverage.md"
    write_durably(data, msgspec.json.format(msgspec.json.encode(report, order="sorted"), indent=1))
    write_durably(page, markdown(coverage).encode())
    return Unit(0, (staging.part("metadata_coverage", data, 0), staging.part("markdown", page, 0)))


def _percent(counts: Counts) -> dict[str, float | None]:
    """Share of the rows that have each measure in percent, one decimal; None where there is no row."""
    return {name: round(100 * counts[name] / counts["rows"], 1) if counts["rows"] else None for name in MEASURES}


def markdown(coverage: Mapping[str, Counts]) -> str:
    """A table, one line a split in the order given, and what each column means."""
    lines = [
        "# Metadata coverage",
        "",
        "Per cent of the normalized rows of each split. Correctness, row_verified, expected_answer and problem_id of "
        "rendered splits are joined from their origin by equal text, for the rows that deduplication keeps.",
        "",
        f"| split | rows | {' | '.join(MEASURES)} |",
        f"|---|{'---:|' * (len(MEASURES) + 1)}",
    ]
    for key, counts in coverage.items():
        shares = ("–" if share is None else f"{share:.1f}" for share in _percent(counts).values())
        lines.append(f"| {key} | {counts['rows']:,} | {' | '.join(shares)} |")
    lines += ["", *(f"- `{name}`: {measure.meaning}." for name, measure in MEASURES.items()), ""]
    return "\n".join(lines)
