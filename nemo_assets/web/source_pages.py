"""Pages about many records: a source, samples of what a rule took out, a checkpoint, the state of everything.

Belongs here: counting for these pages. Does not: decisions about single records (`lineage`), markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.lineage import sample
from nemo_assets.lineage.compare_versions import ledger_versions
from nemo_assets.lineage.entries import evidence_of
from nemo_assets.lineage.versions import stale_notes
from nemo_assets.lineage.why import why
from nemo_assets.settings import Settings
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets.web.page import Site, plain_evidence, seed_of

_SAMPLED = 20  # rows of a page of samples
_EXTREMES = 20  # rows on each side
_SHOWN = (
    Stage.RAW, Stage.NORMALIZED, Stage.DEDUPED, Stage.LEDGER, Stage.LINEAGE_INDEX, Stage.POOLS, Stage.PUBLISHED,
    Stage.SCORED,
)  # fmt: skip
_STATES = ("kept", "removed", "rejected")


def source_routes(site: Site) -> list[Route]:
    return [
        Route("/source/{slug}", lambda request: _source(site, request)),
        Route("/source/{slug}/{split}", lambda request: _split(site, request)),
        Route("/source/{slug}/{split}/sample", lambda request: _sample(site, request)),
        Route("/why/{code}", lambda request: _why(site, request)),
        Route("/checkpoint/{name}", lambda request: _checkpoint(site, request)),
        Route("/health", lambda request: _health(site, request)),
    ]


@dataclass(frozen=True)
class Funnel:
    """What became of the records of a split; `steps` are (name, records), `codes` state → code → records."""

    split: Split
    steps: tuple[tuple[str, int], ...]
    codes: dict[str, dict[str, int]]
    pools: dict[str, int]
    release: dict[str, Any] | None


def funnel_of(split: Split, store: Store) -> Funnel | None:
    """None for a split without a ledger."""
    ledger = store.find(Stage.LEDGER, split.key)
    if ledger is None:
        return None
    codes = {state: dict(ledger.counters[state]) for state in _STATES if state != "kept"}
    records, kept = ledger.counters["records"], ledger.counters["kept"]
    steps = [("records", records), ("rows", records - sum(codes["rejected"].values())), ("kept", kept)]
    pools, published = store.find(Stage.POOLS, split.key), store.find(Stage.PUBLISHED, split.key)
    if published is not None and published.details.get("commit"):
        steps.append(("published", published.counters["rows"]))
    in_pools = dict(pools.counters["pools"]) if pools else {}
    return Funnel(split, tuple(steps), codes, in_pools, published.details if published else None)


def _source(site: Site, request: Request) -> Response:
    settings = site.settings_of()
    slug, source = settings.catalog.source(request.path_params["slug"])
    funnels = [funnel_of(settings.catalog.split(f"{slug}/{name}"), settings.store) for name in source.splits]
    return site.page(request, "source.html", slug=slug, source=source, funnels=[funnel for funnel in funnels if funnel])


def _split(site: Site, request: Request) -> Response:
    settings = site.settings_of()
    split = site.split_of(request)
    funnel = funnel_of(split, settings.store)
    if funnel is None:
        raise UserError(f"{split.key}: ledger does not exist yet. Materialise ledger of {split.key} first.")
    raw, normalized = (settings.store.find(stage, split.key) for stage in (Stage.RAW, Stage.NORMALIZED))
    counts = normalized.counters["files"] if normalized else {}
    files = [file | {"records": counts.get(file["path"], {}).get("records")} for file in _files(raw)]
    notes = stale_notes(split.key, split.scope, settings.store)
    versions = ledger_versions(split, settings.store)
    return site.page(request, "split.html", funnel=funnel, split=split, files=files, notes=notes, versions=versions)


def _files(raw: Manifest | None) -> list[dict[str, Any]]:
    return list(raw.details["files"]) if raw else []


def _sample(site: Site, request: Request) -> Response:
    """Records drawn at random among those of one end state or code; the same seed draws the same."""
    settings, asked = site.settings_of(), request.query_params
    split = site.split_of(request)
    code, state = asked.get("code"), asked.get("state")
    seed = seed_of(request)
    counters = settings.store.current(Stage.LEDGER, split.key).counters
    condition, total = _condition(split, counters, state, code)
    drawn = sample(Stage.LEDGER, split.key, settings.store, condition, _SAMPLED, seed)
    entries = [row | {"told": plain_evidence(evidence_of(row["evidence"]))} for row in drawn.iter_rows(named=True)]
    of = code or state or "all records"
    return site.page(request, "sample.html", split=split, entries=entries, of=of, total=total, seed=seed)


def _why(site: Site, request: Request) -> Response:
    """What one code did, in a split or in all: each rule's threshold, and the records on both sides of it."""
    settings, code = site.settings_of(), request.path_params["code"]
    partition, seed = request.query_params.get("partition"), seed_of(request)
    found = why(code, settings.catalog, settings.store, partition, _SAMPLED, seed)
    return site.page(request, "why.html", found=found, partition=partition, seed=seed)


def _condition(split: Split, counters: dict[str, Any], state: str | None, code: str | None) -> tuple[str | None, int]:
    """The condition on the ledger, built of what the ledger itself counts alone, and how many records satisfy it."""
    counts = {found: count for each in _STATES[1:] for found, count in counters[each].items()}
    if code is not None:
        if code not in counts:
            raise UserError(f"{split.key} has no record with code {code}. It has {', '.join(counts) or 'none at all'}.")
        return "code = '{}'".format(code.replace("'", "''")), counts[code]
    if state is None:
        return None, counters["records"]
    if state not in _STATES:
        raise UserError(f"There is no state {state}. There are {', '.join(_STATES)}.")
    return f"state = '{state}'", counters["kept"] if state == "kept" else sum(counters[state].values())


def _checkpoint(site: Site, request: Request) -> Response:
    """What a checkpoint finds hardest and easiest, over all splits it has scored."""
    settings, name = site.settings_of(), request.path_params["name"]
    scored = [m for m in settings.store.manifests(Stage.SCORED) if m.table(f"scores.{name}")]
    if not scored:
        known = sorted({part.table[7:] for m in settings.store.manifests(Stage.SCORED) for part in m.parts})
        raise UserError(f"{name}: no split is scored by it. There are scores by {', '.join(known) or 'nobody yet'}.")
    ranked = pl.concat([_scores(manifest, name, settings.store) for manifest in scored])
    hardest, easiest = pl.collect_all(
        [ranked.top_k(_EXTREMES, by="nll_mean"), ranked.bottom_k(_EXTREMES, by="nll_mean")]
    )
    summaries = {m.partition: m.counters.get("checkpoints", {}).get(name, {}) for m in scored}
    extremes = {
        "Most surprising": hardest.sort("nll_mean", descending=True).to_dicts(),
        "Least surprising": easiest.sort("nll_mean").to_dicts(),
    }
    return site.page(
        request, "checkpoint.html", name=name, checkpoint=settings.catalog.checkpoints.get(name),
        summaries=summaries, extremes=extremes,
    )  # fmt: skip


def _scores(manifest: Manifest, name: str, store: Store) -> pl.LazyFrame:
    told = ("id", "nll_mean", "percentile_within_split", "completion_token_count", "truncated")
    frame = pl.scan_parquet(store.paths(manifest, f"scores.{name}")).filter(pl.col("nll_mean").is_not_null())
    return frame.select(*told, partition=pl.lit(manifest.partition))


def _health(site: Site, request: Request) -> Response:
    settings = site.settings_of()
    return site.page(request, "health.html", stages=_SHOWN, splits=list(_states(settings)))


def _states(settings: Settings) -> Iterator[dict[str, Any]]:
    """Of every split: which stages are made, whether all records are accounted for, what is stale, how many versions
    of its ledger are kept.
    """
    for key, split in settings.catalog.splits.items():
        made = {stage: settings.store.find(stage, key) for stage in _SHOWN}
        ledger = made[Stage.LEDGER]
        accounted = None
        if ledger is not None:
            counts = ledger.counters
            ends = counts["kept"] + sum(sum(counts[state].values()) for state in _STATES[1:])
            accounted = (ends, counts["records"])
        yield {
            "key": key,
            "made": made,
            "accounted": accounted,
            "notes": stale_notes(key, split.scope, settings.store),
            "versions": len(settings.store.versions(Stage.LEDGER, key)),
        }
