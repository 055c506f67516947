"""Rows in the shape of nvidia/Nemotron-Science-v1: multiple choice and free response, one question and one answer each.

Belongs here: how a question becomes a record. Does not: the facts and calculations asked about (`science_questions`),
defects.
"""

from __future__ import annotations

import random

from nemo_assets.sample.science_questions import CALCULATIONS, FACTS, Calculation, Fact
from nemo_assets.sample.tree import Entry, Record, SourceFile
from nemo_assets.sample.vocabulary import Message, identifier

DATASET = "nvidia/Nemotron-Science-v1"
LETTERS = "ABCDEFGHIJ"
CHOICE_PROMPTS = (
    "Answer the following multiple choice question. The last line of your response should be of the form 'Answer: X' "
    "where X is the letter of the correct option.\n\n{question}\n\n{options}",
    "{question}\n\n{options}\n\nPick the best option and justify it briefly.",
    "Which option is right?\n\n{question}\n{options}",
    "You are sitting an exam in {field}. {question}\n\n{options}\n\nGive your reasoning, then the letter.",
)
FREE_PROMPTS = (
    "{question}\n\nPut the final value in \\boxed{{}}.",
    "Solve the problem and state the result inside \\boxed{{}}.\n\n{question}",
    "{question} Show the main steps.",
)
OPENINGS = (
    "The question is about {field}.",
    "Let me recall the relevant part of {field}.",
    "Which principle of {field} applies here?",
    "Go through the options one at a time.",
    "First rule out what cannot be.",
    "What distinguishes the candidates?",
)
DISMISSALS = (
    '"{option}" does not fit the description',
    '"{option}" would be the answer to another question',
    '"{option}" can be crossed out',
    'nothing in the question speaks for "{option}"',
    '"{option}" is a distractor',
    '"{option}" contradicts the given facts',
)


def files(seed: int, choices: int = 32, responses: int = 24) -> list[SourceFile]:
    """The two files, all rows sound."""
    rng = random.Random(f"{seed}/science")
    facts, calculations = list(FACTS), list(CALCULATIONS)
    rng.shuffle(facts)
    rng.shuffle(calculations)
    multiple = [Entry(record(rng, fact_messages(rng, fact))) for fact in facts[:choices]]
    while len(multiple) < choices:
        calculation = calculations[len(multiple) % len(calculations)](rng)
        multiple.append(Entry(record(rng, number_messages(rng, calculation))))
    rng.shuffle(multiple)
    free = [
        Entry(record(rng, free_messages(rng, calculations[index % len(calculations)](rng))))
        for index in range(responses)
    ]
    return [
        SourceFile(DATASET, "MCQ", "data/MCQ.jsonl", multiple),
        SourceFile(DATASET, "RQA", "data/RQA.jsonl", free),
    ]


def record(rng: random.Random, messages: list[Message]) -> Record:
    return {"uuid": identifier(rng), "messages": messages, "license": "cc-by-4.0", "used_in": ["nano_v3"], "tools": []}


def fact_messages(rng: random.Random, fact: Fact) -> list[Message]:
    """A question about a fact, its options shuffled."""
    options = [fact.right, *fact.wrong]
    rng.shuffle(options)
    return choice_messages(rng, fact.field, fact.question, options, fact.right, fact.because)


def number_messages(rng: random.Random, calculation: Calculation) -> list[Message]:
    """A calculation turned into a choice between the right number and typical slips."""
    right = f"{calculation.value:.3g} {calculation.unit}".strip()
    slips = {
        f"{calculation.value * factor:.3g} {calculation.unit}".strip() for factor in (0.5, 2, 10, 0.75, 4, 0.1, 1.5)
    }
    options = [right, *rng.sample(sorted(slips - {right}), 5)]
    rng.shuffle(options)
    return choice_messages(rng, calculation.field, calculation.question, options, right, calculation.steps)


def choice_messages(
    rng: random.Random, field: str, question: str, options: list[str], right: str, because: str
) -> list[Message]:
    mark = rng.choice(("{}: ", "{}) ", "({}) ", "{}. "))
    listed = "\n".join(mark.format(LETTERS[place]) + option for place, option in enumerate(options))
    letter = LETTERS[options.index(right)]
    others = rng.sample([option for option in options if option != right], 2)
    away = ", and ".join(
        form.format(option=option) for form, option in zip(rng.sample(DISMISSALS, 2), others, strict=True)
    )
    thought = f"{rng.choice(OPENINGS).format(field=field)} {because} By contrast {away}. That leaves {letter}."
    content = rng.choice(
        (
            f"{because}\n\nAnswer: {letter}",
            f"**{letter}** is correct: {right}. {because}",
            f'The decisive point: {because} So the option to choose is "{right}".\n\nAnswer: {letter}',
        )
    )
    prompt = rng.choice(CHOICE_PROMPTS).format(question=question, options=listed, field=field)
    return [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": content, "reasoning_content": rng.choice((thought, thought, thought, ""))},
    ]


def free_messages(rng: random.Random, calculation: Calculation) -> list[Message]:
    """A calculation with a boxed number."""
    value = f"{calculation.value:.3g}"
    unit = f"\\ \\text{{{calculation.unit}}}" if calculation.unit else ""
    prompt = rng.choice(FREE_PROMPTS).format(question=calculation.question)
    opening = rng.choice(
        (
            f"A standard exercise in {calculation.field}.",
            "Write down the law, insert the numbers, watch the units.",
            "Three significant figures should be enough.",
            "Identify the known quantities first.",
            "Which formula links these data?",
        )
    )
    sanity = rng.choice(
        (
            "The size of the result is plausible.",
            "Units cancel as they should.",
            "Doubling the first input moves it the right way.",
            "No rounding was done before the last step.",
            "The order of magnitude is what one meets in the laboratory.",
        )
    )
    final = f"{rng.choice(('Result.', 'In summary:', 'Solution.'))} {calculation.steps}\n\n$$\\boxed{{{value}{unit}}}$$"
    return [
        {"role": "user", "content": prompt, "reasoning_content": None},
        {"role": "assistant", "content": final, "reasoning_content": f"{opening} {calculation.hint} {sanity}"},
    ]
