"""What the source measured about the teacher on a problem: accuracies by condition, pooled bound."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from nemo_assets.harmony import canonical_json

EFFORTS = ("low", "medium", "high")
CONDITIONS = tuple(f"reason_{effort}_{tool}" for effort in EFFORTS for tool in ("no_tool", "with_tool"))
Z_95 = 1.96

NO_EVALUATION: Mapping[str, Any] = {
    "meta_correctness": None, "meta_correctness_own": None, "meta_correctness_lcb": None, "meta_row_verified": None,
    "meta_pass_k": None, "meta_correct_count": None, "meta_eval_best_setting": None, "meta_eval_json": None,
    **{f"meta_correctness_{effort}{tool}": None for effort in EFFORTS for tool in ("", "_with_tool", "_no_tool")},
}  # fmt: skip


@lru_cache(maxsize=4096)
def wilson_lower_bound(passed: int, count: int, z: float = Z_95) -> float:
    """Lower end of the Wilson score interval (Wilson 1927) of `passed` successes in `count` > 0 trials."""
    share = passed / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (centre - spread) / (1 + z * z / count))


def evaluation_columns(block: Mapping[str, Any] | None, own_condition: str | None) -> dict[str, Any]:
    """The `meta_correctness…` columns of one row.

    `block` maps conditions such as `reason_high_no_tool` to {count, pass, accuracy}; conditions may be missing, null or
    incomplete. `own_condition` is the one under which this row was made. The best condition is the one of highest
    accuracy; of equals the first in CONDITIONS, then by name.
    """
    if not block:
        return dict(NO_EVALUATION)
    results = {name: result for name, result in block.items() if isinstance(result, Mapping)}
    accuracy = {name: value for name in results if (value := _number(results[name].get("accuracy"))) is not None}
    columns = {**NO_EVALUATION, "meta_eval_json": canonical_json(block)}
    if accuracy:
        best = min(accuracy, key=lambda name: (-accuracy[name], _rank(name), name))
        columns |= {
            "meta_correctness": accuracy[best],
            "meta_eval_best_setting": best,
            "meta_pass_k": _integer(results[best].get("count")),
            "meta_correct_count": _integer(results[best].get("pass")),
        }
    for effort in EFFORTS:
        without, with_tool = accuracy.get(f"reason_{effort}_no_tool"), accuracy.get(f"reason_{effort}_with_tool")
        columns[f"meta_correctness_{effort}_no_tool"] = without
        columns[f"meta_correctness_{effort}_with_tool"] = with_tool
        columns[f"meta_correctness_{effort}"] = max((a for a in (without, with_tool) if a is not None), default=None)
    columns["meta_correctness_lcb"] = _pooled_lower_bound(results)
    if own_condition in results:
        columns["meta_correctness_own"] = accuracy.get(own_condition)
        passed = _integer(results[own_condition].get("pass"))
        columns["meta_row_verified"] = None if passed is None else passed >= 1
    return columns


def _pooled_lower_bound(results: Mapping[str, Mapping[str, Any]]) -> float | None:
    passed = count = 0
    for result in results.values():
        tries, passes = _integer(result.get("count")), _integer(result.get("pass"))
        if tries and passes is not None and 0 <= passes <= tries:
            passed, count = passed + passes, count + tries
    return wilson_lower_bound(passed, count) if count else None


def _rank(condition: str) -> int:
    return CONDITIONS.index(condition) if condition in CONDITIONS else len(CONDITIONS)


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
