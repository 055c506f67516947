"""Reading a source repo: pinned, resumed, verified, and told in one line when it fails."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nemo_assets.disk import disk_told
from nemo_assets.errors import UserError
from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.sources import DirectorySource, HubSource, SourceFile, open_source
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "nvidia/Nemotron-Tiny"
LARGE = random.Random(7).randbytes(3_000_000)
README = b"---\nlicense: other\n---\n# Tiny\n"


def source_on(hub: RunningHub, *, waits: list[float] | None = None) -> HubSource:
    """The test repo with retries that do not wait, noting in `waits` how long they would have."""
    retry = Retry(sleep=waits.append if waits is not None else lambda _: None)
    return HubSource(REPO, Hub(hub.endpoint, hub.token, retry))


def file_at(source: HubSource, revision: str, path: str) -> SourceFile:
    return next(file for file in source.files(revision) if file.path == path)


@pytest.fixture
def seeded(hub_server: RunningHub) -> RunningHub:
    hub_server.store.seed(REPO, {"data/low.zst": LARGE, "README.md": README})
    return hub_server


def test_a_listing_is_pinned_and_names_the_bytes_by_digest(seeded: RunningHub) -> None:
    source = source_on(seeded)
    revision = source.revision()
    seeded.store.seed(REPO, {"data/low.zst": b"\0newer"})
    assert source.revision() != revision
    files = {file.path: file for file in source.files(revision)}
    assert list(files) == [".gitattributes", "README.md", "data/low.zst"]
    assert files["data/low.zst"].sha256 == hashlib.sha256(LARGE).hexdigest()
    assert files["data/low.zst"].size == 3_000_000
    assert files["README.md"].sha256 is None
    # `printf -- '---\nlicense: other\n---\n# Tiny\n' | git hash-object --stdin`
    assert files["README.md"].blob_id == "44ffd186ffed9e53439497dc0372a5ae58998c6a"


def test_a_listing_of_several_pages_is_whole(hub_server: RunningHub) -> None:
    hub_server.store.seed(REPO, {f"data/{number:04}.txt": b"x" for number in range(1001)})
    source = source_on(hub_server)
    assert len(source.files(source.revision())) == 1001 + 1  # with .gitattributes
    assert len(hub_server.wire.received("GET", "/tree/")) == 2


def test_fetching_an_older_revision_gives_its_bytes(seeded: RunningHub, tmp_path: Path) -> None:
    source = source_on(seeded)
    revision = source.revision()
    seeded.store.seed(REPO, {"README.md": b"newer\n", "data/low.zst": b"\0newer"})
    for path, content in [("README.md", README), ("data/low.zst", LARGE)]:
        sha256 = source.fetch(file_at(source, revision, path), revision, tmp_path / path)
        assert sha256 == hashlib.sha256(content).hexdigest()
        assert (tmp_path / path).read_bytes() == content


def test_the_token_does_not_leave_the_hub(seeded: RunningHub, tmp_path: Path) -> None:
    source = source_on(seeded)
    revision = source.revision()
    source.fetch(file_at(source, revision, "data/low.zst"), revision, tmp_path / "low")
    assert [request.authorized for request in seeded.wire.received("GET", "/resolve/")] == [True]
    assert [request.authorized for request in seeded.wire.received("GET", "^/large/")] == [False]


def test_a_cut_download_goes_on_where_it_stopped(seeded: RunningHub, tmp_path: Path) -> None:
    source = source_on(seeded)
    revision = source.revision()
    seeded.wire.inject(Fault("^/large/", drop_after=1_000_000))
    seeded.wire.inject(Fault("^/large/", status=503))
    source.fetch(file_at(source, revision, "data/low.zst"), revision, tmp_path / "low")
    assert (tmp_path / "low").read_bytes() == LARGE
    ranges = [request.range for request in seeded.wire.received("GET", "^/large/")]
    assert ranges == [None, "bytes=1000000-", "bytes=1000000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["low"]


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([Fault("^/large/", reset_after=1_000_000)], [None, "bytes=1000000-"]),
        ([Fault("^/large/", truncate=1_000_000)], [None, "bytes=1000000-"]),
        ([Fault("/resolve/", reset_after=0), Fault("^/large/", drop_after=0)], [None, None]),
        (  # the whole file again instead of the rest
            [Fault("^/large/", drop_after=2_000_000), Fault("^/large/", ignore_range=True)],
            [None, "bytes=2000000-"],
        ),
        (  # the rest in three answers, one of them late
            [Fault("^/large/", reset_after=1_000_000), Fault("^/large/", truncate=500_000, delay=0.1)],
            [None, "bytes=1000000-", "bytes=1500000-"],
        ),
    ],
)
def test_however_a_transfer_breaks_off_the_bytes_are_those_of_the_file(
    seeded: RunningHub, tmp_path: Path, faults: list[Fault], ranges: list[str | None]
) -> None:
    source = source_on(seeded)
    revision = source.revision()
    for fault in faults:
        seeded.wire.inject(fault)
    source.fetch(file_at(source, revision, "data/low.zst"), revision, tmp_path / "low")
    assert (tmp_path / "low").read_bytes() == LARGE
    assert [request.range for request in seeded.wire.received("GET", "^/large/")] == ranges


def test_bytes_of_a_killed_process_are_reused(seeded: RunningHub, tmp_path: Path) -> None:
    """A process dies in the middle of the transfer; the next one asks for the rest only."""
    source = source_on(seeded)
    revision = source.revision()
    seeded.wire.inject(Fault("^/large/", drop_after=2_000_000))
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from nemo_assets.hub.client import Hub, Retry; from nemo_assets.hub.sources import HubSource\n"
        "endpoint, repo, revision, destination = sys.argv[1:]\n"
        "kill = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "source = HubSource(repo, Hub(endpoint, None, Retry(sleep=kill)))\n"
        "file = next(file for file in source.files(revision) if file.path == 'data/low.zst')\n"
        "source.fetch(file, revision, Path(destination))\n"
    )
    arguments = [sys.executable, "-c", code, seeded.endpoint, REPO, revision, str(tmp_path / "low")]
    assert subprocess.run(arguments, env=seeded.environment(), check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "low").exists()
    left = next(tmp_path.iterdir()).stat().st_size
    assert 1_900_000 < left <= 2_000_000  # all but what the dead process had not handed to the kernel
    source.fetch(file_at(source, revision, "data/low.zst"), revision, tmp_path / "low")
    assert (tmp_path / "low").read_bytes() == LARGE
    assert seeded.wire.received("GET", "^/large/")[-1].range == f"bytes={left}-"


def test_bytes_damaged_on_the_way_are_fetched_again(seeded: RunningHub, tmp_path: Path) -> None:
    source = source_on(seeded)
    revision = source.revision()
    seeded.wire.inject(Fault("^/large/", flip=True))
    seeded.wire.inject(Fault("/resolve/.*README", flip=True))
    for path, content in [("README.md", README), ("data/low.zst", LARGE)]:
        source.fetch(file_at(source, revision, path), revision, tmp_path / path)
        assert (tmp_path / path).read_bytes() == content


def test_bytes_that_stay_damaged_are_never_put_in_place(seeded: RunningHub, tmp_path: Path) -> None:
    source = source_on(seeded)
    revision = source.revision()
    seeded.store.large_path(hashlib.sha256(LARGE).hexdigest()).write_bytes(b"\1" + LARGE[1:])
    with pytest.raises(UserError, match=r"nvidia/Nemotron-Tiny/data/low\.zst .* do not have the digest"):
        source.fetch(file_at(source, revision, "data/low.zst"), revision, tmp_path / "low")
    assert not (tmp_path / "low").exists()


def test_what_is_there_already_is_not_fetched_again(seeded: RunningHub, tmp_path: Path) -> None:
    source = source_on(seeded)
    revision = source.revision()
    (tmp_path / "low").write_bytes(LARGE)
    source.fetch(file_at(source, revision, "data/low.zst"), revision, tmp_path / "low")
    assert not seeded.wire.received("GET", "^/large/")
    assert [path.name for path in tmp_path.iterdir()] == ["low"]


def test_two_that_want_the_same_file_fetch_it_once(seeded: RunningHub, tmp_path: Path) -> None:
    source = source_on(seeded)
    revision = source.revision()
    file = file_at(source, revision, "data/low.zst")
    with ThreadPoolExecutor(2) as both:
        fetched = list(both.map(lambda _: source.fetch(file, revision, tmp_path / "low"), range(2)))
    assert fetched == [hashlib.sha256(LARGE).hexdigest()] * 2
    assert len(seeded.wire.received("GET", "^/large/")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["low"]


def test_the_wait_that_the_hub_asks_for_is_obeyed(seeded: RunningHub, tmp_path: Path) -> None:
    waits: list[float] = []
    source = source_on(seeded, waits=waits)
    seeded.wire.inject(Fault("/api/datasets/[^/]+/[^/]+$", status=429, headers={"Retry-After": "17"}))
    revision = source.revision()
    seeded.wire.inject(Fault("/resolve/", status=429, headers={"RateLimit": '"resolvers";r=0;t=23'}))
    source.fetch(file_at(source, revision, "data/low.zst"), revision, tmp_path / "low")
    assert [int(wait) for wait in waits] == [17, 23]  # and less than a second more, so that not all come back at once


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Date": "Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT"}, 30),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:07 GMT"}, 0),  # long past, by the clock of this machine
        ({"Retry-After": "2.5"}, 2.5),
        ({"Retry-After": "soon", "RateLimit": '"api";r=0;t=7'}, 7),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_every_way_to_ask_for_a_wait_is_understood(
    seeded: RunningHub, status: int, headers: dict[str, str], seconds: float
) -> None:
    waits: list[float] = []
    source = source_on(seeded, waits=waits)
    seeded.wire.inject(Fault("/api/datasets/", status=status, headers=headers))
    source.revision()
    [wait] = waits
    assert seconds <= wait < seconds + 1


def test_an_answer_that_breaks_off_in_the_middle_is_asked_for_again(seeded: RunningHub) -> None:
    source = source_on(seeded)
    seeded.wire.inject(Fault("/api/datasets/[^/]+/[^/]+$", truncate=20))
    revision = source.revision()
    seeded.wire.inject(Fault("/tree/", truncate=20))
    assert len(source.files(revision)) == 3
    seeded.wire.inject(Fault("/api/datasets/", flip=True, times=100))
    with pytest.raises(UserError, match=r"answered for nvidia/Nemotron-Tiny with something that is no JSON"):
        source.revision()


def test_backoff_is_bounded(seeded: RunningHub) -> None:
    waits: list[float] = []
    seeded.wire.inject(Fault("/api/datasets/", status=500, times=100))
    with pytest.raises(UserError, match=r"answered 500 for nvidia/Nemotron-Tiny"):
        source_on(seeded, waits=waits).revision()
    assert [longest / 2 <= wait <= longest for longest, wait in zip([1, 2, 4, 8], waits, strict=True)] == [True] * 4


def test_a_missing_repo_is_told_by_name(hub_server: RunningHub) -> None:
    with pytest.raises(UserError, match=r"no dataset nvidia/Nemotron-Tiny.*HF_TOKEN"):
        source_on(hub_server).revision()


def test_a_token_that_is_not_accepted_is_told(seeded: RunningHub) -> None:
    with pytest.raises(UserError, match=r"refuses the token.*HF_TOKEN"):
        HubSource(REPO, Hub(seeded.endpoint, "hf_wrong")).revision()


def test_a_gated_repo_says_where_to_accept_its_terms(seeded: RunningHub) -> None:
    seeded.wire.inject(Fault("/api/datasets/", status=403, headers={"X-Error-Code": "GatedRepo"}))
    with pytest.raises(UserError, match=rf"accept its terms at {seeded.endpoint}/datasets/nvidia/Nemotron-Tiny"):
        source_on(seeded).revision()


def test_a_missing_revision_is_told(seeded: RunningHub) -> None:
    with pytest.raises(UserError, match=r"nvidia/Nemotron-Tiny has no revision f{40}"):
        source_on(seeded).files("f" * 40)


def test_no_network_is_one_clear_line(unused_endpoint: str) -> None:
    source = HubSource(REPO, Hub(unused_endpoint, None, Retry(sleep=lambda _: None)))
    with pytest.raises(UserError, match=rf"{unused_endpoint} cannot be reached.*NEMO_SOURCE_DIR") as caught:
        source.revision()
    assert "\n" not in str(caught.value)


@pytest.fixture
def unused_endpoint() -> str:
    return "http://127.0.0.1:9"  # discard: nothing listens there


def test_a_full_disk_names_the_path_and_the_bytes(tmp_path: Path) -> None:
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with (
        full,
        pytest.raises(UserError, match=r"low: the disk is full: 1,234 bytes are needed"),
        disk_told(tmp_path / "low", 1234),
    ):
        full.write(b"x")


def test_a_directory_is_a_source(tmp_path: Path) -> None:
    repo = tmp_path / "from" / REPO
    (repo / "data").mkdir(parents=True)
    (repo / "data/low.jsonl").write_bytes(b"{}\n")
    (repo / "README.md").write_bytes(README)
    (repo / ".hidden").write_bytes(b"x")
    source = open_source(REPO, tmp_path / "from")
    assert isinstance(source, DirectorySource)
    revision = source.revision()
    listed = {"README.md": README, "data/low.jsonl": b"{}\n"}
    expected = "".join(f"{path}\0{hashlib.sha256(content).hexdigest()}\n" for path, content in listed.items())
    assert revision == hashlib.sha1(expected.encode()).hexdigest()
    files = source.files(revision)
    assert [file.path for file in files] == list(listed)
    assert source.fetch(files[1], revision, tmp_path / "to/low") == hashlib.sha256(b"{}\n").hexdigest()
    assert (tmp_path / "to/low").read_bytes() == b"{}\n"
    assert source.url("data/low.jsonl", revision) == (repo / "data/low.jsonl").as_uri()


def test_a_directory_that_changed_is_not_read_as_the_old_revision(tmp_path: Path) -> None:
    repo = tmp_path / REPO
    repo.mkdir(parents=True)
    (repo / "low.jsonl").write_bytes(b"1\n")
    source = DirectorySource(tmp_path, REPO)
    revision = source.revision()
    [file] = source.files(revision)
    (repo / "low.jsonl").write_bytes(b"2\n")
    os.utime(repo / "low.jsonl", ns=(1, 1))
    assert source.revision() != revision
    with pytest.raises(UserError, match="no longer those of revision"):
        source.files(revision)
    with pytest.raises(UserError, match="has changed since it was listed"):
        source.fetch(file, revision, tmp_path / "low")
    assert not (tmp_path / "low").exists()


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / REPO).mkdir(parents=True)
    (tmp_path / REPO / "low.jsonl").symlink_to("nowhere")
    with pytest.raises(UserError, match=rf"^{tmp_path}/{REPO}/low\.jsonl: cannot be read \(No such file"):
        DirectorySource(tmp_path, REPO).revision()


def test_a_missing_directory_is_told_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path}/nvidia/Nemotron-Tiny does not exist\. NEMO_SOURCE_DIR"):
        open_source(REPO, tmp_path).revision()


def test_a_repo_name_cannot_lead_out_of_the_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="<org>/<name>"):
        open_source("../secrets", tmp_path)
