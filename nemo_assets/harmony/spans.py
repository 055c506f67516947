"""Loss spans: which characters of a text a model is trained on.

Belongs here: the spans and their digest, from messages that were rendered or parsed. Does not: tokens (the scorer maps
spans to them).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, Protocol

from nemo_assets.harmony.parse import parse_harmony

LossMode = Literal["assistant_all", "assistant_last"]


class PlacedMessage(Protocol):
    """What spans need of a message: who speaks, and where it lies in code points of the text."""

    @property
    def role(self) -> str: ...
    @property
    def body_start(self) -> int: ...
    @property
    def body_end(self) -> int: ...
    @property
    def end(self) -> int: ...


def loss_spans(
    messages: Sequence[PlacedMessage], loss_mode: LossMode, terminators: bool = False
) -> tuple[tuple[int, int], ...]:
    """Half-open spans of code points in the loss, in order, without empty ones.

    `assistant_all` takes the body of every assistant message, `assistant_last` of those after the last message that
    somebody else wrote. With `terminators` a span runs through the terminator.
    """
    first = 0
    if loss_mode == "assistant_last":
        first = max((number + 1 for number, message in enumerate(messages) if message.role != "assistant"), default=0)
    spans = (
        (message.body_start, message.end if terminators else message.body_end)
        for message in messages[first:]
        if message.role == "assistant"
    )
    return tuple(span for span in spans if span[0] < span[1])


def loss_spans_of_text(text: str, loss_mode: LossMode, terminators: bool = False) -> tuple[tuple[int, int], ...]:
    """The loss spans of ready-made text, read leniently: equal to those of the rendering that wrote it."""
    return loss_spans(parse_harmony(text), loss_mode, terminators)


def mask_sha1(loss_mode: LossMode, terminators: bool, spans: Sequence[tuple[int, int]]) -> str:
    """Digest of a loss mask: sha1 of `<loss_mode>|<0 or 1>|a-b,c-d,…`, hex."""
    listed = ",".join(f"{start}-{end}" for start, end in spans)
    return hashlib.sha1(f"{loss_mode}|{int(terminators)}|{listed}".encode()).hexdigest()
