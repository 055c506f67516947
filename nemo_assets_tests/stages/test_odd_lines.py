"""Odd lines of a source file, each to its end in the ledger: in one state, with evidence that names what was odd."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nemo_assets.catalog import Catalog
from nemo_assets.catalog.entries import SplitEntry
from nemo_assets.hub.sources import open_source
from nemo_assets.stages.deduped import dedupe
from nemo_assets.stages.duplicates import find_duplicates
from nemo_assets.stages.ledger import write_ledger
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.signatures import sign
from nemo_assets.stages.units import UNIT_BYTES
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets_tests.building import CHAT_IF, with_source
from nemo_assets_tests.stages.making import rows_of

BOM = b"\xef\xbb\xbf"
SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x1cf"  # line ends to str.splitlines, text in JSON


@dataclass(frozen=True)
class Odd:
    """A line and what becomes of it: a row with these tags (`too_short` aside), or a rejection with this evidence."""

    line: bytes
    tags: tuple[str, ...] = ()
    code: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


def record(name: str, more: str = "", answer: str | None = None) -> bytes:
    """A chat record; `more` is JSON text of further fields, `answer` the inside of a JSON string."""
    said = answer if answer is not None else f"This is {name}."
    messages = f'[{{"role":"user","content":"{name}?"}},{{"role":"assistant","content":"{said}"}}]'
    return f'{{"uuid":"{name}",{more}"messages":{messages}}}'.encode()


def nested(levels: int) -> bytes:
    """A record of so many levels, its object being the first."""
    return record(f"nested {levels}", f'"deep":{"[" * (levels - 1)}{"]" * (levels - 1)},')


def unparseable(line: bytes, reason: str, **evidence: Any) -> Odd:
    return Odd(line, code="unparseable", evidence={"reason": reason, **evidence})


def no_object(line: bytes, kind: str) -> Odd:
    return Odd(line, code="not_an_object", evidence={"type": kind})


ODD = {
    "byte order mark": Odd(BOM + record("byte order mark"), ("json:byte_order_mark",)),
    "plain": Odd(record("plain")),
    "invalid utf-8": unparseable(record("bytes") + b"\xff", "invalid_utf8", at_byte=len(record("bytes"))),
    "utf-8 cut off": unparseable(record("x", answer="é").replace(b"\xa9", b""), "invalid_utf8"),
    "nul as it is": unparseable(record("nul as it is", answer="a\0b"), "invalid_json"),
    "nul escaped": Odd(record("nul escaped", answer="a\\u0000b"), ("nul",)),
    "lone surrogate": unparseable(record("lone", answer="a\\ud800b"), "lone_surrogate", surrogate="U+D800"),
    "lone low surrogate": unparseable(record("low", '"\\udc00":1,'), "lone_surrogate", surrogate="U+DC00"),
    "pair": Odd(record("pair", answer="fine \\ud83d\\ude00")),
    "nan": Odd(record("nan", '"score":NaN,"more":[Infinity,-Infinity,1e999],'), ("json:nonfinite_number",)),
    "big": Odd(record("big", '"big":[18446744073709551616,-170141183460469231731687303715884105729],'),
               ("json:big_integer",)),
    "nested 999": Odd(nested(999)),
    "nested 1000": Odd(nested(1000)),
    "nested 1001": unparseable(nested(1001), "nesting", depth=1001, limit=1000),
    "empty": unparseable(b"", "blank_line"),
    "white space": unparseable(b" \t ", "blank_line"),
    "only a carriage return": unparseable(b"\r", "blank_line"),
    "crlf": Odd(record("crlf") + b"\r"),
    "separators": Odd(record("separators", answer=SEPARATORS.replace("\x0b", "\\u000b").replace("\x1c", "\\u001c"))),
    "twice": Odd(record("first", '"uuid":"twice",')),
    "array": no_object(b"[" + record("array") + b"]", "list"),
    "number": no_object(b"12", "int"),
    "null": no_object(b"null", "NoneType"),
    "string": no_object(b'"text"', "str"),
    "two objects": unparseable(record("one") + record("two"), "invalid_json"),
    "megabyte": Odd(record("megabyte", answer=" ".join(f"word{n}" for n in range(110_000))), ("too_long",)),
    "truncated": unparseable(record("truncated")[:-9], "invalid_json"),  # the last, without a line end
}  # fmt: skip
FILES = {
    "data/blank.jsonl": b"\n\n\n",
    "data/nothing.jsonl": b"",
    "data/odd.jsonl": b"\n".join(odd.line for odd in ODD.values()),
}


@dataclass(frozen=True)
class Made:
    """The source taken to its ledger."""

    store: Store
    normalized: Manifest
    ledger: Manifest

    def table(self, name: str) -> list[dict[str, Any]]:
        manifest = self.ledger if name == "ledger" else self.normalized
        return rows_of(manifest, self.store, "rows" if name == "ledger" else name).to_pylist()

    def of_odd(self, name: str) -> dict[str, dict[str, Any]]:
        """What a table says of each odd line, by the name of the line."""
        found = {row["source_row"]: row for row in self.table(name) if row["source_file"] == "data/odd.jsonl"}
        return {line: found[number] for number, line in enumerate(ODD) if number in found}


@pytest.fixture(scope="module", params=[UNIT_BYTES, 150], ids=["one unit", "many units"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    root: Path = tmp_path_factory.mktemp("odd")
    catalog = with_source(CHAT_IF.partition("/")[0], splits={"chat_if": SplitEntry(files=("data/*.jsonl",))})
    split = catalog.split(CHAT_IF)
    for path, content in FILES.items():
        target = root / "sources" / split.repo / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    store = Store(root / "data")
    fetch_split(split, open_source(split.repo, root / "sources"), store)
    normalized = normalize(split, store, unit_bytes=request.param)
    return Made(store, normalized, ledger_of(catalog, store))


def ledger_of(catalog: Catalog, store: Store) -> Manifest:
    split = catalog.split(CHAT_IF)
    sign(split, catalog, store)
    find_duplicates(split.scope, catalog, store)
    dedupe(split, store)
    return write_ledger(split, store)


def test_every_line_ends_in_the_state_it_deserves_with_evidence_that_names_why(made: Made) -> None:
    entries, rows = made.of_odd("ledger"), made.of_odd("rows")
    assert list(entries) == list(ODD)
    for name, odd in ODD.items():
        entry = entries[name]
        assert (name, entry["state"], entry["code"]) == (name, "rejected" if odd.code else "kept", odd.code)
        if odd.code:
            evidence = json.loads(entry["evidence"])
            assert {key: evidence.get(key) for key in odd.evidence} == odd.evidence, name
            assert name not in rows
        else:
            assert (name, set(rows[name]["quality_tags"]) - {"too_short"}) == (name, set(odd.tags))


def test_what_is_kept_is_kept_exactly(made: Made) -> None:
    rows = made.of_odd("rows")
    meta = {name: json.loads(row["source_meta_json"]) for name, row in rows.items() if "nested" not in name}
    assert meta["big"]["big"] == [1 << 64, -(1 << 127) - 1]
    assert meta["nan"] | {"uuid": None} == {"uuid": None, "score": None, "more": [None, None, None]}
    assert rows["nested 1000"]["source_meta_json"].count("[") == 999
    assert "a\0b" in rows["nul escaped"]["text"]
    assert SEPARATORS in rows["separators"]["text"]
    assert "\U0001f600" in rows["pair"]["text"]
    assert rows["twice"]["source_uuid"] == "twice"  # the last of two values, as every JSON parser has it
    assert rows["crlf"]["text"].replace("crlf", "plain") == rows["plain"]["text"]
    assert rows["byte order mark"]["source_uuid"] == "byte order mark"
    assert len(rows["megabyte"]["text"]) > 1_000_000


def test_the_bytes_of_a_rejected_line_are_kept_and_every_entry_says_where_its_line_is(made: Made) -> None:
    rejected, content = made.of_odd("rejected"), FILES["data/odd.jsonl"]
    assert {name: row["raw"] for name, row in rejected.items()} == {n: odd.line for n, odd in ODD.items() if odd.code}
    for name, entry in made.of_odd("ledger").items():
        assert content[entry["source_offset"] :].startswith(ODD[name].line)
        assert content[: entry["source_offset"]].count(b"\n") == entry["source_row"]
    assert [row["raw"] for row in made.table("rejected") if row["source_file"] == "data/blank.jsonl"] == [b"", b"", b""]


def test_the_records_of_every_file_are_conserved(made: Made) -> None:
    kept = sum(odd.code is None for odd in ODD.values())
    assert made.normalized.counters["files"] == {
        "data/blank.jsonl": {"records": 3, "rows": 0, "rejected": 3},
        "data/nothing.jsonl": {"records": 0, "rows": 0, "rejected": 0},
        "data/odd.jsonl": {"records": len(ODD), "rows": kept, "rejected": len(ODD) - kept},
    }
    counters = made.ledger.counters
    assert (counters["records"], counters["kept"]) == (len(ODD) + 3, kept)
    assert (counters["rejected"], counters["removed"]) == ({"not_an_object": 4, "unparseable": 14}, {})


def test_every_record_has_a_name_of_its_own(made: Made) -> None:
    uids = [entry["record_uid"] for entry in made.table("ledger")]
    assert len(set(uids)) == len(uids) == len(ODD) + 3
    assert made.store.current(Stage.LEDGER, CHAT_IF) == made.ledger
