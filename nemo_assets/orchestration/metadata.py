"""What the UI shows of a materialization, made from its manifest.

Belongs here: the choice and form of metadata, and keeping it small: the instance stores all of it for every run. Does
not: measuring anything (`stages`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from nemo_assets.orchestration.columns import CODES
from nemo_assets.orchestration.duplicate_search import duplicate_search
from nemo_assets.orchestration.subset_metadata import subset_metadata
from nemo_assets.orchestration.tables import table
from nemo_assets.settings import Settings
from nemo_assets.stages.fates import fates_by_file, first_places
from nemo_assets.storage import Manifest, Stage

Metadata = dict[str, Any]

# What a counter is called where its own name would not say enough.
_NAMES = {"unexpected": "rejected for an unexpected structure"}

FILES_SHOWN = 40  # lines of a table by file; the others are one line together

_BAR, _GAP, _HEIGHT = 22, 3, 60  # of the length histogram, in pixels


def materialized(manifest: Manifest, settings: Settings) -> dg.MaterializeResult[None]:
    """Data version and metadata of what a stage has made current."""
    counters = manifest.counters
    metadata: Metadata = {
        **_fates(manifest, settings),
        **_shares("pools", "pool", counters.get("pools", {}), counters.get("rows", 0)),
        **_shares("tags", "tag", counters.get("tags", {}), counters.get("rows", 0)),
        **_counts("configs", "config", counters.get("configs", {})),
        **_lengths(counters.get("length_bins", {})),
        **_join(counters),
        **_source(manifest, settings),
        **_splits(manifest.details.get("splits", ())),
        **_sets(manifest.details.get("sets", ())),
        **duplicate_search(manifest, settings),
        **subset_metadata(manifest),
        **_release(manifest),
        **_scores(counters.get("checkpoints", {})),
        **_numbers(counters),
        **_pages(manifest, settings),
        **_place(manifest, settings),
    }
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(manifest.data_version))


def _pages(manifest: Manifest, settings: Settings) -> Metadata:
    """The lineage pages of a split. Host and port of the UI change, its metadata stays: the link begins at the root."""
    if manifest.stage == Stage.SUBSETS:
        return {"lineage": dg.MetadataValue.md(f"[what it takes](/lineage/subsets/{manifest.partition})")}
    if manifest.partition not in settings.catalog.splits:
        return {}
    return {"lineage": dg.MetadataValue.md(f"[what became of its records](/lineage/source/{manifest.partition})")}


def _place(manifest: Manifest, settings: Settings) -> Metadata:
    """Where the files lie, how many rows they hold, what they were made from."""
    directory = settings.store.directory(manifest.stage, manifest.partition)  # type: ignore[arg-type]
    place: Metadata = {
        "dagster/uri": directory.as_uri(),
        "manifest": dg.MetadataValue.path(directory / "manifest.json"),
        **({"bytes": sum(part.bytes for part in manifest.parts)} if manifest.parts else {}),
        "version": manifest.version,
    }
    rows = manifest.counters.get("rows")
    if rows is not None:
        place["dagster/row_count"] = rows
    if manifest.inputs:
        place["inputs"] = table([{"input": name, "data version": version} for name, version in manifest.inputs.items()])
    if settings.sample_records is not None:
        place["sample"] = f"the first {settings.sample_records} records only"
    return place


def _numbers(counters: Mapping[str, Any]) -> Metadata:
    """Plain counts, which the UI plots over time and partitions; groups of counts by code and as their sum."""
    plain = {_NAMES.get(name, name): value for name, value in counters.items() if isinstance(value, int | float)}
    groups = {name: counters[name] for name in ("rejected", "removed") if isinstance(counters.get(name), dict)}
    coded = {f"{name}_{code}": count for name, group in groups.items() for code, count in group.items()}
    return plain | {name: sum(group.values()) for name, group in groups.items()} | coded


def _fates(manifest: Manifest, settings: Settings) -> Metadata:
    """How the records ended (rows, so far, in `normalized`): by code with a place to look at, and by file."""
    if manifest.stage not in (Stage.NORMALIZED, Stage.LEDGER):
        return {}
    counters, records = manifest.counters, manifest.counters["records"]
    places = first_places(manifest, settings.store)
    stays = "kept" if "kept" in counters else "rows"
    lines = [("records", "", records), (stays, "", counters[stays])]
    for state in ("rejected", "removed"):
        lines += [(state, code, count) for code, count in counters.get(state, {}).items()]
    funnel = [
        {
            "state": state,
            "code": code,
            "records": count,
            "share": _percent(count, records),
            "example": places.get(code, ""),
            "meaning": CODES.get(code, ""),
        }
        for state, code, count in lines
    ]
    files = [
        {"file": file.path, "records": file.records, **file.counts} for file in fates_by_file(manifest, settings.store)
    ]
    return {"funnel": table(funnel), **({"by_file": table(_first_files(files, "file"))} if files else {})}


def _first_files(lines: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """The first FILES_SHOWN lines and, where there are more, one with the sums of the others."""
    shown, others = list(lines[:FILES_SHOWN]), lines[FILES_SHOWN:]
    if others:
        sums = {
            key: sum(line[key] for line in others) if isinstance(value, int) else "" for key, value in others[0].items()
        }
        shown.append(sums | {name: f"… {len(others):,} more"})
    return shown


def _shares(name: str, label: str, counts: Mapping[str, int], whole: int) -> Metadata:
    rows = [{label: key, "rows": count, "share": _percent(count, whole)} for key, count in counts.items()]
    return {name: table(rows)} if rows else {}


def _counts(name: str, label: str, counts: Mapping[str, int]) -> Metadata:
    rows = [{label: key, "rows": count} for key, count in counts.items()]
    return {name: table(rows)} if rows else {}


def _lengths(bins: Mapping[str, int]) -> Metadata:
    """Rows by length as a picture small enough to be shown: the UI hides Markdown of 1,000 characters and more."""
    counts = {int(edge): count for edge, count in bins.items()}
    if not counts:
        return {}
    edges = [edge for edge in [0, *(1 << power for power in range(6, 40))] if min(counts) <= edge <= max(counts)]
    path, tallest = "", max(counts.values())
    for place, edge in enumerate(edges):
        height = round(_HEIGHT * counts.get(edge, 0) / tallest)
        path += f"M{place * (_BAR + _GAP)} {_HEIGHT}v-{height}h{_BAR}v{height}z"
    width = len(edges) * (_BAR + _GAP)
    size = f'width="{width}" height="{_HEIGHT}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><path fill="#479" d="{path}"/></svg>'
    picture = f"![rows by length](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
    caption = (
        f"From {edges[0]:,} to {2 * edges[-1] or 64:,} tokens, one bar a doubling; the highest is {tallest:,} rows."
    )
    return {"lengths": dg.MetadataValue.md(f"{picture}\n\n{caption}")}


def _join(counters: Mapping[str, Any]) -> Metadata:
    join = counters.get("join")
    return {"correctness_joined": join["matched"], "correctness_join_rate": join["rate"]} if join else {}


def _source(manifest: Manifest, settings: Settings) -> Metadata:
    """The dataset on the Hub; of raw files also which, from which revision, and where a person can look at them."""
    if manifest.stage == "normalized" and settings.source_dir is None:
        return {"source": dg.MetadataValue.url(f"{settings.endpoint}/datasets/{manifest.details['repo']}")}
    files = manifest.details.get("files")
    if manifest.stage != "raw" or not files:
        return {}
    shown = [
        {
            "path": file["path"],
            "bytes": file["size"],
            "content": file["content_id"][:12],
            "since": file["revision"][:12],
        }
        for file in files
    ]
    return {
        "source": dg.MetadataValue.url(files[0]["url"]),
        "repo": manifest.details["repo"],
        "revision": manifest.details["revision"],
        "files_here": table(_first_files(shown, "path")),
        **({"left_out": table(manifest.details["left_out"])} if "left_out" in manifest.details else {}),
    }


def _splits(splits: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]]) -> Metadata:
    """One line a split, of assets that read several."""
    if isinstance(splits, Mapping):
        splits = [
            {"split": key, **{name: split[name] for name in ("rows", "removed", "control") if name in split}}
            for key, split in splits.items()
        ]
    return {"splits": table(splits)} if splits else {}


def _sets(sets: Sequence[Mapping[str, Any]]) -> Metadata:
    """One line an evaluation set."""
    return {"evaluation_sets": table(sets)} if sets else {}


def _release(manifest: Manifest) -> Metadata:
    details = manifest.details
    if "commit" not in details:
        return {}
    waiting = {"waiting": f"for `nemo-assets approve {manifest.partition}`"} if "waiting" in details else {}
    changes = manifest.counters.get("changes", {})
    lines = [
        {"rows": what, "cause": cause, "count": count}
        for what in ("entered", "left", "changed", "moved")
        for cause, count in changes.get(what, {}).items()
    ]
    return {
        "release": dg.MetadataValue.url(details["url"]) if "://" in details["url"] else details["url"],
        "repo": details["repo"],
        "commit": details["commit"],
        **({"tag": details["tag"]} if "tag" in details else waiting),
        **({"changes": table(lines), "since": changes["since"]} if lines else {}),
    }


_LOADED = ("model", "revision", "precision")


def _scores(checkpoints: Mapping[str, Mapping[str, Any]]) -> Metadata:
    """One line a checkpoint, what was loaded, and each mean NLL (nats per token) as a number, so that it is plotted."""
    lines = []
    loaded: Metadata = {}
    for name, summary in checkpoints.items():
        figures = {key: value for key, value in summary.items() if key not in ("status", *_LOADED)}
        lines.append({"checkpoint": name, "ok": summary["status"].get("ok", 0), **figures})
        if summary["model"] is not None:  # of imported scores nobody may know
            loaded[f"loaded_{name}"] = f"{summary['model']} @ {summary['revision']}"
    means = {f"nll_mean_{name}": s["nll_mean"] for name, s in checkpoints.items() if s["nll_mean"] is not None}
    return ({"scores": table(lines)} if lines else {}) | loaded | means


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
