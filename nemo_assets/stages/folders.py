"""The same stages on plain folders, for one-off use: no partitions, no instance, nothing to look up later.

Belongs here: reading and writing the folders that the steps hand to each other. Does not: what a step does, which is
the stage's own code.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.catalog import Checkpoint, Split
from nemo_assets.disk import write_durably
from nemo_assets.errors import UserError
from nemo_assets.harmony.identity import sha1_text_id
from nemo_assets.hub.card import dataset_card
from nemo_assets.hub.card_content import CardContent, ConfigSplit, SplitFunnel
from nemo_assets.hub.features import features_of
from nemo_assets.hub.sources import open_source, visible_files
from nemo_assets.hub.targets import Change, HeadMovedError, Target
from nemo_assets.progress import track
from nemo_assets.records.schema import COLUMNS, REJECTED_SCHEMA, ROW_SCHEMA, TOOLS_SCHEMA
from nemo_assets.scoring.rows import INPUT_SCHEMA
from nemo_assets.scoring.score_store import ScoreStore
from nemo_assets.settings import Settings
from nemo_assets.stages.measuring import measured_scores
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.pools import pool_expressions
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.scored import finished_scores, require_scorer, score_store_of, scored_checkpoints
from nemo_assets.stages.scoring_plan import Rate, ScoringPlan, with_known
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets.storage.parquet import PartWriter, open_parquet, read_batches, scan, write_part

_WORK = ".nemo"  # hidden in the output folder: raw files and finished units, so that a killed step resumes


def normalize_folder(
    splits: Sequence[Split],
    settings: Settings,
    out_dir: Path,
    *,
    hf_layout: bool,
    readme: bool,
    keep: frozenset[str],
    max_records: int | None,
) -> dict[str, Any]:
    """Normalize splits of one dataset into Parquet shards, a tools catalog and the rejected records.

    Shards are `<split>__00000.parquet`, with `hf_layout` `data/<split>-00000-of-00003.parquet`. Returns counters by
    split, which `normalize_summary.json` holds too.
    """
    store = Store(out_dir / _WORK)
    summary: dict[str, Any] = {}
    shards: dict[str, list[Path]] = {}
    for split in splits:
        source = open_source(split.repo, settings.source_dir, settings.endpoint, settings.token)
        fetch_split(split, source, store, max_records)
        manifest = normalize(split, store, settings.workers, keep=keep)
        shards[split.name] = _copy_shards(split, store, manifest, out_dir, hf_layout)
        _write_tools_catalog(split, store, manifest, out_dir)
        rejected = scan(store.paths(manifest, "rejected"), REJECTED_SCHEMA).collect()
        (out_dir / "rejected").mkdir(exist_ok=True)
        write_part(out_dir / "rejected" / f"{split.name}.parquet", rejected.to_arrow())
        summary[split.name] = {key: manifest.counters[key] for key in ("records", "rows", "rejected", "tags")}
    if readme:
        write_durably(out_dir / "README.md", _readme(splits, store, shards, out_dir).encode())
    _write_json(out_dir / "normalize_summary.json", summary)
    return summary


def _copy_shards(split: Split, store: Store, manifest: Manifest, out_dir: Path, hf_layout: bool) -> list[Path]:
    parts = [path for path, part in zip(store.paths(manifest), manifest.table("rows"), strict=True) if part.rows]
    folder = out_dir / "data" if hf_layout else out_dir
    folder.mkdir(parents=True, exist_ok=True)
    names = [
        f"{split.name}-{n:05d}-of-{len(parts):05d}.parquet" if hf_layout else f"{split.name}__{n:05d}.parquet"
        for n in range(len(parts))
    ]
    for part, name in zip(parts, names, strict=True):
        shutil.copyfile(part, folder / name)
    for old in (*folder.glob(f"{split.name}-*-of-*.parquet"), *folder.glob(f"{split.name}__*.parquet")):
        if old.name not in names:  # of an earlier run that made more, or fewer, shards
            old.unlink()
    return [folder / name for name in names]


def _write_tools_catalog(split: Split, store: Store, manifest: Manifest, out_dir: Path) -> None:
    listed = scan(store.paths(manifest, "tools"), TOOLS_SCHEMA)
    tools = listed.unique("source_tools_id").sort("source_tools_id").collect()
    if tools.height:
        catalog = {
            key: msgspec.json.decode(text) for key, text in tools.select("source_tools_id", "tools_json").iter_rows()
        }
        _write_json(out_dir / f"{split.name}__tools_catalog.json", catalog)


def _readme(splits: Sequence[Split], store: Store, shards: dict[str, list[Path]], out_dir: Path) -> str:
    source = splits[0].source
    manifests = {split.name: store.current(Stage.NORMALIZED, split.key) for split in splits}
    revisions = {split.name: store.current(Stage.RAW, split.key).details["revision"] for split in splits}
    configs = tuple(
        ConfigSplit(
            "rows",
            name,
            _glob(name, paths, out_dir),
            manifests[name].rows(),
            sum(map(_memory, paths)),
            sum(path.stat().st_size for path in paths),
            features_of(ROW_SCHEMA),
        )
        for name, paths in shards.items()
        if paths
    )
    funnels = tuple(
        SplitFunnel(name, m.counters["records"], m.rows(), m.counters["rejected"], {}) for name, m in manifests.items()
    )
    return dataset_card(
        CardContent(
            repo_id=out_dir.name,
            title=f"{source.title}, normalized",
            source_repo=source.repo,
            source_revisions=revisions,
            license=source.license,
            config_splits=configs,
            funnels=funnels,
            columns=tuple((c.name, str(c.type), c.description) for c in COLUMNS),
            languages=source.languages,
        )
    )


def _glob(split: str, paths: Sequence[Path], out_dir: Path) -> str:
    """All files of a split, whichever way their names end."""
    first = paths[0].relative_to(out_dir).as_posix()
    folder, _, name = first.rpartition("/")
    return f"{folder}/{split}{name.removeprefix(split)[0]}*.parquet".lstrip("/")


def _memory(path: Path) -> int:
    """Bytes of the rows of a Parquet file before compression."""
    metadata = pq.read_metadata(path)
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


def pools_folder(in_dir: Path, out_dir: Path, settings: Settings) -> dict[str, int]:
    """Copy the rows of every pool to `<out>/<pool>/<pool>__00000.parquet`; `pools_manifest.json` holds the counts."""
    files = parquet_files(in_dir)
    expressions = pool_expressions(settings.catalog.pool_policy)
    counts: dict[str, int] = {}
    for name, expression in expressions.items():
        path = out_dir / name / f"{name}__00000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with track(f"pools {name}", len(files), "files") as meter, PartWriter(path, _schema_of(files[0])) as writer:
            for file in files:
                for table in read_batches([file]):
                    frame = pl.DataFrame(pl.from_arrow(table))
                    member = frame.select(expression.alias("member"))["member"]
                    writer.write(table.filter(member.to_arrow()))
                meter.advance(1)
        counts[name] = writer.rows
        if not writer.rows:  # one empty shard breaks a whole config when the folder is loaded
            shutil.rmtree(path.parent)
    _write_json(out_dir / "pools_manifest.json", {"in_dir": str(in_dir), "files": len(files), "pools": counts})
    return counts


def publish_folder(folder: Path, repo: str, target: Target) -> str:
    """Commit a folder as it is, hidden files left out, in one commit; returns the commit id."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder to publish.")
    additions: dict[str, Path | bytes] = {path: folder / path for path in visible_files(folder)}
    if not additions:
        raise UserError(f"{folder}: the folder holds no file to publish.")
    target.require_writable(repo)
    change = Change(additions, (), f"Upload {folder.name}: {len(additions)} files")
    try:
        return target.commit(repo, change, target.head(repo))
    except HeadMovedError:
        raise UserError(f"{target.location(repo)}: somebody else committed meanwhile. Run again.") from None


def score_folder(in_dir: Path, out_dir: Path, settings: Settings) -> dict[str, Any]:
    """Score every Parquet file of a folder under each checkpoint, to `<out>/<checkpoint>/…`; percentile per file."""
    files = parquet_files(in_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {}
    require_scorer(settings)
    for name, checkpoint in scored_checkpoints(settings).items():
        for file in files:
            scores = finished_scores(_scores_of(file, name, checkpoint, out_dir / ".scores", settings), name)
            path = out_dir / name / file.relative_to(in_dir)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_part(path, scores)
            means = scores["nll_mean"].drop_null().to_pylist()
            summary[f"{name}/{file.relative_to(in_dir)}"] = {
                "rows": scores.num_rows, "scored": len(means), "nll_mean": sum(means) / len(means) if means else None,
            }  # fmt: skip
    _write_json(out_dir / "scores_summary.json", summary)
    return summary


def _scores_of(file: Path, name: str, checkpoint: Checkpoint, kept: Path, settings: Settings) -> pl.DataFrame:
    """The scores of the rows of a file; those that are in `kept` are not measured again."""

    def plan(scores: ScoreStore) -> ScoringPlan:
        rows = with_known(_rows_to_score(file, settings.scorer_max_records), scores)
        return ScoringPlan(file.name, name, scores.scorer.name, rows, Rate(0.0, 0.0, "unknown"))

    return measured_scores(plan, [file], name, checkpoint, score_store_of(kept, checkpoint, settings), settings)[0]


def fetch_candidates(settings: Settings, directory: Path) -> Path:
    """Bring the Parquet files of CANDIDATE_DATASET_ID, below CANDIDATE_SUBDIR if set, to `directory`."""
    if settings.candidate_dataset_id is None:
        raise UserError(
            "score: say what to score, by --in-dir or by CANDIDATE_DATASET_ID (a Hub dataset) and CANDIDATE_SUBDIR."
        )
    source = open_source(settings.candidate_dataset_id, None, settings.endpoint, settings.token)
    revision = source.revision()
    prefix = f"{settings.candidate_subdir.strip('/')}/" if settings.candidate_subdir else ""
    files = [f for f in source.files(revision) if f.path.startswith(prefix) and f.path.endswith(".parquet")]
    if not files:
        raise UserError(
            f"{settings.candidate_dataset_id}@{revision[:7]}: no Parquet file below {prefix or 'its root'}. "
            "Correct CANDIDATE_SUBDIR."
        )
    for file in files:
        source.fetch(file, revision, directory / file.path)
    return directory


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder, sorted; raises UserError if there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    files = [
        folder / path
        for path in visible_files(folder)
        if path.endswith(".parquet") and not path.startswith("rejected/")
    ]
    if not files:
        raise UserError(f"{folder}: the folder holds no Parquet file.")
    return files


def _schema_of(file: Path) -> pa.Schema:
    schema = open_parquet(file).schema_arrow
    missing = [name for name in ROW_SCHEMA.names if name not in schema.names]
    if missing:
        raise UserError(
            f"{file}: these are no normalized rows, column {missing[0]} is missing. Run `nemo-assets normalize` first."
        )
    return schema


def _rows_to_score(file: Path, rows: int | None) -> pl.DataFrame:
    """The rows of a file for a plan; of them `rows` are to be scored, by the digest of the text.

    Raises UserError if a column is missing or an id occurs twice.
    """
    missing = [name for name in INPUT_SCHEMA.names if name not in open_parquet(file).schema_arrow.names]
    if missing:
        raise UserError(
            f"{file}: cannot be scored, column {missing[0]} is missing. It needs {', '.join(INPUT_SCHEMA.names)}."
        )
    found = pl.concat(
        pl.DataFrame({
            "id": batch["id"].to_pylist(),
            "text_sha1": [sha1_text_id(text) for text in batch["text"].to_pylist()],
            "mask_sha1": batch["mask_sha1"].to_pylist(),
            "tokens": [len(text) // 4 for text in batch["text"].to_pylist()],
        }, schema={"id": pl.String, "text_sha1": pl.String, "mask_sha1": pl.String, "tokens": pl.Int64})
        for batch in read_batches([file], INPUT_SCHEMA.names, rows=256)
    )  # fmt: skip
    if found["id"].is_duplicated().any():
        twice = found["id"].filter(found["id"].is_duplicated())[0]
        raise UserError(f"{file}: id {twice} occurs twice. Scores are joined by id: remove one of the rows.")
    reason = pl.lit(None, pl.String)
    if rows is not None:
        beyond = pl.col("text_sha1").rank("ordinal") > rows
        reason = pl.when(beyond).then(pl.lit(f"MAX_RECORDS is {rows}")).otherwise(reason)
    return found.with_columns(reason=reason, wave=pl.lit(0), keep_tokens=pl.lit(False))


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1))
