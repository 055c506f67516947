"""Scores that another scorer made, by the digest of the text.

    <directory>/<digest>.parquet    one file for each that was imported

Belongs here: reading such files, keeping and finding them. Does not: scores of this project (`score_store`); they are
never mixed: a checkpoint is either measured or imported.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from nemo_assets.disk import make_directory, write_durably
from nemo_assets.errors import UserError

KEYS = ("sha1_text_id", "text_sha1")
"""Columns that may hold the digest of the text."""

_OPTIONAL = {
    "nll_sum": pl.Float64, "completion_token_count": pl.Int32, "truncated": pl.Boolean, "model": pl.String,
    "revision": pl.String,
}  # fmt: skip
_SCHEMA = {"text_sha1": pl.String, "nll_mean": pl.Float64, **_OPTIONAL}
_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson, ".csv": pl.read_csv
}  # fmt: skip


@dataclass(frozen=True)
class ImportedScores:
    """The imported scores of one checkpoint."""

    directory: Path

    @property
    def revision(self) -> str:
        """Changes when scores are imported."""
        names = "\n".join(path.stem for path in self._paths())
        return hashlib.sha256(names.encode()).hexdigest()

    def add(self, file: Path) -> int:
        """Import a Parquet, JSONL or CSV file; how many texts it has scores of.

        It has one of `KEYS` and `nll_mean`; `nll_sum`, `completion_token_count`, `truncated`, `model` and `revision`
        where they are known. A row without an NLL is left out.

        Raises:
            UserError: the file cannot be read, lacks a column, holds what is no digest or no NLL, or contradicts itself
                or what was imported before.
        """
        scores = _read(file)
        _require_one_nll_each(pl.concat([self.all(), scores]), file)
        make_directory(self.directory)
        content = io.BytesIO()
        scores.write_parquet(content, compression="zstd")
        name = hashlib.sha256(content.getvalue()).hexdigest()[:32]
        write_durably(self.directory / f"{name}.parquet", content.getvalue())
        return scores.height

    def all(self) -> pl.DataFrame:
        """`text_sha1`, `nll_mean` and the optional columns, one row a text."""
        empty = pl.DataFrame(schema=_SCHEMA)
        return pl.concat([empty, *(pl.read_parquet(path) for path in self._paths())]).unique(
            "text_sha1", keep="first", maintain_order=True
        )

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob("*.parquet"))


def _read(file: Path) -> pl.DataFrame:
    """The scores of a file in the form that is kept."""
    given = _table(file)
    key = next((name for name in KEYS if name in given.columns), None)
    if key is None or "nll_mean" not in given.columns:
        missing = "nll_mean" if key else " or ".join(KEYS)
        raise UserError(f"{file}: column {missing} is missing. Scores are imported by the sha1 of their text.")
    columns = [pl.lit(None, kind).alias(name) for name, kind in _OPTIONAL.items() if name not in given.columns]
    try:
        scores = (
            given.with_columns(columns)
            .select(pl.col(key).alias("text_sha1"), *list(_SCHEMA)[1:])
            .cast(pl.Schema(_SCHEMA))
        )
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{file}: {str(error).splitlines()[0]}. Correct the types of its columns.") from None
    scores = scores.with_row_index("row").filter(pl.col("nll_mean").is_not_null())
    odd_key = ~pl.col("text_sha1").fill_null("").str.contains("^[0-9a-f]{40}$")
    odd_nll = ~pl.col("nll_mean").is_finite() | (pl.col("nll_mean") < 0)
    if (odd := scores.filter(odd_key | odd_nll)).height:
        row, text, nll = odd.row(0)[:3]
        raise UserError(
            f"{file}: row {row} has {key} {text!r} and nll_mean {nll}. A sha1 in hex and nats are expected."
        )
    return scores.drop("row").unique(["text_sha1", "nll_mean"], keep="first", maintain_order=True).sort("text_sha1")


def _table(file: Path) -> pl.DataFrame:
    reader = _READERS.get(file.suffix)
    if reader is None:
        raise UserError(f"{file}: scores are imported from {', '.join(_READERS)} files.")
    try:
        return reader(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{file}: cannot be read ({str(error).splitlines()[0]}).") from None


def _require_one_nll_each(scores: pl.DataFrame, file: Path) -> None:
    told = scores.group_by("text_sha1").agg(pl.col("nll_mean").unique().sort()).sort("text_sha1")
    if (several := told.filter(pl.col("nll_mean").list.len() > 1)).height:
        text, nlls = several.row(0)
        raise UserError(
            f"{file}: text {text} has several NLLs, {nlls[0]} and {nlls[1]}. One checkpoint gives one: import "
            "scores of another under a checkpoint of its own."
        )
