"""Evaluation sets as one table: from local files and from the Hub, and what is said where that fails."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.stages.evaluation_sets import EVALUATION_SCHEMA, read_evaluation_sets
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.stages.making import catalog_with, rows_of

REPO = "org/exam"
FIRST = "Which of the four gases in this list do plants take in?"
SECOND = "Name the largest planet of the solar system and its moons."
RECORDS = [{"question": FIRST, "answer": "C", "key": "q1"}, {"question": SECOND, "answer": None, "key": "q2"}]


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Settings:
    """A catalog that a test may change; sources are on the Hub."""
    directory = catalog_with(tmp_path / "catalog", "nemotron-science-v1")
    policy = yaml.safe_load((directory / "policies" / "duplicates.yaml").read_text())
    policy["thresholds"] = {"distilled": 0.8}
    (directory / "policies" / "duplicates.yaml").write_text(yaml.safe_dump(policy | {"removal_ceilings": {}}))
    return replace(settings, source_dir=None, catalog_dir=directory)


def declare(project: Settings, **sets: Mapping[str, Any]) -> Settings:
    """The project with these sets; its catalog lies in another place, as a process reads each place once."""
    directory = project.catalog_dir.with_name(project.catalog_dir.name + "x")
    project.catalog_dir.rename(directory)
    declared = {name.replace("_", "-"): dict(entry) for name, entry in sets.items()}
    (directory / "policies" / "evaluation_sets.yaml").write_text(yaml.safe_dump({"evaluation_sets": declared}))
    return replace(project, catalog_dir=directory)


def with_file(project: Settings, name: str, content: bytes, **entry: Any) -> Settings:
    (project.catalog_dir / "policies" / name).write_bytes(content)
    return declare(project, exam={"path": name, "columns": ["question"], **entry})


def on(hub: RunningHub, project: Settings) -> Settings:
    return replace(project, endpoint=hub.endpoint, token=hub.token)


def parquet(records: list[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), content)
    return content.getvalue()


LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
CSV = f'question,answer,key\n"{FIRST}",C,q1\n"{SECOND}",,q2\n'.encode("utf-8-sig")


def test_nothing_declared_is_an_empty_table_and_asks_nobody(project: Settings) -> None:
    made = read_evaluation_sets(replace(project, endpoint="http://127.0.0.1:9"))
    assert rows_of(made, project.store).equals(EVALUATION_SCHEMA.empty_table())
    assert (made.counters["rows"], made.details["sets"]) == (0, [])


@pytest.mark.parametrize(
    ("name", "content"),
    [("exam.jsonl", LINES), ("exam.json", json.dumps(RECORDS).encode()), ("exam.csv", CSV),
     ("exam.parquet", parquet(RECORDS))],
)  # fmt: skip
def test_a_local_file_of_any_kind_gives_the_same_texts(project: Settings, name: str, content: bytes) -> None:
    here = with_file(project, name, content, columns=["question", "answer"], id="key")
    made = read_evaluation_sets(here)
    rows = rows_of(made, here.store).select(["evaluation_set", "evaluation_id", "column", "text", "revision"])
    assert rows.to_pylist() == [
        {"evaluation_set": "exam", "evaluation_id": key, "column": column, "text": text, "revision": ""}
        for key, column, text in [("q1", "question", FIRST), ("q1", "answer", "C"), ("q2", "question", SECOND)]
    ]
    assert made.details["sets"] == [
        {"evaluation_set": "exam", "source": name, "revision": "", "files": 1, "records": 2, "texts": 3, "too_short": 1}
    ]


def test_it_is_made_again_when_the_file_or_what_is_declared_changes(project: Settings) -> None:
    here = with_file(project, "exam.jsonl", LINES)
    first = read_evaluation_sets(here)
    assert first.counters["rows"] == 2
    assert read_evaluation_sets(here) == first
    stricter = with_file(here, "exam.jsonl", LINES, near=0.5)
    assert read_evaluation_sets(stricter).data_version != first.data_version  # other rows will be hit
    (stricter.catalog_dir / "policies" / "exam.jsonl").write_bytes(LINES + LINES)
    assert read_evaluation_sets(stricter).counters["rows"] == 4


@pytest.mark.parametrize(
    ("name", "content", "entry", "says"),
    [
        ("a.jsonl", LINES, {"columns": ["problem"]}, r"a\.jsonl: there is no column 'problem'\. It has question, "),
        ("a.jsonl", LINES, {"id": "uuid"}, r"a\.jsonl: there is no column 'uuid'"),
        ("a.jsonl", LINES, {"columns": ["answer"]}, r"'exam': none of its 1 texts is long enough"),
        ("a.jsonl", LINES + b"{broken\n", {}, r"a\.jsonl, line 3: no JSON object \(invalid_json\)"),
        ("a.jsonl", b"", {}, r"a\.jsonl: holds no record"),
        ("a.json", b'{"question": 1}', {}, r"a\.json: must be an array of objects"),
        ("a.json", b"[", {}, r"a\.json: no JSON"),
        ("a.csv", b"question,key\nonly one field\n", {}, r"a\.csv, line 2: has not as many fields"),
        ("a.parquet", b"PAR1", {}, r"a\.parquet: cannot be read as Parquet"),
        ("a.xlsx", b"", {}, r"a\.xlsx: an evaluation file must be \.jsonl, "),
        ("a.jsonl", b'{"question": {"text": "x"}}\n', {}, r"a\.jsonl, record 0: `question` holds dict and no text"),
        ("a.jsonl", LINES + b'{"question": "x"}\n', {"id": "key"}, r"a\.jsonl, record 2: `key` is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_for_is_told_and_nothing_is_made_current(
    project: Settings, name: str, content: bytes, entry: dict[str, Any], says: str
) -> None:
    here = with_file(project, name, content, **entry)
    with pytest.raises(UserError, match=says) as refused:
        read_evaluation_sets(here)
    assert "\n" not in str(refused.value)
    assert here.store.find(Stage.EVALUATION_SETS, "all") is None


def test_a_file_that_is_not_there_is_named(project: Settings) -> None:
    here = declare(project, exam={"path": "gone.jsonl", "columns": ["question"]})
    with pytest.raises(UserError, match=r"policies/gone\.jsonl: evaluation set 'exam' names this file"):
        read_evaluation_sets(here)


HUB_SET = {"repo": REPO, "files": ["test/*.jsonl"], "columns": ["question"]}


def test_a_hub_dataset_is_read_at_its_head_and_fetched_once(hub_server: RunningHub, project: Settings) -> None:
    """Rows of several files are named by their file; a file of the train split is not asked for."""
    lines = LINES.splitlines(keepends=True)
    head = hub_server.store.seed(
        REPO, {"test/a.jsonl": lines[0], "test/b.jsonl": lines[1], "train/a.jsonl": b"{}\n", "README.md": b"one"}
    )
    here = on(hub_server, declare(project, exam=HUB_SET))
    made = read_evaluation_sets(here)
    assert rows_of(made, here.store).select(["evaluation_id", "text", "revision"]).to_pylist() == [
        {"evaluation_id": "test/a.jsonl:0", "text": FIRST, "revision": head},
        {"evaluation_id": "test/b.jsonl:0", "text": SECOND, "revision": head},
    ]
    hub_server.store.seed(REPO, {"README.md": b"two"})
    assert read_evaluation_sets(here) == made
    assert len(hub_server.wire.received("GET", "/resolve/")) == 2
    assert hub_server.wire.received("GET", "/resolve/.*train") == []


def test_a_pinned_set_stays_at_its_commit(hub_server: RunningHub, project: Settings) -> None:
    old = hub_server.store.seed(REPO, {"test/a.jsonl": LINES})
    hub_server.store.seed(REPO, {"test/a.jsonl": LINES + LINES})
    pinned = on(hub_server, declare(project, exam={**HUB_SET, "revision": old}))
    made = read_evaluation_sets(pinned)
    assert (made.counters["rows"], made.details["sets"][0]["revision"]) == (2, old)
    moving = on(hub_server, declare(pinned, exam=HUB_SET))
    assert read_evaluation_sets(moving).counters["rows"] == 4


def test_an_interrupted_download_goes_on(hub_server: RunningHub, project: Settings) -> None:
    """The connection breaks after 1,000 bytes of 200 records, twice."""
    content = LINES * 100
    hub_server.store.seed(REPO, {"test/a.jsonl": content})
    hub_server.wire.inject(Fault("/resolve/", reset_after=1000, times=2))
    here = on(hub_server, declare(project, exam=HUB_SET))
    assert read_evaluation_sets(here).counters["rows"] == 200
    assert len(hub_server.wire.received("GET", "/resolve/")) == 3


def test_a_directory_of_sources_stands_for_the_hub(project: Settings, tmp_path: Path) -> None:
    path = tmp_path / "sources" / REPO / "test" / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(LINES)
    here = replace(declare(project, exam={**HUB_SET, "revision": "0" * 40}), source_dir=tmp_path / "sources")
    made = read_evaluation_sets(here)
    assert made.counters["rows"] == 2
    assert len(made.details["sets"][0]["revision"]) == 40 != "0" * 40


def test_a_glob_that_matches_no_file_is_told_with_what_there_is(hub_server: RunningHub, project: Settings) -> None:
    head = hub_server.store.seed(REPO, {"test/a.jsonl": LINES})
    here = on(hub_server, declare(project, exam={**HUB_SET, "files": ["test/*.jsonl", "dev/*"]}))
    with pytest.raises(UserError) as refused:
        read_evaluation_sets(here)
    assert str(refused.value) == (
        f"evaluation set 'exam' names dev/*, org/exam at {head[:7]} has no such file. It has test/a.jsonl. "
        "Correct `files` in evaluation_sets.yaml."
    )
