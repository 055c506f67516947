"""Rows in the shape of nvidia/Nemotron-Math-Proofs-v1: toy statements in Lean 4, a third of them without a proof.

Belongs here: statements, proofs, columns. Does not: defects.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from nemo_assets.sample.tree import Entry, Record, SourceFile
from nemo_assets.sample.vocabulary import Message, full_name, identifier

DATASET = "nvidia/Nemotron-Math-Proofs-v1"
HEADERS = (
    "import Mathlib\nimport Aesop\nimport Mathlib\nset_option maxHeartbeats 0\nopen BigOperators Real Nat Topology Rat",
    "import Mathlib\nimport Aesop\n\nset_option maxHeartbeats 400000\n\nopen BigOperators Real Nat Topology Rat",
    "import Mathlib\n\nopen scoped BigOperators",
    "import Mathlib\nimport Aesop\nimport Mathlib\nset_option maxHeartbeats 0\nopen Finset Nat",
)


@dataclass(frozen=True)
class Theorem:
    """An informal problem, what stands between the theorem's name and `:=`, a proof, an idea, a failing first try."""

    problem: str
    claim: str
    proof: str
    idea: str
    wrong: str


def difference(rng: random.Random) -> Theorem:
    k, m = rng.randint(3, 40), rng.randint(41, 90)
    return Theorem(
        f"Let $a$ and $b$ be natural numbers with $a + {k} = b$ and $b > {m}$. Show that $b - a = {k}$ and $a > "
        f"{m - k}$.",
        f"(a b : ℕ) (h₀ : a + {k} = b) (h₁ : b > {m}) :\n    b - a = {k} ∧ a > {m - k}",
        "  constructor\n  · omega\n  · omega",
        "Everything is linear over the naturals. Truncated subtraction is harmless because $a \\le b$, and `omega` "
        "knows it.",
        "  simp [h₀]",
    )


def solve_line(rng: random.Random) -> Theorem:
    a, x, b = rng.randint(2, 12), rng.randint(2, 30), rng.randint(1, 50)
    return Theorem(
        f"Solve ${a}x + {b} = {a * x + b}$ over the reals and prove that the solution is the only one.",
        f"(x : ℝ) :\n    {a} * x + {b} = {a * x + b} ↔ x = {x}",
        "  constructor\n  · intro h\n    linarith\n  · intro h\n    rw [h]\n    norm_num",
        f"Forward, subtract {b} and divide by {a}, which `linarith` does. Backward, substitute and compute.",
        "  exact ⟨by ring, by ring⟩",
    )


def square_bound(rng: random.Random) -> Theorem:
    a = rng.randint(2, 15)
    return Theorem(
        f"Prove that $x^2 + {a * a} \\ge {2 * a}x$ for every real number $x$, with equality only at $x = {a}$.",
        f"(x : ℝ) :\n    x ^ 2 + {a * a} ≥ {2 * a} * x ∧ (x ^ 2 + {a * a} = {2 * a} * x → x = {a})",
        f"  constructor\n  · nlinarith [sq_nonneg (x - {a})]\n  · intro h\n    have h₁ : (x - {a}) ^ 2 = 0 := by "
        "nlinarith\n"
        f"    have h₂ : x - {a} = 0 := by simpa using h₁\n    linarith",
        f"The difference of the two sides is $(x - {a})^2$, a square. It vanishes exactly where its base does.",
        "  norm_num\n  linarith",
    )


def parity(rng: random.Random) -> Theorem:
    k = 2 * rng.randint(1, 30) + 1
    return Theorem(
        f"Show that $n^2 + {k}n$ is even for every integer $n$.",
        f"(n : ℤ) : Even (n ^ 2 + {k} * n)",
        f"  rcases Int.even_or_odd n with ⟨m, hm⟩ | ⟨m, hm⟩\n  · exact ⟨m * (2 * m + {k}), by rw [hm]; ring⟩\n"
        f"  · exact ⟨(2 * m + 1) * (m + {(k + 1) // 2}), by rw [hm]; ring⟩",
        f"Factor $n(n + {k})$. As {k} is odd, one of the two factors is even; the two cases give explicit witnesses.",
        "  decide",
    )


def common_divisor(rng: random.Random) -> Theorem:
    g = rng.randint(4, 25)
    a, b = g * rng.choice((3, 5, 7)), g * rng.choice((4, 8, 11))
    value = math.gcd(a, b)
    return Theorem(
        f"Compute the greatest common divisor of {a} and {b}, and their least common multiple.",
        f": Nat.gcd {a} {b} = {value} ∧ Nat.lcm {a} {b} = {math.lcm(a, b)}",
        "  constructor\n  · norm_num\n  · decide",
        f"Euclid: {' → '.join(str(step) for step in euclid(a, b))}. The multiple is the product over {value}.",
        "  rfl; rfl",
    )


def euclid(a: int, b: int) -> list[int]:
    steps = [a, b]
    while steps[-1]:
        steps.append(steps[-2] % steps[-1])
    return steps[:-1]


def gauss_sum(rng: random.Random) -> Theorem:
    n, step = rng.randint(5, 30), rng.randint(2, 9)
    return Theorem(
        f"Find the sum $\\sum_{{i=0}}^{{{n - 1}}} ({step}i + 1)$ of an arithmetic progression.",
        f": ∑ i in Finset.range {n}, ({step} * i + 1) = {step * n * (n - 1) // 2 + n}",
        "  decide",
        f"There are {n} ones and {step} times the triangular number {n * (n - 1) // 2}; the kernel can evaluate it.",
        "  ring",
    )


def remainder(rng: random.Random) -> Theorem:
    base, exponent, modulus = rng.randint(2, 9), rng.randint(11, 60), rng.randint(7, 23)
    return Theorem(
        f"What remainder does ${base}^{{{exponent}}}$ leave modulo {modulus}? Give a formal proof.",
        f": {base} ^ {exponent} % {modulus} = {pow(base, exponent, modulus)}",
        "  norm_num",
        "The power is a concrete numeral, small enough for `norm_num` to normalise the whole expression.",
        "  exact rfl.symm ▸ rfl ▸ by simp",
    )


def conjunction(rng: random.Random) -> Theorem:
    p, q, r = rng.sample(("p", "q", "r", "s", "t", "u"), 3)
    return Theorem(
        f"In propositional logic derive ${r} \\land {q}$ from ${p} \\to {q}$, ${q} \\to {r}$ and ${p}$.",
        f"({p} {q} {r} : Prop) (h₀ : {p} → {q}) (h₁ : {q} → {r}) (h₂ : {p}) : {r} ∧ {q}",
        "  have h₃ := h₀ h₂\n  exact ⟨h₁ h₃, h₃⟩",
        "Apply the first implication to the third hypothesis, then the second one to that, and pair the results.",
        "  tauto!",
    )


def mean_bound(rng: random.Random) -> Theorem:
    total = 2 * rng.randint(2, 40)
    return Theorem(
        f"Positive reals $a$ and $b$ have sum {total}. Prove that $ab \\le {(total // 2) ** 2}$.",
        f"(a b : ℝ) (ha : 0 < a) (hb : 0 < b) (h : a + b = {total}) :\n    a * b ≤ {(total // 2) ** 2}",
        f"  have hb' : b = {total} - a := by linarith\n  subst hb'\n  nlinarith [sq_nonneg (a - {total // 2})]",
        f"Eliminate $b$. What is left says $(a - {total // 2})^2 \\ge 0$ after expanding.",
        "  linarith [mul_pos ha hb]",
    )


def divides(rng: random.Random) -> Theorem:
    m, k = rng.randint(3, 12), rng.randint(2, 9)
    return Theorem(
        f"If ${m}$ divides both $x$ and $y$, show that it divides ${k}x - y$ as well, for integers $x, y$.",
        f"(x y : ℤ) (hx : ({m} : ℤ) ∣ x) (hy : ({m} : ℤ) ∣ y) : ({m} : ℤ) ∣ {k} * x - y",
        f"  obtain ⟨c, hc⟩ := hx\n  obtain ⟨d, hd⟩ := hy\n  exact ⟨{k} * c - d, by rw [hc, hd]; ring⟩",
        f"Write $x = {m}c$ and $y = {m}d$; then ${k}x - y = {m}({k}c - d)$.",
        "  omega_nat",
    )


THEOREMS: tuple[Callable[[random.Random], Theorem], ...] = (
    difference,
    solve_line,
    square_bound,
    parity,
    common_divisor,
    gauss_sum,
    remainder,
    conjunction,
    mean_bound,
    divides,
)
PLAN_OPENINGS = (
    "Let me plan the proof before writing Lean.",
    "The informal argument is short.",
    "What would a human do here?",
    "First the mathematics, then the tactics.",
    "I look for the one tactic that closes the goal.",
    "Think about the shape of the goal.",
    "Let me recall what Mathlib offers for this.",
)
PLAN_CLOSINGS = (
    "The names of the hypotheses must be kept as they are.",
    "No extra imports are needed beyond the given header.",
    "I avoid `simp` without arguments, its normal forms change between versions.",
    "Each branch is closed by one line.",
    "If the numerals were larger, `decide` could time out; here it cannot.",
    "Casting is no issue since all types are explicit.",
    "The statement already fixes the types, so elaboration is unambiguous.",
)
FAULTS = (
    "error: unsolved goals after `{first}`",
    "error: tactic `{first}` failed, the goal is not of the required form",
    "error: linarith failed to find a contradiction near `{first}`",
    "error: unknown identifier or failed simp at `{first}`",
)


def files(seed: int, rows: int = 33) -> list[SourceFile]:
    """The one file, all rows sound."""
    rng = random.Random(f"{seed}/proofs")
    numbers = iter(rng.sample(range(100_000, 700_000), rows))
    entries: list[Entry] = []
    while len(entries) < rows:
        theorem = THEOREMS[len(entries) % len(THEOREMS)](rng)
        kind = ("none", "first attempt", "correction")[len(entries) % 3]
        entries.append(Entry(row(rng, theorem, f"problem_{next(numbers)}", kind, len(entries))))
    entries[4].record.update(formal_statement=None, lean_header=None)
    return [SourceFile(DATASET, "lean", "data/lean.jsonl", entries)]


def row(rng: random.Random, theorem: Theorem, name: str, kind: str, index: int) -> Record:
    """One record; `kind` is none, first attempt or correction."""
    header, from_stack = rng.choice(HEADERS), rng.random() < 0.5
    statement = f"theorem {name} {theorem.claim} := by"
    number, user = rng.randint(100_000, 4_900_000), rng.randint(100, 9_999)
    return {
        "problem": theorem.problem,
        "source": "mathstack" if from_stack else "aops",
        "formal_statement": f"{statement} sorry",
        "lean_header": header,
        "url": f"https://math.stackexchange.example/questions/{number}" if from_stack else None,
        "user_name": full_name(rng) if from_stack else None,
        "user_url": f"https://math.stackexchange.example/users/{user}" if from_stack else None,
        "sft_line_number": None if kind == "none" else 1000 + 37 * index,
        "messages": [] if kind == "none" else messages(rng, theorem, header, statement, kind),
        "uuid": identifier(rng),
        "used_in": [] if kind == "none" else ["nano_v3"],
        "tools": [],
        "license": "cc-by-sa-4.0" if from_stack else "cc-by-4.0",
    }


def messages(rng: random.Random, theorem: Theorem, header: str, statement: str, kind: str) -> list[Message]:
    """A request to complete the code, or to repair an attempt with its error, and the answer."""
    proved = f"```lean4\n{header}\n\n{statement}\n{theorem.proof}\n```"
    if kind == "first attempt":
        request = (
            f"Complete the following Lean 4 code:\n\n```lean4\n{header}\n\n/-- {theorem.problem} -/\n{statement}\n  "
            "sorry\n```\n\nBefore producing the Lean 4 code to formally prove the given theorem, provide a proof plan "
            "outlining the main steps."
        )
        lead = rng.choice(("### Plan", "**Outline.**", "Proof idea:"))
    else:
        fault = rng.choice(FAULTS).format(first=theorem.wrong.strip().split("\n")[0])
        request = (
            "Here is a proof attempt for the following theorem in "
            f"Lean4.\n\n```lean4\n{header}\n\n{statement}\n{theorem.wrong}\n```\n\nThe proof is not correct. The "
            f"compiler says:\n{fault}\n\nCorrect the proof."
        )
        lead = rng.choice(
            (
                "The attempt failed because its tactic does not fit the goal.",
                "What went wrong is the last step.",
                "A repair that keeps the statement untouched:",
            )
        )
    thought = " ".join((rng.choice(PLAN_OPENINGS), theorem.idea, *rng.sample(PLAN_CLOSINGS, 2)))
    return [
        {"role": "user", "content": request},
        {"role": "assistant", "content": f"{lead}\n\n{theorem.idea}\n\n{proved}", "reasoning_content": thought},
    ]
