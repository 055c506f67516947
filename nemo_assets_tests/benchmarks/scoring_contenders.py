"""Ways to get the NLL of completions, each over the same rows with the same weights, in this process.

    PYTHON -m nemo_assets_tests.benchmarks.scoring_contenders NAME FOLDER MAX_LENGTH BATCH

prints as JSON what it took and the mean NLL of each row; `scoring_speed` starts it so. For `lm_eval` PYTHON is that of
an environment with `scoring_peers.txt`, which needs nothing of the project's own packages. NAME may also be `memory`:
ours, with the memory it takes beyond the weights.

All start from text and end with a number per row; loading does not count. One thread, float32. What pads gets BATCH
rows at once.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nemo_assets_tests.benchmarks.used import Used, megabytes, used_by

NOT_INSTALLED = 3  # exit status
MODEL, ROWS_FILE = "model", "rows.json"  # as `scoring_input` writes them

Rows = Sequence[dict[str, Any]]
Means = dict[str, float | None]


def one_by_one(folder: Path, max_length: int, batch: int) -> Callable[[Rows], Means]:
    """No padding and no room for mistakes: transformers' own loss, one row at a time. What all others must equal."""
    import torch

    model, tokenizer = _loaded(folder)

    @torch.inference_mode()
    def run(rows: Rows) -> Means:
        means: Means = {}
        for row in rows:
            ids, labels = _labelled(row, tokenizer)
            loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels]), use_cache=False).loss
            means[row["id"]] = loss.item()
        return means

    return run


def padded_to_max(folder: Path, max_length: int, batch: int) -> Callable[[Rows], Means]:
    """What one writes first: rows as they come, padded to MAX_LENGTH, all logits, cross entropy."""
    model, tokenizer = _loaded(folder)

    def run(rows: Rows) -> Means:
        return _in_batches(model, [(row["id"], *_labelled(row, tokenizer)) for row in rows], batch, max_length)

    return run


def padded_to_batch(folder: Path, max_length: int, batch: int) -> Callable[[Rows], Means]:
    """The same with rows in order of length, padded to the longest of their batch."""
    model, tokenizer = _loaded(folder)

    def run(rows: Rows) -> Means:
        labelled = [(row["id"], *_labelled(row, tokenizer)) for row in rows]
        return _in_batches(model, sorted(labelled, key=lambda row: -len(row[1])), batch, None)

    return run


def lm_eval(folder: Path, max_length: int, batch: int) -> Callable[[Rows], Means]:
    """`HFLM.loglikelihood` of lm-evaluation-harness: context and continuation, at what it does by itself."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model, tokenizer = _loaded(folder)
    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=max_length)

    def run(rows: Rows) -> Means:
        requests = [
            Instance("loglikelihood", {}, (row["text"][: row["begin"]], row["text"][row["begin"] : row["end"]]), number)
            for number, row in enumerate(rows)
        ]
        answers = harness.loglikelihood(requests, disable_tqdm=True)
        return {row["id"]: -sum_ / row["scored"] for row, (sum_, _) in zip(rows, answers, strict=True)}

    return run


def nemo_assets(folder: Path, max_length: int, batch: int) -> Callable[[Rows], Means]:
    """`score_rows` at the limits that are the default, everything it measures included."""
    from nemo_assets.scoring.engine import Limits
    from nemo_assets.scoring.model import load_checkpoint
    from nemo_assets.scoring.nll import score_rows
    from nemo_assets_tests.benchmarks.scoring_input import Row

    loaded, limits = load_checkpoint(str(folder / MODEL), None, "cpu"), Limits(max_length)

    def run(rows: Rows) -> Means:
        scores = score_rows(
            [Row(**row).scorer_input() for row in rows],
            loaded,
            max_length=limits.max_length,
            token_budget=limits.token_budget,
            batch_size=limits.batch_size,
        )
        return {score.id: score.nll_mean for score in scores}

    return run


CONTENDERS = {
    "one by one": one_by_one,
    "padded to MAX_LENGTH": padded_to_max,
    "sorted, padded to batch": padded_to_batch,
    "lm_eval": lm_eval,
    "nemo_assets": nemo_assets,
}
PACKAGES = {"lm_eval": "lm-eval"}


def _loaded(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder / MODEL, dtype=torch.float32).eval()
    with torch.inference_mode():
        model(input_ids=torch.arange(8)[None], use_cache=False)  # what only the first pass does
    return model, AutoTokenizer.from_pretrained(folder / MODEL)


def _labelled(row: dict[str, Any], tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids, and the same with -100 wherever no NLL is wanted."""
    encoded = tokenizer(row["text"], add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    labels = [
        token if row["begin"] <= begin < row["end"] else -100
        for token, (begin, _) in zip(encoded["input_ids"], offsets, strict=True)
    ]
    return encoded["input_ids"], labels


def _in_batches(model: Any, rows: Sequence[tuple[str, list[int], list[int]]], batch: int, length: int | None) -> Means:
    """Mean NLL of rows padded on the right to `length`, None for the longest of a batch."""
    import torch
    import torch.nn.functional as functional

    means: Means = {}
    for together in _parts(rows, batch):
        longest = length or max(len(ids) for _, ids, _ in together)
        ids = torch.tensor([_filled(ids, longest, 0) for _, ids, _ in together])
        labels = torch.tensor([_filled(labels[1:], longest, -100) for _, _, labels in together])
        mask = torch.tensor([_filled([1] * len(ids), longest, 0) for _, ids, _ in together])
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
            nlls = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
        counts = (labels != -100).sum(1)  # where nothing is wanted the NLL is 0
        means |= zip((name for name, _, _ in together), (nlls.double().sum(1) / counts).tolist(), strict=True)
    return means


def _parts(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


def _filled(values: list[int], length: int, filler: int) -> list[int]:
    return values + [filler] * (length - len(values))


def _measured(run: Callable[[Rows], Means], rows: Rows) -> tuple[Used, Means]:
    means: Means = {}
    return used_by(lambda: means.update(run(rows))), means


def _beyond_weights(run: Callable[[Rows], Means], rows: Rows) -> tuple[Used, Means]:
    """The same, the peak being that of this process beyond what it holds before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten, that of loading
    held = megabytes("self", "VmRSS:")
    used, means = _measured(run, rows)
    return Used(used.wall, used.cpu, used.peak - held), means


def main(arguments: Sequence[str]) -> None:
    """Run the contender that the arguments name."""
    name, folder, max_length, batch = arguments
    for each in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[each] = "1"
    try:
        import torch

        torch.set_num_threads(1)
        make = nemo_assets if name == "memory" else CONTENDERS[name]
        run = make(Path(folder), int(max_length), int(batch))
    except ModuleNotFoundError as missing:
        print(missing, file=sys.stderr)
        raise SystemExit(NOT_INSTALLED) from None
    rows = json.loads((Path(folder) / ROWS_FILE).read_text())
    used, means = (_beyond_weights if name == "memory" else _measured)(run, rows)
    version = importlib.metadata.version(PACKAGES[name]) if name in PACKAGES else ""
    print(json.dumps({**vars(used), "means": means, "version": version}))


if __name__ == "__main__":
    main(sys.argv[1:])
