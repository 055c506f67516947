"""Which records an entry of withdrawals.yaml takes, and which entries take none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from nemo_assets.catalog import Catalog, Withdrawal
from nemo_assets.records.schema import LEDGER_SCHEMA
from nemo_assets.settings import Settings
from nemo_assets.stages.withdrawals import (
    unknown_withdrawals,
    withdrawal_basis,
    withdrawal_warnings,
    withdrawn_rows,
)
from nemo_assets.storage import Stage
from nemo_assets_tests.building import CATALOG
from nemo_assets_tests.stages.making import rows_of, with_catalog

LOW, MEDIUM, SCIENCE = (CATALOG.split(key) for key in (
    "nemotron-math-v2/low", "nemotron-math-v2/medium", "nemotron-science-v1/RQA"
))  # fmt: skip


def uid(number: int) -> bytes:
    return number.to_bytes(16)


def kept(number: int, name: str) -> dict[str, Any]:
    return {"record_uid": uid(number), "id": name, "state": "kept"}


def rejected(number: int) -> dict[str, Any]:
    return {"record_uid": uid(number), "state": "rejected", "code": "no_messages"}


def removed(number: int, name: str, survivor: int, survivor_id: str, partition: str = LOW.key) -> dict[str, Any]:
    evidence = msgspec.json.encode({"rule": "text", "survivor_id": survivor_id, "survivor_partition": partition})
    return {
        "record_uid": uid(number), "id": name, "state": "removed", "code": "near_duplicate",
        "evidence": evidence.decode(), "survivor_uid": uid(survivor),
    }  # fmt: skip


def ledger(*entries: dict[str, Any]) -> pl.LazyFrame:
    return pl.LazyFrame(entries, schema=pl.DataFrame(pl.from_arrow(LEDGER_SCHEMA.empty_table())).schema)


def withdrawing(*entries: Withdrawal) -> Catalog:
    return msgspec.structs.replace(CATALOG, withdrawals=entries)


def taken(split: Any, catalog: Catalog, entries: pl.LazyFrame) -> dict[int, tuple[str, str]]:
    """Number of a record → its reason and state."""
    found = withdrawn_rows(split, catalog, entries)
    return {int.from_bytes(row["record_uid"]): (row["reason"], row["state"]) for row in found.iter_rows(named=True)}


RECORDS = ledger(kept(1, "a"), kept(2, "b"), removed(3, "a", 2, "b"), rejected(4), removed(5, "c", 9, "z"))


def test_an_id_takes_every_record_of_that_id_and_a_uid_takes_one() -> None:
    by_id = withdrawing(Withdrawal("error", id="a", note="wrong"))
    assert taken(LOW, by_id, RECORDS) == {1: ("error", "kept"), 3: ("error", "removed")}
    by_uid = withdrawing(Withdrawal("licence", record_uid=uid(4).hex()))
    assert taken(LOW, by_uid, RECORDS) == {4: ("licence", "rejected")}
    assert withdrawn_rows(LOW, by_id, RECORDS).row(0) == (uid(1), "a", "error", "wrong", "kept")
    assert taken(LOW, CATALOG, RECORDS) == {}


def test_an_id_may_be_limited_to_a_source() -> None:
    catalog = withdrawing(Withdrawal("error", id="a", dataset="nemotron-science-v1"))
    assert taken(LOW, catalog, RECORDS) == {}
    assert taken(SCIENCE, catalog, RECORDS) == {1: ("error", "kept"), 3: ("error", "removed")}


@pytest.mark.parametrize("reason", ["takedown", "licence"])
def test_what_was_removed_for_a_withdrawn_survivor_says_the_same_and_goes_with_it(reason: Any) -> None:
    named = withdrawing(Withdrawal(reason, id="b"))
    assert taken(LOW, named, RECORDS) == {2: (reason, "kept"), 3: (reason, "removed")}
    by_uid = withdrawing(Withdrawal(reason, record_uid=uid(2).hex()))
    assert taken(LOW, by_uid, RECORDS) == {2: (reason, "kept"), 3: (reason, "removed")}
    wrong = withdrawing(Withdrawal("error", id="b"))
    assert taken(LOW, wrong, RECORDS) == {2: ("error", "kept")}


def test_the_survivor_may_lie_in_another_split_and_source() -> None:
    there = ledger(removed(7, "x", 2, "b", partition=LOW.key), removed(8, "y", 6, "b", partition=SCIENCE.key))
    of_math = withdrawing(Withdrawal("takedown", id="b", dataset="nemotron-math-v2"))
    assert taken(SCIENCE, of_math, there) == {7: ("takedown", "removed")}
    anywhere = withdrawing(Withdrawal("takedown", id="b"))
    assert set(taken(SCIENCE, anywhere, there)) == {7, 8}
    by_uid = withdrawing(Withdrawal("takedown", record_uid=uid(6).hex()))
    assert set(taken(SCIENCE, by_uid, there)) == {8}


def test_the_first_entry_that_takes_a_record_counts() -> None:
    entries = (Withdrawal("error", record_uid=uid(1).hex()), Withdrawal("takedown", id="a"))
    assert taken(LOW, withdrawing(*entries), RECORDS)[1] == ("error", "kept")
    assert taken(LOW, withdrawing(*reversed(entries)), RECORDS)[1] == ("takedown", "kept")


def test_a_release_depends_on_the_entries_that_hit_its_split_alone() -> None:
    def basis(*entries: Withdrawal) -> str:
        return withdrawal_basis(withdrawn_rows(LOW, withdrawing(*entries), RECORDS))

    first, elsewhere = Withdrawal("error", id="a"), Withdrawal("takedown", id="elsewhere")
    assert basis() == basis(elsewhere)
    assert basis(first) == basis(elsewhere, first) != basis()
    assert basis(first) != basis(Withdrawal("error", id="a", note="told"))
    assert basis(first) != basis(Withdrawal("licence", id="a"))


def entry_of(settings: Settings, key: str, **wanted: Any) -> dict[str, Any]:
    """A ledger entry of the sample with these values."""
    entries = rows_of(settings.store.current(Stage.LEDGER, key), settings.store).to_pylist()
    return next(entry for entry in entries if all(entry[name] == value for name, value in wanted.items()))


def test_entries_that_hit_nothing_are_told(sample: Settings) -> None:
    row = entry_of(sample, LOW.key, state="kept")
    hit = (Withdrawal("error", id=row["id"]), Withdrawal("error", record_uid=row["record_uid"].hex()))
    missed = (
        Withdrawal("error", id="nowhere"),
        Withdrawal("error", id=row["id"], dataset="nemotron-science-v1"),
        Withdrawal("takedown", record_uid="f" * 32),
    )
    assert unknown_withdrawals(withdrawing(*hit, *missed), sample.store) == missed
    assert withdrawal_warnings(withdrawing(*hit), sample.store) == ()
    assert withdrawal_warnings(withdrawing(missed[1]), sample.store)[0].startswith(
        f"id {row['id']} of nemotron-science-v1 is withdrawn (error), but no record is named so."
    )


def test_a_source_that_was_never_made_is_no_reason_to_warn(settings: Settings, tmp_path: Path) -> None:
    assert unknown_withdrawals(withdrawing(Withdrawal("error", id="x")), settings.store) == ()
    assert withdrawal_warnings(withdrawing(Withdrawal("takedown", id="x")), settings.store) == ()


def test_a_duplicate_taken_down_while_its_survivor_stays_is_told(sample: Settings) -> None:
    duplicate = entry_of(sample, LOW.key, state="removed")
    survivor_uid, name = duplicate["survivor_uid"], duplicate["id"]
    told = withdrawal_warnings(
        withdrawing(Withdrawal("takedown", record_uid=duplicate["record_uid"].hex())), sample.store
    )
    assert len(told) == 1
    assert told[0].startswith(f"id {name} is withdrawn (takedown), but it was removed as a duplicate of ")
    both = [Withdrawal("takedown", record_uid=each.hex()) for each in (duplicate["record_uid"], survivor_uid)]
    assert withdrawal_warnings(withdrawing(*both), sample.store) == ()
    wrong = Withdrawal("error", record_uid=duplicate["record_uid"].hex())
    assert withdrawal_warnings(withdrawing(wrong), sample.store) == ()


def test_the_catalog_of_a_project_is_read(sample: Settings, tmp_path: Path) -> None:
    row = entry_of(sample, LOW.key, state="kept")
    content = {"withdrawals": [{"id": row["id"], "reason": "takedown"}]}
    project = with_catalog(sample, tmp_path / "catalog", {"policies/withdrawals.yaml": content})
    found = withdrawn_rows(project.catalog.split(LOW.key), project.catalog, ledger(row))
    assert found["record_uid"].to_list() == [row["record_uid"]]
