"""Rows that hold records of evaluation sets: what becomes of them from signatures to the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.stages import signatures
from nemo_assets.storage import Stage
from nemo_assets.storage.parquet import read_batches
from nemo_assets_tests.building import chat
from nemo_assets_tests.stages.making import catalog_with, make, make_chain, rows_of

KEY, FILE = "nemotron-instruction-following-chat-v1/chat_if", "data/chat_if.jsonl"
EXAM = "A train leaves the station at noon with 12 wagons and loses 3 of them; how many wagons arrive in the evening?"
SAID = "The train arrives with nine wagons, as three of its twelve were lost on the way to the harbour."


def question(text: str, answer: str = SAID) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]}


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Settings:
    """Six rows: one with the exam's text, its copy, one with other numbers, one with a word changed, two others."""
    directory = catalog_with(tmp_path / "catalog", KEY.partition("/")[0])
    (directory / "policies" / "exam.jsonl").write_text(json.dumps({"number": "e7", "text": EXAM}))
    declared = {"exam": {"path": "exam.jsonl", "columns": ["text"], "id": "number"}}
    (directory / "policies" / "evaluation_sets.yaml").write_text(yaml.safe_dump({"evaluation_sets": declared}))
    questions = [
        question(f"Please solve this:\n{EXAM.upper()}\nThank you."),
        question(f"Please solve this:\n{EXAM.upper()}\nThank you."),
        question(EXAM.replace("12", "40").replace("3", "7"), "It arrives with thirty-three wagons, all of them green."),
        question(EXAM.replace("evening", "night"), "Nine wagons are left, I would say, after what happened."),
        question("Who painted the ceiling of the chapel?", "Michelangelo did, lying on his back for four years."),
        question("Who painted the walls of the chapel?", "Several masters did: Botticelli, Perugino and others."),
    ]
    source = tmp_path / "sources" / "nvidia" / "Nemotron-Instruction-Following-Chat-v1" / FILE
    source.parent.mkdir(parents=True)
    records = [chat(uuid=f"row-{number}", **asked) for number, asked in enumerate(questions)]
    source.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return replace(settings, source_dir=tmp_path / "sources", catalog_dir=directory)


def ledger_of(project: Settings) -> list[tuple[str, str | None]]:
    ledger = rows_of(project.store.current(Stage.LEDGER, KEY), project.store).to_pylist()
    return [(entry["state"], entry["code"]) for entry in ledger]


def test_verbatim_is_rejected_and_the_rest_is_tagged(project: Settings) -> None:
    assert make_chain(project, Stage.LEDGER, [KEY])[0] == (Stage.EVALUATION_SETS, "all")
    rejected = ("rejected", "contaminated")
    assert ledger_of(project) == [rejected, rejected, *[("kept", None)] * 4]
    entries = rows_of(project.store.current(Stage.LEDGER, KEY), project.store).to_pylist()
    evidence = json.loads(entries[0]["evidence"])
    assert (evidence["evaluation_set"], evidence["evaluation_id"], evidence["column"]) == ("exam", "e7", "text")
    assert (evidence["tier"], evidence["share"], evidence["action"]) == ("verbatim", 1.0, "reject")
    kept = rows_of(project.store.current(Stage.DEDUPED, KEY), project.store).to_pylist()
    tags = [[tag for tag in row["quality_tags"] if tag.startswith("contaminated:")] for row in kept]
    assert tags == [["contaminated:exam:template_sibling"], ["contaminated:exam:near"], [], []]


def test_a_rejected_row_stands_for_nobody(project: Settings) -> None:
    """The two copies are rejected both; neither is removed as the duplicate of a row that is not there."""
    make_chain(project, Stage.LEDGER, [KEY])
    counters = project.store.current(Stage.DUPLICATES, "distilled").counters
    assert (counters["rows"], counters["contaminated"], counters["removed"]) == (6, 2, 0)


def test_another_action_reaches_the_rows(project: Settings) -> None:
    make_chain(project, Stage.LEDGER, [KEY])
    path = project.catalog_dir / "policies" / "evaluation_sets.yaml"
    declared = yaml.safe_load(path.read_text())
    declared["evaluation_sets"]["exam"]["actions"] = {"verbatim": "tag"}
    other = project.catalog_dir.with_name("other")  # a process reads each catalog once
    project.catalog_dir.rename(other)
    (other / "policies" / "evaluation_sets.yaml").write_text(yaml.safe_dump(declared))
    edited = replace(project, catalog_dir=other)
    make_chain(edited, Stage.LEDGER, [KEY])
    assert ledger_of(edited)[:2] == [("kept", None), ("removed", "exact_duplicate")]


def test_rows_are_read_once_to_be_signed_and_searched(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def noted(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.Table]:
        read.extend(paths)
        return read_batches(paths, columns)

    monkeypatch.setattr(signatures, "read_batches", noted)
    make_chain(project, Stage.SIGNATURES, [KEY])
    assert read == project.store.paths(project.store.current(Stage.NORMALIZED, KEY))
    found = rows_of(project.store.current(Stage.SIGNATURES, KEY), project.store, "contamination")
    assert found["tier"].to_pylist() == ["verbatim", "verbatim", "template_sibling", "near"]


def test_sets_that_were_not_read_are_asked_for(project: Settings) -> None:
    make_chain(replace(project), Stage.NORMALIZED, [KEY])
    with pytest.raises(UserError, match="Materialise evaluation_sets before signatures"):
        make(Stage.SIGNATURES, KEY, project)
