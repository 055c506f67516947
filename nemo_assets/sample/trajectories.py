"""How a solver of a given effort writes down one way to an answer.

Belongs here: voices, remarks on numbers, exhaustive searches, code runs. Does not: columns of Math-v2 (`math_v2`).
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from nemo_assets.sample.vocabulary import Message, call_identifier, factorisation, product_text
from nemo_assets.sample.word_problems import Problem

TOOL_NAME = "stateful_python_code_exec"

OPENINGS = (
    "Let me first restate what is given.",
    "We need to be careful about what is asked here.",
    "Okay, let me set this up.",
    "First step: name the quantities.",
    "I'd like to find a short route.",
    "Reading it twice, nothing is hidden.",
    "Start from the definitions.",
    "This looks routine, still let me write it out.",
    "What do we know, and what is wanted?",
    "Let's not rush.",
    "A direct attack should do.",
    "I will translate the text into an equation.",
    "Let's think step by step.",
    "There are two obvious routes; I take this one.",
    "Hmm, what is the cleanest formulation?",
)
DOUBTS = (
    "Wait, is an off-by-one possible? Going through it again with the ends in mind, the count stands.",
    "Could the wording mean something else? The other reading would leave a number in the text unused, so no.",
    "Units: everything was in the same unit from the start, nothing to convert.",
    "Plugging the result back into the first condition works, which rules out a sign slip.",
    "Nothing was rounded on the way, so the result is exact.",
    "Let me estimate roughly: the order of magnitude agrees with the result.",
    "I was tempted to round in the middle; keeping fractions to the end avoids that.",
    "Doubling one of the inputs would change the answer in the direction one expects.",
    "Is any solution lost when dividing? The divisor is not zero, fine.",
    "Nothing here depends on the names, so a relabelling cannot change it.",
    "If the question had asked for the complement the answer would differ; it does not ask for that.",
    "Let me not mix up what is given with what is asked for; both are as I noted them.",
)
CLOSINGS = (
    "That settles it.",
    "I am confident in this.",
    "So the answer is fixed.",
    "Done; write it up.",
    "Good, now the final answer.",
    "This matches the rough estimate.",
    "Both sides agree.",
    "Nothing else to check.",
    "That is all that was asked.",
    "I'll answer with that.",
)
LEADS = (
    "In short,",
    "As computed,",
    "So",
    "Altogether,",
    "Therefore",
    "To sum up,",
    "Collecting everything,",
    "It follows that",
    "The work above shows that",
    "Result:",
    "Consequently",
    "After simplification,",
)
PLANS = (
    "A few lines of Python will make this safe.",
    "I'd rather compute this than trust my head.",
    "Let me run it.",
    "Use the notebook for the arithmetic.",
    "Quick script for that.",
    "Let me have the interpreter do it.",
    "Let me code the count directly.",
)
AFTERTHOUGHTS = (
    "The output agrees with what I expected.",
    "The second run confirms the first.",
    "Both prints fit together.",
    "Good, the session gives the same by another path.",
    "No surprise there.",
    "The interpreter is happy, and so am I.",
)


def remarks_on(value: Fraction) -> Iterator[str]:
    """True remarks on a number, of the kind found in long reasoning."""
    number = abs(value.numerator)
    if value.denominator > 1:
        low = math.floor(value)
        yield (
            f"As a decimal it is {float(value):.5f}, between {low} and {low + 1}, and in lowest terms because the "
            f"denominator is ${product_text(value.denominator)}$ while the numerator is ${product_text(number)}$."
        )
        yield (
            f"Reducing: {value.numerator} and {value.denominator} have gcd {math.gcd(number, value.denominator)}, so "
            "no further cancellation is possible."
        )
        return
    if number > 1:
        primes = factorisation(number)
        if len(primes) == 1 and primes[0][1] == 1:
            yield f"Curiously {number} is prime: no prime up to {math.isqrt(number)} divides it."
        else:
            yield f"As a plausibility check, ${number} = {product_text(number)}$, made of the factors one would expect."
    digits = sum(map(int, str(number)))
    yield f"Casting out nines: the digit sum of {number} is {digits}, so modulo 9 it leaves {number % 9}."
    root = math.isqrt(number)
    if root * root == number:
        yield f"It happens to be a perfect square, ${root}^2$."
    else:
        yield f"It lies between the squares ${root}^2 = {root * root}$ and ${root + 1}^2 = {(root + 1) ** 2}$."
    parity = "odd" if number % 2 else "even"
    yield f"Binary, for what it is worth: {number:b}, which has {number.bit_count()} ones, so it is {parity}."


def reasoning(rng: random.Random, problem: Problem, way: str, effort: str) -> str:
    """Reasoning along one of the problem's ways, longer with more effort."""
    sentences = [rng.choice(OPENINGS), way]
    remarks = list(remarks_on(problem.value))
    if effort != "low":
        sentences += rng.sample(DOUBTS, 2 if effort == "medium" else 4)
        sentences += rng.sample(remarks, min(len(remarks), 1 if effort == "medium" else 3))
    middle = sentences[2:]
    rng.shuffle(middle)
    separator = "\n\n" if effort == "high" else rng.choice((" ", "\n"))
    return separator.join([*sentences[:2], *middle, rng.choice(CLOSINGS)])


def final_text(rng: random.Random, problem: Problem, way: str | None = None) -> str:
    """What the reader sees: a sentence, the way where one is given, and the boxed answer."""
    conclusion = f"{rng.choice(LEADS)} {problem.conclusion}."
    boxed = rng.choice(
        (
            f"$$\\boxed{{{problem.answer}}}$$",
            f"\\[\n\\boxed{{{problem.answer}}}\n\\]",
            f"**Answer:** $\\boxed{{{problem.answer}}}$",
        )
    )
    return "\n\n".join([*([way] if way else []), conclusion, boxed])


class Session:
    """A Python session that keeps its variables, as the tool in the source does."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}

    def run(self, code: str) -> str:
        """What `code` prints, without the last line end."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "<cell>", "exec"), self.variables)
        return printed.getvalue().rstrip("\n")


def call_turns(rng: random.Random, session: Session, code: str, thought: str | None) -> list[Message]:
    """An assistant message that calls Python, and the tool message with the true output."""
    call = call_identifier(rng)
    arguments = json.dumps({"code": code}, ensure_ascii=False)
    return [
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": thought,
            "tool_calls": [{"id": call, "type": "function", "function": {"name": TOOL_NAME, "arguments": arguments}}],
        },
        {"role": "tool", "name": TOOL_NAME, "tool_call_id": call, "content": session.run(code)},
    ]


def with_tool(rng: random.Random, problem: Problem, effort: str) -> list[Message]:
    """Turns of a trajectory that runs code once, or twice with more than low effort."""
    session = Session()
    goal = problem.statement.split(". ")[-1].split("$")[0].strip(" ,")
    thought = f"{rng.choice(OPENINGS)} The goal: {goal[:110]}... {rng.choice(PLANS)}"
    if effort == "high":
        thought += "\n\n" + " ".join(rng.sample(DOUBTS, 2))
    turns = call_turns(rng, session, problem.code, thought)
    if effort != "low":
        turns += call_turns(
            rng, session, problem.check, f"{rng.choice(OPENINGS)} An independent check in the same session."
        )
    remarks = list(remarks_on(problem.value))
    closing = f"{rng.choice(AFTERTHOUGHTS)} {rng.choice(remarks)}" if effort != "low" else None
    return [*turns, {"role": "assistant", "content": final_text(rng, problem), "reasoning_content": closing}]


def exhaustive(rng: random.Random, characters: int) -> Problem:
    """A search problem whose first way lists every case until it is at least `characters` long."""
    modulus, shift, constant = rng.choice((29, 31, 37, 41, 43)), rng.randint(2, 27), rng.randint(3, 90)
    forms = (
        "n = {n}: {n}² + {a}·{n} + {b} = {v}, which is {q}·{m} + {r}{mark}",
        "for {n} we get {v}; dividing by {m} leaves {r}{mark}",
        "{n} gives {v} ≡ {r} (mod {m}){mark}",
        "take n = {n}, value {v}, quotient {q}, remainder {r}{mark}",
        "next {n}: the value {v} sits {r} above {m}·{q}{mark}",
    )
    lines: list[str] = []
    hits: list[int] = []
    length, number = 0, 0
    while length < characters:
        number += 1
        value = number * number + shift * number + constant
        quotient, rest = divmod(value, modulus)
        if rest == 0:
            hits.append(number)
        mark = f" <- hit number {len(hits)}" if rest == 0 else ""
        lines.append(
            rng.choice(forms).format(n=number, a=shift, b=constant, v=value, q=quotient, m=modulus, r=rest, mark=mark)
        )
        length += len(lines[-1]) + 1
    listed = f"the first ones are {', '.join(map(str, hits[:5]))}" if hits else "none occurs"
    return Problem(
        f"For how many positive integers $n \\le {number}$ is $n^2 + {shift}n + {constant}$ divisible by {modulus}?",
        Fraction(len(hits)),
        f"exactly {len(hits)} of the {number} candidates work, and {listed}",
        (
            "I will simply go through all cases in order and mark the hits.\n" + "\n".join(lines),
            f"Only $n$ modulo {modulus} matters, and the quadratic has at most two roots there.",
        ),
        f"print(sum((n * n + {shift} * n + {constant}) % {modulus} == 0 for n in range(1, {number} + 1)))",
        f"print([n for n in range(1, {modulus} + 1) if (n * n + {shift} * n + {constant}) % {modulus} == 0])",
    )
