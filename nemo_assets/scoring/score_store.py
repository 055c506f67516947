"""Scores that were measured once, and are not measured again.

    <directory>/scorer.json               what the scores were measured with, for readers
    <directory>/segments/<digest>.parquet scores by text and mask, without ids

A score belongs to a text under a loss mask, not to a row of a release: the same text in another split, pool or release
is not scored again. There is one directory for each model revision, tokenizer (which the revision covers), longest
length and version of the scorer. Segments are never changed: each holds what came back of one shard, so whatever was
measured before a process was killed is there.

Belongs here: finding and adding. Does not: measuring (`engine`), scores made elsewhere (`imported`).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.disk import locked, make_directory, write_durably
from nemo_assets.scoring.engine import SCORER_VERSION
from nemo_assets.scoring.rows import MEASURED_SCHEMA

KEY = ("text_sha1", "mask_sha1")

STORED_SCHEMA = pa.schema([field for field in MEASURED_SCHEMA if field.name != "id"])

_MOST_SEGMENTS = 256  # more are merged: every search opens all of them
_MERGED_ROWS = 1_000_000


@dataclass(frozen=True)
class Scorer:
    """What a score depends on beside text and mask; `model` is a name on the Hub, or of a directory."""

    model: str
    revision: str
    max_length: int
    version: str = SCORER_VERSION

    @property
    def name(self) -> str:
        """Of the directory its scores lie in."""
        digest = hashlib.sha256(repr((self.model, self.revision, self.max_length, self.version)).encode()).hexdigest()
        return f"{self.model.rpartition('/')[2]}-{digest[:16]}"


@dataclass(frozen=True)
class ScoreStore:
    """The scores of one scorer, below `root`. Several processes may add at the same time."""

    root: Path
    scorer: Scorer

    @property
    def directory(self) -> Path:
        """Where they lie; there is none before something is added."""
        return self.root / self.scorer.name

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        """The scores, columns of `STORED_SCHEMA`, of those of `keys` (columns `KEY`) that have one; in no order.

        Where a key was measured twice, the measurement is chosen by what it says, not by when it was made.
        """
        wanted = keys.select(KEY).unique().lazy()
        while (paths := self._segments()) and keys.height:
            try:
                scores = pl.scan_parquet(paths, glob=False)
                return _one_each(scores.join(wanted, on=KEY, how="semi").collect(engine="streaming"))
            except FileNotFoundError:  # merged into another one meanwhile
                continue
        return _frame(STORED_SCHEMA.empty_table())

    def add(self, measured: pa.Table) -> None:
        """Keep scores (`MEASURED_SCHEMA`), durably; what was added before may be added again."""
        if measured.num_rows:
            make_directory(self.directory / "segments")
            told = msgspec.json.format(msgspec.json.encode(asdict(self.scorer)), indent=1)
            write_durably(self.directory / "scorer.json", told)
            self._write(_frame(measured.select(STORED_SCHEMA.names)).sort(*KEY))
        if len(self._segments()) > _MOST_SEGMENTS:
            self._merge()

    def _segments(self) -> list[Path]:
        return sorted((self.directory / "segments").glob("*.parquet"))

    def _write(self, scores: pl.DataFrame) -> Path:
        """A segment named by what it holds."""
        table = scores.to_arrow().cast(STORED_SCHEMA)
        content = pa.BufferOutputStream()
        pq.write_table(table, content, compression="zstd")
        written = content.getvalue().to_pybytes()
        path = self.directory / "segments" / f"{hashlib.sha256(written).hexdigest()[:32]}.parquet"
        write_durably(path, written)
        return path

    def _merge(self) -> None:
        """Join small segments; a kill leaves a score in both places, never in none."""
        with locked(self.directory / "merge.lock"):
            small = [path for path in self._segments() if pq.read_metadata(path).num_rows < _MERGED_ROWS]
            if len(small) <= _MOST_SEGMENTS // 2:
                return
            merged = self._write(_one_each(pl.concat(pl.read_parquet(path, glob=False) for path in small)))
            for path in small:
                if path != merged:
                    path.unlink()


def _one_each(scores: pl.DataFrame) -> pl.DataFrame:
    ordered = scores.sort(*KEY, "nll_sum", nulls_last=True)
    return ordered.unique(list(KEY), keep="first", maintain_order=True)


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))
