"""Which records of a split are withdrawn, and by which entry of the catalog.

Belongs here: matching the entries with ledgers. Does not: leaving records out of a release (`release_files`), what an
entry may say (`catalog`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from nemo_assets.catalog import Catalog, Split, Withdrawal
from nemo_assets.records.schema import LEDGER_SCHEMA
from nemo_assets.storage import Stage, Store
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import scan

WITHDRAWN_SCHEMA = {
    "record_uid": pl.Binary, "id": pl.String, "reason": pl.String, "note": pl.String, "state": pl.String,
}  # fmt: skip

_OF_CONTENT = ("takedown", "licence")
"""Reasons that lie in what a record says, and so in its duplicates too."""


def withdrawn_rows(split: Split, catalog: Catalog, ledger: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """The records of `split` that are withdrawn: record_uid, id, reason, note, and the state the ledger has for them.

    `ledger`: the entries of the split, columns as LEDGER_SCHEMA. An entry by id takes every record with that id, kept
    or not. An entry for takedown or licence names content, so it takes the records too that were removed as duplicates
    of what it names, in whichever split that survivor lies; none of them comes back in its place. Where several entries
    take a record, the first one counts. Sorted by record_uid.
    """
    entries = _numbered(catalog.withdrawals)
    if entries.height == 0:
        return pl.DataFrame(schema=WITHDRAWN_SCHEMA)
    records = ledger.lazy().select("record_uid", "id", "state", "survivor_uid", "evidence")
    found = pl.concat([_named(records, entries, split.slug), _duplicates_of_named(records, entries)])
    first = found.group_by("record_uid", "id", "state").agg(pl.col("entry").min())
    told = first.join(entries.lazy().select("entry", "reason", "note"), on="entry")
    return told.select(*WITHDRAWN_SCHEMA).collect(engine="streaming").sort("record_uid")


def withdrawal_basis(withdrawn: pl.DataFrame) -> str:
    """Digest of what is withdrawn from one split, so that a withdrawal publishes no other split again."""
    told = withdrawn.sort("record_uid").with_columns(pl.col("record_uid").bin.encode("hex"))
    return digest(told.rows())


def unknown_withdrawals(catalog: Catalog, store: Store) -> tuple[Withdrawal, ...]:
    """Entries that name no record of any split that has a ledger; those of sources without one are not counted."""
    hit: set[int] = set()
    entries = _numbered(catalog.withdrawals)
    made = list(_ledgers(catalog, store)) if entries.height else []
    for split, ledger in made:
        records = ledger.select("record_uid", "id", "state")
        found = _named(records, entries, split.slug).select(pl.col("entry").unique())
        hit.update(found.collect(engine="streaming")["entry"])
    slugs = {split.slug for split, _ in made}
    return tuple(
        entry
        for number, entry in enumerate(catalog.withdrawals)
        if number not in hit and (entry.dataset in slugs if entry.dataset else slugs)
    )


def withdrawal_warnings(catalog: Catalog, store: Store) -> tuple[str, ...]:
    """Sentences somebody should read: entries that hit nothing, and content that stays published all the same.

    The latter is that of a record which was removed as a duplicate, named itself, while its survivor is not.
    """
    unknown = [
        f"{entry.named} is withdrawn ({entry.reason}), but no record is named so. Correct policies/withdrawals.yaml."
        for entry in unknown_withdrawals(catalog, store)
    ]
    return (*unknown, *_still_published(catalog, store))


def _still_published(catalog: Catalog, store: Store) -> Iterator[str]:
    if not any(entry.reason in _OF_CONTENT for entry in catalog.withdrawals):
        return
    survivors, taken = [], []
    for split, ledger in _ledgers(catalog, store):
        withdrawn = withdrawn_rows(split, catalog, ledger)
        taken.append(withdrawn.select("record_uid"))
        gone = withdrawn.filter((pl.col("state") == "removed") & pl.col("reason").is_in(_OF_CONTENT)).lazy()
        evidence = ledger.select("record_uid", "survivor_uid", "evidence").join(gone, on="record_uid")
        survivors.append(evidence.select("id", "reason", "survivor_uid", *_survivor()).collect())
    if not survivors:
        return
    stays = pl.concat(survivors).join(pl.concat(taken), left_on="survivor_uid", right_on="record_uid", how="anti")
    for name, reason, survivor, partition in stays.drop("survivor_uid").sort("id").iter_rows():
        yield (
            f"id {name} is withdrawn ({reason}), but it was removed as a duplicate of {survivor} ({partition}), which "
            "stays. Withdraw that one too if it says the same."
        )


def _numbered(withdrawals: Sequence[Withdrawal]) -> pl.DataFrame:
    """The entries in order: entry, uid, named, dataset, reason, note."""
    return pl.DataFrame(
        {
            "entry": range(len(withdrawals)),
            "uid": [bytes.fromhex(entry.record_uid) if entry.record_uid else None for entry in withdrawals],
            "named": [entry.id for entry in withdrawals],
            "dataset": [entry.dataset for entry in withdrawals],
            "reason": [entry.reason for entry in withdrawals],
            "note": [entry.note for entry in withdrawals],
        },
        schema={
            "entry": pl.Int64, "uid": pl.Binary, "named": pl.String, "dataset": pl.String, "reason": pl.String,
            "note": pl.String,
        },
    )  # fmt: skip


def _ledgers(catalog: Catalog, store: Store) -> Iterator[tuple[Split, pl.LazyFrame]]:
    for split in catalog.splits.values():
        if manifest := store.find(Stage.LEDGER, split.key):
            yield split, scan(store.paths(manifest), LEDGER_SCHEMA)


def _named(records: pl.LazyFrame, entries: pl.DataFrame, slug: str) -> pl.LazyFrame:
    """Records that entries name: record_uid, id, state, entry."""
    by_id = entries.filter(pl.col("named").is_not_null() & (pl.col("dataset").is_null() | (pl.col("dataset") == slug)))
    by_uid = entries.filter(pl.col("uid").is_not_null())
    hits = [
        records.join(by_id.lazy(), left_on="id", right_on="named"),
        records.join(by_uid.lazy(), left_on="record_uid", right_on="uid"),
    ]
    return pl.concat(each.select("record_uid", "id", "state", "entry") for each in hits)


def _duplicates_of_named(records: pl.LazyFrame, entries: pl.DataFrame) -> pl.LazyFrame:
    """Records removed for a survivor that entries name: record_uid, id, state, entry.

    The evidence names the survivor's id and partition, so the ledger of its split is not needed.
    """
    of_content = entries.filter(pl.col("reason").is_in(_OF_CONTENT)).lazy()
    removed = records.filter(pl.col("state") == "removed").with_columns(_survivor())
    slug = pl.col("survivor_partition").str.split("/").list.first()
    hits = [
        removed.join(of_content.filter(pl.col("named").is_not_null()), left_on="survivor_id", right_on="named").filter(
            pl.col("dataset").is_null() | (pl.col("dataset") == slug)
        ),
        removed.join(of_content.filter(pl.col("uid").is_not_null()), left_on="survivor_uid", right_on="uid"),
    ]
    return pl.concat(each.select("record_uid", "id", "state", "entry") for each in hits)


def _survivor() -> list[pl.Expr]:
    """`survivor_id` and `survivor_partition`, as the evidence of a removal names them."""
    names = ("survivor_id", "survivor_partition")
    return [pl.col("evidence").str.json_path_match(f"$.{name}").alias(name) for name in names]
