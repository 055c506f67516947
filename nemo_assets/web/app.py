"""The pages as one application, to be mounted at `/lineage` of another one or served alone.

Belongs here: which address leads to which page, what a failure looks like. Does not: the pages (`row_pages`,
`find_pages`, `source_pages`, `compare_pages`,
`subset_pages`), the server (`dagster_webserver`, `__main__`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from nemo_assets.errors import UserError
from nemo_assets.lineage import AmbiguousReferenceError, similar
from nemo_assets.settings import Settings
from nemo_assets.web.compare_pages import compare_routes
from nemo_assets.web.find_pages import find_routes
from nemo_assets.web.guard import PageHeaders
from nemo_assets.web.page import HERE, Site
from nemo_assets.web.row_pages import row_routes
from nemo_assets.web.source_pages import source_routes
from nemo_assets.web.subset_pages import subset_routes

MOUNT = "/lineage"

_log = logging.getLogger(__name__)


def lineage_app(settings_of: Callable[[], Settings], dagster: str | None = None) -> Starlette:
    """The pages over the data directory that `settings_of` names whenever a page is asked for.

    dagster: path of Dagster's UI on the same server, `""` at its root; None: pages have no links to it.
    """
    site = Site(settings_of, dagster)
    routes: list[BaseRoute] = [
        *find_routes(site),
        *row_routes(site),
        *source_routes(site),
        *compare_routes(site),
        *subset_routes(site),
        Mount("/static", _Style(directory=HERE / "static")),
    ]

    Thread(target=similar.prepare, daemon=True).start()  # else the first paste would wait for compiled code

    async def user_error(request: Request, error: Exception) -> Response:
        return _error_page(site, request, error)

    handlers = {UserError: user_error, HTTPException: user_error, Exception: user_error}
    return Starlette(routes=routes, middleware=[Middleware(PageHeaders)], exception_handlers=handlers)


class _Style(StaticFiles):
    """The style sheet, which any page may load: a sandboxed page is of no origin, not even of its own."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response


def mounted(settings_of: Callable[[], Settings], prefix: str = "", dagster: str | None = None) -> list[BaseRoute]:
    """The routes that put the pages at `<prefix>/lineage`."""
    path = prefix + MOUNT
    return [
        Route(path, lambda _: RedirectResponse(f"{path}/")),
        Mount(path, lineage_app(settings_of, dagster)),
    ]


def _error_page(site: Site, request: Request, error: Exception) -> Response:
    """What went wrong, where, and what to do; records to choose from where a reference is ambiguous."""
    reference = request.path_params.get("reference", "")
    if isinstance(error, AmbiguousReferenceError):
        told = f"{reference or 'The reference'} names several records."
        return site.page(request, "error.html", 300, title=told, message="", candidates=error.candidates)
    if isinstance(error, HTTPException):
        return site.page(request, "error.html", error.status_code, title=error.detail, message="", candidates=())
    if isinstance(error, UserError):
        return site.page(request, "error.html", 404, title="Nothing to show", message=str(error), candidates=())
    _log.error("%s", request.url.path, exc_info=error)
    told = "This page could not be made. The log of the server says why."
    return site.page(request, "error.html", 500, title="An error of these pages", message=told, candidates=())
