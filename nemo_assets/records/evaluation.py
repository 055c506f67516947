"""What the source measured about the teacher on a problem: accuracies by condition, pooled bound."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from nemo_assets.records.sorted_json import sorted_json

EFFORTS = ("low", "medium", "high")
CONDITIONS = tuple(f"reason_{effort}_{tool}" for effort in EFFORTS for tool in ("no_tool", "with_tool"))
Z_95 = 1.96
_LARGE = 1 << 63


class Evaluation(NamedTuple):
    """The columns of these names of one row."""

    meta_correctness: float | None
    meta_correctness_own: float | None
    meta_correctness_lcb: float | None
    meta_row_verified: bool | None
    meta_pass_k: int | None
    meta_correct_count: int | None
    meta_eval_best_setting: str | None
    meta_eval_json: bytes | None
    meta_correctness_low: float | None
    meta_correctness_low_no_tool: float | None
    meta_correctness_low_with_tool: float | None
    meta_correctness_medium: float | None
    meta_correctness_medium_no_tool: float | None
    meta_correctness_medium_with_tool: float | None
    meta_correctness_high: float | None
    meta_correctness_high_no_tool: float | None
    meta_correctness_high_with_tool: float | None


class Results(NamedTuple):
    """A block of evaluation results by condition, and the condition under which the row itself was made."""

    block: dict[str, Any]
    own_condition: str


NO_EVALUATION = Evaluation(*(None,) * len(Evaluation._fields))


@lru_cache(maxsize=4096)
def wilson_lower_bound(passed: int, count: int, z: float = Z_95) -> float:
    """Lower end of the Wilson score interval (Wilson 1927) of `passed` successes in `count` > 0 trials."""
    share = passed / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (centre - spread) / (1 + z * z / count))


def evaluation_of(block: Mapping[str, Any], own_condition: str) -> Evaluation:
    """What a block of evaluation results says of one row.

    `block` maps conditions such as `reason_high_no_tool` to {count, pass, accuracy}; conditions may be missing, null or
    incomplete. `own_condition` is the one under which this row was made. The best condition is the one of highest
    accuracy; of equals the first in CONDITIONS, then by name.
    """
    accuracy: dict[str, float] = {}
    setting, best = None, -math.inf
    of_best: tuple[int | None, int | None] = (None, None)
    of_own = of_best
    passed = count = 0
    for name in in_order(block):
        result = block[name]
        if type(result) is not dict:
            continue
        measured, tries, passes = result.get("accuracy"), result.get("count"), result.get("pass")
        # Nearly always a finite float and two small integers: the calls are spared.
        if type(measured) is not float or measured - measured != 0.0:
            measured = _number(measured)
        if type(tries) is not int or not 0 <= tries < _LARGE:
            tries = _integer(tries)
        if type(passes) is not int or not 0 <= passes < _LARGE:
            passes = _integer(passes)
        if measured is not None:
            accuracy[name] = measured
            if measured > best:
                setting, best, of_best = name, measured, (tries, passes)
        if tries and passes is not None and 0 <= passes <= tries:
            passed, count = passed + passes, count + tries
        if name == own_condition:
            of_own = (tries, passes)
    low, low_tool, medium, medium_tool, high, high_tool = map(accuracy.get, CONDITIONS)
    return Evaluation(
        None if setting is None else best,
        accuracy.get(own_condition),
        wilson_lower_bound(passed, count) if count else None,
        None if of_own[1] is None else of_own[1] >= 1,
        *of_best,
        setting,
        sorted_json(block),
        _higher(low, low_tool),
        low,
        low_tool,
        _higher(medium, medium_tool),
        medium,
        medium_tool,
        _higher(high, high_tool),
        high,
        high_tool,
    )


def _higher(left: float | None, right: float | None) -> float | None:
    if left is None or right is None:
        return right if left is None else left
    return left if left >= right else right


def in_order(block: Mapping[str, Any]) -> Iterable[str]:
    """The conditions of a block by rank among equally good ones: CONDITIONS, then others by name."""
    if block.keys() <= _CONDITIONS:
        return filter(block.__contains__, CONDITIONS)
    return sorted(block, key=lambda name: (_RANKS.get(name, len(CONDITIONS)), name))


_CONDITIONS = frozenset(CONDITIONS)
_RANKS = {condition: rank for rank, condition in enumerate(CONDITIONS)}


def _number(value: Any) -> float | None:
    """A finite number; one beyond the range of floats measures nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def _integer(value: Any) -> int | None:
    """A whole number that a 64-bit column can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -(1 << 63) <= value < 1 << 63:
        return None
    return int(value) if value == int(value) else None
