from __future__ import annotations

from pathlib import Path

import pytest

from nemo_assets.errors import UserError
from nemo_assets.lineage import AmbiguousReferenceError
from nemo_assets.lineage.references import Found, Name, Place, find_entry, parse_reference
from nemo_assets.storage import Store
from nemo_assets_tests.lineage.chain import LOW, MCQ, PROBLEM_1, PROBLEM_2, SHARED_UUID, World


def find(world: World, reference: str) -> Found:
    return find_entry(reference, world.catalog, world.store)


@pytest.mark.parametrize(
    ("reference", "parsed"),
    [
        ("nvidia/Nemotron-Math-v2:low:data/low.jsonl:3", Place(LOW, "data/low.jsonl", 3)),
        ("nemotron-math-v2:low::3", Place(LOW, "", 3)),
        ("nemotron-math-v2:low:3", Place(LOW, "", 3)),
        ("nemotron-math-v2:low:data/a:b.jsonl:3", Place(LOW, "data/a:b.jsonl", 3)),
        (f"{MCQ}:mcq-first", Name("mcq-first", MCQ)),
        ("urn:uuid:1:2", Name("urn:uuid:1:2")),
    ],
)
def test_a_reference_is_read_as_place_or_name(world: World, reference: str, parsed: Place | Name):
    assert parse_reference(reference, world.catalog) == parsed


@pytest.mark.parametrize("reference", [PROBLEM_1, PROBLEM_1[:6], SHARED_UUID])
def test_a_name_of_several_kept_rows_lists_them(world: World, reference: str):
    with pytest.raises(AmbiguousReferenceError, match="names 2 records, 2 of them kept") as raised:
        find(world, reference)
    for candidate in raised.value.candidates:
        assert f"{candidate.record_uid}  kept" in str(raised.value)
        assert find(world, candidate.place).entry == candidate


def test_the_only_kept_one_of_several_is_chosen_and_the_others_told(world: World):
    found = find(world, PROBLEM_2)  # once in low, removed, and once in medium, kept
    assert (found.entry.state, found.entry.partition) == ("kept", "nemotron-math-v2/medium")
    assert [(entry.state, entry.partition) for entry in found.also] == [("removed", LOW)]
    assert find(world, f"{LOW}:{PROBLEM_2}").entry == found.also[0]


def test_a_unique_beginning_is_enough(world: World):
    assert find(world, "mcq-fi").entry.id == "mcq-first"
    uid = find(world, "mcq-first").entry.record_uid
    assert find(world, uid[:12].upper()).entry.record_uid == uid


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no-such-row", r"Searched 20 records .* of 5 splits .*Not searched: 12 splits without a ledger"),
        ("mcq-f", "beginning of an id must have 6 characters"),
        (f"{MCQ}:rqa-same", r"Searched 5 records .* of 1 splits"),
        ("nemotron-science-v1:MCQ::5", "has no row 5. Its rows are 0 to 4"),
        ("nemotron-science-v1:MCQ:data/nope.jsonl:0", "has no file data/nope.jsonl. It has data/MCQ.jsonl"),
        ("nemotron-science-v1:MCQ::x", "'x' is no row number"),
        ("nemotron-science-v1:Nope::0", "the catalog has no such split"),
        ("nemotron-agentic-v1:tool_calling::0", "ledger does not exist yet"),
        ("nemotron-math-v2-harmony-tools:low::0", "has 2 files, name one of"),
        ("nvidia/Nope:low:data/low.jsonl:0", "names nvidia/Nope, no dataset of the catalog"),
        ("  ", "reference is empty"),
    ],
)
def test_what_is_not_there_is_said_with_what_was_searched(world: World, reference: str, message: str):
    with pytest.raises(UserError, match=message) as raised:
        find(world, reference)
    assert "\n" not in str(raised.value)


def test_without_any_ledger_the_next_step_is_named(world: World, tmp_path: Path):
    with pytest.raises(UserError, match="Materialise ledger first"):
        find_entry("mcq-first", world.catalog, Store(tmp_path))
