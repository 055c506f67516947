"""Every odd line gets what it deserves, and nothing else changes on the way in."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.errors import Rejected
from nemo_assets.harmony import canonical_json
from nemo_assets.records.parsing import MAX_DIGITS, deep_recursion, nesting_depth, parse_json_text, parse_record
from nemo_assets_tests.building import MCQ, normalize_one, science

BOM = b"\xef\xbb\xbf"

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
JSON_OBJECTS = st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5)


def refusal(line: bytes) -> tuple[str, dict[str, Any]]:
    with deep_recursion(), pytest.raises(Rejected) as refused:
        parse_record(line)
    return refused.value.code, refused.value.evidence


@pytest.mark.parametrize(
    ("line", "evidence"),
    [
        (b"", {"reason": "blank_line"}),
        (b" \t\r", {"reason": "blank_line"}),
        (b'{"a": "\xff"}', {"reason": "invalid_utf8", "at_byte": 7, "detail": "invalid start byte"}),
        (b'{"\xff": 1}', {"reason": "invalid_utf8", "at_byte": 2, "detail": "invalid start byte"}),
        # A surrogate in CESU-8 is no UTF-8 either.
        (b'{"a": "\xed\xa0\x80"}', {"reason": "invalid_utf8", "at_byte": 7, "detail": "invalid continuation byte"}),
        ('{"a": 1}'.encode("utf-16"), {"reason": "invalid_utf8", "at_byte": 0, "detail": "invalid start byte"}),
        (b'{"a": "\\ud800"}', {"reason": "lone_surrogate", "surrogate": "U+D800"}),
        (b'{"\\udfff": 1}', {"reason": "lone_surrogate", "surrogate": "U+DFFF"}),
        (b'{"a": "\\ude00\\ud83d"}', {"reason": "lone_surrogate", "surrogate": "U+DE00"}),
    ],
)
def test_an_unreadable_line_says_why(line, evidence):
    assert refusal(line) == ("unparseable", evidence)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1',
        b'{"a": "cut',
        b'{"a": 1}}',
        b'{"a": 1}{"b": 2}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": "\x00"}',  # a NUL as it is: JSON allows it only escaped
        b'{"a": "\\x"}',
        b'{"a": tru',
        BOM,
        BOM + BOM + b'{"a": 1}',  # the first is a mark, the second is no JSON
        b'{"a": 9' + b"9" * MAX_DIGITS + b"}",
    ],
)
def test_a_broken_line_is_invalid_json_with_the_parser_s_words(line):
    code, evidence = refusal(line)
    assert (code, evidence["reason"]) == ("unparseable", "invalid_json")
    assert 0 < len(evidence["detail"]) <= 200


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"[1]", "list"),
        (b"null", "NoneType"),
        (b'"x"', "str"),
        (b"12", "int"),
        (b"NaN", "NoneType"),
        (BOM + b"[]", "list"),
    ],
)
def test_json_that_is_no_object_is_named(line, name):
    assert refusal(line) == ("not_an_object", {"type": name})


@pytest.mark.parametrize(
    ("line", "record", "tags"),
    [
        (b'{"a": 1}\r', {"a": 1}, []),
        (BOM + b'{"a": 1}', {"a": 1}, ["json:byte_order_mark"]),
        (b'{"a": NaN, "b": [Infinity, -Infinity]}', {"a": None, "b": [None, None]}, ["json:nonfinite_number"]),
        (b'{"a": 1e400, "b": -1e400, "c": 1e-400}', {"a": None, "b": None, "c": 0.0}, ["json:nonfinite_number"]),
        (b'{"a": 18446744073709551615, "b": -9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}, []),
        (b'{"a": 18446744073709551616}', {"a": 2**64}, ["json:big_integer"]),
        (b'{"a": [{"b": -9223372036854775809}]}', {"a": [{"b": -(2**63) - 1}]}, ["json:big_integer"]),
        (b'{"a": "18446744073709551616", "b": 0.1000000000000000000001}', {"a": str(2**64), "b": 0.1}, []),
        (BOM + b'{"a": [NaN, 18446744073709551616, "\\u0000"]}', {"a": [None, 2**64, "\0"]},
         ["json:byte_order_mark", "json:nonfinite_number", "json:big_integer"]),
        ('{"a": "x\u2028y\u2029z\x85"}'.encode(), {"a": "x\u2028y\u2029z\x85"}, []),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}, []),
        (b'{"a": 1, "a": 2}', {"a": 2}, []),
    ],
)  # fmt: skip
def test_an_odd_line_is_read_and_tagged(line, record, tags):
    assert parse_record(line) == (record, tags)


def test_a_thousand_levels_are_kept_and_one_more_is_not():
    def nested(levels: int) -> bytes:
        return b'{"a": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    with deep_recursion():
        record, _ = parse_record(nested(1000))
        assert len(canonical_json(record)) == len(nested(1000))
    assert refusal(nested(1001)) == ("unparseable", {"reason": "nesting", "depth": 1001, "limit": 1000})


def test_brackets_inside_strings_are_text():
    brackets = '"[' + "[{" * 2000 + '\\" ]'
    assert nesting_depth(json.dumps({"a": [brackets, {}]}).encode()) == 3
    assert parse_record(json.dumps({"a": brackets}).encode())[0] == {"a": brackets}


def test_a_line_cut_inside_a_string_is_not_searched_again_from_every_quote():
    # Half a megabyte of nested JSON text, cut off: its brackets are text too. Quadratic search would take hours.
    line = b'{"a": "' + b'{\\"k\\": [' * 60_000
    assert nesting_depth(line) == 1
    assert refusal(line)[1]["reason"] == "invalid_json"
    assert nesting_depth(line + b"\\") == 1


def test_a_thousand_levels_go_through_to_the_row():
    line = json.dumps(science(extra="DEEP")).encode().replace(b'"DEEP"', b"[" * 999 + b"]" * 999)
    row = normalize_one(line, MCQ)
    assert row["source_meta_json"].count("[") == 999 + 1  # and used_in


def test_integers_of_any_size_stay_exact_in_the_row():
    big = 10**5000 + 1
    with deep_recursion():
        row = normalize_one(json.dumps(science(extra=big)).encode(), MCQ)
        assert json.loads(row["source_meta_json"])["extra"] == big
    assert "json:big_integer" in row["quality_tags"]


@settings(deadline=None)
@given(JSON_OBJECTS)
def test_any_object_is_read_as_it_was_written(record):
    for ensure_ascii in (True, False):
        read, _ = parse_record(json.dumps(record, ensure_ascii=ensure_ascii).encode())
        assert repr(read) == repr(record)  # repr tells 1 from 1.0 and 0.0 from -0.0
    assert json.loads(canonical_json(record)) == record
    assert canonical_json(parse_record(canonical_json(record).encode())[0]) == canonical_json(record)


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    """JSON with a piece cut out, repeated or put in."""
    line = draw(JSON_OBJECTS.map(lambda value: json.dumps(value).encode()))
    start = draw(st.integers(0, len(line)))
    end = draw(st.integers(start, min(start + 3, len(line))))
    piece = draw(
        st.sampled_from([b"", b"0", b"-", b"e9", b".", b"1e999", b"NaN", b'"', b"\\", b"[", b"}", b" ", b"\xff", b"\t"])
    )
    return line[:start] + piece + line[end:]


def outcome(line: bytes) -> tuple[str, ...]:
    try:
        return "read", repr(parse_record(line)[0])
    except Rejected as rejected:
        return rejected.code, str(rejected.evidence.get("reason"))


@settings(deadline=None)
@given(damaged_lines().filter(lambda line: line.strip()))
def test_the_lenient_parser_reads_what_the_strict_one_reads(line):
    # A byte order mark is refused by the strict parser, so that the same line goes through the lenient one.
    assert outcome(BOM + line) == outcome(line)


@settings(deadline=None)
@given(JSON_VALUES)
def test_json_inside_a_string_is_read_as_leniently_as_a_line(value):
    assert repr(parse_json_text(json.dumps(value))) == repr(value)


@pytest.mark.parametrize(("text", "value"), [("NaN", None), ("[1e400]", [None]), ("18446744073709551616", 2**64)])
def test_odd_json_inside_a_string(text, value):
    assert parse_json_text(text) == value


@pytest.mark.parametrize("text", ["", " ", "{", "{'a': 1}", '"\\ud800"', "\ufeff{}", '"\ud800"'])
def test_a_string_that_holds_no_json_raises_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011  (the parsers' own messages differ)
        parse_json_text(text)
