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
            patch.setattr(known_forms, "reads_bodies", lambda _: True)
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
ODD_TEXTS = (
    "", " ", "\n\t ", "\u00a0\u2003", "x", "é", "因此我们得到", "𝔸 𝕏", "\u2028", "\x7f", "a\0b", "\ud800", "<", "a < b", "<|", "<|end|>",
    "<|endx|>", "<<|>", "|>", '"quoted"', "back\\slash", "\\u0041", "line\nend", "\r\n", "\b\f", "/", "{\"code\": 1}",
    "é" * 31, "x" * 31, "x" * 32, " " * 40, "…" * 40, "\ufeff", "\ue0001", "123456789012345678901234567890", "a" * 57, "b" * 64,
)  # fmt: skip
NUMBERS = (0, 1, -1, 7, 1.0, 0.1, 0.8333333333333334, 1e300, 1e-7, 2**53, 2**63, 2**64, -(2**63), 10**30, True, None, "1")


def odd_text(draw: random.Random) -> str:
    """Pieces of text of all kinds, at every distance from each other."""
    if draw.random() < 0.3:
        return "plain words " * draw.randrange(4)
    return "".join(
        draw.choice(ODD_TEXTS[-12:] if draw.random() < 0.4 else ODD_TEXTS[4:18]) + "w" * draw.randrange(9)
        for _ in range(draw.randrange(12))
    )


def conversation(draw: random.Random, rounds: int) -> dict[str, Any]:
    """The fields of a conversation in which the tool is used so often."""
    messages: list[Any] = [user(odd_text(draw) or "?")]
    name = "stateful_python_code_exec"
    for number in range(rounds):
        code = {"code": odd_text(draw)}
        arguments: Any = json.dumps(code, ensure_ascii=draw.random() < 0.3)
        if draw.random() < 0.05:
            arguments = draw.choice((code, "{", '{"code":"x"}', '{"code": "x"} ', '{"code": "x", "y": 1}', "", None))
        messages += [
            assistant("", odd_text(draw), tool_calls=[tool_call(name, arguments, f"call_{number}")]),
            {"role": "tool", "name": name, "tool_call_id": f"call_{number}", "content": odd_text(draw)},
        ]
        if draw.random() < 0.05:
            del messages[-1][draw.choice(("name", "tool_call_id", "content"))]
    final = odd_text(draw) if draw.random() < 0.3 else f"The answer is what follows from that. {odd_text(draw)}"
    messages.append(assistant(final, odd_text(draw)))
    return {"messages": messages, "tools": [CODE] if rounds or draw.random() < 0.1 else []}


def record_of(draw: random.Random, split_key: str) -> Any:
    fields = conversation(draw, draw.choice((0, 0, 1, 2)))
    if split_key != MATH:
        make = science if split_key == MCQ else chat
        return make(**fields, reasoning=draw.choice(("on", "off", None)))
    metadata: Any = {
        f"reason_{effort}_{tool_use}": draw.choice(
            (None, {"count": draw.choice(NUMBERS), "pass": draw.choice(NUMBERS), "accuracy": draw.choice(NUMBERS)})
        )
        for effort in ("low", "high") for tool_use in ("no_tool", "with_tool")
    }  # fmt: skip
    return math_v2(
        **fields,
        problem=odd_text(draw),
        expected_answer=draw.choice(("1", None, 4, 0.5)),
        metadata=draw.choice((metadata, metadata, json.dumps(metadata), {}, None)),
        uuid=odd_text(draw) or None,
    )


def line_of(draw: random.Random, record: Any) -> bytes:
    separators = draw.choice(((", ", ": "), (", ", ": "), (",", ":"), (" ,\t", " : ")))
    text = json.dumps(record, ensure_ascii=draw.random() < 0.4, separators=separators)
    return text.encode("utf-8", "surrogatepass")


def spoilt(draw: random.Random, line: bytes) -> bytes:
    """The line with a few bytes changed, taken out or put in, at places where something begins or ends if may be."""
    spoils = [b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b"<|", b"0", b"1 ", b" ", b"null", b"\xc3", b"\xff", b"\x00", b"-",
              b".", b"e", b"\\u", b"\\ud83d", b'"role"', b'"messages":', b"\xef\xbb\xbf", b"nul l", b"tru", b"NaN"]  # fmt: skip
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        edges = [place for place, byte in enumerate(line) if byte in b'"\\,:{}[]']
        place = draw.choice(edges) + draw.randrange(2) if draw.random() < 0.8 and edges else draw.randrange(len(line) + 1)
        spoil = draw.choice(spoils) if draw.random() < 0.7 else b""
        line = line[:place] + spoil + line[place + draw.randrange(3) :]
    return line.replace(b"\n", b"")


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 1 << 40),
    split_key=st.sampled_from([MATH, MATH, MCQ, CHAT_IF]),
    block_bytes=st.sampled_from([BLOCK_BYTES, 3_000, 700]),
    share=st.sampled_from([0.0, 0.0, 0.3]),
)
def test_both_ways_agree_about_lines_of_all_kinds(seed: int, split_key: str, block_bytes: int, share: float) -> None:
    draw = random.Random(seed)
    lines = [line_of(draw, record_of(draw, split_key)) for _ in range(draw.choice((1, 8, 40)))]
    lines += [spoilt(draw, line) if draw.random() < share else line for line in lines]
    end = draw.choice((b"\n", b""))
    assert_both_ways_agree(b"\n".join(lines) + end, split_key, block_bytes)
