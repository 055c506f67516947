"""Which files of a source are the records of a split.

Belongs here: asking the catalog, else the card, else the names of the files; that no record is counted twice. Does not:
how a card is read (`hub.patterns`), bringing the files here (`raw`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.hub.patterns import card_splits, match, named_after, shards_of, squeezed
from nemo_assets.hub.sources import Source, SourceFile
from nemo_assets.storage.manifest import digest

_LINES = (".jsonl", ".ndjson")
_TABLES = (".parquet",)
_SHOWN = 8  # names that a sentence still bears


class LeftOut(NamedTuple):
    """A file that a split names and that is not read, because its records would count twice."""

    path: str
    reason: str


class SplitFiles(NamedTuple):
    """The files of a split at a revision of its source; `version` changes exactly when a file of the split does."""

    revision: str
    files: tuple[SourceFile, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def version(self) -> str:
        return digest([(file.path, file.content_id) for file in self.files])


def split_files(split: Split, source: Source) -> SplitFiles:
    """What the source holds for this split now: as the catalog says, else its card, else the names of the files.

    Raises:
        UserError: a glob matches no file; the card has no such split; a file is of a kind that cannot be read; or the
            files would count records twice and it is not clear which of them to take.
    """
    revision = source.revision()
    listing = source.files(revision)
    paths = [file.path for file in listing]
    if split.entry.files is not None:
        named = _matched(split, "catalog", split.entry.files, revision, paths)
    else:
        named = _as_the_card_says(split, source, revision, listing)
    left_out = _counted_twice(split, named)
    taken = set(named) - {path for path, _ in left_out}
    return SplitFiles(revision, tuple(file for file in listing if file.path in taken), left_out)


def _as_the_card_says(split: Split, source: Source, revision: str, listing: Sequence[SourceFile]) -> tuple[str, ...]:
    paths = [file.path for file in listing]
    known = card_splits(source, revision, listing)
    if not known:
        return _by_name(split, revision, paths)
    key = (split.source.subset, split.name)
    if key not in known:
        has = _few([f"{config}/{name}" for config, name in known])
        raise UserError(
            f"{split.key}: the card of {split.repo} at {revision[:7]} has no split {'/'.join(key)}. It has {has}. "
            f"Correct the split in {_yaml(split)}, or set `files` there."
        )
    return _matched(split, "card", known[key], revision, paths)


def _matched(split: Split, by: str, globs: Iterable[str], revision: str, paths: Sequence[str]) -> tuple[str, ...]:
    found: set[str] = set()
    for glob in globs:
        matched = match([glob], paths)
        if not matched:
            same_kind = [path for path in paths if path.endswith(PurePosixPath(glob).suffix)]
            mend = "Correct" if by == "catalog" else "Set"
            raise UserError(
                f"{split.key}: the {by} names {glob}, the source {split.repo} at {revision[:7]} has no such file. "
                f"It has {_few(same_kind or paths)}. {mend} `files` in {_yaml(split)}."
            )
        found.update(matched)
    return tuple(sorted(found))


def _by_name(split: Split, revision: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Without a card that says more: the files of one directory that are named after the split."""
    data = [path for path in paths if path.endswith(_LINES + _TABLES)]
    found = [path for path in match(["**"], data) if named_after(path) == squeezed(split.name)]
    if len({PurePosixPath(path).parent for path in found}) != 1:
        raise UserError(
            f"{split.key}: {split.repo} at {revision[:7]} has no card that says which files are this split, and "
            f"{'files of that name in several directories' if found else 'no file of that name'}. "
            f"It has {_few(found or paths)}. Set `files` in {_yaml(split)}."
        )
    return tuple(found)


def _counted_twice(split: Split, paths: Sequence[str]) -> tuple[LeftOut, ...]:
    """The Parquet files that say again what JSONL files say. A split whose records cannot be told apart is refused."""
    other = [path for path in paths if not path.endswith(_LINES + _TABLES)]
    if other:
        raise UserError(
            f"{split.key}: {_few(other)} cannot be read; a split is made of {_few(_LINES + _TABLES)} files, "
            f"not compressed. Set `files` in {_yaml(split)} to those that can."
        )
    lines = {_place(path): path for path in reversed(paths) if path.endswith(_LINES)}
    tables = [path for path in paths if path.endswith(_TABLES)]
    _require_one_sharding(split, [path for path in paths if path.endswith(_LINES)])
    _require_one_sharding(split, tables)
    unpaired = [path for path in tables if _place(path) not in lines]
    if lines and unpaired:
        raise UserError(
            f"{split.key}: its files are JSONL and Parquet, and {_few(unpaired)} has no JSONL of the same name, so it "
            f"is not clear which say the same. Set `files` in {_yaml(split)} to those that count."
        )
    return tuple(LeftOut(path, f"the same records as {lines[_place(path)]}") for path in tables if lines)


def _require_one_sharding(split: Split, paths: Sequence[str]) -> None:
    """Refuse `low-00000-of-00001` beside `low-00000-of-00002`: an upload that left older shards behind."""
    first: dict[tuple[str, str], str] = {}
    for path in paths:
        other = first.setdefault(_place(path), path)
        if shards_of(other) != shards_of(path):
            raise UserError(
                f"{split.key}: {other} and {path} are not shards of one set, so records would count twice. "
                f"Set `files` in {_yaml(split)} to those that count."
            )


def _place(path: str) -> tuple[str, str]:
    """Files that agree in this hold the same records in another format, or are shards of one another."""
    return PurePosixPath(path).parent.as_posix(), named_after(path)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "") or "no file at all"


def _yaml(split: Split) -> str:
    return f"nemo_assets/catalog/{split.slug}.yaml"
