"""The JSON form of an `openai_harmony.Conversation`, rendered to the text that library's tokens spell.

Belongs here: the library's own defaults and oddities (which analysis it drops, when it closes with `<|return|>`), so
that our renderer can be compared with it. Nothing is checked or refused that the library accepts; rows are written with
`render_messages`, which refuses special tokens in content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nemo_assets.harmony.contents import FUNCTIONS, developer_sections, system_content, tools_section
from nemo_assets.harmony.messages import HarmonyError
from nemo_assets.harmony.render import header_text
from nemo_assets.harmony.special_tokens import CALL, END, MESSAGE, RETURN, START

Mode = Literal["conversation", "completion", "training"]


def render(
    conversation: Mapping[str, Any],
    *,
    mode: Mode = "conversation",
    auto_drop_analysis: bool = True,
    next_role: str = "assistant",
) -> str:
    """The text of `conversation`, as openai-harmony 0.0.8 renders it.

    `completion` opens a message of `next_role`; `training` closes a last `final` message with `<|return|>`.

    Raises:
        HarmonyError: the library refuses the conversation.
    """
    messages = conversation["messages"]
    _require_unicode(messages)
    has_functions = any(_defines_functions(message) for message in messages)
    if auto_drop_analysis:
        messages = _without_finished_analysis(messages)
    texts = [_message(message, has_functions) for message in messages]
    if mode == "training" and messages and _is_final(messages[-1]):
        texts[-1] = texts[-1].removesuffix(CALL).removesuffix(END) + RETURN
    if mode == "completion":
        texts.append(START + next_role)
    return "".join(texts)


def _require_unicode(value: Any) -> None:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise HarmonyError("invalid conversation JSON: lone surrogate")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _require_unicode(key)
            _require_unicode(item)
    elif isinstance(value, list):
        for item in value:
            _require_unicode(item)


def _contents(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _defines_functions(message: Mapping[str, Any]) -> bool:
    """Whether a developer content of this message has a `functions` namespace with at least one tool."""
    return any(
        content["type"] == "developer_content" and ((content.get("tools") or {}).get(FUNCTIONS) or {}).get("tools")
        for content in _contents(message)
    )


def _is_final(message: Mapping[str, Any]) -> bool:
    return bool(message["role"] == "assistant" and message.get("channel") == "final")


def _without_finished_analysis(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The library drops analysis before the first final message once the last assistant message is final."""
    last_assistant = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    if last_assistant is None or not _is_final(last_assistant):
        return messages
    first_final = next(i for i, message in enumerate(messages) if message.get("channel") == "final")
    return [m for i, m in enumerate(messages) if i >= first_final or m.get("channel") != "analysis"]


def _message(message: Mapping[str, Any], has_functions: bool) -> str:
    role, name, recipient = message["role"], message.get("name"), message.get("recipient")
    if role == "tool" and name is None:
        raise HarmonyError("Tools should have a name!")
    header = header_text(role, name, recipient, message.get("channel"), message.get("content_type"))
    body = "".join(_content(content, role, has_functions) for content in _contents(message))
    terminator = CALL if role == "assistant" and recipient is not None else END
    return f"{START}{header}{MESSAGE}{body}{terminator}"


def _content(content: Mapping[str, Any], role: str, has_functions: bool) -> str:
    kind = content["type"]
    if kind == "text":
        return str(content["text"])
    if kind == "system_content":
        if role != "system":
            raise HarmonyError(f"SystemContent may only appear in system messages, found in {role.capitalize()}")
        return _system(content, has_functions)
    if role != "developer":
        raise HarmonyError(f"DeveloperContent may only appear in developer messages, found in {role.capitalize()}")
    return developer_sections(content.get("instructions"), _tools(content))


def _system(content: Mapping[str, Any], has_functions: bool) -> str:
    effort = content.get("reasoning_effort")
    channels = content.get("channel_config") or {"valid_channels": [], "channel_required": False}
    return system_content(
        None if effort is None else effort.lower(),
        has_functions=has_functions,
        identity=content.get("model_identity"),
        knowledge_cutoff=content.get("knowledge_cutoff"),
        date=content.get("conversation_start_date"),
        channels=channels["valid_channels"],
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
