"""What differs between two releases and why: one hand-made pair of releases for each rule."""

from __future__ import annotations

import copy
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.stages.release_comparison import Release, ReleaseDiff, compare

FILE, OTHER_FILE = "data/low.jsonl", "data/more.jsonl"
NORMALIZED, SIGNATURES, DUPLICATES, DEDUPED, POOLS = "normalized", "signatures", "duplicates", "deduped", "pools"
Entry = dict[str, Any]


def record(**files: str) -> dict[str, Any]:
    """A release record; the content of FILE is `one` unless `file` says otherwise, `more` is that of OTHER_FILE."""
    contents = {FILE: files.get("file", "one"), OTHER_FILE: files.get("more", "more")}
    return {
        "split": "low",
        "partition": "nemotron-math-v2/low",
        "source": {"files": [{"path": path, "content_id": content} for path, content in contents.items()]},
        "stages": {
            NORMALIZED: {"inputs": {}, "settings": {"code": "1", "catalog": "1", "revisions": "1", "unit_bytes": "9"}},
            SIGNATURES: {"inputs": {"normalized": "1"}, "settings": {"code": "1"}},
            DUPLICATES: {"inputs": {}, "settings": {"code": "1", "order": "1", "rules": "1"}},
            DEDUPED: {"inputs": {}, "settings": {"code": "1"}},
            POOLS: {"inputs": {"deduped": "1"}, "settings": {"code": "1", "pools": "1"}},
        },
        "withdrawals": [],
        "configs": {},
    }  # fmt: skip


def row(number: int, name: str | None = None, file: str = FILE, uid: str | None = None, **columns: Any) -> Entry:
    """Row `number` of a file; its record has a uid of its own for each content of the file."""
    return {
        "id": name or f"row-{number}", "record_uid": uid or f"{file} one {number}", "source_file": file,
        "source_row": number, "content_sha1": f"content {number}", "text_sha1": f"text {number}", "template": "t1",
        "meta_correctness": 0.5, "meta_tags": ["a"], "quality_tags": [], "source_license": "cc", **columns,
    }  # fmt: skip


def dropped(number: int, state: str, code: str | None = None, name: str | None = None, file: str = FILE) -> Entry:
    """A ledger entry of a record that has no row."""
    return {
        "record_uid": f"{file} one {number}", "id": name, "state": state, "code": code, "source_file": file,
        "source_row": number,
    }  # fmt: skip


def release(
    rows: list[Entry], without_row: tuple[Entry, ...] = (), of: dict[str, Any] | None = None, **pools: list[str]
) -> Release:
    """A release of these rows and of records that have none; `pools` names the ids in each pool."""
    kept = [{**dropped(0, "kept"), **{name: each[name] for name in ("id", "record_uid", "source_file", "source_row")}}
            for each in rows]  # fmt: skip
    ledger = pl.DataFrame([*kept, *without_row], schema=_LEDGER)
    frame = pl.DataFrame(rows, schema=_ROWS)
    return Release(
        "release",
        of or record(),
        frame,
        {name: pl.DataFrame({"id": ids}, schema={"id": pl.String}) for name, ids in pools.items()},
        ledger,
    )


_LEDGER = pl.Schema(
    {**dict.fromkeys(("record_uid", "id", "state", "code", "source_file"), pl.String()), "source_row": pl.Int64()}
)
_ROWS = pl.DataFrame([row(1)], schema_overrides={"quality_tags": pl.List(pl.String)}).schema


def with_recipe(*changes: tuple[str, str], **files: str) -> dict[str, Any]:
    """A record in which these settings of these stages differ from the usual ones."""
    changed = copy.deepcopy(record(**files))
    for stage, setting in changes:
        changed["stages"][stage]["settings"][setting] = "2"
    return changed


def causes(diff: ReleaseDiff) -> dict[str, dict[str, int]]:
    return {kind: counts for kind, counts in diff.summary.items() if counts}


ROWS = [row(number) for number in range(5)]


def test_equal_releases_do_not_differ() -> None:
    pools = {"candidates_chat": ["row-1"]}
    diff = compare(release(ROWS, **pools), release(list(reversed(ROWS)), **pools))
    assert diff.is_empty
    assert (diff.common, diff.relocated, causes(diff)) == (5, 0, {})
    assert diff.as_text() == "nemotron-math-v2/low, release to release: 5 rows, then 5\n  no difference"
    assert diff.as_json()["groups"] == []


def test_a_record_the_other_ledger_does_not_know_is_of_the_source() -> None:
    added = row(0, "new", OTHER_FILE)
    everything = with_recipe((NORMALIZED, "code"), (DUPLICATES, "rules"))
    diff = compare(release(ROWS), release([*ROWS, added], of=everything))
    assert causes(diff) == {"entered": {"source": 1}}
    assert diff.entered.row(0, named=True) == {
        "id": "new", "source_file": OTHER_FILE, "source_row": 0, "known": None, "cause": "source"
    }  # fmt: skip
    assert causes(compare(release([*ROWS, added]), release(ROWS))) == {"left": {"source": 1}}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ([(NORMALIZED, "code")], "code"),
        ([(NORMALIZED, "catalog")], "settings"),
        ([(NORMALIZED, "code"), (NORMALIZED, "catalog")], "code and settings"),
        ([(NORMALIZED, "recipe")], "code and settings"),
        ([(NORMALIZED, "revisions"), (NORMALIZED, "unit_bytes")], "source"),
        ([(DUPLICATES, "rules"), (POOLS, "pools")], "source"),
    ],
)
def test_who_was_rejected_was_so_by_normalized(changes: list[tuple[str, str]], cause: str) -> None:
    rejected = dropped(9, "rejected", "empty_completion")
    after = release([*ROWS, row(9)], of=with_recipe(*changes))
    diff = compare(release(ROWS, (rejected,)), after)
    assert causes(diff) == {"entered": {cause: 1}}
    assert diff.entered["known"].to_list() == ["rejected: empty_completion"]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ([(DUPLICATES, "rules")], "settings"),
        ([(DUPLICATES, "order")], "settings"),
        ([(DUPLICATES, "code")], "code"),
        ([(DEDUPED, "code")], "code"),
        ([(SIGNATURES, "code"), (DUPLICATES, "rules")], "code and settings"),
        ([(DUPLICATES, "rules"), (NORMALIZED, "code")], "settings"),
        ([(NORMALIZED, "code")], "code"),  # nothing nearer differs: other texts were compared
        ([(POOLS, "code")], "source"),
        ([], "source"),
    ],
)
def test_who_was_removed_was_so_by_deduplication(changes: list[tuple[str, str]], cause: str) -> None:
    removed = dropped(4, "removed", "near_duplicate", "row-4")
    diff = compare(release(ROWS), release(ROWS[:4], (removed,), with_recipe(*changes)))
    assert causes(diff) == {"left": {cause: 1}}
    assert diff.left["known"].to_list() == ["removed: near_duplicate"]


def test_a_contaminated_row_was_rejected_for_the_evaluation_sets() -> None:
    contaminated = dropped(4, "rejected", "contaminated")
    sets = with_recipe((NORMALIZED, "code"), (SIGNATURES, "evaluation_sets"))
    assert causes(compare(release(ROWS), release(ROWS[:4], (contaminated,), sets))) == {"left": {"settings": 1}}
    read_again = record()
    read_again["stages"][SIGNATURES]["inputs"]["evaluation_sets"] = "2"
    assert causes(compare(release(ROWS), release(ROWS[:4], (contaminated,), read_again))) == {"left": {"settings": 1}}


def test_a_withdrawal_outweighs_everything_else() -> None:
    everything = with_recipe((NORMALIZED, "code"), (DUPLICATES, "rules"))
    told = release(ROWS[:4], (dropped(4, "withdrawn", name="row-4"),), everything)
    diff = compare(release(ROWS), told)
    assert causes(diff) == {"left": {"withdrawal": 1}}
    assert diff.left["known"].to_list() == ["withdrawn"]
    assert causes(compare(told, release(ROWS))) == {"entered": {"withdrawal": 1}}
    listed = {**everything, "withdrawals": [{"record_uid": f"{FILE} one 4", "id": "row-4", "reason": "takedown"}]}
    removed = dropped(4, "removed", "near_duplicate", "row-4")
    assert causes(compare(release(ROWS), release(ROWS[:4], (removed,), listed))) == {"left": {"withdrawal": 1}}


def test_in_a_changed_file_a_record_is_known_by_its_id() -> None:
    """Row 4 of the new content is another record, which the place must not be taken for."""
    rejected_there = dropped(4, "rejected", "no_messages")
    removed_elsewhere = dropped(7, "removed", "exact_duplicate", "moved")
    before = release(ROWS[:4], (rejected_there, removed_elsewhere))
    shifted = row(4, "moved", uid=f"{FILE} two 4")
    new_file = with_recipe((NORMALIZED, "code"), (DUPLICATES, "rules"), file="two")
    diff = compare(before, release([*ROWS[:4], shifted], of=new_file))
    assert diff.entered.select("known", "cause").row(0) == ("removed: exact_duplicate", "settings")
    same_file = with_recipe((NORMALIZED, "code"), (DUPLICATES, "rules"))
    diff = compare(before, release([*ROWS[:4], shifted], of=same_file))
    assert diff.entered.select("known", "cause").row(0) == ("rejected: no_messages", "code")


def test_of_records_with_one_id_the_one_that_is_not_removed_is_meant() -> None:
    entries = (dropped(7, "removed", "exact_duplicate", "row-4"), dropped(9, "withdrawn", name="row-4"))
    diff = compare(release(ROWS), release(ROWS[:4], entries, record(file="two")))
    assert causes(diff) == {"left": {"withdrawal": 1}}


def test_a_record_with_another_id_left_and_entered() -> None:
    renamed = [*ROWS[:4], row(4, "renamed")]
    diff = compare(release(ROWS), release(renamed, of=with_recipe((NORMALIZED, "catalog"))))
    assert causes(diff) == {"entered": {"settings": 1}, "left": {"settings": 1}}
    assert "settings: 1 kept under another id before, such as renamed" in diff.as_text()


def test_a_row_that_only_lies_elsewhere_has_not_changed() -> None:
    moved = [row(number + 1, f"row-{number}", uid=f"two {number}", content_sha1=f"content {number}",
                 text_sha1=f"text {number}") for number in range(5)]  # fmt: skip
    diff = compare(release(ROWS), release(moved, of=record(file="two")))
    assert diff.is_empty
    assert diff.relocated == 5
    assert "equal, but elsewhere in the source: 5" in diff.as_text()


@pytest.mark.parametrize(
    ("columns", "of", "cause"),
    [
        ({"text_sha1": "x", "template": "t2"}, with_recipe((NORMALIZED, "code")), "code"),
        ({"content_sha1": "x", "text_sha1": "x"}, with_recipe((NORMALIZED, "catalog")), "settings"),
        ({"content_sha1": "x"}, with_recipe((NORMALIZED, "code"), file="two"), "source"),
        ({"source_license": "x"}, with_recipe((NORMALIZED, "code"), file="two"), "source"),
        ({"text_sha1": "x"}, with_recipe((NORMALIZED, "code"), file="two"), "code"),
        ({"text_sha1": "x"}, record(file="two"), "source"),  # another system prompt
        ({"meta_correctness": None}, with_recipe((NORMALIZED, "code")), "code"),
        ({"quality_tags": ["contaminated:x"]}, with_recipe((NORMALIZED, "code"), (SIGNATURES, "sets")), "settings"),
        ({"quality_tags": ["long"]}, with_recipe((NORMALIZED, "code")), "code"),
        (
            {"meta_tags": ["b"], "quality_tags": ["long"]},
            with_recipe((NORMALIZED, "code"), (SIGNATURES, "sets")),
            "code",
        ),
        ({"text_sha1": "x"}, with_recipe((DUPLICATES, "rules")), "settings"),
    ],
)
def test_a_changed_row_has_the_cause_of_what_changed_in_it(columns: Entry, of: dict[str, Any], cause: str) -> None:
    diff = compare(release(ROWS), release([*ROWS[:4], {**ROWS[4], **columns}], of=of))
    assert causes(diff) == {"changed": {cause: 1}}
    assert diff.changed.row(0) == ("row-4", sorted(columns, key=list(_ROWS).index), cause)


def test_another_record_of_equal_files_was_chosen_by_deduplication() -> None:
    other = row(8, "row-4", text_sha1="x")
    for changes, cause in (([(DUPLICATES, "rules"), (NORMALIZED, "code")], "settings"), ([], "source")):
        diff = compare(release(ROWS), release([*ROWS[:4], other], of=with_recipe(*changes)))
        assert causes(diff) == {"changed": {cause: 1}}


def joined(origin: str, *changes: tuple[str, str]) -> dict[str, Any]:
    """A record of a split whose correctness is joined from another source."""
    with_origin = with_recipe(*changes)
    with_origin["stages"][POOLS]["inputs"]["correctness"] = origin
    return with_origin


@pytest.mark.parametrize(
    ("of", "cause"),
    [
        (joined("2", (POOLS, "pools")), "source"),
        (joined("1", (POOLS, "code"), (NORMALIZED, "catalog")), "code"),
        (joined("2", (NORMALIZED, "code")), "code"),  # of all sources alike
        (joined("1"), "source"),
    ],
)
def test_joined_correctness_changes_with_its_origin(of: dict[str, Any], cause: str) -> None:
    evaluated = {**ROWS[4], "meta_correctness": 0.75}
    diff = compare(release(ROWS, of=joined("1")), release([*ROWS[:4], evaluated], of=of))
    assert causes(diff) == {"changed": {cause: 1}}


def test_a_move_between_pools_has_the_cause_of_the_row_or_of_the_pools() -> None:
    before = release(ROWS, candidates_a=["row-1", "row-2", "row-4"], candidates_b=["row-3"])
    harder = {**ROWS[4], "meta_correctness": 0.1}
    of = with_recipe((POOLS, "pools"), (NORMALIZED, "code"))
    after = release([*ROWS[:4], harder], of=of, candidates_a=["row-1"], candidates_b=["row-2", "row-3", "row-4"])
    diff = compare(before, after)
    assert causes(diff) == {"changed": {"code": 1}, "moved": {"code": 1, "settings": 1}}
    assert diff.moved.rows() == [
        ("row-2", ["candidates_b"], ["candidates_a"], "settings"),
        ("row-4", ["candidates_b"], ["candidates_a"], "code"),
    ]
    assert "settings: 1 into candidates_b, out of candidates_a, such as row-2" in diff.as_text()
    unchanged = release(ROWS, candidates_a=["row-1", "row-4"], candidates_b=["row-3"])
    assert causes(compare(before, unchanged)) == {"moved": {"source": 1}}


def test_a_new_pool_takes_its_rows_in_and_rows_that_left_did_not_move() -> None:
    before = release(ROWS, candidates_a=["row-0", "row-4"])
    after = release(
        ROWS[:4], of=with_recipe((POOLS, "pools")), candidates_a=["row-0"], candidates_new=["row-0", "row-1"]
    )
    assert causes(compare(before, after)) == {"left": {"source": 1}, "moved": {"settings": 2}}


def test_what_was_made_from_scores_moves_by_scores() -> None:
    before = release(ROWS, scores=["row-0", "row-0", "row-1"], subset_anchor=["row-0"], candidates_a=["row-0"])
    of = with_recipe((POOLS, "pools"))
    after = release(ROWS, of=of, scores=["row-0", "row-1"], subset_anchor=["row-1"], candidates_a=[])
    assert causes(compare(before, after)) == {"moved": {"settings": 1, "score": 2}}


def test_files_that_both_releases_have_need_not_be_read() -> None:
    """Rows 0 to 3 lie in files of equal bytes, which were left out; their pools are told all the same."""
    of = record()
    of["configs"] = {"rows": {"rows": 5}}
    before = release(ROWS[4:], of=of, candidates_a=["row-1"])
    after = release([], of={**of, "configs": {"rows": {"rows": 4}}}, candidates_a=["row-2"])
    diff = compare(before, after)
    assert (diff.rows_before, diff.rows_after, diff.common) == (5, 4, 4)
    assert causes(diff) == {"left": {"source": 1}, "moved": {"source": 2}}


def test_a_split_that_one_release_lacks_is_the_source_s() -> None:
    nothing = Release("release", {}, pl.DataFrame(schema=_ROWS), {}, pl.DataFrame(schema=_LEDGER))
    diff = compare(nothing, release(ROWS, candidates_a=["row-1"]))
    assert (causes(diff), diff.split) == ({"entered": {"source": 5}}, "nemotron-math-v2/low")
    assert causes(compare(release(ROWS), nothing)) == {"left": {"source": 5}}


def test_a_column_of_one_release_alone_is_told_once() -> None:
    wider = release(ROWS)
    wider = Release(wider.name, wider.record, wider.rows.lazy().with_columns(added=1), wider.pools, wider.ledger)
    diff = compare(release(ROWS), wider)
    assert (diff.new_columns, diff.lost_columns, causes(diff), diff.is_empty) == (("added",), (), {}, False)
    assert compare(wider, release(ROWS)).lost_columns == ("added",)


def test_many_groups_are_told_together_and_examples_are_limited() -> None:
    rows = [row(number, f"row-{number:02d}") for number in range(60)]
    changed = [{**each, "source_license": "x", "text_sha1": "x"} for each in rows[:31]] + rows[31:]
    told = compare(release(rows), release(changed)).as_json(examples=2)["groups"]
    assert told == [
        {"kind": "changed", "cause": "source", "columns": ["text_sha1", "source_license"], "rows": 31,
         "examples": ["row-00", "row-01"]}
    ]  # fmt: skip
    names = [f"candidates_{number:02d}" for number in range(25)]
    pools = {
        name: [f"row-{number:02d}" for number in range(2 * place, 2 * place + 2)] for place, name in enumerate(names)
    }
    groups = compare(release(rows), release(rows, of=with_recipe((POOLS, "pools")), **pools)).as_json()["groups"]
    assert [group["rows"] for group in groups] == [2] * 20 + [10]
    assert groups[-1]["others"]


STATES = st.sampled_from(["kept", "removed", "rejected", "withdrawn", "absent"])


@st.composite
def releases(draw: st.DrawFn) -> Release:
    """Up to twelve records of two files, each with some fate, in some pools, by some recipe."""
    file = draw(st.sampled_from(["one", "two"]))
    changes = draw(st.lists(st.sampled_from([(NORMALIZED, "code"), (DUPLICATES, "rules"), (POOLS, "pools")])))
    rows, others, pools = [], [], {"candidates_a": [], "subset_x": []}
    for number in range(12):
        path = FILE if number % 2 else OTHER_FILE
        state, text = draw(STATES), draw(st.sampled_from(["x", "y"]))
        uid = f"{path} {file if path == FILE else 'one'} {number}"
        if state == "kept":
            rows.append(row(number, file=path, uid=uid, text_sha1=text))
            for members in pools.values():
                members += [f"row-{number}"] * draw(st.integers(0, 1))
        elif state != "absent":
            name = None if state == "rejected" else f"row-{number}"
            others.append({**dropped(number, state, None, name, path), "record_uid": uid})
    return release(rows, tuple(others), with_recipe(*changes, file=file), **pools)


@settings(max_examples=120, deadline=None)
@given(releases(), releases())
def test_rows_are_entered_left_or_common_and_the_way_back_is_the_mirror(before: Release, after: Release) -> None:
    diff, back = compare(before, after), compare(after, before)
    ids = [set(each.rows.lazy().collect()["id"]) for each in (before, after)]
    entered, left = set(diff.entered["id"]), set(diff.left["id"])
    assert (entered, left) == (ids[1] - ids[0], ids[0] - ids[1])
    assert diff.common == back.common == len(ids[0] & ids[1])
    assert len(entered) + len(left) + diff.common == len(ids[0] | ids[1])
    assert set(diff.changed["id"]) | set(diff.moved["id"]) <= ids[0] & ids[1]
    assert diff.entered.equals(back.left)
    assert diff.left.equals(back.entered)
    assert diff.changed.sort("id").equals(back.changed.sort("id"))
    assert diff.relocated == back.relocated
    assert diff.moved.equals(back.moved.select("id", into="out_of", out_of="into", cause="cause"))
    assert all(sum(counts.values()) == frame.height for counts, frame in zip(
        diff.summary.values(), (diff.entered, diff.left, diff.changed, diff.moved), strict=True
    ))  # fmt: skip
    assert compare(before, before).is_empty
