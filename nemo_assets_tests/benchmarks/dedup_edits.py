"""How a conversation is turned into one that resembles it: words changed, other numbers, another spelling.

Belongs here: changes to what users and assistants say, of a wanted extent. Does not: which rows are changed
(`dedup_corpus`), how alike the two are in the end (`dedup_truth` measures that).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from nemo_assets.harmony.messages import Message
from nemo_assets_tests.benchmarks.dedup_conversations import Conversation
from nemo_assets_tests.dedup.reference import numbers

SHINGLE = 5
SPARED = 0.9  # share of edited rows in which no word with a digit is touched

_word = re.compile(r"\s*\S+")
_digits = re.compile(r"\d+")

Edit = Callable[[np.random.Generator, list[str], float, Sequence[str], bool], list[str]]


def edited(
    conversation: Conversation, draw: np.random.Generator, wanted: float, vocabulary: Sequence[str]
) -> Conversation:
    """The conversation with word edits of one kind, so many that about `wanted` is the Jaccard of its words."""
    edit = EDITS[list(EDITS)[draw.integers(len(EDITS))]]
    spare = bool(draw.random() < SPARED)

    def change(body: str) -> str:
        words = _word.findall(f" {body}")  # every one with the space before it, so that none grow together
        return "".join(edit(draw, words, wanted, vocabulary, spare)).strip() or "."

    return _with_bodies(conversation, change)


def other_numbers(conversation: Conversation, draw: np.random.Generator, share: float) -> Conversation:
    """The same words with other numbers: `share` of them, at least one."""
    count = sum(len(_digits.findall(message.body)) for message in conversation.messages if _spoken(message))
    changes = draw.random(count) < share
    changes[draw.integers(max(1, count)) : count][:1] = True
    change = iter(changes.tolist())

    def another(found: re.Match[str]) -> str:
        digits = found[0]
        return str(int(digits[:15]) + int(draw.integers(1, 9 * 10 ** min(len(digits), 15)))) if next(change) else digits

    return _with_bodies(conversation, lambda body: _digits.sub(another, body))


def respelled(conversation: Conversation, draw: np.random.Generator) -> Conversation:
    """The same tokens with other white space, or with the case of ASCII prose folded, or both."""
    kind = int(draw.integers(3))

    def change(body: str) -> str:
        spaced = re.sub(r" (?=\w)", lambda _: "  " if draw.random() < 0.1 else " ", body) if kind != 1 else body
        return re.sub(r"(?<!\\)\b[A-Z](?=[a-z]*\b)", lambda found: found[0].lower(), spaced) if kind else spaced

    return _with_bodies(conversation, change)


def _with_bodies(conversation: Conversation, change: Callable[[str], str]) -> Conversation:
    messages = tuple(m._replace(body=change(m.body)) if _spoken(m) else m for m in conversation.messages)
    return Conversation(conversation.domain, messages)


def _spoken(message: Message) -> bool:
    """What a user or assistant says, as opposed to calls, their results and the opening."""
    return message.role in {"user", "assistant"} and message.recipient is None


def _rate(wanted: float, killed: int) -> float:
    """Share of words to edit where each edit ends `killed` shingles: of n, q·n survive, Jaccard is q / (2 - q)."""
    surviving = 2 * wanted / (1 + wanted)
    return float(1 - surviving ** (1 / killed))


def _chosen(draw: np.random.Generator, words: list[str], rate: float, spare: bool) -> list[bool]:
    able = np.array([not (spare and numbers(word)) for word in words], bool)
    share = able.mean() if able.any() else 1.0
    chosen: list[bool] = ((draw.random(len(words)) < rate / share) & able).tolist()
    return chosen


def _drawn(draw: np.random.Generator, vocabulary: Sequence[str]) -> str:
    return f" {vocabulary[int(draw.integers(len(vocabulary)))]}"


def _substitute(
    draw: np.random.Generator, words: list[str], wanted: float, vocabulary: Sequence[str], spare: bool
) -> list[str]:
    chosen = _chosen(draw, words, _rate(wanted, SHINGLE), spare)
    return [_drawn(draw, vocabulary) if change else word for word, change in zip(words, chosen, strict=True)]


def _delete(draw: np.random.Generator, words: list[str], wanted: float, _: Sequence[str], spare: bool) -> list[str]:
    chosen = _chosen(draw, words, _rate(wanted, SHINGLE), spare)
    return [word for word, change in zip(words, chosen, strict=True) if not change]


def _insert(
    draw: np.random.Generator, words: list[str], wanted: float, vocabulary: Sequence[str], _: bool
) -> list[str]:
    chosen = _chosen(draw, words, _rate(wanted, SHINGLE - 1), spare=False)
    return [
        each
        for word, change in zip(words, chosen, strict=True)
        for each in ((_drawn(draw, vocabulary), word) if change else (word,))
    ]


def _mix(
    draw: np.random.Generator, words: list[str], wanted: float, vocabulary: Sequence[str], spare: bool
) -> list[str]:
    """All three, each for a third of the distance."""
    third = 1 - (1 - wanted) / 3
    for edit in (_substitute, _delete, _insert):
        words = edit(draw, words, third, vocabulary, spare)
    return words


def _move(draw: np.random.Generator, words: list[str], wanted: float, _: Sequence[str], spare: bool) -> list[str]:
    """Blocks change places; what ends is the shingles over their seams."""
    seams = np.flatnonzero(draw.random(len(words)) < _rate(wanted, SHINGLE - 1))
    blocks = [block.tolist() for block in np.split(np.arange(len(words)), seams)]
    return [words[place] for block in draw.permutation(len(blocks)) for place in blocks[block]]


EDITS: dict[str, Edit] = {
    "substitution": _substitute, "deletion": _delete, "insertion": _insert, "mixture": _mix, "moves": _move,
}  # fmt: skip
