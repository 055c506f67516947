"""Pages about training subsets: what the policy cuts, and what another policy would cut.

Belongs here: from a request to the report of a policy to a template. Does not: cutting (`stages.subsets`), layout
(`subset_view`, `charts`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nemo_assets.catalog import SubsetPolicy
from nemo_assets.catalog.subset_policy import parse_subset_policy
from nemo_assets.errors import UserError
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage
from nemo_assets.web import subset_view
from nemo_assets.web.charts import pair
from nemo_assets.web.page import Site, form_of

LONGEST = 256 << 10  # bytes of a form; the policy of the catalog has 7 kB
DEEPEST = 50  # nesting of a policy; YAML's parser dies of very deep ones

_HERE = "the policy on this page"
_REFUSED = 422


def subset_routes(site: Site) -> list[Route]:
    async def tried(request: Request) -> Response:
        return await run_in_threadpool(_tried, site, request, *await form_of(request, LONGEST))

    return [
        Route("/subsets", lambda request: _current(site, request, None)),
        Route("/subsets", tried, methods=["POST"]),
        Route("/subsets/{name}", lambda request: _current(site, request, request.path_params["name"])),
    ]


def _current(site: Site, request: Request, name: str | None) -> Response:
    """What the policy of the catalog cuts from the scores there are, or one of its subsets."""
    settings = site.settings_of()
    policy = settings.catalog.subset_policy
    text = Path(policy.path).read_text()
    if name is not None and name not in policy.subsets:
        raise UserError(f"{name}: the policy has no such subset. It has {', '.join(policy.subsets)}.")
    try:
        report = _what_if(settings, policy)
    except UserError as error:
        return _page(site, request, 200, text, str(error))
    return _page(site, request, 200, text, report=report, name=name)


def _tried(site: Site, request: Request, form: dict[str, str], is_cut: bool) -> Response:
    """What the policy in a form would cut; what is wrong with it is told above it."""
    settings, name = site.settings_of(), form.get("show")
    text = form.get("policy", "").replace("\r\n", "\n")  # which is how browsers send line ends
    try:
        if is_cut:
            raise UserError(f"{_HERE}: it is longer than {LONGEST >> 10} kB. Leave out comments.")
        _require_shallow(text)
        policy = parse_subset_policy(text, _HERE, settings.catalog.checkpoints)
        report = _what_if(settings, policy)
    except UserError as error:
        return _page(site, request, _REFUSED, text, str(error), is_tried=True)
    return _page(site, request, 200, text, report=report, name=name if name in policy.subsets else None, is_tried=True)


def _what_if(settings: Settings, policy: SubsetPolicy) -> dict[str, Any]:
    from nemo_assets.stages.subsets import what_if  # compiles and reads what no other page needs

    return what_if(settings, policy)


def _require_shallow(text: str) -> None:
    depth = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise UserError(f"{_HERE}: it is nested more than {DEEPEST} levels deep.")
    except yaml.YAMLError as error:
        raise UserError(f"{_HERE}: no YAML ({' '.join(str(error).split())}).") from None


def _page(
    site: Site,
    request: Request,
    status: int,
    text: str,
    error: str = "",
    report: dict[str, Any] | None = None,
    name: str | None = None,
    is_tried: bool = False,
) -> Response:
    told = {"report": report, "text": text, "error": error, "is_tried": is_tried}
    if report is None or name is None:
        return site.page(request, "subsets.html", status, heat=subset_view.heat, **told)
    subset = report["subsets"][name]
    strata, more = subset_view.strata_of(subset)
    return site.page(
        request,
        "subset.html",
        status,
        name=name,
        subset=subset,
        strata=strata,
        more=more,
        traits=subset_view.traits_of(subset),
        pair=pair,
        made=None if is_tried else site.settings_of().store.find(Stage.SUBSETS, name),
        **told,
    )
