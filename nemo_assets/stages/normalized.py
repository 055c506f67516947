"""Turn the records of one split into canonical rows.

Belongs here: cutting a split into work units, running them, accounting for every record.
Does not: what a row looks like (`records`), how text is rendered (`harmony`), Dagster.
"""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nemo_assets.catalog import Split
from nemo_assets.disk import write_durably
from nemo_assets.errors import ConservationError, Rejected
from nemo_assets.records.adapters import load_adapter
from nemo_assets.records.census import Census
from nemo_assets.records.known_forms import Block, KnownForms, known_forms
from nemo_assets.records.line_scan import SLACK
from nemo_assets.records.parsing import deep_recursion, long_integers, parse_record
from nemo_assets.records.recipe import code_digest, normalize_recipe
from nemo_assets.records.row_groups import RowGroup, Rows
from nemo_assets.records.rows import Row, SourceFileRef, row_of
from nemo_assets.records.schema import (
    DICTIONARY_COLUMNS,
    REJECTED_SCHEMA,
    ROW_SCHEMA,
    STATISTICS_COLUMNS,
    TOOLS_SCHEMA,
)
from nemo_assets.records.sorted_json import sorted_json
from nemo_assets.records.tools import ToolsEntry
from nemo_assets.stages import units as units_module
from nemo_assets.stages.blobs import require_intact
from nemo_assets.stages.units import UNIT_BYTES, Extent, plan_extents, run_units
from nemo_assets.storage import CENSUS, Basis, Manifest, Stage, Staging, Store, Unit
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import PartWriter, open_parquet, parquet_errors, write_part

BLOCK_BYTES = 512 << 10  # of lines that are looked at together: they and what is made of them stay in the cache
BATCH_BYTES = 8 << 20  # of a Parquet row group that are Python values at a time

RULES = 1  # version of the drop rules, named in the evidence; raise when a code changes its meaning

# What a source's odd structure can raise in an adapter. Such a record is rejected with the error as evidence and
# counted as `unexpected`; it never stops the split.
STRUCTURE_ERRORS = (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Piece:
    """One unit of work, complete in itself so that any process can do it."""

    number: int
    extent: Extent
    file: SourceFileRef
    blob: Path
    staging: Staging
    keep: frozenset[str]


def normalize(
    split: Split, store: Store, workers: int = 1, unit_bytes: int = UNIT_BYTES, keep: frozenset[str] = frozenset()
) -> Manifest:
    """Write one canonical row, or one rejection, for every record of `split`; `keep` as in `records.rows.row_of`.

    Work units already finished under the same inputs, code and settings are reused. Output bytes do not depend on
    `workers`.

    Raises:
        ConservationError: records read differ from rows plus rejections; nothing is made current.
        UserError: a file cannot be read as what its name says.
    """
    raw = store.current(Stage.RAW, split.key)
    basis = normalize_basis(split, raw, unit_bytes, keep)
    current = store.find_current(Stage.NORMALIZED, split.key, basis)
    if current is not None:
        return current
    require_intact(raw, store)
    files = raw.details["files"]
    with store.staging(Stage.NORMALIZED, split.key, basis) as staging:
        paths = [(f"{split.repo}/{file['path']}", store.root / file["blob"]) for file in files]
        extents = plan_extents(paths, unit_bytes, workers)
        refs = [SourceFileRef(split, file["path"], file["content_id"], file["revision"]) for file in files]
        pieces = [
            Piece(n, extents[n], refs[extents[n].file], paths[extents[n].file][1], staging, keep)
            for n in staging.missing(range(len(extents)))
        ]
        label = f"normalized {split.key}"
        for unit in run_units(normalize_unit, pieces, workers, label, lambda piece: piece.extent.records, "records"):
            staging.add(unit)
        counters = _counters(staging, extents, [file["path"] for file in files])
        details = {"repo": split.repo, "files": [file["path"] for file in files]}
        return staging.commit(counters=counters, details=details)


def normalize_basis(
    split: Split, raw: Manifest, unit_bytes: int = UNIT_BYTES, keep: frozenset[str] = frozenset()
) -> Basis:
    """The raw bytes, where they were first seen, the recipe of the split and the cut into units."""
    revisions = digest([file["revision"] for file in raw.details["files"]])
    settings = {"recipe": normalize_recipe(split), "revisions": revisions, "unit_bytes": str(unit_bytes)}
    settings["code"] = digest([code_digest(Path(module)) for module in (__file__, units_module.__file__)])
    if keep:
        settings["keep"] = ",".join(sorted(keep))
    return Basis({"raw": raw.data_version}, settings)


def normalize_unit(piece: Piece) -> Unit:
    """Do one unit: write its rows, rejections, tools and census, count them, and record that it is done."""
    target, part = piece.staging.target, piece.staging.part
    rows_path, rejected_path, tools_path = (target(table, piece.number) for table in ("rows", "rejected", "tools"))
    census_path = target(CENSUS, piece.number, "json")
    group, counted, census = RowGroup(piece.file), _Counted(), Census()
    rejected: list[dict[str, Any]] = []
    tools: dict[str, ToolsEntry] = {}
    writer = PartWriter(rows_path, ROW_SCHEMA, DICTIONARY_COLUMNS, STATISTICS_COLUMNS, passing=True)
    with writer, long_integers(), without_cycle_search():
        for outcome in outcomes_of(piece, census, known_forms(piece.file, BLOCK_BYTES)):
            if isinstance(outcome, Rows):
                while (taken := group.take(outcome)) < len(outcome.tags):
                    writer.write(counted.rows_of(group.drain()))
                    outcome = outcome.cut(taken, len(outcome.tags))
                tools |= {entry.id: entry for entry in outcome.tools if entry is not None}
                continue
            if not isinstance(outcome, Row):
                rejected.append(outcome)
                continue
            if not group.has_room(outcome):
                writer.write(counted.rows_of(group.drain()))
            group.add(outcome)
            if outcome.tools is not None:
                tools[outcome.tools.id] = outcome.tools
        writer.write(counted.rows_of(group.drain()))
    write_part(rejected_path, pa.Table.from_pylist(rejected, schema=REJECTED_SCHEMA))
    write_part(tools_path, _tools_table(tools))
    write_durably(census_path, census.dump())
    parts = (
        part("rows", rows_path, writer.rows),
        part("rejected", rejected_path, len(rejected)),
        part("tools", tools_path, len(tools)),
        part(CENSUS, census_path, 0),
    )
    unit = Unit(piece.number, parts, counted.counters(rejected))
    piece.staging.record(unit)
    return unit


@contextmanager
def without_cycle_search() -> Iterator[None]:
    """Records make no reference cycles, and looking for some takes a twentieth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _tools_table(tools: Mapping[str, ToolsEntry]) -> pa.Table:
    entries = [
        {"source_tools_id": entry.id, "tools_count": entry.size, "tools_json": entry.json}
        for _, entry in sorted(tools.items())
    ]
    return pa.Table.from_pylist(entries, schema=TOOLS_SCHEMA)


class _Counted:
    """What is counted over the rows of a unit, a row group at a time."""

    def __init__(self) -> None:
        self._rows = 0
        self._tags: Counter[str] = Counter()
        self._lengths: Counter[str] = Counter()

    def rows_of(self, table: pa.Table) -> pa.Table:
        """Count this table, and hand it on."""
        self._rows += table.num_rows
        tags = pc.value_counts(pc.list_flatten(table["quality_tags"]))
        self._tags.update({tag["values"]: tag["counts"] for tag in tags.to_pylist()})
        bins, counts = np.unique(length_bins(table["stats_approx_tokens"].to_numpy()), return_counts=True)
        self._lengths.update({str(lower): int(count) for lower, count in zip(bins, counts, strict=True)})
        return table

    def counters(self, rejected: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        codes = Counter(entry["code"] for entry in rejected)
        return {
            "rows": self._rows,
            "rejected": dict(sorted(codes.items())),
            "unexpected": sum(b'"unexpected_structure"' in entry["evidence"] for entry in rejected),
            "tags": dict(sorted(self._tags.items())),
            "length_bins": dict(sorted(self._lengths.items())),
        }


def length_bins(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lower edges of the power-of-two bins of token counts, 0 for fewer than 64."""
    _, bit_lengths = np.frexp(tokens)
    return np.where(tokens < 64, 0, np.int64(1) << np.maximum(bit_lengths - 1, 0))


_NEWLINE = 10
Result = TypeVar("Result")
Outcome = Row | Rows | dict[str, Any]
"""A row or some, or the entry of a rejection."""


def outcomes_of(piece: Piece, census: Census, forms: KnownForms) -> Iterator[Outcome]:
    """What becomes of every record of a piece, in order; those that parse are counted in `census`."""
    adapt = load_adapter(piece.file.split)

    def outcome_of(
        number: int, offset: int | None, raw: bytes | None, parse: Callable[[Any], Parsed], source: Any
    ) -> Row | dict[str, Any]:
        try:
            try:
                record, tags = parse(source)
            except RecursionError:
                record, tags = _with_room(parse, source)
            census.add(record)
            try:
                return row_of(record, tags, piece.file, adapt, number, offset, piece.keep)
            except RecursionError:
                return _with_room(row_of, record, tags, piece.file, adapt, number, offset, piece.keep)
        except Rejected as rejection:
            return _rejection(rejection, piece.file, number, offset, raw)
        except STRUCTURE_ERRORS as error:
            odd = {"reason": "unexpected_structure", "error": type(error).__name__, "detail": str(error)[:200]}
            return _rejection(Rejected("unparseable", **odd), piece.file, number, offset, raw)

    if piece.file.path.endswith(".parquet"):
        for number, record in _parquet_records(piece):
            yield outcome_of(number, None, None, _decoded, record)
        return

    def plain(number: int, offset: int, line: bytes) -> Row | dict[str, Any]:
        return outcome_of(number, offset, line, parse_record, line)

    for block in blocks_of(piece.blob, piece.extent, forms.size):
        yield from forms.outcomes(block, plain, census)
    forms.finish(census)


def _with_room(work: Callable[..., Result], *arguments: Any) -> Result:
    """The result of `work` on a deep record, which is rare: with such room the parser must look at every bracket."""
    with deep_recursion():
        return work(*arguments)


Parsed = tuple[dict[str, Any], list[str]]
"""A record, and the tags of what was odd about it."""


def _parquet_records(piece: Piece) -> Iterator[tuple[int, dict[str, Any]]]:
    extent, name = piece.extent, f"{piece.file.split.repo}/{piece.file.path}"
    with open_parquet(piece.blob, name) as file:
        names, number = file.schema_arrow.names, extent.first_row
        for batch in _batches(file, extent, name):
            for values in zip(*(_as_bytes(column).to_pylist() for column in batch.columns), strict=True):
                yield number, dict(zip(names, values, strict=True))
                number += 1


def _batches(file: pq.ParquetFile, extent: Extent, name: str) -> Iterator[pa.RecordBatch]:
    """The rows of some row groups, BATCH_BYTES at a time: a row group may be as large as its writer's memory was."""
    for group in range(extent.start, extent.end):
        metadata = file.metadata.row_group(group)
        rows = max(1, BATCH_BYTES * metadata.num_rows // max(1, metadata.total_byte_size))
        with parquet_errors(name):
            yield from file.iter_batches(batch_size=rows, row_groups=[group])


def _rejection(
    rejection: Rejected, file: SourceFileRef, number: int, offset: int | None, raw: bytes | None
) -> dict[str, Any]:
    return {
        "record_uid": file.record_uid(number),
        "dataset": file.split.repo,
        "split": file.split.name,
        "source_file": file.path,
        "source_row": number,
        "source_offset": offset,
        "code": rejection.code,
        "evidence": sorted_json({"rule": f"{rejection.code}, version {RULES}", **rejection.evidence}),
        "raw": raw,
    }


def blocks_of(path: Path, extent: Extent, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """The lines that start in the extent, in blocks of about `size` bytes; a longer line makes a block of its own size.

    A block lies in memory that is used again for the next.
    """
    number, offset, filled, left = extent.first_row, extent.start, 0, extent.end - extent.start
    content = np.empty(size + SLACK, np.uint8)
    with path.open("rb", buffering=0) as stream:
        stream.seek(extent.start)
        while left or filled:
            if left and filled == len(content) - SLACK:  # all of it is one line that has not ended
                content = np.concatenate([content, np.empty(len(content), np.uint8)])
            taken = stream.readinto(content.data[filled : min(len(content) - SLACK, filled + left)]) or 0
            filled, left = filled + taken, left - taken if taken else 0
            ends = np.flatnonzero(content[:filled] == _NEWLINE)
            if not left and (not len(ends) or ends[-1] != filled - 1):  # the last line of a file may lack its end
                ends, filled = np.append(ends, filled), filled + 1
                content[filled - 1] = _NEWLINE
            if not len(ends):
                continue
            starts, whole = np.append(0, ends[:-1] + 1), int(ends[-1]) + 1
            yield Block(content[: whole + SLACK - 1], starts, ends, number, offset)
            number, offset, filled = number + len(ends), offset + whole, filled - whole
            rest = content[whole : whole + filled].copy()
            if len(content) > size + SLACK >= filled + SLACK:
                content = np.empty(size + SLACK, np.uint8)
            content[:filled] = rest


def _as_bytes(column: pa.Array) -> pa.Array:
    """Strings as bytes: Parquet files can hold invalid UTF-8, which is one record's fault and not the file's."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary())
    return column


def _decoded(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    try:
        record = {name: v.decode() if isinstance(v, bytes) else v for name, v in values.items()}
    except UnicodeDecodeError as error:
        raise Rejected("unparseable", reason="invalid_utf8", at_byte=error.start, detail=error.reason) from None
    finite = _finite(record)
    return finite, [] if finite == record else ["json:nonfinite_number"]


def _finite(value: Any) -> Any:
    """A Parquet value with null for every NaN and infinity, as JSON lines have it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def _counters(staging: Staging, extents: list[Extent], paths: list[str]) -> dict[str, Any]:
    """Totals over the units, and the gate: every record that planning counted is a row or a rejection, file by file."""
    units = [staging.units[n] for n in range(len(extents))]
    files: dict[str, dict[str, int]] = {path: {"records": 0, "rows": 0, "rejected": 0} for path in paths}
    total: dict[str, Counter[str]] = {"rejected": Counter(), "tags": Counter(), "length_bins": Counter()}
    for extent, unit in zip(extents, units, strict=True):
        file = files[paths[extent.file]]
        file["records"] += extent.records
        file["rows"] += unit.counters["rows"]
        file["rejected"] += sum(unit.counters["rejected"].values())
        for name, counter in total.items():
            counter.update(unit.counters[name])
    for path, file in files.items():
        if file["records"] != file["rows"] + file["rejected"]:
            raise ConservationError(
                f"{staging.partition}: {path} holds {file['records']} records, but {file['rows']} rows and "
                f"{file['rejected']} rejections were written. This is a defect of nemo_assets; "
                "nothing was made current."
            )
    return {
        "records": sum(file["records"] for file in files.values()),
        "rows": sum(file["rows"] for file in files.values()),
        "unexpected": sum(unit.counters["unexpected"] for unit in units),
        **{name: dict(sorted(counter.items())) for name, counter in total.items()},
        "files": files,
    }
