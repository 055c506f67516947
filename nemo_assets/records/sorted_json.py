"""JSON values as the columns that hold JSON keep them."""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="sorted").encode


def sorted_json(value: Any) -> bytes:
    """UTF-8 of the compact JSON of a value, keys sorted: equal values give equal bytes. Integers stay exact."""
    return _encode(value)
