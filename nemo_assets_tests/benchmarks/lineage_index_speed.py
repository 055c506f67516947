"""How fast the lineage index is made and asked, and how large it is.

    python -m nemo_assets_tests.benchmarks.lineage_index_speed FOLDER [--records 4000000] [--megabytes 1000]

Two splits are written below FOLDER: one of many records of hardly any text, for the table of records and the sketches,
and one of long texts, for the words. A file is cold after its pages were dropped from memory, and its process is fresh.

Belongs here: the synthetic stages and what is measured of their index. Does not: a world that went through the real
stages (`lineage.chain`).
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from nemo_assets.catalog import Catalog, load_catalog
from nemo_assets.harmony import canonical_json
from nemo_assets.lineage.find import find
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.records.schema import LEDGER_SCHEMA, REJECTED_SCHEMA
from nemo_assets.stages.lineage_index import build_lineage_index
from nemo_assets.storage import Manifest, Part, Stage, Store
from nemo_assets.storage.layout import part_name
from nemo_assets.storage.parquet import write_part
from nemo_assets_tests.benchmarks.amplified_source import sample_texts
from nemo_assets_tests.benchmarks.varied_text import WordChain

MANY, LONG = "nemotron-math-v2/low", "nemotron-math-v2/medium"
FILE = "data/made.jsonl"
REMOVED, REJECTED = 0.12, 0.01  # share of records
TEXT_CHARACTERS = 7_000  # of a row of the split of long texts
PART_ROWS = 100_000
ASKED = 300  # lookups of a kind
PASTES = 40


def write_stages(store: Store, key: str, records: int, texts: Callable[[int, int], list[str]], seed: int = 0) -> None:
    """Write what the index of a split is made from: `texts(begin, end)` are those of the records [begin, end)."""
    draw = np.random.default_rng(seed)
    fates = draw.choice(3, size=records, p=[1 - REMOVED - REJECTED, REMOVED, REJECTED])
    uids, hexes = _uids(draw, records), _uids(draw, records)
    normalized, signed = (_Written(store, stage, key) for stage in (Stage.NORMALIZED, Stage.SIGNATURES))
    deduped = _Written(store, Stage.DEDUPED, key)
    ledger = []
    for begin in range(0, records, PART_ROWS):
        places = np.arange(begin, min(begin + PART_ROWS, records))
        part = _rows(places, uids, hexes, texts(begin, int(places[-1]) + 1))
        fate = fates[places]
        rejected = part.filter(fate == 2)
        normalized.add(rows=part.filter(fate != 2).to_arrow(), rejected=_rejected(rejected))
        signed.add(rows=_signatures(draw, int((fate != 2).sum())))
        deduped.add(rows=part.filter(fate == 0).select("source_file", "source_row", "text").to_arrow())
        ledger.append(_entries(part, fate, uids, draw))
    files = {FILE: {"records": records}}
    made = normalized.commit({"files": files})
    signed.commit({}, details={"normalized": made.data_version})
    kept = deduped.commit({}, {"normalized": made.data_version})
    entries = _Written(store, Stage.LEDGER, key)
    entries.add(rows=pl.concat(ledger).to_arrow().cast(LEDGER_SCHEMA))
    counted = {"kept": int((fates == 0).sum()), "removed": {"near_duplicate": int((fates == 1).sum())}}
    entries.commit(
        {"records": records, "rejected": {"unparseable": int((fates == 2).sum())}, **counted},
        {"deduped": kept.data_version, "normalized": made.data_version},
    )


class _Written:
    """A stage in the making, part by part; what was not made by the chain has no version of its own."""

    def __init__(self, store: Store, stage: Stage, key: str) -> None:
        self._store, self._stage, self._key = store, stage, key
        self._parts: dict[str, list[Part]] = {}

    def add(self, **tables: pa.Table) -> None:
        for name, table in tables.items():
            done = self._parts.setdefault(name, [])
            path = self._store.directory(self._stage, self._key) / "made" / part_name(name, len(done))
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = write_part(path, table)
            done.append(Part(name, path.relative_to(self._store.root).as_posix(), rows, path.stat().st_size, ""))

    def commit(
        self, counters: dict[str, Any], inputs: dict[str, str] | None = None, details: dict[str, Any] | None = None
    ) -> Manifest:
        parts = tuple(part for done in self._parts.values() for part in done)
        made = f"{self._stage} as made"
        return self._store.write_manifest(
            Manifest(self._stage, self._key, "made", made, inputs or {}, {}, parts, counters, details or {})
        )


def _uids(draw: np.random.Generator, count: int) -> NDArray[np.bytes_]:
    return np.frombuffer(draw.bytes(16 * count), "V16")


def _rows(places: NDArray[np.int64], uids: Any, hexes: Any, texts: list[str]) -> pl.DataFrame:
    """Rows with ids as those of Math-v2, the longest there are."""
    first, last = int(places[0]), int(places[-1]) + 1
    named = pl.Series([value.tobytes().hex() for value in hexes[first:last]])
    uuid = named.str.replace(r"(.{8})(.{4})(.{4})(.{4})(.{12})", "$1-$2-$3-$4-$5")
    return pl.DataFrame(
        {
            "record_uid": [value.tobytes() for value in uids[first:last]],
            "id": uuid + "-" + named.str.slice(0, 12),
            "content_sha1": named + named.str.slice(8, 8),
            "text_sha1": named.str.reverse() + named.str.slice(0, 8),
            "source_uuid": pl.Series([None] * len(places), dtype=pl.String),
            "meta_problem_id": uuid,
            "source_file": [FILE] * len(places),
            "source_row": places,
            "source_offset": places * 4_000,
            "text": texts,
        }
    )


def _rejected(rows: pl.DataFrame) -> pa.Table:
    columns = {name: [None] * rows.height for name in REJECTED_SCHEMA.names}
    columns |= {name: rows[name].to_list() for name in ("record_uid", "source_file", "source_row", "source_offset")}
    columns |= {"dataset": ["d"] * rows.height, "split": ["s"] * rows.height, "code": ["unparseable"] * rows.height}
    columns["raw"] = [text.encode() for text in rows["text"].to_list()]
    return pa.table(columns, REJECTED_SCHEMA)


def _signatures(draw: np.random.Generator, rows: int) -> pa.Table:
    data = pa.py_buffer(draw.bytes(512 * rows))
    return pa.table({"minhash": pa.Array.from_buffers(pa.binary(512), rows, [None, data])})


def _entries(part: pl.DataFrame, fate: NDArray[np.int64], uids: Any, draw: np.random.Generator) -> pl.DataFrame:
    similarity = 0.8 + 0.2 * draw.random(part.height)
    survivors = [uids[n].tobytes() for n in draw.integers(0, len(uids), part.height)]
    measured = {"containment": 0.97, "rule": "Jaccard of 5-token shingles, verified exactly, version 1"}
    evidence = [
        None
        if kind == 0
        else canonical_json({**measured, "similarity": value, "threshold": 0.8, "survivor_partition": MANY})
        if kind == 1
        else '{"reason":"blank_line","rule":"unparseable, version 1"}'
        for kind, value in zip(fate.tolist(), similarity.tolist(), strict=True)
    ]
    state = pl.Series(fate).replace_strict({0: "kept", 1: "removed", 2: "rejected"}, return_dtype=pl.String)
    removed = pl.Series(fate == 1)
    return part.select("record_uid", "source_file", "source_row", "source_offset").with_columns(
        dataset=pl.lit("d"),
        split=pl.lit("s"),
        id=pl.select(pl.when(pl.Series(fate != 2)).then(part["id"])).to_series(),
        state=state,
        code=state.replace_strict(
            {"kept": None, "removed": "near_duplicate", "rejected": "unparseable"}, return_dtype=pl.String
        ),
        evidence=pl.Series(evidence),
        survivor_uid=pl.select(pl.when(removed).then(pl.Series(survivors))).to_series(),
        similarity=pl.select(pl.when(removed).then(pl.Series(similarity))).to_series(),
    ).select(LEDGER_SCHEMA.names)  # fmt: skip


def short_texts(begin: int, end: int) -> list[str]:
    return [f"<|start|>assistant<|message|>Record {number}.<|return|>" for number in range(begin, end)]


def long_texts(megabytes: int) -> list[str]:
    """Texts that look like the bundled sample and hardly repeat themselves."""
    prose, _ = sample_texts()
    chain, pieces = WordChain(prose, 0.3, 0.05), []
    for seed in range(0, megabytes, 100):
        text = chain.text(min(100, megabytes - seed) * 1_000_000, seed)
        pieces += [text[n : n + TEXT_CHARACTERS] for n in range(0, len(text), TEXT_CHARACTERS)]
    return [f"<|start|>assistant<|message|>{piece}<|return|>" for piece in pieces]


def measure_build(store: Store, catalog: Catalog, key: str) -> Manifest:
    """Make the index of a split and print how long that took."""
    began, spent = time.perf_counter(), time.process_time()
    manifest = build_lineage_index(catalog.split(key), catalog, store)
    records, text = manifest.counters["records"], manifest.counters["text_bytes"]
    sizes = {table: sum(part.bytes for part in manifest.table(table)) for table in ("records", "sketches", "text")}
    seconds = time.perf_counter() - began
    print(f"{key}: {records:,} records, {text / 1e6:,.0f} MB of text")
    print(f"  built in {seconds:.1f} s ({time.process_time() - spent:.1f} s of CPU)")
    print(f"  {seconds / records * 1e6:.1f} s a million records; {seconds / text * 1e9:.1f} s a gigabyte of text")
    apart = (sizes["records"] + sizes["sketches"]) / records
    print(f"  {apart:.0f} bytes a record apart from words, words {sizes['text'] / text:.3f} of the text")
    return manifest


def measure_lookups(store: Store, key: str) -> None:
    """Print how long it takes to look a record up by each of its names."""
    index = LineageIndex.open(store, key)
    assert index is not None
    numbers = random.Random(0).sample(range(index.records), ASKED)
    entries = index.entries(numbers)
    survivors = [bytes.fromhex(entry.survivor_uid) for entry in entries if entry.survivor_uid]
    kept = [entry for entry in entries if entry.state == "kept"]
    for name, ask, asked in (
        ("uid of a kept row", index.by_uid, [entry.uid for entry in kept]),
        ("uid of any record, with its evidence", index.by_uid, [entry.uid for entry in entries]),
        ("id", lambda value: index.by_id(value, 10), [entry.id for entry in kept]),
        ("beginning of an id", lambda value: index.beginning(value[:12], 10), [entry.id for entry in kept]),
        ("what was removed for a row", lambda value: index.removed_for(value, 100), survivors),
        ("absent uid", index.by_uid, [bytes(16)] * ASKED),
    ):
        print(f"  {name}: {told(_times(ask, asked))}")


def measure_cold(store: Store, key: str) -> None:
    """Print how long the first lookup of a fresh process takes whose files are not in memory."""
    script = (
        "import sys, time; from pathlib import Path; from nemo_assets.lineage.index import LineageIndex; "
        "from nemo_assets.storage import Store; began = time.perf_counter(); "
        "index = LineageIndex.open(Store(Path(sys.argv[1])), sys.argv[2]); "
        "index.by_uid(bytes.fromhex(sys.argv[3])); print(time.perf_counter() - began)"
    )
    index = LineageIndex.open(store, key)
    assert index is not None
    times = []
    for number in random.Random(1).sample(range(index.records), 10):
        entry = index.entries([number])[0]
        for part in index.manifest.parts:
            _drop(store.path(part))
        command = [sys.executable, "-c", script, str(store.root), key, entry.record_uid]
        times.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"  first lookup of a process, cold: {told(times)}")


def _drop(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_pastes(store: Store, catalog: Catalog, texts: Sequence[str]) -> None:
    """Print how long it takes to find texts by a piece of them, and how often the right one comes first."""
    draw = random.Random(2)
    for words in (12, 60, 400):
        right, times = 0, []
        for _ in range(PASTES):
            text = draw.choice(texts)
            piece = " ".join(text.split(" ")[100 : 100 + words])
            began = time.perf_counter()
            finding = find(piece, catalog, store, 10)
            times.append(time.perf_counter() - began)
            right += any(hit.snippet and hit.snippet.strip("…")[:40] in text for hit in finding.hits[:1])
        print(f"  paste of {words} words: {told(times)}, right one first {right} of {PASTES}")


def _times(ask: Callable[[Any], Any], values: Sequence[Any]) -> list[float]:
    return list(_each_time(ask, values))


def _each_time(ask: Callable[[Any], Any], values: Sequence[Any]) -> Iterator[float]:
    for value in values:
        began = time.perf_counter()
        ask(value)
        yield time.perf_counter() - began


def told(times: Sequence[float]) -> str:
    worst = sorted(times)[int(0.98 * (len(times) - 1))]
    return f"median {1e3 * statistics.median(times):.2f} ms, 98 % within {1e3 * worst:.2f} ms"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=4_000_000)
    parser.add_argument("--megabytes", type=int, default=1_000)
    chosen = parser.parse_args(arguments)
    catalog = load_catalog()
    many, long = Store(chosen.folder / "many"), Store(chosen.folder / "long")
    if many.find(Stage.LEDGER, MANY) is None:
        write_stages(many, MANY, chosen.records, short_texts)
    measure_build(many, catalog, MANY)
    measure_lookups(many, MANY)
    measure_cold(many, MANY)
    texts = long_texts(chosen.megabytes)
    if long.find(Stage.LEDGER, LONG) is None:
        write_stages(long, LONG, len(texts), lambda begin, end: texts[begin:end])
    measure_build(long, catalog, LONG)
    measure_pastes(long, catalog, texts)


if __name__ == "__main__":
    main()
