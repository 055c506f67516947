"""Several files at a time: their order, one progress, and the first failure ending all of them."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub
from nemo_assets.hub.sources import HubSource, SourceFile
from nemo_assets.hub.transfers import together
from nemo_assets.progress import shown_on
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "nvidia/Nemotron-Tiny"
FILES = {f"data/{number}.zst": random.Random(number).randbytes(200_000 + number) for number in range(6)}


class Bars:
    """A display that notes what it was asked to show and how far each bar came."""

    def __init__(self) -> None:
        self.shown: dict[tuple[str, float | None, str], float] = {}

    @contextlib.contextmanager
    def meter(self, label: str, total: float | None, unit: str) -> Iterator[Bar]:
        self.shown[label, total, unit] = 0
        yield Bar(self, (label, total, unit))


class Bar:
    def __init__(self, bars: Bars, key: tuple[str, float | None, str]) -> None:
        self.bars, self.key = bars, key

    def advance(self, amount: float) -> None:
        self.bars.shown[self.key] += amount


@pytest.fixture
def source(hub_server: RunningHub) -> HubSource:
    hub_server.store.seed(REPO, FILES)
    return HubSource(REPO, Hub(hub_server.endpoint, hub_server.token))


def fetches(source: HubSource, folder: Path) -> list[Callable[[], str]]:
    revision = source.revision()
    files = [file for file in source.files(revision) if file.path in FILES]
    return [partial(source.fetch, file, revision, folder / file.content_id) for file in files]


def oid(path: str) -> str:
    return hashlib.sha256(FILES[path]).hexdigest()


def test_results_come_in_order_and_progress_is_that_of_all(
    hub_server: RunningHub, source: HubSource, tmp_path: Path
) -> None:
    hub_server.wire.inject(Fault("/resolve/.*/0.zst", delay=0.2))  # the first to begin is the last to end
    bars, total = Bars(), sum(map(len, FILES.values()))
    with shown_on(bars):
        assert together(fetches(source, tmp_path), "split", total) == [oid(path) for path in sorted(FILES)]
    assert bars.shown == {("split", total, "B"): total}


def test_a_single_file_shows_a_bar_of_its_own(source: HubSource, tmp_path: Path) -> None:
    bars = Bars()
    with shown_on(bars):
        together(fetches(source, tmp_path)[2:3], "split", 200_002)
    assert bars.shown == {(f"{REPO}/data/2.zst", 200_002, "B"): 200_002}


def test_the_first_failure_ends_the_others_even_while_they_wait(
    hub_server: RunningHub, source: HubSource, tmp_path: Path
) -> None:
    """One file is gone for good; the others are told to come back in an hour. Nobody waits for that."""
    hub_server.store.large_path(oid("data/3.zst")).unlink()
    for path in ("data/0.zst", "data/1.zst", "data/2.zst"):
        hub_server.wire.inject(Fault(f"^/large/{oid(path)}", drop_after=70_000))
        hub_server.wire.inject(Fault(f"^/large/{oid(path)}", status=503, headers={"Retry-After": "3600"}))
    hub_server.wire.inject(Fault(f"^/large/{oid('data/3.zst')}", status=404, delay=0.5))
    with pytest.raises(UserError, match="answered 404 for nvidia/Nemotron-Tiny"):
        together(fetches(source, tmp_path), "split", 1)
    kept = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert [kept[f".{oid(path)}.part"] for path in ("data/0.zst", "data/1.zst", "data/2.zst")] == [70_000] * 3
    assert not hub_server.wire.received("GET", "/5.zst")  # it had not begun


def test_two_paths_with_the_same_bytes_are_one_download(hub_server: RunningHub, tmp_path: Path) -> None:
    revision = hub_server.store.seed(REPO, {"a.zst": b"\0same", "b.zst": b"\0same"})
    source = HubSource(REPO, Hub(hub_server.endpoint, hub_server.token))
    files: list[SourceFile] = [file for file in source.files(revision) if file.path.endswith(".zst")]
    together([partial(source.fetch, file, revision, tmp_path / file.content_id) for file in files], "split", 10)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"\0same"]
    assert len(hub_server.wire.received("GET", "^/large/")) == 1
