"""Read the catalog from its YAML files and check what can be checked without data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from nemo_assets.catalog.entries import Catalog, Checkpoint, PoolPolicy, SourceEntry
from nemo_assets.errors import UserError

CATALOG_DIR = Path(__file__).parent

# A partition key becomes a directory and a URL, and `datasets` allows only word characters in split names.
_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")
_SPLIT = re.compile(r"\w+", re.ASCII)
_POOL = re.compile(r"[a-z0-9_]+")

Decoded = TypeVar("Decoded")


class _Checkpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    checkpoints: dict[str, Checkpoint]


def load_catalog(directory: Path = CATALOG_DIR) -> Catalog:
    """Every source of `directory` (one YAML each) and the policies in its `policies/`.

    Raises UserError naming the file and what is wrong in it.
    """
    paths = sorted(directory.glob("*.yaml"))
    if not paths:
        raise UserError(f"{directory}: the catalog directory holds no YAML file.")
    entries = {path.stem: _decode(path, SourceEntry) for path in paths}
    for path in paths:
        _check_names(path, entries[path.stem])
    sources = dict(sorted(entries.items(), key=lambda item: (item[1].order, item[0])))
    _check_origins(directory, sources)
    pools = directory / "policies" / "pools.yaml"
    policy = _decode(pools, PoolPolicy)
    for name in policy.pools:
        if not _POOL.fullmatch(name) or name in ("rows", "tools", "ledger"):
            raise UserError(f"{pools}: {name!r} cannot name a pool; use lower case letters, digits and underscores.")
    checkpoints = _decode(directory / "policies" / "checkpoints.yaml", _Checkpoints).checkpoints
    return Catalog(sources, policy, checkpoints)


def _decode(path: Path, as_type: type[Decoded]) -> Decoded:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=as_type)
    except FileNotFoundError:
        raise UserError(f"{path}: the catalog needs this file.") from None
    except msgspec.MsgspecError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None


def _check_names(path: Path, source: SourceEntry) -> None:
    if not _SLUG.fullmatch(path.stem):
        raise UserError(f"{path}: the file name is the dataset slug; use lower case letters, digits, dots and dashes.")
    if source.repo.count("/") != 1:
        raise UserError(f"{path}: repo must read <org>/<name>, not {source.repo!r}.")
    for name, entry in source.splits.items():
        if not _SPLIT.fullmatch(name):
            raise UserError(f"{path}: split {name!r} may hold letters, digits and underscores only.")
        if entry.files == ():
            raise UserError(f"{path}: split {name!r} names no file. Leave `files` out to follow the card.")


def _check_origins(directory: Path, sources: dict[str, SourceEntry]) -> None:
    for slug, source in sources.items():
        origin = source.correctness_from
        if origin is not None and origin not in sources:
            raise UserError(f"{directory / slug}.yaml: correctness_from names {origin!r}, which is no source here.")
