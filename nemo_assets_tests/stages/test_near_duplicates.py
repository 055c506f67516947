"""Near-duplicates through the stages: across sources, twins of Lean statements, what a change reaches, determinism."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from nemo_assets.settings import Settings
from nemo_assets.stages.duplicates import find_duplicates
from nemo_assets.storage import Stage
from nemo_assets_tests.building import CHAT_IF, LEAN, MCQ, assistant, chat, proofs, prose, reworded, science, user
from nemo_assets_tests.stages.making import files_below, make, make_chain, project_with, rows_of, write_records

STRUCTURED = "nemotron-instruction-following-chat-v1/structured_outputs"

Records = dict[str, list[dict[str, Any]]]


def asked(uuid: str, question: str, answer: str) -> dict[str, Any]:
    return science(uuid=uuid, messages=[user(question), assistant(answer, "")])


def chatted(uuid: str, question: str, answer: str) -> dict[str, Any]:
    return chat(uuid=uuid, messages=[user(question), assistant(answer, "")])


def removals(project: Settings) -> dict[str, tuple[str, str]]:
    """By removed id the id that stays and the rule, without its version."""
    rows = rows_of(project.store.current(Stage.DUPLICATES, "distilled"), project.store, "removed").to_pylist()
    return {row["id"]: (row["survivor_id"], row["rule"].partition(",")[0]) for row in rows}


def test_rows_of_two_sources_are_compared(settings: Settings, tmp_path: Path) -> None:
    question, answer = prose(1, 60), prose(2, 100)
    records = {
        MCQ: [asked("science", question, answer), asked("other", prose(3, 60), prose(4, 100))],
        CHAT_IF: [chatted("chat", question, reworded(answer, 50)), chatted("own", prose(5, 60), prose(6, 100))],
    }
    project = project_with(settings, tmp_path, records)
    make_chain(project, Stage.LEDGER, records)
    (removed,) = rows_of(project.store.current(Stage.DUPLICATES, "distilled"), project.store, "removed").to_pylist()
    assert (removed["id"], removed["survivor_id"], removed["survivor_partition"]) == ("chat", "science", MCQ)
    # 96 shingles are spoken, of which the one other word changes 5: 91 / 101.
    assert (removed["similarity"], removed["code"]) == (pytest.approx(91 / 101), "near_duplicate")
    ledger = rows_of(project.store.current(Stage.LEDGER, CHAT_IF), project.store).to_pylist()
    assert [(entry["id"], entry["state"]) for entry in ledger] == [("chat", "removed"), ("own", "kept")]


def test_a_change_in_one_split_leaves_the_rows_of_the_others_as_they_were(settings: Settings, tmp_path: Path) -> None:
    """The new row is related to one of another split, and removes none: its near-duplicates stay removed as well."""
    question, answer, template = prose(1, 60), prose(2, 100), prose(3, 100)
    records: Records = {
        MCQ: [asked("science", prose(4, 60), prose(5, 100))],
        CHAT_IF: [chatted("c1", question, answer), chatted("c2", question, reworded(answer, 50))],
        STRUCTURED: [chatted("s1", question, reworded(answer, 20)), chatted("s2", template, "Its height is 3 m.")],
    }
    project = project_with(settings, tmp_path, records)
    store = project.store
    make_chain(project, Stage.DEDUPED, records)
    before = {key: store.current(Stage.DEDUPED, key) for key in records}
    duplicates = store.current(Stage.DUPLICATES, "distilled")
    assert removals(project).keys() == {"c1", "s1"}  # `c2` is the longest
    write_records(project, {MCQ: [*records[MCQ], asked("new", template, "Its height is 4 m.")]})
    make(Stage.RAW, MCQ, project)
    make(Stage.NORMALIZED, MCQ, project)
    made = make_chain(project, Stage.DEDUPED, records)
    assert made == [(Stage.SIGNATURES, MCQ), (Stage.DUPLICATES, "distilled"), (Stage.DEDUPED, MCQ)]
    after = store.current(Stage.DUPLICATES, "distilled")
    assert after.data_version != duplicates.data_version
    assert (duplicates.counters["relations"], after.counters["relations"]) == ({}, {"template_sibling": 1})
    assert {key: store.current(Stage.DEDUPED, key) for key in (CHAT_IF, STRUCTURED)} == {
        key: before[key] for key in (CHAT_IF, STRUCTURED)
    }


def lean(settings: Settings, tmp_path: Path, **policy: bool) -> Settings:
    """Statements with an equal problem, with an equal statement, with neither; two trajectories of one problem.

    `first` is the longest.
    """
    problem, other = prose(1, 40), prose(2, 40)
    formal = f"theorem problem_1 (x : ℝ) : {prose(3, 30)} := by sorry"
    discussed = [user(f"Prove this: {problem}"), assistant(prose(4, 60), "")]
    again = [user(f"Prove this: {problem}"), assistant(prose(5, 60), "")]
    records = [
        proofs(uuid="first", problem=problem, formal_statement=formal),
        proofs(
            uuid="problem", problem=f"{problem.upper()} ", formal_statement=f"theorem p : {prose(6, 20)} := by sorry"
        ),
        proofs(uuid="formal", problem=other, formal_statement=formal.replace("problem_1 ", "p\n  ")),
        proofs(uuid="neither", problem=prose(7, 40), formal_statement=f"theorem p : {prose(8, 30)} := by sorry"),
        proofs(uuid="proof", problem=problem, formal_statement=formal, messages=discussed),
        proofs(uuid="another proof", problem=problem, formal_statement=formal, messages=again),
    ]
    project = project_with(settings, tmp_path, {LEAN: records}, **policy)
    make_chain(project, Stage.DEDUPED, [LEAN])
    return project


def test_one_statement_of_each_problem_and_of_each_formal_statement_stays(settings: Settings, tmp_path: Path) -> None:
    assert removals(lean(settings, tmp_path)) == {
        "problem": ("first", "equal problem of a Lean statement"),
        "formal": ("first", "equal Lean statement"),
    }


def test_without_the_option_all_statements_stay(settings: Settings, tmp_path: Path) -> None:
    assert removals(lean(settings, tmp_path, unique_statements=False)) == {}


def corpus() -> Records:
    """Two sources with groups of rows whose words change one after the other, so that the first and last differ."""
    chooser = random.Random(0)
    records: Records = {MCQ: [], CHAT_IF: []}
    for group in range(25):
        question, answer = prose(2 * group, 40), f"{prose(2 * group + 1, 80)} 7"
        for step in range(chooser.randint(1, 6)):
            key = chooser.choice([MCQ, CHAT_IF])
            write = asked if key == MCQ else chatted
            records[key].append(write(f"{group}-{step}", question, answer))
            answer = reworded(answer, chooser.randrange(80))
    return records


@pytest.fixture
def searched(settings: Settings, tmp_path: Path) -> Settings:
    project = project_with(settings, tmp_path / "searched", corpus())
    make_chain(project, Stage.DUPLICATES, corpus())
    return project


def test_the_search_does_not_depend_on_the_number_of_workers(searched: Settings) -> None:
    found = searched.data_dir / Stage.DUPLICATES
    alone = files_below(found)
    found.rename(searched.data_dir / "alone")
    find_duplicates("distilled", searched.catalog, searched.store, workers=2)
    assert files_below(found) == alone
    assert len(removals(searched)) > 30


@pytest.mark.parametrize("seed", [1, 2])
def test_the_search_does_not_depend_on_the_order_of_the_records(
    searched: Settings, settings: Settings, tmp_path: Path, seed: int
) -> None:
    records = {key: random.Random(seed).sample(content, len(content)) for key, content in corpus().items()}
    shuffled = project_with(settings, tmp_path / "shuffled", records)
    make_chain(shuffled, Stage.DUPLICATES, records)
    assert removals(shuffled) == removals(searched)
    counters = [project.store.current(Stage.DUPLICATES, "distilled").counters for project in (searched, shuffled)]
    assert counters[0] == counters[1]


def test_chains_of_similar_rows_are_not_joined(searched: Settings) -> None:
    """Each removed row is similar to the row that stays for it, which is not itself removed."""
    rows = rows_of(searched.store.current(Stage.DUPLICATES, "distilled"), searched.store, "removed").to_pylist()
    assert min(row["similarity"] for row in rows) >= 0.8
    assert not {row["id"] for row in rows} & {row["survivor_id"] for row in rows}
