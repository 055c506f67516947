"""How fast one record is explained, and its page made, in splits as large as the real ones.

    python -m nemo_assets_tests.benchmarks.row_page_speed FOLDER [--records 1000000] [--long 120000] [--rendered 100000]

Two splits go through the real stages below FOLDER, unless they are there: one of JSONL, many short records and then
long ones, whose row groups are as large as they become, and one of rendered text in Parquet, once in row groups of
100 MB, once in a single one. A ninth of the records repeat others; one stands for hundreds.

Belongs here: the sources, scores nobody measured, and the times. Does not: the index alone (`lineage_index_speed`).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from starlette.applications import Starlette
from starlette.testclient import TestClient

from nemo_assets.lineage import explain
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.sample.math_v2 import DATASET, FILES
from nemo_assets.scoring.rows import SCORE_SCHEMA
from nemo_assets.settings import Settings
from nemo_assets.stages.lineage_index import build_lineage_index
from nemo_assets.storage import Basis, Stage, Unit
from nemo_assets.storage.parquet import PartWriter, read_batches
from nemo_assets.web.app import mounted
from nemo_assets_tests.benchmarks.amplified_source import sample_texts
from nemo_assets_tests.benchmarks.lineage_index_speed import told
from nemo_assets_tests.benchmarks.varied_text import WordChain
from nemo_assets_tests.stages.making import make_chain

LINES, TABLES = "nemotron-math-v2/medium", "nemotron-math-v2-harmony-tools/medium"
RENDERED = "radna0/nemotron-math-v2-harmony-tools"
SHORT_CHARACTERS, LONG_CHARACTERS = 900, 15_000  # of an answer
CHUNK = 50_000_000  # characters of text that are drawn at once
REPEATED_EVERY, OFTEN_EVERY, BROKEN_EVERY = 10, 4_001, 200  # records
GROUP_BYTES = 100_000_000  # of a row group as `datasets` writes it
CHECKPOINTS = ("student", "reference")
ASKED = 150


def write_sources(hub: Path, records: int, long: int) -> None:
    """Write the JSONL split: `long` of the `records` are long and come last. The other splits of the source are empty.

    Every so many records one repeats an earlier one, one repeats the first of all, one is cut off.
    """
    path = next(hub / DATASET / path for split, path, *_ in FILES if split == "medium")
    path.parent.mkdir(parents=True)
    for _, name, *_ in FILES:
        (hub / DATASET / name).touch()
    draw = random.Random(0)
    answers = _answers([SHORT_CHARACTERS] * (records - long) + [LONG_CHARACTERS] * long)
    earlier: list[tuple[int, str]] = []
    with path.open("wb") as file:
        for number, answer in enumerate(answers):
            said = (number, answer)
            if number % OFTEN_EVERY == 1 and earlier:
                said = earlier[0]
            elif number % REPEATED_EVERY == 2 and earlier:
                said = draw.choice(earlier)
            elif number % 50 == 0:
                earlier.append(said)
            line = json.dumps(_record(number, *said), ensure_ascii=False).encode()
            file.write((line[: len(line) // 2] if number % BROKEN_EVERY == 3 else line) + b"\n")


def _answers(lengths: Sequence[int]) -> Iterator[str]:
    """Texts of these lengths in characters, cut off one long text that hardly repeats itself."""
    chain, text, place = WordChain(sample_texts()[0], loose=0.8, free=0.4), "", 0
    for seed, length in enumerate(lengths):
        if place + length > len(text):
            text, place = chain.text(CHUNK, seed), 0
        yield text[place : place + length]
        place += length


def _record(number: int, problem: int, text: str) -> dict[str, Any]:
    block = {"count": 8, "pass": number % 9, "accuracy": number % 9 / 8}
    messages = [
        {"role": "user", "content": f"Solve the {problem}th problem of the book."},
        {"role": "assistant", "reasoning_content": text, "content": f"It is $\\boxed{{{problem}}}$."},
    ]
    uuid = f"{random.Random(number // 3).getrandbits(128):032x}"
    return {
        "problem": messages[0]["content"], "expected_answer": str(problem), "messages": messages, "tools": [],
        "metadata": {"reason_medium_no_tool": block}, "license": "cc-by-4.0", "uuid": uuid,
    }  # fmt: skip


def write_rendered(hub: Path, settings: Settings, rows: int) -> None:
    """Write the Parquet split: the last rows of the JSONL one as text, in two files of `rows` / 2."""
    folder = hub / RENDERED / "data"
    folder.mkdir(parents=True)
    parts = settings.store.paths(settings.store.current(Stage.NORMALIZED, LINES))
    texts = pl.scan_parquet(parts).select("text").tail(rows).collect().to_arrow().cast(pa.schema({"text": pa.string()}))
    half = (rows + 1) // 2
    group = max(1, int(GROUP_BYTES / (texts.nbytes / rows)))
    for number, size in enumerate((group, rows)):
        path = folder / f"medium-0000{number}-of-00002.parquet"
        pq.write_table(texts.slice(number * half, half), path, row_group_size=size, compression="snappy")
    for split in ("low", "high_part00", "high_part01", "high_part02"):
        pq.write_table(texts.slice(0, 0), folder / f"{split}-00000-of-00001.parquet")


def write_scores(key: str, settings: Settings) -> None:
    """Write a score of each kept row under each checkpoint, as the stage does; token by token of a few."""
    store = settings.store
    deduped = store.current(Stage.DEDUPED, key)
    with store.staging(Stage.SCORED, key, Basis({"texts": deduped.data_version}, {})) as staging:
        for number, checkpoint in enumerate(CHECKPOINTS):
            path = staging.target(f"scores.{checkpoint}", 0)
            with PartWriter(path, SCORE_SCHEMA) as writer:
                for rows in read_batches(store.paths(deduped), ["id", "text_sha1", "mask_sha1"]):
                    writer.write(_scores(rows, checkpoint, writer.rows))
            staging.add(Unit(number, (staging.part(f"scores.{checkpoint}", path, writer.rows),)))
        staging.commit(counters={"checkpoints": {name: {"rows": deduped.rows()} for name in CHECKPOINTS}})


def _scores(rows: pa.Table, checkpoint: str, first: int) -> pa.Table:
    tokens = 64 if first == 0 else 0
    given = {
        "id": rows["id"], "text_sha1": rows["text_sha1"], "mask_sha1": rows["mask_sha1"],
        "nll_mean": [1 + (first + n) % 1000 / 1000 for n in range(len(rows))], "nll_sum": [400.0] * len(rows),
        "completion_token_count": [400] * len(rows), "truncated": [False] * len(rows), "status": ["ok"] * len(rows),
        "checkpoint": [checkpoint] * len(rows), "origin": ["measured"] * len(rows),
        "percentile_within_split": [50.0] * len(rows), "coverage_within_split": [1.0] * len(rows),
        "token_begins": [list(range(0, 4_000, 4)) if n < tokens else None for n in range(len(rows))],
        "token_nlls": [[1.5] * 1_000 if n < tokens else None for n in range(len(rows))],
    }  # fmt: skip
    columns = [given.get(field.name, pa.nulls(len(rows))) for field in SCORE_SCHEMA]
    return pa.table(
        [pa.array(column, field.type) if isinstance(column, list) else column.cast(field.type)
         for column, field in zip(columns, SCORE_SCHEMA, strict=True)], SCORE_SCHEMA,
    )  # fmt: skip


def make_world(settings: Settings, records: int, long: int, rendered: int) -> None:
    """Take both splits through the stages, as far as that was not done before."""
    hub = settings.source_dir
    assert hub is not None
    if not (hub / DATASET).exists():
        write_sources(hub, records, long)
    make_chain(settings, Stage.POOLS, [LINES])
    if not (hub / RENDERED).exists():
        write_rendered(hub, settings, rendered)
    make_chain(settings, Stage.POOLS, [TABLES])
    for key in (LINES, TABLES):
        if settings.store.find(Stage.SCORED, key) is None:
            write_scores(key, settings)
        build_lineage_index(settings.catalog.split(key), settings.catalog, settings.store)


def measure(settings: Settings, key: str) -> None:
    """Print how long it takes to explain records of each end state, and to make their pages, by record_uid."""
    index = LineageIndex.open(settings.store, key)
    assert index is not None
    draw = random.Random(0)
    entries = index.entries([draw.randrange(index.records) for _ in range(8 * ASKED)])
    client = TestClient(Starlette(routes=mounted(lambda: settings)), raise_server_exceptions=True)
    print(f"{key}: {index.records:,} records")
    for state in ("kept", "removed", "rejected"):
        asked = [entry for entry in entries if entry.state == state][:ASKED]
        if asked:
            _measure(f"{state}, {len(asked)} records", [entry.record_uid for entry in asked], settings, client)
    often = max((entry.survivor_uid for entry in entries if entry.survivor_uid), key=_count(settings), default=None)
    if often is not None:
        _measure(f"a row that stands for {_count(settings)(often)}", [often] * 20, settings, client)


def _count(settings: Settings) -> Any:
    indexes = [index for key in (LINES, TABLES) if (index := LineageIndex.open(settings.store, key))]
    return lambda uid: sum(index.count_removed_for(bytes.fromhex(uid)) for index in indexes)


def _measure(what: str, uids: Sequence[str], settings: Settings, client: TestClient) -> None:
    passports, pages = [], []
    for uid in uids:
        began = time.perf_counter()
        found = explain(uid, settings.catalog, settings.store)
        passports.append(time.perf_counter() - began)
        assert found.original is not None
        assert found.entry.record_uid == uid
    for uid in uids:
        began = time.perf_counter()
        answer = client.get(f"/lineage/row/{uid}")
        pages.append(time.perf_counter() - began)
        assert answer.status_code == 200
    print(f"  {what}: passport {told(passports)}; page {told(pages)}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--long", type=int, default=120_000)
    parser.add_argument("--rendered", type=int, default=100_000)
    chosen = parser.parse_args(arguments)
    settings = Settings(data_dir=chosen.folder / "data", source_dir=chosen.folder / "hub", workers=2)
    make_world(settings, chosen.records, chosen.long, chosen.rendered)
    for key in (LINES, TABLES):
        measure(settings, key)


if __name__ == "__main__":
    main()
