"""Making a release current: commit it on whatever the repo holds by then, verify what is there, tag it.

A reader of tags never sees anything that was not verified. Splits of one source publish to one repo at the same time;
each lands on top of the others, and who tags has verified the head that all of them made.

Belongs here: the order of these steps, and trying again when somebody else was faster. Does not: what a release holds
(`release_files`, `release_record`), how a commit is made (`hub.targets`), what is verified (`release_verification`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from nemo_assets.catalog import Split
from nemo_assets.disk import locked, make_directory
from nemo_assets.errors import UserError
from nemo_assets.hub.commit_budget import CommitBudget
from nemo_assets.hub.destination import open_target
from nemo_assets.hub.targets import MAIN, Change, HeadMovedError, Refs, TagTakenError, Target
from nemo_assets.settings import Settings
from nemo_assets.stages.release_card import card_files
from nemo_assets.stages.release_record import (
    Record,
    as_json,
    paths_of,
    record_path,
    records_at,
    results_at,
    results_path,
    rows_digest,
)
from nemo_assets.stages.release_verification import is_data, verify_release

ATTEMPTS = 10  # other splits of the source commit to the same repo

_TAG = re.compile(r"release-(\d+)")


@dataclass(frozen=True)
class Release:
    """What lands of one split: its record, and the files that are written or brought back from another revision.

    `of_scores`: the record tells of scores and subsets, and the rows of the split stay as they are.
    """

    split: Split
    record: Record
    summary: str
    description: str
    additions: Mapping[str, Path | bytes] = field(default_factory=dict)
    restored: Mapping[str, str] = field(default_factory=dict)
    of_scores: bool = False


class Landed(NamedTuple):
    """A commit, and the head it was made on; the same where there was nothing to change."""

    commit: str
    parent: str | None


class Certified(NamedTuple):
    """A verified commit and the tag that names it."""

    revision: str
    tag: str


def target_of(settings: Settings) -> Target:
    """Where releases go, with the budget of commits that all processes on this data directory share."""
    budget = CommitBudget(_publishing(settings) / "commits.json", settings.commits_per_hour)
    return open_target(settings.destination, settings.endpoint, settings.token, not settings.public, budget)


def _publishing(settings: Settings) -> Path:
    return settings.data_dir / "publishing"


def commit_release(
    release: Release, settings: Settings, target: Target, repo: str, head: str | None, branch: str = MAIN
) -> Landed:
    """Commit a release, with a card that tells of all splits; other splits' files stay as they are.

    `head` is that of `main` as the caller read it.

    Raises UserError if others change the repo again and again.
    """

    def change(head: str | None) -> Change:
        return _change(release, settings, target, repo, head)

    return commit_on_head(change, target, repo, head, branch, release.split.key)


def commit_on_head(
    change_on: Callable[[str | None], Change], target: Target, repo: str, head: str | None, branch: str, what: str
) -> Landed:
    """Commit what `change_on` makes of the head of `main`, made again whenever the head has moved."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Landed(target.commit(repo, change_on(head), head, branch), head)
        except HeadMovedError:
            time.sleep(min(10.0, 0.1 * (2**attempt - 1)))  # the head that is named may lag behind what is enforced
            head = target.head(repo)
    raise UserError(
        f"{target.location(repo)}: the repo changed during each of {ATTEMPTS} attempts to publish {what}. "
        "Run again later."
    )


def _change(release: Release, settings: Settings, target: Target, repo: str, head: str | None) -> Change:
    records, results, name = records_at(target, repo, head), results_at(target, repo, head), release.split.name
    _require_ours(target, repo, head, [*records.values(), *results.values()])
    path, told = (results_path(name), results) if release.of_scores else (record_path(name), records)
    before, content = paths_of(told.get(name)), as_json(release.record)
    told[name] = msgspec.json.decode(content)  # as it will be read, or the card would depend on who made it
    if name in results and results[name]["of"] != rows_digest(records[name]):
        before |= {results_path(name), *paths_of(results.pop(name))}  # scores of other rows
    card = card_files(release.split, settings.catalog, repo, records, results)
    additions = {**release.additions, path: content, **card}
    stays = {*additions, *release.restored}
    return Change(
        additions, tuple(sorted(before - stays)), release.summary, release.description, dict(release.restored)
    )


def _require_ours(target: Target, repo: str, head: str | None, records: Sequence[Record]) -> None:
    """Refuse to publish among data that no release put there: it would be loaded with ours, or be somebody's own."""
    ours = {path for record in records for path in paths_of(record)}
    paths = target.paths(repo, head) if head else {}
    if stray := next((path for path in sorted(paths) if is_data(path) and path not in ours), None):
        raise UserError(
            f"{target.location(repo)} holds {stray}, which no release put there. Delete it there, or set "
            "NEMO_PUBLISH_TO to where nobody else publishes."
        )


def certify(settings: Settings, target: Target, repo: str, landed: Landed) -> Certified:
    """Verify the head of the repo and tag it; a head that is tagged already is a release.

    Splits that changed since the last release are looked at closely. A head that is past `landed` holds it too. The tag
    is the one after those that there were before the head was read: whoever was faster has taken it, so that releases
    are numbered in the order of their commits.

    Raises UserError if what is there is not what was published; the tags stay as they were.
    """
    make_directory(_publishing(settings))
    with locked(_publishing(settings) / f"{repo.replace('/', '--')}.lock"):  # who waits may find all of it done
        for _ in range(ATTEMPTS):
            refs = target.refs(repo)
            head = refs.branches.get(MAIN)
            if head == landed.parent:  # that is behind us: refs may lag
                head = landed.commit
            if head is None:
                raise UserError(f"{target.location(repo)} is gone. Publish again.")
            releases = _releases(refs)
            tagged = {release.revision: release for release in releases.values()}
            if head in tagged:
                return tagged[head]
            verify(settings, target, repo, head, last_release(refs))
            release = Certified(head, f"release-{max(releases, default=0) + 1:04d}")
            try:
                target.set_tag(repo, release.tag, head)
            except TagTakenError:
                continue
            return release
    raise UserError(f"{target.location(repo)}: the repo changed whenever it had been verified. Run again later.")


def verify(settings: Settings, target: Target, repo: str, revision: str, last: Certified | None) -> None:
    """Raise UserError unless a revision holds what its records say, and loads.

    Of splits that are as in the `last` release, no footers are read.
    """
    records, results = records_at(target, repo, revision), results_at(target, repo, revision)
    before = (records_at(target, repo, last.revision), results_at(target, repo, last.revision)) if last else ({}, {})
    changed = {
        split
        for now, then in zip((records, results), before, strict=True)
        for split, record in now.items()
        if then.get(split) != record
    }
    verify_release(target, repo, revision, records, results, changed, settings.endpoint, settings.token)


def last_release(refs: Refs) -> Certified | None:
    """The newest release of a repo."""
    releases = _releases(refs)
    return releases[max(releases)] if releases else None


def _releases(refs: Refs) -> dict[int, Certified]:
    """The releases of a repo by number."""
    tags = refs.tags.items()
    return {int(found[1]): Certified(revision, tag) for tag, revision in tags if (found := _TAG.fullmatch(tag))}
