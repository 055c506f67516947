"""Answering with a page: templates, what all pages know, errors that a reader can put right.

Belongs here: the environment of the templates, how values are shown. Does not: which pages there are (`app`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from nemo_assets.catalog import Split
from nemo_assets.settings import Settings
from nemo_assets.web.links import Links
from nemo_assets.web.strip import bar
from nemo_assets.web.visible import shown, visible

HERE = Path(__file__).parent


def _made_visible(value: Any) -> Any:
    """Of every expression in a template: text of data never reaches a page with hidden characters in it."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _value(value: Any) -> Markup:
    """A measured value as people read it."""
    if value is None:
        return Markup('<span class="none">unknown</span>')
    if isinstance(value, bool):
        return Markup("true" if value else "false")
    if isinstance(value, float):
        return shown(f"{value:.6g}")
    if isinstance(value, int):
        return shown(value)
    if isinstance(value, dict):
        return Markup(", ").join(_pair(name, each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return Markup(", ").join(_value(each) for each in value) if value else Markup('<span class="none">none</span>')
    return shown(value)


def _pair(name: str, value: Any) -> Markup:
    """A name and its value; the pairs of a value that has names of its own stand in brackets."""
    form = "{} ({})" if isinstance(value, dict) else "{}: {}"
    return Markup(form).format(shown(_words(str(name))), _value(value))


def _words(text: str | None) -> str:
    return (text or "").replace("_", " ")


def plain_evidence(found: dict[str, Any]) -> dict[str, Any]:
    """Of the evidence what fits a cell."""
    return {name: value for name, value in found.items() if name != "rule" and not isinstance(value, dict | list)}


def _time(moment: datetime) -> Markup:
    return Markup('<time datetime="{}">{} UTC</time>').format(moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M"))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        finalize=_made_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "value": _value, "words": _words, "time": _time, "plain": plain_evidence}
    environment.globals["bar"] = bar
    return environment


_templates = _environment()


def seed_of(request: Request) -> int:
    """The seed that a request asks samples to be drawn with; 0 for what is no seed."""
    number = request.query_params.get("seed", "0")
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else 0


async def form_of(request: Request, most: int) -> tuple[dict[str, str], bool]:
    """The fields of a form in the body of a request, of which `most` bytes are kept, and whether it was cut."""
    body = bytearray()
    async for chunk in request.stream():  # to its end, or the browser would not listen to the answer
        body += chunk[: most - len(body)]
    fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}, len(body) >= most


class Site:
    """What every handler needs: the settings of the data directory, addresses, and the frame of the pages.

    dagster: where Dagster's UI is, a path without a slash at the end; None where the pages run alone.
    """

    def __init__(self, settings_of: Callable[[], Settings], dagster: str | None) -> None:
        self.settings_of = settings_of
        self._dagster = dagster

    def links(self, request: Request) -> Links:
        return Links(request.scope.get("root_path", ""), self._dagster, self.settings_of().endpoint)

    def split_of(self, request: Request) -> Split:
        """The split that the path of a request names; raises UserError for one the catalog does not have."""
        settings = self.settings_of()
        slug, _ = settings.catalog.source(request.path_params["slug"])
        return settings.catalog.split(f"{slug}/{request.path_params['split']}")

    def page(self, request: Request, template: str, status: int = 200, **told: Any) -> HTMLResponse:
        """A page made from a template, which knows `links`, `query` (what is asked for now) and `told`."""
        frame = {"links": self.links(request), "query": dict(request.query_params), "asked": ""}
        return HTMLResponse(_templates.get_template(template).render(frame | told), status)
