"""Who duplicates whom, who stays, and what the rows that stay are called."""

from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.identifiers import ids_made_unique
from nemo_assets.dedup.signatures import SIGNATURE_SCHEMA, read_signed, signatures_of
from nemo_assets.dedup.signing import sign
from nemo_assets.dedup.survivor import in_survivor_order
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.storage.parquet import write_part
from nemo_assets_tests.building import (
    LEAN,
    MATH,
    MCQ,
    RENDERED,
    assistant,
    math_v2,
    normalize_one,
    proofs,
    rendered,
    science,
    tool_call,
    user,
)

SCHEMA = pl.DataFrame(pl.from_arrow(SIGNATURE_SCHEMA.empty_table())).schema | {
    "split_position": pl.Int64,
    "partition": pl.String,
}

# The declared order: what the better row has, what the worse one.
CRITERIA: list[tuple[str, Any, Any]] = [
    ("row_verified", True, False),
    ("correctness_lcb", 0.5, 0.1),
    ("answer_complete", True, False),
    ("split_position", 0, 1),
    ("char_len", 200, 100),
    ("content_sha1", "aa", "bb"),
    ("source_file", "data/a.jsonl", "data/b.jsonl"),
    ("source_row", 3, 4),
]


def signature(uid: int, **fields: Any) -> dict[str, Any]:
    return {
        "record_uid": uid.to_bytes(16, "big"), "id": f"row-{uid}", "content_sha1": "c",
        "row_verified": False, "correctness_lcb": None, "answer_complete": True, "char_len": 100,
        "source_file": "data/a.jsonl", "source_row": uid, "split_position": 0, "partition": "source/a",
    } | fields  # fmt: skip


def frame(*signatures: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(signatures), schema=SCHEMA)


@pytest.mark.parametrize("place", range(len(CRITERIA)), ids=[name for name, _, _ in CRITERIA])
def test_the_first_criterion_that_differs_decides(place):
    equal = {name: better for name, better, _ in CRITERIA[:place]}
    name, good, bad = CRITERIA[place]
    # In everything declared later the winner is the worse of the two.
    winner = signature(1, **equal, **{name: good}, **{later: worse for later, _, worse in CRITERIA[place + 1 :]})
    loser = signature(2, **equal, **{name: bad}, **{later: better for later, better, _ in CRITERIA[place + 1 :]})
    for rows in ((winner, loser), (loser, winner)):
        assert in_survivor_order(frame(*rows))["id"].to_list() == ["row-1", "row-2"]


def test_a_row_nobody_judged_comes_after_one_judged_badly():
    judged, unjudged = signature(2, correctness_lcb=0.0), signature(1, correctness_lcb=None, char_len=500)
    assert in_survivor_order(frame(unjudged, judged))["id"].to_list() == ["row-2", "row-1"]


SIGNATURES = st.lists(
    st.builds(
        dict,
        content_sha1=st.sampled_from("xyz"),
        row_verified=st.booleans(),
        correctness_lcb=st.sampled_from([None, 0.0, 0.25, 0.5]),
        answer_complete=st.booleans(),
        char_len=st.integers(1, 3),
        split_position=st.integers(0, 2),
    ),
    min_size=1,
    max_size=8,
).map(lambda drawn: [signature(n, **fields) for n, fields in enumerate(drawn)])


@settings(deadline=None)
@given(SIGNATURES.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_the_order_of_survivors_does_not_depend_on_the_order_of_the_rows(orders):
    first, second = (in_survivor_order(frame(*rows))["record_uid"].to_list() for rows in orders)
    assert first == second


def test_an_id_that_two_kept_rows_share_is_completed_by_their_contents():
    kept = frame(
        signature(1, id="u", content_sha1="0123456789abcdef"),
        signature(2, id="u", content_sha1="fedcba9876543210", partition="source/b"),
        signature(3, id="v", content_sha1="0123456789abcdef"),
    )
    assert sorted(ids_made_unique(kept).rows()) == [
        ((1).to_bytes(16, "big"), "source/a", "u", "u-0123456789ab"),
        ((2).to_bytes(16, "big"), "source/b", "u", "u-fedcba987654"),
    ]
    assert ids_made_unique(kept.tail(1)).is_empty()


def signed(*rows: dict[str, Any]) -> pl.DataFrame:
    table = signatures_of(pa.Table.from_pylist(list(rows), schema=ROW_SCHEMA))
    assert table.schema == SIGNATURE_SCHEMA
    return pl.DataFrame(pl.from_arrow(table))


def test_a_signature_carries_what_decides():
    verified = {"reason_high_no_tool": {"count": 1, "pass": 1, "accuracy": 1.0}}
    row, unknown = normalize_one(math_v2(metadata=verified), MATH), normalize_one(science(), MCQ)
    first, second = signed(row, unknown).rows(named=True)
    copied = ("record_uid", "id", "content_sha1", "source_file", "source_row")
    assert {name: first[name] for name in copied} == {name: row[name] for name in copied}
    assert (first["row_verified"], first["correctness_lcb"]) == (True, pytest.approx(1 / 4.8416))  # Wilson, 1 of 1
    assert first["char_len"] == row["stats_char_len"]
    assert (second["row_verified"], second["correctness_lcb"]) == (False, None)


def test_signatures_come_back_as_they_were_written(tmp_path):
    rows = [normalize_one(math_v2(), MATH), normalize_one(science(), MCQ)]
    texts = texts_of(pa.array([row["text"] for row in rows]))
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, row in zip(paths, rows, strict=True):
        write_part(path, signatures_of(pa.Table.from_pylist([row], schema=ROW_SCHEMA)))
    for read, made in zip(read_signed(paths), sign(texts), strict=True):
        assert read.dtype == made.dtype
        assert (read == made).all()


def test_statements_are_equal_whatever_their_theorem_is_called():
    statement = "theorem problem_17 (n : ℕ) (h : 0 < n) :\n    n ∣ n ^ 2 := by sorry"
    same = ["theorem problem_99 (n : ℕ) (h : 0 < n) : n ∣ n ^ 2 := by sorry", statement]
    other = [statement.replace("0 < n", "1 < n"), statement.replace("(n : ℕ)", "(N : ℕ)")]
    rows = [normalize_one(proofs(messages=[], formal_statement=text), LEAN) for text in (*same, *other)]
    first, second, *others = signed(*rows)["statement"].to_list()
    assert first == second is not None
    assert len({first, *others}) == 3
    assert signed(normalize_one(science(), MCQ))["statement"].to_list() == [None]


def test_an_answer_is_complete_when_the_text_ends_with_it():
    call = tool_call("f", {})
    head = "<|start|>user<|message|>q<|end|><|start|>assistant"
    rows = [
        normalize_one(science(), MCQ),
        normalize_one(rendered(head + "<|message|>answer<|return|>"), RENDERED),
        normalize_one(rendered(head + "<|channel|>final<|message|>answer<|end|>"), RENDERED),
        normalize_one(science(messages=[user(), assistant("", "Only reasoning.")]), MCQ),
        normalize_one(science(messages=[user(), assistant(), assistant("", None, tool_calls=[call])]), MCQ),
        normalize_one(science(messages=[user(), assistant(), user("And 6 x 8?")]), MCQ),
    ]
    assert signed(*rows)["answer_complete"].to_list() == [True, True, False, False, False, False]
