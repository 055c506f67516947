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

search_text = re.compile(SPECIAL_TOKEN).search
"""The first special token in text, or None."""
search_utf8 = re.compile(SPECIAL_TOKEN.encode()).search
"""The same in UTF-8: a special token is ASCII, which stands for itself there and nowhere else."""


class FoundToken(NamedTuple):
    """A special token spelled out in a text, at an offset in code points."""

    token: str
    offset: int


def special_token_in(text: str) -> FoundToken | None:
    """The first special token spelled out in `text` and its place, or None."""
    found = search_text(text)
    return FoundToken(found.group(), found.start()) if found else None


def find_special_token(text: str) -> str | None:
    """The first special token spelled out in `text`, or None."""
    found = search_text(text)
    return found.group() if found else None
