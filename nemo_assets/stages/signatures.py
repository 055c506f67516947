"""The signatures of one split: small, so that a scope of many splits fits in memory at once."""

from __future__ import annotations

from nemo_assets.catalog import Split
from nemo_assets.dedup import SIGNATURE_SCHEMA, signatures_of
from nemo_assets.records.recipe import package_digest
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.storage import Basis, Manifest, Stage, Store, Unit
from nemo_assets.storage.parquet import scan, write_part


def sign(split: Split, store: Store) -> Manifest:
    """Write one signature for every normalized row of the split.

    The data version contains that of `normalized`, so that a change in any column reaches `deduped`, which is triggered
    through signatures and duplicates alone.
    """
    normalized = store.current(Stage.NORMALIZED, split.key)
    basis = sign_basis(normalized)
    current = store.find_current(Stage.SIGNATURES, split.key, basis)
    if current is not None:
        return current
    with store.staging(Stage.SIGNATURES, split.key, basis) as staging:
        signatures = signatures_of(scan(store.paths(normalized), ROW_SCHEMA)).collect(engine="streaming")
        path = staging.target("rows", 0)
        rows = write_part(path, signatures.to_arrow().cast(SIGNATURE_SCHEMA))
        staging.add(Unit(0, (staging.part("rows", path, rows),)))
        distinct = signatures["content_sha1"].n_unique()
        return staging.commit(
            counters={"rows": rows, "distinct_contents": distinct},
            details={"normalized": normalized.data_version},
            content=normalized.data_version,
        )


def sign_basis(normalized: Manifest) -> Basis:
    """Signatures depend on the rows and on what deduplication compares."""
    return Basis({"normalized": normalized.data_version}, {"code": package_digest("dedup")})
