"""One look at every source and recipe: what is new, what must wait, which splits no longer match the catalog.

Belongs here: what the sensor, the schedule and the check have in common. Does not: when to look (`sensors`,
`schedules`), talking to a source (`hub`), which files make up a split (`stages.split_files`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import dagster as dg
import msgspec

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Retry
from nemo_assets.hub.patterns import card_splits, match
from nemo_assets.hub.sources import Source, SourceFile
from nemo_assets.hub.watch import Memory, reason_to_wait, watch
from nemo_assets.orchestration.external import RECIPE, SOURCE, Known, Report, last_told, recipe, source_seen
from nemo_assets.settings import Settings
from nemo_assets.stages.split_files import split_files
from nemo_assets.storage.manifest import digest

SPLITS_CHECK = "splits_match_the_source"
FEW = 2  # splits that a sentence still names
DATA_SUFFIXES = (".jsonl", ".ndjson", ".parquet")

# Nobody waits for a look, and the next one comes: a source that is busy is left alone rather than waited for.
_SHORT_PATIENCE = Retry(attempts=2, longest_told_wait=5.0)
LONGEST_SECONDS = 600.0  # where nothing else sets a limit: a connection may stay silent for ever


@dataclass(frozen=True)
class Look:
    """What one look found. `memories` is for the next one, by dataset slug.

    problems: key of a split that upstream and the catalog do not agree on → what to do. waiting, unreachable: slug of a
    source that says nothing this time → why.
    """

    news: tuple[Report, ...]
    problems: Mapping[str, str]
    waiting: Mapping[str, str]
    unreachable: Mapping[str, str]
    memories: Mapping[str, Memory]

    @property
    def events(self) -> list[dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation]:
        """Everything to make known, in the order in which the instance must get it."""
        result = self.check
        evaluation = dg.AssetCheckEvaluation(
            dg.AssetKey(SOURCE),
            SPLITS_CHECK,
            result.passed,
            result.metadata,
            severity=result.severity,
            description=result.description,
        )
        return [*(event for report in self.news for event in report.events), evaluation]

    @property
    def check(self) -> dg.AssetCheckResult:
        """Fails on splits that came or went upstream; warns where that could not be seen."""
        notes = {**self.unreachable, **self.waiting}
        told = [*self.problems.values(), *notes.values()]
        metadata: dict[str, Any] = {"new_or_vanished": len(self.problems), "not_looked_at": len(notes)}
        if self.problems:
            records = [dg.TableRecord({"split": key, "what": text}) for key, text in self.problems.items()]
            metadata["splits"] = dg.MetadataValue.table(records)
        return dg.AssetCheckResult(
            passed=not self.problems and not self.unreachable,
            severity=dg.AssetCheckSeverity.ERROR if self.problems else dg.AssetCheckSeverity.WARN,
            description=" ".join(told) or "Every split of the catalog is there, and there is no other.",
            metadata=metadata,
        )

    @property
    def said(self) -> str:
        """All of it in a few sentences."""
        return " ".join([self._reported(), *self.problems.values(), *self.waiting.values(), *self.unreachable.values()])

    def _reported(self) -> str:
        if not self.news:
            partial_view = self.waiting or self.unreachable
            return "Nothing changed where it could be seen." if partial_view else "No source and no recipe changed."
        changed = {asset: [report.partition for report in self.news if report.asset == asset] for asset in _REPORTED}
        told = [f"{asset} of {_splits(partitions)}" for asset, partitions in changed.items() if partitions]
        return f"Reported new versions: {', '.join(told)}."


_REPORTED = (SOURCE, RECIPE)


def _splits(partitions: list[str]) -> str:
    return " and ".join(partitions) if len(partitions) <= FEW else f"{len(partitions)} splits"


def look(
    settings: Settings,
    instance: dg.DagsterInstance,
    memories: Mapping[str, Memory] | None = None,
    seconds: float = LONGEST_SECONDS,
) -> Look:
    """Look at every source at once, and at every recipe.

    Sources that have not answered after `seconds` count as unreachable; one that cannot be reached hides no other. What
    is news is decided by what the instance knows; `memories` of the last look save requests and let a head settle.
    """
    catalog = settings.catalog
    known = {key: last_told(SOURCE, key, instance) for key in catalog.splits}
    before = {slug: (memories or {}).get(slug, Memory()) for slug in catalog.sources}
    by_source: dict[str, list[Split]] = {slug: [] for slug in catalog.sources}
    for split in catalog.splits.values():
        by_source[split.slug].append(split)
    looks = {slug: partial(_look_at, splits, settings, known, before[slug]) for slug, splits in by_source.items()}
    seen, unreachable = _all_at_once(looks, seconds)
    sources = [report for slug in catalog.sources if slug in seen for report in seen[slug].reports]
    recipes = [recipe(catalog, split) for split in catalog.splits.values()]
    memory = {slug: seen[slug].memory if slug in seen else before[slug] for slug in catalog.sources}
    return Look(
        news=tuple(report for report in [*sources, *recipes] if report.is_news(instance)),
        problems={key: told for each in memory.values() for key, told in each.problems.items()},
        waiting={slug: each.waits for slug, each in seen.items() if each.waits},
        unreachable=unreachable,
        memories=memory,
    )


@dataclass(frozen=True)
class _Seen:
    """What a look at one source found: reports that count, or why none does yet."""

    memory: Memory
    reports: Sequence[Report] = ()
    waits: str | None = None


def _look_at(splits: Sequence[Split], settings: Settings, known: Mapping[str, Known | None], memory: Memory) -> _Seen:
    """Look at one source. One request if nothing moved; a listing if the head did; the history if it is news."""
    repo = splits[0].repo
    watched = watch(repo, settings.source_dir, settings.endpoint, settings.token, _SHORT_PATIENCE)
    source = _AskedOnce(watched)
    basis = digest([msgspec.to_builtins(split.entry) for split in splits])
    memory = memory.having_found(source.revision())
    if (memory.found, basis) == (memory.head, memory.basis) and _is_known(memory.versions, known):
        return _Seen(memory)
    reports, problems = _read(splits, source, settings.catalog_dir)
    versions = {report.partition: report.version for report in reports}
    changed = [key for key, version in versions.items() if not _is_known({key: version}, known)]
    if changed or problems != memory.problems:
        relied_upon = {memory.head, *(last.revision for key in changed if (last := known[key]))}
        earlier = sorted(revision for revision in relied_upon - {memory.found} if revision)
        waits = reason_to_wait(watched, memory, earlier, datetime.now(UTC))
        if waits is not None:
            return _Seen(memory, waits=waits)
    return _Seen(replace(memory, head=memory.found, basis=basis, versions=versions, problems=problems), reports)


def _is_known(versions: Mapping[str, str], known: Mapping[str, Known | None]) -> bool:
    return all((last := known.get(key)) is not None and last.version == version for key, version in versions.items())


def _read(splits: Sequence[Split], source: Source, catalog_dir: Path) -> tuple[list[Report], dict[str, str]]:
    """What the source holds for each split, and the splits that only one of source and catalog has."""
    named_upstream = _named_upstream(splits, source)
    reports, gone = [], {}
    taken: set[str] = set()
    for split in splits:
        try:
            found = split_files(split, source)
        except UserError as error:
            gone[split.key] = f"{error} What was made of this split stays."
            continue
        reports.append(source_seen(split, found, source))
        taken |= {file.path for file in found.files} | {path for path, _ in found.left_out}
    slug, entries = splits[0].slug, splits[0].source.splits
    new = {
        f"{slug}/{name}": f"{slug}/{name}: {source.repo_id} has this split ({', '.join(paths)}) and the catalog does "
        f"not. To use it, add `{name}` to `splits` in {catalog_dir / slug}.yaml."
        for name, paths in named_upstream.items()
        if name not in entries and not taken.issuperset(paths)
    }
    return reports, gone | new


def _named_upstream(splits: Sequence[Split], source: Source) -> Mapping[str, Sequence[str]]:
    """Split → its files as the card of the source says; without a card that names any, as the files are called."""
    revision = source.revision()
    listing = source.files(revision)
    paths = [file.path for file in listing]
    try:
        card = card_splits(source, revision, listing)
    except UserError:
        if any(split.entry.files is None for split in splits):
            raise
        return {}  # the catalog says all of it, and a broken card must not stand in the way
    if card:
        return {
            name: match(globs, paths) for (config, name), globs in card.items() if config == splits[0].source.subset
        }
    data = [path for path in paths if path.endswith(DATA_SUFFIXES)]
    return {PurePosixPath(path).stem: [path] for path in match(["**"], data)}


@dataclass
class _AskedOnce:
    """A source whose head and listing are asked for once: a look sees one moment, whatever the number of splits."""

    source: Source
    _revision: str | None = None
    _files: dict[str, tuple[SourceFile, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repo_id, self.fetch, self.open, self.url, self.history = (
            self.source.repo_id, self.source.fetch, self.source.open, self.source.url, self.source.history,
        )  # fmt: skip

    def revision(self) -> str:
        if self._revision is None:
            self._revision = self.source.revision()
        return self._revision

    def files(self, revision: str) -> tuple[SourceFile, ...]:
        if revision not in self._files:
            self._files[revision] = self.source.files(revision)
        return self._files[revision]


def _all_at_once(looks: Mapping[str, Callable[[], _Seen]], seconds: float) -> tuple[dict[str, _Seen], dict[str, str]]:
    """What each look found, and why the others found nothing. One that hangs is left behind."""
    answers = {slug: _in_a_thread(ask) for slug, ask in looks.items()}
    wait(answers.values(), timeout=seconds)
    seen, unreachable = {}, {}
    for slug, answer in answers.items():
        if not answer.done():
            unreachable[slug] = f"{slug}: the source has not answered within {seconds:.0f} s."
            continue
        try:
            seen[slug] = answer.result()
        except UserError as error:
            unreachable[slug] = str(error)
    return seen, unreachable


def _in_a_thread(ask: Callable[[], _Seen]) -> Future[_Seen]:
    """The answer of a thread that nobody waits for when the process ends."""
    answer: Future[_Seen] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001  (raised where the answer is asked for)
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return answer
