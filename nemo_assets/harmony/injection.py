"""Special tokens spelled out in what a conversation is made of, before a rendering hides which field they came from.

Belongs here: the walk over fields and the place of a find. Does not: the refusal itself, which `render` makes by the
text it is about to write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nemo_assets.harmony.conversation import Conversation
from nemo_assets.harmony.special_tokens import CONSTRAIN, special_token_in


class Injection(NamedTuple):
    """A special token in a field, named as a path such as `tools[0].parameters.properties.a.description`.

    `offset` counts code points within that field. A token in a name of a field is found in `<path> (key)`.
    """

    token: str
    field: str
    offset: int


def injection_in(value: Any, field: str = "") -> Injection | None:
    """The first special token in the strings of a JSON value, keys included, in the order they are written.

    `<|constrain|>` at the beginning of a `content_type` is part of the format.
    """
    pending: list[tuple[str, Any]] = [(field, value)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, str):
            allowed = len(CONSTRAIN) if path.endswith("content_type") and item.startswith(CONSTRAIN) else 0
            found = special_token_in(item[allowed:])
            if found is not None:
                return Injection(found.token, path, found.offset + allowed)
        elif isinstance(item, Mapping):
            inside: list[tuple[str, Any]] = []
            for key, inner in item.items():
                inside += ((f"{path} (key)", key), (f"{path}.{key}" if path else str(key), inner))
            pending += reversed(inside)
        elif isinstance(item, Sequence):
            pending += [(f"{path}[{number}]", inner) for number, inner in enumerate(item)][::-1]
    return None


def injection_in_conversation(conversation: Conversation) -> Injection | None:
    """The first special token in the turns of a conversation, then in its tools."""
    for number, turn in enumerate(conversation.turns):
        spoken = {"tool": turn.tool, "channel": turn.channel, "body": turn.body}
        found = injection_in(spoken, f"turns[{number}]")
        if found is not None:
            return found
    return injection_in(list(conversation.tools), "tools")
