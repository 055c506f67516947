"""Reading a file on the Hub where it lies: the same bytes as from a disk, whatever happens on the way."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.sources import HubSource
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "nvidia/Nemotron-Tiny"
CONTENT = b"".join(
    random.Random(9).randbytes(size) + b"\n" for size in (10, 3_000_000, 0, 5_000_000, 40, 1_000_000)
)  # over the 4 MiB that one request reads ahead
WHENCES = [io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]


@pytest.fixture
def seeded(hub_server: RunningHub) -> RunningHub:
    hub_server.store.seed(REPO, {"low.zst": CONTENT, "empty.jsonl": b""})
    return hub_server


def opened(hub: RunningHub, path: str = "low.zst") -> io.BufferedReader:
    source = HubSource(REPO, Hub(hub.endpoint, hub.token, Retry(sleep=lambda _: None)))
    revision = source.revision()
    stream = source.open(next(file for file in source.files(revision) if file.path == path), revision)
    assert isinstance(stream, io.BufferedReader)
    return stream


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(WHENCES), st.integers(0, 9_000_040), st.integers(-1, 5_000_000)),
        min_size=1,
        max_size=4,
    )
)
def test_it_reads_like_a_file_on_the_disk(seeded: RunningHub, steps: list[tuple[int, int, int]]) -> None:
    with opened(seeded) as remote, io.BytesIO(CONTENT) as local:
        for whence, offset, count in steps:
            for stream in (remote, local):
                stream.seek(-(offset % len(CONTENT)) if whence == io.SEEK_END else offset, whence)
            assert (remote.tell(), remote.read(count)) == (local.tell(), local.read(count))


def test_it_reads_line_by_line_and_asks_for_ranges_alone(seeded: RunningHub) -> None:
    with opened(seeded) as remote:
        assert list(remote) == list(io.BytesIO(CONTENT))
    assert {request.range is None for request in seeded.wire.received("GET", "^/large/")} == {False}
    with opened(seeded, "empty.jsonl") as remote:
        assert remote.read() == b""


@pytest.mark.parametrize(
    "fault",
    [
        Fault("^/large/", reset_after=1_000_000, times=2),
        Fault("^/large/", drop_after=0),
        Fault("^/large/", truncate=3_000_000),
        Fault("/resolve/", status=503, times=4),
        Fault("^/large/", ignore_range=True, times=9),
    ],
)
def test_a_range_that_breaks_off_is_asked_for_again(seeded: RunningHub, fault: Fault) -> None:
    with opened(seeded) as remote:
        remote.seek(4_000_000)
        seeded.wire.inject(fault)
        assert remote.read() == CONTENT[4_000_000:]


def test_a_line_that_stays_broken_is_one_clear_line(seeded: RunningHub) -> None:
    with opened(seeded) as remote:
        remote.readline()
        seeded.wire.inject(Fault("^/large/", reset_after=10, times=100))
        with pytest.raises(UserError, match=rf"^{seeded.endpoint} cannot be reached for {REPO} \(ReadError"):
            remote.readlines()
