"""Fetching a split while everything goes wrong: the right bytes become current, or none."""

from __future__ import annotations

import contextlib
import hashlib
import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.catalog import Split
from nemo_assets.catalog.entries import SplitEntry
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.sources import DirectorySource, HubSource
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.raw import fetch_split
from nemo_assets.storage import Manifest, Stage, Store
from nemo_assets_tests.building import CATALOG
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "org/Stormy"
CARD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {{split: low, path: data/low*}}\n---\n{words}\n"


def as_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def a_split(files: tuple[str, ...] | None = None) -> Split:
    split = CATALOG.split("nemotron-math-v2/low")
    return msgspec.structs.replace(
        split, source=msgspec.structs.replace(split.source, repo=REPO), entry=SplitEntry(files)
    )


def source_on(hub: RunningHub) -> HubSource:
    return HubSource(REPO, Hub(hub.endpoint, hub.token, Retry(sleep=lambda _: None)))


def contents_here(raw: Manifest, store: Store) -> dict[str, bytes]:
    return {file["path"]: (store.root / file["blob"]).read_bytes() for file in raw.details["files"]}


def a_fault(draw: random.Random) -> Fault:
    path, times = draw.choice(["^/large/", "/resolve/", "/resolve/.*/data/", "/api/"]), draw.choice([1, 1, 2, 5])
    busy = "/api/datasets/[^/]+/[^/]+$" if path == "/api/" else path  # in a listing the client itself waits, for real
    at, delay = draw.randrange(250_000), draw.choice([0.0, 0.0, 0.02])
    return draw.choice(
        [
            Fault(path, times=times, delay=delay, reset_after=at),
            Fault(path, times=times, delay=delay, drop_after=at),
            Fault(path, times=times, delay=delay, truncate=at),
            Fault(path, times=times, delay=delay, flip=True),
            Fault(path, times=times, delay=delay, ignore_range=True),
            Fault(busy, times=times, delay=delay, status=429, headers={"Retry-After": "0"}),
            Fault(busy, times=times, delay=delay, status=503, headers={"Retry-After": "0"}),
            Fault("/resolve/|^/large/", times=times, status=draw.choice([404, 408, 500, 502, 503, 504])),
        ]
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_storm_ends_with_the_right_bytes_or_with_none(hub_server: RunningHub, tmp_path: Path, seed: int) -> None:
    draw, suffix = random.Random(seed), ["parquet", "jsonl"][seed % 2]  # kept as large files, and by git itself
    files = {
        f"data/low-0000{n}-of-00005.{suffix}": draw.randbytes(draw.randrange(200_000)).hex().encode() for n in range(5)
    }
    hub_server.store.seed(REPO, {**files, "README.md": CARD.format(words=f"Storm {seed}").encode()})
    for _ in range(draw.randrange(5, 40)):
        hub_server.wire.inject(a_fault(draw))
    store, source = Store(tmp_path / "data"), source_on(hub_server)
    for _ in range(3):
        with contextlib.suppress(UserError):
            fetch_split(a_split(), source, store)
        current = store.find(Stage.RAW, a_split().key)
        assert current is None or contents_here(current, store) == files
    hub_server.wire.heal()
    calm = fetch_split(a_split(), source, store)
    assert contents_here(calm, store) == files
    assert [part.sha256 for part in calm.parts] == [hashlib.sha256(content).hexdigest() for content in files.values()]
    named = {file[name] for file in calm.details["files"] for name in ("content_id", "held_as")}
    assert {path.name for path in (store.root / "raw/blobs").iterdir()} == named


def test_one_file_that_cannot_be_had_makes_nothing_current_and_costs_the_others_nothing(
    hub_server: RunningHub, tmp_path: Path
) -> None:
    files = {f"data/low-0000{n}-of-00003.parquet": bytes([n]) * 100_000 for n in range(3)}
    hub_server.store.seed(REPO, files)
    gone = hub_server.store.large_path(hashlib.sha256(files["data/low-00001-of-00003.parquet"]).hexdigest())
    hub_server.wire.inject(Fault(f"^/large/{gone.name}", status=404, delay=0.5))
    store, source = Store(tmp_path / "data"), source_on(hub_server)
    with pytest.raises(UserError, match=r"answered 404 for org/Stormy"):
        fetch_split(a_split(("data/*",)), source, store)
    assert store.find(Stage.RAW, a_split().key) is None
    fetch_split(a_split(("data/*",)), source, store)
    assert sorted(len(hub_server.wire.received("GET", f"^/large/{part.name}")) for part in gone.parent.iterdir()) == [
        1, 1, 2,
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_equal_bytes_are_fetched_once_whatever_their_path_split_or_revision(
    hub_server: RunningHub, tmp_path: Path, suffix: str
) -> None:
    """Large files and those that git holds itself; renamed, in two splits, and in a history that was rewritten."""
    content = b'{"a": 1}\n' * 1000
    hub_server.store.seed(REPO, {f"data/low.{suffix}": content, f"data/copy.{suffix}": content})
    store, source = Store(tmp_path / "data"), source_on(hub_server)
    first = fetch_split(a_split((f"data/low.{suffix}",)), source, store)
    other = msgspec.structs.replace(a_split((f"data/copy.{suffix}",)), name="medium")
    assert fetch_split(other, source, store).parts == first.parts
    hub_server.store.seed(REPO, {f"data/new.{suffix}": content}, removed=[f"data/low.{suffix}"])
    hub_server.store.squash(REPO)
    renamed = fetch_split(a_split((f"data/new.{suffix}",)), source, store)
    assert (renamed.parts, renamed.data_version == first.data_version) == (first.parts, False)
    assert len(hub_server.wire.received("GET", r"/resolve/.*\." + suffix)) == 1


@pytest.mark.parametrize("where", ["hub", "directory"])
@pytest.mark.parametrize("size", [3_000, 3_000_000])
def test_bytes_that_went_bad_on_the_disk_are_not_taken_over(
    hub_server: RunningHub, tmp_path: Path, where: str, size: int
) -> None:
    files = {"data/low.parquet": b"a" * size}
    hub_server.store.seed(REPO, files)
    (tmp_path / "sources" / REPO / "data").mkdir(parents=True)
    (tmp_path / "sources" / REPO / "data/low.parquet").write_bytes(files["data/low.parquet"])
    source = source_on(hub_server) if where == "hub" else DirectorySource(tmp_path / "sources", REPO)
    store = Store(tmp_path / "data")
    raw = fetch_split(a_split(), source, store)
    (store.root / raw.parts[0].path).write_bytes(b"b" * size)
    other = msgspec.structs.replace(a_split(("data/low.parquet",)), name="medium")
    assert contents_here(fetch_split(other, source, store), store) == files
    assert len(hub_server.wire.received("GET", "^/large/")) == (2 if where == "hub" else 0)


def test_a_download_that_the_disk_cannot_hold_does_not_begin(hub_server: RunningHub, tmp_path: Path) -> None:
    hub_server.store.seed(REPO, {"data/low.parquet": b"x"})
    repository = hub_server.store.repositories[REPO]
    files = dict(repository.commits[repository.head].files)
    files["data/low.parquet"] = replace(files["data/low.parquet"], size=10**18)
    hub_server.store.commit(repository, files, "Say that it is an exabyte", "", "owner")
    store = Store(tmp_path / "data")
    with pytest.raises(
        UserError,
        match=r"the disk is full for nemotron-math-v2/low: 1,000,000,000,000,000,000 bytes are needed, [\d,]+ are free",
    ):
        fetch_split(a_split(), source_on(hub_server), store)
    assert not hub_server.wire.received("GET", "^/large/|/resolve/")
    assert list((store.root / "raw/blobs").iterdir()) == []


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(("data/low.jsonl", b'{"a": 1}\n' * 1000), id="lines"),
        pytest.param(("data/low.parquet", as_parquet(pa.table({"a": list(range(1000))}))), id="parquet"),
    ],
)
def test_a_sample_survives_a_bad_line_and_tells_a_dead_one(
    hub_server: RunningHub, tmp_path: Path, file: tuple[str, bytes]
) -> None:
    hub_server.store.seed(REPO, {file[0]: file[1]})
    store, source = Store(tmp_path / "data"), source_on(hub_server)
    hub_server.wire.inject(Fault("/resolve/.*/low|^/large/", reset_after=0, times=100))
    with pytest.raises(UserError, match=rf"^{hub_server.endpoint} cannot be reached for org/Stormy \("):
        fetch_split(a_split(), source, store, max_records=3)
    assert store.find(Stage.RAW, a_split().key) is None
    hub_server.wire.heal()
    for fault in ({"reset_after": 10}, {"truncate": 10}, {"status": 503}):
        hub_server.wire.inject(Fault("/resolve/.*/low|^/large/", **fault))
    raw = fetch_split(a_split(), source, store, max_records=3)
    [head] = contents_here(raw, store).values()
    if file[0].endswith("jsonl"):
        assert head == b'{"a": 1}\n' * 3
    else:
        assert pq.read_table(pa.BufferReader(head)).to_pylist() == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_parquet_beside_its_jsonl_is_recorded_as_left_out(hub_server: RunningHub, tmp_path: Path) -> None:
    hub_server.store.seed(REPO, {"data/low.jsonl": b'{"a": 1}\n', "data/low-00000-of-00001.parquet": b"PAR1"})
    raw = fetch_split(a_split(), source_on(hub_server), Store(tmp_path / "data"))
    assert [file["path"] for file in raw.details["files"]] == ["data/low.jsonl"]
    assert raw.details["left_out"] == [
        {"path": "data/low-00000-of-00001.parquet", "reason": "the same records as data/low.jsonl"}
    ]
    assert not hub_server.wire.received("GET", "parquet")


def test_an_older_head_is_a_lagging_cache_unless_it_was_reported(hub_server: RunningHub, tmp_path: Path) -> None:
    older = hub_server.store.seed(REPO, {"data/low.jsonl": b'{"a": 1}\n'})
    newer = hub_server.store.seed(REPO, {"data/low.jsonl": b'{"a": 2}\n'})
    store, source, split = Store(tmp_path / "data"), source_on(hub_server), a_split()
    assert fetch_split(split, source, store).details["revision"] == newer

    hub_server.store.lag(REPO, older, reads=10)
    assert contents_here(fetch_split(split, source, store), store) == {"data/low.jsonl": b'{"a": 2}\n'}
    hub_server.wire.forget()
    rolled_back = fetch_split(split, source, store, reported=older)
    assert len(hub_server.wire.received("GET", f"^/api/datasets/{REPO}$")) == 1  # a second look could see another head
    assert contents_here(rolled_back, store) == {"data/low.jsonl": b'{"a": 1}\n'}


def test_a_file_that_git_holds_is_named_as_in_a_directory(hub_server: RunningHub, tmp_path: Path) -> None:
    content = b'{"a": 1}\n'  # small: no LFS
    hub_server.store.seed(REPO, {"data/low.jsonl": content})
    (tmp_path / "sources" / REPO / "data").mkdir(parents=True)
    (tmp_path / "sources" / REPO / "data" / "low.jsonl").write_bytes(content)
    sources = {"hub": source_on(hub_server), "directory": DirectorySource(tmp_path / "sources", REPO)}
    made = {name: fetch_split(a_split(), source, Store(tmp_path / name)) for name, source in sources.items()}
    assert made["hub"].details["files"][0]["content_id"] == hashlib.sha256(content).hexdigest()
    assert made["hub"].details["files"][0]["content_id"] == made["directory"].details["files"][0]["content_id"]
    assert made["hub"].parts == made["directory"].parts


def test_a_blob_that_went_bad_after_it_was_fetched_is_not_normalized(hub_server: RunningHub, tmp_path: Path) -> None:
    hub_server.store.seed(REPO, {"data/low.jsonl": b'{"a": 1}\n'})
    store = Store(tmp_path / "data")
    raw = fetch_split(a_split(), source_on(hub_server), store)
    store.path(raw.parts[0]).write_bytes(b'{"a": 7}\n')
    with pytest.raises(UserError, match="damaged or gone since it was fetched"):
        normalize(a_split(), store)


def test_bytes_that_git_holds_are_mended_when_they_went_bad(hub_server: RunningHub, tmp_path: Path) -> None:
    hub_server.store.seed(REPO, {"data/low.jsonl": b'{"a": 1}\n'})
    store = Store(tmp_path / "data")
    made = fetch_split(a_split(), source_on(hub_server), store)
    for blob in (store.root / "raw" / "blobs").iterdir():
        blob.write_bytes(b'{"a": 7}\n')
    (store.directory(Stage.RAW, made.partition) / "manifest.json").unlink()
    again = fetch_split(a_split(), source_on(hub_server), store)
    assert contents_here(again, store) == {"data/low.jsonl": b'{"a": 1}\n'}


def test_a_manifest_of_before_files_were_named_by_sha256_keeps_its_revisions(
    hub_server: RunningHub, tmp_path: Path
) -> None:
    first = hub_server.store.seed(REPO, {"data/low-0.jsonl": b'{"a": 1}\n'})
    split = a_split(("data/low*",))
    store, source = Store(tmp_path / "data"), source_on(hub_server)
    made = fetch_split(split, source, store)
    [file] = made.details["files"]
    earlier = {**file, "content_id": file["held_as"]}
    del earlier["held_as"]
    store.write_manifest(msgspec.structs.replace(made, details={**made.details, "files": [earlier]}))
    hub_server.store.seed(REPO, {"data/low-1.jsonl": b'{"a": 2}\n'})
    revisions = {file["path"]: file["revision"] for file in fetch_split(split, source, store).details["files"]}
    assert revisions["data/low-0.jsonl"] == first != revisions["data/low-1.jsonl"]
