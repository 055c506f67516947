"""Compiled code stays within its arrays: it is not checked in use, so it is here, in a process of its own."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from nemo_assets.dedup import candidates
from nemo_assets.dedup.bands import buckets_of, optimal_banding
from nemo_assets.dedup.candidates import Rows
from nemo_assets.dedup.compared import ROOM, compared, separate, texts_of
from nemo_assets.dedup.minhash import minhash_of
from nemo_assets.dedup.near import Found, near_duplicates
from nemo_assets.dedup.shingles import shingles_of
from nemo_assets.dedup.signing import sign
from nemo_assets.dedup.tokens import CLASSES, PADDING, tokenize, tokens_of
from nemo_assets.dedup.verification import Similarity, similarity

_PIECES = [
    "a",
    "Z9",
    "\\",
    "\\x",
    "é",
    "设",
    "\U0001d465",
    "😀",
    " ",
    "\0",
    "<|",
    "<|start|>",
    "<|message|>",
    "<|end|>",
]
_BODIES = [piece * times for piece in _PIECES[:11] for times in (0, 1, 7, 8, 9, 63, 64, 65, 127, 128)]
_HEADERS = ["user", "assistant", "assistant to=functions.", "assistant to=x<|channel|>analysis", "system", "tool", ""]
HOSTILE = [
    *(f"<|start|>{header}<|message|>{body}<|end|>" for header in _HEADERS for body in _BODIES),
    *(piece * times for piece in _PIECES for times in (0, 1, 2, 7, 8, 9, 63, 64, 65)),  # no Harmony at all
    *("x" * size + "<|start|>assistant to=" for size in range(40, 66)),
]


def before_no_mans_land(text: bytes) -> NDArray[np.uint8]:
    """The text and its padding, at the very end of memory that may be read."""
    size = len(text) + PADDING
    readable = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, readable + mmap.PAGESIZE)
    data = np.frombuffer(memory, np.uint8)
    data[readable - size : readable] = np.frombuffer(text + b" " * PADDING, np.uint8)
    behind = ctypes.c_void_p(data.ctypes.data + readable)
    assert ctypes.CDLL(None).mprotect(behind, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return data[readable - size : readable]


def whole_path(texts: list[str], cap: int) -> list[Found]:
    """Everything from texts to survivors: as it is, and as if no pair that looks similar were so."""
    column = texts_of(pa.array(texts))
    signed = sign(column, 2)
    ranked = np.arange(len(texts))
    buckets = buckets_of(signed.minhash, ranked, optimal_banding(0.8), 2)
    _, equal = np.unique(signed.masked, return_inverse=True)
    first = np.array([np.flatnonzero(equal == group)[0] for group in equal])
    rows = Rows(signed, ranked % 2 == 0, ranked, np.stack([first, ranked]))
    return [
        near_duplicates(rows, buckets, 0.8, measure, cap)
        for measure in (
            lambda one, other: similarity(column, one, other, 2),
            lambda one, _other: Similarity(*np.zeros((3, len(one)))),
        )
    ]


def run(path: str) -> None:
    """What the test runs in its own process."""
    texts = [*json.loads(Path(path).read_text()), *HOSTILE]
    for text in HOSTILE:
        data = text.encode()
        assert len(minhash_of(shingles_of(data))) == 128
        guarded, size = before_no_mans_land(data), len(data)
        tokens = np.empty(size, np.uint64)
        assert (tokens[: tokenize(guarded, size, CLASSES, tokens)] == tokens_of(data)).all()
        spoken, heard, calls = (np.empty(size + ROOM, np.uint8) for _ in range(3))
        said, *_ = separate(guarded, size, spoken, heard, calls)
        assert spoken[:said].tobytes() == compared(data).spoken
    candidates._PAIRS_AT_ONCE = 1  # of the buffer for pairs only what one row may need is left
    for cap in (1, 256):
        found, without = whole_path(texts, cap)
        assert np.count_nonzero(found.survivor >= 0) > np.count_nonzero(without.survivor >= 0)
        assert without.rounds > 1
    print("within bounds")  # noqa: T201


@pytest.mark.slow  # everything is compiled anew
def test_no_array_is_read_or_written_beyond_its_end(sample_texts: list[str], tmp_path: Path) -> None:
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(sample_texts[:: max(1, len(sample_texts) // 1000)]))
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    code = f"from nemo_assets_tests.dedup.test_bounds import run; run({str(texts)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | checked, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "within bounds"), done.stderr[-3000:]
