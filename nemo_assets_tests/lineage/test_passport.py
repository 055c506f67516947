from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from nemo_assets.catalog import Pool, PoolPolicy
from nemo_assets.hub.sources import open_source
from nemo_assets.lineage import Passport, explain, original_bytes
from nemo_assets.lineage.pool_reasons import conjunction_parts, pool_reasons
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.raw import fetch_split
from nemo_assets.storage import Stage
from nemo_assets_tests.lineage.chain import (
    ENDS_WITH_NEWLINE,
    FILES,
    LINES,
    LOW,
    MCQ,
    PARQUET,
    PARTITIONS,
    RQA,
    SHARED_UUID,
    World,
    build_world,
    line,
    messages,
    write_lines,
)

EVERY_LINE = [(key, row) for key, lines in LINES.items() for row in range(len(lines))]


def passport(world: World, reference: str) -> Passport:
    return explain(reference, world.catalog, world.store)


def by_place(world: World, partition: str, row: int, file: str = "") -> Passport:
    slug, _, split = partition.partition("/")
    return passport(world, f"{slug}:{split}:{file}:{row}")


@pytest.mark.parametrize(("partition", "row"), EVERY_LINE)
def test_every_line_comes_back_byte_for_byte(world: World, partition: str, row: int):
    found = by_place(world, partition, row)
    assert original_bytes(found) == LINES[partition][row]
    assert (found.entry.partition, found.entry.source_row) == (partition, row)
    again = passport(world, found.entry.record_uid)
    assert (again.entry, again.original) == (found.entry, found.original)


@pytest.mark.parametrize("file", PARQUET)
def test_a_parquet_row_comes_back_as_its_values(world: World, file: str):
    for row, text in enumerate(world.texts[file]):
        found = by_place(world, "nemotron-math-v2-harmony-tools/low", row, file)
        assert json.loads(original_bytes(found)) == {"text": text}
        assert found.as_json()["original"]["form"] == "parquet_row"
    odd = by_place(world, "nemotron-math-v2-harmony-tools/low", 1, PARQUET[1])
    assert json.loads(original_bytes(odd)) == {"text": {"base64": "Y2Fm6Q=="}}  # caf\xe9
    assert odd.origin.row_in_split == 4  # behind the three rows of the first file


def test_every_kept_row_is_found_by_its_id(world: World):
    for partition in PARTITIONS:
        ledger = pl.read_parquet(world.store.paths(world.store.current(Stage.LEDGER, partition)))
        for uid, name in ledger.filter(state="kept").select("record_uid", "id").iter_rows():
            found = passport(world, f"{partition}:{name}")
            assert found.entry.record_uid == uid.hex()
            assert found.row is not None
            assert found.row["id"] == name


def test_a_rejection_names_its_code_and_evidence(world: World):
    assert by_place(world, LOW, 2).verdict == "Rejected: unparseable (blank line)."
    assert by_place(world, LOW, 3).verdict == "Rejected: unparseable (invalid utf8)."
    assert by_place(world, MCQ, 4).verdict == "Rejected: not an object (type list)."
    normalized = by_place(world, LOW, 3).decisions[1]
    assert normalized.outcome == "rejected"
    assert (normalized.rule, normalized.value) == ("unparseable, version 1", "invalid_utf8")
    assert normalized.evidence["at_byte"] == LINES[LOW][3].index(b"\xff")


@pytest.mark.parametrize(
    ("partition", "row", "survivor", "column", "survivor_value", "value"),
    [
        # Math-v2 medium was passed 2 times of 8 under its own condition; low has no evaluation at all.
        (LOW, 4, ("nemotron-math-v2/medium", 0), "row_verified", True, False),
        (MCQ, 1, (MCQ, 0), "source_row", 0, 1),
        # MCQ is the seventh split of the catalog, RQA the eighth; the longer system prompt would decide only later.
        (RQA, 0, (MCQ, 0), "split_position", 6, 7),
    ],
)
def test_a_removed_row_names_its_survivor_and_what_decided(
    world: World,
    partition: str,
    row: int,
    survivor: tuple[str, int],
    column: str,
    survivor_value: object,
    value: object,
):
    found = by_place(world, partition, row)
    assert found.survivor is not None
    assert (found.survivor.partition, found.survivor.source_row) == survivor
    decision = next(d for d in found.decisions if d.stage == "duplicates")
    assert (decision.outcome, decision.value, decision.threshold) == ("removed", 1.0, 1.0)
    criterion = decision.evidence["criterion"]
    assert (criterion["column"], criterion["survivor_value"], criterion["value"]) == (column, survivor_value, value)
    file = found.survivor.source_file
    assert found.verdict.startswith(
        f"Removed as exact duplicate of {found.survivor.id} ({survivor[0]}, {file}, row {survivor[1]}), which stays"
    )


def test_the_longer_of_two_equal_rows_of_a_split_stays(world: World):
    found = by_place(world, MCQ, 2)
    assert found.survivor is not None
    assert found.survivor.id == "mcq-long"
    assert "because its text is longer (char_len" in found.verdict


def test_a_kept_row_lists_the_rows_it_stands_for(world: World):
    found = passport(world, "mcq-first")
    assert [(entry.partition, entry.id) for entry in found.stands_for] == [(MCQ, "mcq-again"), (RQA, "rqa-same")]
    assert found.stands_for_count == 2
    assert "stands for 2 removed duplicates" in found.verdict


def test_a_scored_row_tells_pools_release_and_score(world: World):
    found = by_place(world, LOW, 0)
    published = world.store.current(Stage.PUBLISHED, LOW).details
    assert found.verdict == (
        "Kept: in 3 pools (candidates_has_correctness_meta, candidates_mid_correctness, candidates_verified_correct), "
        f"published in local/nemotron-math-v2-pools as {published['tag']}, commit {published['commit'][:12]}, "
        "scored NLL 1.25 nats per token (percentile 25 of its split) by student."
    )
    assert found.release is not None
    assert found.release.files["rows"] == ["rows/low-00000.parquet"]
    assert found.release.is_current
    assert [decision.stage for decision in found.decisions if decision.stage != "pools"] == [
        "raw", "normalized", "duplicates", "published", "scored",
    ]  # fmt: skip


def test_pools_say_which_part_of_the_predicate_fails(world: World):
    decisions = {d.rule: d for d in by_place(world, LOW, 0).decisions if d.stage == "pools"}
    assert set(decisions) == set(world.catalog.pools)
    high = decisions["candidates_math_high_verified_correct"]  # math is true, the first false part is the effort
    assert (high.outcome, high.evidence["false_part"]) == ("not admitted", "meta_difficulty_bin = 'high'")
    assert high.value == {"meta_difficulty_bin": "low"}
    assert decisions["candidates_mid_correctness"].value == {"meta_correctness": 0.75}  # 6 of 8


def test_rendered_text_is_shown_with_the_correctness_joined_to_it(world: World):
    found = by_place(world, "nemotron-math-v2-harmony-tools/low", 0, PARQUET[0])
    assert found.row is not None
    assert found.row["meta_correctness"] == 0.75
    assert "candidates_mid_correctness" in (found.pools or ())


def test_a_renamed_row_tells_the_id_of_the_source(world: World):
    decision = next(d for d in by_place(world, RQA, 1).decisions if d.stage == "duplicates")
    assert decision.evidence["id_of_source"] == SHARED_UUID


def test_the_origin_leads_to_the_record(world: World):
    origin = by_place(world, LOW, 1).origin
    assert origin.viewer_url == "https://huggingface.co/datasets/nvidia/Nemotron-Math-v2/viewer/default/low?row=1"
    assert origin.offset == len(LINES[LOW][0]) + 1
    assert origin.local_blob is not None
    assert Path(origin.local_blob).read_bytes()[origin.offset :].startswith(LINES[LOW][1])


@pytest.mark.parametrize(("partition", "row"), [(LOW, 0), (LOW, 3), (LOW, 4), (MCQ, 0), (RQA, 0)])
def test_a_passport_survives_json(world: World, partition: str, row: int):
    told = by_place(world, partition, row).as_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_after_its_source_changed_a_record_is_explained_from_the_versions_the_ledger_names(tmp_path: Path):
    world = build_world(tmp_path)
    changed = [line(uuid="new", messages=messages("Something else entirely?", "Yes, all of it has changed."))]
    write_lines(tmp_path / "hub" / FILES[MCQ], changed, ENDS_WITH_NEWLINE[MCQ])
    split = world.catalog.split(MCQ)
    fetch_split(split, open_source(split.repo, world.settings.source_dir), world.store)
    normalize(split, world.store)

    kept, removed = passport(world, "mcq-first"), by_place(world, MCQ, 1)

    assert original_bytes(kept) == LINES[MCQ][0]
    assert original_bytes(removed) == LINES[MCQ][1]
    assert removed.row is not None  # from the normalized version that deduped was made from, no longer current
    assert removed.row["source_uuid"] == "mcq-again"
    older = [note.partition(" was made")[0] for note in kept.notes if " was made" in note]
    assert older == [f"{stage} of {MCQ}" for stage in ("signatures", "deduped", "ledger")]


def test_without_its_file_a_rejection_still_has_its_bytes(tmp_path: Path):
    world = build_world(tmp_path)
    for blob in (tmp_path / "data" / "raw" / "blobs").iterdir():
        blob.unlink()
    assert original_bytes(by_place(world, LOW, 3)) == LINES[LOW][3]
    kept = by_place(world, LOW, 0)
    assert kept.original is None
    assert kept.verdict.startswith("Kept: ")


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("a AND b >= 1", ["a", "b >= 1"]),
        ("a = 'x AND y' and (b OR c)", ["a = 'x AND y'", "(b OR c)"]),
        ("a OR b AND c", ["a OR b AND c"]),
        ("a BETWEEN 1 AND 2 AND b", ["a BETWEEN 1 AND 2 AND b"]),
        ("brand", ["brand"]),
    ],
)
def test_a_conjunction_falls_apart_only_where_it_is_one(sql: str, parts: list[str]):
    assert conjunction_parts(sql) == parts


def test_null_fails_a_predicate_and_requires_comes_first():
    policy = PoolPolicy("ok", {"p": Pool("any", "x > 1"), "q": Pool("any", "x > 1 OR x IS NULL")})
    reasons = {r.pool: r.false_part for r in pool_reasons(pl.DataFrame({"ok": [True], "x": [None]}), policy)}
    assert reasons == {"p": "x > 1", "q": None}
    refused = pool_reasons(pl.DataFrame({"ok": [False], "x": [2]}), policy)
    assert {r.false_part for r in refused} == {"ok"}
