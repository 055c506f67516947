"""Read the catalog from its YAML files and check what can be checked without data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nemo_assets.catalog.entries import (
    Catalog,
    Checkpoint,
    DuplicatePolicy,
    EvaluationSet,
    PoolPolicy,
    SourceEntry,
    Withdrawal,
)
from nemo_assets.catalog.subset_policy import SubsetPolicy, load_subset_policy
from nemo_assets.errors import UserError

CATALOG_DIR = Path(__file__).parent
EVALUATION_SETS = "evaluation_sets.yaml"

# A partition key becomes a directory and a URL, and `datasets` allows only word characters in split names.
_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")
_SPLIT = re.compile(r"\w+", re.ASCII)
_POOL = re.compile(r"[a-z0-9_]+")
_EVALUATION_SET = re.compile(r"[a-z0-9][a-z0-9._-]*")  # part of a tag, whose parts colons separate
_COMMIT = re.compile(r"[0-9a-f]{40}")
_RECORD_UID = re.compile(r"[0-9a-f]{32}")

Decoded = TypeVar("Decoded")


class _Checkpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    checkpoints: dict[str, Checkpoint]


class _EvaluationSets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    evaluation_sets: dict[str, EvaluationSet]


class _Withdrawals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    withdrawals: tuple[Any, ...]  # made entries one by one, so that a mistake can be told with the entry's number


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
    evaluation_sets = _evaluation_sets(directory / "policies" / EVALUATION_SETS)
    duplicates = _duplicate_policy(directory / "policies" / "duplicates.yaml", sources)
    subsets = _subset_policy(directory / "policies" / "subsets.yaml", checkpoints)
    withdrawals = _withdrawals(directory / "policies" / "withdrawals.yaml", sources)
    return Catalog(sources, policy, checkpoints, evaluation_sets, duplicates, subsets, withdrawals)


def _evaluation_sets(path: Path) -> dict[str, EvaluationSet]:
    sets = _decode(path, _EvaluationSets).evaluation_sets
    for name, entry in sets.items():
        _check_evaluation_set(f"{path}: evaluation set {name!r}", name, entry)
    return sets


def _duplicate_policy(path: Path, sources: dict[str, SourceEntry]) -> DuplicatePolicy:
    policy = _decode(path, DuplicatePolicy)
    scopes = {source.scope for source in sources.values()}
    if missing := sorted(scopes - policy.thresholds.keys()):
        raise UserError(f"{path}: thresholds lacks scope {missing[0]!r}, which the sources name.")
    if unknown := sorted(policy.removal_ceilings.keys() - sources.keys()):
        raise UserError(f"{path}: removal_ceilings names {unknown[0]!r}, which is no source here.")
    return policy


def _subset_policy(path: Path, checkpoints: dict[str, Checkpoint]) -> SubsetPolicy:
    if not path.exists():
        raise UserError(f"{path}: the catalog needs this file.")
    return load_subset_policy(path, checkpoints)


def _withdrawals(path: Path, sources: dict[str, SourceEntry]) -> tuple[Withdrawal, ...]:
    entries: dict[str, int] = {}
    withdrawals = []
    for number, content in enumerate(_decode(path, _Withdrawals).withdrawals, start=1):
        where = f"{path}: entry {number}"
        try:
            entry = msgspec.convert(content, Withdrawal)
        except msgspec.ValidationError as error:
            raise UserError(f"{where}: {error}") from None
        _check_withdrawal(where, entry, sources)
        if (first := entries.setdefault(entry.named, number)) != number:
            raise UserError(f"{where}: {entry.named} is withdrawn by entry {first} already. Keep one of the two.")
        withdrawals.append(entry)
    return tuple(withdrawals)


def _check_withdrawal(where: str, entry: Withdrawal, sources: dict[str, SourceEntry]) -> None:
    if not entry.id and not entry.record_uid:
        raise UserError(f"{where}: needs an `id` or a `record_uid`, to say what is withdrawn.")
    if entry.id and entry.record_uid:
        raise UserError(f"{where}: has both `id` and `record_uid`. Make two entries of it, or leave one out.")
    if entry.record_uid and not _RECORD_UID.fullmatch(entry.record_uid):
        raise UserError(f"{where}: `record_uid` must be 32 hex digits in lower case, not {entry.record_uid!r}.")
    if entry.record_uid and entry.dataset:
        raise UserError(f"{where}: `dataset` limits an `id`; a record_uid names one record wherever it is.")
    if entry.dataset and entry.dataset not in sources:
        raise UserError(f"{where}: `dataset` names {entry.dataset!r}, which is no source here.")


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


def _check_evaluation_set(where: str, name: str, entry: EvaluationSet) -> None:
    if not _EVALUATION_SET.fullmatch(name):
        raise UserError(f"{where}: use lower case letters, digits, dots, dashes and underscores.")
    if (entry.repo is None) == (entry.path is None):
        raise UserError(f"{where} needs either `repo`, for a dataset on the Hub, or `path`, for a local file.")
    if entry.repo is not None and (entry.repo.count("/") != 1 or not entry.files):
        raise UserError(f"{where}: `repo` must read <org>/<name>, and `files` must name its files, as globs.")
    if entry.repo is None and (entry.files or entry.revision):
        raise UserError(f"{where}: `files` and `revision` belong to a `repo`; a local file is named by `path` alone.")
    if entry.revision is not None and not _COMMIT.fullmatch(entry.revision):
        raise UserError(f"{where}: `revision` must be a commit of {entry.repo}, 40 hex digits, not {entry.revision!r}.")
    if not entry.columns or len(set(entry.columns)) < len(entry.columns):
        raise UserError(f"{where}: `columns` must name the columns to look for, each once.")
    actions = entry.actions
    rejects = [action == "reject" for action in (actions.verbatim, actions.near, actions.template_sibling)]
    if rejects != sorted(rejects, reverse=True):
        raise UserError(
            f"{where}: a tier may be rejected only if those above it are: verbatim, near, template_sibling."
        )
