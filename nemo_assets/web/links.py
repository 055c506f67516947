"""Addresses on pages: made of quoted parts, or checked before a page offers them.

Belongs here: every href that holds data. Does not: markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit


def _part(value: object) -> str:
    return quote(str(value).encode(errors="replace"), safe="")


@dataclass(frozen=True)
class Links:
    """`base` is where the pages are mounted, `dagster` where Dagster's UI is (None: nowhere near), both without a
    slash at the end; `endpoint` is the only other place that is linked to."""

    base: str
    dagster: str | None
    endpoint: str

    @property
    def home(self) -> str:
        return f"{self.base}/"

    @property
    def style(self) -> str:
        return f"{self.base}/static/lineage.css"

    def page(self, *parts: object, **query: object) -> str:
        """The page at these parts of a path, such as `page("row", uid, view="mask")`; queries of None are left out."""
        told = {name: value for name, value in query.items() if value is not None}
        path = "/".join([self.base, *map(_part, parts)])
        return f"{path}?{urlencode(told)}" if told else path

    def row(self, uid: str, **query: object) -> str:
        return self.page("row", uid, **query)

    def source(self, partition: str) -> str:
        """The page of a split or, given a slug alone, of a source."""
        return self.page("source", *partition.split("/"))

    def asset(self, asset: str, partition: str | None = None, view: str = "partitions") -> str | None:
        """The page of an asset, or of one of its partitions, in Dagster's UI."""
        if self.dagster is None:
            return None
        chosen = f"&partition={_part(partition)}" if partition else ""
        return f"{self.dagster}/assets/{_part(asset)}?view={view}{chosen}"

    def run(self, run_id: str | None) -> str | None:
        """The page of a run in Dagster's UI."""
        return None if self.dagster is None or run_id is None else f"{self.dagster}/runs/{_part(run_id)}"

    def compare(self, partition: str, **query: object) -> str:
        """The page that compares two versions of the ledger of a split; `from_` and `to` are their names."""
        return self.page("compare", *partition.split("/"), **{name.rstrip("_"): value for name, value in query.items()})

    def outside(self, url: str | None) -> str | None:
        """The address if it may be offered: http or https, at the endpoint's host. Data can hold any address."""
        try:
            asked, allowed = urlsplit(url or ""), urlsplit(self.endpoint)
            ports = asked.port, allowed.port
        except ValueError:
            return None
        same = (asked.hostname, ports[0]) == (allowed.hostname, ports[1]) and asked.username is None
        return url if asked.scheme in ("http", "https") and same else None
