"""The command line: the headless steps, the chain, and one clear line for what the user can put right."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets import cli
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.fixtures import RunningHub
from nemo_assets_tests.stages.making import files_below, rows_of

AGENTIC, SCIENCE, PROOFS, RENDERED = (
    "nemotron-agentic-v1",
    "nemotron-science-v1",
    "nemotron-math-proofs-v1",
    "nemotron-math-v2-harmony-tools",
)


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class Shell:
    """Runs `nemo-assets` in this process, with the sample as source and a data directory of the test."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, **environment: str) -> Outcome:
        for name, value in {**self.environment, **environment}.items():
            self.monkeypatch.setenv(name, value)
        self.monkeypatch.setattr(sys, "argv", ["nemo-assets", *arguments])
        self.capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        printed = self.capfd.readouterr()
        return Outcome(code, printed.out, printed.err)

    @property
    def environment(self) -> dict[str, str]:
        """What every command of a test sees; a command may change it."""
        return {
            "NEMO_DATA_DIR": str(self.data),
            "NEMO_SOURCE_DIR": str(HUB),
            "NEMO_SCORER": "local",
            "NEMO_WORKERS": "1",
        }

    @property
    def data(self) -> Path:
        return self.directory / "data"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, monkeypatch, capfd)


def in_a_process(arguments: Sequence[str], environment: dict[str, str], **options: Any) -> Outcome:
    """`nemo-assets` as a shell runs it."""
    command = [sys.executable, "-c", "from nemo_assets.cli import main; main()", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, **options
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_one_clear_line(outcome: Outcome, *told: str) -> None:
    """Exit code 2 and one line on stderr that says all of this; nothing on stdout."""
    assert outcome.code == 2, outcome
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert not outcome.out
    for words in told:
        assert words in outcome.err


# Headless steps


@pytest.fixture
def normalized(shell: Shell) -> Path:
    """Both agentic splits, with a card."""
    folder = shell.directory / "normalized"
    assert shell("normalize", "--dataset", AGENTIC, "--out-dir", str(folder), "--hf-layout", "--write-readme").code == 0
    return folder


def test_normalize_writes_a_folder_that_the_datasets_library_loads(normalized: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    assert sorted(path for path in files_below(normalized) if not path.startswith(".nemo/")) == [
        "README.md", "data/interactive_agent-00000-of-00001.parquet", "data/tool_calling-00000-of-00001.parquet",
        "interactive_agent__tools_catalog.json", "normalize_summary.json", "rejected/interactive_agent.parquet",
        "rejected/tool_calling.parquet", "tool_calling__tools_catalog.json",
    ]  # fmt: skip
    summary = json.loads((normalized / "normalize_summary.json").read_text())
    loaded = load_dataset(str(normalized), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {
        name: entry["rows"] for name, entry in summary.items()
    }
    for name, entry in summary.items():
        assert entry["records"] == entry["rows"] + sum(entry["rejected"].values())
        assert pq.read_table(normalized / f"rejected/{name}.parquet").num_rows == sum(entry["rejected"].values())
        catalog = json.loads((normalized / f"{name}__tools_catalog.json").read_text())
        offered = set(pq.read_table(normalized / f"data/{name}-00000-of-00001.parquet")["source_tools_id"].to_pylist())
        assert offered - {None} == set(catalog)


def test_normalize_in_the_plain_layout_with_some_splits_and_records(shell: Shell) -> None:
    folder = shell.directory / "plain"
    told = shell(
        "normalize",
        "--dataset",
        "nvidia/Nemotron-Science-v1",
        "--out-dir",
        str(folder),
        "--split",
        "RQA",
        "--max-records",
        "9",
    )
    assert told.code == 0
    assert [path.name for path in folder.glob("*.parquet")] == ["RQA__00000.parquet"]
    assert json.loads((folder / "normalize_summary.json").read_text())["RQA"]["records"] == 9
    assert pq.read_schema(folder / "RQA__00000.parquet").equals(ROW_SCHEMA)


def test_a_rejected_row_can_be_kept_and_says_so(shell: Shell) -> None:
    counts = {}
    for flags in ([], ["--keep-empty-completion"], ["--keep-invalid-harmony"]):
        folder = shell.directory / "_".join(["kept", *flags])
        assert (
            shell("normalize", "--dataset", RENDERED, "--split", "medium", "--out-dir", str(folder), *flags).code == 0
        )
        rows = pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("medium__*.parquet")))
        rejected = json.loads((folder / "normalize_summary.json").read_text())["medium"]["rejected"]
        lowered = [
            rows[name].to_pylist().count(False) for name in ("quality_completion_nonempty", "quality_valid_harmony")
        ]
        counts[" ".join(flags)] = (rejected, lowered)
    assert counts[""] == ({"empty_completion": 1, "invalid_harmony": 2}, [0, 0])
    assert counts["--keep-empty-completion"] == ({"invalid_harmony": 2}, [1, 0])
    assert counts["--keep-invalid-harmony"] == ({"empty_completion": 1}, [0, 2])


def test_an_empty_file_is_a_split_without_rows(shell: Shell) -> None:
    data = shell.directory / "sources/nvidia/Nemotron-Math-Proofs-v1/data"
    data.mkdir(parents=True)
    (data / "lean.jsonl").touch()
    environment = {"NEMO_SOURCE_DIR": str(shell.directory / "sources")}
    folder = shell.directory / "empty"
    assert shell("normalize", "--dataset", PROOFS, "--out-dir", str(folder), "--write-readme", **environment).code == 0
    assert json.loads((folder / "normalize_summary.json").read_text()) == {
        "lean": {"records": 0, "rejected": {}, "rows": 0, "tags": {}}
    }
    assert pq.read_table(folder / "rejected/lean.parquet").num_rows == 0
    assert not list(folder.glob("*.parquet"))
    told = shell("run", "--dataset", PROOFS, "--until", "published", **environment)
    assert told.code == 0, told
    assert sorted(path for path in files_below(shell.data / "hub/local" / f"{PROOFS}-pools") if path[0] != ".") == [
        "README.md",
        "lineage/lean.json",
    ]


def test_pools_copies_the_members_of_every_pool_that_has_any(shell: Shell, normalized: Path) -> None:
    folder = shell.directory / "pools"
    assert shell("pools", "--in-dir", str(normalized), "--out-dir", str(folder)).code == 0
    counts = json.loads((folder / "pools_manifest.json").read_text())["pools"]
    assert {path.parent.name: pq.read_metadata(path).num_rows for path in folder.glob("*/*.parquet")} == {
        name: n for name, n in counts.items() if n
    }
    assert counts["candidates_tool_use"] > 0
    assert counts["candidates_proofs"] == 0
    rows = [row for path in sorted((normalized / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    expected = [row["id"] for row in rows if row["quality_has_tool"] and row["quality_valid_tool_schema"]]
    assert (
        pq.read_table(folder / "candidates_tool_use" / "candidates_tool_use__00000.parquet")["id"].to_pylist()
        == expected
    )


def test_publish_commits_a_folder_without_its_hidden_files(shell: Shell, normalized: Path) -> None:
    target = shell.directory / "published"
    first = shell("publish", "--repo", "alice/agentic", "--folder", str(normalized), NEMO_PUBLISH_TO=str(target))
    assert first.code == 0
    expected = {path: content for path, content in files_below(normalized).items() if not path.startswith(".")}
    assert {
        path: content for path, content in files_below(target / "alice/agentic").items() if not path.startswith(".")
    } == expected
    assert shell("publish", "--repo", "alice/agentic", "--folder", str(normalized)).out == first.out  # the same commit


def test_publish_goes_to_the_hub_without_a_directory(shell: Shell, normalized: Path, hub_server: RunningHub) -> None:
    told = shell(
        "publish",
        "--repo",
        "alice/agentic",
        "--folder",
        str(normalized),
        HF_ENDPOINT=hub_server.endpoint,
        HF_TOKEN=hub_server.token,
    )
    assert told.code == 0, told
    repository = hub_server.store.repositories["alice/agentic"]
    assert repository.private
    assert "data/tool_calling-00000-of-00001.parquet" in repository.commits[repository.head].files


def test_score_writes_a_score_for_every_row_of_a_folder(shell: Shell, tiny_student: Path) -> None:
    rows, scores = shell.directory / "rows", shell.directory / "scores"
    shell("normalize", "--dataset", RENDERED, "--split", "high_part01", "--out-dir", str(rows))
    command = ["score", "--in-dir", str(rows), "--out-dir", str(scores)]
    assert shell(*command, MODEL_NAME=str(tiny_student), MAX_LENGTH="1024").code == 0
    summary = json.loads((scores / "scores_summary.json").read_text())
    assert len(summary) == 2
    for name, entry in summary.items():
        table = pq.read_table(scores / name)
        assert table["id"] == pq.read_table(rows / name.removeprefix("student/"))["id"]
        assert entry["rows"] == table.num_rows
        assert entry["scored"] == table["status"].to_pylist().count("ok") > 0


def test_score_fetches_candidates_from_the_hub(
    shell: Shell, tiny_student: Path, sample: Settings, hub_server: RunningHub
) -> None:
    part = sample.store.paths(sample.store.current(Stage.DEDUPED, f"{RENDERED}/high_part01"))[0]
    hub_server.store.seed("alice/pools", {"wanted/a.parquet": part.read_bytes(), "other/b.parquet": part.read_bytes()})
    environment = {
        "CANDIDATE_DATASET_ID": "alice/pools", "CANDIDATE_SUBDIR": "wanted", "MAX_RECORDS": "2",
        "MODEL_NAME": str(tiny_student), "HF_ENDPOINT": hub_server.endpoint,
    }  # fmt: skip
    assert shell("score", "--out-dir", str(shell.directory / "scores"), **environment).code == 0
    found = [path for path in files_below(shell.directory / "scores") if path.startswith("student/")]
    assert found == ["student/wanted/a.parquet"]
    scores = pq.read_table(shell.directory / "scores" / found[0])
    assert scores["id"].to_pylist() == pq.read_table(part)["id"].to_pylist()
    assert len([status for status in scores["status"].to_pylist() if status != "not_scored"]) == 2


# The chain


def test_run_on_a_sample_works_beside_the_data_and_publishes_to_a_directory(shell: Shell) -> None:
    command = ["run", "--split", f"{SCIENCE}/MCQ", "--max-records", "8", "--until", "published"]
    told = shell(*command, NEMO_PUBLISH_TO="hf://alice")
    assert told.code == 0, told
    assert sorted(path.name for path in shell.data.iterdir()) == ["samples"]
    assert (shell.data / "samples/first-8/hub/local/nemotron-science-v1-pools/rows/MCQ-00000.parquet").is_file()
    assert json.loads(shell("status", "--json").out) == []
    listed = json.loads(shell("status", "--json", NEMO_DATA_DIR=str(shell.data / "samples/first-8")).out)
    stages = {entry["stage"]: entry for entry in listed}
    assert list(stages)[:9] == [
        "raw",
        "normalized",
        "signatures",
        "duplicates",
        "deduped",
        "ledger",
        "pools",
        "lineage_index",
        "published",
    ]
    assert stages["ledger"].keys() >= {"stage", "partition", "data_version", "rows", "counters", "parts"}
    assert (stages["ledger"]["partition"], stages["ledger"]["rows"], stages["ledger"]["counters"]["records"]) == (
        f"{SCIENCE}/MCQ",
        8,
        8,
    )
    part = stages["ledger"]["parts"][0]
    assert set(part) == {"table", "path", "rows", "bytes", "sha256"}
    assert (shell.data / "samples/first-8" / part["path"]).stat().st_size == part["bytes"]


def test_run_skips_what_is_current(shell: Shell) -> None:
    command = ["run", "--split", f"{SCIENCE}/RQA", "--until", "ledger"]
    assert shell(*command).code == 0
    before = {path: path.stat().st_mtime_ns for path in shell.data.rglob("*.parquet")}
    again = shell(*command)
    assert again.code == 0
    assert again.err.splitlines()[-1].startswith("0 made")
    assert {path: path.stat().st_mtime_ns for path in shell.data.rglob("*.parquet")} == before


@pytest.mark.slow
def test_the_demo_takes_the_sample_through_the_whole_chain(shell: Shell, tiny_student: Path) -> None:
    told = shell("demo")  # `tiny_student` only says that this machine can score
    assert told.code == 0, told
    settings = Settings.from_environment({"NEMO_DATA_DIR": str(shell.data)})
    partitions = set(settings.catalog.splits)
    for stage in (Stage.LEDGER, Stage.PUBLISHED, Stage.SCORED):
        assert {manifest.partition for manifest in settings.store.manifests(stage)} == partitions
    for line in told.out.splitlines():
        if " explain " in line:
            reference = line.split(" explain ")[1].split()[0]
            assert shell("explain", reference).code == 0


# Looking at data


@pytest.fixture
def looking(shell: Shell, sample: Settings) -> Shell:
    """A shell whose data directory is the sample up to pools; nothing of this writes there."""
    shell.data.symlink_to(sample.data_dir)
    return shell


def ledger_entry(sample: Settings, key: str, state: str) -> dict[str, Any]:
    entries = rows_of(sample.store.current(Stage.LEDGER, key), sample.store).to_pylist()
    return next(entry for entry in entries if entry["state"] == state)


def test_a_kept_row_is_explained_by_its_id(looking: Shell, sample: Settings) -> None:
    kept = ledger_entry(sample, f"{SCIENCE}/MCQ", "kept")
    told = looking("explain", kept["id"])
    assert told.code == 0, told
    assert kept["record_uid"].hex() in told.out
    assert "data/MCQ.jsonl" in told.out


def test_a_removed_record_is_explained_with_its_survivor_and_its_bytes(looking: Shell, sample: Settings) -> None:
    removed = ledger_entry(sample, f"{SCIENCE}/RQA", "removed")
    explained = json.loads(looking("explain", removed["record_uid"].hex(), "--json").out)
    assert removed["survivor_uid"].hex() in json.dumps(explained)
    lines = (HUB / "nvidia/Nemotron-Science-v1/data/RQA.jsonl").read_bytes().split(b"\n")
    raw = looking("explain", removed["record_uid"].hex(), "--raw").out
    assert raw.encode().removesuffix(b"\n") == lines[removed["source_row"]]


def test_a_rejected_record_is_explained_by_its_place(looking: Shell, sample: Settings) -> None:
    rejected = ledger_entry(sample, f"{SCIENCE}/MCQ", "rejected")
    told = looking("explain", f"{SCIENCE}:MCQ:{rejected['source_file']}:{rejected['source_row']}")
    assert told.code == 0, told
    assert rejected["code"] in told.out


def test_rows_can_be_sampled_and_asked_for_in_sql(looking: Shell, sample: Settings) -> None:
    sampled = json.loads(looking("sample", "deduped", f"{SCIENCE}/MCQ", "-n", "3", "--json").out)
    assert len({row["record_uid"] for row in sampled}) == 3
    counted = json.loads(looking("query", "SELECT state, count(*) AS n FROM ledger GROUP BY state", "--json").out)
    manifests = list(sample.store.manifests(Stage.LEDGER))
    expected = {
        "kept": sum(manifest.counters["kept"] for manifest in manifests),
        "rejected": sum(sum(manifest.counters["rejected"].values()) for manifest in manifests),
        "removed": sum(sum(manifest.counters["removed"].values()) for manifest in manifests),
    }
    assert {row["state"]: row["n"] for row in counted} == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["explain", "no-such-id"], "no-such-id"),
        (["explain", f"{SCIENCE}:MCQ:data/MCQ.jsonl:99999"], "99999"),
        (["sample", "dedupped", f"{SCIENCE}/MCQ"], "dedupped"),
        (["sample", "deduped", f"{SCIENCE}/MQC"], f"{SCIENCE}/MQC"),
        (["sample", "deduped", f"{SCIENCE}/MCQ", "--where", "no_such_column > 1"], "no_such_column"),
        (["query", "SELECT * FROM no_such_table"], "no_such_table"),
        (["query", "SELEC 1"], "SELEC"),
    ],
)
def test_a_wrong_question_is_one_line(looking: Shell, arguments: list[str], told: str) -> None:
    assert_one_clear_line(looking(*arguments), told)


# What the user can put right


@pytest.fixture
def broken_source(tmp_path: Path) -> Path:
    """A source that lacks one file and whose other one is no Parquet."""
    for repo in ("nvidia/Nemotron-Agentic-v1", "radna0/nemotron-math-v2-harmony-tools"):
        shutil.copytree(HUB / repo, tmp_path / "sources" / repo)
    (tmp_path / "sources/nvidia/Nemotron-Agentic-v1/data/tool_calling.jsonl").unlink()
    (tmp_path / "sources/radna0/nemotron-math-v2-harmony-tools/data/low-00000-of-00001.parquet").write_bytes(
        b"not found"
    )
    return tmp_path / "sources"


@pytest.mark.parametrize(
    ("command", "environment", "told"),
    [
        (
            "run --split nemotron-science-v1/MCQ",
            "NEMO_SOURCE_DIR=/no/place",
            "/no/place/nvidia/Nemotron-Science-v1 does not",
        ),
        (
            "run --dataset nemotron-maths",
            "",
            "nemotron-maths: the catalog has no such dataset. It has nemotron-math-v2,",
        ),
        ("run --split nemotron-math-v2/hgih", "", "the catalog has no such split. It has nemotron-math-v2/low,"),
        ("run --until publish", "", "--until publish: there is no such stage. There are raw, normalized,"),
        ("run", "NEMO_SCORER=gpu", "NEMO_SCORER=gpu: set it to modal or local"),
        ("run", "MAX_LENGTH=many", "MAX_LENGTH=many: set it to a whole number"),
        ("run", "NEMO_CATALOG_DIR=/no/place", "/no/place: the catalog directory holds no YAML file"),
        ("run", "NEMO_DATA_DIR=s3://bucket/data", "NEMO_DATA_DIR=s3://bucket/data: set it to a local directory"),
        (
            "normalize --dataset nemotron-science-v1 --split MQC --out-dir out",
            "",
            "nemotron-science-v1/MQC: the catalog has",
        ),
        ("pools --in-dir /no/place --out-dir out", "", "/no/place: there is no such folder"),
        ("publish --repo alice --folder .", "", "'alice' is no dataset repo name. It must read <org>/<name>"),
        (
            "publish --repo alice/x --folder /no/place",
            "NEMO_PUBLISH_TO=out",
            "/no/place: there is no such folder to publish",
        ),
        ("score --out-dir out", "", "say what to score, by --in-dir or by CANDIDATE_DATASET_ID"),
    ],
)
def test_what_is_not_there_is_one_line(shell: Shell, command: str, environment: str, told: str) -> None:
    shell.monkeypatch.chdir(shell.directory)
    variables = dict([environment.split("=")]) if environment else {}
    assert_one_clear_line(shell(*command.split(), **variables), told)
    assert not list(shell.directory.rglob("manifest.json"))
    assert not (shell.directory / "out").exists()


def test_a_file_that_the_source_lacks_is_one_line(shell: Shell, broken_source: Path) -> None:
    told = shell("run", "--split", f"{AGENTIC}/tool_calling", NEMO_SOURCE_DIR=str(broken_source))
    assert_one_clear_line(
        told,
        "the card names data/tool_calling.jsonl",
        "It has data/interactive_agent.jsonl",
        "nemotron-agentic-v1.yaml",
    )
    assert not list(shell.data.rglob("manifest.json"))


def test_parquet_that_is_none_is_one_line(shell: Shell, broken_source: Path) -> None:
    told = shell("run", "--split", f"{RENDERED}/low", NEMO_SOURCE_DIR=str(broken_source))
    assert_one_clear_line(
        told, "harmony-tools/data/low-00000-of-00001.parquet: cannot be read as Parquet", "Fetch it again"
    )
    assert not (shell.data / Stage.NORMALIZED / RENDERED / "low" / "manifest.json").exists()


@pytest.mark.parametrize("command", ["pools", "score"])
def test_a_folder_of_something_else_is_one_line(shell: Shell, tiny_student: Path, command: str) -> None:
    file = shell.directory / "rows" / "a.parquet"
    file.parent.mkdir()
    file.write_bytes(b"not found")
    arguments = [command, "--in-dir", str(file.parent), "--out-dir", str(shell.directory / "out")]
    told = shell(*arguments, MODEL_NAME=str(tiny_student))
    assert_one_clear_line(told, f"{file}: cannot be read as Parquet")
    pq.write_table(pa.table({"id": ["a"]}), file)
    told = shell(*arguments, MODEL_NAME=str(tiny_student))
    assert_one_clear_line(told, str(file), "is missing")


NOWHERE = "http://127.0.0.1:9"  # nobody answers there: what is missing must be noticed before the network is used


@pytest.mark.parametrize("how", ["run", "publish"])
def test_a_missing_token_is_one_line(shell: Shell, how: str) -> None:
    hub = {"NEMO_PUBLISH_TO": "hf://alice", "HF_ENDPOINT": NOWHERE, "HF_TOKEN": ""}
    environment = {**shell.environment, **hub, "HF_HOME": str(shell.directory)}  # where no login is stored
    arguments = ["run", "--split", f"{SCIENCE}/MCQ", "--until", "published"]
    if how == "publish":
        arguments = ["publish", "--repo", "alice/sample", "--folder", str(HUB / "nvidia/Nemotron-Science-v1")]
    told = in_a_process(arguments, environment)
    last = replace(told, out="", err=told.err.splitlines()[-1])  # before it, `run` says what it made
    assert_one_clear_line(last, "publishing needs a token", "HF_TOKEN", "NEMO_PUBLISH_TO")
    assert not list(shell.data.glob("published/**/manifest.json"))


def test_missing_modal_credentials_are_one_line(shell: Shell) -> None:
    pytest.importorskip("modal", reason="pip install -e '.[modal]'")
    rows = shell.directory / "rows"
    rows.mkdir()
    pq.write_table(pa.table({"id": ["a"]}), rows / "a.parquet")
    modal = {"NEMO_SCORER": "modal", "HF_ENDPOINT": NOWHERE, "MODAL_CONFIG_PATH": str(shell.directory / "none.toml")}
    # The tests of the offline control plane leave its credentials in the environment of this process.
    no_credentials = {"MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""}
    told = in_a_process(
        ["score", "--in-dir", str(rows), "--out-dir", str(shell.directory / "out")],
        {**shell.environment, **modal, **no_credentials},
    )
    assert_one_clear_line(told, "MODAL_TOKEN_ID", "NEMO_SCORER=local")


@pytest.mark.parametrize("how", ["run", "normalize"])
def test_a_full_disk_is_one_line_and_what_was_current_stays(shell: Shell, small_disk: Path, how: str) -> None:
    arguments = ["run", "--split", "nemotron-math-v2/low", "--until", "pools"]
    if how == "normalize":
        arguments = ["normalize", "--dataset", "nemotron-math-v2", "--out-dir", str(small_disk / "out")]
    told = in_a_process(arguments, shell.environment | {"NEMO_DATA_DIR": str(small_disk / "data")})
    last = replace(told, out="", err=told.err.splitlines()[-1])
    assert_one_clear_line(last, str(small_disk), "the disk is full", "NEMO_DATA_DIR")
    assert "Traceback" not in told.err
    settings = Settings(data_dir=small_disk / "data", source_dir=HUB)
    parts = [part for manifest in settings.store.manifests() for part in manifest.parts]
    assert all(settings.store.path(part).stat().st_size == part.bytes for part in parts)


@pytest.mark.parametrize("how", ["run", "normalize"])
def test_a_disk_that_cannot_be_written_is_one_line(shell: Shell, small_disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    arguments = ["run", "--split", "nemotron-math-v2/low", "--until", "pools"]
    if how == "normalize":
        arguments = ["normalize", "--dataset", "nemotron-math-v2", "--out-dir", str(small_disk / "out")]
    told = in_a_process(arguments, shell.environment | {"NEMO_DATA_DIR": str(small_disk / "data")})
    assert_one_clear_line(told, str(small_disk), "Read-only file system", "NEMO_DATA_DIR")


def test_a_file_in_place_of_the_data_directory_is_one_line(shell: Shell) -> None:
    shell.data.write_text("a file")
    assert_one_clear_line(shell("run", "--split", f"{SCIENCE}/MCQ", "--until", "raw"), str(shell.data), "NEMO_DATA_DIR")


def test_a_file_size_limit_is_one_line(shell: Shell) -> None:
    out = shell.directory / "out"
    arguments = ["normalize", "--dataset", "nemotron-math-v2", "--split", "medium", "--out-dir", str(out)]
    limits = (50_000, 50_000)  # bytes
    told = in_a_process(
        arguments, shell.environment, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    )
    assert_one_clear_line(told, "`ulimit -f`")
    assert not list(shell.directory.rglob("manifest.json"))
