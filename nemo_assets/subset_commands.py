"""`nemo-assets …`: what concerns training subsets.

Belongs here: options, and how answers are shown. Does not: any work (`stages.subsets`); the chain itself (`cli`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nemo_assets.catalog import load_subset_policy
from nemo_assets.settings import Settings
from nemo_assets.terminal import err, out, table


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(subsets)


def subsets(
    what_if: Annotated[Path | None, typer.Option(help="A policy to try; else that of the catalog.")] = None,
    subset: Annotated[str | None, typer.Option(help="Show the strata and the bias of this subset.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """What a policy cuts from the scores there are: rows, tokens, overlap, bias against the random control.

    Nothing is written; `nemo-assets run` makes the subsets of the catalog's policy.
    """
    from nemo_assets.stages.subsets import what_if as tried

    settings = Settings.from_environment()
    policy = settings.catalog.subset_policy
    if what_if is not None:
        policy = load_subset_policy(what_if, settings.catalog.checkpoints)
    told = tried(settings, policy)
    if json_output:
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return
    _show(told)
    if subset is not None:
        _show_subset(subset, told)


def _show(told: dict[str, Any]) -> None:
    scored = told["scored"]
    header = ("subset", "rows", "tokens", "of tokens", "control rows", "control tokens", "short", "")
    rows = [_line(name, each, scored["tokens"]) for name, each in told["subsets"].items()]
    title = f"Policy {told['policy']} over {scored['rows']:,} scored rows in {scored['strata']:,} strata"
    out.print(table(title, header, rows, right=header[1:7]))
    names = [name for name, each in told["subsets"].items() if each["rows"]]
    if len(names) > 1:
        shared = [(one, *(f"{told['overlap'][one][other]['rows']:,}" for other in names)) for one in names]
        out.print(table("Rows in both", ("", *names), shared, right=names))
    for each in told["subsets"].values():
        for note in each["notes"]:
            err.print(f"- {note}", markup=False, soft_wrap=True)
    for key, reason in told["left_out"].items():
        err.print(f"- {key} is left out: {reason}.", markup=False, soft_wrap=True)


def _line(name: str, told: dict[str, Any], tokens: int) -> tuple[str, ...]:
    control = told["control"]
    return (
        name, f"{told['rows']:,}", f"{told['tokens']:,}", f"{100 * told['tokens'] / tokens:.1f} %" if tokens else "",
        f"{control['rows']:,}" if control else "", f"{control['tokens']:,}" if control else "",
        f"{told['shortfall']:,}" if told["shortfall"] else "",
        f"unavailable: {told['unavailable']}" if told["unavailable"] else "",
    )  # fmt: skip


def _show_subset(name: str, told: dict[str, Any]) -> None:
    from nemo_assets.errors import UserError

    if name not in told["subsets"]:
        raise UserError(f"--subset {name}: the policy has no such subset. It has {', '.join(told['subsets'])}.")
    found = told["subsets"][name]
    out.print(f"\n{name}: {found['purpose']}\n{found['rule']}", markup=False, soft_wrap=True)
    header = ("stratum", "rows", "tokens", "entitled to", "candidates", "control")
    lines = [
        (
            each["label"], f"{each['rows']:,}", f"{each['tokens']:,}",
            "" if each["wanted"] is None else f"{each['wanted']:,.0f}", f"{each['candidate_tokens']:,}",
            f"{each['control_tokens']:,}",
        )
        for each in found["strata"]
    ]  # fmt: skip
    out.print(table("Tokens by stratum", header, lines, right=header[1:]))
    if found["control"]:
        bias = [
            (column, f"{each.get('total_variation', 0):.3f}", *_means(each.get("means", {})))
            for column, each in found["bias"].items()
        ]
        columns = ("column", "total variation", "mean of subset", "mean of control")
        out.print(table("Beside the random control (0 is equal shares)", columns, bias, right=columns[1:]))


def _means(means: dict[str, float | None]) -> tuple[str, str]:
    told = ["" if means.get(which) is None else f"{means[which]:,.3f}" for which in ("subset", "control")]
    return told[0], told[1]
