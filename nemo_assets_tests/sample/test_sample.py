"""The bundled sample: reproducible, complete, and its TRUTH.json true at the level of bytes and JSON."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from nemo_assets.sample import HUB
from nemo_assets.sample.generate import generate

TRUTH: dict[str, Any] = json.loads((HUB / "TRUTH.json").read_text(encoding="utf-8"))
PLANTED: list[dict[str, Any]] = TRUTH["planted"]

SPLITS = {
    "nvidia/Nemotron-Math-v2": {
        "low": "data/low.jsonl",
        "medium": "data/medium.jsonl",
        "high_part00": "data/high.part_00.jsonl",
        "high_part01": "data/high.part_01.jsonl",
        "high_part02": "data/high.part_02.jsonl",
    },
    "nvidia/Nemotron-Math-Proofs-v1": {"lean": "data/lean.jsonl"},
    "nvidia/Nemotron-Science-v1": {"MCQ": "data/MCQ.jsonl", "RQA": "data/RQA.jsonl"},
    "nvidia/Nemotron-Agentic-v1": {
        "interactive_agent": "data/interactive_agent.jsonl",
        "tool_calling": "data/tool_calling.jsonl",
    },
    "nvidia/Nemotron-Instruction-Following-Chat-v1": {
        "chat_if": "data/chat_if.jsonl",
        "structured_outputs": "data/structured_outputs.jsonl",
    },
    "radna0/nemotron-math-v2-harmony-tools": {
        split: f"data/{split}-*.parquet" for split in ("low", "medium", "high_part00", "high_part01", "high_part02")
    },
}
DROP_CODES = {
    "unparseable",
    "not_an_object",
    "no_messages",
    "invalid_harmony",
    "special_token_in_content",
    "empty_completion",
    "invalid_tool_schema",
    "exact_duplicate",
    "near_duplicate",
}
SPECIAL = re.compile(r"<\|[a-z]+\|>")
WORDS = re.compile(r"\\[a-zA-Z]+|[a-zA-Z]+|\d+|[^\sA-Za-z0-9]")


def physical_records(path: Path) -> list[Any]:
    """Lines as bytes, a last empty one after the final line end not counted; or the texts of a Parquet file."""
    if path.suffix == ".parquet":
        return list(pq.read_table(path)["text"].to_pylist())
    lines = path.read_bytes().split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


RECORDS = {file: physical_records(HUB / file) for file in TRUTH["records"]}


def parse_class(line: bytes) -> str:
    """What a plain reader meets: an object, a value that is none, or a reason why the line cannot be read."""
    try:
        text = line.decode().removeprefix("\ufeff")
        if depth_of(text) > 1_000:
            return "too deep"
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "lone surrogate"
    except UnicodeDecodeError:
        return "invalid utf-8"
    except json.JSONDecodeError:
        return "broken" if text.strip() else "blank"
    return "object" if isinstance(value, dict) else "not an object"


def depth_of(text: str) -> int:
    """Brackets open at once, strings left out."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    steps = (1 if sign in "[{" else -1 for sign in bare if sign in "[]{}")
    return max(itertools.accumulate(steps), default=0)


def planted(kind: str, suffix: str = ".jsonl") -> list[dict[str, Any]]:
    found = [entry for entry in PLANTED if entry["kind"] == kind and entry["file"].endswith(suffix)]
    assert found, f"nothing planted as {kind}"
    return found


def record_at(place: dict[str, Any]) -> Any:
    """The object at a place of TRUTH.json, or the text of a Parquet row."""
    body = RECORDS[place["file"]][place["row"]]
    return json.loads(body.decode().removeprefix("\ufeff")) if isinstance(body, bytes) else body


def sound_records(dataset: str) -> list[dict[str, Any]]:
    listed = {(entry["file"], entry["row"]) for entry in PLANTED}
    return [
        json.loads(body)
        for file, records in RECORDS.items()
        if file.startswith(dataset)
        for row, body in enumerate(records)
        if (file, row) not in listed
    ]


def compared_text(body: dict[str, Any] | str) -> str:
    """What duplicates are judged by: everything but the system and developer turns."""
    if isinstance(body, str):
        return body[body.find("<|start|>user") :]
    if not body["messages"]:
        return f"{body['problem']}\n{body['formal_statement']}"
    return json.dumps([message for message in body["messages"] if message["role"] != "system"], ensure_ascii=False)


def test_generating_again_gives_the_bundled_tree(tmp_path: Path) -> None:
    generate(tmp_path)
    names = sorted(path.relative_to(HUB).as_posix() for path in HUB.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    for name in names:
        if name.endswith(".parquet"):  # the bytes depend on the version of the writer
            assert pq.read_table(HUB / name).equals(pq.read_table(tmp_path / name), check_metadata=True), name
        else:
            assert (HUB / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_tree_has_exactly_the_seventeen_splits_and_stays_small() -> None:
    for dataset, splits in SPLITS.items():
        _, front_matter, _ = (HUB / dataset / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        (config,) = yaml.safe_load(front_matter)["configs"]
        assert {item["split"]: item["path"] for item in config["data_files"]} == splits
        on_disk = {path.relative_to(HUB / dataset).as_posix() for path in (HUB / dataset / "data").iterdir()}
        matched = [
            path.relative_to(HUB / dataset).as_posix()
            for glob in splits.values()
            for path in (HUB / dataset).glob(glob)
        ]
        assert sorted(matched) == sorted(on_disk)
    assert sum(len(splits) for splits in SPLITS.values()) == 17
    assert sum(path.stat().st_size for path in HUB.rglob("*") if path.is_file()) < 2_000_000


def test_every_drop_code_occurs_and_states_fit_codes() -> None:
    assert {entry["code"] for entry in PLANTED if entry["code"]} == DROP_CODES
    for entry in PLANTED:
        duplicate = str(entry["code"]).endswith("_duplicate")
        expected = "removed" if duplicate else "rejected" if entry["code"] else "kept"
        assert entry["state"] == expected, entry
        assert (entry["of"] is not None) == (duplicate or entry["kind"] == "template_sibling"), entry


def test_the_counts_of_records_are_the_physical_ones() -> None:
    assert {file: len(records) for file, records in RECORDS.items()} == TRUTH["records"]
    assert 400 <= sum(TRUTH["records"].values()) <= 520


def test_lines_that_cannot_be_read_are_exactly_those_listed() -> None:
    listed = {(entry["file"], entry["row"]): entry["code"] for entry in PLANTED}
    for file, records in RECORDS.items():
        for row, line in enumerate(records):
            if isinstance(line, bytes):
                kind = parse_class(line)
                expected = {"object": False, "not an object": "not_an_object"}.get(kind, "unparseable")
                code = listed.get((file, row))
                assert (code if code in ("unparseable", "not_an_object") else False) == expected, (file, row, kind)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("broken_json_line", "broken"),
        ("truncated_last_line", "broken"),
        ("invalid_utf8", "invalid utf-8"),
        ("blank_line", "blank"),
        ("lone_surrogate_escape", "lone surrogate"),
        ("nested_beyond_limit", "too deep"),
        ("non_object_row", "not an object"),
    ],
)
def test_a_line_is_unreadable_for_the_reason_named(kind: str, found: str) -> None:
    assert {parse_class(RECORDS[entry["file"]][entry["row"]]) for entry in planted(kind)} == {found}


def test_a_truncated_line_is_the_last_one_and_has_no_line_end() -> None:
    for entry in planted("truncated_last_line"):
        assert entry["row"] == TRUTH["records"][entry["file"]] - 1
        assert not (HUB / entry["file"]).read_bytes().endswith(b"\n")


def test_odd_but_kept_lines_hold_what_their_kind_says() -> None:
    marks = {
        "bom_at_file_start": rb"^\xef\xbb\xbf\{",
        "nan_literal": rb": NaN",
        "infinity_literal": rb": -Infinity",
        "nul_escape": rb"\\u0000",
        "unicode_line_separator": rb"\xe2\x80\xa8",
        "huge_integer": rb":-?\d{20,}",
        "too_long": rb"^.{400001,}$",
        "long_context": rb"^.{40001,}$",
        "metadata_text": rb'"metadata": "\{',
    }
    for kind, mark in marks.items():
        for entry in planted(kind):
            assert re.search(mark, RECORDS[entry["file"]][entry["row"]]), kind
    assert {entry["row"] for entry in planted("bom_at_file_start")} == {0}


def test_rejected_objects_show_the_defect() -> None:
    for entry in PLANTED:
        if entry["state"] != "rejected" or entry["file"].endswith(".parquet"):
            continue
        if entry["code"] in ("unparseable", "not_an_object"):
            continue
        record = record_at(entry)
        bodies = [m for m in record["messages"] or () if m.get("role") == "assistant"]
        spoken = "".join(f"{m['content']}{m.get('reasoning_content') or ''}" for m in bodies if not m.get("tool_calls"))
        match entry["code"]:
            case "no_messages":
                assert not record["messages"]
            case "invalid_harmony":
                assert any("role" not in message for message in record["messages"])
            case "special_token_in_content":
                assert SPECIAL.search(json.dumps(record["messages"]))
            case "empty_completion":
                assert not any(letter.isalnum() for letter in spoken)
            case "invalid_tool_schema":
                calls = [call for m in bodies for call in m.get("tool_calls") or ()]
                with pytest.raises(json.JSONDecodeError):
                    json.loads(calls[0]["function"]["arguments"])


def test_removed_rows_equal_the_row_they_copy() -> None:
    for entry in PLANTED:
        if entry["code"] == "exact_duplicate":
            assert compared_text(record_at(entry)) == compared_text(record_at(entry["of"])), entry
    for entry in planted("exact_duplicate_line"):
        assert RECORDS[entry["file"]][entry["row"]] == RECORDS[entry["of"]["file"]][entry["of"]["row"]]


def shingles(text: str) -> set[int]:
    """Hashes of five tokens in a row: words, numbers and every operator are tokens."""
    tokens = WORDS.findall(text.lower())
    return {hash(tuple(tokens[at : at + 5])) for at in range(max(1, len(tokens) - 4))}


def test_planted_near_duplicates_are_near_and_nothing_else_is() -> None:
    gone = {(entry["file"], entry["row"]): entry for entry in PLANTED if entry["state"] != "kept"}
    sets: dict[tuple[str, int], set[int]] = {}
    for file, records in RECORDS.items():
        for row, body in enumerate(records):
            if (file, row) not in gone and body is not None and len(body) < 20_000:
                sets[file, row] = shingles(compared_text(record_at({"file": file, "row": row})))
    for entry in planted("near_duplicate", ""):
        mine, other = (shingles(compared_text(record_at(place))) for place in (entry, entry["of"]))
        assert 0.85 < len(mine & other) / len(mine | other) < 1
    for scope in ("nvidia/", "radna0/"):
        for one, two in itertools.combinations([key for key in sets if key[0].startswith(scope)], 2):
            shared = len(sets[one] & sets[two])
            assert shared < 0.75 * (len(sets[one]) + len(sets[two]) - shared), (one, two)


def test_sound_math_rows_passed_under_their_own_condition() -> None:
    for file, effort in (("low", "low"), ("medium", "medium"), ("high", "high")):
        for record in sound_records(f"nvidia/Nemotron-Math-v2/data/{file}"):
            own = f"reason_{effort}_{'with' if record['tools'] else 'no'}_tool"
            block = record["metadata"][own]
            assert block["count"] == 8
            assert block["pass"] >= 1
            assert block["accuracy"] == block["pass"] / 8
            assert f"\\boxed{{{record['expected_answer']}}}" in record["messages"][-1]["content"]


def test_several_trajectories_share_a_problem() -> None:
    problems = Counter(record["uuid"] for record in sound_records("nvidia/Nemotron-Math-v2/data/low"))
    problems.update(record["uuid"] for record in sound_records("nvidia/Nemotron-Math-v2/data/medium"))
    assert sum(count > 1 for count in problems.values()) >= 5
    assert all("uuid" not in record for record in sound_records("nvidia/Nemotron-Math-v2/data/high"))


def test_rendered_rows_carry_the_bodies_of_the_row_they_render() -> None:
    checked = 0
    for file, places in TRUTH["rendered_from"].items():
        for row, place in enumerate(places):
            if place is None:
                continue
            text, messages = RECORDS[file][row], record_at(place)["messages"]
            bodies = [message["content"] for message in messages if message["content"].strip()]
            codes = [
                json.loads(call["function"]["arguments"])["code"]
                for m in messages
                for call in m.get("tool_calls") or ()
            ]
            assert all(body in text for body in [*bodies, *codes])
            assert text.endswith("<|return|>")
            assert text.count("<|call|>") == len(codes)
            checked += 1
    assert checked > 60


def test_dialects_and_broken_texts_hold_what_their_kind_says() -> None:
    marks = {
        "python_tool_name": "<|start|>python<|channel|>commentary<|message|>",
        "native_call_header": "<|start|>assistant<|channel|>analysis to=python code<|message|>",
        "channel_less_final": "<|start|>assistant<|message|>",
        "stray_end": "<|end|><|end|>",
        "header_without_message": "<|start|>userSolve",
        "role_missing": "<|start|><|message|>",
        "start_missing": "<|end|>assistant<|channel|>final",
        "junk_between_messages": "<|end|>\n",
        "special_token_in_final": "<|endoftext|><|return|>",
        "nul_character": "<|channel|>final<|message|>\x00",
        "final_without_body": "<|channel|>final<|message|><|return|>",
    }
    for kind, mark in marks.items():
        assert all(mark in record_at(entry) for entry in planted(kind, ".parquet")), kind
    for kind in ("cut_inside_terminator", "final_without_terminator"):
        assert not any(record_at(entry).endswith("|>") for entry in planted(kind, ".parquet"))
    assert all(record_at(entry) is None for entry in planted("null_text", ".parquet"))


def test_no_two_sound_rows_have_equal_content() -> None:
    seen: dict[str, tuple[str, int]] = {}
    removed = {(entry["file"], entry["row"]) for entry in PLANTED if entry["state"] != "kept"}
    for file, records in RECORDS.items():
        for row in range(len(records)):
            if (file, row) not in removed:
                text = compared_text(record_at({"file": file, "row": row}))
                digest = f"{file.partition('/')[0]} {hashlib.sha1(text.encode()).hexdigest()}"
                assert digest not in seen, (file, row, seen[digest])
                seen[digest] = (file, row)
