"""An index that was only half written, or by another version: answers say so, and what was searched without it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from typer.testing import CliRunner

from nemo_assets import cli
from nemo_assets.lineage import explain
from nemo_assets.lineage.find import find
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.settings import Settings
from nemo_assets.storage import Manifest, Stage
from nemo_assets.web.app import mounted
from nemo_assets_tests.lineage.chain import MCQ, RQA, World
from nemo_assets_tests.lineage.indexing import build, copied, indexed_copy

PASTE = "They take up carbon dioxide."


def _table(name: str) -> Callable[[World], Path]:
    return lambda made: made.store.paths(made.store.current(Stage.LINEAGE_INDEX, MCQ), name)[0]


def _emptied(table: str) -> Callable[[World], str]:
    def damage(made: World) -> str:
        path = _table(table)(made)
        size = path.stat().st_size
        path.write_bytes(b"")
        return f"has 0 of {size:,} bytes"

    return damage


def _cut_short(table: str) -> Callable[[World], str]:
    def damage(made: World) -> str:
        path = _table(table)(made)
        size = path.stat().st_size
        os.truncate(path, size // 2)
        return f"has {size // 2:,} of {size:,} bytes"

    return damage


def _overwritten(table: str, told: str) -> Callable[[World], str]:
    """As many bytes as before, and none of them as it was: of a file system that lost what it had promised."""

    def damage(made: World) -> str:
        path = _table(table)(made)
        path.write_bytes(b"\1" * path.stat().st_size)
        return f"cannot be read: {told}"

    return damage


def _gone(made: World) -> str:
    _table("text")(made).unlink()
    return "is missing"


def _of_another_version(made: World) -> str:
    manifest = made.store.current(Stage.LINEAGE_INDEX, MCQ)
    made.store.write_manifest(msgspec.structs.replace(manifest, details=manifest.details | {"format": "another"}))
    return "written by another version of the program"


def _of_no_known_version(made: World) -> str:
    manifest = made.store.current(Stage.LINEAGE_INDEX, MCQ)
    details = {name: value for name, value in manifest.details.items() if name != "format"}
    made.store.write_manifest(msgspec.structs.replace(manifest, details=details))
    return "written by another version of the program"


DAMAGES = {
    "records emptied": _emptied("records"),
    "records cut short": _cut_short("records"),
    "records overwritten": _overwritten("records", "file is not a database"),
    "words emptied": _emptied("text"),
    "words cut short": _cut_short("text"),
    "words overwritten": _overwritten("text", "file is not a database"),
    "words gone": _gone,
    "sketches emptied": _emptied("sketches"),
    "sketches overwritten": _overwritten("sketches", "file is not an array"),
    "of another version": _of_another_version,
    "of no known version": _of_no_known_version,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_answers_without_an_index_say_so(
    world: World, tmp_path: Path, damage: Callable[[World], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = indexed_copy(world, tmp_path)
    whole = explain("mcq-first", made.catalog, made.store)
    told = damage(made)

    assert LineageIndex.open(made.store, MCQ) is None
    found = explain("mcq-first", made.catalog, made.store)
    assert (found.entry, found.original, found.decisions) == (whole.entry, whole.original, whole.decisions)
    note = next(note for note in found.notes if "no current lineage_index" in note)
    assert note.startswith(f"{MCQ} ")
    assert told in note
    assert note.endswith("its ledger was read through instead.")

    finding = find(PASTE, made.catalog, made.store)
    assert {hit.entry.partition for hit in finding.hits} == {RQA}
    sentence = finding.searched.sentence()
    assert "of 4 splits" in sentence
    assert f"Not searched, without a current index: {MCQ} (" in sentence
    assert told in sentence

    _is_told_on_pages(made.settings, told)
    _is_told_on_the_command_line(made.settings, told, monkeypatch)

    rebuilt = build_again(made)
    assert explain("mcq-first", made.catalog, made.store) == whole
    assert find(PASTE, made.catalog, made.store).searched.missing == {}
    assert rebuilt.details["format"]


def build_again(made: World) -> Manifest:
    """Make the index anew, as a person does who was told to."""
    directory = made.store.directory(Stage.LINEAGE_INDEX, MCQ)
    directory.rename(directory.with_name("damaged"))
    return build(made.settings, MCQ)


def _is_told_on_pages(settings: Settings, told: str) -> None:
    client = TestClient(Starlette(routes=mounted(lambda: settings)), base_url="http://127.0.0.1")
    for path, asked in (("/lineage/row/mcq-first", {}), ("/lineage/find", {"q": PASTE})):
        answer = client.get(path, params=asked)
        assert answer.status_code == 200
        assert told in answer.text
        assert MCQ in answer.text


def _is_told_on_the_command_line(settings: Settings, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMO_DATA_DIR", str(settings.data_dir))
    for command in (["explain", "mcq-first"], ["find", PASTE]):
        answer = CliRunner().invoke(cli.app, command)
        assert answer.exit_code == 0, answer.output
        assert told in " ".join(answer.output.split())
    answered = json.loads(CliRunner().invoke(cli.app, ["find", PASTE, "--json"]).stdout)
    assert told in answered["searched"]["missing"][MCQ]


def test_a_build_that_was_killed_leaves_the_one_before(world: World, tmp_path: Path) -> None:
    """What is written of the next version is nobody's business until it is whole."""
    made = copied(world, tmp_path)
    before = build(made.settings, MCQ)
    beside = made.store.directory(Stage.LINEAGE_INDEX, MCQ) / "0123456789abcdef"
    beside.mkdir()
    (beside / "records-00000.sqlite").write_bytes(b"")
    index = LineageIndex.open(made.store, MCQ)
    assert index is not None
    assert index.manifest == before
    assert [note for note in explain("mcq-first", made.catalog, made.store).notes if "index" in note] == []
