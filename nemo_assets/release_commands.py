"""`nemo-assets …`: what concerns releases that exist or are about to.

Belongs here: options, and how answers are shown. Does not: any work (`stages`); the chain itself (`cli`).
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.terminal import out, table

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
SplitKey = Annotated[str, typer.Argument(help="<dataset-slug>/<split>.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (plan_publishing, approve, rollback, release_diff):
        app.command()(command)


def plan_publishing(
    splits: Annotated[list[str], typer.Argument(help="Splits as <dataset-slug>/<split>.")], json_output: Json = False
) -> None:
    """Dry run: what publishing these splits would upload, in how many commits, how long, and which limits are near."""
    from nemo_assets.stages.release_plan import plan_release

    settings = Settings.from_environment()
    plans = [plan_release(settings.catalog.split(key), settings) for key in splits]
    if json_output:
        shown = [
            {
                **vars(plan),
                "upload_bytes": plan.upload_bytes,
                "seconds": plan.seconds,
            }
            for plan in plans
        ]
        sys.stdout.write(json.dumps(shown, indent=1) + "\n")
        return
    rows = [
        (
            plan.split,
            plan.repo,
            len(plan.uploaded),
            f"{plan.upload_bytes / 1e6:,.1f}",
            len(plan.unchanged),
            len(plan.deleted),
            plan.commits,
            "not measured yet" if plan.seconds is None else f"{plan.seconds:,.0f} s",
        )
        for plan in plans
    ]
    header = ("split", "repo", "files to upload", "MB", "unchanged", "deleted", "commits", "time")
    out.print(
        table("Nothing was sent", header, rows, right=("files to upload", "MB", "unchanged", "deleted", "commits"))
    )
    spent = sum(plan.commits for plan in plans)
    out.print(f"{spent} of {settings.commits_per_hour} commits an hour.")
    for plan in plans:
        for limit in plan.near:
            out.print(f"near a limit: {limit}", soft_wrap=True)


def approve(split: SplitKey) -> None:
    """Make a release that waits (NEMO_APPROVAL=1) current."""
    from nemo_assets.stages.published import approve as approve_release

    settings = Settings.from_environment()
    made = approve_release(settings.catalog.split(split), settings)
    out.print(f"{made.details['location']} is at {made.details['tag']}: {made.details['url']}", soft_wrap=True)


def rollback(
    dataset: Annotated[str, typer.Argument(help="Slug or repo id of the source.")],
    tag: Annotated[str, typer.Argument(help="The release to return to, such as release-0003.")],
) -> None:
    """Make an earlier release of a source's repo current again, by a new commit."""
    from nemo_assets.stages.rollback import roll_back

    settings = Settings.from_environment()
    revision, made = roll_back(_any_split(settings, dataset), tag, settings)
    out.print(f"{made} ({revision[:8]}) holds what {tag} holds. Splits published again take their place again.")


def release_diff(
    before: Annotated[str, typer.Argument(help="<dataset-slug>@<release>, as nemotron-science-v1@release-0001.")],
    after: Annotated[str, typer.Argument(help="The other one; the name of the dataset may be left out.")],
    json_output: Json = False,
) -> None:
    """Rows that entered, left, changed or moved between pools, each by its cause."""
    from nemo_assets.stages.landing import target_of
    from nemo_assets.stages.release_diff import release_diff as compare

    settings = Settings.from_environment()
    dataset, _, revision = before.rpartition("@")
    other, _, later = after.rpartition("@")
    if not dataset or other not in ("", dataset):
        raise UserError(
            f"{before} {after}: name two releases of one dataset, as nemotron-science-v1@release-0001 release-0002."
        )
    repo = settings.release_repo(_any_split(settings, dataset))
    found = compare(target_of(settings), repo, revision, later)
    if json_output:
        sys.stdout.write(json.dumps([each.as_json() for each in found], indent=1, ensure_ascii=False) + "\n")
        return
    for each in found:
        sys.stdout.write(each.as_text() + "\n")


def _any_split(settings: Settings, dataset: str) -> Split:
    """A split of the source: all of them are published to one repo."""
    slug, source = settings.catalog.source(dataset)
    if not source.splits:
        raise UserError(f"{slug}: the catalog names no split of this source.")
    return settings.catalog.split(f"{slug}/{next(iter(source.splits))}")
