"""How fast Harmony text is written, read and judged, beside openai-harmony in the same run.

    python -m nemo_assets_tests.benchmarks.harmony_speed [--rounds 7] [--conversations 60]

Input: conversations of about 23 KB in the JSON form of the library, mathematics and Python in turn with mathematical
signs outside ASCII, every text different. One core, CPU time of the process, the best of the rounds; MB are bytes of
UTF-8. What is kept between conversations (headers) is kept in every round, as it is in a run over millions of rows.
openai-harmony turns text to tokens and back, which is all it offers; a comparison with it is one of the whole task.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpe_openai

from nemo_assets.harmony import loss_spans, parse, render, validate_messages
from nemo_assets.harmony.contents import IDENTITY, KNOWLEDGE_CUTOFF

BYTES = 23_000
ROUNDS_OF_TOOL_USE = 4
MATHS = (
    "Let $x_{}^2 + {}y \\le {}$, so that $\\frac{{{}}}{{b}}$ is an integer. Hence ∑ over n ≤ {} of φ(n) gives π²/{}, "
    "and by symmetry we may assume |a − b| < {}; the case of {} being even is similar.\n"
)
CODE = (
    "import sympy as sp\nfor i in range({}):\n    value = sp.factorint(i * {} + {})\n    if value.get({}, 0) < {}:\n"
    "        print(i, value | {{{}: 1}})  # expect {} of {}\n"
)


def main() -> None:
    """Measure every step and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--conversations", type=int, default=60)
    options = parser.parse_args()
    conversations = [conversation(seed) for seed in range(options.conversations)]
    texts = [render(each) for each in conversations]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6

    def judge(text: str) -> None:
        messages = parse(text)
        validate_messages(messages)
        loss_spans(messages, "assistant_all")

    steps: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "render": (render, conversations),
        "parse": (parse, texts),
        "validate + spans (parse included)": (judge, texts),
    }
    speeds = {name: megabytes / best(step, inputs, options.rounds) for name, (step, inputs) in steps.items()}
    written, read = _official(conversations, texts, megabytes)
    kilobytes = megabytes * 1e3 / len(texts)
    print(f"{len(texts)} conversations of {kilobytes:.1f} KB, one core, CPU time, best of {options.rounds}")
    print("| step | MB/s | µs a conversation | × openai-harmony |\n|---|---|---|---|")
    for name, speed in speeds.items():
        against = written if name == "render" else read
        print(f"| {name} | {speed:,.0f} | {kilobytes / speed * 1e3:.1f} | {speed / against:,.0f} |")
    for name, speed in (("openai-harmony render", written), ("openai-harmony parse", read)):
        print(f"| {name} | {speed:,.1f} | {kilobytes / speed * 1e3:,.0f} | 1 |")


def best(step: Callable[[Any], object], inputs: Sequence[Any], rounds: int) -> float:
    """CPU seconds of one pass over the inputs, the least of the rounds."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        for item in inputs:
            step(item)
        times.append(time.process_time() - begin)
    return min(times)


def conversation(seed: int) -> dict[str, Any]:
    """One conversation with tool use, in the JSON form of the library."""
    words = random.Random(seed)
    size = BYTES // (4 * ROUNDS_OF_TOOL_USE + 1)  # headers, and the last line of every text, take the rest

    def text(pattern: str, length: int) -> list[dict[str, str]]:
        lines: list[str] = []
        while sum(map(len, lines)) < length:
            lines.append(pattern.format(*(words.randint(1, 10**4) for _ in range(8))))
        return [{"type": "text", "text": "".join(lines)}]

    channels = {"valid_channels": ["analysis", "commentary", "final"], "channel_required": True}
    system = {
        "type": "system_content",
        "model_identity": IDENTITY,
        "knowledge_cutoff": KNOWLEDGE_CUTOFF,
        "reasoning_effort": "High",
        "channel_config": channels,
    }
    developer = {"type": "developer_content", "instructions": "Return the answer in \\boxed{}."}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": [system]},
        {"role": "developer", "content": [developer]},
        {"role": "user", "content": text(MATHS, 300)},
    ]
    for _ in range(ROUNDS_OF_TOOL_USE):
        messages += (
            {"role": "assistant", "channel": "analysis", "content": text(MATHS, 2 * size)},
            {
                "role": "assistant",
                "channel": "analysis",
                "recipient": "python",
                "content_type": "code",
                "content": text(CODE, size),
            },
            {
                "role": "tool",
                "name": "python",
                "recipient": "assistant",
                "channel": "analysis",
                "content": text("{} {} {} {}\n", size // 2),
            },
        )
    messages.append({"role": "assistant", "channel": "final", "content": text(MATHS, size)})
    return {"messages": messages}


def _official(conversations: Sequence[dict[str, Any]], texts: Sequence[str], megabytes: float) -> tuple[float, float]:
    """MB/s at which the library renders and parses, after a look that it writes the same text."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(bpe_openai.__file__).parent / "data" / "o200k_base.tiktoken.gz"
        (Path(folder) / "o200k_base.tiktoken").write_bytes(gzip.decompress(packed.read_bytes()))
        os.environ["TIKTOKEN_ENCODINGS_BASE"] = folder
        import openai_harmony

        encoding = openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
    keep = openai_harmony.RenderConversationConfig(auto_drop_analysis=False)
    official = [openai_harmony.Conversation.from_json(json.dumps(each)) for each in conversations]

    def write(each: Any) -> list[int]:
        return encoding.render_conversation(each, keep)

    tokens = [write(each) for each in official]
    if [encoding.decode_utf8(each) for each in tokens] != list(texts):
        raise SystemExit("openai-harmony writes another text: nothing to compare")
    read = encoding.parse_messages_from_completion_tokens
    return megabytes / best(write, official, 2), megabytes / best(read, tokens, 2)


if __name__ == "__main__":
    main()
