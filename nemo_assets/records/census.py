"""Which keys, types, nulls and first values the records of a source have, path by path.

Belongs here: counting one JSON object after another, merging counts, their plain form. Does not: reading files, parsing
lines, what a report shows.

A path is written `messages[].tool_calls[].function.name`: objects by key, lists by `[]`. Counts stay small whatever the
data are: objects with more than MAX_KEYS distinct keys at their path are maps (from tool parameters to types, say), and
all their values are counted together under `{*}`; what lies deeper than MAX_DEPTH is not looked into. Both rules depend
on the set of records alone, so neither their order nor their division among workers shows in the result; the example of
a path and type is the first value in file order, where `merge` is called in file order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

MAX_KEYS = 64  # distinct keys at one path: schemas have fewer, maps from names to values have more
MAX_COLUMNS = 1_000  # distinct keys of the records themselves
MAX_DEPTH = 12  # steps of a path, the column being the first; JSON schemas of tools reach about 10
EXAMPLE_CHARACTERS = 80

_LONG_KEY = 100  # characters; a longer key is known by its beginning and its digest
_LONG_INTEGER = 1 << 256  # writing out much longer ones takes quadratic time


class _Names(dict[type, str]):
    """What a type is called in the report."""

    def __missing__(self, kind: type) -> str:
        return kind.__name__


_NAMES = _Names({
    str: "string", int: "integer", float: "float", bool: "boolean", type(None): "null", list: "list", dict: "object",
    bytes: "binary",
})  # fmt: skip
_plain_key = re.compile(r"[\w$@/:-]+")


class Census:
    """Counts over the objects given to `add`; `merge` adds the counts of the objects that follow them."""

    def __init__(self) -> None:
        self.objects = 0
        self._columns = _Keys(MAX_COLUMNS, 1, _Clock())

    def add(self, record: dict[str, Any]) -> None:
        """Count one record."""
        self.objects += 1
        self._columns.count(record)

    def repeat(self, fields: dict[str, Any], times: int, *, objects: int | None = None) -> None:
        """Count `times` more the fields of `objects` records, or as many, whose keys and types were counted before."""
        other = Census()
        other.add(fields)
        other._columns.multiply(times)
        self.objects += times if objects is None else objects
        self._columns.merge(other._columns, 0)

    def merge(self, other: Census) -> None:
        """Count everything `other` counted, which stands behind it in file order and stays as it is."""
        self.objects += other.objects
        clock = self._columns.clock
        self._columns.merge(other._columns, clock.time)
        clock.time += other._columns.clock.time

    def dump(self) -> bytes:
        """All counts as JSON, the same bytes whenever the same records were added in the same order."""
        plain = {"objects": self.objects, "time": self._columns.clock.time, "columns": self._columns.dumped()}
        return msgspec.json.encode(plain, order="sorted")

    def columns(self) -> dict[str, Any]:
        """What was counted, by column, in JSON types.

        present: records with the key; null: those where its value is null; null_rate: share of the records where it is
        null or absent (None for `{*}`, which is no one column); types: values by type, adding up to present; examples:
        the first value of each type, as JSON, cut at EXAMPLE_CHARACTERS; paths: present, types, null_rate and examples
        of everything inside the values, the rate of a key being over the objects that stood at the path above, that of
        list elements over the elements.
        """
        return {name: self._column(name, place) for name, place in self._columns.places()}

    def _column(self, name: str, place: _Place) -> dict[str, Any]:
        paths = dict(sorted(_paths_below(place, name, 1)))
        return {"null": place.types.get("null", 0), "paths": paths, **_plain(place, _rate(name, place, self.objects))}


def load_census(data: bytes) -> Census:
    """The census that was dumped. Raises ValueError if `data` are no such thing."""
    try:
        plain = msgspec.json.decode(data)
        census = Census()
        census.objects = plain["objects"]
        census._columns.clock.time = plain["time"]
        census._columns.load(plain["columns"])
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no census: {error}") from None
    return census


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


class _Clock:
    """Numbers examples in the order they were taken, so that after a merge it is known which came first."""

    __slots__ = ("time",)

    def __init__(self) -> None:
        self.time = 0


class _Place:
    """What stood at one path: values by type, the first of each, the places below them.

    Nearly all scalars at a path are of one type. `usual`, the first that came, is counted in a plain number, as objects
    and lists are.
    """

    __slots__ = ("clock", "depth", "examples", "items", "keys", "lists", "objects", "others", "usual", "usual_count")

    def __init__(self, depth: int, clock: _Clock) -> None:
        self.depth, self.clock = depth, clock
        self.usual: type | None = None
        self.usual_count = self.objects = self.lists = 0
        self.others: dict[str, int] = {}
        self.examples: dict[str, tuple[int, str]] = {}
        self.keys: _Keys | None = None
        self.items: _Place | None = None

    @property
    def types(self) -> dict[str, int]:
        """Values by the name of their type."""
        types = {name: count for name, count in self.others.items() if count}
        usual = _NAMES[self.usual] if self.usual is not None else "null"
        for name, count in (("object", self.objects), ("list", self.lists), (usual, self.usual_count)):
            if count:
                types[name] = types.get(name, 0) + count
        return types

    def count(self, value: Any) -> None:
        """Count a value; the loops below and in _Keys spare most values this call."""
        kind = type(value)
        if kind is dict:
            self.objects += 1
            if value and self.depth < MAX_DEPTH:
                if self.keys is None:
                    self.keys = _Keys(MAX_KEYS, self.depth + 1, self.clock)
                self.keys.count(value)
        elif kind is list:
            self.lists += 1
            if value and self.depth < MAX_DEPTH:
                if self.items is None:
                    self.items = _Place(self.depth + 1, self.clock)
                self.items.count_each(value)
        elif self.usual is None:
            self.usual, self.usual_count = kind, 1
            self._note(kind, value)
        else:
            name = _NAMES[kind]
            if name not in self.others:
                self.others[name] = 0
                self._note(kind, value)
            self.others[name] += 1

    def count_each(self, values: Iterable[Any]) -> None:
        """Count the elements of a list, or the values of a map."""
        for value in values:
            kind = type(value)
            if kind is self.usual:
                self.usual_count += 1
            elif kind is dict and self.keys is not None:
                self.objects += 1
                self.keys.count(value)
            else:
                self.count(value)

    def _note(self, kind: type, value: Any) -> None:
        """Keep the value as the example of its type if it is the first."""
        name = _NAMES[kind]
        if value is not None and name not in self.examples:
            self.examples[name] = self.clock.time, _example(value)
            self.clock.time += 1

    def merge(self, other: _Place, later: int) -> None:
        """Add the counts of another place; its examples were taken `later` than their own time says."""
        for name, count in other.types.items():
            self.others[name] = self.others.get(name, 0) + count
        for name, (time, text) in other.examples.items():
            theirs = time + later, text
            self.examples[name] = min(self.examples.get(name, theirs), theirs)
        if other.items is not None:
            self.items = self.items or _Place(self.depth + 1, self.clock)
            self.items.merge(other.items, later)
        if other.keys is not None:
            self.keys = self.keys or _Keys(MAX_KEYS, self.depth + 1, self.clock)
            self.keys.merge(other.keys, later)

    def multiply(self, times: int) -> None:
        """As many times the counts, and no examples."""
        self.others = {name: count * times for name, count in self.types.items()}
        self.usual, self.usual_count, self.objects, self.lists = None, 0, 0, 0
        self.examples.clear()
        for below in (self.keys, self.items):
            if below is not None:
                below.multiply(times)

    def dumped(self) -> dict[str, Any]:
        below = {"keys": self.keys, "items": self.items}
        counts = {"types": self.types, "examples": self.examples}
        return counts | {name: each.dumped() for name, each in below.items() if each is not None}

    def load(self, plain: Mapping[str, Any]) -> None:
        self.others = plain["types"]
        self.examples = {name: (time, text) for name, (time, text) in plain["examples"].items()}
        if "keys" in plain:
            self.keys = _Keys(MAX_KEYS, self.depth + 1, self.clock)
            self.keys.load(plain["keys"])
        if "items" in plain:
            self.items = _Place(self.depth + 1, self.clock)
            self.items.load(plain["items"])


class _Keys:
    """Places by key. When one key too many comes, all become one place for any key, and stay so."""

    __slots__ = ("any_key", "by_key", "clock", "depth", "limit")

    def __init__(self, limit: int, depth: int, clock: _Clock) -> None:
        self.limit, self.depth, self.clock = limit, depth, clock
        self.by_key: dict[str, _Place] = {}
        self.any_key: _Place | None = None

    def count(self, value: dict[str, Any]) -> None:
        """Count the values of an object. A census spends its time in this loop."""
        if self.any_key is not None:
            self.any_key.count_each(value.values())
            return
        places = self.by_key
        for key, each in value.items():
            try:
                place = places[key]
            except KeyError:
                place = self.place(key)
            kind = type(each)
            if kind is place.usual:
                place.usual_count += 1
            elif kind is dict and place.keys is not None:
                place.objects += 1
                place.keys.count(each)
            else:
                place.count(each)

    def place(self, key: str) -> _Place:
        """The place of a key, new if need be."""
        if self.any_key is not None:
            return self.any_key
        name = _known_as(key)
        if name not in self.by_key:
            if len(self.by_key) >= self.limit:
                return self.folded()
            self.by_key[name] = _Place(self.depth, self.clock)
        return self.by_key[name]

    def folded(self) -> _Place:
        """The one place for any key."""
        if self.any_key is None:
            self.any_key = _Place(self.depth, self.clock)
            for place in self.by_key.values():
                self.any_key.merge(place, 0)
            self.by_key.clear()
        return self.any_key

    def multiply(self, times: int) -> None:
        for _, place in self.places():
            place.multiply(times)

    def merge(self, other: _Keys, later: int) -> None:
        if other.any_key is not None:
            self.folded().merge(other.any_key, later)
        for key, place in other.by_key.items():
            self.place(key).merge(place, later)

    def places(self) -> Iterator[tuple[str, _Place]]:
        """Name as written in a path, and place; by key."""
        if self.any_key is not None:
            yield "{*}", self.any_key
        for key, place in sorted(self.by_key.items()):
            yield _step(key), place

    def dumped(self) -> dict[str, Any]:
        if self.any_key is not None:
            return {"any": self.any_key.dumped()}
        return {"each": {key: place.dumped() for key, place in self.by_key.items()}}

    def load(self, plain: Mapping[str, Any]) -> None:
        if "any" in plain:
            self.folded().load(plain["any"])
        for key, place in plain.get("each", {}).items():
            self.place(key).load(place)


def _paths_below(place: _Place, path: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every path below a place and what stood there; `…` ends the path of what was not looked into."""
    if depth == MAX_DEPTH:
        unseen = {name: count for name, count in sorted(place.types.items()) if name in ("list", "object")}
        if unseen:
            yield f"{path}…", {"present": sum(unseen.values()), "types": unseen}
        return
    if place.items is not None:
        yield f"{path}[]", _plain(place.items, _rate("[]", place.items, 0))
        yield from _paths_below(place.items, f"{path}[]", depth + 1)
    for name, child in place.keys.places() if place.keys is not None else ():
        yield f"{path}.{name}", _plain(child, _rate(name, child, place.types["object"]))
        yield from _paths_below(child, f"{path}.{name}", depth + 1)


def _plain(place: _Place, null_rate: float | None) -> dict[str, Any]:
    examples = {name: text for name, (_, text) in sorted(place.examples.items())}
    types = dict(sorted(place.types.items()))
    return {"present": sum(types.values()), "null_rate": null_rate, "types": types, "examples": examples}


def _rate(name: str, place: _Place, holders: int) -> float | None:
    """Share of the objects, `holders`, in which a key is null or absent; of list elements, share that is null."""
    present, null = sum(place.types.values()), place.types.get("null", 0)
    if name == "{*}":
        return None
    whole = present if name == "[]" else holders
    return round((whole - present + null) / whole, 6)


def _example(value: Any) -> str:
    """A scalar as JSON, cut at EXAMPLE_CHARACTERS; what JSON has no form for as plain text."""
    if isinstance(value, str):
        return json.dumps(value[:EXAMPLE_CHARACTERS], ensure_ascii=False) + "…" * (len(value) > EXAMPLE_CHARACTERS)
    if isinstance(value, bytes):
        return value[: EXAMPLE_CHARACTERS // 2].hex() + "…" * (len(value) > EXAMPLE_CHARACTERS // 2)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= _LONG_INTEGER:
        return f"{'-' * (value < 0)}2^{value.bit_length() - 1}…"
    return str(value)[:EXAMPLE_CHARACTERS]


def _known_as(key: str) -> str:
    """A key, or the beginning and digest of one that is too long to be kept."""
    if len(key) <= _LONG_KEY:
        return key
    return f"{key[: _LONG_KEY - 20]}… sha1 {hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()[:12]}"


def _step(key: str) -> str:
    """A key as it stands in a path: quoted where it holds what has a meaning there."""
    return key if _plain_key.fullmatch(key) else json.dumps(key, ensure_ascii=False)
