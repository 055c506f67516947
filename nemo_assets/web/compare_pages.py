"""The page that compares two versions of the ledger of a split: what did a change of the rules do?

Belongs here: the comparison laid out as a matrix. Does not: the comparison (`lineage.compare_versions`), markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nemo_assets.lineage.compare_versions import Cell, End, VersionComparison, compare_versions, ledger_versions
from nemo_assets.web.page import Site, seed_of

_STATES = ("kept", "removed", "rejected")


def compare_routes(site: Site) -> list[Route]:
    return [Route("/compare/{slug}/{split}", lambda request: _compare(site, request))]


@dataclass(frozen=True)
class Matrix:
    """How records ended before (lines) and after (columns); None in place of an end: that version lacks them.

    cells: for each line one cell a column, None where no record is.
    """

    columns: tuple[End | None, ...]
    lines: tuple[tuple[End | None, tuple[Cell | None, ...]], ...]


def matrix_of(found: VersionComparison) -> Matrix:
    cells = {(cell.old, cell.new): cell for cell in found.cells}
    columns = _ordered(cell.new for cell in found.cells)
    before = _ordered(cell.old for cell in found.cells)
    lines = ((old, tuple(cells.get((old, new)) for new in columns)) for old in before)
    return Matrix(columns, tuple(lines))


def _ordered(ends: Iterable[End | None]) -> tuple[End | None, ...]:
    """Kept first, then by state and code; what a version lacks is the last."""

    def place(end: End | None) -> tuple[int, str]:
        return (_STATES.index(end.state), end.code or "") if end else (len(_STATES), "")

    return tuple(sorted(set(ends), key=place))


def _compare(site: Site, request: Request) -> Response:
    settings, asked = site.settings_of(), request.query_params
    split = site.split_of(request)
    found = compare_versions(split, asked.get("from"), asked.get("to"), settings.store, seed_of(request))
    return site.page(
        request,
        "compare.html",
        split=split,
        found=found,
        matrix=matrix_of(found),
        versions=ledger_versions(split, settings.store),
    )
