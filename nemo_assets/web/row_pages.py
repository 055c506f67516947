"""Pages about one record or two: the row, its cluster, a comparison.

Belongs here: from a request to an answer of `lineage` to a template. Does not: the answer, markup.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from nemo_assets.errors import UserError
from nemo_assets.lineage import Passport, explain, original_bytes
from nemo_assets.lineage.compare_rows import compare_rows
from nemo_assets.lineage.coordinates import published_uid, reference_at, source_of
from nemo_assets.web import conversation, row_view
from nemo_assets.web.page import Site
from nemo_assets.web.strip import Node, graph

_DRAWN = 12  # members of a cluster in its graph


def row_routes(site: Site) -> list[Route]:
    """The suffixes come first: a reference may hold slashes and dots."""
    return [
        Route("/row/{reference:path}.json", _handler(site, _json)),
        Route("/row/{reference:path}/original", _handler(site, _original)),
        Route("/row/{reference:path}/text", _handler(site, _text)),
        Route("/row/{reference:path}", _handler(site, _row)),
        Route("/cluster/{reference:path}", _handler(site, _cluster)),
        Route("/diff/{a}/{b}", _handler(site, _diff)),
        Route("/diff", _handler(site, _diff_form)),
        Route("/pub/{org}/{name}/{revision}/{file:path}/{row:int}", _handler(site, _published)),
    ]


def _handler(site: Site, answer: Callable[[Site, Request], Response]) -> Callable[[Request], Response]:
    return lambda request: answer(site, request)


def passport_of(site: Site, reference: str) -> Passport:
    """The passport of a record named as people name it, or by an address of the viewer or of a release."""
    settings = site.settings_of()
    named = reference_at(reference, settings) or reference
    return explain(named, settings.catalog, settings.store, settings.endpoint, source_of(settings))


def _row(site: Site, request: Request) -> Response:
    passport = passport_of(site, request.path_params["reference"])
    asked = request.query_params
    number = asked.get("page", "1")
    page = int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else 1
    view = row_view.text_view(passport, asked.get("view", "turns"), asked.get("checkpoint"), page)
    original = row_view.pretty_original(passport.original) if passport.original else None
    return site.page(
        request,
        "row.html",
        passport=passport,
        strip=row_view.strip_of(passport, site.links(request)),
        view=view,
        views=row_view.VIEWS,
        with_tokens=row_view.scores_with_tokens(passport),
        evidence_of=row_view.evidence_of,
        classes=conversation.CLASSES,
        original=original,
        pools=[decision for decision in passport.decisions if decision.stage == "pools"],
        decisions=[decision for decision in passport.decisions if decision.stage != "pools"],
    )


def _json(site: Site, request: Request) -> Response:
    told = passport_of(site, request.path_params["reference"]).as_json()
    return Response(json.dumps(told, indent=1, default=str), media_type="application/json")


def _original(site: Site, request: Request) -> Response:
    passport = passport_of(site, request.path_params["reference"])
    return _download(original_bytes(passport), f"{passport.entry.record_uid}.original.txt")


def _text(site: Site, request: Request) -> Response:
    passport = passport_of(site, request.path_params["reference"])
    if passport.row is None:
        raise UserError(f"{passport.entry.place} never became a row: it has no rendered text.")
    return _download(passport.row["text"].encode(), f"{passport.entry.record_uid}.txt")


def _download(data: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(data, headers=headers, media_type="text/plain; charset=utf-8")


def _cluster(site: Site, request: Request) -> Response:
    """All records that one kept row stands for; asked for a removed one, the cluster of its survivor."""
    passport = passport_of(site, request.path_params["reference"])
    if passport.entry.state == "rejected":
        raise UserError(f"{passport.entry.place} was rejected before deduplication: it has no duplicates.")
    asked = passport.entry.record_uid
    if passport.entry.survivor_uid is not None:
        passport = passport_of(site, passport.entry.survivor_uid)
    members = passport.stands_for
    return site.page(
        request, "cluster.html", passport=passport, members=members, chosen=asked, star=_star(site, request, passport)
    )


def _star(site: Site, request: Request, passport: Passport) -> object:
    links, entry = site.links(request), passport.entry
    nodes = [Node("winner", "stays", entry.id or entry.record_uid, "pass", links.row(entry.record_uid))]
    for member in passport.stands_for[:_DRAWN]:
        similarity = f"similarity {member.similarity:.3f}" if member.similarity is not None else member.state
        name = member.id or member.record_uid
        nodes.append(Node(member.record_uid, similarity, name, "stop", links.row(member.record_uid)))
    return graph(nodes, [("winner", node.key) for node in nodes[1:]], "The row that stays and those it stands for")


def _diff(site: Site, request: Request) -> Response:
    settings, path = site.settings_of(), request.path_params
    found = compare_rows(path["a"], path["b"], settings.catalog, settings.store, settings.endpoint)
    return site.page(request, "diff.html", found=found)


def _diff_form(site: Site, request: Request) -> Response:
    """Two references from a form; slashes in them do not fit the path of `_diff`."""
    a, b = request.query_params.get("a", ""), request.query_params.get("b", "")
    uids = [passport_of(site, reference).entry.record_uid for reference in (a, b)]
    return RedirectResponse(site.links(request).page("diff", *uids), 303)


def _published(site: Site, request: Request) -> Response:
    path = request.path_params
    repo = f"{path['org']}/{path['name']}"
    uid = published_uid(repo, path["revision"], path["file"], path["row"], site.settings_of())
    return RedirectResponse(site.links(request).row(uid), 303)
