"""The small table that deduplication reads instead of rows: what is compared of each, and what decides who stays."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nemo_assets.dedup.answers import ends_with_answer
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.minhash import SLOTS
from nemo_assets.dedup.signing import Signed, sign

UID, DIGEST = pa.binary(16), pa.binary(16)

SIGNATURE_SCHEMA = pa.schema({
    "record_uid": UID,
    "id": pa.string(),
    "content_sha1": pa.string(),
    "row_verified": pa.bool_(),
    "correctness_lcb": pa.float64(),
    "answer_complete": pa.bool_(),
    "char_len": pa.int64(),
    "source_file": pa.string(),
    "source_row": pa.int64(),
    "statement": DIGEST,
    "shingles": pa.int64(),
    "prompt": pa.uint64(),
    "masked": pa.uint64(),
    "sequence": pa.uint64(),
    "calls": pa.uint64(),
    "numbers": pa.binary(16),
    "spoken_minhash": pa.binary(SLOTS),
    "minhash": pa.binary(4 * SLOTS),
})  # fmt: skip

DECIDING_COLUMNS = [name for name in SIGNATURE_SCHEMA.names if name not in Signed._fields]

ROW_COLUMNS = [
    "record_uid", "id", "content_sha1", "meta_row_verified", "meta_correctness_lcb", "stats_char_len", "source_file",
    "source_row", "meta_tags", "source_meta_json", "text",
]  # fmt: skip
"""Columns of rows that a signature is made from."""

_STATEMENT_TAG = "statement"  # of rows whose task is to state a problem in Lean

# The name says which problem a statement is of; two statements that differ in nothing else are one.
_theorem_name = re.compile(r"^(\s*(?:theorem|lemma)\s+)[^\s:(\[{⦃]+", re.MULTILINE)


def signatures_of(rows: pa.Table, threads: int = 1) -> pa.Table:
    """One signature a row, in row order. `rows` has ROW_COLUMNS at least."""
    texts = texts_of(rows["text"])
    signed = sign(texts, threads)
    columns = {
        "record_uid": rows["record_uid"],
        "id": rows["id"],
        "content_sha1": rows["content_sha1"],
        "row_verified": pc.fill_null(rows["meta_row_verified"], False),
        "correctness_lcb": rows["meta_correctness_lcb"],
        "answer_complete": pa.array(ends_with_answer(texts)),
        "char_len": rows["stats_char_len"],
        "source_file": rows["source_file"],
        "source_row": rows["source_row"],
        "statement": _statements(rows),
        "shingles": pa.array(signed.shingles),
        "prompt": pa.array(signed.prompt),
        "masked": pa.array(signed.masked),
        "sequence": pa.array(signed.sequence),
        "calls": pa.array(signed.calls),
        "numbers": _fixed(signed.numbers),
        "spoken_minhash": _fixed(signed.spoken_minhash),
        "minhash": _fixed(signed.minhash),
    }
    return pa.table([columns[field.name].cast(field.type) for field in SIGNATURE_SCHEMA], SIGNATURE_SCHEMA)


def read_signed(paths: Sequence[Path]) -> Signed:
    """The arrays of all signatures in these parts, in order."""
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    signed = Signed.empty(rows)
    begin = 0
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(1 << 14, columns=list(Signed._fields)):
            for name in Signed._fields:
                column: NDArray[Any] = getattr(signed, name)
                column[begin : begin + len(batch)] = _values(batch.column(name), column)
            begin += len(batch)
    return signed


def _fixed(values: NDArray[Any]) -> pa.Array:
    """Each row of an array as bytes, least significant first."""
    width = values.shape[1] * values.itemsize
    data = pa.py_buffer(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return pa.Array.from_buffers(pa.binary(width), len(values), [None, data])


def _values(column: pa.Array, like: NDArray[Any]) -> NDArray[Any]:
    """A column without nulls as an array of the type and width of `like`."""
    data = np.frombuffer(column.buffers()[1], like.dtype.newbyteorder("<"))
    width = int(np.prod(like.shape[1:]))
    return data[column.offset * width : (column.offset + len(column)) * width].reshape(len(column), *like.shape[1:])


def _statements(rows: pa.Table) -> pa.Array:
    """Digests of the formal statements of the rows that state a problem in Lean; null in all others.

    White space and the name of the theorem do not count; upper and lower case differ, as they do in Lean.
    """
    digests: list[bytes | None] = [None] * rows.num_rows
    tags = rows["meta_tags"].combine_chunks()
    for row in pc.list_parent_indices(tags).filter(pc.equal(pc.list_flatten(tags), _STATEMENT_TAG)).to_pylist():
        fields = msgspec.json.decode(rows["source_meta_json"][row].as_py())
        unnamed = _theorem_name.sub(r"\1", str(fields["formal_statement"]))
        digests[row] = hashlib.blake2b(" ".join(unnamed.split()).encode(), digest_size=16).digest()
    return pa.array(digests, DIGEST)
