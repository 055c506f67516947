"""`nemo-assets …`: the chain and its data from a shell.

Belongs here: options, and how answers are shown. Does not: any work (`stages`, `lineage`, `orchestration`).
"""

from __future__ import annotations

import errno
import functools
import itertools
import json
import os
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl
import typer

from nemo_assets import diff_command, lineage_commands, progress, release_commands, scoring_commands, subset_commands
from nemo_assets.catalog import Split
from nemo_assets.disk import explained
from nemo_assets.errors import ConservationError, UserError
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets.terminal import Bars, err, grouped_table, out, table

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
for commands in (lineage_commands, diff_command, release_commands, scoring_commands, subset_commands):
    commands.register(app)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="Slug or repo id of a dataset; may be repeated.")]
Splits = Annotated[
    list[str] | None, typer.Option("--split", help="A split as <dataset-slug>/<split>; may be repeated.")
]

_SQLITE_FAULTS = {"SQLITE_FULL": errno.ENOSPC, "SQLITE_READONLY": errno.EROFS, "SQLITE_CANTOPEN": errno.EACCES}
_NEXT_TO_NOTHING = 1 << 20  # bytes free: what was to be written did not fit


def main() -> None:
    """Run the command line: one line and exit code 2 for what the user can put right."""
    try:
        with progress.shown_on(Bars()):
            app(standalone_mode=False)
    except (UserError, ConservationError) as error:
        err.print(str(error), markup=False, soft_wrap=True)
        sys.exit(2)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        err.print("Interrupted. What was finished is kept; run again to go on.")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, such as `head`, has seen enough
    except Exception as error:
        if hasattr(error, "exit_code"):  # a usage error of the option parser
            error.show()  # type: ignore[attr-defined]
        elif (told := _disk_fault(error)) is not None:
            err.print(told, markup=False, soft_wrap=True)
        else:
            raise
        sys.exit(2)


def _disk_fault(error: BaseException | None) -> str | None:
    """One line for a full or unusable disk that something met which has no words of its own for the user."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError):
            data_dir = Settings.from_environment().data_dir
            number = _SQLITE_FAULTS.get(error.sqlite_errorname)
            if number is None and shutil.disk_usage(data_dir).free < _NEXT_TO_NOTHING:  # told as an I/O error as well
                number = errno.ENOSPC
            error = OSError(number, str(error), str(data_dir)) if number else error
        if isinstance(error, OSError):
            told = explained(error, Path(error.filename or "a file being written"))
            return None if told is None else str(told)
        error = error.__cause__
    return None


@app.command()
def run(
    dataset: Datasets = None,
    split: Splits = None,
    until: Annotated[str, typer.Option(help="Last stage to bring up to date.")] = Stage.RESULTS,
    max_records: Annotated[
        int | None, typer.Option(min=1, help="Only the first N records of each split, in <data>/samples.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes a CPU stage uses.")] = None,
) -> None:
    """Materialise the chain, skipping what is current."""
    from nemo_assets.stages.plan import CHAIN

    if until not in CHAIN:
        raise UserError(f"--until {until}: there is no such stage. There are {', '.join(CHAIN)}.")
    settings = _settings(workers)
    if max_records is not None:
        settings = settings.sampled(max_records)
    splits = _splits(settings, dataset, split)
    _run(settings, splits, CHAIN[: CHAIN.index(Stage(until)) + 1])
    _show_summary(settings, splits)


@app.command()
def demo(workers: Annotated[int | None, typer.Option(min=1, help="Processes a CPU stage uses.")] = None) -> None:
    """Run the whole chain over the bundled sample, scored by a tiny student that the demo trains itself."""
    from nemo_assets.demo import demo_settings, traceable_ids, train_student
    from nemo_assets.stages.plan import CHAIN

    settings = demo_settings(_settings(workers))
    splits = list(settings.catalog.splits.values())
    before, after = CHAIN[: CHAIN.index(Stage.SCORED)], CHAIN[CHAIN.index(Stage.SCORED) :]
    _run(settings, splits, before)
    train_student(settings)
    _run(settings, splits, after)
    _show_summary(settings, splits)
    kept, removed = traceable_ids(settings)
    prefix = f"NEMO_DATA_DIR={os.path.relpath(settings.data_dir)} " if "NEMO_DATA_DIR" in os.environ else ""
    out.print("\nLook around:", style="bold")
    out.print("  make dev                               # the Dagster UI at http://127.0.0.1:3000")
    out.print(f"  {prefix}.venv/bin/nemo-assets explain {kept}   # trace a kept row", soft_wrap=True)
    out.print(f"  {prefix}.venv/bin/nemo-assets explain {removed}   # and a removed one", soft_wrap=True)
    out.print(f"\nReleases, laid out as on the Hub: {settings.destination}", soft_wrap=True)


@app.command()
def status(json_output: Json = False) -> None:
    """List what every partition of every stage currently is."""
    settings = _settings()
    manifests = list(settings.store.manifests())
    if json_output:
        keys = ("stage", "partition", "data_version", "counters")
        entries = [
            {key: getattr(m, key) for key in keys}
            | {"rows": m.rows(), "parts": [msgspec.to_builtins(p) for p in m.parts]}
            for m in manifests
        ]
        _print_json(entries)
        return
    rows = [
        (m.stage, m.partition, m.data_version, f"{m.counters.get('rows', m.rows()):,}", len(m.parts)) for m in manifests
    ]
    out.print(
        table(
            f"Current in {settings.data_dir}",
            ("stage", "partition", "data version", "rows", "parts"),
            rows,
            right=("rows", "parts"),
        )
    )


@app.command()
def inventory(json_output: Json = False) -> None:
    """Take stock of the records that are normalized: columns, types as found, null rates, nested paths, examples."""
    from nemo_assets.stages.inventory import take_inventory
    from nemo_assets.stages.metadata_coverage import measure_coverage

    settings = _settings()
    manifest = take_inventory(settings.catalog, settings.store)
    path = settings.store.path(manifest.parts[0])
    if json_output:
        out.file.write(path.read_text())
        return
    found: dict[str, Any] = json.loads(path.read_text())
    rows = [
        (
            repo,
            split,
            f"{entry['records']:,}",
            f"{sum(entry['rejected'].values()):,}",
            len(entry["columns"]),
            _mixed(entry),
        )
        for repo, splits in found.items()
        for split, entry in splits.items()
    ]
    out.print(
        table(
            "Inventory",
            ("source", "split", "records", "rejected", "columns", "columns of mixed types"),
            rows,
            right=("records", "rejected", "columns"),
        )
    )
    out.print(f"All of it: {path}", soft_wrap=True)
    coverage = measure_coverage(settings.catalog, settings.store)
    out.print(f"Metadata coverage: {settings.store.path(coverage.parts[0])}", soft_wrap=True)


def _mixed(entry: dict[str, Any]) -> str:
    mixed = {name: sorted(t for t in column["types"] if t != "null") for name, column in entry["columns"].items()}
    return ", ".join(f"{name} ({'|'.join(types)})" for name, types in mixed.items() if len(types) > 1)


@app.command()
def explain(
    reference: Annotated[
        str, typer.Argument(help="id, record_uid, dataset:split:file:row, the viewer's URL, repo@revision:file:row.")
    ],
    json_output: Json = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the original record alone, byte for byte.")] = False,
) -> None:
    """Say where a row came from and what became of a record."""
    from nemo_assets.lineage import explain as find_passport
    from nemo_assets.lineage import original_bytes, passport_text
    from nemo_assets.lineage.coordinates import reference_at, source_of

    settings = _settings()
    named = reference_at(reference, settings) or reference
    passport = find_passport(named, settings.catalog, settings.store, settings.endpoint, source_of(settings))
    if raw:
        sys.stdout.buffer.write(original_bytes(passport))
    elif json_output:
        _print_json(passport.as_json())
    else:
        sys.stdout.write(passport_text(passport))


@app.command()
def sample(
    stage: Annotated[str, typer.Argument(help="A stage, or one of its tables such as normalized.rejected.")],
    partition: Annotated[str, typer.Argument(help="<dataset-slug>/<split>, or a scope.")],
    where: Annotated[str | None, typer.Option(help="SQL condition over the columns.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Rows to show.")] = 5,
    seed: Annotated[int, typer.Option(help="Another seed, other rows.")] = 0,
    json_output: Json = False,
) -> None:
    """Look at some rows of a stage."""
    from nemo_assets.lineage import sample as take_sample

    _show_rows(take_sample(stage, partition, _settings().store, where=where, n=n, seed=seed), json_output)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="SELECT … over the stages as tables.")],
    limit: Annotated[int, typer.Option(min=1, help="Rows to show at most.")] = 1000,
    json_output: Json = False,
) -> None:
    """Ask the stages in SQL: normalized, rejected, tools, signatures, duplicates, deduped, ledger, pools, scored."""
    from nemo_assets.lineage import query as run_query

    settings = _settings()
    _show_rows(run_query(sql, settings.catalog, settings.store, limit=limit), json_output)


@app.command()
def normalize(
    dataset: Annotated[str, typer.Option(help="Slug or repo id.")],
    out_dir: Annotated[Path, typer.Option(help="Folder to write to.")],
    split: Annotated[list[str] | None, typer.Option(help="Only this split of the dataset; may be repeated.")] = None,
    hf_layout: Annotated[bool, typer.Option("--hf-layout", help="data/<split>-00000-of-00003.parquet")] = False,
    write_readme: Annotated[bool, typer.Option("--write-readme", help="Also write a dataset card.")] = False,
    keep_invalid_harmony: Annotated[
        bool, typer.Option("--keep-invalid-harmony", help="Keep such rows, flagged.")
    ] = False,
    keep_empty_completion: Annotated[
        bool, typer.Option("--keep-empty-completion", help="Keep such rows, flagged.")
    ] = False,
    max_records: Annotated[int | None, typer.Option(min=1, help="Only the first N records of each split.")] = None,
    workers: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Normalise one dataset into a folder: rows, rejected records, tools catalog."""
    from nemo_assets.stages.folders import normalize_folder

    settings = _settings(workers)
    slug, source = settings.catalog.source(dataset)
    splits = [settings.catalog.split(f"{slug}/{name}") for name in split or source.splits]
    flags = {"invalid_harmony": keep_invalid_harmony, "empty_completion": keep_empty_completion}
    keep = frozenset(code for code, on in flags.items() if on)
    summary = normalize_folder(
        splits, settings, out_dir, hf_layout=hf_layout, readme=write_readme, keep=keep, max_records=max_records
    )
    rows = [(name, e["records"], e["rows"], _codes(e["rejected"])) for name, e in summary.items()]
    out.print(
        table(f"Normalized into {out_dir}", ("split", "records", "rows", "rejected"), rows, right=("records", "rows"))
    )


@app.command()
def pools(
    in_dir: Annotated[Path, typer.Option(help="Folder of normalized Parquet files.")],
    out_dir: Annotated[Path, typer.Option(help="Folder to write to.")],
) -> None:
    """Copy the rows of every candidate pool to a folder of its own."""
    from nemo_assets.stages.folders import pools_folder

    counts = pools_folder(in_dir, out_dir, _settings())
    out.print(
        table(
            f"Pools in {out_dir}",
            ("pool", "rows"),
            [(name, f"{rows:,}") for name, rows in counts.items()],
            right=("rows",),
        )
    )


@app.command()
def publish(
    repo: Annotated[str, typer.Option(help="ORG/NAME of the dataset repo.")],
    folder: Annotated[Path, typer.Option(help="Folder to publish as it is.")],
) -> None:
    """Commit a folder to a dataset repo: on the Hub, or below NEMO_PUBLISH_TO if that is a directory."""
    from nemo_assets.hub.destination import open_target
    from nemo_assets.hub.sources import require_repo_id
    from nemo_assets.stages.folders import publish_folder

    settings = _settings()
    require_repo_id(repo)
    directory = settings.publish_to if settings.publish_to and not settings.publish_to.startswith("hf://") else None
    target = open_target(
        directory or f"hf://{repo.partition('/')[0]}", settings.endpoint, settings.token, private=not settings.public
    )
    commit = publish_folder(folder, repo, target)
    out.print(f"{target.location(repo)} is at commit {commit}", soft_wrap=True)


@app.command()
def score(
    out_dir: Annotated[Path, typer.Option(help="Folder to write to.")],
    in_dir: Annotated[Path | None, typer.Option(help="Folder of rows; else CANDIDATE_DATASET_ID is fetched.")] = None,
) -> None:
    """Score the rows of a folder under the checkpoints of the catalog (NEMO_SCORER, MODEL_NAME, MAX_LENGTH, …)."""
    from nemo_assets.stages.folders import fetch_candidates, score_folder

    settings = _settings()
    source = in_dir or fetch_candidates(settings, out_dir / ".candidates")
    summary = score_folder(source, out_dir, settings)
    rows = [(name, e["rows"], e["scored"], _rounded(e["nll_mean"])) for name, e in summary.items()]
    out.print(
        table(
            f"Scores in {out_dir}", ("file", "rows", "scored", "mean NLL"), rows, right=("rows", "scored", "mean NLL")
        )
    )


@app.command()
def dev(port: Annotated[int, typer.Option(help="Port of the UI.")] = 3000) -> None:
    """The Dagster UI with the lineage pages, and the daemon, on 127.0.0.1; DAGSTER_HOME is in the data directory."""
    from nemo_assets.orchestration.instance import prepare_home
    from nemo_assets.orchestration.ui import serve

    settings = _settings()
    workspace = Path(__file__).parent.parent / "workspace.yaml"
    environment = {**os.environ, "DAGSTER_HOME": str(prepare_home(settings)), "NEMO_DATA_DIR": str(settings.data_dir)}
    out.print(f"Dagster: http://127.0.0.1:{port}   lineage pages: http://127.0.0.1:{port}/lineage/", soft_wrap=True)
    raise typer.Exit(serve(workspace, port, environment))


def _settings(workers: int | None = None) -> Settings:
    settings = Settings.from_environment()
    return settings if workers is None else replace(settings, workers=workers)


def _splits(settings: Settings, datasets: list[str] | None, keys: list[str] | None) -> list[Split]:
    """The splits asked for, in catalog order; all of them if none is named."""
    catalog = settings.catalog
    if not datasets and not keys:
        return list(catalog.splits.values())
    slugs = {catalog.source(name)[0] for name in datasets or []}
    named = {catalog.split(key).key for key in keys or []}
    return [split for split in catalog.splits.values() if split.slug in slugs or split.key in named]


def _run(settings: Settings, splits: list[Split], stages: Sequence[Stage]) -> None:
    """Materialise through Dagster, so that the UI knows of it; a sample leaves no trace there."""
    import dagster as dg

    from nemo_assets.chain import run_chain
    from nemo_assets.definitions import build_defs
    from nemo_assets.orchestration.instance import open_instance
    from nemo_assets.orchestration.launch import made_before_the_recipe, materialize

    sampled = settings.sample_records is not None
    made, current = 0, Counter[str]()
    with dg.DagsterInstance.ephemeral() if sampled else open_instance(settings) as instance:
        definitions = build_defs(catalog=settings.catalog)
        launch = functools.partial(materialize, settings=settings, instance=instance, definitions=definitions)
        for step in run_chain(splits, settings, stages, launch):
            made += len(step.made)
            current.update(step.current)
            if step.made:
                err.print(f"made {step.partition}: {', '.join(step.made)}", soft_wrap=True)
        if not sampled and Stage.POOLS in stages:
            launch(made_before_the_recipe([split.key for split in splits], instance))
        if made and Stage.POOLS in stages:
            launch([(Stage.INVENTORY.value, None), (Stage.METADATA_COVERAGE.value, None)])
    skipped = ", ".join(f"{count} {stage}" for stage, count in current.items()) or "nothing"
    err.print(f"{made} made. Skipped because current: {skipped}.", soft_wrap=True)


def _show_summary(settings: Settings, splits: list[Split]) -> None:
    from nemo_assets.chain import SplitSummary, summarize, warnings

    def cells(s: SplitSummary) -> tuple[object, ...]:
        fates = (s.records, s.kept, _codes(s.rejected), _codes(s.removed))
        return s.partition.partition("/")[2], *fates, s.pools, (s.commit or "")[:8], s.scored, _rounded(s.nll_mean)

    by_dataset = itertools.groupby(summarize(splits, settings), key=lambda s: s.partition.partition("/")[0])
    groups = [(slug, [cells(s) for s in summaries]) for slug, summaries in by_dataset]
    columns = (
        ("split", 18), ("records", 7), ("kept", 7), ("rejected", 26), ("removed", 18), ("pools", 5), ("commit", 8),
        ("scored", 7), ("mean NLL", 8),
    )  # fmt: skip
    out.print(grouped_table(columns, groups, right=("records", "kept", "pools", "scored", "mean NLL")))
    for line in warnings(splits, settings):
        err.print(f"check failed: {line}", style="bold red", markup=False, soft_wrap=True)


def _codes(counts: dict[str, int]) -> str:
    return "\n".join(f"{count} {code}" for code, count in counts.items())


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _show_rows(rows: pl.DataFrame, as_json: bool) -> None:
    shown = rows.with_columns(pl.col(name).bin.encode("hex") for name, kind in rows.schema.items() if kind == pl.Binary)
    if as_json:
        _print_json(shown.to_dicts())
        return
    if shown.width > 8:  # too wide for columns: one block a row
        for number, row in enumerate(shown.iter_rows(named=True)):
            out.print(table(f"row {number}", ("column", "value"), row.items()), markup=False)
        return
    out.print(table("", shown.columns, shown.iter_rows()))


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
