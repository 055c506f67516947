"""The official library with its vocabulary, offline."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def official_text(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], str]:
    """openai-harmony's rendering of a conversation, decoded; nothing dropped."""
    import bpe_openai

    vocabulary = tmp_path_factory.mktemp("vocabulary")
    packed = Path(bpe_openai.__file__).parent / "data" / "o200k_base.tiktoken.gz"
    (vocabulary / "o200k_base.tiktoken").write_bytes(gzip.decompress(packed.read_bytes()))
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(vocabulary)
    import openai_harmony

    encoding = openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS)

    def text_of(conversation: dict[str, Any]) -> str:
        tokens = encoding._inner.render_conversation(json.dumps(conversation), {"auto_drop_analysis": False})
        return str(encoding._inner.decode_utf8(tokens))

    return text_of
