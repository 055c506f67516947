"""Features of a card, compared with what `datasets` itself writes."""

from __future__ import annotations

import pyarrow as pa
import pytest
from datasets import Features
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_assets.hub.features import features_of
from nemo_assets.records.schema import LEDGER_SCHEMA, REJECTED_SCHEMA, ROW_SCHEMA, TOOLS_SCHEMA
from nemo_assets.scoring.rows import SCORE_SCHEMA

SCHEMAS = {
    "rows": ROW_SCHEMA, "ledger": LEDGER_SCHEMA, "rejected": REJECTED_SCHEMA, "tools": TOOLS_SCHEMA,
    "scores": SCORE_SCHEMA,
}  # fmt: skip

PLAIN = st.sampled_from([
    pa.string(), pa.int64(), pa.int32(), pa.uint8(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.binary(),
    pa.binary(16), pa.large_string(), pa.null(), pa.date32(), pa.date64(), pa.timestamp("us"),
    pa.timestamp("ms", tz="Europe/Berlin"), pa.time64("ns"), pa.duration("s"), pa.decimal128(7, 2),
    pa.dictionary(pa.int32(), pa.string()),
])  # fmt: skip
NAMES = st.text("abcdefgh_ 1-", min_size=1, max_size=4)


def structs(kinds: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    return st.dictionaries(NAMES, kinds, min_size=1, max_size=3).map(pa.struct)


TYPES = st.recursive(
    PLAIN,
    lambda kinds: st.one_of(
        kinds.map(pa.list_),
        kinds.map(pa.large_list),
        st.builds(pa.list_, kinds, st.integers(1, 4)),
        structs(kinds),
    ),
    max_leaves=4,
)


def of_datasets(schema: pa.Schema) -> object:
    return Features.from_arrow_schema(schema)._to_yaml_list()


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_tables_have_the_features_that_datasets_writes(name: str) -> None:
    assert features_of(SCHEMAS[name]) == of_datasets(SCHEMAS[name])


@given(st.dictionaries(NAMES, TYPES, min_size=1, max_size=3).map(lambda columns: pa.schema(list(columns.items()))))
@settings(max_examples=150, deadline=None)
def test_any_table_has_the_features_that_datasets_writes(schema: pa.Schema) -> None:
    assert features_of(schema) == of_datasets(schema)


def test_lists_and_structs_are_written_without_needless_wrapping() -> None:
    schema = pa.schema([
        ("id", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("at", pa.timestamp("us"))]))),
    ])  # fmt: skip
    assert features_of(schema) == [
        {"name": "id", "dtype": "string"},
        {"name": "tags", "list": "string"},
        {"name": "turns", "list": [{"name": "role", "dtype": "string"}, {"name": "at", "dtype": "timestamp[us]"}]},
    ]


@pytest.mark.parametrize(
    "kind", [pa.map_(pa.string(), pa.int64()), pa.list_view(pa.int64()), pa.month_day_nano_interval()]
)
def test_a_type_without_a_word_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(ValueError, match="no word for the Arrow type"):
        features_of(pa.schema([("x", kind)]))
