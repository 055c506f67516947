"""How time and memory of the search for near-duplicates grow with the number of rows, texts aside.

    python -m nemo_assets_tests.benchmarks.clustering_speed [--millions 1,3,10] [--cores 2]

Signatures are made up (`synthetic_signatures`): 12 % of the rows resemble an earlier one, in chains too. Exact
similarity, which needs texts, is stood in for by the share of equal slots. Every size runs in a process of its own;
memory is the peak beyond the signatures themselves. Needs Linux, and 640 bytes a row for the signatures.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from nemo_assets.dedup.bands import buckets_of, optimal_banding
from nemo_assets.dedup.candidates import Rows
from nemo_assets.dedup.near import near_duplicates
from nemo_assets.dedup.signing import Signed
from nemo_assets.dedup.verification import Similarity
from nemo_assets_tests.benchmarks.synthetic_signatures import synthetic_signatures

THRESHOLD = 0.8
_AT_ONCE = 1 << 16  # pairs
_COLUMNS = ("rows", "wall s", "CPU s", "buckets s", "MB beyond", "compared", "removed", "walks")


def main() -> None:
    """Measure every size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=lambda text: [float(n) for n in text.split(",")], default=[1, 3, 10])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows:
        print(json.dumps(measure(options.rows, options.cores)))
        return
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
    for millions in options.millions:
        command = [
            sys.executable,
            "-m",
            __spec__.name,
            "--rows",
            str(int(millions * 1e6)),
            "--cores",
            str(options.cores),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"| {' | '.join(f'{value:,}' for value in json.loads(done.stdout))} |", flush=True)


def measure(rows: int, cores: int) -> list[float]:
    """What _COLUMNS names, of one search over so many rows."""
    _search(_signed(2_000, 1), cores)  # compiles
    signed = _signed(rows, 3)
    before = _peak_megabytes()
    wall, cpu = time.perf_counter(), time.process_time()
    buckets, compared, removed, walks = _search(signed, cores)
    seconds = (time.perf_counter() - wall, time.process_time() - cpu, buckets)
    taken = _peak_megabytes() - before
    return [rows, *(round(each, 1) for each in seconds), round(taken), compared, removed, walks]


def _signed(rows: int, seed: int) -> Signed:
    minhash, nothing = synthetic_signatures(rows, seed), np.zeros(rows, np.uint64)
    spoken = minhash.view(np.uint8)[:, ::4].copy()  # the low bytes
    return Signed(
        minhash, spoken, np.zeros((rows, 2), np.uint64), *[nothing] * 2, np.zeros(rows, np.int64), *[nothing] * 2
    )


def _search(signed: Signed, cores: int) -> tuple[float, int, int, int]:
    """Seconds that the buckets took, pairs compared, rows removed, walks over the buckets."""
    minhash, rows, ranked = signed.minhash, len(signed.minhash), np.arange(len(signed.minhash))
    begin = time.perf_counter()
    buckets = buckets_of(minhash, ranked, optimal_banding(THRESHOLD), cores)
    seconds = time.perf_counter() - begin

    def compare(first: NDArray[np.int64], second: NDArray[np.int64]) -> Similarity:
        equal = np.empty(len(first))
        for start in range(0, len(first), _AT_ONCE):
            pairs = slice(start, start + _AT_ONCE)
            equal[pairs] = (minhash[first[pairs]] == minhash[second[pairs]]).mean(axis=1)
        return Similarity(equal, equal, equal)

    found = near_duplicates(Rows(signed, np.zeros(rows, np.bool_), ranked, ranked[None]), buckets, THRESHOLD, compare)
    return seconds, len(found.compared.worse), int(np.count_nonzero(found.survivor >= 0)), found.rounds


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
