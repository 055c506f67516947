"""The canonical row and the ledger entry: columns, types, meaning and unit.

The descriptions are stored in the Parquet schema and shown in the Dagster UI and on the dataset card.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

STRING, INT, FLOAT, BOOL, STRINGS = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.list_(pa.string())
UID = pa.binary(16)


class Column(NamedTuple):
    """One column: `unit` is empty where the value has none, `nullable` says that null means unknown."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False


def _correctness(name: str, what: str) -> Column:
    return Column(name, FLOAT, f"{what}; null where the source has no evaluation of it", "share of attempts", True)


COLUMNS: tuple[Column, ...] = (
    Column("id", STRING, "Stable join key: the source uuid where it names the row, else made from the content. Never depends on the template. Unique among the kept rows of a dedup scope"),
    Column("dataset", STRING, "Repo id of the source"),
    Column("subset", STRING, "Config of the source repo"),
    Column("split", STRING, "Split of the source"),
    Column("text", STRING, "Harmony-rendered prompt and completion, exactly what the model sees"),
    Column("loss_mode", STRING, "assistant_all: the bodies of every assistant message are trained; assistant_last: those after the last message of anyone else; assistant_sampled: all that the model itself emits, headers and closing tokens too"),
    Column("template", STRING, "Version of the renderer that wrote text; as-published where the source came rendered"),
    Column("content_sha1", STRING, "sha1 over the non-system turns (role, channel, recipient, body): equal content is equal here whatever the source, split or template", "hex"),
    Column("text_sha1", STRING, "sha1 of the UTF-8 text; equal text is equal across datasets", "hex"),
    Column("loss_terminators", BOOL, "Whether the closing tokens of trained messages are in the loss"),
    Column("mask_sha1", STRING, "sha1 of <loss_mode>|<0 or 1>|a-b,c-d,…, the trained spans of text in code points; a scorer must reproduce it or refuse the row", "hex"),
    Column("stats_loss_chars", INT, "Total length of the trained spans", "code points"),
    Column("meta_domain", STRING, "math, proof, science, agentic or chat_if"),
    Column("meta_difficulty_bin", STRING, "low, medium or high from the split; for Math-v2 this is the reasoning effort of the teacher", "", True),
    Column("meta_row_verified", BOOL, "This very completion was judged correct (Math-v2: its own condition has at least one pass); null where the source does not say", "", True),
    _correctness("meta_correctness", "Accuracy of the teacher on the problem under its best evaluation condition"),
    _correctness("meta_correctness_low", "Better of the two accuracies at low effort"),
    _correctness("meta_correctness_low_with_tool", "Accuracy at low effort with tool"),
    _correctness("meta_correctness_low_no_tool", "Accuracy at low effort without tool"),
    _correctness("meta_correctness_medium", "Better of the two accuracies at medium effort"),
    _correctness("meta_correctness_medium_with_tool", "Accuracy at medium effort with tool"),
    _correctness("meta_correctness_medium_no_tool", "Accuracy at medium effort without tool"),
    _correctness("meta_correctness_high", "Better of the two accuracies at high effort"),
    _correctness("meta_correctness_high_with_tool", "Accuracy at high effort with tool"),
    _correctness("meta_correctness_high_no_tool", "Accuracy at high effort without tool"),
    _correctness("meta_correctness_own", "Accuracy under the row's own condition"),
    _correctness("meta_correctness_lcb", "Wilson 95 % lower bound of passes over attempts, all conditions pooled"),
    Column("meta_pass_k", INT, "Attempts under the best condition", "attempts", True),
    Column("meta_correct_count", INT, "Passes under the best condition", "attempts", True),
    Column("meta_eval_best_setting", STRING, "Name of the best condition", "", True),
    Column("meta_eval_json", STRING, "The whole evaluation block", "canonical JSON", True),
    Column("meta_expected_answer", STRING, "Answer the source holds to be right", "", True),
    Column("meta_tags", STRINGS, "Labels of the source, such as the kind of proof task"),
    Column("meta_problem_id", STRING, "Names the problem; many rows may share it", "", True),
    Column("meta_reasoning", STRING, "on or off, as the source marks it", "", True),
    Column("meta_capability_target", STRING, "What the row is meant to teach, as the source marks it", "", True),
    Column("quality_valid_harmony", BOOL, "text parses as Harmony, or as its Math-v2 dialect, without a fatal deviation"),
    Column("quality_completion_nonempty", BOOL, "Some assistant body holds a letter or digit"),
    Column("quality_has_tool", BOOL, "The assistant calls a tool or a tool answers"),
    Column("quality_valid_tool_schema", BOOL, "Every tool call satisfies the JSON schema of its tool, as far as that is known"),
    Column("quality_is_duplicate", BOOL, "Removed by deduplication; false in every kept row"),
    Column("quality_tags", STRINGS, "Soft labels: too_long, too_short, repetitive, dialect:…, json:…, nul"),
    Column("stats_char_len", INT, "Length of text", "code points"),
    Column("stats_approx_tokens", INT, "stats_char_len divided by 4, rounded down", "tokens, approximately"),
    Column("stats_messages", INT, "Messages in text, system and developer included", "messages"),
    Column("stats_tool_calls", INT, "Tool calls by the assistant", "calls"),
    Column("stats_repeat_ratio", FLOAT, "Share of the assistant bodies that repeats what stood earlier in them, estimated from 32-byte windows at places chosen by content", "share"),
    Column("source_uuid", STRING, "uuid of the source record", "", True),
    Column("source_license", STRING, "Licence of the source record", "", True),
    Column("source_used_in", STRINGS, "used_in of the source record"),
    Column("source_data_source", STRING, "data_source or source of the source record", "", True),
    Column("source_changed_answer_to_majority", BOOL, "The expected answer was replaced by the majority of the teacher's answers", "", True),
    Column("source_tools_id", STRING, "Key of the tool schemas in the tools catalog: sha1 of their canonical JSON; null without tools", "hex", True),
    Column("source_tools_count", INT, "Tools offered to the assistant", "tools"),
    Column("source_meta_json", STRING, "Every source field that is not messages, tools or ready-made text", "canonical JSON"),
    Column("source_revision", STRING, "Revision of the source where this content of the file first appeared", "40 hex"),
    Column("source_file", STRING, "Path of the file in the source repo"),
    Column("source_row", INT, "Line (JSONL) or row (Parquet) in the file, counted from 0", "rows"),
    Column("source_offset", INT, "Byte offset of the line in a JSONL file; null for Parquet", "bytes", True),
    Column("record_uid", UID, "blake2b-128 of dataset, subset, split, file path, file content and row: names one record for ever", "16 bytes"),
)  # fmt: skip

LEDGER_COLUMNS: tuple[Column, ...] = (
    Column("record_uid", UID, "Names one record for ever", "16 bytes"),
    Column("dataset", STRING, "Repo id of the source"),
    Column("split", STRING, "Split of the source"),
    Column("source_file", STRING, "Path of the file in the source repo"),
    Column("source_row", INT, "Line or row in the file, counted from 0", "rows"),
    Column("source_offset", INT, "Byte offset of the line in a JSONL file", "bytes", True),
    Column("id", STRING, "id of the row; null when rejected", "", True),
    Column("state", STRING, "kept, rejected or removed"),
    Column("code", STRING, "Why it was rejected or removed", "", True),
    Column("evidence", STRING, "What was measured, against which threshold, by which rule", "JSON", True),
    Column("survivor_uid", UID, "The row that stands for a removed one", "16 bytes", True),
    Column("similarity", FLOAT, "Similarity to the survivor on what is compared", "share", True),
)  # fmt: skip


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Arrow schema whose field metadata carry description and unit."""
    return pa.schema(
        [
            pa.field(c.name, c.type, nullable=c.nullable, metadata={"description": c.description, "unit": c.unit})
            for c in columns
        ]
    )


ROW_SCHEMA = arrow_schema(COLUMNS)
LEDGER_SCHEMA = arrow_schema(LEDGER_COLUMNS)
REJECTED_SCHEMA = arrow_schema((*LEDGER_COLUMNS[:6], *LEDGER_COLUMNS[8:10], Column("raw", pa.binary(), "The bytes of the record; null for a Parquet row, which is read at its place", "bytes", True)))  # fmt: skip
TOOLS_SCHEMA = arrow_schema((
    Column("source_tools_id", STRING, "sha1 of the canonical JSON of the tool schemas", "hex"),
    Column("tools_count", INT, "Tools in the list", "tools"),
    Column("tools_json", STRING, "The tool schemas as the source gives them", "canonical JSON"),
))  # fmt: skip

# Few values, many rows: a dictionary helps. In other columns it only costs a hash table while writing.
DICTIONARY_COLUMNS = [
    "dataset", "subset", "split", "loss_mode", "template", "meta_domain", "meta_difficulty_bin", "meta_eval_best_setting",
    "meta_reasoning", "meta_capability_target", "source_license", "source_data_source", "source_tools_id", "source_revision",
    "source_file", "meta_tags.list.element", "quality_tags.list.element", "source_used_in.list.element",
]  # fmt: skip

# Where a reader may skip row groups by value. In long text and in digests statistics only cost a comparison a row.
STATISTICS_COLUMNS = [
    c.name for c in COLUMNS
    if c.type in (INT, FLOAT, BOOL) or c.name in DICTIONARY_COLUMNS or c.name in ("id", "source_uuid", "meta_problem_id")
]  # fmt: skip

# Correctness belongs to a problem and its completion, not to a rendering of it: these are joined to rendered text.
CORRECTNESS_COLUMNS = [
    "meta_row_verified", *(c.name for c in COLUMNS if c.name.startswith("meta_correctness")), "meta_pass_k",
    "meta_correct_count", "meta_eval_best_setting", "meta_eval_json", "meta_expected_answer", "meta_problem_id",
]  # fmt: skip
