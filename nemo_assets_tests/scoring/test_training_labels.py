"""The documented example trains exactly the tokens that the scorer scored."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from nemo_assets_tests.scoring.texts import made_up_rows

torch = pytest.importorskip("torch", reason="scoring tests need PyTorch: pip install -e '.[score]'")

from nemo_assets.scoring.nll import score_rows  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "training_labels.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("training_labels", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("family", ["llama", "gpt_oss", "opt"])
def test_labels_are_the_scored_tokens_and_give_their_nll(tiny_model, example, family):
    loaded = tiny_model(family)
    rows = [dataclasses.replace(row, keep_tokens=True) for row in made_up_rows(12)]
    for row, score in zip(rows, score_rows(rows, loaded, max_length=1024, token_budget=500, batch_size=8), strict=True):
        made = example.with_labels(dataclasses.asdict(row), loaded.tokenizer)
        offsets = loaded.tokenizer(row.text, return_offsets_mapping=True)["offset_mapping"]
        trained = [at for at, label in enumerate(made["labels"]) if label != example.IGNORED]

        assert tuple(offsets[at][0] for at in trained) == score.token_begins
        assert loss_of(loaded.model, made) == pytest.approx(score.nll_mean, abs=1e-4)


def loss_of(model, made) -> float:
    """The loss a trainer would see: the model's own, with its own attention."""
    ours = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            return model(**{name: torch.tensor([values]) for name, values in made.items()}).loss.item()
    finally:
        model.set_attn_implementation(ours)
