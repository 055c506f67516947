"""Conversations of the corpus for near-duplicate removal, before anything is planted in it.

Belongs here: what a row of each domain looks like, and the endless text it is made of. Does not: which rows resemble
which (`dedup_corpus`), how words are changed (`dedup_edits`).
"""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple, cast

from nemo_assets.harmony.contents import developer_content, system_content
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.render import render_messages
from nemo_assets.sample.math_v2 import PROMPT, TOOL
from nemo_assets_tests.benchmarks.amplified_source import SIGNS, sample_texts
from nemo_assets_tests.benchmarks.varied_text import WordChain

DOMAINS = {"math": 0.45, "proof": 0.1, "science": 0.15, "agentic": 0.15, "chat_if": 0.15}
MEAN = 8_900  # bytes of a row
SPREAD = 0.52  # sigma of the logarithm of a row's size: 5 % are below 3.5 KB, 5 % above 19 KB
SMALLEST = 2_500
CHUNK = 16_000_000  # characters of text drawn at once, never used twice
TOOLS = 60  # schemas that conversations with functions choose from

INSTRUCTIONS = "You will solve the problem and return the final answer in \\boxed{}. Show what you did in between."
FORMULAS = (
    r" $\frac{%d}{%d}$", r" \(x^{%d} + %d\)", r" $\sum_{k=1}^{%d} k^{%d}$", r" \sqrt{%d + %d\,t}", r" $\binom{%d}{%d}$",
    r" \[\int_{0}^{%d} \sin(%dx)\,dx\]", r" $a_{%d} \equiv %d \pmod{7}$", r" \Delta_{%d} < \delta^{%d}",
    r" $\lfloor %d/%d \rfloor$", r" \begin{cases} %d & n \le %d \end{cases}", " %d·10⁻³ ≈ %d µm", " %d² − %d³",
)  # fmt: skip
JOINTS = (" so", " and", " hence", " where", " =", " with", ",\nthus", " let", " since", " is not")
WRITTEN = 4_000  # formulas among the prose that text is drawn from, about one word in eight
FOREIGN = (
    " Ähnlichkeit", " façade", " señal", " größer", " задача", " решение", " доказательство", " πρόβλημα", " λύση",
    " مسألة", " פתרון", " समस्या", " 문제", " 풀이", " 解答", " 問題", " ½", " Ⅳ", " ٣", " 🙂", " \U0001d465",
)  # fmt: skip
CHINESE = (
    "设函数满足以下条件证明对于任意的正整数因此我们得到所以答案是由对称性可知考虑集合中元素个数不超过根据题意假设存在"
    "首先计算然后代入最后验证结果正确注意这里的余数必须非负否则矛盾"
)
PYTHON = cast(dict[str, Any], TOOL["function"])


class Conversation(NamedTuple):
    """One row before it is text."""

    domain: str
    messages: tuple[Message, ...]

    def text(self) -> str:
        """The row as Harmony text."""
        return render_messages(self.messages, closing="training").text


class Conversations:
    """Draws conversations that have nothing in common but what their domain brings; the same seed, the same ones."""

    def __init__(self, seed: int) -> None:
        self.draw = draw = random.Random(seed)
        prose, code = sample_texts()
        formulas = [
            draw.choice(JOINTS) + draw.choice(FORMULAS) % (draw.randint(2, 99), draw.randint(2, 999))
            for _ in range(WRITTEN)
        ]
        chain = WordChain([*prose, "".join(formulas)], loose=0.7, free=0.3, signs=[*SIGNS, *FOREIGN])
        self.prose = _Supply(chain, seed)
        self.code = _Supply(WordChain(code, loose=0.4, free=0.1), seed + 500_000, CHUNK // 4)
        self.tools = [self._tool(number) for number in range(TOOLS)]

    def any(self) -> Conversation:
        """One of any domain."""
        domain = self.draw.choices(list(DOMAINS), list(DOMAINS.values()))[0]
        return self.of(domain, self.size())

    def of(self, domain: str, size: int, problem: str | None = None) -> Conversation:
        """One of about `size` bytes; `problem` is what the user asks, drawn where it is None."""
        asked = problem or self._problem()
        left = max(600, size - len(asked) - 700)
        if domain == "agentic":
            return Conversation(domain, (*self._opening(self.draw.sample(self.tools, 3)), *self._desk(asked, left)))
        with_tool = domain == "math" and self.draw.random() < 0.5
        user = Message("user", PROMPT.format(asked) if domain == "math" else asked)
        system = Message("system", system_content(self.draw.choice(("low", "medium", "high"))))
        developer = Message("developer", developer_content(INSTRUCTIONS, [PYTHON] if with_tool else ()))
        return Conversation(domain, (system, developer, user, *self._answer(left, with_tool)))

    def size(self) -> int:
        """Bytes of a row, drawn."""
        drawn = MEAN * self.draw.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)
        return max(SMALLEST, min(int(drawn), 60_000))

    def flood(self, rows: int) -> list[Conversation]:
        """Rows that share a long system prompt and many tools, with short requests and answers of their own."""
        prompt, tools = self.prose.take(2_500), [self._tool(number) for number in range(14)]
        opening = self._opening(tools, prompt)
        sizes = [(self.draw.randint(60, 160), self.draw.randint(120, 400)) for _ in range(rows)]
        return [Conversation("agentic", (*opening, *self._short(*size))) for size in sizes]

    def shared_request(self, rows: int) -> list[Conversation]:
        """Rows whose user sends one and the same long text, each with an answer of its own."""
        opening = [Message("system", system_content("low")), Message("user", self.prose.take(6_000))]
        sizes = [self.draw.randint(200, 500) for _ in range(rows)]
        return [
            Conversation("chat_if", (*opening, Message("assistant", self.prose.take(size), "final"))) for size in sizes
        ]

    def _problem(self) -> str:
        text = self.prose.take(self.draw.randint(150, 600))
        return f"{text}\n\n{self._chinese()}" if self.draw.random() < 0.03 else text

    def _answer(self, size: int, with_tool: bool) -> list[Message]:
        final = min(size // 4, self.draw.randint(200, 1_500))
        thought = size - final
        messages = []
        for _ in range(self.draw.randint(1, 3) if with_tool else 0):
            messages += [
                Message("assistant", self._reasoning(thought // 5), "analysis"),
                Message("assistant", self.code.take(thought // 15), "analysis", "python"),
                Message("tool", self._printed(), "commentary", name="python"),
            ]
        rest = max(200, thought - sum(len(message.body) for message in messages))
        boxed = f"\n\n$$\\boxed{{{self.draw.randint(0, 9_999)}}}$$"
        messages.append(Message("assistant", self._reasoning(rest), "analysis"))
        messages.append(Message("assistant", self.prose.take(final) + boxed, "final"))
        return messages

    def _reasoning(self, size: int) -> str:
        """Prose, now and then with a block of code or a paragraph of Chinese in it."""
        kind = self.draw.random()
        if kind < 0.05 and size > 400:
            return f"{self.prose.take(size * 2 // 3)}\n\n```python\n{self.code.take(size // 3)}\n```"
        if kind < 0.08 and size > 400:
            return f"{self.prose.take(size * 4 // 5)}\n\n{self._chinese(size // 20)}\n\n{self.prose.take(size // 10)}"
        return self.prose.take(size)

    def _desk(self, asked: str, size: int) -> list[Message]:
        messages = [Message("user", asked)]
        rounds = self.draw.randint(1, 4)
        for _ in range(rounds):
            name = f"functions.{self.draw.choice(self.tools)['name']}"
            arguments = {
                "reference": f"{self.draw.randint(10**6, 10**7)}",
                "note": self.prose.take(size // rounds // 6),
            }
            result = {"status": self.draw.choice(("ok", "done", "open")), "text": self.prose.take(size // rounds // 4)}
            messages += [
                Message("assistant", self.prose.take(size // rounds // 3), "analysis"),
                Message("assistant", _json(arguments), "commentary", name, "<|constrain|>json"),
                Message("tool", _json(result), "commentary", "assistant", name=name),
            ]
        return [*messages, Message("assistant", self.prose.take(size // 4), "final")]

    def _short(self, request: int, answer: int) -> list[Message]:
        return [Message("user", self.prose.take(request)), Message("assistant", self.prose.take(answer), "final")]

    def _opening(self, tools: list[dict[str, Any]], prompt: str = "Help with what the tools are for.") -> list[Message]:
        system = system_content("medium", has_functions=True)
        return [Message("system", system), Message("developer", developer_content(prompt, tools))]

    def _tool(self, number: int) -> dict[str, Any]:
        """A function with three parameters that are described in words."""
        names = self.draw.sample(("account", "amount", "day", "reason", "room", "unit", "query", "limit", "place"), 3)
        properties = {name: {"type": "string", "description": self.prose.take(40)} for name in names}
        parameters = {"type": "object", "properties": properties, "required": names[:1]}
        return {"name": f"tool_{number}", "description": self.prose.take(90), "parameters": parameters}

    def _chinese(self, characters: int = 60) -> str:
        return "".join(self.draw.choices(CHINESE, k=characters)) + "。"

    def _printed(self) -> str:
        return "\n".join(
            str([self.draw.randint(-999, 9_999) for _ in range(8)]) for _ in range(self.draw.randint(1, 4))
        )


class _Supply:
    """Cuts pieces off a text that never ends and never comes again."""

    def __init__(self, chain: WordChain, seed: int, chunk: int = CHUNK) -> None:
        self.chain, self.seed, self.chunk, self.text, self.place = chain, seed, chunk, "", 0

    def take(self, length: int) -> str:
        if self.place + length > len(self.text):
            self.text, self.place = self.chain.text(self.chunk + length, self.seed), 0
            self.seed += 1
        piece = self.text[self.place : self.place + length]
        self.place += length
        return piece.strip() or "."


def _json(value: dict[str, str]) -> str:
    return json.dumps(value, ensure_ascii=False)
