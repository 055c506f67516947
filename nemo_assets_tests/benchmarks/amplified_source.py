"""A split of Nemotron-Math-v2 of any size, amplified from the bundled sample: same keys, same shapes, long reasoning.

Belongs here: what its records look like, and what was measured about a written file. Does not: prose (`varied_text`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import pyarrow as pa

from nemo_assets.sample.math_v2 import DATASET, FILES, PROMPT, TOOL, evaluation
from nemo_assets.sample.trajectories import TOOL_NAME
from nemo_assets.sample.vocabulary import Message, call_identifier, full_name, identifier
from nemo_assets_tests.benchmarks.varied_text import WordChain

SPLIT = "medium"
SAMPLE = Path(__file__).parents[2] / "nemo_assets" / "sample" / "hub" / "nvidia"
PATH, KEYS = next((path, order.split()) for split, path, _, _, _, order in FILES if split == SPLIT)

RESERVE = 48_000_000  # characters written before any is used again: further apart than zstd looks back
CODE_SHARE = 0.15  # of the characters of all text; calls have it in half of the rows
SIZES = (0.25, 4.0)  # least and most of a record's size, as multiples of the mean
SPREAD = 0.6  # sigma of the logarithm of the size
SIGNS = (
    " ≤", " ≥", " ≈", " →", " ×", " ⋅", " ∈ ℤ", " ∑_{k≥1}", " √2", " π/3", " θ", " α", " ∞", " a² + b²", " x₁", " — so",
    " |a − b| ≤", " n‑th", " 2 modulo", " “trivial”", " Poincaré’s", " Erdős", " Cauchy–Schwarz", " ⌊n/2⌋",
    " \\frac{a}{b}", " $\\binom{n}{k}$", " \\(x^{2}\\)", " \"exactly\"", " C:\\data",
)  # fmt: skip
CHINESE = ("因此我们得到", "设函数", "证明:", "所以答案是", "由对称性可知")
MISTAKE = "Traceback (most recent call last):\n  File \"<cell>\", line {}\n    {}\nNameError: name '{}' is not defined"


def write_source(folder: Path, megabytes: float, row_kilobytes: float = 7, seed: int = 0) -> Path:
    """Write `<folder>/<dataset>/<file of the split>` of about `megabytes`, records of `row_kilobytes` on average.

    The other files of the dataset are there and empty. The same arguments give the same bytes.
    """
    path = folder / DATASET / PATH
    path.parent.mkdir(parents=True)
    for _, name, *_ in FILES:
        (folder / DATASET / name).touch()
    with path.open("wb") as file:
        for line in _lines(int(megabytes * 1e6), int(row_kilobytes * 1e3), seed):
            file.write(line)
    return path


@dataclass(frozen=True)
class Description:
    """What a file holds: MB and KB are 10^6 and 10^3 bytes; `compression` is that of the texts by zstd at level 3."""

    records: int
    size: int
    compression: float
    with_tool: float
    not_ascii: float

    def __str__(self) -> str:
        return (
            f"{self.records:,} records, {self.size / 1e6:.0f} MB, {self.size / self.records / 1e3:.1f} KB each; "
            f"{self.with_tool:.0%} with tool, {self.not_ascii:.0%} not ASCII; texts compress {self.compression:.2f}× "
            "(zstd 3)"
        )


def describe(path: Path, looked_at: int = 40_000_000) -> Description:
    """Count the records of a file; what its texts are like is measured on about `looked_at` bytes of them."""
    with path.open("rb") as file:
        first = [json.loads(line) for line in file.readlines(looked_at)]
        records = len(first) + sum(1 for _ in file)
    texts = [_text_of(record["messages"]) for record in first]
    text = "".join(texts).encode()
    compressed = pa.Codec("zstd", compression_level=3).compress(text, asbytes=True)
    return Description(
        records,
        path.stat().st_size,
        len(text) / len(compressed),
        sum(bool(record["tools"]) for record in first) / len(first),
        sum(not each.isascii() for each in texts) / len(first),
    )


def _text_of(messages: list[Message]) -> str:
    return "".join(f"{m['content']}{m.get('reasoning_content') or ''}{m.get('tool_calls') or ''}" for m in messages)


def _lines(size: int, row_size: int, seed: int) -> Iterator[bytes]:
    """Records as JSON lines, `size` bytes in all or a little more."""
    draw = random.Random(seed)
    reserve = min(size, RESERVE) + row_size
    prose, code = sample_texts()
    texts = _Texts(
        draw,
        _Supply(draw, WordChain(prose, loose=0.8, free=0.4, signs=SIGNS).text(reserve, seed)),
        _Supply(draw, WordChain(code, loose=0.4, free=0.1).text(int(reserve * CODE_SHARE), seed + 1)),
    )
    while size > 0:
        share = min(max(draw.lognormvariate(-SPREAD * SPREAD / 2, SPREAD), SIZES[0]), SIZES[1])
        line = json.dumps(_record(draw, texts, int(share * row_size)), ensure_ascii=False).encode() + b"\n"
        size -= len(line)
        yield line


def sample_texts() -> tuple[list[str], list[str]]:
    """Sound texts of assistants in the bundled sample, and the code they run. Of long ones only the beginning."""
    prose, code = [], []
    for path in sorted(SAMPLE.glob("*/data/*.jsonl")):
        for message in _assistant_messages(path):
            texts = (message.get("reasoning_content"), message.get("content"))
            prose += [f"\n\n{text[:4_000]}" for text in texts if _sound(text)]
            for call in message.get("tool_calls") or []:
                arguments = _parsed(call["function"]["arguments"])
                if isinstance(arguments, dict) and _sound(text := arguments.get("code")):
                    code.append(f"\n{text}")
    return prose, code


def _assistant_messages(path: Path) -> Iterator[Message]:
    for line in path.read_bytes().split(b"\n"):
        record = _parsed(line)
        messages = record.get("messages") if isinstance(record, dict) else None
        if isinstance(messages, list):
            yield from (each for each in messages if isinstance(each, dict) and each.get("role") == "assistant")


def _parsed(text: Any) -> Any:
    """The JSON value, None where it is broken: the sample has defects by intention."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None


def _sound(text: Any) -> TypeGuard[str]:
    """Whether a value is text that no rule rejects or tags."""
    if not isinstance(text, str) or "<|" in text or "\0" in text:
        return False
    return text.encode(errors="replace").decode() == text  # no lone surrogate


class _Supply:
    """Cuts pieces off one long text, one behind the other; at its end it begins again at another place."""

    def __init__(self, draw: random.Random, text: str) -> None:
        self.draw, self.text, self.place = draw, text, 0

    def take(self, length: int) -> str:
        if self.place + length > len(self.text):
            self.place = self.draw.randrange(1, max(2, len(self.text) // 50))
        piece = self.text[self.place : self.place + length]
        self.place += length
        return piece


class _Texts:
    """Everything of a record that somebody wrote."""

    def __init__(self, draw: random.Random, prose: _Supply, code: _Supply) -> None:
        self.draw, self.prose, self.code = draw, prose, code

    def reasoning(self, length: int) -> str:
        text = self.prose.take(length).strip()
        return f"{text}\n\n{self.draw.choice(CHINESE)} {text[-20:]}" if self.draw.random() < 0.02 else text

    def answer(self, value: str, length: int) -> str:
        return f"{self.prose.take(length).strip()}\n\n$$\\boxed{{{value}}}$$"

    def result(self) -> str:
        """What a run printed: numbers, truth, or how it failed."""
        draw = self.draw
        kind = draw.random()
        if kind < 0.1:
            return MISTAKE.format(draw.randint(1, 20), self.code.take(30).strip(), draw.choice("abcdxyz"))
        if kind < 0.4:
            return f"{draw.randint(1, 10**6)} {draw.choice((True, False))}"
        return "\n".join(
            str([draw.randint(-999, 9_999) for _ in range(draw.randint(1, 12))]) for _ in range(draw.randint(1, 4))
        )


def _record(draw: random.Random, texts: _Texts, size: int) -> dict[str, Any]:
    """One record of about `size` bytes, its keys in the order of the sample's."""
    with_tool, aops = draw.random() < 0.5, draw.random() < 0.5
    answer = draw.choice((str(draw.randint(0, 9_999)), f"\\frac{{{draw.randint(1, 99)}}}{{{draw.randint(2, 99)}}}"))
    problem = texts.prose.take(draw.randint(120, 500)).strip()
    length = max(300, size - (2_600 if with_tool else 1_900) - 2 * len(problem))
    number, user = draw.randint(100_000, 4_900_000), draw.randint(100, 9_999)
    columns = {
        "problem": problem,
        "expected_answer": answer,
        "original_expected_answer": answer,
        "changed_answer_to_majority": draw.random() < 0.1,
        "data_source": "AoPS" if aops else "StackExchange-Math",
        "messages": [
            {"role": "user", "content": PROMPT.format(problem)},
            *(_steps(draw, texts, length) if with_tool else []),
            {
                "role": "assistant",
                "content": texts.answer(answer, draw.randint(100, 900)),
                "reasoning_content": texts.reasoning(length if not with_tool else length // 4),
            },
        ],
        "metadata": evaluation(draw),
        "license": "cc-by-4.0" if aops else "cc-by-sa-4.0",
        "used_in": ["nano_v3"],
        "uuid": identifier(draw),
        "url": None if aops else f"https://math.stackexchange.example/questions/{number}",
        "user_url": None if aops else f"https://math.stackexchange.example/users/{user}",
        "user_name": None if aops else full_name(draw),
        "tools": [TOOL] if with_tool else [],
    }
    return {key: columns[key] for key in KEYS}


def _steps(draw: random.Random, texts: _Texts, length: int) -> Iterator[Message]:
    """Turns that think, run code and read what it printed: three quarters of `length`."""
    rounds = draw.randint(1, 4)
    for _ in range(rounds):
        here = length * 3 // 4 // rounds
        code = texts.code.take(here // 4).strip("\n")
        call = call_identifier(draw)
        function = {"name": TOOL_NAME, "arguments": json.dumps({"code": code}, ensure_ascii=False)}
        yield {
            "role": "assistant",
            "content": "",
            "reasoning_content": texts.reasoning(here * 3 // 4),
            "tool_calls": [{"id": call, "type": "function", "function": function}],
        }
        yield {"role": "tool", "name": TOOL_NAME, "tool_call_id": call, "content": texts.result()}
