"""The first page: what there is, and a box that takes any name of a record or any text.

Belongs here: from what was typed to a page or to a list of rows. Does not: searching (`lineage`).
"""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from nemo_assets.lineage.coordinates import reference_at
from nemo_assets.lineage.find import Finding, find
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets.web.conversation import Stretch
from nemo_assets.web.page import Site, form_of

MOST = 12 << 20  # bytes of a request; a longer paste is cut
HITS = 20  # on a page
LONGEST_REFERENCE = 500  # characters; what is longer, or has several lines, is a text
SHOWN = 20_000  # characters of a paste

_BY_TEXT = frozenset({"equal text", "equal content", "verbatim", "similar"})
_SEVERAL = "one of several it names"


def find_routes(site: Site) -> list[Route]:
    """The first page and the search."""

    async def asked(request: Request) -> Response:
        return await run_in_threadpool(_find, site, request, *await _asked(request))

    return [Route("/", lambda request: _home(site, request)), Route("/find", asked, methods=["GET", "POST"])]


async def _asked(request: Request) -> tuple[str, bool]:
    """The text to search for, and whether it was cut. A form sends it in the body: a paste does not fit an address."""
    if request.method == "GET":
        return request.query_params.get("q", ""), False
    fields, is_cut = await form_of(request, MOST)
    return fields.get("q", ""), is_cut


def _find(site: Site, request: Request, text: str, is_cut: bool) -> Response:
    """The row itself where one record is named; else what was found, with what was searched."""
    if not text.strip():
        return RedirectResponse(site.links(request).home, 303)
    found = search(site.settings_of(), text)
    if named := _named(found):
        return RedirectResponse(site.links(request).row(named), 303)
    status = 200 if found.hits else 404
    shared = shared_stretches(found, SHOWN)
    return site.page(request, "found.html", status, found=found, shared=shared, size=len(text), is_cut=is_cut)


def search(settings: Settings, text: str) -> Finding:
    """What `find` finds; an address of the viewer or of a release stands for the record there."""
    paste = text.strip()
    if len(paste) <= LONGEST_REFERENCE and "\n" not in paste:
        paste = reference_at(paste, settings) or paste
    return find(paste, settings.catalog, settings.store, HITS)


def _named(found: Finding) -> str | None:
    """The record_uid that was meant, where a name and not a text was given, and it names one record."""
    by_name = [hit for hit in found.hits if hit.matched_by not in _BY_TEXT]
    return by_name[0].entry.record_uid if by_name and by_name[0].matched_by != _SEVERAL else None


def shared_stretches(found: Finding, most: int) -> list[Stretch]:
    """The first `most` characters of the paste, cut where a span that some record has too begins or ends."""
    cuts, stretches, position = _merged(found), [], 0
    for begin, end in cuts:
        stretches.append(Stretch("plain", found.paste[position : min(begin, most)]))
        stretches.append(Stretch("shared", found.paste[begin : min(end, most)]))
        position = min(end, most)
    stretches.append(Stretch("plain", found.paste[position:most]))
    return [stretch for stretch in stretches if stretch.text]


def _merged(found: Finding) -> list[tuple[int, int]]:
    """The spans of all hits in the paste, those that touch as one."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted((span.begin, span.end) for hit in found.hits for span in hit.spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _home(site: Site, request: Request) -> Response:
    settings = site.settings_of()
    sources = _sources(settings)
    records = sum(split["records"] for splits in sources.values() for split in splits)
    indexes = [index for key in settings.catalog.splits if (index := LineageIndex.open(settings.store, key))]
    return site.page(
        request,
        "home.html",
        sources=sources,
        records=records,
        indexed=sum(index.records for index in indexes),
        built=min((index.manifest.details["built"] for index in indexes), default=None),
        checkpoints=_checkpoints(settings),
        settings=settings,
    )


def _sources(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Slug → its splits that have a ledger, with what became of their records."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key, split in settings.catalog.splits.items():
        ledger = settings.store.find(Stage.LEDGER, key)
        if ledger is not None:
            counts = {name: _total(ledger.counters[name]) for name in ("records", "kept", "removed", "rejected")}
            found.setdefault(split.slug, []).append({"key": key, "name": split.name, **counts})
    return found


def _total(count: int | dict[str, int]) -> int:
    return count if isinstance(count, int) else sum(count.values())


def _checkpoints(settings: Settings) -> list[str]:
    scored = settings.store.manifests(Stage.SCORED)
    return sorted({name for manifest in scored for name in manifest.counters.get("checkpoints", {})})
