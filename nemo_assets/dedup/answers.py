"""Whether a conversation ends with a whole answer: one of the criteria that decide which of two rows stays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.compared import Texts

_RETURN = np.frombuffer(b"<|return|>", np.uint8)
_START = np.frombuffer(b"<|start|>", np.uint8)
_ANSWERS = tuple(
    np.frombuffer(header, np.uint8) for header in (b"assistant<|channel|>final<|message|>", b"assistant<|message|>")
)


def ends_with_answer(texts: Texts) -> NDArray[np.bool_]:
    """Of each Harmony text whether its last message is an answer of the assistant's, closed by `<|return|>`."""
    complete = np.zeros(len(texts.offsets) - 1, np.bool_)
    _look_at_ends(texts.data, texts.offsets, complete)
    return complete


@compiled
def _look_at_ends(data: Any, offsets: Any, complete: Any) -> None:
    for row in range(len(complete)):
        begin, end = offsets[row], offsets[row + 1]
        if not _is_at(data, end - len(_RETURN), begin, end, _RETURN):
            continue
        place = end - len(_RETURN)
        while place >= begin and not _is_at(data, place, begin, end, _START):
            place -= 1
        header = place + len(_START)
        complete[row] = _is_at(data, header, begin, end, _ANSWERS[0]) or _is_at(data, header, begin, end, _ANSWERS[1])


@compiled
def _is_at(data: Any, place: int, begin: int, end: int, token: Any) -> bool:
    if place < begin or place + len(token) > end:
        return False
    for offset in range(len(token)):  # noqa: SIM110  (numba has no generators)
        if data[place + offset] != token[offset]:
            return False
    return True
