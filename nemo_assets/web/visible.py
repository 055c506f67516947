"""Text of data as it may stand on a page: nothing in it is hidden, and nothing in it acts.

Belongs here: which characters are shown as marks, how. Does not: which values a page shows (the templates).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from markupsafe import Markup, escape

_LAYOUT = "\n\t"
# Printable by category, yet a reader sees nothing: fillers, a joiner, an empty Braille cell, choices of variants.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")


def is_hidden(character: str) -> bool:
    """Whether a reader would not see this character, or would see others moved by it."""
    point = ord(character)
    variant = 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF
    return character not in _LAYOUT and (not character.isprintable() or character in _BLANK or variant)


def visible(text: str) -> str:
    """The text with every hidden character as an escape such as `\\u202e`; fit for attributes too, once escaped."""
    hidden = {ord(character): _escape(character) for character in set(text) if is_hidden(character)}
    return text.translate(hidden) if hidden else text


def shown(text: object) -> Markup:
    """HTML of a text: escaped, hidden characters as marks that say their names, isolated from what stands around it."""
    return Markup(f'<bdi class="data">{marked(str(text))}</bdi>')


def marked(text: str) -> Markup:
    """The inside of `shown`: escaped, with marks."""
    hidden = {ord(character): _mark(character) for character in set(text) if is_hidden(character)}
    escaped = str(escape(text))
    return Markup(escaped.translate(hidden) if hidden else escaped)


def _escape(character: str) -> str:
    point = ord(character)
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


@lru_cache(maxsize=4096)
def _mark(character: str) -> str:
    name = escape(unicodedata.name(character, f"character of category {unicodedata.category(character)}"))
    return f'<abbr class="mark" title="{name}">{_escape(character)}</abbr>'
