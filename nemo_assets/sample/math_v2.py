"""Rows in the shape of nvidia/Nemotron-Math-v2: several verified trajectories a problem, five files.

Belongs here: the columns and their order, which differs from file to file.
Does not: problems and texts (`word_problems`, `exercises`, `trajectories`), defects.
"""

from __future__ import annotations

import random
from typing import Any

from nemo_assets.sample.exercises import EXERCISES
from nemo_assets.sample.trajectories import TOOL_NAME, exhaustive, final_text, reasoning, with_tool
from nemo_assets.sample.tree import Entry, Record, SourceFile
from nemo_assets.sample.vocabulary import Message, full_name, identifier
from nemo_assets.sample.word_problems import STORIES, Problem

DATASET = "nvidia/Nemotron-Math-v2"
PROMPT = "Solve the following math problem. Make sure to put the answer (and only answer) inside \\boxed{{}}.\n\n{}"

TOOL = {
    "type": "function",
    "function": {
        "name": TOOL_NAME,
        "description": "Call this function to execute Python code in a stateful Jupyter notebook environment. Python "
        "will respond with the output of the execution or time out after 120.0 seconds.",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string", "description": "Code to execute"}},
            "required": ["code"],
        },
    },
}

# split, path, effort, rows, compact, key order: the order differs from file to file in the source
FILES = (
    (
        "low",
        "data/low.jsonl",
        "low",
        38,
        False,
        "problem expected_answer original_expected_answer changed_answer_to_majority data_source messages metadata "
        "license used_in uuid url user_url user_name tools",
    ),
    (
        "medium",
        "data/medium.jsonl",
        "medium",
        42,
        False,
        "problem expected_answer original_expected_answer changed_answer_to_majority data_source messages metadata "
        "license used_in uuid url user_url user_name tools",
    ),
    (
        "high_part00",
        "data/high.part_00.jsonl",
        "high",
        16,
        True,
        "expected_answer problem original_expected_answer changed_answer_to_majority data_source messages used_in "
        "metadata license tools url user_name user_url",
    ),
    (
        "high_part01",
        "data/high.part_01.jsonl",
        "high",
        16,
        True,
        "expected_answer problem original_expected_answer changed_answer_to_majority data_source messages tools "
        "used_in metadata license url user_name user_url",
    ),
    (
        "high_part02",
        "data/high.part_02.jsonl",
        "high",
        24,
        False,
        "problem expected_answer original_expected_answer changed_answer_to_majority data_source messages url "
        "user_url user_name used_in license metadata tools",
    ),
)
ONLY_AOPS = {"high_part00", "high_part01"}
WITHOUT_ORIGINAL_ANSWER = {"low", "high_part01"}
LONG_SEARCHES = {"medium": (11_000,), "high_part00": (43_000,), "high_part02": (13_000, 411_000)}
"""Characters of the exhaustive searches per split: some rows beyond 10,000, one beyond 40,000, one beyond 400,000."""


def files(seed: int) -> list[SourceFile]:
    """The five files, all rows sound."""
    rng = random.Random(f"{seed}/math-v2")
    pending: list[tuple[Problem, Record, list[str]]] = []
    return [_file(rng, pending, *layout) for layout in FILES]


def _file(
    rng: random.Random,
    pending: list[tuple[Problem, Record, list[str]]],
    split: str,
    path: str,
    effort: str,
    rows: int,
    compact: bool,
    order: str,
) -> SourceFile:
    """One file. Problems with unused modes wait in `pending`, so that their trajectories spread over splits."""
    families = [*STORIES, *EXERCISES]
    rng.shuffle(families)
    entries: list[Entry] = []
    only_aops = split in ONLY_AOPS
    while len(entries) < rows:
        waiting = [item for item in pending if item[2] and not (only_aops and item[1]["url"])]
        if waiting and rng.random() < 0.45:
            problem, facts, modes = rng.choice(waiting)
        else:
            problem = families[len(entries) % len(families)](rng)
            facts = facts_of(rng, problem, only_aops)
            modes = rng.sample(("first way", "second way", "tool"), rng.choice((1, 2, 2, 3)))
            pending.append((problem, facts, modes))
        entries.append(Entry(row(rng, split, effort, problem, facts, modes.pop(), order)))
    for characters in LONG_SEARCHES.get(split, ()):
        problem = exhaustive(rng, characters)
        record = row(rng, split, effort, problem, facts_of(rng, problem, only_aops), "first way", order)
        entries.insert(rng.randrange(2, len(entries) - 1), Entry(record))
    return SourceFile(DATASET, split, path, entries, compact)


def facts_of(rng: random.Random, problem: Problem, only_aops: bool) -> Record:
    """What all trajectories of a problem share: its id, origin and evaluation."""
    aops = only_aops or rng.random() < 0.5
    number = rng.randint(100_000, 4_900_000)
    user = rng.randint(100, 9_999)
    changed = rng.random() < 0.1
    return {
        "problem": problem.statement,
        "expected_answer": problem.answer,
        "original_expected_answer": f"{problem.answer}+1" if changed else problem.answer,
        "changed_answer_to_majority": changed,
        "data_source": "AoPS" if aops else "StackExchange-Math",
        "license": "cc-by-4.0" if aops else "cc-by-sa-4.0",
        "uuid": identifier(rng),
        "url": None if aops else f"https://math.stackexchange.example/questions/{number}",
        "user_url": None if aops else f"https://math.stackexchange.example/users/{user}",
        "user_name": None if aops else full_name(rng),
        "metadata": evaluation(rng),
    }


def evaluation(rng: random.Random) -> dict[str, Any]:
    """Eight tries per condition: usually all six blocks, sometimes blocks missing, all solved, or hardly any."""
    ease = rng.choice(("easy", "middle", "middle", "hard", "mixed"))
    blocks = {}
    for effort in ("low", "medium", "high"):
        for mode in ("with_tool", "no_tool"):
            passed = {"easy": 8, "hard": 1, "middle": rng.randint(3, 7), "mixed": rng.randint(1, 8)}[ease]
            if rng.random() > 0.08:
                blocks[f"reason_{effort}_{mode}"] = {"count": 8, "pass": passed, "accuracy": passed / 8}
    return blocks


def row(rng: random.Random, split: str, effort: str, problem: Problem, facts: Record, mode: str, order: str) -> Record:
    """One trajectory as a record with its keys in `order`."""
    uses_tool = mode == "tool"
    metadata = dict(facts["metadata"])
    own = f"reason_{effort}_{'with' if uses_tool else 'no'}_tool"
    metadata.setdefault(own, {"count": 8, "pass": 2, "accuracy": 0.25})  # only trajectories judged correct are there
    columns = {
        **facts,
        "original_expected_answer": None if split in WITHOUT_ORIGINAL_ANSWER else facts["original_expected_answer"],
        "messages": messages(rng, effort, problem, mode),
        "metadata": metadata,
        "used_in": ["nano_v3"] if rng.random() < 0.92 else [],
        "tools": [TOOL] if uses_tool else [],
    }
    return {key: columns[key] for key in order.split()}


def messages(rng: random.Random, effort: str, problem: Problem, mode: str) -> list[Message]:
    """The conversation: the fixed prompt around the problem, then one trajectory."""
    turns: list[Message] = [{"role": "user", "content": PROMPT.format(problem.statement)}]
    if mode == "tool":
        return turns + with_tool(rng, problem, effort)
    way = problem.ways[0 if mode == "first way" else 1]
    if effort == "low" and len(way) < 1000 and rng.random() < 0.6:
        answer: Message = {
            "role": "assistant",
            "content": final_text(rng, problem, f"{rng.choice(('Solution.', 'Working:', 'Approach.'))} {way}"),
        }
        absent = rng.choice(("missing", None, ""))
        return [*turns, answer if absent == "missing" else {**answer, "reasoning_content": absent}]
    thought = reasoning(rng, problem, way, effort)
    return [*turns, {"role": "assistant", "content": final_text(rng, problem), "reasoning_content": thought}]
