"""What one would otherwise write: a loop of json, f-strings, sha1 and `in`, and a Parquet writer.

Half of the canonical columns of Math-v2, made as well as such a script usually makes them. It skips what does not
parse, checks no tool call and keeps no ledger. On sound records its columns have the values that `normalize` gives,
but for `id`, which it takes from the text, and `has_code_fence`, which is its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.sample.math_v2 import DATASET
from nemo_assets_tests.benchmarks.amplified_source import PATH, SPLIT

ROW_GROUP_ROWS = 4_000
SYSTEM = (
    "You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\n\n"
    f"Reasoning: {SPLIT}\n\n# Valid channels: analysis, commentary, final. Channel must be included for every message."
)
DEVELOPER = (
    "# Instructions\n\nYou will solve the problem and return the final answer in \\boxed{}. "
    "Do not guess the answer, unless specifically given permission to."
)
PROMPT = f"<|start|>system<|message|>{SYSTEM}<|end|><|start|>developer<|message|>{DEVELOPER}<|end|>"
SPECIAL_TOKENS = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|constrain|>")


def write_plainly(source: Path, content_id: str, out: Path) -> None:
    """Write the rows of a JSONL file, whose sha256 is `content_id`, to one Parquet file."""
    writer, rows = None, []
    for row in plain_rows(source, content_id):
        rows.append(row)
        if len(rows) == ROW_GROUP_ROWS:
            table, rows = pa.Table.from_pylist(rows), []
            writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
            writer.write_table(table)
    if not rows and writer:
        writer.close()
        return
    table = pa.Table.from_pylist(rows)
    writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
    writer.write_table(table)
    writer.close()


def plain_rows(source: Path, content_id: str) -> Iterator[dict[str, Any]]:
    """A row for every line that parses."""
    with source.open("rb") as file:
        for number, line in enumerate(file):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            yield plain_row(record, number, content_id)


def plain_row(record: dict[str, Any], number: int, content_id: str) -> dict[str, Any]:
    """Rendered text, identity, flags and the fields at hand."""
    bodies, text = render_plainly(record["messages"])
    text_sha1 = hashlib.sha1(text.encode()).hexdigest()
    place = f"{DATASET}\0default\0{SPLIT}\0{PATH}\0{content_id}\0{number}"
    evaluation = {name: block["accuracy"] for name, block in record["metadata"].items()}
    best = max(evaluation, key=evaluation.__getitem__)
    other = {key: value for key, value in record.items() if key not in ("messages", "tools")}
    return {
        "id": f"{record['uuid']}-{text_sha1[:12]}",
        "dataset": DATASET,
        "subset": "default",
        "split": SPLIT,
        "text": text,
        "template": "math-v2",
        "text_sha1": text_sha1,
        "record_uid": hashlib.blake2b(place.encode(), digest_size=16).digest(),
        "meta_domain": "math",
        "meta_difficulty_bin": SPLIT,
        "meta_correctness": evaluation[best],
        "meta_correctness_low_no_tool": evaluation.get("reason_low_no_tool"),
        "meta_correctness_medium_no_tool": evaluation.get("reason_medium_no_tool"),
        "meta_correctness_high_no_tool": evaluation.get("reason_high_no_tool"),
        "meta_pass_k": record["metadata"][best]["count"],
        "meta_correct_count": record["metadata"][best]["pass"],
        "meta_expected_answer": record["expected_answer"],
        "meta_problem_id": record["uuid"],
        "quality_valid_harmony": not any(token in body for body in bodies for token in SPECIAL_TOKENS),
        "quality_completion_nonempty": "<|channel|>final<|message|>" in text,
        "quality_has_tool": "<|call|>" in text,
        "has_code_fence": "```" in text,
        "stats_char_len": len(text),
        "stats_approx_tokens": len(text) // 4,
        "stats_messages": text.count("<|message|>"),
        "stats_tool_calls": text.count("<|call|>"),
        "source_uuid": record["uuid"],
        "source_license": record["license"],
        "source_used_in": record["used_in"],
        "source_data_source": record["data_source"],
        "source_tools_count": len(record["tools"]),
        "source_meta_json": json.dumps(other, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
        "source_file": PATH,
        "source_row": number,
    }


def render_plainly(messages: list[dict[str, Any]]) -> tuple[list[str], str]:
    """The bodies that come from the record, and Harmony text in the dialect of the template `math-v2`."""
    bodies, parts = [], [PROMPT]
    for message in messages:
        role, content = message["role"], message["content"]
        reasoning = message.get("reasoning_content")
        if reasoning and not reasoning.isspace():
            bodies.append(reasoning)
            parts.append(f"<|start|>assistant<|channel|>analysis<|message|>{reasoning}<|end|>")
        for call in message.get("tool_calls") or []:
            code = json.loads(call["function"]["arguments"])["code"]
            bodies.append(code)
            parts.append(f"<|start|>assistant to=python<|channel|>analysis<|message|>{code}<|call|>")
        if content and not content.isspace():
            bodies.append(content)
            if role == "assistant":
                parts.append(f"<|start|>assistant<|channel|>final<|message|>{content}<|end|>")
            elif role == "tool":
                parts.append(f"<|start|>{message['name']}<|channel|>commentary<|message|>{content}<|end|>")
            else:
                parts.append(f"<|start|>{role}<|message|>{content}<|end|>")
    return bodies, "".join(parts).removesuffix("<|end|>") + "<|return|>"
