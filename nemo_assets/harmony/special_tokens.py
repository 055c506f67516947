"""The special tokens of the Harmony format and the search for them in text.

Belongs here: their spelling and nothing else. What it means when one is found is decided by the caller.
"""

from __future__ import annotations

import re
from typing import NamedTuple

START = "<|start|>"
END = "<|end|>"
MESSAGE = "<|message|>"
CHANNEL = "<|channel|>"
CONSTRAIN = "<|constrain|>"
RETURN = "<|return|>"
CALL = "<|call|>"

TERMINATORS = (END, RETURN, CALL)

# Every spelling that a tokenizer of the o200k_harmony vocabulary turns into one token. The libraries differ at the
# edges (`endofprompt` is known to some, `reserved_201088` to others); all are refused.
SPECIAL_TOKEN = (
    r"<\|(?:start|end|message|channel|constrain|return|call"
    r"|startoftext|endoftext|endofprompt|refusal|reserved_[0-9]+)\|>"
)

_search = re.compile(SPECIAL_TOKEN).search


class FoundToken(NamedTuple):
    """A special token spelled out in a text, at an offset in code points."""

    token: str
    offset: int


def special_token_in(text: str) -> FoundToken | None:
    """The first special token spelled out in `text` and its place, or None."""
    found = _search(text)
    return FoundToken(found.group(), found.start()) if found else None


def find_special_token(text: str) -> str | None:
    """The first special token spelled out in `text`, or None."""
    found = _search(text)
    return found.group() if found else None
