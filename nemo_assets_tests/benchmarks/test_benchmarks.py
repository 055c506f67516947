"""The input of the benchmark is the same every time and what it claims to be; the contenders make the same of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nemo_assets.catalog import load_catalog
from nemo_assets.sample.math_v2 import DATASET
from nemo_assets.stages.normalized import normalize
from nemo_assets.storage import Stage, Store
from nemo_assets_tests.benchmarks.amplified_source import PATH, SAMPLE, describe, write_source
from nemo_assets_tests.benchmarks.contenders import KEY, STORE, fetch
from nemo_assets_tests.benchmarks.normalize_throughput import main
from nemo_assets_tests.benchmarks.plain_loop import plain_rows
from nemo_assets_tests.benchmarks.step_times import OTHER, StepTimes, step_of

OWN = {"id", "has_code_fence"}  # columns of the plain loop that normalize makes in another way, or not


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of 1.5 MB with its store."""
    folder = tmp_path_factory.mktemp("amplified")
    write_source(folder, megabytes=1.5)
    fetch(folder)
    return folder


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        write_source(tmp_path / name, megabytes=0.3, seed=seed).read_bytes()
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again != other


def test_records_have_the_keys_of_the_sample_in_its_order(folder: Path) -> None:
    ours, sample = (json.loads((root / DATASET / PATH).open("rb").readline()) for root in (folder, SAMPLE.parent))
    assert list(ours) == list(sample)


def test_text_varies_and_sizes_and_shares_are_as_claimed(folder: Path) -> None:
    about = describe(folder / DATASET / PATH)
    assert about.size / about.records == pytest.approx(7_000, rel=0.15)
    assert about.with_tool == pytest.approx(0.5, abs=0.1)
    assert 2.5 < about.compression < 4

    messages = [m for line in (folder / DATASET / PATH).open("rb") for m in json.loads(line)["messages"]]
    text = "".join(message.get("reasoning_content") or "" for message in messages)
    assert 0.001 < sum(not character.isascii() for character in text) / len(text) < 0.02
    words = text.split()
    windows = list(zip(*(words[shift:] for shift in range(8)), strict=False))
    assert len(set(windows)) > 0.99 * len(windows)


def test_large_records_are_as_large_as_asked_for(tmp_path: Path) -> None:
    about = describe(write_source(tmp_path, megabytes=12, row_kilobytes=200))
    assert about.size / about.records == pytest.approx(200_000, rel=0.3)


def test_normalize_keeps_every_record_with_the_values_of_the_plain_loop(folder: Path) -> None:
    store, split = Store(folder / STORE), load_catalog().split(KEY)
    rows = pl.read_parquet(store.paths(normalize(split, store)))
    content_id = store.current(Stage.RAW, split.key).details["files"][0]["content_id"]
    plain = pl.DataFrame(list(plain_rows(folder / DATASET / PATH, content_id)), infer_schema_length=None)
    shared = [name for name in plain.columns if name not in OWN]
    assert rows.height == plain.height > 100
    for name in shared:
        assert rows[name].to_list() == plain[name].to_list(), name


def test_a_run_in_this_process_prints_speed_and_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--source", str(folder), "--contender", "nemo_assets", "--steps"])
    description, *_, last_step = capsys.readouterr().out.split("\n\n")
    assert description.startswith(f"{describe(folder / DATASET / PATH).records:,} records")
    assert "| all |" in last_step


def test_time_in_a_library_is_that_of_the_function_that_called_it() -> None:
    code = "def burn(until):\n    while clock() < until:\n        sorted(range(5000))"
    module: dict[str, Any] = {"__name__": "nemo_assets.records.census", "clock": time.process_time}
    exec(code, module)
    with StepTimes() as times:
        module["burn"](time.process_time() + 0.2)
    assert max(times.seconds, key=times.seconds.__getitem__) == "census"
    assert times.seconds[OTHER] == pytest.approx(sum(times.others.values()))


def test_the_most_specific_entry_names_the_step() -> None:
    assert step_of("nemo_assets.records.adapters.math_v2", "adapt") == "adapt"
    assert step_of("nemo_assets.harmony.templates.math_v2", "_call.<locals>.inner") == "render"
    assert step_of("nemo_assets.harmony.identity", "sha1_text_id") == "hash"
    assert step_of("nemo_assets.web.pages", "show") is None
