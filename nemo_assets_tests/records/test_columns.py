"""The columns that all sources share: loss mask, quality, statistics, provenance."""

import hashlib
import json

import pytest

from nemo_assets.harmony import loss_spans_of_text, mask_sha1
from nemo_assets_tests.building import (
    CHAT_IF,
    LEAN,
    MATH,
    MCQ,
    RENDERED,
    TOOL_CALLING,
    agentic,
    assistant,
    chat,
    math_v2,
    normalize_one,
    proofs,
    rendered,
    science,
    tool,
    tool_call,
    user,
    with_source,
)

HEAD = "<|start|>user<|message|>What?<|end|>"
DONE = "<|start|>assistant<|channel|>final<|message|>" + "An answer of more than 31 characters." + "<|return|>"


def answered(final: str, reasoning: str | None = None, prompt: str = "What?") -> dict:
    return normalize_one(science(messages=[user(prompt), assistant(final, reasoning)]), MCQ)


# --- loss mask ---


@pytest.mark.parametrize(
    ("mode", "terminators", "spans"),
    [
        # A header `<|start|>user<|message|>` has 24 code points, that of a final answer 45, `<|end|>` 7:
        # 24 + 2 + 7 + 45 = 78 for "one", then 81 + 7 + 24 + 2 + 7 + 45 = 166 for "two".
        ("assistant_all", False, "78-81,166-169"),
        ("assistant_last", False, "166-169"),
        ("assistant_all", True, "78-88,166-179"),  # through `<|end|>` and `<|return|>`
        ("assistant_last", True, "166-179"),
        ("assistant_sampled", False, "51-88,139-179"),  # from behind `<|start|>assistant`, 18 code points
    ],
)
def test_the_mask_digest_names_mode_terminators_and_spans(mode, terminators, spans):
    opening = "<|start|>assistant<|channel|>final<|message|>"
    text = (
        f"<|start|>user<|message|>é?<|end|>{opening}one<|end|><|start|>user<|message|>a?<|end|>{opening}two<|return|>"
    )
    catalog = with_source("nemotron-math-v2-harmony-tools", loss_mode=mode, loss_terminators=terminators)
    row = normalize_one(rendered(text), RENDERED, catalog=catalog)
    ends = [tuple(map(int, span.split("-"))) for span in spans.split(",")]
    assert row["mask_sha1"] == hashlib.sha1(f"{mode}|{int(terminators)}|{spans}".encode()).hexdigest()
    assert row["stats_loss_chars"] == sum(end - start for start, end in ends)


@pytest.mark.parametrize("terminators", [False, True])
@pytest.mark.parametrize("mode", ["assistant_all", "assistant_last", "assistant_sampled"])
def test_the_mask_of_a_row_that_was_rendered_is_that_of_its_text(mode, terminators):
    catalog = with_source("nemotron-science-v1", loss_mode=mode, loss_terminators=terminators)
    messages = [user("é?"), assistant("one", "why"), user("a?"), assistant("two", "“so”")]
    row = normalize_one(science(messages=messages), MCQ, catalog=catalog)
    spans = loss_spans_of_text(row["text"], mode, terminators)
    assert row["mask_sha1"] == mask_sha1(mode, terminators, spans)
    assert row["stats_loss_chars"] == sum(end - start for start, end in spans) > 0
    assert (row["loss_mode"], row["loss_terminators"]) == (mode, terminators)


# --- quality ---


def test_an_answer_of_31_characters_is_too_short_and_one_of_32_is_not():
    assert answered("a" * 31)["quality_tags"] == ["too_short"]
    assert answered("a" * 32)["quality_tags"] == []
    assert answered(" " + "a" * 31 + "\n")["quality_tags"] == ["too_short"]  # blanks around it do not count
    assert answered("a", "r" * 100)["quality_tags"] == ["too_short"]  # nor does reasoning


def test_a_conversation_without_a_final_answer_is_not_too_short():
    messages = [user(), assistant("", None, tool_calls=[tool_call("f", {})])]
    assert normalize_one(agentic(messages=messages), TOOL_CALLING)["quality_tags"] == []


def test_text_of_400000_code_points_is_not_too_long_and_one_more_is():
    around = answered("a" * 32, prompt="x")["stats_char_len"] - 1
    assert answered("a" * 32, prompt="é" * (400_000 - around))["quality_tags"] == []
    longer = answered("a" * 32, prompt="é" * (400_001 - around))
    assert longer["quality_tags"] == ["too_long"]
    assert (longer["stats_char_len"], longer["stats_approx_tokens"]) == (400_001, 100_000)


def test_repeats_are_measured_over_all_assistant_bodies_and_nothing_else():
    once = " ".join(f"step {n} gives {n * n}," for n in range(200))
    assert answered(once)["stats_repeat_ratio"] == 0.0
    assert answered(once, once)["stats_repeat_ratio"] == pytest.approx(0.5, abs=0.02)
    assert answered(once, prompt=once)["stats_repeat_ratio"] == 0.0  # the user's words are not counted
    assert answered(once, once)["quality_tags"] == []
    thrice = answered(once + once, once)
    assert thrice["stats_repeat_ratio"] == pytest.approx(2 / 3, abs=0.03)
    assert thrice["quality_tags"] == ["repetitive"]


def test_oddities_of_the_line_are_tags_of_the_row():
    line = b"\xef\xbb\xbf" + json.dumps(science(extra=[float("nan"), 2**70], more="\0")).encode()
    tags = normalize_one(line, MCQ)["quality_tags"]
    assert tags == ["json:byte_order_mark", "json:nonfinite_number", "json:big_integer", "nul", "too_short"]


def test_a_nul_stays_and_is_tagged_once_wherever_it_hides():
    direct = answered("a\0b" + "c" * 40)
    assert "a\0b" in direct["text"]
    assert direct["quality_tags"] == ["nul"]
    # Escaped twice: the line does not show it, the rendered code holds it.
    code = tool_call("python", '{"code": "a\\u0000b"}')
    nested = normalize_one(math_v2(messages=[user(), assistant("", None, tool_calls=[code])]), MATH)
    assert "a\0b" in nested["text"]
    assert nested["quality_tags"] == ["nul"]
    assert normalize_one(rendered(HEAD.replace("?", "\0") + DONE), RENDERED)["quality_tags"] == ["nul"]
    for extra, tags in (
        ({"a": "\0"}, ["nul"]),
        ({"\0": 1}, ["nul"]),
        ({"a": "\\u0000"}, []),
    ):  # the last one: spelled out
        assert normalize_one(math_v2(extra=extra, messages=[user(), assistant("a" * 32)]), MATH)["quality_tags"] == tags


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (HEAD + DONE.replace("<|channel|>final", ""), "dialect:channel_less_final"),
        (
            HEAD + "<|start|>assistant<|channel|>analysis to=python code<|message|>1<|call|>" + DONE,
            "dialect:native_call_header",
        ),
        (
            HEAD
            + "<|start|>assistant to=python<|channel|>analysis<|message|>1<|call|>"
            + "<|start|>python<|channel|>commentary<|message|>1<|end|>"
            + DONE,
            "dialect:python_tool_name",
        ),
        (
            HEAD + "<|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|>" + DONE,
            "dialect:tool_result_without_call",
        ),
    ],
)
def test_dialects_of_ready_made_text_are_kept_and_tagged(text, tag):
    row = normalize_one(rendered(text), RENDERED)
    assert row["quality_tags"] == [tag]
    assert row["text"] == text


def test_a_result_of_an_unknown_tool_is_tagged():
    messages = [user(), {"role": "tool", "content": "1"}, assistant("a" * 32)]
    assert normalize_one(agentic(messages=messages), TOOL_CALLING)["quality_tags"] == ["dialect:unnamed_tool_result"]


@pytest.mark.parametrize(
    ("messages", "has_tool", "calls"),
    [
        ([user(), assistant("", None, tool_calls=[tool_call("f", {}), tool_call("g", {}, "2")])], True, 2),
        ([user(), {"role": "tool", "content": "1"}, assistant()], True, 0),
        ([user(), assistant()], False, 0),  # tools are offered and not used
    ],
)
def test_a_row_has_tools_when_one_is_called_or_answers(messages, has_tool, calls):
    row = normalize_one(agentic(messages=messages), TOOL_CALLING)
    assert (row["quality_has_tool"], row["stats_tool_calls"]) == (has_tool, calls)
    assert row["source_tools_count"] == 1


@pytest.mark.parametrize(
    ("name", "arguments", "valid"),
    [
        ("weather", {"city": "Rome"}, True),
        ("weather", '{"city": 7}', False),  # JSON, and against the schema: kept
        ("weather", {}, False),  # city is required
        ("unknown", {"anything": 1}, True),  # no schema to judge by
    ],
)
def test_arguments_that_break_the_schema_are_kept_and_flagged(name, arguments, valid):
    messages = [user(), assistant("", None, tool_calls=[tool_call(name, arguments)])]
    assert normalize_one(agentic(messages=messages), TOOL_CALLING)["quality_valid_tool_schema"] is valid


def test_a_schema_that_is_itself_broken_is_tagged_and_judges_nobody():
    messages = [user(), assistant("", None, tool_calls=[tool_call("weather", {"city": 7})])]
    tools = [tool("weather", {"type": "object", "properties": {"city": {"type": "no such type"}}})]
    row = normalize_one(agentic(messages=messages, tools=tools), TOOL_CALLING)
    assert row["quality_valid_tool_schema"] is True
    assert row["quality_tags"] == ["dialect:broken_schema"]


def test_arguments_that_are_no_json_reject_the_record():
    messages = [user(), assistant("", None, tool_calls=[tool_call("weather", "{city}")])]
    assert normalize_one(agentic(messages=messages), TOOL_CALLING).code == "invalid_tool_schema"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [([user()], "no_assistant_content"), ([user(), assistant("", "")], "no_assistant_content"),
     ([user(), assistant("…!?", " .")], "no_letter_or_digit")],
)  # fmt: skip
def test_an_empty_completion_is_rejected_or_on_demand_kept_and_flagged(messages, reason):
    record = science(messages=messages)
    refused = normalize_one(record, MCQ)
    assert (refused.code, refused.evidence["reason"]) == ("empty_completion", reason)
    kept = normalize_one(record, MCQ, keep=frozenset({"empty_completion"}))
    assert (kept["quality_completion_nonempty"], kept["quality_valid_harmony"]) == (False, True)


def test_reasoning_alone_or_a_call_without_arguments_is_a_completion():
    for message in (assistant("", "Hm."), assistant("", None, tool_calls=[tool_call("f", {})]), assistant("٣", None)):
        assert normalize_one(science(messages=[user(), message]), MCQ)["quality_completion_nonempty"] is True


def test_broken_ready_made_text_is_rejected_or_on_demand_kept_and_flagged():
    text = HEAD + "junk" + DONE
    assert normalize_one(rendered(text), RENDERED).code == "invalid_harmony"
    kept = normalize_one(rendered(text), RENDERED, keep=frozenset({"invalid_harmony"}))
    assert (kept["quality_valid_harmony"], kept["quality_completion_nonempty"], kept["text"]) == (False, True, text)


@pytest.mark.parametrize("text", [None, "", " \n", 3])
def test_without_ready_made_text_there_is_no_row(text):
    assert normalize_one(rendered(text), RENDERED).code == "no_messages"


@pytest.mark.parametrize("token", ["<|end|>", "<|return|>", "<|start|>", "<|endoftext|>"])
def test_special_tokens_in_content_reject_the_record(token):
    cases = [
        science(messages=[user(f"a{token}b"), assistant()]),
        science(messages=[user(), assistant("a", token)]),
        science(messages=[user(), assistant("", None, tool_calls=[tool_call("f", {"a": token})])]),
        science(messages=[user(), assistant("", None, tool_calls=[tool_call(f"f{token}", {})])]),
        science(tools=[tool("f") | {"function": {"name": "f", "description": token}}]),
    ]
    for record in cases:
        refused = normalize_one(record, MCQ)
        assert (refused.code, refused.evidence["token"]) == ("special_token_in_content", token)


# --- what the source says ---


def test_off_lowers_the_effort_and_both_toggles_are_kept():
    off, on = normalize_one(chat(), CHAT_IF), normalize_one(chat(reasoning="on"), CHAT_IF)
    assert ("Reasoning: low" in off["text"], "Reasoning: medium" in on["text"]) == (True, True)
    assert (off["meta_reasoning"], on["meta_reasoning"]) == ("off", "on")
    odd = normalize_one(chat(reasoning=None, capability_target=["chat"]), CHAT_IF)
    assert (odd["meta_reasoning"], odd["meta_capability_target"]) == (None, '["chat"]')
    assert "Reasoning: medium" in odd["text"]


@pytest.mark.parametrize(("answer", "text"), [("42", "42"), (42, "42"), (None, None), ("", ""), ([1, 2], "[1, 2]")])
def test_expected_answer_is_text(answer, text):
    assert normalize_one(math_v2(expected_answer=answer), MATH)["meta_expected_answer"] == text


@pytest.mark.parametrize(
    ("used_in", "expected"),
    [(["a", "b"], ["a", "b"]), ("nano_v3", ["nano_v3"]), (None, []), ("", []), ([], []), ([1, None], ["1", ""])],
)
def test_used_in_is_a_list_of_strings_or_one_string(used_in, expected):
    assert normalize_one(science(used_in=used_in), MCQ)["source_used_in"] == expected


@pytest.mark.parametrize(
    ("changed", "expected"), [(True, True), (False, False), (None, None), ("yes", None), (1, None)]
)
def test_changed_answer_is_true_false_or_unknown(changed, expected):
    assert (
        normalize_one(math_v2(changed_answer_to_majority=changed), MATH)["source_changed_answer_to_majority"]
        is expected
    )


def test_licence_and_data_source_are_those_of_the_record():
    row = normalize_one(proofs(license=None, source="mathstack"), LEAN)
    assert (row["source_license"], row["source_data_source"]) == (None, "mathstack")
    assert normalize_one(math_v2(data_source="StackExchange"), MATH)["source_data_source"] == "StackExchange"


def test_tools_are_named_by_the_sha1_of_their_canonical_json_and_counted_as_they_stand():
    first = normalize_one(agentic(tools=[tool("f"), tool("g")]), TOOL_CALLING)
    reordered = [dict(reversed(each.items())) for each in (tool("f"), tool("g"))]
    assert json.dumps(reordered) != json.dumps([tool("f"), tool("g")])
    canonical = json.dumps([tool("f"), tool("g")], sort_keys=True, ensure_ascii=False)
    assert first["source_tools_id"] == hashlib.sha1(canonical.encode()).hexdigest()
    assert first["source_tools_count"] == 2
    assert normalize_one(agentic(tools=reordered), TOOL_CALLING)["source_tools_id"] == first["source_tools_id"]
    assert normalize_one(agentic(tools=[None, "odd", tool("f")]), TOOL_CALLING)["source_tools_count"] == 3
    for none in (None, [], "[]", {}):
        row = normalize_one(agentic(tools=none), TOOL_CALLING)
        assert (row["source_tools_id"], row["source_tools_count"]) == (None, 0)


def test_every_other_field_of_the_record_is_kept_as_canonical_json():
    line = (
        b'{"z": 1.50, "messages": [{"role":"user","content":"q"},{"role":"assistant","content":"a"}], "text": "t",'
        + ('"tools": [], "a": {"y": "\u00e9\u2028", "x": [null, true, 123456789012345678901234567890]}}'.encode())
    )
    row = normalize_one(line, MCQ)
    assert row["source_meta_json"] == '{"a":{"x":[null,true,123456789012345678901234567890],"y":"é\u2028"},"z":1.5}'


def test_a_row_says_where_its_record_lies():
    row = normalize_one(science(), MCQ, number=41)
    assert (row["source_revision"], row["source_file"], row["source_row"]) == ("1" * 40, "data/MCQ.jsonl", 41)
    assert row["source_offset"] == 0
    assert len(row["record_uid"]) == 16
