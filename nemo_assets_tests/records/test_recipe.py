"""What is made again after an edit: the splits the edit touches, and nothing else."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import nemo_assets
from nemo_assets.catalog import CATALOG_DIR, Catalog, load_catalog
from nemo_assets.records.recipe import code_digest, normalize_recipe, recipe_version

MATH_V2 = {f"nemotron-math-v2/{name}" for name in ("low", "medium", "high_part00", "high_part01", "high_part02")}
RENDERED = {key.replace("math-v2/", "math-v2-harmony-tools/") for key in MATH_V2}
LEAN = {"nemotron-math-proofs-v1/lean"}
SCIENCE = {"nemotron-science-v1/MCQ", "nemotron-science-v1/RQA"}
CHAT = SCIENCE | {
    "nemotron-agentic-v1/interactive_agent",
    "nemotron-agentic-v1/tool_calling",
    "nemotron-instruction-following-chat-v1/chat_if",
    "nemotron-instruction-following-chat-v1/structured_outputs",
}
ALL = MATH_V2 | RENDERED | LEAN | CHAT


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The rooms that decide what a row is, to be edited."""
    origin = Path(nemo_assets.__file__).parent
    for room in ("harmony", "records"):
        shutil.copytree(origin / room, tmp_path / "package" / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "package"


def recipes(package: Path) -> dict[str, str]:
    code_digest.cache_clear()  # a running process never looks again
    return {key: normalize_recipe(split, package=package) for key, split in load_catalog().splits.items()}


def changed(package: Path, path: str, edit: Callable[[str], str]) -> set[str]:
    before, file = recipes(package), package / path
    edited = edit(file.read_text())
    assert edited != file.read_text()
    ast.parse(edited)
    file.write_text(edited)
    after = recipes(package)
    return {key for key in before if before[key] != after[key]}


@pytest.mark.parametrize(
    ("path", "splits"),
    [
        ("harmony/templates/math_v2.py", MATH_V2),
        ("harmony/templates/proofs_statement.py", LEAN),
        ("harmony/templates/harmony_1.py", LEAN | CHAT),
        ("harmony/templates/__init__.py", ALL),
        ("harmony/render.py", ALL),
        ("records/rows.py", ALL),
        ("records/adapters/math_v2.py", MATH_V2),
        ("records/adapters/math_proofs.py", LEAN),
        ("records/adapters/chat_messages.py", CHAT),
        ("records/adapters/rendered_text.py", RENDERED),
    ],
)
def test_a_change_of_code_reaches_the_splits_that_run_it(package, path, splits):
    assert changed(package, path, lambda source: source + "\nADDED = 1\n") == splits


@pytest.mark.parametrize("path", ["harmony/render.py", "harmony/templates/math_v2.py", "records/adapters/math_v2.py"])
def test_comments_docstrings_and_layout_change_nothing(package, path):
    edits = [
        lambda source: '# A comment that names "harmony-1".\n' + source + "\n\n# At the end.\n",
        lambda source: source.replace('"""', '"""Reworded: ', 1),
        lambda source: source.replace("\n\n\n", "\n\n\n\n"),
    ]
    assert [changed(package, path, edit) for edit in edits] == [set(), set(), set()]


def test_a_docstring_given_to_or_taken_from_a_function_changes_nothing(package):
    path = package / "records" / "adapters" / "math_v2.py"
    path.write_text(path.read_text() + "\n\ndef more():\n    return 1\n")
    given = "def more():\n    '''Says one.'''\n    return 1\n"
    assert (
        changed(package, "records/adapters/math_v2.py", lambda s: s.replace("def more():\n    return 1\n", given))
        == set()
    )
    assert changed(package, "records/adapters/math_v2.py", lambda s: s.replace("return 1", "return 2")) == MATH_V2


def test_a_new_template_an_adapter_names_becomes_part_of_its_recipe(package):
    (package / "harmony" / "templates" / "lean_2.py").write_text("NEW = 1\n")
    named = changed(package, "records/adapters/math_proofs.py", lambda s: s.replace('"proofs-statement"', '"lean-2"'))
    assert named == LEAN
    assert changed(package, "harmony/templates/lean_2.py", lambda s: s + "MORE = 1\n") == LEAN
    assert changed(package, "harmony/templates/proofs_statement.py", lambda s: s + "MORE = 1\n") == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "splits"),
    [
        ("nemotron-math-v2", "low: {effort: low,", "low: {effort: medium,", {"nemotron-math-v2/low"}),
        ("nemotron-math-v2", "low: {", "low: {files: [data/low_2.jsonl], ", {"nemotron-math-v2/low"}),
        ("nemotron-science-v1", "domain: science", "domain: chemistry", SCIENCE),
        ("nemotron-science-v1", "identity: uuid", "identity: content", SCIENCE),
        ("nemotron-science-v1", "adapter: chat", "loss_mode: assistant_last\nadapter: chat", SCIENCE),
        # Order decides who survives, title and licence stand on the card: rows do not depend on them.
        ("nemotron-science-v1", "order: 30", "order: 5", set()),
        ("nemotron-science-v1", "title: Nemotron", "title: The Nemotron", set()),
        ("nemotron-science-v1", "license: cc-by-4.0", "license: mit", set()),
        ("policies/pools", "meta_correctness <= 0.25", "meta_correctness <= 0.3", set()),
    ],
)
def test_a_change_of_the_catalog_reaches_exactly_its_splits(tmp_path, file, old, new, splits):
    before, after = (
        {key: normalize_recipe(split) for key, split in catalog.splits.items()}
        for catalog in edited(tmp_path, file, old, new)
    )
    assert {key for key in before if before[key] != after[key]} == splits


def edited(tmp_path: Path, file: str, old: str, new: str) -> tuple[Catalog, Catalog]:
    directory = tmp_path / "catalog"
    shutil.copytree(CATALOG_DIR, directory)
    path = directory / f"{file}.yaml"
    assert path.read_text().count(old) == 1
    before = load_catalog(directory)
    path.write_text(path.read_text().replace(old, new))
    return before, load_catalog(directory)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("policies/pools", "meta_correctness <= 0.25", "meta_correctness <= 0.3"),
     ("policies/checkpoints", "openai/gpt-oss-20b", "openai/gpt-oss-120b")],
)  # fmt: skip
def test_pools_and_checkpoints_are_part_of_every_recipe_version(tmp_path, file, old, new):
    before, after = edited(tmp_path, file, old, new)
    same = [
        key for key, split in before.splits.items() if recipe_version(before, split) == recipe_version(after, split)
    ]
    assert same == []
    again = load_catalog(tmp_path / "catalog")
    assert {key: recipe_version(again, s) for key, s in again.splits.items()} == {
        key: recipe_version(after, s) for key, s in after.splits.items()
    }
