"""Rows that are related and both stay, through the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.building import assistant, chat, prose, reworded, science, user
from nemo_assets_tests.stages.making import make_chain, project_with, rows_of

MCQ, CHAT = "nemotron-science-v1/MCQ", "nemotron-instruction-following-chat-v1/chat_if"

Relation = tuple[str, frozenset[str]]


def asked(uuid: str, question: str, answer: str) -> dict[str, Any]:
    return science(uuid=uuid, messages=[user(question), assistant(answer, "")])


def relations(project: Settings, *keys: str) -> dict[Relation, float]:
    """Kind, the two ids and the value of each relation; nothing is removed."""
    make_chain(project, Stage.DEDUPED, keys)
    manifest = project.store.current(Stage.DUPLICATES, "distilled")
    assert manifest.counters["removed"] == 0
    rows = rows_of(manifest, project.store, "relations").to_pylist()
    id_of = {
        row["record_uid"]: row["id"]
        for key in keys
        for row in rows_of(project.store.current(Stage.DEDUPED, key), project.store).to_pylist()
    }
    assert [id_of[row["other_uid"]] for row in rows] == [row["other_id"] for row in rows]
    counted = manifest.counters["relations"]
    assert counted == {kind: sum(row["kind"] == kind for row in rows) for kind in counted}
    return {(row["kind"], frozenset((id_of[row["record_uid"]], row["other_id"]))): row["value"] for row in rows}


def test_rows_that_differ_in_numbers_alone_are_siblings_in_every_domain(settings: Settings, tmp_path: Path) -> None:
    question, answer = prose(1, 50), prose(2, 50)
    rows = {n: (f"{question} has {n} parts.", f"{answer} gives {2 * n}.") for n in (3, 4, 5)}
    records = {
        MCQ: [asked(f"s{n}", *row) for n, row in rows.items()],
        CHAT: [chat(uuid="c3", messages=[user(rows[3][0].replace("3", "77")), assistant(rows[3][1], "")])],
    }
    found = relations(project_with(settings, tmp_path, records), MCQ, CHAT)
    siblings = {ids for kind, ids in found if kind == "template_sibling"}
    best = frozenset.intersection(*siblings)
    assert len(best) == 1  # each of the others with the one best row
    assert frozenset.union(*siblings) == {"s3", "s4", "s5", "c3"}
    assert set(found) == {("template_sibling", ids) for ids in siblings}
    assert set(found.values()) == {4}


def test_similar_rows_with_other_numbers_both_stay_where_numbers_must_agree(settings: Settings, tmp_path: Path) -> None:
    question, answer = prose(1, 100), f"{prose(2, 100)} makes 12 in all"
    records = {MCQ: [asked("a", question, answer), asked("b", question, reworded(answer, 50).replace("12", "13"))]}
    found = relations(project_with(settings, tmp_path, records), MCQ)
    assert found == {}


def test_an_equal_question_with_another_answer_is_related_by_its_prompt(settings: Settings, tmp_path: Path) -> None:
    question = prose(1, 400)
    records = {MCQ: [asked("a", question, prose(2, 20)), asked("b", question, prose(3, 20))]}
    found = relations(project_with(settings, tmp_path, records), MCQ)
    # 396 shingles of the question and 16 of each answer: 396 / 428.
    assert found == {("prompt_similar", frozenset("ab")): pytest.approx(0.925, abs=0.07)}


def test_a_row_that_holds_the_other_is_related_by_containment(settings: Settings, tmp_path: Path) -> None:
    question, answer = prose(1, 100), prose(2, 304)
    longer = f"{answer} {prose(3, 100)}"
    records = {MCQ: [asked("short", question, answer), asked("long", question, longer)]}
    project = project_with(settings, tmp_path, records)
    # Of what is spoken 300 of 400 shingles: 0.75 is too little, though all of the shorter row is in the longer one.
    assert relations(project, MCQ) == {("contained", frozenset(("short", "long"))): 1.0}


def test_rows_with_nothing_in_common_are_not_related(settings: Settings, tmp_path: Path) -> None:
    question = prose(1, 30)
    records = {MCQ: [asked("a", question, prose(2, 60)), asked("b", question, prose(3, 60))]}
    assert relations(project_with(settings, tmp_path, records), MCQ) == {}


def test_rows_that_are_removed_are_nobodys_relatives(settings: Settings, tmp_path: Path) -> None:
    """Of each number two rows: one of the two is removed, and the others are related as if it had never been there."""
    question, answer = prose(1, 50), prose(2, 50)
    rows = [asked(f"{letter}{n}", f"{question} {n}", answer) for n in (1, 2) for letter in "ab"]
    project = project_with(settings, tmp_path, {MCQ: rows})
    make_chain(project, Stage.DEDUPED, [MCQ])
    manifest = project.store.current(Stage.DUPLICATES, "distilled")
    assert (manifest.counters["removed"], manifest.counters["relations"]) == (2, {"template_sibling": 1})
    (relation,) = rows_of(manifest, project.store, "relations").to_pylist()
    kept = rows_of(project.store.current(Stage.DEDUPED, MCQ), project.store)["record_uid"].to_pylist()
    assert {relation["record_uid"], relation["other_uid"]} == set(kept)
    assert relation["value"] == 2
