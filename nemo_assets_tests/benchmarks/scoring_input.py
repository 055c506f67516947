"""What the scoring benchmark scores, and the models it scores with.

Belongs here: rows with the spread of real ones, models of a given shape with random weights, their folder. Does not:
scoring (`scoring_contenders`).

Rows are one prompt and one answer, so that tools which know a context and its continuation can score them too. Their
words come from the bundled sample; lengths are lognormal around a quarter of the longest, 30 % of a row is completion.
Weights are random, for they cost what trained ones do; the tokenizer has 2,048 entries whatever the vocabulary of the
model, for the cost of a projection does not depend on which token is asked for.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nemo_assets.harmony.spans import LossMode, loss_spans_of_text, mask_sha1
from nemo_assets.scoring.rows import ScoreInput
from nemo_assets_tests.benchmarks.amplified_source import sample_texts

ROWS_FILE = "rows.json"
MODEL = "model"  # folder in Hugging Face format

VOCABULARY, CONTEXT = 201_088, 131_072  # those of gpt-oss
CENTRE, SPREAD = 0.25, 0.8  # median length as a share of the longest, and sigma of its logarithm
COMPLETION = (0.30, 0.15)  # mean and deviation of its share
SHORTEST = 24  # tokens
AROUND = 16  # tokens of the headers, and what a text may gain where words are cut
SHARPER = 2.0  # factor on the matrices: what a model attends to shows in its NLL

SHAPES: dict[str, dict[str, Any]] = {
    "smollm2-135m": {
        "family": "llama",
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1_536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "llama-201k": {
        "family": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 256,
        "intermediate_size": 1_024,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "gpt-oss-201k": {
        "family": "gpt_oss",
        "vocab_size": VOCABULARY,
        "hidden_size": 256,
        "intermediate_size": 256,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "sliding_window": 128,
    },
    "llama-201k-narrow": {
        "family": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
    "gpt-oss-201k-narrow": {
        "family": "gpt_oss",
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 128,
    },
    "llama-8b": {
        "family": "llama",
        "vocab_size": 128_256,
        "hidden_size": 4_096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "toy": {
        "family": "llama",
        "vocab_size": 4_096,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
}


class Size(NamedTuple):
    """Tokens of a row, and how many of them are its completion."""

    tokens: int
    completion: int


@dataclass(frozen=True)
class Row:
    """A row: text[begin:end] is its completion. `tokens` and `scored` are numbers of tokens, all and completion."""

    id: str
    text: str
    begin: int
    end: int
    tokens: int
    scored: int
    loss_mode: LossMode
    loss_terminators: bool
    mask_sha1: str

    def scorer_input(self) -> ScoreInput:
        """The row as the scorer takes it."""
        return ScoreInput(self.id, self.text, self.loss_mode, self.loss_terminators, self.mask_sha1)


def spread_sizes(count: int, longest: int, seed: int = 0) -> list[Size]:
    """Sizes of `count` rows of at most `longest` tokens."""
    draw, sizes = random.Random(seed), []
    for _ in range(count):
        tokens = min(max(int(draw.lognormvariate(0, SPREAD) * CENTRE * longest), SHORTEST), longest)
        completion = int(tokens * max(draw.gauss(*COMPLETION), 0.05))
        sizes.append(Size(tokens, min(max(completion, 1), tokens - AROUND - 1)))
    return sizes


def write_rows(folder: Path, sizes: Sequence[Size], seed: int = 0) -> list[Row]:
    """A row of each size, or a few tokens less, and the tokenizer that counts so, in `folder`; the rows."""
    from nemo_assets.scoring.demo_student import train_tokenizer

    prose, _ = sample_texts()
    tokenizer = train_tokenizer([*prose, _text("", "")])
    tokenizer.save_pretrained(folder / MODEL)
    words = _Words(prose, tokenizer, random.Random(seed))
    rows = []
    for number, size in enumerate(sizes):
        prompt = words.take(size.tokens - size.completion - AROUND)
        rows.append(_row(str(number), prompt, words.take(size.completion), tokenizer))
    (folder / ROWS_FILE).write_text(json.dumps([asdict(row) for row in rows]))
    return rows


def read_rows(folder: Path) -> list[Row]:
    """The rows that were written to `folder`."""
    return [Row(**each) for each in json.loads((folder / ROWS_FILE).read_text())]


def write_model(folder: Path, shape: str) -> None:
    """A model of one of `SHAPES` with random float32 weights in `folder`."""
    import torch

    from nemo_assets.scoring.model import quiet_transformers

    model = random_model(shape, "cpu", torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(SHARPER)
    with quiet_transformers():
        model.save_pretrained(folder / MODEL)


def random_model(shape: str, device: str, dtype: Any) -> Any:
    """A model of one of `SHAPES` on `device`."""
    import torch
    from transformers import GptOssConfig, GptOssForCausalLM, LlamaConfig, LlamaForCausalLM

    options = dict(SHAPES[shape])
    families: dict[str, Any] = {"llama": (LlamaConfig, LlamaForCausalLM), "gpt_oss": (GptOssConfig, GptOssForCausalLM)}
    configuration, model = families[options.pop("family")]
    torch.manual_seed(0)
    with torch.device(device):
        return model(configuration(**options, max_position_embeddings=CONTEXT, dtype=dtype)).to(dtype).eval()


class _Words:
    """Stretches of text, cut by tokens."""

    def __init__(self, texts: Sequence[str], tokenizer: Any, draw: random.Random) -> None:
        self.text = "".join(texts)
        self.offsets = tokenizer(self.text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        self.draw = draw

    def take(self, tokens: int) -> str:
        """A stretch of so many tokens from anywhere, more than once through the text if it is longer than that."""
        begin = self.draw.randrange(len(self.offsets))
        whole, rest = divmod(begin + tokens, len(self.offsets))
        first = self.offsets[begin][0]
        last = self.offsets[rest][0]
        return self.text[first:last] if whole == 0 else self.text[first:] + self.text * (whole - 1) + self.text[:last]


def _text(prompt: str, completion: str) -> str:
    asked = f"<|start|>user<|message|>{prompt}<|end|>"
    return f"{asked}<|start|>assistant<|channel|>final<|message|>{completion}<|return|>"


def _row(name: str, prompt: str, completion: str, tokenizer: Any) -> Row:
    text = _text(prompt, completion)
    spans = loss_spans_of_text(text, "assistant_last", False)
    ((begin, end),) = spans
    offsets = tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    scored = sum(begin <= first < end for first, _ in offsets)
    digest = mask_sha1("assistant_last", False, spans)
    return Row(name, text, begin, end, len(offsets), scored, "assistant_last", False, digest)
