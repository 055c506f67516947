"""Two versions of a ledger: every record in its cell, samples that can be drawn again, and what made the difference."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nemo_assets import lineage_commands
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import open_source
from nemo_assets.lineage import compare_versions as module
from nemo_assets.lineage.compare_versions import Cell, VersionComparison, compare_versions, ledger_versions
from nemo_assets.lineage.version_inputs import MEANINGS, Difference
from nemo_assets.records.schema import LEDGER_SCHEMA
from nemo_assets.stages.deduped import dedupe
from nemo_assets.stages.duplicates import find_duplicates
from nemo_assets.stages.ledger import write_ledger
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.signatures import sign
from nemo_assets.storage import Basis, Manifest, Stage, Store, Unit
from nemo_assets.storage.manifest import made_by
from nemo_assets.storage.parquet import write_part
from nemo_assets_tests.lineage.chain import FILES, LINES, MCQ, PARTITIONS, RQA, World, line, messages, write_lines
from nemo_assets_tests.lineage.indexing import copied

KEPT, REJECTED, NEAR = ("kept", None), ("rejected", "unparseable"), ("removed", "near_duplicate")


def uid(name: str) -> bytes:
    return name.encode().rjust(16, b"_")


def write_version(store: Store, key: str, records: dict[tuple[str, int], dict[str, Any]], run_id: str = "") -> Manifest:
    """Make a ledger of these records current: place → `uid`, `end` and, where there is one, `survivor`."""
    rows = [
        {
            "record_uid": uid(told["uid"]), "dataset": "d", "split": "s", "source_file": file, "source_row": row,
            "state": told["end"][0], "code": told["end"][1], "evidence": json.dumps({"measured": told["uid"]}),
            "survivor_uid": uid(told["survivor"]) if "survivor" in told else None,
            **dict.fromkeys(("source_offset", "id", "similarity")),
        }
        for (file, row), told in sorted(records.items())
    ]  # fmt: skip
    basis = Basis({"deduped": json.dumps(rows, default=str), "normalized": "n"}, {"code": "ledger 1"})
    kept = sum(row["state"] == "kept" for row in rows)
    with made_by(run_id or "a-run"), store.staging(Stage.LEDGER, key, basis) as staging:
        path = staging.target("rows", 0)
        write_part(path, pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA))
        staging.add(Unit(0, (staging.part("rows", path, len(rows)),)))
        return staging.commit(counters={"records": len(rows), "kept": kept, "rejected": {}, "removed": {}})


OLD: dict[tuple[str, int], dict[str, Any]] = {
    ("a", 0): {"uid": "stays", "end": KEPT},
    ("a", 1): {"uid": "goes", "end": KEPT},
    ("a", 2): {"uid": "other", "end": NEAR, "survivor": "stays"},
    ("a", 3): {"uid": "same", "end": NEAR, "survivor": "stays"},
    ("b", 0): {"uid": "old-b0", "end": KEPT},
    ("b", 1): {"uid": "old-b1", "end": REJECTED},
    ("c", 7): {"uid": "back", "end": REJECTED},
}
NEW: dict[tuple[str, int], dict[str, Any]] = {
    ("a", 0): {"uid": "stays", "end": KEPT},
    ("a", 1): {"uid": "goes", "end": NEAR, "survivor": "stays"},
    ("a", 2): {"uid": "other", "end": NEAR, "survivor": "back"},
    ("a", 3): {"uid": "same", "end": NEAR, "survivor": "stays"},
    ("aa", 0): {"uid": "first", "end": KEPT},
    ("b", 0): {"uid": "new-b0", "end": KEPT},
    ("c", 7): {"uid": "back", "end": KEPT},
}


@pytest.fixture
def two(world: World, tmp_path: Path) -> World:
    """A data directory with nothing but two versions of one ledger."""
    made = replace(world, settings=replace(world.settings, data_dir=tmp_path / "data"))
    write_version(made.store, MCQ, OLD)
    write_version(made.store, MCQ, NEW)
    return made


def compared(world: World, old: str | None = None, new: str | None = None, **more: int) -> VersionComparison:
    return compare_versions(world.catalog.split(MCQ), old, new, world.store, **more)


def ends(cell: Cell) -> tuple[Any, Any]:
    return tuple((end.state, end.code) if end else None for end in (cell.old, cell.new))  # type: ignore[return-value]


def test_every_record_of_either_version_is_in_its_cell(two: World) -> None:
    found = compared(two)
    assert {ends(cell): (cell.records, cell.changed) for cell in found.cells} == {
        (KEPT, KEPT): (1, 0),
        (KEPT, NEAR): (1, 1),
        (NEAR, NEAR): (2, 1),  # one of them stands behind another row now
        (REJECTED, KEPT): (1, 1),
        (KEPT, None): (1, 1),
        (REJECTED, None): (1, 1),
        (None, KEPT): (2, 2),
    }
    assert (found.unchanged, found.changed, found.appeared, found.vanished) == (2, 3, 2, 2)
    assert [(each.path, each.vanished, each.appeared) for each in found.files] == [("aa", 0, 1), ("b", 2, 1)]


def test_samples_hold_a_record_as_both_versions_have_it(two: World) -> None:
    samples = {moved.record_uid: moved for cell in compared(two).cells for moved in cell.sample}
    assert set(samples) == {
        uid(name).hex() for name in ("goes", "other", "back", "first", "old-b0", "old-b1", "new-b0")
    }
    goes = samples[uid("goes").hex()]
    assert goes.old is not None
    assert goes.new is not None
    assert (goes.old.state, goes.new.state, goes.new.survivor_uid) == ("kept", "removed", uid("stays").hex())
    assert goes.entry.place == "d:s:a:1"
    gone, came = samples[uid("old-b1").hex()], samples[uid("new-b0").hex()]
    assert (gone.new, gone.is_here, gone.entry.evidence) == (None, False, {"measured": "old-b1"})
    assert (came.old, came.is_here) == (None, True)


def test_backwards_what_appeared_vanishes_and_is_still_here(two: World) -> None:
    newer, older = ledger_versions(two.catalog.split(MCQ), two.store)
    found, back = compared(two), compared(two, newer.version, older.version)
    assert {(cell.new, cell.old): cell.records for cell in back.cells} == {
        (cell.old, cell.new): cell.records for cell in found.cells
    }
    vanished = [moved for cell in back.cells if cell.new is None for moved in cell.sample]
    assert {moved.record_uid for moved in vanished if moved.is_here} == {uid("first").hex(), uid("new-b0").hex()}


def test_between_two_old_versions_the_current_ledger_says_which_records_are_here(two: World) -> None:
    third = {place: told for place, told in NEW.items() if told["uid"] != "goes"}
    write_version(two.store, MCQ, third)
    _, newer, older = ledger_versions(two.catalog.split(MCQ), two.store)
    found = compared(two, older.version, newer.version)
    here = {moved.record_uid: moved.is_here for cell in found.cells for moved in cell.sample}
    assert here[uid("goes").hex()] is False
    assert here[uid("back").hex()] is True


def test_the_same_seed_draws_the_same_and_every_record_can_be_drawn(world: World, tmp_path: Path) -> None:
    made = replace(world, settings=replace(world.settings, data_dir=tmp_path / "data"))
    records = {("f", n): {"uid": f"{n * 7919 % 1009:04}{'x' * 12}", "end": KEPT} for n in range(300)}
    write_version(made.store, MCQ, records)
    write_version(made.store, MCQ, {place: told | {"end": REJECTED} for place, told in records.items()})

    def drawn(seed: int) -> list[str]:
        return [moved.record_uid for moved in compared(made, seed=seed).cells[0].sample]

    assert drawn(1) == drawn(1)
    assert len(drawn(1)) == module.SAMPLED
    assert drawn(1) != drawn(2)
    assert len(compared(made, sampled=300).cells[0].sample) == 300


_ends = st.sampled_from([KEPT, REJECTED, NEAR])
_ledgers = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(0, 12)), st.tuples(st.booleans(), _ends), max_size=30
)


@settings(max_examples=30, deadline=None)
@given(old=_ledgers, new=_ledgers, piece=st.integers(1, 9))
def test_pieces_of_any_size_count_as_a_dictionary_does(
    old: dict[Any, Any], new: dict[Any, Any], piece: int, tmp_path_factory: pytest.TempPathFactory, world: World
) -> None:
    """A record is another one where its file holds other content."""
    store = Store(tmp_path_factory.mktemp("data"))
    sides = [
        {place: {"uid": f"{place[0]}{place[1]}{other}", "end": end} for place, (other, end) in side.items()}
        for side in (old, new)
    ]
    if sides[0] == sides[1]:
        return
    for side in sides:
        write_version(store, MCQ, side)
    before, after = ({told["uid"]: told["end"] for told in side.values()} for side in sides)
    expected = Counter((before.get(name), after.get(name)) for name in before | after)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_ROWS", piece)
        found = compare_versions(world.catalog.split(MCQ), None, None, store)
    assert {ends(cell): cell.records for cell in found.cells} == expected
    shutil.rmtree(store.root)


def test_versions_are_listed_with_what_made_them(two: World) -> None:
    write_version(two.store, MCQ, OLD | {("d", 0): {"uid": "d", "end": KEPT}}, run_id="run-3")
    told = ledger_versions(two.catalog.split(MCQ), two.store)
    assert [(each.records, each.kept, each.is_current, each.is_whole, each.run_id) for each in told] == [
        (8, 4, True, True, "run-3"),
        (7, 4, False, True, "a-run"),
        (7, 3, False, True, "a-run"),
    ]
    assert told[0].since >= told[1].since >= told[2].since


def test_json_holds_counts_cells_and_times(two: World) -> None:
    told = json.loads(json.dumps(compared(two).as_json()))
    assert told["counts"] == {"unchanged": 2, "changed": 3, "appeared": 2, "vanished": 2}
    assert sum(cell["records"] for cell in told["cells"]) == 9
    assert told["new"]["since"].endswith("+00:00")
    moved = next(cell for cell in told["cells"] if cell["old"] == {"state": "rejected", "code": "unparseable"})
    assert moved["sample"][0]["record_uid"] in (uid("back").hex(), uid("old-b1").hex())


def test_a_single_version_cannot_be_compared(world: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^{MCQ}: its ledger has one version, so there is nothing to compare it with"):
        compared(world)
    empty = replace(world, settings=replace(world.settings, data_dir=tmp_path))
    with pytest.raises(UserError, match=f"Materialise ledger of {MCQ} first"):
        compared(empty)


def test_versions_there_are_not_are_told_with_those_there_are(two: World) -> None:
    newer, older = ledger_versions(two.catalog.split(MCQ), two.store)
    for wrong in ({"old": "nope"}, {"new": "nope"}):
        with pytest.raises(
            UserError, match=rf"nope names no version .*{newer.version} \(since .*current\), {older.version}"
        ):
            compared(two, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"{newer.version} cannot be compared with itself"):
        compared(two, newer.version)
    with pytest.raises(UserError, match=f"no version of its ledger is older than {older.version}"):
        compared(two, new=older.version)
    assert compared(two, older.version[:15]).old.version == older.version


def test_a_version_whose_files_are_gone_is_named(two: World) -> None:
    older = ledger_versions(two.catalog.split(MCQ), two.store)[1]
    (two.store.directory(Stage.LEDGER, MCQ) / older.version / "part-00000.parquet").unlink()
    assert [each.is_whole for each in ledger_versions(two.catalog.split(MCQ), two.store)] == [True, False]
    with pytest.raises(UserError, match=f"the files of version {older.version} of its ledger are no longer here"):
        compared(two)


def made_again(world: World, key: str) -> None:
    """Bring a split up to its ledger."""
    split, store = world.catalog.split(key), world.store
    fetch_split(split, open_source(split.repo, world.settings.source_dir), store)
    normalize(split, store)
    sign(split, world.catalog, store)
    find_duplicates(split.scope, world.catalog, store)
    for each in world.catalog.scopes[split.scope]:
        if each in PARTITIONS:
            dedupe(world.catalog.split(each), store)
            write_ledger(world.catalog.split(each), store)


@pytest.fixture
def own(world: World, tmp_path: Path) -> World:
    """A world whose sources are to be changed."""
    made = copied(world, tmp_path)
    assert made.settings.source_dir is not None
    shutil.copytree(made.settings.source_dir, tmp_path / "hub")
    return replace(made, settings=replace(made.settings, source_dir=tmp_path / "hub"))


def test_a_changed_source_is_followed_to_its_files(own: World) -> None:
    source = own.settings.source_dir
    assert source is not None
    more = line(uuid="rqa-more", messages=messages("Why do cats purr?", "Their larynx vibrates as they breathe."))
    write_lines(source / FILES[RQA], [*LINES[RQA], more], True)
    made_again(own, RQA)
    found = compare_versions(own.catalog.split(RQA), None, None, own.store)
    assert [(each.path, each.vanished, each.appeared) for each in found.files] == [
        ("data/RQA.jsonl", len(LINES[RQA]), len(LINES[RQA]) + 1)
    ]
    assert found.changed == found.unchanged == 0
    told = {(each.stage, each.kind, each.name) for each in found.differences}
    assert {("ledger", "input", "deduped"), ("normalized", "input", "raw"), ("duplicates", "input", RQA)} <= told
    assert {name for stage, kind, name in told if kind == "setting"} <= {"revisions"}
    assert found.notes == ()


def test_a_changed_policy_is_named_as_what_differs(own: World) -> None:
    """Two answers that differ in a word are near duplicates at one threshold and not at the other."""
    spoken = "Sea water holds the salt that rivers wash out of rocks, and the sun takes only the water away again, "
    spoken += "so that over a very long time the sea has become as salty as every swimmer knows it to be today. "
    spoken += "Rivers carry the same salt, but so little of it at any one moment that nobody can taste it in a glass."
    question = "Tell me at some length why the water of the sea tastes of salt while that of rivers does not."
    lines = [
        line(uuid=name, messages=messages(question, spoken.replace("very long", word)))
        for name, word in (("sea-1", "very long"), ("sea-2", "rather long"))
    ]
    source = own.settings.source_dir
    assert source is not None
    write_lines(source / FILES[RQA], lines, True)
    made_again(own, RQA)
    before = ledger_versions(own.catalog.split(RQA), own.store)[0]
    stricter = own.settings.data_dir.parent / "stricter"
    shutil.copytree(own.settings.catalog_dir, stricter)
    policy = stricter / "policies" / "duplicates.yaml"
    policy.write_text(policy.read_text().replace("distilled: 0.8", "distilled: 0.99"))
    own = replace(own, settings=replace(own.settings, catalog_dir=stricter))
    made_again(own, RQA)
    found = compare_versions(own.catalog.split(RQA), before.version, None, own.store)
    assert {ends(cell): cell.records for cell in found.cells} == {(KEPT, KEPT): 1, (NEAR, KEPT): 1}
    rules = [each for each in found.differences if each.kind == "setting"]
    assert [(each.stage, each.partition, each.name) for each in rules] == [("duplicates", "distilled", "rules")]
    assert rules[0].meaning == "policy on duplicates: thresholds and guards"
    assert {each.name for each in found.differences if each.kind == "input"} == {"deduped", "duplicates"}


def test_every_setting_of_the_stages_before_a_ledger_has_a_meaning(world: World) -> None:
    for stage, known in MEANINGS.items():
        for manifest in world.store.manifests(Stage(stage)):
            assert set(manifest.settings) == set(known), stage


def test_a_stage_whose_old_manifests_are_gone_is_noted(two: World) -> None:
    found = compared(two)
    assert [(each.stage, each.name) for each in found.differences] == [("ledger", "deduped")]
    assert isinstance(found.differences[0], Difference)
    assert found.notes == (f"What deduped of {MCQ} was made from is not known for both versions.",)


def test_the_command_says_what_changed_and_prints_it_as_json(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    lineage_commands.register(app)
    monkeypatch.setenv("NEMO_DATA_DIR", str(two.settings.data_dir))
    newer, older = ledger_versions(two.catalog.split(MCQ), two.store)
    told = CliRunner().invoke(app, ["compare", MCQ, "--from", older.version, "--to", newer.version, "--json"])
    assert json.loads(told.stdout) == json.loads(json.dumps(compared(two).as_json()))
    text = CliRunner().invoke(app, ["compare", MCQ]).stdout
    assert "2 unchanged, 3 changed, 2 appeared, 2 vanished" in text
    assert f"kept → removed near_duplicate, 1 of 1:\n  {uid('goes').hex()}  d:s:a:1" in text
    assert "b: 2 records vanished, 1 appeared" in text
    assert text.count(older.version) == 2
    wrong = CliRunner().invoke(app, ["compare", MCQ, "--from", "nope"])
    assert isinstance(wrong.exception, UserError)
