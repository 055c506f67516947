"""Which tokens are in the loss: from loss spans in characters to a mask over tokens.

Belongs here: the offset rule, one for scoring and training alike. Does not: where the spans come from (`spans`),
tokenising.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TokenMask:
    """`scored[k]` says that token k is scored, from the logits at k - 1; `straddlers` is their count."""

    scored: Bools
    straddlers: int


def token_mask(offsets: ArrayLike, spans: Sequence[tuple[int, int]]) -> TokenMask:
    """Mask of the tokens at character `offsets`, a begin and an end for each, that lie in the loss `spans`.

    A token is scored iff it begins inside a span, covers at least one character and has a predecessor. The pieces of a
    character that takes several tokens all carry the range of that character, so a span that ends in an emoji keeps its
    last tokens. A token that begins before a span and ends inside it belongs to neither side: it is left out and
    counted as a straddler. Tokenizers that know the Harmony special tokens have none.

    `spans` are code-point ranges in ascending order that do not overlap.
    """
    starts, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    filled = np.array([span for span in spans if span[1] > span[0]], dtype=np.int64).reshape(-1, 2)
    scored = np.zeros(len(starts), dtype=np.bool_)
    if len(filled) == 0 or len(starts) == 0:
        return TokenMask(scored, 0)

    following = np.searchsorted(filled[:, 0], starts, side="right")  # the first span that begins after the token does
    covers_text = ends > starts
    inside = (following > 0) & (starts < filled[np.maximum(following - 1, 0), 1]) & covers_text

    next_begin = filled[np.minimum(following, len(filled) - 1), 0]
    straddles = ~inside & covers_text & (following < len(filled)) & (next_begin < ends)

    scored[1:] = inside[1:]
    return TokenMask(scored, int(np.count_nonzero(straddles)))
