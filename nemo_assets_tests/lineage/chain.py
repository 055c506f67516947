"""A small world: six source files with what real ones go wrong with, taken through the real stages to a release.

Science MCQ and RQA hold equal conversations, Math-v2 low and medium share problems, and the rendered source holds
Math-v2's own text as Parquet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets.catalog import Catalog
from nemo_assets.hub.sources import open_source
from nemo_assets.scoring.rows import SCORE_SCHEMA
from nemo_assets.settings import Settings
from nemo_assets.stages.deduped import dedupe
from nemo_assets.stages.duplicates import find_duplicates
from nemo_assets.stages.ledger import write_ledger
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.pools import build_pools
from nemo_assets.stages.published import publish
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.signatures import sign
from nemo_assets.storage import Basis, Stage, Store, Unit
from nemo_assets.storage.parquet import write_part

LOW, MEDIUM = "nemotron-math-v2/low", "nemotron-math-v2/medium"
MCQ, RQA = "nemotron-science-v1/MCQ", "nemotron-science-v1/RQA"
RENDERED = "nemotron-math-v2-harmony-tools/low"
PARTITIONS = (LOW, MEDIUM, MCQ, RQA, RENDERED)

FILES = {
    LOW: "nvidia/Nemotron-Math-v2/data/low.jsonl",
    MEDIUM: "nvidia/Nemotron-Math-v2/data/medium.jsonl",
    MCQ: "nvidia/Nemotron-Science-v1/data/MCQ.jsonl",
    RQA: "nvidia/Nemotron-Science-v1/data/RQA.jsonl",
}
PARQUET = ("data/low-00000-of-00002.parquet", "data/low-00001-of-00002.parquet")

PROBLEM_1, PROBLEM_2 = "11111111-aaaa-4000-8000-000000000001", "22222222-bbbb-4000-8000-000000000002"
SHARED_UUID = "99999999-cccc-4000-8000-000000000009"


def messages(question: str, answer: str, system: str | None = None) -> list[dict[str, Any]]:
    head = [{"role": "system", "content": system}] if system else []
    return [*head, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def line(**fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _math(uuid: str, question: str, answer: str, passed: int | None) -> bytes:
    block = {"count": 8, "pass": passed, "accuracy": (passed or 0) / 8}
    evaluation = {f"reason_{effort}_no_tool": block for effort in ("low", "medium")} if passed is not None else {}
    return line(uuid=uuid, expected_answer="4", messages=messages(question, answer), tools=[], metadata=evaluation)


LINES: dict[str, list[bytes]] = {
    LOW: [
        b"\xef\xbb\xbf" + _math(PROBLEM_1, "What is 2 + 2, at length?", "Two and two make four: \\boxed{4}", 6),
        _math(PROBLEM_1, "What is 2 + 2, at length?", "Counting on from two gives \\boxed{4}", 6),
        b"   ",
        b'{"uuid": "broken", "messages": "\xff\xfe"}',
        _math(PROBLEM_2, "What is 3 + 1, said another way?", "It is the sum \\boxed{4} — vier", None),
        b'{"uuid": "cut off", "messages": [',
    ],
    MEDIUM: [_math(PROBLEM_2, "What is 3 + 1, said another way?", "It is the sum \\boxed{4} — vier", 2)],
    MCQ: [
        line(uuid="mcq-first", messages=messages("Which gas do plants use?", "They take up carbon dioxide.")),
        line(uuid="mcq-again", messages=messages("Which gas do plants use?", "They take up carbon dioxide.")) + b"\r",
        line(uuid="mcq-short", messages=messages("What melts at 0 °C?", "Ice melts at that temperature.")),
        line(uuid="mcq-long", messages=messages("What melts at 0 °C?", "Ice melts at that temperature.", "Be exact.")),
        b"[1, 2, 3]",
    ],
    RQA: [
        line(uuid="rqa-same", messages=messages("Which gas do plants use?", "They take up carbon dioxide.", "Why?")),
        line(uuid=SHARED_UUID, messages=messages("Why is the sky blue?", "Short waves scatter more strongly.")),
        line(uuid=SHARED_UUID, messages=messages("Why is the sea salty?", "Rivers carry dissolved minerals there.")),
    ],
}  # fmt: skip
ENDS_WITH_NEWLINE = {LOW: False, MEDIUM: True, MCQ: True, RQA: True}


@dataclass(frozen=True)
class World:
    """The data directory after the chain has run, and what the Parquet source holds, file by file."""

    settings: Settings
    texts: dict[str, list[str | None]]

    @property
    def catalog(self) -> Catalog:
        return self.settings.catalog

    @property
    def store(self) -> Store:
        return self.settings.store


def build_world(root: Path) -> World:
    """Write the sources below `root`, run every CPU stage, publish into a directory, score Math-v2 low."""
    settings = Settings(data_dir=root / "data", source_dir=root / "hub")
    for key, path in FILES.items():
        write_lines(root / "hub" / path, LINES[key], ENDS_WITH_NEWLINE[key])
    for key in FILES:
        _to_signatures(key, settings)
    texts = _write_parquet(root / "hub" / "radna0/nemotron-math-v2-harmony-tools", settings)
    _to_signatures(RENDERED, settings)
    for scope in ("distilled", "rendered"):
        find_duplicates(scope, settings.catalog, settings.store)
    for key in PARTITIONS:
        split = settings.catalog.split(key)
        dedupe(split, settings.store)
        write_ledger(split, settings.store)
        build_pools(split, settings.catalog, settings.store)
    publish(settings.catalog.split(LOW), settings)
    _write_scores(settings.store)
    return World(settings, texts)


def write_lines(path: Path, lines: list[bytes], ends_with_newline: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + (b"\n" if ends_with_newline else b""))


def _to_signatures(key: str, settings: Settings) -> None:
    split = settings.catalog.split(key)
    fetch_split(split, open_source(split.repo, settings.source_dir), settings.store)
    normalize(split, settings.store)
    sign(split, settings.catalog, settings.store)


def _write_parquet(repo: Path, settings: Settings) -> dict[str, list[str | None]]:
    """Two files: Math-v2's text and a null in row groups of one row, then text that is no UTF-8."""
    normalized = settings.store.current(Stage.NORMALIZED, LOW)
    text = pl.read_parquet(settings.store.paths(normalized))["text"]
    texts: dict[str, list[str | None]] = {PARQUET[0]: [text[0], None, text[1]], PARQUET[1]: [text[2]]}
    (repo / "data").mkdir(parents=True)
    pq.write_table(pa.table({"text": texts[PARQUET[0]]}), repo / PARQUET[0], row_group_size=1)
    odd = pa.array([text[2].encode(), b"caf\xe9"]).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"text": odd}), repo / PARQUET[1])
    return texts


def _write_scores(store: Store) -> None:
    deduped = store.current(Stage.DEDUPED, LOW)
    rows = pl.read_parquet(store.paths(deduped)).select("id", "text_sha1", "mask_sha1")
    scores = [
        {
            "id": row["id"], "nll_mean": 1.25 + n, "nll_sum": 12.5, "ppl": 3.5, "completion_token_count": 10,
            "prompt_token_count": 20, "truncated": False, "straddlers": 0, "status": "ok", "reason": None,
            "text_sha1": row["text_sha1"], "mask_sha1": row["mask_sha1"], "model": "tiny", "revision": "0" * 40,
            "checkpoint": "student", "origin": "measured", "percentile_within_split": 25.0 + 50 * n,
            "coverage_within_split": 1.0,
        }
        for n, row in enumerate(rows.iter_rows(named=True))
    ]  # fmt: skip
    with store.staging(Stage.SCORED, LOW, Basis({"texts": "t"}, {})) as staging:
        path = staging.target("scores.student", 0)
        count = write_part(path, pa.Table.from_pylist(scores, schema=SCORE_SCHEMA))
        staging.add(Unit(0, (staging.part("scores.student", path, count),)))
        staging.commit(counters={})
