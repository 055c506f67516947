"""How fast `normalized` turns JSONL into canonical rows, beside what one would otherwise write.

    python -m nemo_assets_tests.benchmarks.normalize_throughput [--megabytes 200] [--rounds 3]

Input: Math-v2-shaped records with varied text of about 7 KB. Contenders, each in a fresh process on one core, in turn:
`nemo_assets` (all columns, ledger evidence, tools catalog), `plain loop` (json, one f-string, sha1 and a Parquet
writer: id, text and five columns) and `datasets` (load_dataset + map with the same function as the plain loop).
CPU seconds of the process, best of the rounds; MB of input per CPU second.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

CONTENDERS = ("nemo_assets", "plain loop", "datasets")
WORDS = 4_000  # vocabulary: varied enough that zstd finds no whole sentences again


def main() -> None:
    """Run every contender `rounds` times and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--source", type=Path)
    options = parser.parse_args()
    if options.contender:
        _run(options.contender, options.source)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "nvidia" / "Nemotron-Math-v2"
        rows = write_source(source / "data", options.megabytes)
        best: dict[str, tuple[float, int]] = {}
        for _ in range(options.rounds):
            for name in CONTENDERS:
                seconds, memory = _measure(name, Path(folder))
                best[name] = min(best.get(name, (seconds, memory)), (seconds, memory))
        size = (source / "data" / "low.jsonl").stat().st_size / 1e6
    print(f"{rows:,} records, {size:.0f} MB, one core, best of {options.rounds}")
    print("| contender | CPU s | MB/s | µs a row | ratio | peak MB |\n|---|---|---|---|---|---|")
    for name, (seconds, memory) in best.items():
        ratio = best["plain loop"][0] / seconds
        print(
            f"| {name} | {seconds:.1f} | {size / seconds:.0f} | {seconds / rows * 1e6:.0f} | {ratio:.2f} | {memory} |"
        )


def write_source(folder: Path, megabytes: int) -> int:
    """A Math-v2-shaped `low.jsonl` of about `megabytes`, from a fixed seed; returns its number of records."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 10))) for _ in range(WORDS)]
    rows, written = 0, 0
    with (folder / "low.jsonl").open("w", encoding="utf-8") as file:
        while written < megabytes * 1_000_000:
            line = json.dumps(_record(draw, words, rows), ensure_ascii=False) + "\n"
            written += file.write(line)
            rows += 1
    for name in ("medium", "high.part_00", "high.part_01", "high.part_02"):
        (folder / f"{name}.jsonl").write_bytes(b"")
    return rows


def _record(draw: random.Random, words: list[str], number: int) -> dict[str, Any]:
    problem = " ".join(draw.choices(words, k=60)) + f" $x_{{{number}}} + {draw.randint(1, 9999)}$?"
    reasoning = " ".join(draw.choices(words, k=draw.randint(600, 1100)))
    passes = {
        f"reason_{e}_{t}": draw.randint(1, 8) for e in ("low", "medium", "high") for t in ("no_tool", "with_tool")
    }
    return {
        "problem": problem,
        "expected_answer": str(draw.randint(0, 999)),
        "original_expected_answer": None,
        "changed_answer_to_majority": False,
        "data_source": "AoPS",
        "messages": [
            {"role": "user", "content": f"Solve the following math problem.\n\n{problem}"},
            {"role": "assistant", "content": f"So \\boxed{{{number}}}.", "reasoning_content": reasoning},
        ],
        "metadata": {name: {"count": 8, "pass": p, "accuracy": p / 8} for name, p in passes.items()},
        "license": "cc-by-4.0",
        "used_in": ["nano_v3"],
        "uuid": str(uuid.UUID(int=draw.getrandbits(128))),
        "url": None,
        "tools": [],
    }


def _measure(contender: str, folder: Path) -> tuple[float, int]:
    """CPU seconds and peak megabytes of one contender in a process of its own."""
    command = [sys.executable, "-m", "nemo_assets_tests.benchmarks.normalize_throughput"]
    done = subprocess.run(
        [*command, "--contender", contender, "--source", str(folder)], check=True, capture_output=True, text=True
    )
    seconds, memory = done.stdout.split()[-2:]
    return float(seconds), int(memory)


def _run(contender: str, source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF)
        {"nemo_assets": _ours, "plain loop": _plain_loop, "datasets": _datasets}[contender](source, Path(folder))
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{cpu:.3f} {after.ru_maxrss // 1024}")


def _ours(source: Path, folder: Path) -> None:
    from nemo_assets.catalog import load_catalog
    from nemo_assets.hub.sources import open_source
    from nemo_assets.stages.normalized import normalize
    from nemo_assets.stages.raw import fetch_split
    from nemo_assets.storage import Store

    split = load_catalog().split("nemotron-math-v2/low")
    fetch_split(split, open_source(split.repo, source), Store(folder))
    normalize(split, Store(folder), workers=1)


def plain_row(record: dict[str, Any]) -> dict[str, Any]:
    """What a short script makes of a record: rendered text, an id, a few fields."""
    parts = ["<|start|>system<|message|>You are ChatGPT.<|end|>"]
    for message in record["messages"]:
        if message.get("reasoning_content"):
            parts.append(f"<|start|>assistant<|channel|>analysis<|message|>{message['reasoning_content']}<|end|>")
        role = "assistant<|channel|>final" if message["role"] == "assistant" else message["role"]
        parts.append(f"<|start|>{role}<|message|>{message['content']}<|end|>")
    text = "".join(parts)
    accuracies = [block["accuracy"] for block in record["metadata"].values()]
    return {
        "id": hashlib.sha1(text.encode()).hexdigest(),
        "text": text,
        "meta_correctness": max(accuracies),
        "source_uuid": record["uuid"],
        "source_license": record["license"],
        "stats_char_len": len(text),
        "meta_expected_answer": record["expected_answer"],
    }


def _plain_loop(source: Path, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, rows = None, []
    with (source / "nvidia/Nemotron-Math-v2/data/low.jsonl").open("rb") as file:
        for line in file:
            rows.append(plain_row(json.loads(line)))
            if len(rows) == 4_000:
                table, rows = pa.Table.from_pylist(rows), []
                writer = writer or pq.ParquetWriter(folder / "out.parquet", table.schema, compression="zstd")
                writer.write_table(table)
    table = pa.Table.from_pylist(rows)
    writer = writer or pq.ParquetWriter(folder / "out.parquet", table.schema, compression="zstd")
    writer.write_table(table)
    writer.close()


def _datasets(source: Path, folder: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    path = str(source / "nvidia/Nemotron-Math-v2/data/low.jsonl")
    loaded = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(folder / "cache"))
    loaded.map(plain_row, remove_columns=loaded.column_names).to_parquet(folder / "out.parquet")


if __name__ == "__main__":
    main()
