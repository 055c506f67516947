"""Canonical JSON is one text for one value, by whichever way it was written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from nemo_assets.harmony import canonical_json

strings = st.text(st.characters())  # lone surrogates too
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
)


@given(st.dictionaries(strings, strings, min_size=1, max_size=1) | values)
@example({"code": 'print("\\d\u2028\x7f\0\x1f😀")\n\t'})
@example({"": ""})
@example({1: "an integer for a key"})
@example({"code": None})
def test_canonical_json_is_what_the_standard_library_writes(value: Any) -> None:
    assert canonical_json(value) == json.dumps(value, sort_keys=True, ensure_ascii=False)
