"""The corpus for near-duplicate removal: Harmony rows as Parquet with duplicates planted, and the list of them.

    python -m nemo_assets_tests.benchmarks.dedup_corpus FOLDER [--megabytes 222] [--seed 0]

writes `rows.parquet` (`id`, `split`, `domain`, `text`), `planted.parquet` (see `PLANTED`) and `truth.parquet`
(`dedup_truth`: how alike planted rows really are) into a folder of its own in FOLDER, once.

Belongs here: how many rows of which kind there are, and in what order. Does not: what a row looks like
(`dedup_conversations`), how one is changed (`dedup_edits`).
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nemo_assets_tests.benchmarks.dedup_conversations import DOMAINS, Conversation, Conversations
from nemo_assets_tests.benchmarks.dedup_edits import edited, other_numbers, respelled
from nemo_assets_tests.benchmarks.dedup_truth import PLANTED_FILE, ROWS_FILE, TRUTH_FILE, measure_truth
from nemo_assets_tests.dedup.reference import numbers

MEGABYTES = 222.0
ROW_GROUP = 2_048
EDITION = 1  # of what is written here: another one does not take the files of this one for its own

PLANTED = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),  # ordinary, or how the row came to resemble `base`
        ("base", pa.string()),
        ("group", pa.string()),  # first row of all that were derived from one another
        ("family", pa.string()),  # rows that share a prompt or a problem, null where there is none
        ("wanted", pa.float64()),  # Jaccard that the edits aimed at
    ]
)


@dataclass(frozen=True)
class Counts:
    """Rows of every kind in 222 MB; other sizes have them in proportion, two of each at least."""

    rows: int = 25_000
    near: int = 5_000
    numbers: int = 300
    spelling: int = 300
    exact: int = 1_500
    problems: int = 200
    flood: int = 1_000  # rows of each of two floods and of the group that shares a request

    @classmethod
    def of(cls, megabytes: float) -> Counts:
        """The counts for a corpus of another size."""
        return cls(**{name: max(2, round(count * megabytes / MEGABYTES)) for name, count in vars(cls()).items()})


CHAINED = 0.15  # share of edited rows whose base is edited itself
WANTED = (0.28, 1.0)  # of edited words; calls and the opening stay as they are, so that whole texts are more alike
SOLUTIONS = (15, 25)  # of one problem


class Planted(NamedTuple):
    """A row and where it came from. Rows are numbered in the order in which they were made."""

    conversation: Conversation
    kind: str = "ordinary"
    base: int | None = None
    family: int | None = None
    wanted: float | None = None


def corpus(folder: Path, megabytes: float = MEGABYTES, seed: int = 0) -> Path:
    """The folder with the corpus of these arguments, written now if it is not there. The same arguments, same bytes."""
    place = folder / f"dedup-{EDITION}-{megabytes:g}MB-seed{seed}"
    if not (place / TRUTH_FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            unfinished = Path(temporary) / place.name
            unfinished.mkdir()
            write_rows(unfinished, megabytes, seed)
            measure_truth(unfinished)
            unfinished.rename(place)
    return place


def write_rows(folder: Path, megabytes: float, seed: int) -> None:
    """Write the rows, shuffled, and the list of what is planted in them."""
    rows = planted_rows(Counts.of(megabytes), seed)
    order = np.random.default_rng(seed + 1).permutation(len(rows)).tolist()
    ids = [""] * len(rows)
    for place, number in enumerate(order):
        ids[number] = f"row-{place:08d}"
    groups = _groups(rows)
    splits = ("high", "medium", "low")
    table = {
        "id": [ids[number] for number in order],
        "split": [splits[number % len(splits)] for number in order],
        "domain": [rows[number].conversation.domain for number in order],
        "text": [rows[number].conversation.text() for number in order],
    }
    pq.write_table(pa.table(table), folder / ROWS_FILE, row_group_size=ROW_GROUP, compression="zstd")
    planted = [
        {
            "id": ids[number],
            "kind": rows[number].kind,
            "base": _id(ids, rows[number].base),
            "group": ids[groups[number]],
            "family": _id(ids, rows[number].family),
            "wanted": rows[number].wanted,
        }
        for number in order
    ]
    pq.write_table(pa.Table.from_pylist(planted, PLANTED), folder / PLANTED_FILE)


def planted_rows(counts: Counts, seed: int) -> list[Planted]:
    """Every row of the corpus, a base before what is derived from it."""
    conversations, draw = Conversations(seed), np.random.default_rng(seed)
    floods = _floods(conversations, counts)
    solutions = _solutions(conversations, draw, counts)
    derived = counts.near + counts.numbers + counts.spelling + counts.exact
    ordinary = max(counts.near, counts.rows - len(floods) - len(solutions) - derived)
    rows = [Planted(conversations.any()) for _ in range(ordinary)]
    rows += [row._replace(family=row.family + len(rows)) for row in solutions if row.family is not None]
    rows += _near(rows, draw, counts.near, _vocabulary(conversations))
    rows += _derived(rows, draw, counts)
    rows += [row._replace(family=row.family + len(rows)) for row in floods if row.family is not None]
    return rows


def _floods(conversations: Conversations, counts: Counts) -> list[Planted]:
    """Families are numbered from 0, as are those of solutions: by the place of their first row."""
    floods = [("flood", conversations.flood(counts.flood)) for _ in range(2)]
    floods.append(("shared request", conversations.shared_request(counts.flood)))
    return [
        Planted(row, kind, family=place * counts.flood) for place, (kind, rows) in enumerate(floods) for row in rows
    ]


def _solutions(conversations: Conversations, draw: np.random.Generator, counts: Counts) -> list[Planted]:
    solutions: list[Planted] = []
    for _ in range(counts.problems):
        problem, first = conversations.prose.take(int(draw.integers(150, 700))), len(solutions)
        solutions += [
            Planted(conversations.of("math", conversations.size(), problem), "solution", family=first)
            for _ in range(draw.integers(*SOLUTIONS, endpoint=True))
        ]
    return solutions


def _near(rows: list[Planted], draw: np.random.Generator, count: int, vocabulary: Sequence[str]) -> list[Planted]:
    """Edited copies of rows, most of them of a row that has no other one; Jaccard is spread evenly."""
    bases = draw.choice(len(rows), size=count, replace=False).tolist()
    made: list[Planted] = []
    for number, wanted in enumerate(draw.uniform(*WANTED, size=count).tolist()):
        chained = made and draw.random() < CHAINED
        base = len(rows) + int(draw.integers(len(made))) if chained else bases[number]
        source = made[base - len(rows)] if chained else rows[base]
        conversation = edited(source.conversation, draw, wanted, vocabulary)
        made.append(Planted(conversation, "near", base, source.family, wanted))
    return made


def _derived(rows: list[Planted], draw: np.random.Generator, counts: Counts) -> list[Planted]:
    """Siblings with other numbers, other spellings and exact copies of any row so far."""
    made = []
    shares = draw.choice((0.0, 0.1, 0.5, 1.0), size=counts.numbers).tolist()
    mathematics = [n for n, row in enumerate(rows) if row.conversation.domain == "math"]
    for base, share in zip(draw.choice(mathematics, size=counts.numbers).tolist(), shares, strict=True):
        made.append(Planted(other_numbers(rows[base].conversation, draw, share), "numbers", base, rows[base].family))
    for base in draw.integers(len(rows), size=counts.spelling + counts.exact).tolist():
        conversation, kind = rows[base].conversation, "exact"
        if len(made) < counts.numbers + counts.spelling:
            conversation, kind = respelled(conversation, draw), "spelling"
        made.append(Planted(conversation, kind, base, rows[base].family))
    return made


def _vocabulary(conversations: Conversations) -> list[str]:
    words = set(re.findall(r"[^\s\d]+", conversations.prose.take(100_000)))
    return sorted(word for word in words if not numbers(word) and "<" not in word and "|" not in word)


def _groups(rows: list[Planted]) -> list[int]:
    groups: list[int] = []
    for number, row in enumerate(rows):
        groups.append(number if row.base is None else groups[row.base])
    return groups


def _id(ids: Sequence[str], number: int | None) -> str | None:
    return None if number is None else ids[number]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the corpus and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    place = corpus(options.folder, options.megabytes, options.seed)
    rows, planted = pq.read_table(place / ROWS_FILE), pq.read_table(place / PLANTED_FILE)
    size = pa.compute.sum(pa.compute.binary_length(rows["text"])).as_py()
    print(f"{place}: {rows.num_rows:,} rows, {size / 1e6:.0f} MB of text in {len(DOMAINS)} domains")
    for kind, count in zip(*planted["kind"].value_counts().flatten(), strict=True):
        print(f"{count.as_py():>7,} {kind}")


if __name__ == "__main__":
    main()
