"""Which files of a source repo belong to which split, as its dataset card or their names say.

Belongs here: the `configs` of a card and the globs in it, read as `datasets` reads them; what a file is named after.
Does not: which splits we take (`catalog`), what to do where this does not answer (`stages.split_files`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from nemo_assets.errors import UserError
from nemo_assets.hub.download import git_blob_id
from nemo_assets.hub.sources import Source, SourceFile

SplitKey = tuple[str, str]
_CARD = "README.md"
_CARD_TRIES = 2  # as for every other file: a second wrong digest is not an accident of the line
_DEFAULT_CONFIG = "default"
_DEFAULT_SPLIT = "train"  # what `datasets` calls the split of data files that name none


_SHARD = re.compile(r"-\d{5}-of-(\d{5})$")  # how `datasets` names the files of a split that has several
_cards: dict[str, Mapping[SplitKey, tuple[str, ...]]] = {}  # by content id: equal ids mean equal bytes


def card_splits(source: Source, revision: str, listing: Iterable[SourceFile]) -> Mapping[SplitKey, tuple[str, ...]]:
    """(config, split) → its globs, from the card of a source; empty where there is no card or it names no files.

    A card that this process has read before is not read again.

    Raises:
        UserError: the card cannot be reached or read.
    """
    card = next((file for file in listing if file.path == _CARD), None)
    if card is None:
        return {}
    if card.content_id not in _cards:
        try:
            _cards[card.content_id] = split_files(_verified_text(source, card, revision))
        except UserError as error:
            raise UserError(f"{source.repo_id} at {revision[:7]}: {error}") from error
    return _cards[card.content_id]


def _verified_text(source: Source, card: SourceFile, revision: str) -> str:
    for _ in range(_CARD_TRIES):
        with source.open(card, revision) as stream:
            content = stream.read()
        if card.content_id in (hashlib.sha256(content).hexdigest(), git_blob_id(content)):
            return content.decode(errors="replace")
    raise UserError(f"{_CARD}: the bytes received do not have the digest {card.content_id} of the listing. Run again.")


def named_after(path: str) -> str:
    """What a data file is named after: its name without suffix, shard number, punctuation and underscores.

    `data/high.part_00.jsonl` and `data/high_part00-00000-of-00002.parquet` are both named after `highpart00`.
    """
    stem = _SHARD.sub("", PurePosixPath(path).stem)
    return squeezed(stem)


def squeezed(name: str) -> str:
    """A name without punctuation and underscores, as those differ between a split and its files."""
    return re.sub(r"[\W_]", "", name)


def shards_of(path: str) -> int | None:
    """Of how many shards the file says to be one; None if it is none."""
    found = _SHARD.search(PurePosixPath(path).stem)
    return int(found[1]) if found else None


def split_files(card_text: str) -> dict[SplitKey, tuple[str, ...]]:
    """(config, split) → its globs, from the YAML front matter of a `README.md`; empty when the card names none.

    Raises:
        UserError: the front matter cannot be read.
    """
    found: dict[SplitKey, tuple[str, ...]] = {}
    configs = _front_matter(card_text).get("configs") or ()
    try:
        for config in configs:
            name = str(config.get("config_name", _DEFAULT_CONFIG))
            folder = str(config.get("data_dir") or "").strip("/")
            for split, globs in _by_split(config.get("data_files")):
                key = (name, split)
                found[key] = found.get(key, ()) + tuple(_placed(glob, folder) for glob in globs)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{_CARD}: its `configs` are not written as `datasets` reads them ({error!r}). "
            "Name the files in the catalog."
        ) from error
    return found


def match(patterns: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """The paths that one of the globs names, sorted. `*` and `?` stay within a directory, `**` does not.

    Hidden files and directories, and those that begin with two underscores, are left out, as `datasets` does, unless
    they are named in full.
    """
    named = set(patterns)
    expressions = [re.compile(_expression(pattern)) for pattern in named]
    return tuple(
        sorted(
            path
            for path in paths
            if path in named or (not _is_hidden(path) and any(each.fullmatch(path) for each in expressions))
        )
    )


def _front_matter(card_text: str) -> Mapping[str, Any]:
    found = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", card_text, re.DOTALL)
    if found is None:
        return {}
    try:
        loaded = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        reason = str(error).replace("\n", " ")
        raise UserError(
            f"{_CARD}: its front matter is not valid YAML ({reason}). Name the files in the catalog."
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UserError(f"{_CARD}: its front matter is not a mapping. Name the files in the catalog.")
    return loaded


def _by_split(data_files: Any) -> list[tuple[str, list[str]]]:
    """The ways a card may write data files: a glob, a list of globs, a mapping by split, a list of {split, path}."""
    if data_files is None:
        return []
    if isinstance(data_files, dict):
        return [(str(split), _globs(globs)) for split, globs in data_files.items()]
    found = []
    for item in data_files if isinstance(data_files, list) else [data_files]:
        if isinstance(item, dict):
            found.append((str(item.get("split", _DEFAULT_SPLIT)), _globs(item["path"])))
        else:
            found.append((_DEFAULT_SPLIT, [str(item)]))
    return found


def _globs(value: Any) -> list[str]:
    return [str(glob) for glob in value] if isinstance(value, list) else [str(value)]


def _placed(glob: str, folder: str) -> str:
    plain = glob.removeprefix("./")
    return f"{folder}/{plain}" if folder else plain


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "__")) for part in path.split("/"))


def _expression(pattern: str) -> str:
    """A regular expression for a glob. `**/` also stands for no directory at all."""
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    translated = []
    for token in tokens:
        if token.startswith("[") and token.endswith("]"):
            translated.append("[^" + token[2:] if token.startswith("[!") else token)
        else:
            translated.append(meanings.get(token, re.escape(token)))
    return "".join(translated)
