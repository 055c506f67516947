"""What names a record, a row and its content, and what these names do not depend on."""

import hashlib
from dataclasses import replace

import pytest

from nemo_assets.records.rows import SourceFileRef
from nemo_assets_tests.building import (
    CATALOG,
    CHAT_IF,
    LOW_MATH,
    MATH,
    MCQ,
    RENDERED,
    TOOL_CALLING,
    agentic,
    assistant,
    chat,
    math_v2,
    normalize_one,
    rendered,
    science,
    tool_call,
    user,
    with_source,
)


def test_a_uuid_that_names_the_row_is_its_id_and_content_stands_in_where_it_is_missing():
    assert normalize_one(science(), MCQ)["id"] == "science-1"
    for nothing in (None, ""):
        row = normalize_one(science(uuid=nothing), MCQ)
        assert row["id"] == row["content_sha1"]
    assert normalize_one(science(uuid=17), MCQ)["id"] == "17"


def test_a_uuid_that_names_the_problem_is_completed_by_twelve_hex_of_the_content():
    first = normalize_one(math_v2(), MATH)
    second = normalize_one(math_v2(messages=[user(), assistant("\\boxed{43}")]), MATH)
    assert first["id"] == f"problem-1-{first['content_sha1'][:12]}"
    assert first["id"] != second["id"]
    assert normalize_one(math_v2(uuid=None), MATH)["id"] == first["content_sha1"]


def test_ready_made_text_is_named_by_itself():
    text = normalize_one(math_v2(), MATH)["text"]
    row = normalize_one(rendered(text), RENDERED)
    assert row["id"] == row["text_sha1"] == hashlib.sha1(text.encode()).hexdigest()
    assert row["text"] == text  # byte for byte


@pytest.mark.parametrize(
    ("record", "key", "slug", "template"),
    [
        (math_v2(), MATH, "nemotron-math-v2", "harmony-1"),
        (science(uuid=None), MCQ, "nemotron-science-v1", "math-v2"),
        (agentic(), TOOL_CALLING, "nemotron-agentic-v1", "math-v2"),
    ],
)
def test_another_template_changes_the_text_and_neither_id_nor_content(record, key, slug, template):
    one = normalize_one(record, key)
    other = normalize_one(record, key, catalog=with_source(slug, template=template))
    assert one["text_sha1"] != other["text_sha1"]
    assert (one["id"], one["content_sha1"]) == (other["id"], other["content_sha1"])
    assert other["template"] == template


def test_equal_content_is_equal_whatever_split_and_source():
    high, low = normalize_one(math_v2(), MATH), normalize_one(math_v2(), LOW_MATH)
    assert high["text_sha1"] != low["text_sha1"]  # Reasoning: high, Reasoning: low
    assert high["content_sha1"] == low["content_sha1"]
    assert high["id"] == low["id"]
    same = normalize_one(science(messages=math_v2()["messages"]), MCQ)
    assert same["content_sha1"] == high["content_sha1"]


def test_the_system_prompt_is_no_content_and_every_other_turn_is():
    plain, french = chat(), chat()
    plain["messages"] = french["messages"][1:]
    one, other = normalize_one(plain, CHAT_IF), normalize_one(french, CHAT_IF)
    assert one["text_sha1"] != other["text_sha1"]
    assert one["content_sha1"] == other["content_sha1"]
    reasoned = normalize_one(chat(messages=[user("Good day!"), assistant("Bonjour !", "Hm.")]), CHAT_IF)
    assert reasoned["content_sha1"] != one["content_sha1"]


def test_the_rendered_call_has_the_content_of_the_call_it_was_rendered_from():
    code = tool_call("stateful_python_code_exec", '{"code": "print(6*7)"}')
    messages = [user(), assistant("", "Compute.", tool_calls=[code]), assistant()]
    row = normalize_one(math_v2(messages=messages), MATH)
    assert normalize_one(rendered(row["text"]), RENDERED)["content_sha1"] == row["content_sha1"]


def test_a_record_uid_names_file_content_and_row():
    file = SourceFileRef(CATALOG.split(MCQ), "data/MCQ.jsonl", "c" * 64, "1" * 40)
    named = f"nvidia/Nemotron-Science-v1\0default\0MCQ\0data/MCQ.jsonl\0{'c' * 64}\0" + "12"
    assert file.record_uid(12) == hashlib.blake2b(named.encode(), digest_size=16).digest()
    # Another revision with the same content of the file leaves the name as it is.
    assert replace(file, revision="2" * 40).record_uid(12) == file.record_uid(12)
    others = {
        file.record_uid(1),
        replace(file, content_id="d" * 64).record_uid(12),
        replace(file, path="x").record_uid(12),
    }
    assert len(others | {file.record_uid(12)}) == 4
