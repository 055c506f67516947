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


def whole(rows: Path, folder: Path, cores: int, first: int | None = None) -> None:
    """Read rows (or the first ones), find near-duplicates, verify them, write the rows that stay.

    As in the project, pieces are read and signed side by side, and so are written the files of what stays.
    """
    groups = range(pq.read_metadata(rows).num_row_groups)
    with ThreadPoolExecutor(cores) as pool:
        read = list(pool.map(lambda group: _read_and_sign(rows, group, first), groups if first is None else [0]))
        table = pa.concat_tables(part for part, _ in read)
        signed = Signed(*(np.concatenate(columns) for columns in zip(*(part for _, part in read), strict=True)))
        guarded = np.isin(table["domain"].to_numpy(), list(EXACT_NUMBERS))
        ranked = np.arange(table.num_rows)
        buckets = buckets_to_walk(signed, ranked, guarded, optimal_banding(THRESHOLD), BUCKET_CAP, cores)
        texts = RowTexts([(rows, table.num_rows)], folder, cores)
        twins = _first_equal(table["text"])
        found = near_duplicates(Rows(signed, guarded, ranked, twins), buckets, THRESHOLD, texts.measure)
        stays = found.survivor < 0
        cuts = np.linspace(0, table.num_rows, cores + 1).astype(int)
        shares = [(table.slice(begin, end - begin), stays[begin:end]) for begin, end in itertools.pairwise(cuts)]
        list(pool.map(lambda number: _write(*shares[number], folder / f"rows-{number}.parquet"), range(cores)))


def _read_and_sign(rows: Path, group: int, first: int | None) -> tuple[pa.Table, Signed]:
    table = pq.ParquetFile(rows).read_row_group(group, use_threads=False).slice(0, first)
    return table, signatures(table["text"], 1)


def _write(table: pa.Table, stays: NDArray[np.bool_], path: Path) -> None:
    columns = [name for name in table.column_names if name != "text"]
    kept = table.filter(pa.array(stays))
    pq.write_table(kept, path, compression="zstd", use_dictionary=columns, write_statistics=columns)


def _first_equal(texts: pa.ChunkedArray) -> Ranks:
    """(1, rows): of each row the first one with the same text."""
    digests = pl.Series(pl.from_arrow(texts)).hash()
    _, first, number = np.unique(digests.to_numpy(), return_index=True, return_inverse=True)
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
