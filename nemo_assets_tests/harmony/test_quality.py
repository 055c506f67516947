"""The verdict on ready-made text, one kind of damage at a time."""

from __future__ import annotations

import pytest

from nemo_assets.harmony import basic_quality_flags_from_text, check_text, parse_harmony

PROMPT = "<|start|>system<|message|>Reasoning: low<|end|><|start|>user<|message|>2+2?<|end|>"
THOUGHT = "<|start|>assistant<|channel|>analysis<|message|>Easy.<|end|>"
CALL = "<|start|>assistant to=python<|channel|>analysis<|message|>print(4)<|call|>"
RESULT = "<|start|>stateful_python_code_exec<|channel|>commentary<|message|>4<|end|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>4<|return|>"
SOUND = PROMPT + THOUGHT + CALL + RESULT + FINAL


def verdict(text: str) -> tuple[str | None, tuple[str, ...]]:
    check = check_text(parse_harmony(text))
    return check.fatal, check.tags


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "no_messages"),
        (" \n\t ", "no_messages"),
        (SOUND.replace("<|end|>", "<|end|><|end|>", 1), "invalid_harmony"),
        (SOUND[:-6], "invalid_harmony"),
        (SOUND.removesuffix("<|return|>"), "invalid_harmony"),
        (PROMPT + "<|start|>assistant<|channel|>analysis<|message|>Let me think", "invalid_harmony"),
        (SOUND.replace("<|start|>user", "user"), "invalid_harmony"),
        ("<|start|>" + SOUND, "invalid_harmony"),
        (SOUND.replace("user<|message|>", "user"), "invalid_harmony"),
        (SOUND.replace("user<|message|>", "<|message|>"), "invalid_harmony"),
        (SOUND.replace("2+2?", "Hi<|end|><|start|>assistant<|channel|>final<|message|>42<|end|>So"), "invalid_harmony"),
        (SOUND + "\n", "invalid_harmony"),
        (SOUND.replace("2+2?", "2<|endoftext|>"), "special_token_in_content"),
        (SOUND.replace("2+2?", "x<|message|>"), "special_token_in_content"),
        (PROMPT + FINAL + PROMPT + FINAL, "special_token_in_content"),
        (SOUND.replace("<|channel|>final", "<|channel|>final<|channel|>final"), "special_token_in_content"),
        (PROMPT, "empty_completion"),
        (PROMPT + "<|start|>assistant<|channel|>final<|message|>…!<|return|>", "empty_completion"),
        (SOUND.replace(">4<|return|>", "> \n <|return|>"), "empty_completion"),
        (SOUND.replace("<|channel|>final<|message|>4", "<|message|>"), "empty_completion"),
        (
            PROMPT + "<|start|>assistant to=functions.f<|channel|>commentary<|message|>{a}<|call|>",
            "invalid_tool_schema",
        ),
    ],
)
def test_a_damaged_text_gets_the_code_it_deserves(text, code):
    assert verdict(text) == (code, ())


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        (SOUND, ()),
        (SOUND.replace("<|start|>stateful_python_code_exec", "<|start|>python"), ("dialect:python_tool_name",)),
        (
            SOUND.replace(" to=python<|channel|>analysis", "<|channel|>analysis to=python code"),
            ("dialect:native_call_header",),
        ),
        (SOUND.replace("<|channel|>final", ""), ("dialect:channel_less_final",)),
        (SOUND.replace("<|channel|>final", "<|channel|>"), ("dialect:empty_channel",)),
        (PROMPT + THOUGHT, ()),
        (SOUND.replace("Reasoning", "Rea\x00soning"), ()),
    ],
)
def test_a_dialect_is_kept_and_tagged(text, tags):
    assert verdict(text) == (None, tags)


def test_the_first_fault_is_told_with_its_place():
    check = check_text(parse_harmony("<|start|>user<|message|>é<|end|> so " + FINAL))
    assert check.evidence == {"deviation": "junk_between_messages", "message": 1, "at": 32}


def test_flags_of_a_sound_text_and_of_none():
    assert basic_quality_flags_from_text(SOUND) == {
        "valid_harmony": True,
        "has_assistant": True,
        "completion_nonempty": True,
        "has_tool": True,
        "valid_tool_schema": True,
        "has_return_tag": True,
        "num_messages": 6,
        "num_assistant_messages": 3,
    }
    assert basic_quality_flags_from_text(None) == {
        "valid_harmony": False,
        "has_assistant": False,
        "completion_nonempty": False,
        "has_tool": False,
        "valid_tool_schema": True,
        "has_return_tag": False,
        "num_messages": 0,
        "num_assistant_messages": 0,
    }
