"""Other tools that remove near-duplicates, each over the same Parquet file and into one of its own.

    PYTHON -m nemo_assets_tests.benchmarks.dedup_peers NAME STEP ROWS.parquet FOLDER CORES

runs one step of one peer, `signatures` or `all`, in this process and prints what it took as JSON; PYTHON is that of an
environment with `peers.txt`. `dedup_speed` starts it so. Nothing here needs the project's own packages.

All compare 5-grams of words of the whole text with 128 permutations or so, at 0.8, and keep the first row of a group,
unless a note says otherwise.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets_tests.benchmarks.used import Used, used_by

WORDS = 5  # a shingle
PERMUTATIONS, BANDS, BAND = 128, 18, 7  # bands and hashes of a band, where a peer lets one choose
THRESHOLD = 0.8
SEED = 1
BATCH = 1_024  # rows handed over at once
NOT_INSTALLED = 3  # exit status

Run = Callable[[], object]


@dataclass(frozen=True)
class Peer:
    """How one peer is run. Preparing (imports, reading for the signature step) is not measured, running is.

    `whole` takes the file, an empty folder for what it writes, and the number of cores; `signatures` takes the texts.
    `sample` is the number of rows it gets where all would take too long, `parallel` whether it uses more than one core
    by itself.
    """

    package: str
    whole: Callable[[Path, Path, int], Run]
    signatures: Callable[[pa.ChunkedArray], Run] | None = None
    sample: int | None = None
    parallel: bool = False
    note: str = ""


TEXT_DEDUP = """
[input]
input_type = "local_files"
read_arguments = {{ path = "parquet", data_files = "{rows}", split = "train", cache_dir = "{cache}" }}
[algorithm]
algorithm_name = "minhash"
text_column = "text"
num_perm = {permutations}
bands = {bands}
rows = {band}
ngram_size = {words}
threshold = {threshold}
check_false_positive = {verified}
num_proc = {cores}
[output]
output_dir = "{saved}"
[debug]
"""


def _datasketch(rows: Path, folder: Path, _: int) -> Run:
    from datasketch import MinHash, MinHashLSH

    def run() -> None:
        table = pq.read_table(rows)
        index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, BAND))
        kept: dict[int, MinHash] = {}
        batches = (_shingles(text) for text in table["text"].to_pylist())
        for number, signature in enumerate(MinHash.generator(batches, num_perm=PERMUTATIONS, scheme="affine32")):
            if not any(kept[like].jaccard(signature) >= THRESHOLD for like in index.query(signature)):
                kept[number] = signature
                index.insert(number, signature, check_duplication=False)
        _write(table.take(list(kept)), folder)

    return run


def _datasketch_signatures(texts: pa.ChunkedArray) -> Run:
    from datasketch import MinHash

    given = texts.to_pylist()
    return lambda: MinHash.bulk(map(_shingles, given), num_perm=PERMUTATIONS, scheme="affine32")


def _rensa(rows: Path, folder: Path, _: int) -> Run:
    from rensa import RMinHash, RMinHashDeduplicator

    def run() -> None:
        table = pq.read_table(rows)
        unique = RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, True, num_bands=16, seed=SEED)
        kept: list[int] = []
        texts = table["text"].to_pylist()
        for start in range(0, len(texts), BATCH):
            signatures = RMinHash.from_token_sets(map(_shingles, texts[start : start + BATCH]), PERMUTATIONS, SEED)
            kept += [number for number, each in enumerate(signatures, start) if unique.add(str(number), each)]
        _write(table.take(kept), folder)

    return run


def _rensa_signatures(texts: pa.ChunkedArray) -> Run:
    from rensa import RMinHash

    given = texts.to_pylist()

    def run() -> None:
        for start in range(0, len(given), BATCH):
            RMinHash.digest_matrix_from_token_sets(map(_shingles, given[start : start + BATCH]), PERMUTATIONS, SEED)

    return run


def _daft(rows: Path, folder: Path, _: int) -> Run:
    """Signatures, their bands exploded and grouped, a star of edges a group, verified by signature; components."""
    import daft
    from daft import DataType, col
    from daft.functions import minhash
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    daft.set_runner_native()

    @daft.func.batch(return_dtype=DataType.list(DataType.uint64()))
    def bands(signatures: Any) -> pa.Array:
        slots = _slots(signatures)[:, : BANDS * BAND].reshape(-1, BANDS, BAND).astype(np.uint64)
        hashes = np.broadcast_to(np.arange(1, BANDS + 1, dtype=np.uint64), slots.shape[:2])
        for place in range(BAND):
            hashes = (hashes ^ slots[:, :, place]) * np.uint64(0x9E3779B97F4A7C15)
            hashes = hashes ^ (hashes >> np.uint64(32))
        return pa.ListArray.from_arrays(np.arange(0, hashes.size + 1, BANDS, dtype=np.int32), pa.array(hashes.ravel()))

    @daft.func.batch(return_dtype=DataType.bool())
    def alike(one: Any, other: Any) -> pa.Array:
        return pa.array((_slots(one) == _slots(other)).mean(axis=1) >= THRESHOLD)

    def run() -> None:
        table = daft.read_parquet(str(rows))
        signed = table.select(
            "id", minhash(col("text"), num_hashes=PERMUTATIONS, ngram_size=WORDS, seed=SEED).alias("signature")
        ).collect()
        places = signed.select("id", bands(col("signature")).alias("band")).explode("band")
        shared = places.groupby("band").agg(col("id").min().alias("first"), col("id").count().alias("rows"))
        edges = places.join(shared.where(col("rows") > 1), on="band").where(col("first") != col("id"))
        edges = edges.select("first", "id").distinct()
        edges = edges.join(signed.select(col("id").alias("first"), col("signature").alias("one")), on="first")
        edges = edges.join(signed.select("id", col("signature").alias("other")), on="id")
        found = edges.where(alike(col("one"), col("other"))).select("first", "id").to_pydict()
        ids = sorted({*found["first"], *found["id"]})
        number = {each: n for n, each in enumerate(ids)}
        ends = [[number[each] for each in found[end]] for end in ("first", "id")]
        graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(len(ids), len(ids)))
        _, component = connected_components(graph, directed=False)
        firsts = set(np.unique(component, return_index=True)[1].tolist())
        removed = daft.from_pydict({"id": [each for n, each in enumerate(ids) if n not in firsts]})
        table.join(removed, on="id", how="anti").write_parquet(str(folder), compression="zstd")

    return run


def _daft_signatures(texts: pa.ChunkedArray) -> Run:
    import daft
    from daft import col
    from daft.functions import minhash

    daft.set_runner_native()
    table = daft.from_arrow(pa.table({"text": texts})).collect()
    signature = minhash(col("text"), num_hashes=PERMUTATIONS, ngram_size=WORDS, seed=SEED)
    return lambda: table.select(signature.alias("signature")).collect()


def _text_dedup(verified: bool) -> Callable[[Path, Path, int], Run]:
    def prepare(rows: Path, folder: Path, cores: int) -> Run:
        import datasets
        from text_dedup.config.base import load_config_from_toml
        from text_dedup.minhash import main

        cache, saved, settings = folder / "cache", folder / "saved", folder / "settings.toml"
        settings.write_text(TEXT_DEDUP.format(
            rows=rows, cache=cache, saved=saved, cores=cores, verified=str(verified).lower(),
            permutations=PERMUTATIONS, bands=BANDS, band=BAND, words=WORDS, threshold=THRESHOLD,
        ))  # fmt: skip
        config = load_config_from_toml(settings)

        def run() -> None:
            main(config)
            datasets.load_from_disk(str(saved)).to_parquet(folder / "rows.parquet")
            shutil.rmtree(cache)
            shutil.rmtree(saved)

        return run

    return prepare


def _datatrove(rows: Path, folder: Path, _: int) -> Run:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.hashing import HashConfig

    config = MinhashConfig(
        n_grams=WORDS, num_buckets=BANDS, hashes_per_bucket=BAND, hash_config=HashConfig(precision=64)
    )
    work = folder / "work"
    signatures, buckets, removed = (str(work / name) for name in ("signatures", "buckets", "removed"))
    reader = ParquetReader(str(rows.parent), glob_pattern=rows.name)
    stages: list[tuple[list[Any], int]] = [
        ([reader, MinhashDedupSignature(signatures, config)], 1),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], BANDS),
        ([MinhashDedupCluster(buckets, removed, config=config)], 1),
        ([reader, MinhashDedupFilter(removed), ParquetWriter(str(folder), compression="zstd")], 1),
    ]

    def run() -> None:
        for number, (pipeline, tasks) in enumerate(stages):
            LocalPipelineExecutor(pipeline, tasks, workers=1, logging_dir=str(work / f"log{number}")).run()
        shutil.rmtree(work)

    return run


PEERS = {
    "datasketch": Peer("datasketch", _datasketch, _datasketch_signatures),
    "rensa": Peer("rensa", _rensa, _rensa_signatures, note="16 bands of 8"),
    "daft": Peer("daft", _daft, _daft_signatures, parallel=True, note="words end at single blanks"),
    "text-dedup": Peer(
        "text-dedup", _text_dedup(False), parallel=True, note="words of letters and digits; of a group no row stays"
    ),
    "text-dedup verified": Peer(
        "text-dedup", _text_dedup(True), sample=2_000, parallel=True, note="words of letters and digits, folded"
    ),
    "datatrove": Peer("datatrove", _datatrove, sample=1_500, note="numbers are 0, no punctuation"),
}


def _shingles(text: str) -> list[bytes]:
    words = text.encode().split()
    return [b" ".join(words[start : start + WORDS]) for start in range(max(1, len(words) - WORDS + 1))]


def _slots(signatures: Any) -> np.ndarray:
    values = signatures.to_arrow()
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return np.asarray(values.flatten(), np.uint32).reshape(-1, PERMUTATIONS)


def _write(table: pa.Table, folder: Path) -> None:
    pq.write_table(table, folder / "rows.parquet", compression="zstd")


def kept_in(folder: Path) -> list[str]:
    """Ids of the rows in the Parquet files of a folder."""
    return [each for path in _files(folder) for each in pq.read_table(path, columns=["id"])["id"].to_pylist()]


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.rglob("*.parquet"))


def run_peer(name: str, step: str, rows: Path, folder: Path, cores: int) -> Used:
    """One step of one peer over a file, in this process."""
    peer = PEERS[name]
    if step == "all":
        return used_by(peer.whole(rows, folder, cores))
    if peer.signatures is None:
        raise ValueError(f"{name} has no signature step of its own")
    return used_by(peer.signatures(pq.read_table(rows, columns=["text"])["text"]))


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments say and print what it took, or end with `NOT_INSTALLED`."""
    name, step, rows, folder, cores = arguments
    try:
        version = importlib.metadata.version(PEERS[name].package)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED
    used = run_peer(name, step, Path(rows), Path(folder), int(cores))
    print(json.dumps({"version": version, **vars(used)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
