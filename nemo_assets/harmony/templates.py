"""Templates: how a conversation becomes Harmony messages. A template's version is its name.

Belongs here: the fixed texts and the choice of header for each kind of turn. A change of what a template writes is a
new template with a new name. Does not: how a message is written (`render`), what a source's fields mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nemo_assets.harmony.contents import FUNCTIONS, IDENTITY, KNOWLEDGE_CUTOFF, developer_content, system_content
from nemo_assets.harmony.conversation import PYTHON_TOOLS, Conversation, Turn, canonical_json
from nemo_assets.harmony.messages import Message
from nemo_assets.harmony.render import Closing, Rendered, render_messages
from nemo_assets.harmony.special_tokens import CONSTRAIN

UNNAMED_TOOL = "tool"
"""The author of a tool result whose tool the source does not name."""

CONTENT_BESIDE_CALLS = "dialect:content_beside_calls"
UNNAMED_TOOL_RESULT = "dialect:unnamed_tool_result"

_MATH_DEVELOPER = Message(
    "developer",
    "# Instructions\n\nYou will solve the problem and return the final answer in \\boxed{}. "
    "Do not guess the answer, unless specifically given permission to.",
)
_MATH_SYSTEM = {effort: Message("system", system_content(effort)) for effort in ("low", "medium", "high")}

_PROOFS_PROMPT = (
    Message(
        "system",
        f"{IDENTITY}\nKnowledge cutoff: {KNOWLEDGE_CUTOFF}\n\n# Task: Convert the user's math statement into Lean 4.",
    ),
    Message(
        "developer",
        "# Instructions\n\nConvert the math problem into a Lean 4 theorem statement. Return Lean code only.",
    ),
)


@dataclass(frozen=True)
class Template:
    """A named way to write conversations: what each turn becomes and how the last message ends."""

    name: str
    closing: Closing
    to_messages: Callable[[Conversation], list[Message]]
    drops_content_beside_calls: bool = False

    def drops(self, turn: Turn) -> bool:
        """Whether this template has no place for `turn`, so that its text does not hold it."""
        return self.drops_content_beside_calls and turn.channel == "commentary" and not turn.is_call

    def tags(self, conversation: Conversation) -> tuple[str, ...]:
        """Quality tags for what this template could not write as the source has it."""
        tags = []
        if any(self.drops(turn) for turn in conversation.turns):
            tags.append(CONTENT_BESIDE_CALLS)
        if any(turn.role == "tool" and turn.tool is None for turn in conversation.turns):
            tags.append(UNNAMED_TOOL_RESULT)
        return tuple(tags)


def render_conversation(conversation: Conversation, template_name: str) -> Rendered:
    """Write `conversation` with the template of this name.

    Raises:
        Rejected: as `render_messages`.
        KeyError: there is no such template.
    """
    template = TEMPLATES[template_name]
    return render_messages(template.to_messages(conversation), closing=template.closing)


def interpreter_code(turn: Turn) -> str | None:
    """The Python source a call runs when it goes to the interpreter with nothing but `code`, else None."""
    arguments = turn.arguments
    if turn.tool in PYTHON_TOOLS and isinstance(arguments, dict) and len(arguments) == 1:
        code = arguments.get("code")
        if isinstance(code, str):
            return code
    return None


def _math_v2(conversation: Conversation) -> list[Message]:
    """The dialect of the published rendering of Math-v2: calls on the analysis channel, tool results without recipient.

    A system turn, which Math-v2 does not have, stays a plain system message where it stands.
    """
    messages = [_MATH_SYSTEM[conversation.effort], _MATH_DEVELOPER]
    for turn in conversation.turns:
        if turn.role == "assistant":
            if turn.tool is not None:
                messages.append(_math_v2_call(turn, turn.tool))
            elif turn.channel != "commentary":
                messages.append(Message("assistant", turn.body, turn.channel))
        elif turn.role == "tool":
            messages.append(Message("tool", turn.body, "commentary", name=_result_author(turn)))
        elif turn.role == "user" or turn.body.strip():
            messages.append(Message(turn.role, turn.body))
    return messages


def _math_v2_call(turn: Turn, tool: str) -> Message:
    if tool not in PYTHON_TOOLS:
        return Message("assistant", canonical_json(turn.arguments), "analysis", tool)
    code = interpreter_code(turn)
    return Message("assistant", canonical_json(turn.arguments) if code is None else code, "analysis", "python")


def _proofs_statement(conversation: Conversation) -> list[Message]:
    """A problem as the user's message and its Lean statement as the only answer; source system turns have no place."""
    turns = [Message(turn.role, turn.body, turn.channel) for turn in conversation.turns if turn.role != "system"]
    return [*_PROOFS_PROMPT, *turns]


def _harmony_1(conversation: Conversation) -> list[Message]:
    """Canonical Harmony without a date: the source's system turns as instructions, its tools as functions."""
    turns = conversation.turns
    leading = list(itertools.takewhile(lambda turn: turn.role == "system", turns))
    spoken = [turn.body for turn in leading if turn.body.strip()]
    tools = conversation.tools
    messages = [Message("system", system_content(conversation.effort, has_functions=bool(tools)))]
    if spoken or tools:
        messages.append(Message("developer", developer_content("\n\n".join(spoken) if spoken else None, tools)))
    for turn in turns[len(leading) :]:
        if turn.role == "system":
            if turn.body.strip():
                messages.append(Message("developer", developer_content(turn.body)))
        else:
            messages.append(_harmony_1_message(turn))
    return messages


def _harmony_1_message(turn: Turn) -> Message:
    if turn.role == "assistant" and turn.tool is not None:
        recipient = f"{FUNCTIONS}.{turn.tool}"
        return Message("assistant", canonical_json(turn.arguments), "commentary", recipient, f"{CONSTRAIN}json")
    if turn.role == "assistant":
        return Message("assistant", turn.body, turn.channel)
    if turn.role == "tool":
        author = UNNAMED_TOOL if turn.tool is None else f"{FUNCTIONS}.{turn.tool}"
        return Message("tool", turn.body, "commentary", "assistant", name=author)
    return Message(turn.role, turn.body)


def _result_author(turn: Turn) -> str:
    return UNNAMED_TOOL if turn.tool is None else turn.tool


TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        template.name: template
        for template in (
            Template("math-v2", "dialect", _math_v2, drops_content_beside_calls=True),
            Template("proofs-statement", "training", _proofs_statement),
            Template("harmony-1", "training", _harmony_1),
        )
    }
)
