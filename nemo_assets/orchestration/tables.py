"""Tables as the UI shows them.

Belongs here: from rows to Dagster's table, with cells short enough to keep. Does not: which rows (`metadata`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

CELL_CHARACTERS = 200


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows, of which there is one at least and all have the same names, as the UI shows them."""
    records = [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows]
    columns = [dg.TableColumn(name, _type_name(rows, name)) for name in rows[0]]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def _type_name(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    kinds = {type(row[name]) for row in rows}
    return "int" if kinds == {int} else "float" if kinds <= {int, float} else "string"


def _cell(value: Any) -> str | int | float:
    """A value a table can hold: numbers as they are, all else as plain text of at most CELL_CHARACTERS."""
    if isinstance(value, int | float):
        return value
    text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"
