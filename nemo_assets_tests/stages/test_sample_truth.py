"""The bundled sample, whose generator says what every record deserves, against what the chain did with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl
import pytest

from nemo_assets.harmony import loss_spans_of_text, mask_sha1, sha1_text_id
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.stages.making import rows_of

TRUTH: dict[str, Any] = json.loads((HUB / "TRUTH.json").read_text(encoding="utf-8"))
PLANTED = {(planted["file"], planted["row"]): planted for planted in TRUTH["planted"]}

Place = tuple[str, int]


class Fate(NamedTuple):
    state: str
    code: str | None
    entry: dict[str, Any]


@pytest.fixture(scope="module")
def fates(sample: Settings) -> dict[Place, Fate]:
    """The ledger by (file in the sample, row), every record once."""
    entries = list(_entries(sample))
    found = {
        (f"{entry['dataset']}/{entry['source_file']}", entry["source_row"]): Fate(entry["state"], entry["code"], entry)
        for entry in entries
    }
    assert len(found) == len(entries)
    return found


def _entries(sample: Settings) -> Iterator[dict[str, Any]]:
    for manifest in sample.store.manifests(Stage.LEDGER):
        yield from rows_of(manifest, sample.store).to_pylist()


def deserved(place: Place) -> tuple[str, str | None]:
    planted = PLANTED.get(place)
    return (planted["state"], planted["code"]) if planted else ("kept", None)


def test_every_record_has_exactly_one_fate(fates: dict[Place, Fate]) -> None:
    counts: dict[str, int] = {}
    for file, _ in fates:
        counts[file] = counts.get(file, 0) + 1
    assert counts == TRUTH["records"]


def test_records_that_are_no_duplicates_end_as_they_deserve(fates: dict[Place, Fate]) -> None:
    """Rejected with the right code, or kept: planted oddities and the unlisted sound records alike."""
    originals = {
        (planted["of"]["file"], planted["of"]["row"]) for planted in PLANTED.values() if planted["state"] == "removed"
    }
    alone = [place for place in fates if deserved(place)[0] != "removed" and place not in originals]
    assert len(alone) > 400
    assert {place: fates[place][:2] for place in alone} == {place: deserved(place) for place in alone}


@pytest.mark.parametrize("code", ["exact_duplicate", "near_duplicate"])
def test_of_a_planted_pair_exactly_one_survives(fates: dict[Place, Fate], code: str) -> None:
    for place, planted in PLANTED.items():
        if planted["code"] != code:
            continue
        group = duplicates_of(place, code)
        kept = [member for member in group if fates[member].state == "kept"]
        assert len(kept) == 1, group
        survivor = fates[kept[0]].entry
        for member in group - set(kept):
            assert fates[member][:2] == ("removed", code)
            assert fates[member].entry["survivor_uid"] == survivor["record_uid"]
            assert json.loads(fates[member].entry["evidence"])["survivor_id"] == survivor["id"]


def duplicates_of(place: Place, code: str) -> set[Place]:
    """`place` and all that are, directly or not, planted as copies of it or it of them."""
    pairs = [
        (key, (planted["of"]["file"], planted["of"]["row"]))
        for key, planted in PLANTED.items()
        if planted["code"] == code
    ]
    group, before = {place}, set[Place]()
    while group != before:
        before = set(group)
        group |= {member for pair in pairs if set(pair) & group for member in pair}
    return group


def test_a_removed_record_names_a_kept_one(fates: dict[Place, Fate]) -> None:
    kept = {fate.entry["record_uid"] for fate in fates.values() if fate.state == "kept"}
    removed = [fate for fate in fates.values() if fate.state == "removed"]
    assert len(removed) >= 16
    assert all(fate.entry["survivor_uid"] in kept and 0 < fate.entry["similarity"] <= 1 for fate in removed)


def test_the_manifests_count_what_the_tables_hold(sample: Settings, fates: dict[Place, Fate]) -> None:
    for ledger in sample.store.manifests(Stage.LEDGER):
        normalized = sample.store.current(Stage.NORMALIZED, ledger.partition)
        counted = ledger.counters
        kept, rejected, removed = counted["kept"], sum(counted["rejected"].values()), sum(counted["removed"].values())
        assert counted["records"] == normalized.counters["records"] == kept + rejected + removed
        assert kept == sample.store.current(Stage.DEDUPED, ledger.partition).rows()
        for path, file in normalized.counters["files"].items():
            repo = sample.catalog.split(ledger.partition).repo
            assert file["records"] == sum(1 for name, _ in fates if name == f"{repo}/{path}")


def test_every_kept_row_says_of_itself_what_its_text_says(sample: Settings) -> None:
    """Mask, text digest and lengths can be reproduced from the text alone."""
    rows = pl.concat(
        pl.read_parquet(sample.store.paths(manifest)) for manifest in sample.store.manifests(Stage.DEDUPED)
    )
    assert rows.height > 380
    for row in rows.iter_rows(named=True):
        spans = loss_spans_of_text(row["text"], row["loss_mode"], row["loss_terminators"])
        assert mask_sha1(row["loss_mode"], row["loss_terminators"], spans) == row["mask_sha1"], row["id"]
        assert sum(end - start for start, end in spans) == row["stats_loss_chars"] > 0
        assert sha1_text_id(row["text"]) == row["text_sha1"]
        assert len(row["text"]) == row["stats_char_len"]
        assert row["quality_valid_harmony"]
        assert row["quality_completion_nonempty"]
    for scope in sample.catalog.scopes.values():
        repos = {sample.catalog.split(key).repo for key in scope}
        assert rows.filter(pl.col("dataset").is_in(repos))["id"].is_duplicated().sum() == 0


def test_odd_but_sound_records_are_kept_and_say_what_is_odd(sample: Settings, fates: dict[Place, Fate]) -> None:
    rows = pl.concat(
        pl.read_parquet(sample.store.paths(m), columns=["record_uid", "quality_tags", "quality_valid_tool_schema"])
        for m in sample.store.manifests(Stage.DEDUPED)
    )
    tags = {row["record_uid"]: row for row in rows.iter_rows(named=True)}
    expected = {
        "bom_at_file_start": "json:byte_order_mark", "nan_literal": "json:nonfinite_number",
        "infinity_literal": "json:nonfinite_number", "huge_integer": "json:big_integer",
        "nul_escape": "nul", "nul_character": "nul", "short_final_answer": "too_short",
        "repetitive": "repetitive", "too_long": "too_long",
    }  # fmt: skip
    for place, planted in PLANTED.items():
        row = tags.get(fates[place].entry["record_uid"])
        if planted["kind"] in expected:
            assert row is not None
            assert expected[planted["kind"]] in row["quality_tags"], planted
        if planted["kind"] == "arguments_break_schema":
            assert row is not None
            assert not row["quality_valid_tool_schema"]
