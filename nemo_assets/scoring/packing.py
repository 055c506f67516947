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
    open_packs: list[tuple[int, int]] = []  # (number of the pack, tokens still free)
    for row in sorted(range(len(ids)), key=lambda row: (-lengths[row], ids[row])):
        for place, (number, free) in enumerate(open_packs):
            if lengths[row] <= free:
                packs[number].append(row)
                open_packs[place] = (number, free - lengths[row])
                if len(packs[number]) == max_rows:
                    del open_packs[place]
                break
        else:
            packs.append([row])
            if max_rows > 1 and lengths[row] < token_budget:
                open_packs.append((len(packs) - 1, token_budget - lengths[row]))
    return packs
