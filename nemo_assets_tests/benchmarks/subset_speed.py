"""How fast a policy is tried out, and in how much memory.

    python -m nemo_assets_tests.benchmarks.subset_speed FOLDER [--rows 10000000] [--policy FILE]

The traits of every split of the catalog are written below FOLDER as the stage writes them; then a fresh process reads
what the policy needs, normalises, selects and reports. Its peak counts the pages of files that it has mapped.

Belongs here: synthetic traits and what is measured. Does not: whether the numbers are right (`tests of selection`).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from nemo_assets.catalog import Catalog, Split, SubsetPolicy, load_catalog, load_subset_policy
from nemo_assets.selection import columns_of, normalise, report, select_all
from nemo_assets.selection.traits import TRAIT_COLUMNS, read_traits, write_traits

PART_ROWS = 50_000  # about what a part of kept rows holds
ATTEMPTS = 8


def write_splits(folder: Path, catalog: Catalog, rows: int) -> None:
    """`rows` rows over all splits of the catalog, in `<folder>/<position>/<part>.arrow`."""
    shares = np.random.default_rng(0).dirichlet(np.full(len(catalog.splits), 2.0))
    ends = np.rint(rows * np.cumsum(shares)).astype(int)
    for split, begin, end in zip(catalog.splits.values(), [0, *ends], ends, strict=False):
        directory = folder / f"{split.position:02d}"
        directory.mkdir(parents=True)
        for number, first in enumerate(range(0, end - begin, PART_ROWS)):
            draw = np.random.default_rng([split.position, number])
            part = synthetic_traits(split, first, min(PART_ROWS, end - begin - first), draw)
            write_traits(directory / f"{number:05d}.arrow", part)


def synthetic_traits(split: Split, first: int, rows: int, draw: np.random.Generator) -> pl.DataFrame:
    """Traits with the shares of unknown values, of faults and of shared problems that real sources have, roughly."""
    tokens = np.maximum(draw.lognormal(7.5, 1.1, rows).astype(np.int32), 1)
    level = np.exp(draw.normal(-0.4, 0.35, rows) - 0.12 * np.log(tokens / 1800))
    known = {
        "row": np.arange(first, first + rows),
        "id_hash": draw.integers(0, 1 << 63, rows),
        "problem": draw.integers(0, 700_000, rows) + split.position * 1_000_000,
        "prompt": draw.integers(0, 900_000, rows) + split.position * 1_000_000,
        "status": np.where(draw.random(rows) < 0.995, "ok", "too_long"),
        "reference_status": np.where(draw.random(rows) < 0.995, "ok", "too_long"),
        "truncated": draw.random(rows) < 0.01,
        "reference_truncated": draw.random(rows) < 0.01,
        "completion_tokens": tokens,
        "tokens": tokens + draw.integers(100, 900, rows),
        "nll_mean": level,
        "reference_nll_mean": level * np.exp(draw.normal(0.05, 0.15, rows)),
        "share_above_2_nats": 0.3 * draw.random(rows),
        "share_above_5_nats": 0.02 * draw.random(rows) ** 3,
        "rank_mean_clipped": 1 + draw.gamma(2.0, 1.0, rows),
        "final_nll_mean": level * draw.lognormal(0, 0.3, rows),
        **_metadata(split, rows, draw),
    }
    missing = [pl.lit(None, kind).alias(name) for name, kind in TRAIT_COLUMNS.items() if name not in known]
    frame = pl.DataFrame(known).with_columns(missing)
    correctness = pl.when(pl.lit(draw.random(rows) < 0.6)).then("meta_correctness").alias("meta_correctness")
    frame = frame.with_columns(correctness)
    return frame.select(pl.col(name).cast(kind) for name, kind in TRAIT_COLUMNS.items())


def _metadata(split: Split, rows: int, draw: np.random.Generator) -> dict[str, object]:
    passes = draw.integers(0, ATTEMPTS + 1, rows)
    return {
        "dataset": np.full(rows, split.repo),
        "split": np.full(rows, split.name),
        "meta_domain": np.full(rows, split.source.domain),
        "meta_difficulty_bin": np.full(rows, split.entry.difficulty or "medium"),
        "meta_reasoning": np.where(draw.random(rows) < 0.8, "on", "off"),
        "meta_correctness": passes / ATTEMPTS,
        "meta_correctness_lcb": np.maximum(passes / ATTEMPTS - 0.3, 0.0),
        "meta_pass_k": np.full(rows, ATTEMPTS),
        "meta_row_verified": draw.random(rows) < 0.9,
        "quality_has_tool": draw.random(rows) < 0.4,
        "quality_valid_harmony": draw.random(rows) < 0.99,
        "quality_completion_nonempty": np.full(rows, True),
        "quality_valid_tool_schema": draw.random(rows) < 0.99,
        "quality_is_duplicate": np.full(rows, False),
        "is_contaminated": draw.random(rows) < 0.001,
        "stats_repeat_ratio": draw.beta(1.0, 8.0, rows),
    }


def measure(folder: Path, policy: SubsetPolicy) -> Iterator[str]:
    """Try the policy on the folder, and tell of each step the seconds, those of its processors, and the peak."""
    splits = [sorted(directory.glob("*.arrow")) for directory in sorted(folder.iterdir())]
    began = last = (time.perf_counter(), time.process_time())

    def told(step: str, since: tuple[float, float] | None = None) -> str:
        nonlocal last
        since, last = since or last, (time.perf_counter(), time.process_time())
        seconds, worked = (now - before for now, before in zip(last, since, strict=True))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        return f"  {step}: {seconds:.2f} s, {worked:.2f} s of processors, peak {peak:.2f} GB"

    traits = [read_traits(splits, columns_of(policy, comparable_tokens=True))]
    yield told(f"reading {traits[0].height:,} rows of {sum(map(len, splits))} files")
    normalised = normalise(traits.pop(), policy, comparable_tokens=True, places_later_rows=False)
    yield told(f"normalising in {normalised.strata.height} strata")
    selections = select_all(normalised, policy)
    yield told("selecting " + ", ".join(f"{name} {len(made.rows):,}" for name, made in selections.items()))
    report(selections, normalised, policy)
    yield told("reporting")
    yield told("together", began)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--measure", action="store_true", help="only measure, in this process")
    chosen = parser.parse_args(arguments)
    catalog, folder = load_catalog(), chosen.folder / f"{chosen.rows}"
    if not folder.exists():
        write_splits(folder, catalog, chosen.rows)
    if chosen.measure:
        policy = load_subset_policy(chosen.policy, catalog.checkpoints) if chosen.policy else catalog.subset_policy
        for line in measure(folder, policy):
            print(line, flush=True)
        return
    given = sys.argv[1:] if arguments is None else list(arguments)
    for attempt in ("first", "second"):  # the first may compile, and finds no file in memory
        print(f"{attempt} process:", flush=True)
        subprocess.run([sys.executable, "-m", __spec__.name, *given, "--measure"], check=True)


if __name__ == "__main__":
    main()
