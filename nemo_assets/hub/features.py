"""The columns of a table as a dataset card declares them: `dataset_info.features`, as `datasets` writes them.

With features declared, `datasets` and the Hub's viewer need no file to know the columns, and refuse files with others.

Belongs here: Arrow types in the words of the card. Does not: which columns there are (`records`).
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

Features = list[dict[str, Any]]
"""One object a column: `name` and its type, nested where the type is."""

_OTHER_NAMES = {
    "halffloat": "float16", "float": "float32", "double": "float64", "date32[day]": "date32", "date64[ms]": "date64",
}  # fmt: skip
_SAME_NAMES = re.compile(
    r"null|bool|u?int(8|16|32|64)|(large_)?(string|binary)|(string|binary)_view|fixed_size_binary\[\d+\]"
    r"|(timestamp|duration|time32|time64)\[.+\]|decimal(128|256)\(.+\)"
)


def features_of(schema: pa.Schema) -> Features:
    """The features of a table with this schema.

    Raises:
        ValueError: the card has no word for the type of a column.
    """
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in kind]}
    if pa.types.is_list(kind):
        return {"list": _items(kind)}
    if pa.types.is_large_list(kind):
        return {"large_list": _items(kind)}
    if pa.types.is_fixed_size_list(kind):
        return {"list": _items(kind), "length": kind.list_size}
    if pa.types.is_dictionary(kind):  # how it is stored, not what it is
        return _feature(kind.value_type)
    return {"dtype": _name(kind)}


def _items(kind: pa.DataType) -> Any:
    """What a list is of; without a wrapping where nothing else is to be said about it."""
    items = _feature(kind.value_type)
    return next(iter(items.values())) if list(items) in (["dtype"], ["struct"]) else items


def _name(kind: pa.DataType) -> str:
    name = str(kind)
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    if _SAME_NAMES.fullmatch(name) is None:
        raise ValueError(f"a dataset card has no word for the Arrow type {name}")
    return name
