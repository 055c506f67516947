"""`nemo-assets …`: what concerns scores: what scoring would cost, and scores that were made elsewhere.

Belongs here: options, and how answers are shown. Does not: any work (`stages`, `scoring`); the chain itself (`cli`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.terminal import out, table


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (plan_scoring, import_scores):
        app.command()(command)


def plan_scoring(
    splits: Annotated[
        list[str] | None, typer.Argument(help="Splits as <dataset-slug>/<split>; all that are deduplicated if none.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """What scoring these splits would take: rows, tokens, GPU hours and dollars. Nothing is launched."""
    from nemo_assets.stages.scored import plan_scoring as plans_of

    settings = Settings.from_environment()
    told = [plan.told() for plan in plans_of(splits, settings)]
    if json_output:
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return
    header = ("split", "checkpoint", "rows", "known", "left out", "to score", "tokens", "hours", "dollars", "tokens/s")
    out.print(
        table("Nothing was launched; tokens are approximate", header, [_line(each) for each in told], right=header[2:])
    )
    out.print(_total(told, settings.scoring_budget), soft_wrap=True)


def _line(told: dict[str, Any]) -> tuple[str, ...]:
    rate = told["tokens_per_second"]
    return (
        told["split"],
        told["checkpoint"],
        *(f"{told[name]:,}" for name in ("rows", "known", "left_out", "to_score", "tokens")),
        "?" if told["hours"] is None else f"{told['hours']:,.2f}",
        "?" if told["dollars"] is None else f"{told['dollars']:,.2f}",
        "not measured yet" if rate is None else f"{rate:,.0f} {told['rate']}",
    )


def _total(told: Sequence[dict[str, Any]], budget: float | None) -> str:
    known = [each for each in told if each["hours"] is not None]
    hours, dollars = (sum(each[name] for each in known) for name in ("hours", "dollars"))
    line = f"Together about {sum(each['tokens'] for each in told):,} tokens, {hours:,.2f} GPU hours, ${dollars:,.2f}"
    if len(known) < len(told):
        line += ", without those whose rate is not known"
    return f"{line}. " + (f"The budget of a split is ${budget:,.2f}." if budget else "There is no budget.")


def import_scores(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint that the catalog declares as `imported: true`.")],
    files: Annotated[list[Path], typer.Argument(help="Parquet, JSONL or CSV: sha1_text_id, nll_mean, …")],
) -> None:
    """Take over scores that were made elsewhere, by the sha1 of the text; `scored` marks them as imported."""
    from nemo_assets.stages.scored import imported_scores_of

    settings = Settings.from_environment()
    declared = settings.catalog.checkpoints.get(checkpoint)
    if declared is None or not declared.imported:
        raise UserError(
            f"{checkpoint} is no checkpoint with `imported: true` in policies/checkpoints.yaml. Declare one: scores "
            "from elsewhere are never mixed with those measured here."
        )
    scores = imported_scores_of(checkpoint, settings)
    for file in files:
        out.print(f"{file}: scores of {scores.add(file):,} texts", soft_wrap=True)
