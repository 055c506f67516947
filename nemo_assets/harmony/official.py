"""The JSON form of an `openai_harmony.Conversation`, rendered to the text that library's tokens spell.

Belongs here: what the library writes for such a conversation and which reasoning a rendering keeps, so that our
renderer can be compared with it. Nothing is refused that the library accepts; rows are written with `render_messages`,
which refuses special tokens in content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

from nemo_assets.harmony.contents import FUNCTIONS, developer_sections, system_content, tools_section
from nemo_assets.harmony.messages import ROLES, HarmonyError
from nemo_assets.harmony.render import header_text
from nemo_assets.harmony.special_tokens import CALL, END, MESSAGE, RETURN, START

Mode = Literal["conversation", "completion", "training"]

History = Literal["keep_all", "last_turn", "openai_default"]
"""Which messages on the analysis channel are written.

`keep_all`: all of them, as distilled traces need. `last_turn`: those after the last user message, as a model sees them
while it answers. `openai_default`: what the library drops unless told otherwise, which is the analysis before the
*first* final message once the last assistant message is final.
"""

_MODES, _HISTORIES = get_args(Mode), get_args(History)
_Json = Mapping[str, Any]


def render(
    conversation: _Json,
    *,
    mode: Mode = "conversation",
    history: History | None = None,
    auto_drop_analysis: bool | None = None,
    next_role: str = "assistant",
) -> str:
    """The text of `conversation`, as openai-harmony 0.0.8 renders it.

    `completion` opens a message of `next_role`; `training` closes a last `final` message with `<|return|>`. Nothing is
    dropped unless `history` says so; the library's own `auto_drop_analysis` stands for `openai_default` (True) or
    `keep_all` (False).

    Raises:
        HarmonyError: the conversation is none, or the library refuses it; where one message is at fault, its index and
            field are named.
    """
    policy = _policy(history, auto_drop_analysis)
    if mode not in _MODES:
        raise HarmonyError(f"no mode {mode!r}; there are {', '.join(_MODES)}")
    if mode == "completion" and next_role not in ROLES:
        raise HarmonyError(f"no role {next_role!r} to speak next; there are {', '.join(sorted(ROLES))}")
    messages = conversation.get("messages") if isinstance(conversation, Mapping) else None
    if not isinstance(messages, (list, tuple)):
        raise HarmonyError("a conversation is an object with a list of messages")
    texts = [_message(number, message, messages) for number, message in enumerate(messages)]
    if policy != "keep_all":
        written = _written(messages, policy)
        texts = [texts[number] for number in written]
        messages = [messages[number] for number in written]
    if mode == "training" and messages and _is_final(messages[-1]):
        texts[-1] = texts[-1].removesuffix(CALL).removesuffix(END) + RETURN
    if mode == "completion":
        texts.append(START + next_role)
    return "".join(texts)


def _policy(history: History | None, auto_drop_analysis: bool | None) -> History:
    if auto_drop_analysis is None:
        policy = history or "keep_all"
        if policy not in _HISTORIES:
            raise HarmonyError(f"no history {policy!r}; there are {', '.join(_HISTORIES)}")
        return policy
    asked: History = "openai_default" if auto_drop_analysis else "keep_all"
    if history is not None and history != asked:
        raise HarmonyError(f"history {history!r} contradicts auto_drop_analysis={auto_drop_analysis}")
    return asked


def _is_final(message: _Json) -> bool:
    return bool(message["role"] == "assistant" and message.get("channel") == "final")


def _written(messages: Sequence[_Json], policy: History) -> list[int]:
    """The numbers of the messages that stay: analysis before `kept_from` goes, whoever speaks."""
    kept_from = 0
    if policy == "last_turn":
        kept_from = max((number for number, message in enumerate(messages) if message["role"] == "user"), default=0)
    else:
        last_assistant = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
        if last_assistant is not None and _is_final(last_assistant):
            kept_from = next(number for number, message in enumerate(messages) if message.get("channel") == "final")
    return [
        number for number, message in enumerate(messages) if number >= kept_from or message.get("channel") != "analysis"
    ]


def _message(number: int, message: _Json, messages: Sequence[_Json]) -> str:
    try:
        get = message.get
        fields = (get("role"), get("name"), get("recipient"), get("channel"), get("content_type"))
        content = get("content")
    except AttributeError:
        raise HarmonyError("a message is an object", number, "role") from None
    try:
        opening, terminator = _frame(*fields)
    except HarmonyError as error:
        raise HarmonyError(error.reason, number, error.field) from None
    except TypeError:  # a value that cannot be a key of the cache is no text either
        field = next(field for field, value in zip(_FIELDS, fields, strict=True) if not isinstance(value, str | None))
        raise HarmonyError("must be text", number, field) from None
    if type(content) is list and len(content) == 1 and type(content[0]) is dict and content[0].get("type") == "text":
        content = content[0].get("text")  # what nearly every message is
        if type(content) is not str:
            raise HarmonyError("must be text", number, "content[0].text")
    elif type(content) is not str:
        content = _joined(number, str(fields[0]), content, messages)
    text = f"{opening}{content}{terminator}"
    if not text.isascii():
        _require_unicode(text, number, "content")
    return text


_FIELDS = ("role", "name", "recipient", "channel", "content_type")


@lru_cache(maxsize=16384)
def _frame(
    role: str, name: str | None, recipient: str | None, channel: str | None, content_type: str | None
) -> tuple[str, str]:
    """`<|start|>`, header, `<|message|>`, and the terminator. Conversations use few different ones, so they are kept.

    Errors name the field; which message it is, only the caller knows.
    """
    if role not in ROLES:
        raise HarmonyError(f"no role {role!r}; there are {', '.join(sorted(ROLES))}", field="role")
    for field, value in zip(_FIELDS, (role, name, recipient, channel, content_type), strict=True):
        if value is not None:
            if not isinstance(value, str):
                raise HarmonyError("must be text", field=field)
            _require_unicode(value, None, field)
    if role == "tool" and name is None:
        raise HarmonyError("Tools should have a name!", field="name")
    opening = f"{START}{header_text(role, name, recipient, channel, content_type)}{MESSAGE}"
    return opening, CALL if role == "assistant" and recipient is not None else END


def _require_unicode(text: str, number: int | None, field: str) -> None:
    try:
        text.encode("utf-16-le")  # the codec that refuses lone surrogates soonest
    except UnicodeEncodeError as error:
        raise HarmonyError(f"invalid conversation JSON: lone surrogate at {error.start}", number, field) from None


def _joined(number: int, role: str, contents: Any, messages: Sequence[_Json]) -> str:
    """The body that a list of contents makes."""
    if not isinstance(contents, (list, tuple)):
        raise HarmonyError("must be text or a list of contents", number, "content")
    parts = []
    for place, content in enumerate(contents):
        field = f"content[{place}]"
        kind = content.get("type") if isinstance(content, Mapping) else None
        if kind == "text":
            part = content.get("text")
            if not isinstance(part, str):
                raise HarmonyError("must be text", number, f"{field}.text")
        else:
            try:
                part = _structured(content, kind, role, messages)
            except HarmonyError as error:
                raise HarmonyError(error.reason, number, field) from None
            except (KeyError, TypeError, AttributeError) as error:
                raise HarmonyError(f"{kind} that cannot be read: {error!r}", number, field) from error
        parts.append(part)
    return parts[0] if len(parts) == 1 else "".join(parts)


def _structured(content: _Json, kind: Any, role: str, messages: Sequence[_Json]) -> str:
    _require_unicode_within(content.get("tools"))
    if kind == "system_content":
        if role != "system":
            raise HarmonyError(f"SystemContent may only appear in system messages, found in {role.capitalize()}")
        return _system(content, _has_functions(messages))
    if kind == "developer_content":
        if role != "developer":
            raise HarmonyError(f"DeveloperContent may only appear in developer messages, found in {role.capitalize()}")
        return developer_sections(content.get("instructions"), _tools(content))
    raise HarmonyError(f"no content type {kind!r}; there are text, system_content, developer_content")


def _require_unicode_within(value: Any) -> None:
    """What of a schema is not written must be text too: the library reads no conversation that holds anything else."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if not item.isascii():
                _require_unicode(item, None, "")
        elif isinstance(item, Mapping):
            pending += (*item.keys(), *item.values())
        elif isinstance(item, (list, tuple)):
            pending += item


def _has_functions(messages: Sequence[_Json]) -> bool:
    """Whether any developer content has a `functions` namespace with at least one tool."""
    # The concrete type is asked for first because it is the faster question.
    developers = [m for m in messages if isinstance(m, (dict, Mapping)) and m.get("role") == "developer"]
    lists = [contents for m in developers if isinstance(contents := m.get("content"), (list, tuple))]
    return any(
        isinstance(content, Mapping) and ((content.get("tools") or {}).get(FUNCTIONS) or {}).get("tools")
        for contents in lists
        for content in contents
    )


# Conversations of one source use few different system messages.
_system_text = lru_cache(maxsize=4096)(system_content)


def _system(content: Mapping[str, Any], has_functions: bool) -> str:
    effort = content.get("reasoning_effort")
    channels = content.get("channel_config") or {"valid_channels": [], "channel_required": False}
    return _system_text(
        None if effort is None else effort.lower(),
        has_functions=has_functions,
        identity=content.get("model_identity"),
        knowledge_cutoff=content.get("knowledge_cutoff"),
        date=content.get("conversation_start_date"),
        channels=tuple(channels["valid_channels"]),
        channel_required=channels["channel_required"],
        tools_section=_tools(content),
    )


def _tools(content: Mapping[str, Any]) -> str | None:
    """The tools section: namespaces in the order of their keys, None where there are none."""
    namespaces = content.get("tools")
    if not namespaces:
        return None
    # The library keeps namespaces in a map ordered by the bytes of the key.
    ordered = (namespaces[key] for key in sorted(namespaces, key=str.encode))
    return tools_section([(item["name"], item.get("description"), item["tools"]) for item in ordered])
