"""Loss spans: which characters of a text a model is trained on.

Belongs here: the spans and their digest, from text or from messages that were rendered or parsed. Does not: tokens
(`mask`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, Protocol

from nemo_assets.harmony.parse import parse
from nemo_assets.harmony.special_tokens import END, START

LossMode = Literal["assistant_all", "assistant_last", "assistant_sampled"]

_PRIMING = f"{START}assistant"
"""What stands before the first token that a model samples."""


class PlacedMessage(Protocol):
    """What spans need of a message: who speaks, and where it lies in code points of the text."""

    @property
    def role(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def body_start(self) -> int: ...
    @property
    def body_end(self) -> int: ...
    @property
    def end(self) -> int: ...


def loss_spans(
    text_or_messages: str | Sequence[PlacedMessage], loss_mode: LossMode, include_terminators: bool = False
) -> tuple[tuple[int, int], ...]:
    """Half-open spans of code points in the loss, in order, without empty ones.

    `assistant_all` takes the body of every assistant message, `assistant_last` of those after the last message that
    somebody else wrote; with `include_terminators` such a span runs through the terminator. `assistant_sampled` takes
    what the model itself emits: everything after the `<|start|>assistant` it is primed with, up to and including the
    token at which it stops, so also the headers of further messages in the same run, and terminators in any case.

    Text is read leniently: its spans equal those of the rendering that wrote it.

    Raises:
        ValueError: there is no such mode.
    """
    messages = parse(text_or_messages) if isinstance(text_or_messages, str) else text_or_messages
    if loss_mode == "assistant_sampled":
        return _sampled(messages)
    first = 0
    if loss_mode == "assistant_last":
        first = max((number + 1 for number, message in enumerate(messages) if message.role != "assistant"), default=0)
    elif loss_mode != "assistant_all":
        raise ValueError(f"no loss mode {loss_mode!r}; there are assistant_all, assistant_last, assistant_sampled")
    return tuple(
        [
            (message.body_start, end)
            for message in messages[first:]
            if message.role == "assistant"
            and message.body_start < (end := message.end if include_terminators else message.body_end)
        ]
    )


def _sampled(messages: Sequence[PlacedMessage]) -> tuple[tuple[int, int], ...]:
    """One span for each time the model is primed: it goes on after `<|end|>` and stops at anything else."""
    spans: list[tuple[int, int]] = []
    goes_on = False
    for message in messages:
        spoken = message.role == "assistant"
        if spoken and goes_on:
            spans[-1] = (spans[-1][0], message.end)
        elif spoken:
            spans.append((min(message.start + len(_PRIMING), message.end), message.end))
        goes_on = spoken and message.end - message.body_end == len(END)
    return tuple(span for span in spans if span[0] < span[1])


def loss_spans_of_text(text: str, loss_mode: LossMode, terminators: bool = False) -> tuple[tuple[int, int], ...]:
    """`loss_spans` of ready-made text."""
    return loss_spans(text, loss_mode, terminators)


def mask_sha1(loss_mode: LossMode, terminators: bool, spans: Sequence[tuple[int, int]]) -> str:
    """Digest of a loss mask: sha1 of `<loss_mode>|<0 or 1>|a-b,c-d,…`, hex."""
    listed = ",".join([f"{start}-{end}" for start, end in spans])
    return hashlib.sha1(f"{loss_mode}|{int(terminators)}|{listed}".encode()).hexdigest()
