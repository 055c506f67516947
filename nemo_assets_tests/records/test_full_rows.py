"""One whole row of each source, every column, worked out from the record by hand."""

import hashlib
import re
from typing import Any

import pyarrow as pa
import pytest

from nemo_assets.records.schema import COLUMNS, LEDGER_SCHEMA, ROW_SCHEMA
from nemo_assets_tests.building import (
    CHAT_IF,
    LEAN,
    MATH,
    MCQ,
    RENDERED,
    TOOL_CALLING,
    agentic,
    chat,
    math_v2,
    normalize_one,
    proofs,
    rendered,
    science,
)

SYSTEM = (
    "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"
    "Knowledge cutoff: 2024-06\n\nReasoning: {effort}\n\n# Valid channels: analysis, commentary, final. "
    "Channel must be included for every message.{functions}<|end|>"
)
MATH_PROMPT = (
    SYSTEM.format(effort="high", functions="")
    + "<|start|>developer<|message|># Instructions\n\nYou will solve the problem and return the final answer "
    "in \\boxed{}. Do not guess the answer, unless specifically given permission to.<|end|>"
    "<|start|>user<|message|>What is 6 x 7?<|end|>"
)
MATH_TEXT = (
    MATH_PROMPT + "<|start|>assistant<|channel|>analysis<|message|>Six sevens.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>\\boxed{42}<|return|>"
)
PROOF_TEXT = (
    "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"
    "Knowledge cutoff: 2024-06\n\n# Task: Convert the user's math statement into Lean 4.<|end|>"
    "<|start|>developer<|message|># Instructions\n\nConvert the math problem into a Lean 4 theorem statement. "
    "Return Lean code only.<|end|><|start|>user<|message|>Prove that one is one.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>"
    "import Mathlib\n\ntheorem problem_7 : 1 = 1 := by sorry<|return|>"
)
SCIENCE_TEXT = (
    SYSTEM.format(effort="medium", functions="") + "<|start|>user<|message|>Which gas do plants take in?<|end|>"
    "<|start|>assistant<|channel|>analysis<|message|>Photosynthesis.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>The answer is (C).<|return|>"
)
AGENTIC_TEXT = (
    SYSTEM.format(effort="medium", functions="\nCalls to these tools must go to the commentary channel: 'functions'.")
    + "<|start|>developer<|message|># Tools\n\n## functions\n\nnamespace functions {\n\n// Runs weather.\n"
    "type weather = (_: {\ncity: string,\n}) => any;\n\n} // namespace functions<|end|>"
    "<|start|>user<|message|>Weather in Rome?<|end|>"
    "<|start|>assistant<|channel|>analysis<|message|>I look it up.<|end|>"
    "<|start|>assistant to=functions.weather<|channel|>commentary <|constrain|>json<|message|>"
    '{"city": "Rome"}<|call|>'
    '<|start|>functions.weather to=assistant<|channel|>commentary<|message|>{"sky": "clear"}<|end|>'
    "<|start|>assistant<|channel|>final<|message|>It is clear in Rome.<|return|>"
)
CHAT_TEXT = (
    SYSTEM.format(effort="low", functions="")
    + "<|start|>developer<|message|># Instructions\n\nAnswer in French.<|end|>"
    "<|start|>user<|message|>Good day!<|end|><|start|>assistant<|channel|>final<|message|>Bonjour !<|return|>"
)
TOOLS_JSON = (
    '[{"function": {"description": "Runs weather.", "name": "weather", "parameters": {"properties": '
    '{"city": {"type": "string"}}, "required": ["city"], "type": "object"}}, "type": "function"}]'
)


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def content(*turns: tuple[str | None, str | None, str | None, str]) -> str:
    """sha1 over (role, channel, recipient, body), each `<bytes>:<UTF-8>` or `-`."""
    fields = [field for turn in turns for field in turn]
    return sha1("".join("-" if field is None else f"{len(field.encode())}:{field}" for field in fields))


def spans(text: str) -> list[tuple[int, int]]:
    """The assistant bodies of a well-formed text, found without the project's parser."""
    assistant = re.compile(
        r"<\|start\|>assistant(?:(?!<\|message\|>).)*<\|message\|>(.*?)<\|(?:end|call|return)\|>", re.S
    )
    return [found.span(1) for found in assistant.finditer(text)]


def mask(text: str, mode: str = "assistant_all") -> str:
    return sha1(f"{mode}|0|" + ",".join(f"{start}-{end}" for start, end in spans(text)))


def uid(*fields: str) -> bytes:
    """blake2b-128 over dataset, subset, split, path and content id, each closed by a zero byte, and the row number."""
    return hashlib.blake2b(("\0".join(fields) + "\0" + "0").encode(), digest_size=16).digest()


def row(dataset: str, split: str, file: str, text: str, **columns: Any) -> dict[str, Any]:
    """A row about which nothing else is known, `columns` replacing what is; every column of the schema is here."""
    unknown = [
        "meta_difficulty_bin", "meta_row_verified", "meta_correctness", "meta_correctness_low",
        "meta_correctness_low_with_tool", "meta_correctness_low_no_tool", "meta_correctness_medium",
        "meta_correctness_medium_with_tool", "meta_correctness_medium_no_tool", "meta_correctness_high",
        "meta_correctness_high_with_tool", "meta_correctness_high_no_tool", "meta_correctness_own",
        "meta_correctness_lcb", "meta_pass_k", "meta_correct_count", "meta_eval_best_setting", "meta_eval_json",
        "meta_expected_answer", "meta_problem_id", "meta_reasoning", "meta_capability_target", "source_uuid",
        "source_license", "source_data_source", "source_changed_answer_to_majority", "source_tools_id",
    ]  # fmt: skip
    return dict.fromkeys(unknown) | {
        "dataset": dataset,
        "subset": "default",
        "split": split,
        "text": text,
        "loss_mode": "assistant_all",
        "text_sha1": sha1(text),
        "loss_terminators": False,
        "mask_sha1": mask(text),
        "meta_tags": [],
        "quality_valid_harmony": True,
        "quality_completion_nonempty": True,
        "quality_has_tool": False,
        "quality_valid_tool_schema": True,
        "quality_is_duplicate": False,
        "quality_tags": ["too_short"],  # every final answer here has fewer than 32 characters, but the Lean one
        "stats_char_len": len(text),
        "stats_tool_calls": 0,
        "stats_repeat_ratio": 0.0,
        "source_used_in": ["nano_v3"],
        "source_tools_count": 0,
        "source_revision": "1" * 40,
        "source_file": file,
        "source_row": 0,
        "source_offset": 0,
        "record_uid": uid(dataset, "default", split, file, "c" * 64),
        **columns,
    }


MATH_CONTENT = content(
    ("user", None, None, "What is 6 x 7?"),
    ("assistant", "analysis", None, "Six sevens."),
    ("assistant", "final", None, "\\boxed{42}"),
)
MATH_ROW = row(
    "nvidia/Nemotron-Math-v2",
    "high_part00",
    "data/high_part00.jsonl",
    MATH_TEXT,
    id=f"problem-1-{MATH_CONTENT[:12]}",
    template="math-v2",
    content_sha1=MATH_CONTENT,
    stats_loss_chars=11 + 10,  # "Six sevens." and "\boxed{42}"
    meta_domain="math",
    meta_difficulty_bin="high",
    meta_row_verified=True,  # its own condition, high effort without tool, has 5 passes
    meta_correctness=0.625,
    meta_correctness_high=0.625,
    meta_correctness_high_no_tool=0.625,
    meta_correctness_own=0.625,
    meta_correctness_lcb=pytest.approx(0.3057, abs=1e-4),  # 5 of 8: (0.625 + 0.2401 - 0.4126) / 1.4802
    meta_pass_k=8,
    meta_correct_count=5,
    meta_eval_best_setting="reason_high_no_tool",
    meta_eval_json='{"reason_high_no_tool":{"accuracy":0.625,"count":8,"pass":5}}',
    meta_expected_answer="42",
    meta_problem_id="problem-1",
    stats_approx_tokens=146,  # 587 characters
    stats_messages=5,  # system, developer, user, analysis, final
    source_uuid="problem-1",
    source_license="cc-by-4.0",
    source_data_source="AoPS",
    source_changed_answer_to_majority=False,
    source_meta_json='{"changed_answer_to_majority":false,"data_source":"AoPS","expected_answer":"42","license'
    '":"cc-by-4.0","metadata":{"reason_high_no_tool":{"accuracy":0.625,"count":8,"pass":5}},"'
    'original_expected_answer":null,"problem":"What is 6 x 7?","url":null,"used_in":["nano_v3'
    '"],"uuid":"problem-1"}',
)
PROOF_ROW = row(
    "nvidia/Nemotron-Math-Proofs-v1",
    "lean",
    "data/lean.jsonl",
    PROOF_TEXT,
    id="proof-1",
    template="proofs-statement",
    content_sha1=content(
        ("user", None, None, "Prove that one is one."),
        ("assistant", "final", None, "import Mathlib\n\ntheorem problem_7 : 1 = 1 := by sorry"),
    ),
    stats_loss_chars=14 + 2 + 37,
    meta_domain="proof",
    meta_tags=["statement"],
    meta_problem_id="problem_7",
    quality_tags=[],
    stats_approx_tokens=116,  # 466 characters
    stats_messages=4,
    source_uuid="proof-1",
    source_license="cc-by-4.0",
    source_used_in=[],
    source_data_source="aops",
    source_meta_json='{"formal_statement":"theorem problem_7 : 1 = 1 := by sorry","lean_header":"import Mathli'
    'b","license":"cc-by-4.0","problem":"Prove that one is one.","source":"aops","url":null,"'
    'used_in":[],"uuid":"proof-1"}',
)
SCIENCE_ROW = row(
    "nvidia/Nemotron-Science-v1",
    "MCQ",
    "data/MCQ.jsonl",
    SCIENCE_TEXT,
    id="science-1",
    template="harmony-1",
    content_sha1=content(
        ("user", None, None, "Which gas do plants take in?"),
        ("assistant", "analysis", None, "Photosynthesis."),
        ("assistant", "final", None, "The answer is (C)."),
    ),
    stats_loss_chars=15 + 18,
    meta_domain="science",
    stats_approx_tokens=107,  # 430 characters
    stats_messages=4,  # no developer message: neither instructions nor tools
    source_uuid="science-1",
    source_license="cc-by-4.0",
    source_meta_json='{"license":"cc-by-4.0","used_in":["nano_v3"],"uuid":"science-1"}',
)
AGENTIC_ROW = row(
    "nvidia/Nemotron-Agentic-v1",
    "tool_calling",
    "data/tool_calling.jsonl",
    AGENTIC_TEXT,
    id="agentic-1",
    template="harmony-1",
    content_sha1=content(
        ("user", None, None, "Weather in Rome?"),
        ("assistant", "analysis", None, "I look it up."),
        ("assistant", "commentary", "weather", '{"city": "Rome"}'),
        ("tool", None, None, '{"sky": "clear"}'),
        ("assistant", "final", None, "It is clear in Rome."),
    ),
    stats_loss_chars=13 + 16 + 20,
    meta_domain="agentic",
    quality_has_tool=True,
    stats_approx_tokens=216,  # 864 characters
    stats_messages=7,
    stats_tool_calls=1,
    source_uuid="agentic-1",
    source_license="cc-by-4.0",
    source_tools_id=sha1(TOOLS_JSON),
    source_tools_count=1,
    source_meta_json='{"license":"cc-by-4.0","used_in":["nano_v3"],"uuid":"agentic-1"}',
)
CHAT_ROW = row(
    "nvidia/Nemotron-Instruction-Following-Chat-v1",
    "chat_if",
    "data/chat_if.jsonl",
    CHAT_TEXT,
    id="chat-1",
    template="harmony-1",
    content_sha1=content(("user", None, None, "Good day!"), ("assistant", "final", None, "Bonjour !")),
    stats_loss_chars=9,
    meta_domain="chat_if",
    meta_reasoning="off",
    meta_capability_target="chat",
    stats_approx_tokens=99,  # 398 characters
    stats_messages=4,
    source_uuid="chat-1",
    source_license="odc-by-1.0",
    source_meta_json='{"capability_target":"chat","license":"odc-by-1.0","reasoning":"off","used_in":["nano_v3'
    '"],"uuid":"chat-1"}',
)
RENDERED_ROW = row(
    "radna0/nemotron-math-v2-harmony-tools",
    "high_part00",
    "data/high_part00-00000-of-00001.parquet",
    MATH_TEXT,
    id=sha1(MATH_TEXT),
    template="as-published",
    content_sha1=MATH_CONTENT,  # the same content as the Math-v2 row it was rendered from
    stats_loss_chars=21,
    meta_domain="math",
    meta_difficulty_bin="high",
    stats_approx_tokens=146,
    stats_messages=5,
    source_used_in=[],
    source_meta_json="{}",
    source_offset=None,  # rows of Parquet files have no byte offset
)
EVALUATED = {"reason_high_no_tool": {"count": 8, "pass": 5, "accuracy": 0.625}}

CASES = [
    (math_v2(metadata=EVALUATED), MATH, MATH_ROW),
    (proofs(), LEAN, PROOF_ROW),
    (science(), MCQ, SCIENCE_ROW),
    (agentic(), TOOL_CALLING, AGENTIC_ROW),
    (chat(), CHAT_IF, CHAT_ROW),
    (rendered(MATH_TEXT), RENDERED, RENDERED_ROW),
]


@pytest.mark.parametrize(("record", "key", "expected"), CASES, ids=[key for _, key, _ in CASES])
def test_every_column_of_a_row(record, key, expected):
    assert normalize_one(record, key) == expected
    assert set(expected) == set(ROW_SCHEMA.names)


@pytest.mark.parametrize(("record", "key", "expected"), CASES, ids=[key for _, key, _ in CASES])
def test_a_row_fits_the_schema_and_null_stands_only_where_it_may(record, key, expected):
    table = pa.Table.from_pylist([normalize_one(record, key)], schema=ROW_SCHEMA)
    table.validate(full=True)
    assert [field.name for field in ROW_SCHEMA if not field.nullable and table[field.name].null_count] == []


def test_every_column_says_what_it_means_and_in_what_unit():
    for schema in (ROW_SCHEMA, LEDGER_SCHEMA):
        for field in schema:
            assert len(field.metadata[b"description"]) > 10, field.name
            assert b"unit" in field.metadata, field.name
    units = {field.name: field.metadata[b"unit"].decode() for field in ROW_SCHEMA}
    assert units["stats_char_len"] == units["stats_loss_chars"] == "code points"
    assert units["source_offset"] == "bytes"
    assert units["meta_correctness_lcb"] == "share of attempts"
    assert "effort" in ROW_SCHEMA.field("meta_difficulty_bin").metadata[b"description"].decode()


def test_columns_are_named_once():
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
