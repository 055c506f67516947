"""Near-duplicate removal of this project as `dedup_speed` runs it beside the peers.

    python -m nemo_assets_tests.benchmarks.dedup_ours STEP ROWS.parquet FOLDER CORES

runs `signatures`, `words` or `all` here and prints what it took as JSON. Imports and compiling do not count.

Belongs here: which functions of `nemo_assets.dedup` are called with what. Does not: anything of how they work.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import nemo_assets
from nemo_assets.dedup.bands import optimal_banding
from nemo_assets.dedup.candidates import BUCKET_CAP, Rows
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.near import near_duplicates
from nemo_assets.dedup.sharing import buckets_to_walk
from nemo_assets.dedup.signing import Signed, sign
from nemo_assets.stages.row_texts import RowTexts
from nemo_assets_tests.benchmarks import words
from nemo_assets_tests.benchmarks.dedup_truth import EXACT_NUMBERS
from nemo_assets_tests.benchmarks.used import Used, used_by

Ranks = NDArray[np.int64]

THRESHOLD = 0.8
WARM_ROWS = 200


def signatures(texts: pa.ChunkedArray, cores: int) -> Signed:
    """Sign every row, chunk by chunk."""
    signed = [sign(texts_of(chunk), cores) for chunk in texts.chunks]
    return Signed(*(np.concatenate(columns) for columns in zip(*signed, strict=True)))


def word_signatures(texts: pa.ChunkedArray, cores: int) -> list[NDArray[np.uint32]]:
    """MinHash signatures of the whole texts, over shingles of words between white space, as the peers make them."""
    return [words.sign(texts_of(chunk), cores) for chunk in texts.chunks]


class Piece(NamedTuple):
    """What is kept of a row group once it is signed: all but its text, which is read again when it is needed."""

    domains: pa.ChunkedArray
    digests: NDArray[np.uint64]
    signed: Signed


def whole(rows: Path, folder: Path, cores: int, first: int | None = None) -> None:
    """Read rows (or those of the first row group), find near-duplicates, verify them, write the rows that stay.

    As in the project, pieces are read and signed side by side without being kept, and so are written the files of what
    stays.
    """
    groups = range(pq.read_metadata(rows).num_row_groups) if first is None else range(1)
    with ThreadPoolExecutor(cores) as pool:
        pieces = list(pool.map(lambda group: _read_and_sign(rows, group, first), groups))
        domains = pa.chunked_array([chunk for piece in pieces for chunk in piece.domains.chunks])
        signed = Signed(*(np.concatenate(columns) for columns in zip(*(p.signed for p in pieces), strict=True)))
        guarded = np.isin(domains.to_numpy(), list(EXACT_NUMBERS))
        ranked, twins = np.arange(len(domains)), _first_equal(np.concatenate([piece.digests for piece in pieces]))
        buckets = buckets_to_walk(signed, ranked, guarded, optimal_banding(THRESHOLD), BUCKET_CAP, cores)
        texts = RowTexts([(rows, len(domains))], folder, cores)
        found = near_duplicates(Rows(signed, guarded, ranked, twins), buckets, THRESHOLD, texts.measure)
        begins = np.cumsum([0, *(len(piece.digests) for piece in pieces)])
        stays = [found.survivor[begin:end] < 0 for begin, end in itertools.pairwise(begins.tolist())]
        shares = np.array_split(np.arange(len(groups)), cores)
        list(pool.map(lambda n: _write(rows, shares[n].tolist(), stays, folder / f"rows-{n}.parquet"), range(cores)))


def _read_and_sign(rows: Path, group: int, first: int | None) -> Piece:
    table = pq.ParquetFile(rows).read_row_group(group, use_threads=False).slice(0, first)
    digests = pl.Series(pl.from_arrow(table["text"])).hash().to_numpy()
    return Piece(table["domain"], digests, signatures(table["text"], 1))


def _write(rows: Path, groups: Sequence[int], stays: Sequence[NDArray[np.bool_]], path: Path) -> None:
    """Write the rows of some row groups that stay."""
    schema = pq.read_schema(rows)
    columns = [name for name in schema.names if name != "text"]
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=columns, write_statistics=columns) as writer:
        for group in groups:
            table = pq.ParquetFile(rows).read_row_group(group, use_threads=False).slice(0, len(stays[group]))
            writer.write_table(table.filter(pa.array(stays[group])))


def _first_equal(digests: NDArray[np.uint64]) -> Ranks:
    """(1, rows): of each row the first one with the same digest."""
    _, first, number = np.unique(digests, return_index=True, return_inverse=True)
    return first[number][None, :]


def main(arguments: Sequence[str]) -> None:
    """Run what the arguments say and print what it took."""
    step, rows, folder, cores = arguments
    print(
        json.dumps({"version": nemo_assets.__version__, **vars(run_ours(step, Path(rows), Path(folder), int(cores)))})
    )


def run_ours(step: str, rows: Path, folder: Path, cores: int) -> Used:
    """One step over a file, in this process, once what it compiles is compiled."""
    whole(rows, folder, cores, WARM_ROWS)
    if step == "all":
        return used_by(lambda: whole(rows, folder, cores))
    texts = pq.read_table(rows, columns=["text"])["text"]
    if step == "words":
        word_signatures(texts.slice(0, WARM_ROWS), cores)
        return used_by(lambda: word_signatures(texts, cores))
    return used_by(lambda: signatures(texts, cores))


if __name__ == "__main__":
    main(sys.argv[1:])
