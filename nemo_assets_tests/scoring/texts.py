"""Harmony rows for the scoring tests, written out by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa

from nemo_assets.harmony.spans import LossMode, loss_spans_of_text, mask_sha1
from nemo_assets.scoring.rows import SHARD_SCHEMA, ScoreInput

PROSE = "sum the angle of every prime equals two so we add three dogs 12 + 7 = 19 thus proof ends here naïve 👩‍🚀"
WORDS = PROSE.split()


def message(role: str, body: str, channel: str = "", terminator: str = "<|end|>") -> str:
    """One Harmony message."""
    header = role + (f"<|channel|>{channel}" if channel else "")
    return f"<|start|>{header}<|message|>{body}{terminator}"


def conversation(question: str, thought: str, answer: str) -> str:
    """A question, its analysis and its answer."""
    return (
        message("user", question)
        + message("assistant", thought, "analysis")
        + message("assistant", answer, "final", "<|return|>")
    )


def score_input(
    row_id: str, text: str, loss_mode: LossMode = "assistant_all", loss_terminators: bool = False
) -> ScoreInput:
    """`text` as a row whose mask is the one its text gives."""
    spans = loss_spans_of_text(text, loss_mode, loss_terminators)
    return ScoreInput(row_id, text, loss_mode, loss_terminators, mask_sha1(loss_mode, loss_terminators, spans))


def sentence(words: random.Random, count: int) -> str:
    """`count` made-up words."""
    return " ".join(words.choice(WORDS) for _ in range(count))


def made_up_rows(count: int, seed: int = 0) -> list[ScoreInput]:
    """Rows of very different lengths, some with two rounds, alternately of both loss modes."""
    words = random.Random(seed)
    rows = []
    for number in range(count):
        text = conversation(*(sentence(words, words.randint(1, 30)) for _ in range(3)))
        if number % 3 == 0:
            text += conversation(*(sentence(words, words.randint(1, 9)) for _ in range(3)))
        rows.append(score_input(f"row-{number}", text, ("assistant_all", "assistant_last")[number % 2]))
    return rows


def table_of(rows: Sequence[ScoreInput]) -> pa.Table:
    """The rows as an engine gets them."""
    return pa.Table.from_pylist([vars(row) for row in rows], schema=SHARD_SCHEMA)
