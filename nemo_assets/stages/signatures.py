"""The signatures of one split: small, so that a scope of many splits fits in memory at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from nemo_assets.catalog import Catalog, Split
from nemo_assets.dedup.cluster import RayCluster
from nemo_assets.dedup.distributed import signatures_distributed
from nemo_assets.dedup.signatures import ROW_COLUMNS, SIGNATURE_SCHEMA, signatures_of
from nemo_assets.progress import track
from nemo_assets.records.recipe import package_digest
from nemo_assets.stages.contamination import HIT_SCHEMA, current_evaluation_sets, hits_of
from nemo_assets.stages.units import run_units
from nemo_assets.storage import Basis, Manifest, Stage, Staging, Store, Unit
from nemo_assets.storage.manifest import digest
from nemo_assets.storage.parquet import PartWriter, read_batches, write_part

# Not all of `dedup`: another rule for survivors must not sign ten million rows again.
_MODULES = (
    "answers", "compared", "contamination", "evaluation_ngrams", "minhash", "numerals", "shingles", "signatures",
    "signing", "tokens",
)  # fmt: skip
SIGNATURES_CODE = package_digest(*(f"dedup/{module}" for module in _MODULES))


@dataclass(frozen=True)
class Piece:
    """One part of normalized rows, to become one part of signatures.

    evaluation_sets: the parts with their texts; declared: what the catalog says of the sets, as JSON.
    """

    number: int
    rows: int
    source: Path
    evaluation_sets: tuple[Path, ...]
    declared: bytes
    staging: Staging


def sign(split: Split, catalog: Catalog, store: Store, workers: int = 1, cluster: RayCluster | None = None) -> Manifest:
    """Write one signature for every normalized row of the split: part by part, in the order of the rows.

    What is written depends neither on `workers` nor on whether a `cluster` does it.

    Table `contamination` says which records of the evaluation sets are found in which row. The data version contains
    that of `normalized`, so that a change in any column reaches `deduped`, which is triggered through signatures and
    duplicates alone.

    Raises UserError if the catalog declares evaluation sets that were not read yet.
    """
    normalized = store.current(Stage.NORMALIZED, split.key)
    evaluation_sets = current_evaluation_sets(catalog, store)
    basis = sign_basis(normalized, catalog, evaluation_sets)
    current = store.find_current(Stage.SIGNATURES, split.key, basis)
    if current is not None:
        return current
    parts = normalized.table("rows")
    paths = tuple(store.paths(evaluation_sets)) if evaluation_sets else ()
    declared = msgspec.json.encode(catalog.evaluation_sets)
    with store.staging(Stage.SIGNATURES, split.key, basis) as staging:
        pieces = [
            Piece(n, parts[n].rows, store.path(parts[n]), paths, declared, staging)
            for n in staging.missing(range(len(parts)))
        ]
        label = f"signatures {split.key}"
        if cluster is None:
            units = run_units(_sign_unit, pieces, workers, label, lambda piece: piece.rows, "rows")
        else:
            units = _signed_by(cluster, pieces, label)
        for unit in units:
            staging.add(unit)
        done = staging.units.values()
        return staging.commit(
            counters={name: sum(unit.counters[name] for unit in done) for name in ("rows", "shingles", "hits")},
            details={"normalized": normalized.data_version},
            content=normalized.data_version,
        )


def sign_basis(normalized: Manifest, catalog: Catalog, evaluation_sets: Manifest | None) -> Basis:
    """Signatures depend on the rows, on what deduplication compares, and on what is searched for in them."""
    inputs, settings = {"normalized": normalized.data_version}, {"code": SIGNATURES_CODE}
    if evaluation_sets is not None:
        inputs["evaluation_sets"] = evaluation_sets.data_version
        settings["evaluation_sets"] = digest(msgspec.to_builtins(catalog.evaluation_sets))
    return Basis(inputs, settings)


def _sign_unit(piece: Piece) -> Unit:
    """Rows are read once, to be signed and searched."""
    batches = read_batches([piece.source], ROW_COLUMNS)
    return _write_unit(piece, ((signatures_of(rows), _hits_of(piece, rows)) for rows in batches))


def _signed_by(cluster: RayCluster, pieces: Sequence[Piece], label: str) -> Iterator[Unit]:
    signed = signatures_distributed([piece.source for piece in pieces], cluster.address) if pieces else ()
    with track(label, sum(piece.rows for piece in pieces), "rows") as meter:
        for piece, signatures in zip(pieces, signed, strict=True):
            yield _write_unit(piece, _in_batches(piece, signatures))
            meter.advance(piece.rows)


def _in_batches(piece: Piece, signatures: pa.Table) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Signatures made elsewhere and hits, in the batches they are made in here: row groups are cut where these end."""
    columns, begin = ["record_uid", "text"] if piece.evaluation_sets else ["record_uid"], 0
    for rows in read_batches([piece.source], columns):
        yield signatures.slice(begin, rows.num_rows), _hits_of(piece, rows)
        begin += rows.num_rows


def _hits_of(piece: Piece, rows: pa.Table) -> pa.Table:
    """What of the evaluation sets is found in these rows."""
    if not piece.evaluation_sets:
        return HIT_SCHEMA.empty_table()
    return hits_of(rows, piece.evaluation_sets, piece.declared)


def _write_unit(piece: Piece, made: Iterable[tuple[pa.Table, pa.Table]]) -> Unit:
    """Write the signatures and hits that were made, batch by batch, of the rows of the piece."""
    path, shingles, hits = piece.staging.target("rows", piece.number), 0, [HIT_SCHEMA.empty_table()]
    with PartWriter(path, SIGNATURE_SCHEMA, ["source_file"], statistics=False, passing=True) as writer:
        for signatures, found_in in made:
            shingles += pc.sum(signatures["shingles"]).as_py() or 0
            writer.write(signatures)
            hits.append(found_in)
    found_path = piece.staging.target("contamination", piece.number)
    found = write_part(found_path, pa.concat_tables(hits))
    parts = (piece.staging.part("rows", path, writer.rows), piece.staging.part("contamination", found_path, found))
    unit = Unit(piece.number, parts, {"rows": writer.rows, "shingles": shingles, "hits": found})
    piece.staging.record(unit)
    return unit
