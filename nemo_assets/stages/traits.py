"""What a subset policy may read of the rows of one split: scores joined with metadata, without any text.

It is made when it is wanted and kept, so that trying out a policy reads this alone.

Belongs here: putting the table together. Does not: its columns (`selection.traits`), what is chosen by them
(`selection`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from nemo_assets.catalog import Split
from nemo_assets.records.recipe import package_digest
from nemo_assets.records.schema import LEDGER_SCHEMA, ROW_SCHEMA
from nemo_assets.scoring.engine import SCORER_VERSION
from nemo_assets.scoring.rows import SCORE_SCHEMA
from nemo_assets.selection.traits import ROW_TRAITS, SCORE_TRAITS, TRAIT_COLUMNS, write_traits
from nemo_assets.settings import Settings
from nemo_assets.stages.pools import JOINED_SCHEMA, with_correctness
from nemo_assets.stages.scored import texts_digest
from nemo_assets.stages.units import run_units
from nemo_assets.stages.withdrawals import withdrawal_basis, withdrawn_rows
from nemo_assets.storage import Basis, Manifest, Part, Stage, Staging, Unit
from nemo_assets.storage.parquet import scan

TRAITS_CODE = package_digest("stages/traits", "selection/traits")

FILE_ROWS = 250_000

_CONTAMINATED = "contaminated:"  # how the tags of rows begin that hold a record of an evaluation set


@dataclass(frozen=True)
class Piece:
    """Consecutive parts of kept rows, with what else is known of the rows. `scores` are by role; `joined` may be
    missing.
    """

    number: int
    first_row: int
    rows: int
    sources: tuple[Path, ...]
    signatures: tuple[Path, ...]
    memberships: Path
    joined: Path | None
    scores: Mapping[str, Path]
    withdrawn: tuple[bytes, ...]
    staging: Staging


def traits_basis(split: Split, settings: Settings) -> Basis | None:
    """Traits depend on everything that tells of the kept rows and on which checkpoint plays which role; None for a
    split that is not scored yet.
    """
    store = settings.store
    scored, deduped = store.find(Stage.SCORED, split.key), store.find(Stage.DEDUPED, split.key)
    if scored is None or deduped is None:
        return None
    others = {stage: store.current(stage, split.key) for stage in (Stage.SIGNATURES, Stage.POOLS, Stage.LEDGER)}
    read = {**others, Stage.DEDUPED: deduped, Stage.SCORED: scored}
    inputs = {str(stage): made.data_version for stage, made in read.items()}
    roles = {f"role.{role}": name for role, name in _roles(scored, settings).items()}
    return Basis(inputs, {"code": TRAITS_CODE, "withdrawals": withdrawal_basis(_withdrawn(split, settings))} | roles)


def traits_of(split: Split, settings: Settings) -> Manifest | str:
    """The traits of the kept rows of a split, or why there are none: not scored yet, or other rows were scored.

    `details.tokenizers` has the digest of the tokenizer by role, where the scores know it.
    """
    store, basis = settings.store, traits_basis(split, settings)
    if basis is None:
        return "not scored yet"
    current = store.find_current(Stage.TRAITS, split.key, basis)
    if current is not None:
        return current
    scored = store.current(Stage.SCORED, split.key)
    if scored.inputs["texts"] != texts_digest(store.current(Stage.DEDUPED, split.key), store):
        return "other rows were scored; materialise scored of it again"
    if scored.settings["scorer"] != SCORER_VERSION:
        return "an earlier version of the scorer scored it; materialise scored of it again"
    roles = _roles(scored, settings)
    with store.staging(Stage.TRAITS, split.key, basis) as staging:
        pieces = list(_pieces(split, settings, scored, staging))
        wanted = set(staging.missing(piece.number for piece in pieces))
        todo = [piece for piece in pieces if piece.number in wanted]
        for unit in run_units(_traits_unit, todo, settings.workers, f"traits {split.key}", lambda p: p.rows, "rows"):
            staging.add(unit)
        rows = sum(unit.counters["rows"] for unit in staging.units.values())
        tokenizers = {role: _tokenizer(store.paths(scored, f"scores.{name}")[0]) for role, name in roles.items()}
        details = {"tokenizers": tokenizers, "roles": roles, "scored": scored.data_version}
        return staging.commit(counters={"rows": rows}, details=details)


def _roles(scored: Manifest, settings: Settings) -> dict[str, str]:
    """Checkpoint by role, of those that have scored the split."""
    declared = settings.catalog.subset_policy.roles.items()
    return {role: name for role, name in declared if scored.table(f"scores.{name}")}


def _withdrawn(split: Split, settings: Settings) -> pl.DataFrame:
    ledger = settings.store.current(Stage.LEDGER, split.key)
    return withdrawn_rows(split, settings.catalog, scan(settings.store.paths(ledger), LEDGER_SCHEMA))


def _pieces(split: Split, settings: Settings, scored: Manifest, staging: Staging) -> Iterator[Piece]:
    """Parts of kept rows and of signatures are of the same records, by position."""
    store = settings.store
    deduped, signed, pools = (store.current(s, split.key) for s in (Stage.DEDUPED, Stage.SIGNATURES, Stage.POOLS))
    joined, first = store.paths(pools, "joined"), 0
    scores = {role: store.paths(scored, f"scores.{name}")[0] for role, name in _roles(scored, settings).items()}
    withdrawn = tuple(_withdrawn(split, settings)["record_uid"])
    pairs = zip(deduped.table("rows"), signed.table("rows"), strict=True)
    for number, group in enumerate(_groups(pairs)):
        rows = sum(part.rows for part, _ in group)
        yield Piece(
            number, first, rows, tuple(store.path(part) for part, _ in group),
            tuple(store.path(signatures) for _, signatures in group), store.paths(pools)[0],
            joined[0] if joined else None, scores, withdrawn, staging,
        )  # fmt: skip
        first += rows


def _groups(pairs: Iterable[tuple[Part, Part]]) -> list[list[tuple[Part, Part]]]:
    """Consecutive parts of at least FILE_ROWS rows together: reading one column of many small files takes long."""
    groups: list[list[tuple[Part, Part]]] = []
    for pair in pairs:
        if not groups or sum(part.rows for part, _ in groups[-1]) >= FILE_ROWS:
            groups.append([])
        groups[-1].append(pair)
    return groups


def _tokenizer(scores: Path) -> str | None:
    """The one tokenizer that all of these scores were made with, if they say so."""
    known = pl.scan_parquet(scores).select(pl.col("tokenizer_sha256").drop_nulls().unique()).collect().to_series()
    return str(known[0]) if known.len() == 1 else None


def _traits_unit(piece: Piece) -> Unit:
    path = piece.staging.target("rows", piece.number, "arrow")
    table = _table(piece)
    write_traits(path, table)
    unit = Unit(piece.number, (piece.staging.part("rows", path, table.height),), {"rows": table.height})
    piece.staging.record(unit)
    return unit


def _table(piece: Piece) -> pl.DataFrame:
    """The traits of some parts, rows in base order; withdrawn ones are not there."""
    here = (piece.first_row, piece.rows)
    rows = scan(piece.sources, ROW_SCHEMA).select("record_uid", "id", "meta_problem_id", *ROW_TRAITS)
    if piece.joined is not None:
        rows = with_correctness(rows, scan([piece.joined], JOINED_SCHEMA))
    prompts = pl.scan_parquet(list(piece.signatures)).select("record_uid", "prompt")
    pools = pl.scan_parquet(piece.memberships).slice(*here).select("pools")
    told = rows.join(prompts, on="record_uid", how="left", maintain_order="left")
    wide = pl.concat([told, pools, *(_scores(piece, role) for role in piece.scores)], how="horizontal").collect()
    digests = {"id_hash": _hashed(wide["id"]), "problem": _hashed(wide["meta_problem_id"])}
    complete = wide.with_columns(
        pl.Series(name, values, pl.UInt64) for name, values in digests.items()
    ).with_columns(
        tokens=pl.coalesce("tokens", "stats_approx_tokens"),  # imported scores may not say how many there were
        row=pl.int_range(piece.first_row, piece.first_row + piece.rows, dtype=pl.UInt32),
        is_contaminated=pl.col("quality_tags").list.eval(pl.element().str.starts_with(_CONTAMINATED)).list.any(),
    )  # fmt: skip
    stays = complete.filter(~pl.col("record_uid").is_in(pl.Series(piece.withdrawn, dtype=pl.Binary).implode()))
    missing = [pl.lit(None, kind).alias(name) for name, kind in TRAIT_COLUMNS.items() if name not in stays.columns]
    return stays.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in TRAIT_COLUMNS.items())


def _scores(piece: Piece, role: str) -> pl.LazyFrame:
    """What traits hold of the scores by one checkpoint, in columns named for its role."""
    scores = scan([piece.scores[role]], SCORE_SCHEMA).slice(piece.first_row, piece.rows)
    return scores.select(expression.alias(name) for name, expression in SCORE_TRAITS[role].items())


def _hashed(values: pl.Series) -> list[int | None]:
    """The first 8 bytes of blake2b of each text: equal on every machine, unlike a hash of polars."""
    return [None if value is None else _hash(value) for value in values]


def _hash(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest())
