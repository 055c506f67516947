"""Which rows go through the model together.

Belongs here: the plan. It is a pure function of ids and lengths, so the same rows are packed the same way whatever
their order or the machine: in bfloat16 a row's NLL depends a little on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence


def pack(ids: Sequence[str], lengths: Sequence[int], token_budget: int, max_rows: int) -> list[list[int]]:
    """First-fit decreasing packs of row positions, longest rows first.

    A pack holds at most `token_budget` tokens and `max_rows` rows; a row longer than the budget goes alone. Rows of
    equal length are taken in the order of their ids. The longest rows come first, so that running out of memory shows
    at once.

    Raises:
        ValueError: a limit is not positive.
    """
    if token_budget < 1 or max_rows < 1:
        raise ValueError(f"token_budget {token_budget} and max_rows {max_rows} must be positive")
    packs: list[list[int]] = []
    free = _FreeTokens(len(ids), token_budget)
    for row in sorted(range(len(ids)), key=lambda row: (-lengths[row], ids[row])):
        number = free.first_pack(lengths[row]) if lengths[row] <= token_budget else len(packs)
        if number == len(packs):
            packs.append([])
        packs[number].append(row)
        free.take(number, lengths[row], close=len(packs[number]) == max_rows)
    return packs


class _FreeTokens:
    """Free tokens of every pack there may be, as a tree of maxima: the first pack with room is found in log time.

    The packs are the leaves; above them `_most[node]` is the larger of `_most[2 * node]` and `_most[2 * node + 1]`.
    """

    def __init__(self, packs: int, token_budget: int) -> None:
        self._leaves = 1 << max(packs - 1, 0).bit_length()
        self._most = [token_budget] * (2 * self._leaves)

    def first_pack(self, tokens: int) -> int:
        """The first pack with that much room; there must be one."""
        node = 1
        while node < self._leaves:
            node = 2 * node + (self._most[2 * node] < tokens)
        return node - self._leaves

    def take(self, number: int, tokens: int, close: bool) -> None:
        """Put `tokens` into a pack; a closed one has no room, not even for nothing."""
        node = self._leaves + number
        self._most[node] = -1 if close else self._most[node] - tokens
        while node > 1:
            node //= 2
            self._most[node] = max(self._most[2 * node], self._most[2 * node + 1])
