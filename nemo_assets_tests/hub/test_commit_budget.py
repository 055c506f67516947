"""The commits of an hour are counted over all processes, and waited for. No test waits."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nemo_assets.hub.client import Hub, Retry
from nemo_assets.hub.commit_budget import CommitBudget
from nemo_assets.hub.destination import open_target
from nemo_assets.hub.hub_target import HubTarget
from nemo_assets.hub.targets import Change
from nemo_assets_tests.hub.fixtures import RunningHub


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def test_no_hour_sees_more_commits_than_allowed(tmp_path: Path) -> None:
    clock, sent = Clock(), []
    budget = CommitBudget(tmp_path / "below" / "commits.json", 5, clock)
    for step in range(40):
        budget.take(clock.sleep)
        sent.append(clock.now)
        clock.now += 100.0 * (step % 7)
    assert all(sum(start <= time < start + 3600 for time in sent) <= 5 for start in sent)
    assert clock.waits
    assert all(later - earlier <= 3600 for earlier, later in itertools.pairwise(sent))


def test_a_wait_is_told_and_is_as_long_as_needed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    budget = CommitBudget(tmp_path / "commits.json", 2, clock)
    for seconds in (0.0, 600.0, 1000.0):
        clock.now += seconds
        budget.take(clock.sleep)
    assert clock.waits == [3600.0 - 1600.0]
    assert "2 commits were sent to the Hub within an hour" in caplog.text
    assert "waits 2000 s" in caplog.text


def test_a_file_that_nobody_can_read_and_times_to_come_do_not_stop_a_commit_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    for held in (b"", b"{", b'{"a": 1}', json.dumps([clock.now + 9e6, "x"]).encode()):
        (tmp_path / "commits.json").write_bytes(held)
        for _ in range(2):
            CommitBudget(tmp_path / "commits.json", 2, clock).take(clock.sleep)
    assert sum(clock.waits) <= 3600


TAKING = """
import sys
from pathlib import Path
from nemo_assets.hub.commit_budget import CommitBudget

class Spent(Exception): pass
def give_up(seconds): raise Spent
taken = 0
try:
    while True:
        CommitBudget(Path(sys.argv[1]), 50).take(give_up)
        taken += 1
except Spent:
    print(taken)
"""


def test_processes_share_a_budget(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKING, str(tmp_path / "commits.json")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sum(int(process.communicate(timeout=60)[0]) for process in processes) == 50


def test_every_commit_to_the_hub_is_counted(hub_server: RunningHub, tmp_path: Path) -> None:
    clock = Clock()
    hub = Hub(hub_server.endpoint, hub_server.token, Retry(sleep=clock.sleep))
    target = HubTarget(hub, budget=CommitBudget(tmp_path / "commits.json", 2, clock))
    head = None
    for number in range(3):
        head = target.commit("alice/pools", Change({"a.parquet": b"\0%d" % number}, (), "Publish"), head)
        assert head == target.commit("alice/pools", Change({"a.parquet": b"\0%d" % number}, (), "Publish"), head)
    assert clock.waits == [3600.0]
    opened = open_target("hf://alice", budget=target.budget)
    assert isinstance(opened, HubTarget)
    assert opened.budget is target.budget
