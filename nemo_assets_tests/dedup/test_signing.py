"""One pass over many rows gives what each row gives alone, however they are stored and whoever works on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.dedup import signing
from nemo_assets.dedup.compared import compared, texts_of
from nemo_assets.dedup.minhash import minhash_of
from nemo_assets.dedup.numerals import numerals_digest
from nemo_assets.dedup.shingles import masked_digest, numbers_digest, sequence_digest, shingles_of
from nemo_assets.dedup.signing import Signed, sign
from nemo_assets.dedup.tokens import PADDING, tokens_of
from nemo_assets_tests.dedup.conversations import harmony

rows = st.lists(harmony, max_size=8)


def signed(texts: list[bytes], threads: int = 1) -> Signed:
    return sign(texts_of(pa.array(texts, pa.binary())), threads)


def are_equal(one: Any, other: Any) -> bool:
    return all(np.array_equal(first, second) for first, second in zip(one, other, strict=True))


@settings(deadline=None)  # the first call compiles
@given(rows)
def test_a_row_is_signed_as_its_parts_are_alone(texts: list[bytes]) -> None:
    found = signed(texts)
    assert len(found.minhash) == len(texts)
    for row, text in enumerate(texts):
        spoken, heard, prompt = compared(text)
        said, listened = shingles_of(spoken), shingles_of(heard)
        tokens, other_tokens, asked = tokens_of(spoken), tokens_of(heard), tokens_of(prompt)
        assert (found.minhash[row] == minhash_of(np.concatenate((said, listened)))).all()
        assert (found.spoken_minhash[row] == minhash_of(said) % 256).all()
        assert found.shingles[row] == len(said) + len(listened)
        for place, (part, seen) in enumerate(((spoken, tokens), (heard, other_tokens))):
            padded = np.frombuffer(part + b" " * PADDING, np.uint8)
            with_numerals = (int(numbers_digest(seen, len(seen))) + int(numerals_digest(padded, len(part)))) % 2**64
            assert found.numbers[row, place] == with_numerals
        assert found.prompt[row] == sequence_digest(asked, len(asked))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("slice_bytes", [1, 700, 5000, 1 << 30])
def test_threads_and_slices_change_nothing(
    sample_texts: list[str], monkeypatch: pytest.MonkeyPatch, threads: int, slice_bytes: int
) -> None:
    texts = texts_of(pa.array(["", *sample_texts[:60], "", "", *sample_texts[:3], ""]))
    expected = sign(texts)
    monkeypatch.setattr(signing, "_SLICE_BYTES", slice_bytes)
    assert are_equal(sign(texts, threads), expected)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_how_a_column_is_cut_changes_nothing(sample_texts: list[str], kind: pa.DataType) -> None:
    whole = pa.array(sample_texts[:50], kind)
    expected = sign(texts_of(whole))
    behind_others = pa.array([*sample_texts[7:9], *sample_texts[:50], "x"], kind).slice(2, 50)
    chunks = pa.chunked_array([whole.slice(0, 1), whole.slice(1, 0), whole.slice(1, 30), whole.slice(31)])
    for column in (behind_others, chunks, pa.chunked_array([behind_others])):
        assert are_equal(sign(texts_of(column), 2), expected)
    part = sign(texts_of(whole.slice(20, 10)))
    assert are_equal(part, [column[20:30] for column in expected])


@pytest.mark.parametrize("texts", [[], [""], ["", "", ""]])
def test_no_rows_and_empty_rows(texts: list[str]) -> None:
    column = texts_of(pa.array(texts, pa.string()))
    for threads in (1, 2):
        found = sign(column, threads)
        assert found.minhash.shape == (len(texts), 128)
        assert (found.minhash == 0xFFFFFFFF).all()
        assert found.shingles.tolist() == [0] * len(texts)


def harmony_of(question: str, answer: str, *, system: str = "", tool_says: str | None = None) -> bytes:
    system = f"<|start|>system<|message|>{system}<|end|>" if system else ""
    tool = "" if tool_says is None else f"<|start|>python to=assistant<|message|>{tool_says}<|end|>"
    said = "<|start|>assistant<|channel|>analysis<|message|>hm<|end|>"
    final = f"<|start|>assistant<|channel|>final<|message|>{answer}<|return|>"
    return f"{system}<|start|>user<|message|>{question}<|end|>{said}{tool}{final}".encode()


def test_what_digests_and_signatures_tell_apart_by_hand() -> None:
    base, cased, other_system, other_number, other_place, later, other_word = (
        signed([text])
        for text in (
            harmony_of("Add 2 and 3.", "It is 5."), harmony_of("add  2 and 3.", "IT is 5."),
            harmony_of("Add 2 and 3.", "It is 5.", system="Reasoning: high"), harmony_of("Add 2 and 4.", "It is 6."),
            harmony_of("Add 2 and 5.", "It is 3."), harmony_of("Add 2 and 3.", "It is 5.", tool_says="ok 5"),
            harmony_of("Add 2 and 3.", "It was 5."),
        )
    )  # fmt: skip
    assert are_equal(base, cased)
    assert are_equal(base, other_system)
    assert base.masked == other_number.masked == other_place.masked != later.masked
    assert base.masked != other_word.masked
    assert not np.array_equal(base.numbers, other_number.numbers)
    assert not np.array_equal(base.numbers, other_place.numbers)  # a number said is not one heard
    assert base.prompt == later.prompt == other_word.prompt != other_number.prompt
    assert (base.spoken_minhash == later.spoken_minhash).all()
    assert (base.minhash != later.minhash).any()


def test_what_is_spoken_and_what_is_heard_cannot_change_places_unseen() -> None:
    one, other = signed([harmony_of("a b c d e", "f g h i j")]), signed([harmony_of("f g h i j", "a b c d e")])
    assert one.masked != other.masked
    assert (one.spoken_minhash != other.spoken_minhash).any()
    tokens = tokens_of(b"hm f g h i j")
    heard = tokens_of(b"a b c d e")
    assert one.masked[0] != masked_digest(tokens, len(tokens)) + masked_digest(heard, len(heard))
