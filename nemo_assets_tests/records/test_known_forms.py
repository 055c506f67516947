"""The way of lines whose form is known gives what the plain way gives, whatever the lines are."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.records import known_forms
from nemo_assets.records.census import Census
from nemo_assets.records.known_forms import KnownForms
from nemo_assets.records.row_groups import RowGroup, Rows
from nemo_assets.records.rows import Row, SourceFileRef
from nemo_assets.stages.normalized import BLOCK_BYTES, Piece, outcomes_of
from nemo_assets.stages.units import Extent
from nemo_assets_tests.building import (
    CATALOG,
    CHAT_IF,
    CONTENT_ID,
    MATH,
    MCQ,
    REVISION,
    assistant,
    chat,
    data_file,
    math_v2,
    science,
    tool,
    tool_call,
    user,
)

Made = tuple[pa.Table, list[Any], bytes, int]


def made_of(content: bytes, split_key: str, block_bytes: int = BLOCK_BYTES, is_plain: bool = False) -> Made:
    """The rows of a file of lines, its rejections, its census, and how many rows went the way of known forms."""
    split = CATALOG.split(split_key)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "lines.jsonl"
        path.write_bytes(content)
        if is_plain:
            patch.setattr(known_forms, "looks_at", lambda _: None)
        file = SourceFileRef(split, data_file(split), CONTENT_ID, REVISION)
        piece = Piece(0, Extent(0, 0, len(content), 0, 0), file, path, None, frozenset())  # type: ignore[arg-type]
        census, group, rejected, taken = Census(), RowGroup(file), [], 0
        for outcome in outcomes_of(piece, census, KnownForms(file, block_bytes)):
            if isinstance(outcome, Rows):
                taken += group.take(outcome)
            elif isinstance(outcome, Row):
                group.add(outcome)
            else:
                rejected.append(outcome)
        return pa.table(group.drain().to_pydict()), rejected, census.dump(), taken


def assert_both_ways_agree(content: bytes, split_key: str, block_bytes: int = BLOCK_BYTES) -> int:
    """How many rows went the way of known forms."""
    table, rejected, census, taken = made_of(content, split_key, block_bytes)
    expected, plainly_rejected, plain_census, none = made_of(content, split_key, is_plain=True)
    assert not none
    assert rejected == plainly_rejected
    assert table.equals(expected), first_difference(table, expected)
    assert json.loads(census) == json.loads(plain_census)
    assert census == plain_census
    return taken


def first_difference(left: pa.Table, right: pa.Table) -> object:
    for one, other in zip(left.to_pylist(), right.to_pylist(), strict=False):
        for name in one:
            if one[name] != other[name]:
                return name, one[name], other[name]
    return left.num_rows, right.num_rows


CODE = tool("stateful_python_code_exec", {"type": "object", "properties": {"code": {"type": "string"}}})
# Pieces of text that the way of known forms understands, and others.
CALM = (
    "x", "é", "因此我们得到", "𝔸 𝕏", "\u2028", "<", "a < b", "|>", '"quoted"', "back\\slash", "\\u0041",
    "line\nend", "\r\n", "\b\f", "/", '{"code": 1}', "\ufeff", "\ue0001", "12345678901234567890", "a" * 57, "b" * 64,
    "…" * 33,
)  # fmt: skip
ODD = ("", " ", "\n\t ", "\u00a0\u2003", "é" * 31, "a\0b", "\x7f", "\ud800", "<|", "<|end|>", "<|endx|>", "<<|>")
NUMBERS = (
    0,
    1,
    -1,
    7,
    1.0,
    0.1,
    0.8333333333333334,
    1e300,
    1e-7,
    2**53,
    2**63,
    2**64,
    -(2**63),
    10**30,
    True,
    None,
    "1",
)


A_NUMBER = "\uf8ff"  # which `line_of` spells in one of many ways
# Spellings of numbers in fields that nobody computes with, and in evaluations.
SPELLED = (
    "0", "-0", "7", "-12", "00", "01", "123456789012345678", "1234567890123456789", "0.5", "0.50", ".5", "1.", "0.0",
    "-0.0", "0.1", "0.0625", "0.00390625", "0.0001", "0.00001", "1e2", "1E-3", "1.5e300", "1e999", "0.8333333333333334",
    "0.1234567890123456789", "123456789012345.0", "1234567890123456.0", "99999999999999.5", "100.0", "1-2", "--1", "+1",
    "NaN", "true", "null", "-", "0x1", "20000000", "1e-7", "4.35", "0.30000000000000004", "0.3",
)  # fmt: skip


def text_of(draw: random.Random) -> str:
    """Pieces of text at every distance from each other, in one of a few texts odd ones."""
    kinds = CALM if draw.random() < 0.95 else ODD
    pieces = [draw.choice(kinds) + "w" * draw.randrange(9) for _ in range(draw.randrange(1, 9))]
    return "".join(pieces) if kinds is CALM else "".join(pieces[:2])


def conversation(draw: random.Random, shape: random.Random) -> dict[str, Any]:
    """The fields of a conversation of this shape, in which the tool is used a few times."""
    messages: list[Any] = [user(text_of(draw))]
    name, rounds = "stateful_python_code_exec", shape.choice((0, 0, 1, 2))
    for number in range(rounds):
        code = {"code": text_of(draw)}
        arguments: Any = json.dumps(code, ensure_ascii=draw.random() < 0.3)
        if shape.random() < 0.1:
            arguments = draw.choice((code, "{", '{"code":"x"}', '{"code": "x"} ', '{"code": "x", "y": 1}', "", None))
        messages += [
            assistant("", text_of(draw), tool_calls=[tool_call(name, arguments, f"call_{number}")]),
            {"role": "tool", "name": name, "tool_call_id": f"call_{number}", "content": text_of(draw)},
        ]
        if shape.random() < 0.1:
            del messages[-1][shape.choice(("name", "tool_call_id", "content"))]
    final = text_of(draw) if draw.random() < 0.5 else f"The answer is what follows from that. {text_of(draw)}"
    messages.append(assistant(final, text_of(draw) if shape.random() < 0.8 else ""))
    return {"messages": messages, "tools": [CODE] if rounds or shape.random() < 0.1 else []}


def record_of(draw: random.Random, shape: random.Random, split_key: str) -> Any:
    fields = conversation(draw, shape)
    if split_key != MATH:
        make = science if split_key == MCQ else chat
        reasoning, target = draw.choice(("on", "off")), shape.choice(("chat", "", None, 3, ["a"]))
        return make(**fields, **others_of(draw, shape), reasoning=reasoning, capability_target=target)
    metadata: Any = {
        f"reason_{effort}_{tool_use}": shape.choice((None, result_of(draw, shape), result_of(draw, shape)))
        for effort in shape.sample(("low", "medium", "high"), 3) for tool_use in ("with_tool", "no_tool")
    }  # fmt: skip
    if shape.random() < 0.2:
        metadata |= {"another_b": result_of(draw, shape), "another_a": result_of(draw, shape), "odd": [1, "x"]}
    return math_v2(
        **fields,
        **others_of(draw, shape),
        problem=text_of(draw),
        expected_answer=shape.choice(("1", None, 4, 0.5)),
        metadata=shape.choice((metadata, metadata, json.dumps(metadata), {}, None)),
        uuid=text_of(draw) if shape.random() < 0.9 else None,
    )


def others_of(draw: random.Random, shape: random.Random) -> dict[str, Any]:
    """Fields beside the messages, some of which only some records have."""
    usual: dict[str, Any] = {
        "license": "cc-by-4.0",
        "used_in": ["a", "b"],
        "data_source": text_of(draw),
        "changed_answer_to_majority": True,
        "url": {"nested": [text_of(draw), {"deeper": text_of(draw), "n": draw.randrange(16) / 16}]},
    }
    unusual = {
        "license": ("", None, 7),
        "used_in": ([], "a", "", None, [1, None], {"a": 1}),
        "data_source": (None, "", 1.5),
        "changed_answer_to_majority": (None, "yes", 1),
        "url": (None, "", A_NUMBER),
        "a\ue0003\ue002": (text_of(draw),),
        'a"b': ([text_of(draw), draw.randrange(99), A_NUMBER],),
    }
    others = {**usual, "é": [text_of(draw), draw.randrange(99), 0.5]}
    for name in shape.sample(sorted(unusual), shape.choice((0, 0, 1, 2))):
        others[name] = shape.choice(unusual[name])
    if shape.random() < 0.3:
        others["source"] = others.pop("data_source")
    return others


def result_of(draw: random.Random, shape: random.Random) -> Any:
    if shape.random() < 0.3:
        return {"count": draw.choice(NUMBERS), "pass": draw.choice(NUMBERS), "accuracy": draw.choice(NUMBERS)}
    count = shape.choice((8, 8, 7, 0))
    passed = draw.randrange(count + 2)
    return {"count": count, "pass": passed, "accuracy": shape.choice((passed / 8, passed / 7, A_NUMBER))}


def line_of(draw: random.Random, record: Any) -> bytes:
    separators = draw.choice(((", ", ": "), (", ", ": "), (",", ":"), (" ,\t", " : ")))
    text = json.dumps(record, ensure_ascii=draw.random() < 0.4, separators=separators)
    odd = draw.random() < 0.15
    for place in (f'"{A_NUMBER}"', json.dumps(A_NUMBER)):
        while place in text:
            text = text.replace(place, draw.choice(SPELLED) if odd else str(draw.randrange(16) / 16), 1)
    return text.encode("utf-8", "surrogatepass")


def spoilt(draw: random.Random, line: bytes) -> bytes:
    """The line with a few bytes changed, taken out or put in, at places where something begins or ends if may be."""
    spoils = [
        b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b"<|", b"0", b"1 ", b" ", b"null", b"\xc3", b"\xff", b"\x00",
        b"-", b".", b"e", b"\\u", b"\\ud83d", b'"role"', b'"messages":', b"\xef\xbb\xbf", b"nul l", b"tru", b"NaN",
    ]  # fmt: skip
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        edges = [place for place, byte in enumerate(line) if byte in b'"\\,:{}[]']
        place = (
            draw.choice(edges) + draw.randrange(2) if draw.random() < 0.8 and edges else draw.randrange(len(line) + 1)
        )
        spoil = draw.choice(spoils) if draw.random() < 0.7 else b""
        line = line[:place] + spoil + line[place + draw.randrange(3) :]
    return line.replace(b"\n", b"")


def lines_of(draw: random.Random, split_key: str, count: int, spoilt_share: float) -> list[bytes]:
    """Lines of a few shapes, some of which are broken."""
    shapes = [draw.random() for _ in range(draw.randrange(1, 4))]
    lines = [line_of(draw, record_of(draw, random.Random(draw.choice(shapes)), split_key)) for _ in range(count)]
    return [spoilt(draw, line) if draw.random() < spoilt_share else line for line in lines]


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 1 << 40),
    split_key=st.sampled_from([MATH, MCQ, CHAT_IF]),
    count=st.sampled_from([1, 10, 60]),
    spoilt_share=st.sampled_from([0.0, 0.3]),
    block_bytes=st.sampled_from([BLOCK_BYTES, 4_000, 700]),
    end=st.sampled_from([b"\n", b""]),
)
def test_both_ways_agree_about_lines_of_all_kinds(
    seed: int, split_key: str, count: int, spoilt_share: float, block_bytes: int, end: bytes
) -> None:
    lines = lines_of(random.Random(seed), split_key, count, spoilt_share)
    assert_both_ways_agree(b"\n".join(lines) + end, split_key, block_bytes)


def test_lines_of_one_shape_go_the_way_of_known_forms_but_for_the_first() -> None:
    draw = random.Random(1)
    for split_key, shape in ((MATH, 5), (MCQ, 1)):
        fields = [conversation(draw, random.Random(shape)) for _ in range(20)]
        make = math_v2 if split_key == MATH else science
        lines = [json.dumps(make(**each), ensure_ascii=False).encode("utf-8", "replace") for each in fields]
        assert assert_both_ways_agree(b"\n".join(lines), split_key) > 10
