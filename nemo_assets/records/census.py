"""Which keys, types and nulls the records of a source have, path by path.

Belongs here: counting one JSON object after another, merging counts, their plain form. Does not: reading files, parsing
lines, what a report shows.

A path is written `messages[].tool_calls[].function.name`: objects by key, lists by `[]`. Counts stay small whatever the
data are: objects with more than MAX_KEYS distinct keys at their path are maps (from tool parameters to types, say), and
all their values are counted together under `{*}`; what lies deeper than MAX_DEPTH is not looked into. Both rules depend
on the set of records alone, so neither their order nor their division among workers shows in the result.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

MAX_KEYS = 64  # distinct keys at one path: schemas have fewer, maps from names to values have more
MAX_COLUMNS = 1_000  # distinct keys of the records themselves
MAX_DEPTH = 12  # steps of a path, the column being the first; JSON schemas of tools reach about 10
_LONG_KEY = 100  # characters; a longer key is shown by its beginning and its digest

_TYPE_NAMES: dict[type, str] = {
    str: "string", int: "integer", float: "float", bool: "boolean", type(None): "null", list: "list", dict: "object",
    bytes: "binary",
}  # fmt: skip
_plain_key = re.compile(r"[\w$@/:-]+")


class Census:
    """Counts over the objects given to `add`; `merge` adds the counts of other objects."""

    def __init__(self) -> None:
        self.objects = 0
        self._columns = _Keys(MAX_COLUMNS)

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one record."""
        self.objects += 1
        _count_keys(record, self._columns, 1)

    def merge(self, other: Census) -> None:
        """Count everything `other` counted, which stays as it is."""
        self.objects += other.objects
        self._columns.merge(other._columns)

    def columns(self) -> dict[str, Any]:
        """What was counted, by column, in JSON types.

        present: records with the key; null: those where its value is null; null_rate: share of the records where it is
        null or absent (None for `{*}`, which is no one column); types: values by type, adding up to present; paths:
        present and types of everything inside the values.
        """
        return {name: self._column(name, place) for name, place in self._columns.places()}

    def _column(self, name: str, place: _Place) -> dict[str, Any]:
        present, null = place.present, place.types.get(type(None), 0)
        rate = None if name == "{*}" else round((self.objects - present + null) / self.objects, 6)
        paths = {path: _plain(types) for path, types in sorted(_paths_below(place, name, 1))}
        return {"null": null, "null_rate": rate, "paths": paths, **_plain(place.types)}


def mixed_paths(columns: Mapping[str, Any]) -> list[str]:
    """The paths of `Census.columns` whose values are of several types, sorted.

    Null counts as no type, integer and float as one: readers take both without being told.
    """
    found = []
    for name, column in columns.items():
        for path, counts in ((name, column), *column["paths"].items()):
            kinds = {"number" if kind in ("integer", "float") else kind for kind in counts["types"]} - {"null"}
            if len(kinds) > 1 and not path.endswith("…"):
                found.append(path)
    return sorted(found)


class _Place:
    """What stood at one path: values by type, the places below them."""

    __slots__ = ("items", "keys", "types")

    def __init__(self) -> None:
        self.types: defaultdict[type, int] = defaultdict(int)
        self.keys: _Keys | None = None
        self.items: _Place | None = None

    @property
    def present(self) -> int:
        return sum(self.types.values())

    def merge(self, other: _Place) -> None:
        for kind, count in other.types.items():
            self.types[kind] += count
        if other.items is not None:
            self.items = self.items or _Place()
            self.items.merge(other.items)
        if other.keys is not None:
            # `or` would replace keys that are folded, hence empty.
            self.keys = _Keys(MAX_KEYS) if self.keys is None else self.keys
            self.keys.merge(other.keys)


class _Keys(dict[str, _Place]):
    """Places by key. When one key too many comes, all become one place for any key, and stay so."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.any_key: _Place | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _keys_of, (self.limit, dict(self), self.any_key)

    def __missing__(self, key: str) -> _Place:
        if self.any_key is not None:
            return self.any_key
        if len(self) >= self.limit:
            return self._folded()
        place = self[key] = _Place()
        return place

    def merge(self, other: _Keys) -> None:
        if other.any_key is not None:
            self._folded().merge(other.any_key)
        for key, place in other.items():
            self[key].merge(place)

    def places(self) -> Iterator[tuple[str, _Place]]:
        """Name as written in a path, and place; by key."""
        if self.any_key is not None:
            yield "{*}", self.any_key
        for key, place in sorted(self.items()):
            yield _step(key), place

    def _folded(self) -> _Place:
        if self.any_key is None:
            self.any_key = _Place()
            for place in self.values():
                self.any_key.merge(place)
            self.clear()
        return self.any_key


def _keys_of(limit: int, places: dict[str, _Place], any_key: _Place | None) -> _Keys:
    keys = _Keys(limit)
    keys.update(places)
    keys.any_key = any_key
    return keys


def _count_keys(value: Mapping[str, Any], keys: _Keys, depth: int) -> None:
    """Count the values of an object; `depth` is that of their places. An inventory spends its time in this loop."""
    for key, each in value.items():
        place = keys[key]
        kind = type(each)
        place.types[kind] += 1
        if (kind is dict or kind is list) and each:
            _count_below(each, place, depth)


def _count_below(value: Any, place: _Place, depth: int) -> None:
    """Count what a filled list or object holds; `depth` is that of its own place."""
    if depth == MAX_DEPTH:
        return
    if type(value) is dict:
        if place.keys is None:
            place.keys = _Keys(MAX_KEYS)
        _count_keys(value, place.keys, depth + 1)
        return
    if place.items is None:
        place.items = _Place()
    items = place.items
    types = items.types
    for each in value:
        kind = type(each)
        types[kind] += 1
        if (kind is dict or kind is list) and each:
            _count_below(each, items, depth + 1)


def _paths_below(place: _Place, path: str, depth: int) -> Iterator[tuple[str, Mapping[type, int]]]:
    """Every path below a place and the types there; `…` ends the path of what was not looked into."""
    if depth == MAX_DEPTH:
        unseen: dict[type, int] = {kind: count for kind, count in place.types.items() if kind in (dict, list)}
        if unseen:
            yield f"{path}…", unseen
        return
    below = [(f"{path}[]", place.items)] if place.items is not None else []
    below += [(f"{path}.{name}", child) for name, child in place.keys.places()] if place.keys is not None else []
    for name, child in below:
        yield name, child.types
        yield from _paths_below(child, name, depth + 1)


def _plain(types: Mapping[type, int]) -> dict[str, Any]:
    named = {_TYPE_NAMES.get(kind, kind.__name__): count for kind, count in types.items()}
    return {"present": sum(types.values()), "types": dict(sorted(named.items()))}


def _step(key: str) -> str:
    """A key as it stands in a path: quoted where it holds what has a meaning there."""
    if len(key) > _LONG_KEY:
        key = f"{key[:_LONG_KEY]}… sha1 {hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()[:12]}"
    return key if _plain_key.fullmatch(key) else json.dumps(key, ensure_ascii=False)
