"""Rows in the shape of radna0/nemotron-math-v2-harmony-tools: Math-v2 rows as Harmony text in one column.

Belongs here: a renderer of that dialect, written apart from `nemo_assets.harmony` so that each can test the other.
Does not: defects.
"""

from __future__ import annotations

import json
import random

from nemo_assets.sample.trajectories import TOOL_NAME
from nemo_assets.sample.tree import Entry, Planted, SourceFile
from nemo_assets.sample.vocabulary import Message

DATASET = "radna0/nemotron-math-v2-harmony-tools"
SYSTEM = (
    "You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\n\nReasoning: {effort}\n\n"
    "# Valid channels: analysis, commentary, final. Channel must be included for every message."
)
DEVELOPER = (
    "# Instructions\n\nYou will solve the problem and return the final answer in \\boxed{}. Do not guess the answer, "
    "unless specifically given permission to."
)
SHARDS = {"low": 1, "medium": 2, "high_part00": 1, "high_part01": 2, "high_part02": 1}
SHARE = 0.75
"""How many of the sound Math-v2 rows of a split are rendered."""

DIALECTS = {
    "python_tool_name": (f"<|start|>{TOOL_NAME}<|channel|>commentary", "<|start|>python<|channel|>commentary"),
    "native_call_header": (
        "<|start|>assistant to=python<|channel|>analysis<|message|>",
        "<|start|>assistant<|channel|>analysis to=python code<|message|>",
    ),
    "channel_less_final": ("<|start|>assistant<|channel|>final<|message|>", "<|start|>assistant<|message|>"),
}
"""Header forms found in the real rows: what stands there usually, and instead."""


def effort_of(split: str) -> str:
    return split.partition("_")[0]


def render(messages: list[Message], effort: str) -> str:
    """The conversation as the source renders it, after its own system and developer; the last one ends `<|return|>`."""
    pieces = [message("system", SYSTEM.format(effort=effort)), message("developer", DEVELOPER)]
    for turn in messages:
        pieces += pieces_of(turn)
    start, _, _ = pieces[-1].rpartition("<|")
    return "".join([*pieces[:-1], f"{start}<|return|>"])


def pieces_of(turn: Message) -> list[str]:
    """Analysis, calls and final of an assistant; one message for any other role."""
    role, content = turn["role"], turn.get("content") or ""
    if role == "tool":
        return [message(f"{turn['name']}<|channel|>commentary", content)]
    if role != "assistant":
        return [message(role, content)]
    pieces = []
    thought = turn.get("reasoning_content") or ""
    if thought.strip():
        pieces.append(message("assistant<|channel|>analysis", thought))
    for call in turn.get("tool_calls") or ():
        code = json.loads(call["function"]["arguments"])["code"]
        pieces.append(message("assistant to=python<|channel|>analysis", code, "<|call|>"))
    if content.strip():
        pieces.append(message("assistant<|channel|>final", content))
    return pieces


def message(header: str, body: str, end: str = "<|end|>") -> str:
    return f"<|start|>{header}<|message|>{body}{end}"


def files(seed: int, math_files: list[SourceFile]) -> list[SourceFile]:
    """The Parquet files: most sound rows of each Math-v2 file in their order, a few in another header dialect."""
    rng = random.Random(f"{seed}/rendered")
    shards: list[SourceFile] = []
    for source in math_files:
        sound = [entry for entry in source.entries if entry.is_sound]
        chosen = sorted(rng.sample(range(len(sound)), round(len(sound) * SHARE)))
        rows = [Entry(render(sound[at].record["messages"], effort_of(source.split)), None, sound[at]) for at in chosen]
        speak_dialects(rng, rows)
        shards += sharded(source.split, rows)
    return shards


def speak_dialects(rng: random.Random, rows: list[Entry]) -> None:
    """Change the header of one or two rows per dialect. They stay valid and are kept, tagged with their dialect."""
    for kind, (usual, instead) in DIALECTS.items():
        able = [entry for entry in rows if entry.is_sound and usual in str(entry.body)]
        for entry in rng.sample(able, min(2 if len(rows) > 20 else 1, len(able))):
            entry.body = str(entry.body).replace(usual, instead)
            entry.planted = Planted(kind)


def sharded(split: str, rows: list[Entry]) -> list[SourceFile]:
    """The rows cut into the split's number of files."""
    count = SHARDS[split]
    size = -(-len(rows) // count)
    return [
        SourceFile(DATASET, split, f"data/{split}-{at:05}-of-{count:05}.parquet", rows[at * size : (at + 1) * size])
        for at in range(count)
    ]
