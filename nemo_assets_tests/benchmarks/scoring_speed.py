"""How fast completions are scored, and with how much memory, beside other ways to do it.

    python -m nemo_assets_tests.benchmarks.scoring_speed [--peers PYTHON] [--models NAMES] [--rows 24] [--rounds 2]
    python -m nemo_assets_tests.benchmarks.scoring_speed --memory [--tokens 131072] [--models NAMES]
    python -m nemo_assets_tests.benchmarks.scoring_speed --gpu [--rows 256] [--max-length 4096]

PYTHON is that of an environment with `scoring_peers.txt`. Ways take turns, every time in a fresh process with one
thread and float32 weights, the same for all; the best of the rounds counts. tokens/s are those of the rows, padding
left out, over processor time, from text to one number a row. `Δ` is the largest difference of a row's mean NLL from
that of `one by one`. Rows and models: `scoring_input`.

`--memory` scores one long row and tells the memory it took at the peak beyond what the loaded model holds. `--gpu`
scores rows of a context of 4,096 tokens with an 8B-shaped Llama in bfloat16 and random weights: tokens over the clock.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_assets_tests.benchmarks.scoring_contenders import CONTENDERS, NOT_INSTALLED, PACKAGES
from nemo_assets_tests.benchmarks.scoring_input import (
    COMPLETION,
    CONTEXT,
    SHAPES,
    Row,
    Size,
    random_model,
    read_rows,
    spread_sizes,
    write_model,
    write_rows,
)
from nemo_assets_tests.benchmarks.used import Used

TRUTH, NAIVE, OURS = "one by one", "padded to MAX_LENGTH", "nemo_assets"
MODELS = ("smollm2-135m", "llama-201k", "gpt-oss-201k")
NARROW = ("llama-201k-narrow", "gpt-oss-201k-narrow")
"""For long rows: attention over 131,072 tokens takes minutes on one core as it is."""
GPU_MODEL = "llama-8b"
REPOSITORY = Path(__file__).parents[2]
COLUMNS = ("way", "tokens/s", "× naive", "CPU s", "wall s", "peak MB", "Δ")


@dataclass(frozen=True)
class Outcome:
    """What a way took and the mean NLL it gives each row; or why there is nothing."""

    used: Used | None
    means: dict[str, float | None]
    version: str = ""
    why: str = ""

    @property
    def cpu(self) -> float:
        """Seconds."""
        return self.used.cpu if self.used else math.inf


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the options ask for and print tables."""
    options = _options(arguments)
    if options.gpu:
        _print_gpu_speed(options)
    elif options.memory:
        _print_memory(options)
    else:
        for shape in options.models or MODELS:
            _print_speed(shape, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=names, help=f"some of {', '.join(SHAPES)}")
    parser.add_argument("--only", type=names, default=list(CONTENDERS), help=f"some of {', '.join(CONTENDERS)}")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--batch", type=int, default=4, help="rows of what pads: 4 x 512 x 201,088 logits are 1.6 GB")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peers", type=Path, metavar="PYTHON")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--tokens", type=int, default=CONTEXT, help="of the long row")
    parser.add_argument("--gpu", action="store_true")
    return parser.parse_args(arguments)


def _print_speed(shape: str, options: argparse.Namespace) -> None:
    longest = options.max_length or 512
    with tempfile.TemporaryDirectory() as folder:
        rows = write_rows(Path(folder), spread_sizes(options.rows or 24, longest))
        write_model(Path(folder), shape)
        outcomes = _take_turns(Path(folder), longest, options)
    tokens = sum(row.tokens for row in rows)
    print(f"\n{shape}, vocabulary {SHAPES[shape]['vocab_size']:,}: {_described(rows)}, MAX_LENGTH {longest}\n")
    _print_row(*COLUMNS)
    _print_row(*["---"] * len(COLUMNS))
    for name, outcome in outcomes.items():
        way = f"{name} {outcome.version}".strip()
        _print_row(way, *_figures(outcome, tokens, outcomes.get(NAIVE), outcomes.get(TRUTH)))


def _described(rows: Sequence[Row]) -> str:
    tokens, scored = sum(row.tokens for row in rows), sum(row.scored for row in rows)
    longest = max(row.tokens for row in rows)
    return f"{len(rows)} rows of {tokens:,} tokens (longest {longest:,}), {scored / tokens:.0%} completion"


def _take_turns(folder: Path, longest: int, options: argparse.Namespace) -> dict[str, Outcome]:
    best: dict[str, Outcome] = {}
    for _ in range(options.rounds):
        for name in options.only:
            outcome = _run(name, folder, longest, options.batch, options.peers)
            best[name] = min((best.get(name, outcome), outcome), key=lambda each: each.cpu)
    return best


def _run(name: str, folder: Path, longest: int, batch: int, peers: Path | None) -> Outcome:
    """One run in a process of its own."""
    if name in PACKAGES and not peers:
        return Outcome(None, {}, why="no --peers")
    python = peers if name in PACKAGES else sys.executable
    module = "nemo_assets_tests.benchmarks.scoring_contenders"
    settings = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), "1") | {"PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        [str(python), "-m", module, name, str(folder), str(longest), str(batch)],
        env=os.environ | settings | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == NOT_INSTALLED:
        return Outcome(None, {}, why=run.stderr.strip().splitlines()[-1])
    if run.returncode:
        print(run.stderr, file=sys.stderr)
        return Outcome(None, {}, why=f"failed with {run.returncode}")
    printed = json.loads(run.stdout.strip().splitlines()[-1])
    means, version = printed.pop("means"), printed.pop("version")
    return Outcome(Used(**printed), means, version)


def _figures(outcome: Outcome, tokens: int, naive: Outcome | None, truth: Outcome | None) -> list[object]:
    """The cells after the name."""
    if outcome.used is None:
        return [outcome.why, *[""] * (len(COLUMNS) - 2)]
    used = outcome.used
    ratio = f"{naive.cpu / used.cpu:.2f}" if naive and naive.used else ""
    apart = f"{_apart(outcome.means, truth.means):.1e}" if truth and truth.used else ""
    return [f"{tokens / used.cpu:,.0f}", ratio, f"{used.cpu:.2f}", f"{used.wall:.2f}", used.peak, apart]


def _apart(means: dict[str, float | None], truth: dict[str, float | None]) -> float:
    """The largest difference of a row; infinite where one has no number."""
    pairs = [(means.get(name), due) for name, due in truth.items()]
    return max(math.inf if mean is None or due is None else abs(mean - due) for mean, due in pairs)


def _print_row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def _print_memory(options: argparse.Namespace) -> None:
    print("one row, float32, one thread: memory at the peak beyond that of the loaded model\n")
    _print_row("model", "tokens", "scored", "peak MB", "CPU s")
    _print_row(*["---"] * 5)
    for shape in options.models or NARROW:
        with tempfile.TemporaryDirectory() as folder:
            size = Size(options.tokens, int(options.tokens * COMPLETION[0]))
            (row,) = write_rows(Path(folder), [size])
            write_model(Path(folder), shape)
            outcome = _run("memory", Path(folder), options.tokens, 1, None)
        if outcome.used is None or outcome.means[row.id] is None:
            _print_row(shape, f"{row.tokens:,}", outcome.why or "not scored", "", "")
        else:
            _print_row(shape, f"{row.tokens:,}", f"{row.scored:,}", outcome.used.peak, outcome.used.cpu)


def _print_gpu_speed(options: argparse.Namespace) -> None:
    import torch

    if not torch.cuda.is_available():
        print("not measured: no GPU")
        return
    longest = options.max_length or 4_096
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), spread_sizes(options.rows or 256, longest))
        seconds, rows = accelerated(Path(folder), GPU_MODEL, longest, "cuda", torch.bfloat16)
    tokens, peak = sum(row.tokens for row in rows), torch.cuda.max_memory_allocated() / 1e9
    print(f"{torch.cuda.get_device_name()}, {GPU_MODEL}, bfloat16, random weights: {_described(rows)}")
    print(f"{tokens / seconds:,.0f} tokens/s in {seconds:.1f} s, {peak:.1f} GB at the peak")


def accelerated(folder: Path, shape: str, longest: int, device: str, dtype: Any) -> tuple[float, list[Row]]:
    """Seconds of the clock in which a random model on `device` scores the rows in `folder`, and the rows."""
    from transformers import AutoTokenizer

    from nemo_assets.scoring.engine import Limits
    from nemo_assets.scoring.forward import way_through
    from nemo_assets.scoring.model import LoadedModel
    from nemo_assets.scoring.nll import score_rows

    model = random_model(shape, device, dtype)
    loaded = LoadedModel(
        name=shape,
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(folder / "model"),
        revision_loaded="random",
        tokenizer_sha256="",
        prefix_ids=(),
        way=way_through(model),
        precision=str(dtype).removeprefix("torch."),
    )
    rows, limits = read_rows(folder), Limits(longest)
    inputs = [row.scorer_input() for row in rows]
    options = {"max_length": longest, "token_budget": limits.token_budget, "batch_size": limits.batch_size}
    score_rows(inputs[: len(inputs) // 8 + 1], loaded, **options)  # what only the first pass does
    began = time.perf_counter()
    scores = score_rows(inputs, loaded, **options)
    seconds = time.perf_counter() - began
    if any(score.nll_mean is None for score in scores):
        raise SystemExit("not every row was scored")
    return seconds, rows


if __name__ == "__main__":
    main()
