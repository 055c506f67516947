"""Which version of a stage another one was made from, and whether that is still the current one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nemo_assets.storage import Manifest, Part, Stage, Store, Unit
from nemo_assets.storage.manifest import content_version

_CHAIN = (Stage.NORMALIZED, Stage.SIGNATURES, Stage.DEDUPED, Stage.LEDGER, Stage.POOLS, Stage.PUBLISHED)


def paths_of_version(store: Store, stage: Stage, partition: str, data_version: str) -> list[Path] | None:
    """The files of the main table as they were in `data_version`, current or not; None once they are cleaned away.

    For stages whose data version is the content of their parts alone (normalized, deduped).
    """
    manifest = store.find(stage, partition)
    if manifest is not None and manifest.data_version == data_version:
        return store.paths(manifest)
    for directory in sorted(path for path in store.directory(stage, partition).glob("*") if path.is_dir()):
        parts = _parts_of(directory)
        wanted = [store.path(part) for part in parts if part.table == "rows"]
        if parts and content_version(parts) == data_version and all(path.is_file() for path in wanted):
            return wanted
    return None


def _parts_of(directory: Path) -> tuple[Part, ...]:
    units = (msgspec.json.decode(path.read_bytes(), type=Unit) for path in sorted(directory.glob("unit-*.json")))
    return tuple(part for unit in units for part in unit.parts)


def stale_notes(partition: str, scope: str, store: Store) -> tuple[str, ...]:
    """One sentence for each stage of the split that was made from something older than what is current now."""
    duplicates = store.find(Stage.DUPLICATES, scope)
    manifests = {stage: store.find(stage, partition) for stage in (Stage.RAW, *_CHAIN)}
    current = {stage.value: manifest.data_version for stage, manifest in manifests.items() if manifest}
    notes = []
    if duplicates:
        if partition in duplicates.details["splits"]:
            current[Stage.DUPLICATES.value] = duplicates.details["splits"][partition]["decisions"]
        signed = duplicates.inputs.get(partition)
        if signed and signed != current.get(Stage.SIGNATURES.value, signed):
            notes.append(_older(f"duplicates of {scope}", f"signatures of {partition}"))
    for stage in _CHAIN:
        notes += _older_inputs(manifests[stage], current)
    return tuple(notes)


def _older_inputs(manifest: Manifest | None, current: dict[str, str]) -> list[str]:
    if manifest is None:
        return []
    older = [name for name, used in manifest.inputs.items() if current.get(name, used) != used]
    return [_older(f"{manifest.stage} of {manifest.partition}", name) for name in older]


def _older(made: str, source: str) -> str:
    return f"{made} was made from an earlier version of {source} than the current one; materialise it again."
