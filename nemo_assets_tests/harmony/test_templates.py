"""What each template writes, to the letter. A difference here is a new template version, not a new golden file."""

from __future__ import annotations

import pytest

from nemo_assets.errors import Rejected
from nemo_assets.harmony import TEMPLATES, Conversation, Turn, call, parse_strict, render_conversation
from nemo_assets_tests.harmony.recorded import DATA, cases

WEATHER = {
    "name": "get_weather",
    "description": "Weather of a place.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
GOLDEN = {
    "math-v2": Conversation(
        (
            Turn("user", "What is 2+2?"),
            Turn("assistant", "Let me run it.", "analysis"),
            call("stateful_python_code_exec", {"code": "print(2+2)"}),
            Turn("tool", "4", tool="stateful_python_code_exec"),
            Turn("assistant", "One moment.", "commentary"),
            call("search", {"b": 1, "a": "é"}),
            Turn("tool", "nothing"),
            Turn("assistant", "\\boxed{4}", "final"),
        ),
        effort="high",
    ),
    "proofs-statement": Conversation(
        (
            Turn("user", "Prove that 1 = 1."),
            Turn("assistant", "import Mathlib\n\ntheorem t : 1 = 1 := by sorry", "final"),
        )
    ),
    "harmony-1": Conversation(
        (
            Turn("system", "Be brief."),
            Turn("system", " "),
            Turn("system", "Be kind."),
            Turn("user", "Weather in Bonn?"),
            Turn("assistant", "I should look.", "analysis"),
            Turn("assistant", "Looking.", "commentary"),
            call("get_weather", {"city": "Bonn"}),
            Turn("tool", '{"sky": "grey"}', tool="get_weather"),
            Turn("tool", "late"),
            Turn("system", "Now in German."),
            Turn("assistant", "Grau.", "final"),
        ),
        tools=(WEATHER,),
        effort="low",
    ),
}


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_golden_text(name):
    assert render_conversation(GOLDEN[name], name).text == (DATA / "golden" / f"{name}.txt").read_text()


@pytest.mark.parametrize("pair", cases("math_v2_pairs.jsonl"), ids=lambda pair: str(len(pair["text"])))
def test_math_v2_writes_the_published_rows_byte_for_byte(pair):
    turns = tuple(
        call(turn["tool"], turn["arguments"]) if "arguments" in turn else Turn(**turn) for turn in pair["turns"]
    )
    assert render_conversation(Conversation(turns, effort=pair["effort"]), "math-v2").text == pair["text"]


def test_canonical_text_is_read_by_the_official_parser():
    text = render_conversation(GOLDEN["harmony-1"], "harmony-1").text
    called = next(message for message in parse_strict(text) if message.recipient == "functions.get_weather")
    assert called[3:] == ("commentary", "<|constrain|>json", '{"city": "Bonn"}')


def test_no_developer_message_without_instructions_and_tools():
    conversation = Conversation((Turn("system", ""), Turn("user", "hi"), Turn("assistant", "yo", "final")))
    roles = [message.role for message in render_conversation(conversation, "harmony-1").messages]
    assert roles == ["system", "user", "assistant"]


def test_interpreter_arguments_beyond_code_are_not_lost():
    conversation = Conversation((call("python", {"code": "1", "timeout": 5}),))
    assert 'analysis<|message|>{"code": "1", "timeout": 5}<|call|>' in render_conversation(conversation, "math-v2").text


def test_a_tool_name_no_header_can_hold_is_rejected_only_when_called():
    odd = {"name": "get weather"}
    talk = (Turn("user", "hi"), Turn("assistant", "yo", "final"))
    assert "type get weather = () => any;" in render_conversation(Conversation(talk, (odd,)), "harmony-1").text
    with pytest.raises(Rejected) as caught:
        render_conversation(Conversation((*talk, call("get weather", {})), (odd,)), "harmony-1")
    assert caught.value.code == "invalid_harmony"


def test_a_special_token_in_a_tool_description_is_rejected():
    tool = {"name": "f", "description": "ends with <|end|>"}
    with pytest.raises(Rejected) as caught:
        render_conversation(Conversation((Turn("user", "hi"),), (tool,)), "harmony-1")
    assert caught.value.code == "special_token_in_content"


def test_what_a_dialect_cannot_say_is_tagged():
    conversation = GOLDEN["math-v2"]
    assert TEMPLATES["math-v2"].tags(conversation) == ("dialect:content_beside_calls", "dialect:unnamed_tool_result")
    assert TEMPLATES["harmony-1"].tags(conversation) == ("dialect:unnamed_tool_result",)
    assert "One moment." not in render_conversation(conversation, "math-v2").text
