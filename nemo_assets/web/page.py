"""Answering with a page: templates, what all pages know, errors that a reader can put right.

Belongs here: the environment of the templates, how values are shown. Does not: which pages there are (`app`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

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


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        finalize=_made_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "value": _value, "words": _words}
    environment.globals["bar"] = bar
    return environment


_templates = _environment()


class Site:
    """What every handler needs: the settings of the data directory, addresses, and the frame of the pages.

    dagster: where Dagster's UI is, a path without a slash at the end; None where the pages run alone.
    """

    def __init__(self, settings_of: Callable[[], Settings], dagster: str | None) -> None:
        self.settings_of = settings_of
        self._dagster = dagster

    def links(self, request: Request) -> Links:
        return Links(request.scope.get("root_path", ""), self._dagster, self.settings_of().endpoint)

    def page(self, request: Request, template: str, status: int = 200, **told: Any) -> HTMLResponse:
        """A page made from a template, which knows `links`, `query` (what is asked for now) and `told`."""
        frame = {"links": self.links(request), "query": dict(request.query_params), "asked": ""}
        return HTMLResponse(_templates.get_template(template).render(frame | told), status)
