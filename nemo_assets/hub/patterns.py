"""Which files of a source repo belong to which split, as its dataset card says.

Belongs here: the `configs` of a card and the globs in it, read as `datasets` reads them.
Does not: which splits we take (`catalog`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from nemo_assets.errors import UserError

SplitKey = tuple[str, str]
_DEFAULT_CONFIG = "default"
_DEFAULT_SPLIT = "train"  # what `datasets` calls the split of data files that name none


def split_files(card_text: str) -> dict[SplitKey, tuple[str, ...]]:
    """(config, split) → its globs, from the YAML front matter of a `README.md`; empty when the card names none.

    Raises:
        UserError: the front matter cannot be read.
    """
    found: dict[SplitKey, tuple[str, ...]] = {}
    for config in _front_matter(card_text).get("configs") or ():
        name = str(config.get("config_name", _DEFAULT_CONFIG))
        folder = str(config.get("data_dir", "")).strip("/")
        for split, globs in _by_split(config.get("data_files")):
            key = (name, split)
            found[key] = found.get(key, ()) + tuple(_placed(glob, folder) for glob in globs)
    return found


def match(patterns: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """The paths that one of the globs names, sorted. `*` and `?` stay within a directory, `**` does not.

    Hidden files and directories, and those that begin with two underscores, are left out, as `datasets` does.
    """
    expressions = [re.compile(_expression(pattern)) for pattern in patterns]
    return tuple(
        sorted(path for path in paths if not _is_hidden(path) and any(each.fullmatch(path) for each in expressions))
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
            f"README.md: its front matter is not valid YAML ({reason}). Name the files in the catalog."
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UserError("README.md: its front matter is not a mapping. Name the files in the catalog.")
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
