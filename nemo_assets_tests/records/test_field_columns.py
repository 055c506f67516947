"""Columns of many rows in one pass say what the functions for one row say, to the last bit."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nemo_assets.records.draft import Draft
from nemo_assets.records.evaluation import CONDITIONS, NO_EVALUATION, Evaluation, Results, evaluation_of
from nemo_assets.records.known_fields import KnownFields
from nemo_assets.records.line_scan import NUMBER, SLACK, STRING, UNSURE, Scanned, looked_at, room_for, scan_lines
from nemo_assets.records.line_texts import Literals
from nemo_assets.records.sorted_json import sorted_json


def scanned_lines(lines: list[bytes]) -> Scanned:
    """What one pass makes of these lines."""
    content = np.frombuffer(b"\n".join(lines) + b"\n" * (1 + SLACK), np.uint8)
    ends = np.cumsum([len(line) + 1 for line in lines]) - 1
    starts = np.append(0, ends[:-1] + 1)
    scanned = room_for(len(content))
    scan_lines(content, starts, ends, *looked_at(("looked",)), *scanned)
    return scanned


def fields_of(line: bytes) -> list[tuple[bytes, int, float]]:
    """Text, sort and value of each field of a line; none of a line that was left alone."""
    scanned = scanned_lines([line])
    fields = scanned.fields[: scanned.ends[0, 3]].tolist()
    return [
        (scanned.strings[begin:end].tobytes(), sort, float(scanned.numbers[place]))
        for place, (begin, end, sort) in enumerate(fields)
    ]


fractions = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.from_regex(
    r"-?[0-9]{1,9}\.[0-9]{1,9}", fullmatch=True
)


@settings(deadline=None, max_examples=2_000)
@given(fractions)
@example("0.0")
@example("-0.0")
@example("0.001")
@example("0.0001")
@example("123456789012345.0")
@example("99999999999999.9")
def test_a_fraction_that_is_taken_for_a_number_is_written_as_here_and_has_its_value(text: str) -> None:
    found = fields_of(b'{"a":%b}' % text.encode())
    if "." not in text or text.lstrip("-").startswith("00"):
        return
    [(copied, sort, value)] = found
    assert copied == text.encode()
    if sort == NUMBER:
        assert sorted_json(float(text)) == text.encode()
        assert (value, math.copysign(1, value)) == (float(text), math.copysign(1, float(text)))


@settings(deadline=None, max_examples=500)
@given(st.integers(-(10**20), 10**20).map(str) | st.from_regex(r"-?[0-9]{1,3}", fullmatch=True))
def test_a_whole_number_is_one_as_json_has_it_and_fits(text: str) -> None:
    found = fields_of(b'{"a":%b}' % text.encode())
    is_one = text == str(int(text)) and len(text) <= 18
    assert [(sort, value) for _, sort, value in found] == ([(NUMBER, float(int(text)))] if is_one else [])


def test_usual_fractions_are_numbers_at_once() -> None:
    for text in ("0.5", "1.0", "0.0", "0.875", "-2.5", "0.125", "0.0625", "12.75", "0.333"):
        assert fields_of(b'{"a": %b}' % text.encode())[0][1] == NUMBER, text
    for text in ("1e5", "0.50", "0.8333333333333334", "0.00005", "1.", "0.", "5e-324"):
        assert fields_of(b'{"a": %b}' % text.encode())[0][1] == UNSURE, text


def test_strings_of_fields_that_are_looked_at_belong_to_the_form() -> None:
    lines = [b'{"a":"x","looked":{"b":"y","n":1}}', b'{"a":"z","looked":{"b":"y","n":2}}', b'{"a":"z","looked":"y"}']
    scanned = scanned_lines(lines)
    kinds = [
        scanned.kinds[begin:end].tobytes()
        for begin, end in zip([0, *scanned.ends[:2, 2]], scanned.ends[:3, 2], strict=True)
    ]
    assert kinds[0] == kinds[1] == b'{"a":"s","looked":{"b":"y","n":1}}'
    assert kinds[2] == b'{"a":"s","looked":"y"}'


def adapt(record: Any, _: object) -> Draft:
    """The evaluation in a record's metadata, and its problem."""
    block = record["metadata"]
    return Draft(results=Results(block, CONDITIONS[3]) if block else None, problem_id=record["problem"])


results = st.fixed_dictionaries(
    {
        "count": st.integers(0, 12) | st.none() | st.integers(-5, 10**9),
        "pass": st.integers(0, 12) | st.none(),
        "accuracy": st.sampled_from([0.0, 0.5, 0.875, 1.0, 1, 0, 1 / 3, 0.00390625]) | st.none() | st.booleans(),
    }
)
blocks = st.dictionaries(st.sampled_from([*CONDITIONS, "another"]), results | st.none(), max_size=7)
texts = st.text(st.characters(codec="utf-8", exclude_characters="<\x7f"), max_size=40).filter(
    lambda text: not any(ord(c) < 32 and c not in "\b\f\n\r\t" for c in text)
)


@settings(deadline=None, max_examples=600)
@given(st.lists(st.tuples(blocks, texts), min_size=1, max_size=4), st.booleans())
def test_evaluations_and_json_of_rows_are_those_of_each_row(rows: list[tuple[Any, str]], is_ascii: bool) -> None:
    records = [{"problem": problem, "metadata": block} for block, problem in rows]
    scanned = scanned_lines([json.dumps(record, ensure_ascii=is_ascii).encode() for record in records])
    ends = scanned.ends[: len(rows), 3]
    fields = KnownFields(Literals(), ("metadata",))
    plans = [fields.plan(record, {}, adapt, None) for record in records]
    chosen = [place for place, plan in enumerate(plans) if plan is not None]
    assert chosen == list(range(len(rows)))
    assert not len(fields.settle(scanned, int(ends[-1])))
    first_fields = np.append(0, ends[:-1])
    columns, odd = fields.columns([plan for plan in plans if plan], first_fields, scanned)
    for place, (block, problem) in enumerate(rows):
        if odd[place]:
            assert sum(abs(result["count"] or 0) for result in block.values() if result) > 10_000_000
            continue
        expected = evaluation_of(block, CONDITIONS[3]) if block else NO_EVALUATION
        found = Evaluation(*(columns[name][place].as_py() for name in Evaluation._fields))
        made = found._replace(meta_eval_json=found.meta_eval_json and found.meta_eval_json.encode())  # type: ignore[attr-defined]
        assert made == expected
        assert columns["meta_problem_id"][place].as_py() == problem
        assert columns["source_meta_json"][place].as_py() == sorted_json(records[place]).decode()
        assert msgspec.json.decode(columns["source_meta_json"][place].as_py()) == records[place]


def test_the_sorts_of_fields_are_told_apart() -> None:
    assert [sort for _, sort, _ in fields_of(b'{"a":"1","b":[1,1.50],"c":null,"d":true}')] == [STRING, NUMBER, UNSURE]
