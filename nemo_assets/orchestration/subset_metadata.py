"""What the UI shows of a training subset: where its rows come from, how it differs from its control, plots.

Belongs here: metadata of `subsets` alone. Does not: metadata that other assets have too (`metadata`).
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from nemo_assets import subset_plots
from nemo_assets.orchestration.tables import table
from nemo_assets.plots import as_markdown
from nemo_assets.storage import Manifest, Stage
from nemo_assets.subset_plots import Distribution, Point

STRATA_SHOWN = 40  # those that give the most tokens


def subset_metadata(manifest: Manifest) -> dict[str, Any]:
    """Rule, notes, strata, bias against the random control, and plots; what is unavailable says why."""
    if manifest.stage != Stage.SUBSETS:
        return {}
    told, details = manifest.details["subset"], manifest.details
    left_out = [{"split": key, "why": reason} for key, reason in details["left_out"].items()]
    return {
        "purpose": told["purpose"],
        "rule": dg.MetadataValue.md(f"`{told['rule']}`"),
        **({"unavailable": told["unavailable"]} if told["unavailable"] else {}),
        **({"notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in told["notes"]))} if told["notes"] else {}),
        **({"left_out": table(left_out)} if left_out else {}),
        **({"strata": table(_strata(told["strata"]))} if told["strata"] else {}),
        **({"bias": table(_bias(told["bias"]))} if told["control"] else {}),
        **(_plots(manifest) if told["rows"] else {}),
    }


def _strata(strata: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a stratum; nulls as text, because a column of a table has one type."""
    shown = sorted(strata, key=lambda each: (-each["tokens"], each["label"]))[:STRATA_SHOWN]
    columns = ("rows", "tokens", "candidate_rows", "candidate_tokens", "control_rows", "control_tokens")
    return [{"stratum": each["label"], **{name: each[name] for name in columns}} for each in shown]


def _bias(bias: dict[str, Any]) -> list[dict[str, Any]]:
    """How far the subset is from its control, by column: 0 is equal shares, 1 nothing in common."""
    return [
        {
            "column": name,
            "total variation": f"{found.get('total_variation', 0):.3f}",
            **{f"mean of {which}": _mean(found, which) for which in ("subset", "control")},
        }
        for name, found in bias.items()
    ]


def _mean(found: dict[str, Any], which: str) -> str:
    mean = found.get("means", {}).get(which)
    return "" if mean is None else f"{mean:,.3f}"


def _plots(manifest: Manifest) -> dict[str, Any]:
    name, plots = manifest.partition, manifest.details["plots"]
    drawn = {}
    for of in ("split", "pool"):
        groups = {key: Distribution(**found) for key, found in plots["nll"][of].items()}
        drawn[f"nll_by_{of}"] = (subset_plots.nll_bands(groups, f"{name}: chosen rows by {of}"), f"nll_mean by {of}")
    steps = [(step["name"], step["rows"]) for step in manifest.details["subset"]["steps"]]
    drawn["funnel"] = (subset_plots.selection_funnel(steps, f"{name}: from scored rows to the subset"), "rows by step")
    if points := [Point(*point[:3]) for point in plots["points"]]:
        picture = subset_plots.student_against_reference(points, f"{name}: student against reference")
        drawn["student_against_reference"] = (picture, "nll_mean under both checkpoints")
    return {key: dg.MetadataValue.md(as_markdown(picture, meaning)) for key, (picture, meaning) in drawn.items()}
