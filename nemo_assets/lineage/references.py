"""From what a user types to one ledger entry.

A reference is a row id, a record_uid (32 hex), a place `<dataset>:<split>:<file>:<row>`, an id qualified by its
partition (`<slug>/<split>:<id>`), a uuid or problem id of the source, the address of a row in the Hub's viewer, or the
beginning of an id or record_uid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from nemo_assets.catalog import Catalog
from nemo_assets.errors import UserError
from nemo_assets.lineage.entries import Entry, Ledger, ScannedLedger
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.storage import Stage, Store

SHORTEST_PREFIX = 6  # characters
_LISTED = 10  # candidates in a message
_VIEWER = re.compile(
    r"https?://[^/]+/datasets/(?P<repo>[^/]+/[^/]+)/viewer/[^/]+/(?P<split>[^/?]+)/?\?(.*&)?row=(?P<row>\d+).*"
)
_MOST = 1_000  # matches read of one split: enough to say that a reference is ambiguous


class AmbiguousReferenceError(UserError):
    """A reference names several records, and none of them alone is kept. `candidates` are all that were read."""

    def __init__(self, reference: str, candidates: tuple[Entry, ...]) -> None:
        kept = sum(entry.state == "kept" for entry in candidates)
        lines = [f"  {e.record_uid}  {e.state:<8}  {e.id or '-'}  {e.place}" for e in candidates[:_LISTED]]
        rest = len(candidates) - len(lines)
        more = [f"  … and {rest} more"] if rest else []
        count = f"{'at least ' if len(candidates) >= _MOST else ''}{len(candidates)}"
        head = f"{reference} names {count} records, {kept} of them kept. Name one by its record_uid or place:"
        super().__init__("\n".join([head, *lines, *more]))
        self.candidates = candidates


@dataclass(frozen=True)
class Place:
    """A record by where it lies; `file` is empty where the split has one file."""

    partition: str
    file: str
    row: int


@dataclass(frozen=True)
class ViewerRow:
    """A record by its row in the Hub's viewer, which numbers rows through all files of a split by path."""

    partition: str
    row: int


@dataclass(frozen=True)
class Name:
    """Anything that is no place, within one partition if that was said."""

    text: str
    partition: str | None = None


@dataclass(frozen=True)
class Found:
    """The entry a reference names, others that it fits too, and by what it was found."""

    entry: Entry
    also: tuple[Entry, ...]
    matched_by: str


def parse_reference(reference: str, catalog: Catalog) -> Place | ViewerRow | Name:
    """What a reference says. Raises UserError for an empty one, an unknown split and a row that is no number."""
    text = reference.strip()
    if not text:
        raise UserError("The reference is empty. Give a row id, a record_uid or <dataset>:<split>:<file>:<row>.")
    if (viewed := _VIEWER.fullmatch(text)) is not None:
        slug, _ = catalog.source(unquote(viewed["repo"]))
        return ViewerRow(catalog.split(f"{slug}/{unquote(viewed['split'])}").key, int(viewed["row"]))
    head, _, rest = text.partition(":")
    if head in catalog.splits and rest:
        return Name(rest, head)
    slugs = {name: slug for slug, source in catalog.sources.items() for name in (slug, source.repo)}
    split, colon, place = rest.partition(":")
    if head not in slugs or not colon:
        return Name(text)
    file, _, row = place.rpartition(":")
    if not (row.isascii() and row.isdecimal()):
        raise UserError(
            f"{reference}: {row!r} is no row number. Write <dataset>:<split>:<file>:<row>, rows counted from 0."
        )
    return Place(catalog.split(f"{slugs[head]}/{split}").key, file, int(row))


def find_entry(reference: str, catalog: Catalog, store: Store) -> Found:
    """The one record that `reference` names.

    Where several match and exactly one is kept, that one is chosen. Raises AmbiguousReferenceError where that does not
    decide, and UserError saying what was searched where nothing matches.
    """
    parsed = parse_reference(reference, catalog)
    if isinstance(parsed, Place):
        return Found(_entry_at(reference, parsed, store), (), "place")
    if isinstance(parsed, ViewerRow):
        return Found(_entry_at(reference, _place_of(parsed, store), store), (), "row in the viewer")
    found = ledgers(catalog, store, [parsed.partition] if parsed.partition else None)
    if not found:
        where = f" of {parsed.partition}" if parsed.partition else ""
        raise UserError(f"{reference}: there is no ledger{where} yet. Materialise ledger{where} first.")
    exact = [entry for ledger in found.values() for entry in ledger.named(parsed.text, _MOST)]
    if exact:
        return _chosen(reference, exact, "id" if exact[0].id == parsed.text else "record_uid")
    related = [entry for ledger in found.values() for entry in ledger.of_source_name(parsed.text, _MOST)]
    if related:
        return _chosen(reference, related, "source uuid or problem id")
    if len(parsed.text) >= SHORTEST_PREFIX:
        begun = [entry for ledger in found.values() for entry in ledger.beginning(parsed.text, _MOST)]
        # Another id that begins alike is another record, whatever became of it.
        if len({entry.id or entry.record_uid for entry in begun}) > 1:
            raise AmbiguousReferenceError(reference, tuple(begun))
        if begun:
            return _chosen(reference, begun, "beginning of an id")
    raise UserError(_not_found(reference, parsed, found, catalog, store))


def ledgers(catalog: Catalog, store: Store, partitions: Iterable[str] | None = None) -> dict[str, Ledger]:
    """The current ledger of every split that has one, by partition key, in precedence order.

    A current index answers for it where there is one; without, every question reads the ledger.
    """
    keys = catalog.splits if partitions is None else partitions
    found = {key: LineageIndex.open(store, key) or ScannedLedger.find(key, store) for key in keys}
    return {key: ledger for key, ledger in found.items() if ledger is not None}


def _place_of(viewed: ViewerRow, store: Store) -> Place:
    """The file and row of a row of the viewer; a row behind the last one stays in the last file."""
    files, row = sorted(_ledger_of(viewed.partition, store).files().items()), viewed.row
    for file, records in files[:-1]:
        if row < records:
            return Place(viewed.partition, file, row)
        row -= records
    return Place(viewed.partition, files[-1][0] if files else "", row)


def _ledger_of(partition: str, store: Store) -> Ledger:
    store.current(Stage.LEDGER, partition)
    ledger = LineageIndex.open(store, partition) or ScannedLedger.find(partition, store)
    assert ledger is not None  # there is a current one
    return ledger


def _entry_at(reference: str, place: Place, store: Store) -> Entry:
    ledger = _ledger_of(place.partition, store)
    counts = ledger.files()
    if not place.file and len(counts) != 1:
        raise UserError(f"{reference}: {place.partition} has {len(counts)} files, name one of {_listed(counts)}.")
    file = place.file or next(iter(counts))
    if file not in counts:
        raise UserError(f"{reference}: {place.partition} has no file {file}. It has {_listed(counts)}.")
    entry = ledger.at(file, place.row)
    if entry is None:
        last = counts[file] - 1
        raise UserError(f"{reference}: {file} of {place.partition} has no row {place.row}. Its rows are 0 to {last}.")
    return entry


def _chosen(reference: str, entries: list[Entry], matched_by: str) -> Found:
    kept = [entry for entry in entries if entry.state == "kept"]
    candidates = entries if len(entries) == 1 else kept
    if len(candidates) != 1:
        raise AmbiguousReferenceError(reference, tuple(entries))
    return Found(candidates[0], tuple(entry for entry in entries if entry is not candidates[0]), matched_by)


def _not_found(reference: str, name: Name, found: dict[str, Ledger], catalog: Catalog, store: Store) -> str:
    head = name.text.partition(":")[0]
    if re.fullmatch(r"[^:]+:[^:]+:.*:\d+", name.text):
        known = ", ".join(catalog.sources)
        return f"{reference}: no such id, and as a place it names {head}, no dataset of the catalog. It has {known}."
    records = sum(store.current(Stage.LEDGER, key).rows() for key in found)
    missing = [key for key in catalog.splits if key not in found] if name.partition is None else []
    unsearched = f" Not searched: {len(missing)} splits without a ledger ({_listed(missing, 3)})." if missing else ""
    too_short = len(name.text) < SHORTEST_PREFIX
    short = f" The beginning of an id must have {SHORTEST_PREFIX} characters." if too_short else ""
    return (
        f"{reference}: no record has this id, record_uid, source uuid or problem id, or an id that begins so. "
        f"Searched {records:,} records (kept, removed and rejected) of {len(found)} splits ({_listed(found, 3)})."
        f"{unsearched}{short}"
    )


def _listed(names: Iterable[str], most: int = _LISTED) -> str:
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
