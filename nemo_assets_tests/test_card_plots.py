"""Pictures of a dataset card: which there are, what is drawn, that bytes repeat."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from typing import Any

import pytest

from nemo_assets import card_plots
from nemo_assets.card_plots import card_images


def record(split: str, tokens: dict[str, int]) -> dict[str, Any]:
    rows = sum(tokens.values())
    histograms = {"tokens": tokens, "correctness": {"0.3": 1, "1.0": 2, "none": rows - 3}, "domain": {"math": rows}}
    return {"split": split, "histograms": histograms}


RECORDS = [record("low", {"256": 3, "1024": 4}), record("high", {"1024": 5})]
RESULTS = [
    {"split": "low", "checkpoints": {"student": {"histogram": {"0.3": 2, "1.1": 1}}}},
    {"split": "high", "checkpoints": {"student": {"histogram": {"1.1": 4}}, "reference": {"histogram": {"10.0": 1}}}},
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What would be drawn: the specification of each picture, by its title."""
    found: dict[str, dict[str, Any]] = {}
    original = card_plots._rendered

    def noted(chart: Any) -> bytes:
        specification = chart.to_dict()
        found[specification["title"]["text"]] = specification
        return original(chart)

    monkeypatch.setattr(card_plots, "_rendered", noted)
    return found


def test_there_is_a_picture_for_all_that_has_figures() -> None:
    images = card_images(RECORDS, RESULTS)
    assert list(images) == ["images/tokens.png", "images/correctness.png", "images/domain.png", "images/nll.png"]
    assert list(card_images(RECORDS)) == ["images/tokens.png", "images/correctness.png", "images/domain.png"]
    assert card_images([record("low", {})], [{"split": "low", "checkpoints": {}}]).keys() == {
        "images/correctness.png", "images/domain.png",
    }  # fmt: skip
    assert card_images([]) == {}


def test_pictures_are_opaque_png_of_twice_the_size() -> None:
    for path, picture in card_images(RECORDS, RESULTS).items():
        assert picture.startswith(b"\x89PNG\r\n\x1a\n"), path
        width, _ = struct.unpack(">II", picture[16:24])
        assert width > 2 * 560


def test_another_process_draws_the_same_bytes() -> None:
    code = (
        "import hashlib, json, sys; from nemo_assets.card_plots import card_images;"
        "records, results = json.load(sys.stdin);"
        "print(json.dumps({k: hashlib.sha256(v).hexdigest() for k, v in card_images(records, results).items()}))"
    )
    asked = json.dumps([RECORDS, RESULTS])
    runs = [
        subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_each_bar_is_the_count_of_a_bin_and_a_split(drawn: dict[str, dict[str, Any]]) -> None:
    card_images(RECORDS)
    length = drawn["Length of rows"]
    assert length["title"]["subtitle"] == "12 rows"
    assert [(bar["bin"], bar["rows"], bar["series"]) for bar in length["data"]["values"]] == [
        ("256–511", 3, "low"), ("1–2 Ki", 4, "low"), ("1–2 Ki", 5, "high"),
    ]  # fmt: skip
    assert length["encoding"]["x"]["scale"]["domain"] == ["256–511", "512–1023", "1–2 Ki"]  # a gap stays a gap
    bins = {(bar["bin"], bar["series"]): bar["rows"] for bar in drawn["Correctness"]["data"]["values"]}
    assert bins["0.3–0.4", "low"] == 1
    assert bins["1.0", "low"] == 2
    assert bins["unknown", "low"] == 4


def test_many_splits_are_summed(drawn: dict[str, dict[str, Any]]) -> None:
    card_images([record(f"part{number}", {"4096": 3 + number}) for number in range(7)])
    assert drawn["Length of rows"]["data"]["values"] == [
        {"bin": "4–8 Ki", "rows": 3 + 4 + 5 + 6 + 7 + 8 + 9, "series": "all 7 splits", "place": 0}
    ]


def test_scores_are_summed_over_splits_by_checkpoint(drawn: dict[str, dict[str, Any]]) -> None:
    card_images(RECORDS, RESULTS)
    surprise = drawn["Surprise of each checkpoint"]
    steps = {(step["series"], step["nll"]): step["rows"] for step in surprise["data"]["values"] if step["rows"]}
    assert steps == {("student", 0.3): 2, ("student", 1.1): 5, ("reference", 10.0): 1}
    assert surprise["title"]["subtitle"] == "8 scores"
