"""The special tokens of the Harmony format and the search for them in text.

Belongs here: their spelling and nothing else. What it means when one is found is decided by the caller.
"""

from __future__ import annotations

import re

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
    r"<\|(?:start|end|message|channel|constrain|return|call|startoftext|endoftext|endofprompt|refusal|reserved_\d+)\|>"
)

_search = re.compile(SPECIAL_TOKEN).search


def find_special_token(text: str) -> str | None:
    """The first special token spelled out in `text`, or None."""
    # Most texts hold no "<|" at all, and the substring search is several times faster than the expression.
    first = text.find("<|")
    if first < 0:
        return None
    found = _search(text, first)
    return found.group() if found else None
