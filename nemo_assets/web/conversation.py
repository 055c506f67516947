"""The text of a row, cut for reading: by message, as rendered, with the loss mask, with the NLL of its tokens.

Belongs here: where the cuts are. Does not: markup (the templates), what is in the loss (`harmony`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from nemo_assets.harmony import SPECIAL_TOKEN, ParsedMessage, loss_spans_of_text, mask_sha1, parse

LONGEST = 200_000  # code points of a text on a page; the whole text can be downloaded
TOKENS_A_PAGE = 8_000
CLASSES = (0.1, 0.3, 0.7, 1.2, 2.0, 3.0, 4.5, 6.5, 9.0)
"""Upper bounds, in nats, of all classes of the heat map but the last."""

_SURPRISES = 10  # tokens listed below the map


@dataclass(frozen=True)
class Turn:
    """One message as a reader wants it; `part` is prompt, reasoning, call, result or answer."""

    role: str
    name: str | None
    channel: str | None
    recipient: str | None
    content_type: str | None
    body: str
    deviations: tuple[str, ...]

    @property
    def part(self) -> str:
        if self.role == "assistant" and self.recipient:
            return "call"
        if self.role == "assistant":
            return "reasoning" if self.channel == "analysis" else "answer"
        return "result" if self.role == "tool" else "prompt"

    @property
    def is_folded(self) -> bool:
        """Instructions and tool lists are long and alike."""
        return self.role in ("system", "developer") and len(self.body) > 400


@dataclass(frozen=True)
class Stretch:
    """A piece of text and the class it is shown in."""

    kind: str
    text: str


@dataclass(frozen=True)
class Token:
    """A scored token by where it begins in the text; NLL in nats."""

    begin: int
    text: str
    nll: float


@dataclass(frozen=True)
class HeatMap:
    """One page of a map: scored tokens `first` to `last` of `count`, from 1; `worst` are the most surprising of all."""

    stretches: tuple[Stretch, ...]
    first: int
    last: int
    count: int
    page: int
    pages: int
    worst: tuple[Token, ...]


def clipped(text: str) -> str:
    """What of a text stands on a page."""
    return text[:LONGEST]


def turns(text: str) -> list[Turn]:
    """The messages of a Harmony text."""
    return [_turn(message) for message in parse(text)]


def _turn(message: ParsedMessage) -> Turn:
    return Turn(
        message.role or "between messages",
        message.name if message.name != message.role else None,
        message.channel,
        message.recipient,
        message.content_type,
        message.body,
        message.deviations,
    )


def rendered(text: str) -> list[Stretch]:
    """The text with its special tokens as stretches of their own."""
    pieces = re.split(f"({SPECIAL_TOKEN})", text)
    return [Stretch("special" if number % 2 else "plain", piece) for number, piece in enumerate(pieces) if piece]


def masked(row: dict[str, Any]) -> tuple[list[Stretch], bool]:
    """The text of a row cut at its loss spans, and whether their digest is the one the row was written with."""
    text = row["text"]
    spans = loss_spans_of_text(text, row["loss_mode"], row["loss_terminators"])
    agrees = mask_sha1(row["loss_mode"], row["loss_terminators"], spans) == row["mask_sha1"]
    cuts = [0, *(cut for span in spans for cut in span), len(text)]
    kinds: Iterable[Literal["idle", "trained"]] = (
        "idle" if number % 2 == 0 else "trained" for number in range(len(cuts))
    )
    pieces = zip(kinds, cuts, cuts[1:], strict=False)
    return [Stretch(kind, text[begin:end]) for kind, begin, end in pieces if begin < end], agrees


def heat_map(row: dict[str, Any], begins: Sequence[int], nlls: Sequence[float], page: int) -> HeatMap:
    """Page `page` (from 1) of the scored tokens of a row.

    A token reaches to where the next one begins, or to the end of its loss span; what is between is not scored. Tokens
    of one class that touch are one stretch.
    """
    text, count = row["text"], len(begins)
    tokens = _tokens(text, loss_spans_of_text(text, row["loss_mode"], row["loss_terminators"]), begins, nlls)
    pages = max(1, -(-count // TOKENS_A_PAGE))
    page = min(max(page, 1), pages)
    first = (page - 1) * TOKENS_A_PAGE
    chosen = tokens[first : first + TOKENS_A_PAGE]
    begin = 0 if page == 1 else chosen[0].begin
    end = len(text) if page == pages else tokens[first + TOKENS_A_PAGE].begin
    worst = sorted(tokens, key=lambda token: -token.nll)[:_SURPRISES]
    stretches = _stretches(text, chosen, begin, end)
    return HeatMap(tuple(stretches), first + 1, first + len(chosen), count, page, pages, tuple(worst))


def _tokens(text: str, spans: Sequence[tuple[int, int]], begins: Sequence[int], nlls: Sequence[float]) -> list[Token]:
    starts = [span[0] for span in spans]
    tokens = []
    for number, (begin, nll) in enumerate(zip(begins, nlls, strict=True)):
        span = spans[bisect_right(starts, begin) - 1]
        following = begins[number + 1] if number + 1 < len(begins) else len(text)
        tokens.append(Token(begin, text[begin : min(following, max(span[1], begin))], nll))
    return tokens


def _stretches(text: str, tokens: Sequence[Token], begin: int, end: int) -> list[Stretch]:
    pieces: list[Stretch] = []
    position = begin
    for token in tokens:
        pieces.append(Stretch("idle", text[position : token.begin]))
        pieces.append(Stretch(f"c{class_of(token.nll)}", token.text))
        position = token.begin + len(token.text)
    pieces.append(Stretch("idle", text[position:end]))
    filled = (piece for piece in pieces if piece.text)
    return [Stretch(kind, "".join(piece.text for piece in run)) for kind, run in groupby(filled, lambda p: p.kind)]


def class_of(nll: float) -> int:
    """0 for what the model expected to 9 for what surprised it most."""
    return bisect_right(CLASSES, nll)
