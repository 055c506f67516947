"""Records as each source writes them, and the way one record takes to become a row.

Every builder gives a plain record of its source; keyword arguments replace or add fields.
"""

import json
import random
import string
from typing import Any

import msgspec

from nemo_assets.catalog import Catalog, Split, load_catalog
from nemo_assets.errors import Rejected
from nemo_assets.records.adapters import load_adapter
from nemo_assets.records.parsing import deep_recursion, parse_record
from nemo_assets.records.row_groups import RowGroup
from nemo_assets.records.rows import SourceFileRef, row_of

Record = dict[str, Any]
Columns = dict[str, Any]

CATALOG = load_catalog()
CONTENT_ID = "c" * 64
REVISION = "1" * 40

MATH, LOW_MATH = "nemotron-math-v2/high_part00", "nemotron-math-v2/low"
LEAN = "nemotron-math-proofs-v1/lean"
MCQ = "nemotron-science-v1/MCQ"
TOOL_CALLING = "nemotron-agentic-v1/tool_calling"
CHAT_IF = "nemotron-instruction-following-chat-v1/chat_if"
RENDERED = "nemotron-math-v2-harmony-tools/high_part00"


def user(content: Any = "What is 6 x 7?") -> Record:
    return {"role": "user", "content": content}


def assistant(content: Any = "\\boxed{42}", reasoning: Any = "Six sevens.", **fields: Any) -> Record:
    return {"role": "assistant", "content": content, "reasoning_content": reasoning, **fields}


def tool_call(name: str, arguments: Any, call_id: str = "call_1", **fields: Any) -> Record:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **fields}


def tool(name: str, parameters: Any = None) -> Record:
    return {"type": "function", "function": {"name": name, "description": f"Runs {name}.", "parameters": parameters}}


def prose(seed: int, words: int) -> str:
    """So many invented words, others for each seed, without a number among them."""
    chooser = random.Random(seed)
    return " ".join("".join(chooser.choices(string.ascii_lowercase, k=7)) for _ in range(words))


def reworded(text: str, *places: int) -> str:
    """The text with other words at these places."""
    words = text.split(" ")
    for place in places:
        words[place] = f"another{words[place]}"
    return " ".join(words)


def math_v2(**fields: Any) -> Record:
    return {
        "problem": "What is 6 x 7?", "expected_answer": "42", "original_expected_answer": None,
        "changed_answer_to_majority": False, "data_source": "AoPS", "messages": [user(), assistant()], "metadata": {},
        "license": "cc-by-4.0", "used_in": ["nano_v3"], "uuid": "problem-1", "url": None, "tools": [],
    } | fields  # fmt: skip


def proofs(**fields: Any) -> Record:
    return {
        "problem": "Prove that one is one.", "source": "aops",
        "formal_statement": "theorem problem_7 : 1 = 1 := by sorry",
        "lean_header": "import Mathlib", "url": None, "messages": [], "uuid": "proof-1", "used_in": [], "tools": [],
        "license": "cc-by-4.0",
    } | fields  # fmt: skip


def science(**fields: Any) -> Record:
    messages = [user("Which gas do plants take in?"), assistant("The answer is (C).", "Photosynthesis.")]
    return {
        "uuid": "science-1",
        "messages": messages,
        "license": "cc-by-4.0",
        "used_in": ["nano_v3"],
        "tools": [],
    } | fields


def agentic(**fields: Any) -> Record:
    messages = [
        {"role": "system", "content": ""},
        user("Weather in Rome?"),
        assistant("", "I look it up.", tool_calls=[tool_call("weather", {"city": "Rome"})]),
        {"role": "tool", "tool_call_id": "call_1", "content": {"sky": "clear"}},
        assistant("It is clear in Rome.", "", tool_calls=None),
    ]
    tools = [tool("weather", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})]
    return {
        "uuid": "agentic-1",
        "messages": messages,
        "license": "cc-by-4.0",
        "used_in": ["nano_v3"],
        "tools": tools,
    } | fields


def chat(**fields: Any) -> Record:
    messages = [{"role": "system", "content": "Answer in French."}, user("Good day!"), assistant("Bonjour !", "")]
    return {
        "uuid": "chat-1", "messages": messages, "license": "odc-by-1.0", "used_in": ["nano_v3"], "tools": [],
        "reasoning": "off", "capability_target": "chat",
    } | fields  # fmt: skip


def rendered(text: str) -> Record:
    return {"text": text}


def with_source(slug: str, **fields: object) -> Catalog:
    """The catalog with other fields in the entry of one source."""
    sources = CATALOG.sources | {slug: msgspec.structs.replace(CATALOG.sources[slug], **fields)}
    return msgspec.structs.replace(CATALOG, sources=sources)


def data_file(split: Split) -> str:
    """Where the records of a split lie in its source, unless the card says otherwise."""
    rendered = split.source.adapter == "rendered_text"
    return f"data/{split.name}-00000-of-00001.parquet" if rendered else f"data/{split.name}.jsonl"


def normalize_one(
    record: Record | bytes,
    split_key: str,
    *,
    catalog: Catalog = CATALOG,
    keep: frozenset[str] = frozenset(),
    number: int = 0,
) -> Columns | Rejected:
    """The row of one record of this split, or why there is none.

    Records of JSONL sources go through a line and the parser as in the chain; bytes are taken as the line itself.
    """
    split = catalog.split(split_key)
    path = data_file(split)
    file = SourceFileRef(split, path, CONTENT_ID, REVISION)
    group = RowGroup(file)
    try:
        with deep_recursion():
            if path.endswith(".parquet"):
                assert isinstance(record, dict)
                parsed, tags, offset = record, [], None
            else:
                line = record if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False).encode()
                (parsed, tags), offset = parse_record(line), 0
            group.add(row_of(parsed, tags, file, load_adapter(split), number, offset, keep))
    except Rejected as rejection:
        return rejection
    (row,) = group.drain().to_pylist()
    return dict(row)
