"""The demo's student: quick to make, better than chance, and marked as what it is."""

from __future__ import annotations

import json
import random

import pytest

from nemo_assets.scoring import CheckpointRef, Limits, LocalEngine, train_demo_student
from nemo_assets_tests.scoring.texts import made_up_rows, table_of

STEPS = 40


@pytest.fixture(scope="module")
def texts():
    pytest.importorskip("torch", reason="the demo student needs PyTorch: pip install -e '.[score]'")
    return [row.text for row in made_up_rows(120, seed=7)]


@pytest.fixture(scope="module")
def student(texts, tmp_path_factory):
    return train_demo_student(texts, tmp_path_factory.mktemp("students") / "trained", steps=STEPS)


def nll_per_token(directory, rows):
    (shard,) = LocalEngine("cpu").score([table_of(rows)], CheckpointRef("demo", str(directory)), Limits())
    scores = shard.scores
    assert set(scores.column("straddlers").to_pylist()) == {0}
    return sum(scores.column("nll_sum").to_pylist()) / sum(scores.column("completion_token_count").to_pylist())


def test_it_learns_something_about_text_it_has_not_seen(student, texts, tmp_path):
    untrained = train_demo_student(texts, tmp_path / "untrained", steps=0)
    held_out = made_up_rows(20, seed=99)
    assert nll_per_token(student, held_out) < nll_per_token(untrained, held_out) - 1.0


def test_nobody_takes_it_for_a_real_student(student):
    assert json.loads((student / "config.json").read_text())["made_for"] == "nemo-demo-student"
    assert "not a student model" in (student / "README.md").read_text()


def test_the_same_texts_give_the_same_files_and_are_not_trained_on_again(student, texts, tmp_path):
    again = train_demo_student(texts, tmp_path / "again", steps=STEPS)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in student.iterdir()
    }
    (again / "README.md").write_text("kept")
    train_demo_student(texts, again, steps=STEPS)
    assert (again / "README.md").read_text() == "kept"


def test_other_texts_replace_the_student(texts, tmp_path):
    directory = train_demo_student(texts, tmp_path / "student", steps=0)
    before = (directory / "trained_on.sha256").read_text()
    train_demo_student(random.Random(3).sample(texts, 60), directory, steps=0)
    assert (directory / "trained_on.sha256").read_text() != before


def test_too_little_text_is_refused(texts, tmp_path):
    with pytest.raises(ValueError, match="training needs more than 64"):
        train_demo_student(["too little"], tmp_path / "student", steps=1)
    assert not list(tmp_path.iterdir())
