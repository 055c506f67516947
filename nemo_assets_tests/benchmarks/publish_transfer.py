"""How many bytes publishing again sends, with Xet storage and with plain large files.

    python -m nemo_assets_tests.benchmarks.publish_transfer [--megabytes 200] [--shards 2] [--folder DIR]

A release of about so many MB of Parquet, rows of the amplified sample written as releases are, is published to a test
Hub by the real client, then again: unchanged, with another `meta_correctness` in every row, with 50 rows more in the
middle of the first shard, with 500 more at the end of the last one. Every publication is a process of its own; each of
the changes is one of the first release. Sent are the bytes that the storage has more afterwards: of Xet the chunks it
had not, with the lists of them, of large files those it had not. MB are 10^6 bytes.

Needs about eight times the disk and five times the memory of the release; DIR is where it is to be.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from nemo_assets.catalog import load_catalog
from nemo_assets.hub.client import Hub
from nemo_assets.hub.hub_target import HubTarget
from nemo_assets.hub.targets import Change
from nemo_assets.records.schema import DICTIONARY_COLUMNS, ROW_SCHEMA
from nemo_assets.stages.normalized import normalize
from nemo_assets.storage import Store
from nemo_assets.storage.parquet import ROW_GROUP_ROWS, PartWriter, read_batches
from nemo_assets_tests.benchmarks.amplified_source import write_source
from nemo_assets_tests.benchmarks.contenders import KEY, STORE, fetch
from nemo_assets_tests.hub.xet import TOKEN, XetStore, serving

REPO = "alice/transfer-pools"
INSERTED, APPENDED = 50, 500  # rows
SOURCE_MEGABYTES = 3.05  # of JSONL to one of Parquet
STORAGES = ("Xet", "large files")
UNCHANGED = "unchanged"


class Sent(NamedTuple):
    """What one publication took: bytes of the release, and bytes that each storage has more since, by its name."""

    release: int
    stored: Mapping[str, int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table, or send one release if the options say so."""
    options = _options(arguments)
    if options.send is not None:
        _send(options.send)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(table(measure(Path(folder), options.megabytes, options.shards)))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure(folder: Path, megabytes: float, shards: int) -> dict[str, Sent]:
    """Publish the releases one after the other, once with each storage."""
    releases = _write_releases(folder, megabytes, shards)
    first = next(iter(releases.values()))
    order = {"first": first, UNCHANGED: first, **{name: each for name, each in releases.items() if each != first}}
    stored = {storage: _published(folder / storage, storage, order) for storage in STORAGES}
    return {
        name: Sent(_size(release.glob("*/*")), {storage: stored[storage][name] for storage in STORAGES})
        for name, release in order.items()
    }


def table(sent: Mapping[str, Sent]) -> str:
    """In Markdown."""
    columns = [f"{storage}: {what}" for storage in STORAGES for what in ("MB sent", "share")]
    lines = [["release", "MB", *columns], ["---"] * (2 + len(columns))]
    for name, each in sent.items():
        shares = [text for stored in each.stored.values() for text in (_mb(stored), f"{stored / each.release:.1%}")]
        lines.append([name, _mb(each.release), *shares])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mb(size: int) -> str:
    return f"{size / 1e6:.2f}"


def _size(paths: Iterator[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


# The releases


def _write_releases(folder: Path, megabytes: float, shards: int) -> dict[str, Path]:
    """The first release and its changes, each in a folder of its own, by what was changed."""
    rows = _rows(folder / "source", megabytes)
    kept = rows.num_rows - INSERTED - APPENDED
    more, last = rows.slice(kept, INSERTED), rows.slice(kept + INSERTED)
    cuts = [kept * number // shards for number in range(shards + 1)]
    first = [rows.slice(begin, end - begin) for begin, end in pairwise(cuts)]
    middle = first[0].num_rows // 2
    releases = {
        "first": first,
        "another meta_correctness": [_with_other_correctness(shard) for shard in first],
        f"{INSERTED} rows in the middle": [
            pa.concat_tables([first[0].slice(0, middle), more, first[0].slice(middle)]),
            *first[1:],
        ],
        f"{APPENDED} rows at the end": [*first[:-1], pa.concat_tables([first[-1], last])],
    }
    return {name: _written(folder / name, shards) for name, shards in releases.items()}


def _rows(folder: Path, megabytes: float) -> pa.Table:
    """Rows of the amplified sample: what becomes `megabytes` of Parquet, and those that are added later."""
    write_source(folder, megabytes * SOURCE_MEGABYTES + (INSERTED + APPENDED) * 0.008)
    fetch(folder)
    store = Store(folder / STORE)
    manifest = normalize(load_catalog().split(KEY), store)
    return pa.concat_tables(read_batches(store.paths(manifest, "rows")))


def _with_other_correctness(rows: pa.Table) -> pa.Table:
    place = rows.schema.get_field_index("meta_correctness")
    changed = pc.multiply(pc.fill_null(rows["meta_correctness"], 0.5), 0.9)
    return rows.set_column(place, rows.schema.field(place), changed)


def _written(folder: Path, shards: Sequence[pa.Table]) -> Path:
    """A release as `stages.release_files` writes it."""
    (folder / "rows").mkdir(parents=True)
    for number, rows in enumerate(shards):
        with PartWriter(folder / "rows" / f"{number:05d}.parquet", ROW_SCHEMA, DICTIONARY_COLUMNS) as writer:
            for begin in range(0, rows.num_rows, ROW_GROUP_ROWS):
                writer.write(rows.slice(begin, ROW_GROUP_ROWS))
    return folder


# Publishing


def _published(folder: Path, storage: str, releases: Mapping[str, Path]) -> dict[str, int]:
    """Bytes that the storage has more after each release."""
    folder.mkdir()
    store = XetStore(folder)
    held: Callable[[], int] = store.chunk_bytes if storage == "Xet" else store.large_bytes
    grown = {}
    with serving(store) as endpoint:
        for name, release in releases.items():
            before = held()
            _run(release, endpoint, storage == "Xet", folder)
            grown[name] = held() - before
    return grown


def _run(release: Path, endpoint: str, xet: bool, folder: Path) -> None:
    """Publish in another process: whether it uses Xet is decided when the client is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-m", f"{__package__}.{Path(__file__).stem}", "--send", str(release.absolute())]
    subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], check=True)


def _send(release: Path) -> None:
    target = HubTarget(Hub(os.environ["HF_ENDPOINT"], os.environ["HF_TOKEN"]))
    files = {path.relative_to(release).as_posix(): path for path in sorted(release.glob("*/*.parquet"))}
    target.commit(REPO, Change(files, (), f"Publish {release.name}"), target.head(REPO))


if __name__ == "__main__":
    main()
