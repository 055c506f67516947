"""`python -m nemo_assets.web`: the pages alone, without Dagster."""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.routing import Route

from nemo_assets.settings import Settings
from nemo_assets.web.app import MOUNT, mounted
from nemo_assets.web.guard import Guard

DEFAULT_PORT = 3001


def alone(hosts: tuple[str, ...] = ()) -> Starlette:
    """The pages behind the guard, with nothing else beside them."""
    routes = [*mounted(Settings.from_environment), Route("/", lambda _: RedirectResponse(f"{MOUNT}/"))]
    return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts)])


def main(
    host: Annotated[str, typer.Option(help="Address to listen at; others than the loopback open it to others.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen at.")] = DEFAULT_PORT,
) -> None:
    """Serve the lineage pages of the data directory."""
    typer.echo(f"Lineage pages at http://{host}:{port}{MOUNT}/")
    uvicorn.run(alone((host,)), host=host, port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(main)
