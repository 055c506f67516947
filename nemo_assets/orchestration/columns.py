"""Columns of the tables that assets write, and codes in them, as the UI shows them.

Belongs here: from our schemas to Dagster's, words for columns that only one stage writes and for codes. Does not: the
canonical columns themselves (`records.schema`).
"""

from __future__ import annotations

import dagster as dg
import pyarrow as pa

from nemo_assets.dedup.signatures import SIGNATURE_SCHEMA
from nemo_assets.records.schema import COLUMNS, FLOAT, INT, LEDGER_COLUMNS, ROW_SCHEMA, STRING, STRINGS, Column
from nemo_assets.scoring.rows import SCORE_SCHEMA
from nemo_assets.stages.duplicates import REMOVED_SCHEMA
from nemo_assets.stages.evaluation_sets import EVALUATION_SCHEMA
from nemo_assets.stages.metadata_coverage import MEASURES
from nemo_assets.stages.pools import MEMBERSHIP_SCHEMA
from nemo_assets.stages.release_files import published_schema
from nemo_assets.stages.subsets import SUBSET_SCHEMA

_OWN = {
    "row_verified": "meta_row_verified of the row, null taken as false; a verified row survives an unverified one",
    "correctness_lcb": "meta_correctness_lcb of the row; the higher one survives",
    "answer_complete": "The text ends in a final answer and its closing token; a complete row survives a truncated one",
    "char_len": "Length of text in code points",
    "survivor_id": "id of the row that stands for the removed one",
    "survivor_partition": "Split of the row that stands for the removed one",
    "statement": "Digest of the Lean statement of a row that states a problem, without the name of its theorem",
    "shingles": "Shingles of five tokens in what is compared, repeated ones included",
    "prompt": "Digest of what is heard before the assistant first speaks, up to case and white space",
    "masked": "Digest of what is compared with every number replaced by the same one",
    "sequence": "Digest of what is compared, but for case and white space",
    "calls": "Digest of the calls of tools, up to case and white space",
    "numbers": "Digests of the multisets of numbers, of what is spoken and of what is heard",
    "spoken_minhash": "Low bytes of the 128 MinHash slots of what the assistant says",
    "minhash": "128 MinHash slots of 4 bytes of all that is compared, as datasketch computes them with affine32",
    "part": "Number of the part of `normalized` that the row is in",
    "rule": "What made the row a duplicate",
    "spoken_similarity": "Jaccard index of what the assistant says in the two rows",
    "containment": "Share of the smaller set of shingles that the larger one holds",
    "shared_bands": "Bands that the two signatures have in common, of those in the asset's metadata",
    "threshold": "What similarity had to reach",
    "pools": "Names of the pools the row belongs to, sorted",
}

CODES = {  # what a record with the code does
    "unparseable": "is no JSON or UTF-8, blank, nested too deep, holds a lone surrogate or an unknown structure",
    "not_an_object": "is JSON, but no object",
    "no_messages": "has nothing to render",
    "invalid_harmony": "has junk between messages, no role or one no source has, a header or terminator missing",
    "special_token_in_content": "spells a Harmony token inside a body",
    "empty_completion": "has no assistant turn, or none that says anything",
    "invalid_tool_schema": "has tool calls without a function, or tool arguments that are no JSON",
    "exact_duplicate": "has the same turns as another, which stays",
    "near_duplicate": "has nearly the same turns as another, which stays",
}

_DESCRIPTIONS = _OWN | {column.name: column.description for column in (*COLUMNS, *LEDGER_COLUMNS)}


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of an Arrow schema; what they mean is in their metadata, or known by their name."""
    return tuple(_column(field) for field in schema)


def _column(field: pa.Field) -> Column:
    said = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    description = said.get("description") or _DESCRIPTIONS[field.name]
    return Column(field.name, field.type, description, said.get("unit", ""), field.nullable)


def table_schema(columns: tuple[Column, ...]) -> dg.TableSchema:
    """The Columns panel of an asset: type, meaning, unit, whether null occurs."""
    return dg.TableSchema([
        dg.TableColumn(
            column.name,
            str(column.type),
            column.description,
            dg.TableColumnConstraints(nullable=column.nullable, other=[f"unit: {column.unit}"] if column.unit else []),
        )
        for column in columns
    ])  # fmt: skip


FILE_COLUMNS = (
    Column("path", STRING, "Path of the file in the source repo"),
    Column("blob", STRING, "Where its bytes lie below the data directory; named by content"),
    Column("content_id", STRING, "sha256 of the bytes, or their git blob id", "hex"),
    Column("size", INT, "Size of the file at the source", "bytes"),
    Column("revision", STRING, "Revision of the source where this content of the file first appeared", "40 hex"),
    Column("url", STRING, "Where a person can look at the file"),
)
EVALUATION_COLUMNS = columns_of(EVALUATION_SCHEMA)
INVENTORY_COLUMNS = (
    Column("split", STRING, "Partition key"),
    Column("records", INT, "Records of the split", "records"),
    Column("objects", INT, "Records that are JSON objects or Parquet rows", "records"),
    Column("rejected", INT, "Records that became no row", "records"),
    Column("columns", INT, "Top level fields found in them", "columns"),
    Column("mixed_types", STRINGS, "Paths whose values have more than one type"),
    Column("null_rate_max", FLOAT, "Highest share of records in which a field is null or missing", "share", True),
    Column("null_rate_max_column", STRING, "The field that it is found in", "", True),
)
COVERAGE_COLUMNS = (
    Column("split", STRING, "Partition key"),
    Column("rows", INT, "Normalized rows of the split", "rows"),
    *(Column(name, FLOAT, f"Rows for which {measure.meaning}", "percent", True) for name, measure in MEASURES.items()),
)
SIGNATURE_COLUMNS = columns_of(SIGNATURE_SCHEMA)
REMOVED_COLUMNS = columns_of(REMOVED_SCHEMA)
MEMBERSHIP_COLUMNS = columns_of(MEMBERSHIP_SCHEMA)
PUBLISHED_COLUMNS = columns_of(published_schema(ROW_SCHEMA))
SCORE_COLUMNS = columns_of(SCORE_SCHEMA)
SUBSET_COLUMNS = columns_of(SUBSET_SCHEMA)
