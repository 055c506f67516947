"""What is compared of a row, against the parser, which says what is right."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given, settings

from nemo_assets.dedup.compared import Compared, compared, texts_of
from nemo_assets.harmony import parse_harmony
from nemo_assets_tests.dedup.conversations import harmony


def parsed(text: str) -> Compared:
    """The same as `compared`, said with the messages that the parser finds."""
    spoken, heard, prompt = "", "", None
    for message in parse_harmony(text):
        if message.role == "assistant":
            prompt = heard if prompt is None else prompt
            if message.recipient is not None:
                spoken += message.recipient.removeprefix("functions.") + "\n"
            spoken += message.body + "\n"
        elif message.role not in ("system", "developer"):
            heard += message.body + "\n"
    return Compared(spoken.encode(), heard.encode(), (heard if prompt is None else prompt).encode())


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(harmony)
@example(b"")
@example(b"<|start|>assistant<|message|><|return|>")
@example(b"<|start|>user<|message|>" + b"x" * 63 + b"<|<|start<|end|>")
@example(b"<|start|>assistant to=functions.<|channel|>commentary<|message|>{}<|call|>")
def test_it_is_what_the_parser_finds(text: bytes) -> None:
    assert compared(text) == parsed(text.decode())


def test_of_every_row_of_the_sample_it_is_what_the_parser_finds(sample_texts: list[str]) -> None:
    found = [compared(text.encode()) for text in sample_texts]
    assert found == [parsed(text) for text in sample_texts]
    assert all(row.spoken for row in found)
    assert any(row.prompt != row.heard for row in found)  # tools have answered


def test_by_hand() -> None:
    text = (
        "<|start|>system<|message|>Reasoning: high<|end|><|start|>developer<|message|>Tools.<|end|>"
        "<|start|>user<|message|>What is 6 x 7?<|end|><|start|>assistant<|channel|>analysis<|message|>Compute.<|end|>"
        "<|start|>assistant to=functions.calc<|channel|>commentary <|constrain|>json<|message|>[6, 7]<|call|>"
        "<|start|>functions.calc to=assistant<|channel|>commentary<|message|>42<|end|>"
        "<|start|>assistant<|channel|>final<|message|>It is 42.<|return|>"
    )
    assert compared(text.encode()) == (
        b"Compute.\ncalc\n[6, 7]\nIt is 42.\n",
        b"What is 6 x 7?\n42\n",
        b"What is 6 x 7?\n",
    )


@pytest.mark.parametrize(
    "broken",
    [
        "<|start|>", "<|start|>user", "<|start|>user<|message|>", "<|start|>assistant", "<|start|>assistant<|end|>",
        "<|start|>assistant to=", "no token at all", "<|message|>", "<|start|><|start|><|start|>", "<|end|><|start|> ",
        "<|start|>assistant to=x<|start|>assistant to=y<|message|>z",
    ],
)  # fmt: skip
def test_broken_text_gives_something_and_no_more_than_there_is(broken: str) -> None:
    for text in (broken, broken * 9, "x" * 60 + broken, "é" * 31 + broken):
        found = compared(text.encode())
        assert len(found.spoken) + len(found.heard) <= len(text.encode())


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_a_column_is_the_same_bytes_however_it_is_cut(kind: pa.DataType) -> None:
    words = ["", "a", "éé", "", "設", "x" * 200]
    whole = pa.array(words, pa.string()).cast(kind)
    chunked = pa.chunked_array([whole.slice(0, 2), whole.slice(2, 0), whole.slice(2)])
    padded = pa.array(["before", *words, "behind"], pa.string()).cast(kind).slice(1, len(words))
    for column in (whole, chunked, padded, pa.chunked_array([padded])):
        texts = texts_of(column)
        rows = [bytes(texts.data[begin:end]) for begin, end in zip(texts.offsets, texts.offsets[1:], strict=False)]
        assert rows == [word.encode() for word in words]
        assert texts.longest == 200
    for empty in (whole.slice(3, 0), pa.chunked_array([], kind), pa.array([], kind)):
        assert len(texts_of(empty).offsets) == 1
        assert texts_of(empty).longest == 0


def test_a_single_chunk_is_not_copied() -> None:
    column = pa.array(["some text"] * 9)
    texts = texts_of(pa.chunked_array([column]))
    assert texts.data.ctypes.data == column.buffers()[2].address
