"""Comparing words and rows, cutting texts: what the pages show, without the pages."""

from __future__ import annotations

import json
import re

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from nemo_assets import diff_command
from nemo_assets.errors import UserError
from nemo_assets.lineage import explain
from nemo_assets.lineage.compare_rows import compare_rows
from nemo_assets.lineage.coordinates import published_uid
from nemo_assets.lineage.word_diff import LONGEST, word_diff
from nemo_assets.web import conversation
from nemo_assets.web.row_view import indented
from nemo_assets_tests.lineage.chain import World
from nemo_assets_tests.web.test_pages import KEPT, LOW_PLACE, MCQ_PLACE, REJECTED

words = st.lists(st.sampled_from(["a", "b", "c", " ", "\n", "é", "."]), max_size=40).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(), each, max_size=4),
    max_leaves=12,
)


@given(words, words)
def test_the_runs_of_a_diff_joined_are_the_two_texts(left: str, right: str) -> None:
    diff = word_diff(left, right)
    assert "".join(run.text for run in diff.runs if run.kind != "added") == left
    assert "".join(run.text for run in diff.runs if run.kind != "removed") == right
    assert (diff.similarity == 1) == (left == right)


def test_one_changed_word_is_one_removed_and_one_added() -> None:
    diff = word_diff("half the battle, he said", "half the work, he said")
    assert [(run.kind, run.text) for run in diff.runs if run.kind != "equal"] == [
        ("removed", "battle"),
        ("added", "work"),
    ]
    assert diff.similarity == pytest.approx(18 / 20)  # 10 words, spaces and marks on each side, 9 of them shared


def test_a_diff_of_long_texts_is_clipped_and_says_so() -> None:
    diff = word_diff("word " * LONGEST, "word " * LONGEST + "end")
    assert diff.clipped
    assert "".join(run.text for run in diff.runs) == "word " * (LONGEST // 2)


def test_rows_are_compared_by_what_deduplication_compares(world: World) -> None:
    same = compare_rows(f"{MCQ_PLACE}:2", f"{MCQ_PLACE}:3", world.catalog, world.store)
    assert (same.similarity, same.spoken_similarity) == (1.0, 1.0)  # they differ in the system message alone
    assert same.diff is not None
    assert "Be exact." in "".join(run.text for run in same.diff.runs if run.kind == "added")
    assert "text_sha1" in same.fields
    assert "content_sha1" not in same.fields


def test_a_rejected_record_is_compared_by_its_original(world: World) -> None:
    found = compare_rows(KEPT, REJECTED, world.catalog, world.store)
    assert (found.similarity, found.of, found.fields) == (None, "original record", {})
    assert found.diff is not None
    assert "".join(run.text for run in found.diff.runs if run.kind != "removed") == "[1, 2, 3]"


def test_the_command_prints_both_verdicts_and_json(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMO_DATA_DIR", str(world.settings.data_dir))
    app = typer.Typer()
    diff_command.register(app)
    answer = CliRunner().invoke(app, [KEPT, f"{LOW_PLACE}:1", "--json"])
    told = json.loads(answer.stdout)
    assert told["a"]["verdict"] == explain(KEPT, world.catalog, world.store).verdict
    assert told == json.loads(json.dumps(compare_rows(KEPT, f"{LOW_PLACE}:1", world.catalog, world.store).as_json()))
    assert CliRunner().invoke(app, [KEPT, f"{LOW_PLACE}:1"]).exit_code == 0


@pytest.mark.parametrize(
    ("file", "row", "message"),
    [
        ("rows/low-00000.parquet", 99, "Its rows are 0 to"),
        ("README.md", 0, "no Parquet file"),
        ("no", 0, "has no file"),
    ],
)
def test_a_coordinate_where_nothing_lies_says_what_is_there(world: World, file: str, row: int, message: str) -> None:
    release = explain(KEPT, world.catalog, world.store).release
    assert release is not None
    with pytest.raises(UserError, match=message):
        published_uid(release.repo, release.commit, file, row, world.settings)


def test_every_published_row_leads_back_to_its_record(world: World) -> None:
    release = explain(KEPT, world.catalog, world.store).release
    assert release is not None
    for config in ("rows", "ledger"):
        for file in release.files[config]:
            uids = [published_uid(release.repo, release.commit, file, row, world.settings) for row in range(2)]
            places = [explain(uid, world.catalog, world.store).entry.source_row for uid in uids]
            assert places == [0, 1]


@given(values)
def test_indented_json_is_what_json_would_write(value: object) -> None:
    assert indented(json.dumps(value)) == json.dumps(value, indent=2)


def test_indented_json_keeps_numbers_escapes_and_repeated_keys() -> None:
    text = '{"a": 1.50, "a": 1e400, "b": "\\u202e {", "c": 123456789012345678901234567890}'
    assert re.sub(r"\n\s*", "", indented(text)) == text.replace(", ", ",")


def test_tokens_of_one_class_that_touch_are_one_stretch() -> None:
    text = "<|start|>user<|message|>hi<|end|><|start|>assistant<|channel|>final<|message|>abcdef<|return|>"
    begin = text.index("abcdef")
    row = {"text": text, "loss_mode": "assistant_all", "loss_terminators": False}
    found = conversation.heat_map(row, [begin, begin + 2, begin + 4], [0.05, 0.01, 9.5], 1)
    shown = [(stretch.kind, stretch.text) for stretch in found.stretches]
    assert shown == [("idle", text[:begin]), ("c0", "abcd"), ("c9", "ef"), ("idle", "<|return|>")]
    assert found.worst[0] == conversation.Token(begin + 4, "ef", 9.5)


def test_pages_of_a_map_together_are_the_text() -> None:
    text = "<|start|>assistant<|message|>" + "x" * 20_000 + "<|return|>"
    begins = list(range(29, 20_029))
    row = {"text": text, "loss_mode": "assistant_all", "loss_terminators": False}
    maps = [conversation.heat_map(row, begins, [1.0] * 20_000, page) for page in (1, 2, 3)]
    assert [(each.first, each.last, each.pages) for each in maps] == [(1, 8000, 3), (8001, 16000, 3), (16001, 20000, 3)]
    assert "".join(stretch.text for each in maps for stretch in each.stretches) == text


@pytest.mark.parametrize(("nll", "number"), [(0.0, 0), (0.1, 1), (0.69, 2), (2.0, 5), (9.0, 9), (100.0, 9)])
def test_classes_of_the_map_are_steps_of_nats(nll: float, number: int) -> None:
    assert conversation.class_of(nll) == number
