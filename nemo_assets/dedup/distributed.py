"""Signatures and buckets by several machines: Daft plans the work, a Ray cluster does it.

Workers read the files themselves, so all nodes see them at the same paths and have this release installed. What comes
back is what `signatures_of` and `buckets_of` give, whatever the cluster: rows are put in place by their `record_uid`.

Belongs here: everything that knows Daft or Ray, which are imported when first needed. Does not: what a signature or a
bucket is (`signatures`, `bands`).
"""

from __future__ import annotations

import logging
import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.bands import ALONE, Banding, Buckets, band_hash
from nemo_assets.dedup.minhash import SLOTS
from nemo_assets.dedup.signatures import ROW_COLUMNS, SIGNATURE_SCHEMA, signatures_of
from nemo_assets.dedup.tokens import U64
from nemo_assets.errors import ConservationError, UserError

_ROWS_AT_ONCE = 4_000  # of a batch: as many as a row group has, about 100 MB of text
_ANSWERS_WITHIN = 10  # seconds


def signatures_distributed(paths: Sequence[Path], address: str | None = None) -> Iterator[pa.Table]:
    """The signatures of the rows of each Parquet file, file by file and row by row in order. Files have ROW_COLUMNS.

    `address` is that of the Ray cluster. None means what Ray makes of it: a cluster that already runs on this machine,
    or else one of this machine alone until the process ends.

    Raises:
        UserError: Daft or Ray is not installed, or no cluster answers.
        ConservationError: what came back are not the rows of a file.
    """
    daft = _connected(address)
    sign = daft.func.batch(
        return_dtype=daft.DataType.from_arrow_type(pa.struct(SIGNATURE_SCHEMA)), batch_size=_ROWS_AT_ONCE
    )(_signatures)
    rows = daft.read_parquet([str(path) for path in paths], file_path_column="part")
    frame = rows.select("part", sign(*map(daft.col, ROW_COLUMNS)).alias("signature"))
    batches = frame.to_arrow_iter()
    arrived: defaultdict[str, list[pa.Table]] = defaultdict(list)
    for path in paths:
        while sum(table.num_rows for table in arrived[str(path)]) < pq.read_metadata(path).num_rows:
            batch = next(batches, None)
            if batch is None:
                raise ConservationError(f"{path}: not all of its rows came back signed.")
            for part in pc.unique(batch["part"]):
                signed = pa.Table.from_struct_array(batch.filter(pc.equal(batch["part"], part))["signature"])
                arrived[part.as_py().removeprefix("file://")].append(signed.cast(SIGNATURE_SCHEMA))
        yield _in_order_of(path, arrived.pop(str(path)))


def buckets_distributed(
    paths: Sequence[Path],
    uids: pa.Array,
    must_agree: NDArray[np.uint64],
    banding: Banding,
    address: str | None = None,
) -> Buckets:
    """Buckets of the rows that `uids` names, by their place in it, as `buckets_of` numbers them; `must_agree` too.

    `paths` are Parquet files with `record_uid` and `minhash` of SIGNATURE_SCHEMA; rows that `uids` leaves out take no
    part. `address` and errors are those of `signatures_distributed`.
    """
    daft = _connected(address)
    hashes_of = daft.func.batch(return_dtype=daft.DataType.list(daft.DataType.uint64()))(_band_hashes)
    ranks = daft.from_arrow(
        pa.table({"record_uid": uids, "rank": np.arange(len(uids), dtype=np.uint32), "key": must_agree})
    )
    groups = (
        daft.read_parquet([str(path) for path in paths])
        .select("record_uid", "minhash")
        .join(ranks, on="record_uid")
        .select("rank", hashes_of(daft.col("minhash"), daft.col("key"), banding.bands, banding.rows).alias("hash"))
        .explode("hash")
        .groupby("hash")
        .agg(daft.col("rank").list_agg())
        .where(daft.col("rank").length() > 1)
        .to_arrow()
    )
    return _numbered(groups.sort_by("hash").combine_chunks(), len(uids), banding.bands)


def _connected(address: str | None) -> Any:
    """Daft, at work on that cluster."""
    os.environ.setdefault("DO_NOT_TRACK", "true")  # Daft reports that it is imported, and every query
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import daft
        import ray
    except ImportError as missing:
        raise UserError(
            f"NEMO_DEDUP_ENGINE=ray needs {missing.name}: pip install 'nemo_assets[ray]', or set it to local."
        ) from missing
    if not ray.is_initialized():
        _require_answer(address)
        on_workers = {"env_vars": {"DO_NOT_TRACK": "true"}}
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, runtime_env=on_workers)
    daft.set_runner_ray(noop_if_initialized=True)
    return daft


def _require_answer(address: str | None) -> None:
    """Raise UserError where nothing listens: Ray itself would try again for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not port.isdecimal():  # none, `auto` or `local`
        return
    try:
        socket.create_connection((host, int(port)), _ANSWERS_WITHIN).close()
    except OSError as error:
        raise UserError(
            f"RAY_ADDRESS={address}: no Ray cluster answers there ({error}). Correct it, or start one with `ray start`."
        ) from error


def _signatures(*columns: Any) -> pa.Array:
    rows = pa.table([column.to_arrow() for column in columns], ROW_COLUMNS)
    return signatures_of(rows).combine_chunks().to_struct_array().combine_chunks()


def _in_order_of(path: Path, signed: Sequence[pa.Table]) -> pa.Table:
    """The signatures of a file in the order of its rows."""
    uids = pq.read_table(path, columns=["record_uid"])["record_uid"].combine_chunks()
    table = pa.concat_tables([SIGNATURE_SCHEMA.empty_table(), *signed])
    places = pc.index_in(uids, table["record_uid"].combine_chunks())
    if places.null_count or table.num_rows != len(uids):
        raise ConservationError(f"{path}: what came back signed are {table.num_rows} rows, not its {len(uids)} rows.")
    return table.take(places)


def _band_hashes(minhash: Any, key: Any, bands: int, rows: int) -> pa.Array:
    column = minhash.to_arrow()
    data = np.frombuffer(column.buffers()[1], np.dtype(("<u4", SLOTS)))
    hashes = np.empty((len(column), bands), np.uint64)
    keys = key.to_arrow().to_numpy(zero_copy_only=False)
    _hash_bands(data[column.offset : column.offset + len(column)], keys, rows, hashes)
    return pa.ListArray.from_arrays(np.arange(0, hashes.size + 1, bands, dtype=np.int32), hashes.ravel())


@compiled
def _hash_bands(signatures: Any, keys: Any, rows: int, hashes: Any) -> None:
    """The hash of each band of each signature, the number of the band in the upper half."""
    for row in range(len(signatures)):
        for band in range(hashes.shape[1]):
            hashes[row, band] = U64(band) << U64(32) | band_hash(signatures[row], keys[row], band * rows, rows)


def _numbered(groups: pa.Table, rows: int, bands: int) -> Buckets:
    """Buckets of groups (`hash`, `rank`: a list) that are sorted by hash."""
    hashes, ranks = groups["hash"].to_numpy(), groups["rank"].combine_chunks()
    sizes = pc.list_value_length(ranks).to_numpy(zero_copy_only=False)
    of_rank = np.full((rows, bands), ALONE, np.int32)
    bucket = np.repeat(np.arange(len(hashes), dtype=np.int32), sizes)
    of_rank[ranks.flatten().to_numpy(), np.repeat(hashes >> U64(32), sizes).astype(np.int64)] = bucket
    return Buckets(of_rank, len(hashes), int(sizes.max(initial=1)))
