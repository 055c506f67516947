"""Memory of the scorer: it grows neither with vocabulary times length nor with the square of the length."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="scoring tests need PyTorch: pip install -e '.[score]'")
pytest.importorskip("transformers", reason="scoring tests need transformers: pip install -e '.[score]'")

SCORE_ONE_ROW = """
import resource, sys
import numpy as np, torch
from nemo_assets.scoring.forward import TokenRow, packed_scores, single_scores, way_through
from nemo_assets_tests.scoring.models import random_model

family, vocabulary, length, scored = sys.argv[1], *map(int, sys.argv[2:])
model = random_model(family, vocabulary).eval()
way = way_through(model)
ids = np.arange(length) % vocabulary
row = TokenRow(ids, np.arange(length - scored, length))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(found,) = packed_scores(model, [row]) if way == "packed" else [single_scores(model, row)]
assert len(found.nlls) == scored and np.isfinite(found.nlls).all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def megabytes_beyond_the_weights(*arguments: object) -> float:
    """What scoring one row takes at its peak, in a process of its own."""
    command = [sys.executable, "-c", SCORE_ONE_ROW, *map(str, arguments)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("family", ["llama", "gemma2"])  # packed, and row by row with capped logits
def test_logits_of_a_large_vocabulary_are_never_all_there(family):
    assert (
        megabytes_beyond_the_weights(family, 201_088, 700, 650) < 450
    )  # all of them are 523 MB, and their softmax as much


def test_a_sliding_window_needs_no_square_mask():
    assert megabytes_beyond_the_weights("gpt_oss", 512, 8_000, 100) < 200  # such a mask takes 809 MB to make
