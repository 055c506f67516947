"""The rows of the scoring benchmark are what it claims, and the ways it measures give the same numbers."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="scoring tests need PyTorch: pip install -e '.[score]'")
pytest.importorskip("transformers", reason="scoring tests need transformers: pip install -e '.[score]'")

import torch

from nemo_assets_tests.benchmarks.scoring_contenders import CONTENDERS, PACKAGES
from nemo_assets_tests.benchmarks.scoring_input import (
    ROWS_FILE,
    Row,
    Size,
    read_rows,
    spread_sizes,
    write_model,
    write_rows,
)
from nemo_assets_tests.benchmarks.scoring_speed import accelerated, main

LONGEST = 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten short rows and a toy model."""
    folder = tmp_path_factory.mktemp("scoring")
    write_rows(folder, spread_sizes(10, LONGEST))
    write_model(folder, "toy")
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_rows_have_the_sizes_asked_for_which_have_the_spread_claimed(folder: Path) -> None:
    sizes = spread_sizes(2_000, 512)
    lengths = [size.tokens for size in sizes]
    assert (min(lengths), max(lengths)) == (24, 512)
    assert statistics.median(lengths) == pytest.approx(128, rel=0.1)
    assert sum(size.completion for size in sizes) / sum(lengths) == pytest.approx(0.3, abs=0.02)

    for row, size in zip(read_rows(folder), spread_sizes(10, LONGEST), strict=True):
        assert size.tokens - 8 <= row.tokens <= size.tokens
        assert abs(row.scored - size.completion) <= 3
        assert row.text[row.begin :].endswith("<|return|>")
        assert row.text[row.end :] == "<|return|>"


def test_a_row_may_be_longer_than_the_sample(tmp_path: Path) -> None:
    (row,) = write_rows(tmp_path, [Size(150_000, 45_000)])
    assert row.tokens == pytest.approx(150_000, abs=12)
    assert row.scored == pytest.approx(45_000, abs=4)


def test_every_way_gives_each_row_the_same_number(folder: Path) -> None:
    rows = json.loads((folder / ROWS_FILE).read_text())
    here = [name for name in CONTENDERS if name not in PACKAGES]
    means = {name: CONTENDERS[name](folder, LONGEST, 4)(rows) for name in here}
    truth = means.pop("one by one")
    assert list(truth) == [row["id"] for row in rows]
    assert statistics.stdev(truth.values()) > 0.01
    for name, each in means.items():
        assert each == pytest.approx(truth, abs=1e-4), name


def test_a_run_prints_figures_of_what_it_measured_and_why_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    ways = "one by one,lm_eval,nemo_assets"
    main(["--models", "toy", "--rows", "4", "--max-length", str(LONGEST), "--rounds", "1", "--only", ways])
    cells = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    printed = {cell[0].removeprefix("| "): cell[1:] for cell in cells[2:]}
    assert list(printed) == ways.split(",")
    assert printed["lm_eval"][0] == "no --peers"
    assert float(printed["nemo_assets"][0].replace(",", "")) > 0
    assert float(printed["nemo_assets"][-1].strip(" |")) < 1e-4


def test_the_memory_of_one_long_row_is_measured_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--memory", "--models", "toy", "--tokens", "3000"])
    model, tokens, scored, peak, _ = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert model == "toy"
    assert 2_980 < int(tokens.replace(",", "")) <= 3_000
    assert 890 < int(scored.replace(",", "")) <= 910
    assert 0 < int(peak) < 1_000


def test_the_path_of_the_gpu_scores_every_row(folder: Path) -> None:
    seconds, rows = accelerated(folder, "toy", LONGEST, "cpu", torch.bfloat16)
    assert rows == read_rows(folder)
    assert isinstance(rows[0], Row)
    assert 0 < seconds < math.inf


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--gpu"])
    assert capsys.readouterr().out == "not measured: no GPU\n"
