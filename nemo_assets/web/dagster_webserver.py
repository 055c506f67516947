"""Dagster's web server with the pages at `/lineage` and the guard in front of everything.

Runs as `python -m nemo_assets.web.dagster_webserver` with the options of `dagster-webserver`. `dagster dev` would start
the stock server instead, which executes what other web pages ask of it.

Belongs here: what is different from the stock server. Does not: the pages (`app`), the guard (`guard`).
"""

from __future__ import annotations

import os
from typing import Any

import dagster_webserver.app
import dagster_webserver.cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from nemo_assets.settings import Settings
from nemo_assets.web.app import mounted
from nemo_assets.web.guard import Guard

HOSTS_VARIABLE = "NEMO_UI_HOSTS"
"""Names besides those of the loopback under which the server may be asked, separated by commas."""


class LineageWebserver(DagsterWebserver[Any, Any]):
    """The stock server; Dagster's own pages and API stay where they are."""

    def build_middleware(self) -> list[Middleware]:
        hosts = [host.strip() for host in os.environ.get(HOSTS_VARIABLE, "").split(",") if host.strip()]
        return [Middleware(Guard, hosts=hosts), *super().build_middleware()]

    def build_routes(self) -> list[BaseRoute]:
        prefix = self._app_path_prefix
        stock: list[BaseRoute] = super().build_routes()  # type: ignore[no-untyped-call]
        return [*mounted(Settings.from_environment, prefix, dagster=prefix), *stock]


def main() -> None:
    """Run Dagster's command line with this server in place of its own."""
    vars(dagster_webserver.app)["DagsterWebserver"] = LineageWebserver  # the name by which it finds its server
    dagster_webserver.cli.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
