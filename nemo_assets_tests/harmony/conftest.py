"""The official library with its vocabulary, offline."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Official:
    """openai-harmony 0.0.8: what it writes, how it tokenises, what it reads."""

    def __init__(self, encoding: Any) -> None:
        self.encoding = encoding
        self.special_tokens: frozenset[str] = frozenset(encoding.special_tokens_set)

    def tokens(self, conversation: dict[str, Any], auto_drop_analysis: bool = False) -> list[int]:
        """The rendering of a conversation in JSON form."""
        options = {"auto_drop_analysis": auto_drop_analysis}
        return list(self.encoding._inner.render_conversation(json.dumps(conversation), options))

    def text(self, tokens: list[int]) -> str:
        """What tokens spell."""
        return str(self.encoding._inner.decode_utf8(tokens))

    def encode(self, text: str) -> list[int]:
        """Text to tokens, special tokens among them."""
        return list(self.encoding.encode(text, allowed_special="all"))

    def pieces(self, tokens: list[int]) -> list[bytes]:
        """The bytes of each token."""
        return [bytes(self.encoding._inner.decode_bytes([token])) for token in tokens]

    def messages(self, tokens: list[int], role: str | None = None, strict: bool = True) -> list[list[Any]] | None:
        """The messages that its parser reads, as the recorded cases list them; None where it refuses."""
        try:
            read = json.loads(self.encoding._inner.parse_messages_from_completion_tokens(tokens, role, strict))
        except Exception as error:
            if type(error).__name__ != "HarmonyError":
                raise
            return None
        return [[*map(message.get, ("role", "name", "recipient", "channel", "content_type")), _body(message)]
                for message in read]  # fmt: skip


def _body(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Official:
    """The library, with the vocabulary that another package carries."""
    import bpe_openai

    vocabulary = tmp_path_factory.mktemp("vocabulary")
    packed = Path(bpe_openai.__file__).parent / "data" / "o200k_base.tiktoken.gz"
    (vocabulary / "o200k_base.tiktoken").write_bytes(gzip.decompress(packed.read_bytes()))
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(vocabulary)
    import openai_harmony

    return Official(openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS))


@pytest.fixture(scope="session")
def official_text(official: Official) -> Callable[[dict[str, Any]], str]:
    """openai-harmony's rendering of a conversation, decoded; nothing dropped."""
    return lambda conversation: official.text(official.tokens(conversation))
