"""Kill -9 at any moment, run again: the bytes of an undisturbed run, and no finished unit done twice."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from nemo_assets.settings import Settings
from nemo_assets.stages.normalized import normalize
from nemo_assets.storage import Stage, Unit
from nemo_assets_tests.stages.dying import Death, ended, kill_group, log_renames, seconds_of, start, start_together
from nemo_assets_tests.stages.making import files_below, make, make_chain

KEY = "nemotron-agentic-v1/tool_calling"
UNIT_BYTES = 20_000  # makes several units of the 37 records
KILLS = 20


def normalize_some(settings: Settings) -> None:
    normalize(settings.catalog.split(KEY), settings.store, settings.workers, UNIT_BYTES)


def chain(settings: Settings) -> None:
    make_chain(settings, until=Stage.LEDGER, partitions=[KEY])


def fetch(settings: Settings) -> None:
    make(Stage.RAW, KEY, settings)


@pytest.fixture
def undisturbed(settings: Settings, tmp_path: Path) -> dict[str, bytes]:
    """Every file that normalising leaves when nothing happens to it."""
    other = replace(settings, data_dir=tmp_path / "undisturbed")
    fetch(other)
    normalize_some(other)
    return content(other)


def content(settings: Settings) -> dict[str, bytes]:
    """Every file but the locks, which name the last process that held them if it was killed."""
    return {path: held for path, held in files_below(settings.data_dir).items() if not path.endswith("/.lock")}


def finished_files(data_dir: Path) -> dict[Path, tuple[int, int]]:
    """What finished units have left: path → inode and time of change, which a second writing would change."""
    records = sorted(data_dir.rglob("unit-*.json"))
    units = [msgspec.json.decode(record.read_bytes(), type=Unit) for record in records]
    parts = [data_dir / part.path for unit in units for part in unit.parts]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in records + parts}


def deaths_of(work: Callable[[Settings], None], settings: Settings, log: Path) -> list[Death]:
    """Before each rename of an undisturbed run, and after the last: after any other is a moment before the next."""
    assert ended(start(log_renames, log, work, settings)) == 0
    renames = len(log.read_text().splitlines())
    return [*(Death(number, "before") for number in range(1, renames + 1)), Death(renames, "after")]


def test_a_kill_at_any_rename_of_normalize_loses_no_finished_unit(
    settings: Settings, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """A part written and not renamed, a part without its record, all units without the manifest, and the manifest."""
    spare = replace(settings, data_dir=tmp_path / "counted")
    fetch(spare)
    deaths = deaths_of(normalize_some, spare, tmp_path / "log")
    assert len(deaths) >= 4 * 4  # several units of several files each
    kept = 0
    for number, death in enumerate(deaths):
        one = replace(settings, data_dir=tmp_path / str(number))
        fetch(one)
        assert ended(start(normalize_some, one, death=death)) == -9
        finished = finished_files(one.data_dir)
        kept += len(finished)
        assert ended(start(normalize_some, one)) == 0
        assert content(one) == undisturbed
        assert finished_files(one.data_dir).items() >= finished.items()
    assert kept > len(deaths)


def test_a_kill_at_any_rename_of_the_chain_leaves_it_to_be_finished(settings: Settings, tmp_path: Path) -> None:
    whole = replace(settings, data_dir=tmp_path / "whole")
    deaths = deaths_of(chain, whole, tmp_path / "log")
    expected = content(whole)
    for number, death in enumerate(deaths):
        one = replace(settings, data_dir=tmp_path / str(number))
        assert ended(start(chain, one, death=death)) == -9
        assert ended(start(chain, one)) == 0
        assert content(one) == expected


@pytest.mark.parametrize(("workers", "kills"), [(1, KILLS), (2, KILLS // 2)])
def test_kills_at_random_moments_end_in_the_same_bytes(
    settings: Settings, tmp_path: Path, undisturbed: dict[str, bytes], workers: int, kills: int
) -> None:
    """Each run goes on from where the one before was killed; a run that got to its end gives way to a fresh one."""
    settings = replace(settings, workers=workers)
    spare = replace(settings, data_dir=tmp_path / "timed")
    fetch(spare)
    seconds = seconds_of(normalize_some, spare)
    dice = random.Random(20)
    current = settings
    for number in range(kills):
        if (current.store.directory(Stage.NORMALIZED, KEY) / "manifest.json").exists() or number == 0:
            current = replace(settings, data_dir=tmp_path / f"from-{number}")
            fetch(current)
        before = finished_files(current.data_dir)
        process = start(normalize_some, current)
        time.sleep(dice.uniform(0, seconds))
        kill_group(process)
        ended(process)
        assert finished_files(current.data_dir).items() >= before.items()
    finished = finished_files(current.data_dir)
    assert ended(start(normalize_some, current)) == 0
    assert content(current) == undisturbed
    assert finished_files(current.data_dir).items() >= finished.items()


def test_two_processes_on_one_partition_do_its_units_once(
    settings: Settings, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    fetch(settings)
    placed = placed_by_two(normalize_some, settings, tmp_path)
    assert content(settings) == undisturbed
    assert placed.pop("manifest.json") in (1, 2)  # who had to wait makes what the other finished current once more
    assert len(placed) >= 4 * 4
    assert set(placed.values()) == {1}


def test_two_processes_fetch_a_split_once(settings: Settings, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    placed = placed_by_two(fetch, settings, tmp_path)
    assert content(settings) == {path: held for path, held in undisturbed.items() if path.startswith("raw/")}
    assert placed["manifest.json"] == 1
    assert set(placed.values()) == {1}


def placed_by_two(work: Callable[[Settings], None], settings: Settings, tmp_path: Path) -> Counter[str]:
    """How often each file was put in place when two processes did the same work at the same time."""
    logs = [tmp_path / "log-0", tmp_path / "log-1"]
    processes = start_together(log_renames, *((log, work, settings) for log in logs))
    assert [ended(process) for process in processes] == [0, 0]
    return Counter(line for log in logs for line in log.read_text().splitlines())


def test_two_pools_on_one_partition_end_in_the_same_bytes(settings: Settings, undisturbed: dict[str, bytes]) -> None:
    settings = replace(settings, workers=2)
    fetch(settings)
    processes = start_together(normalize_some, (settings,), (settings,))
    assert [ended(process) for process in processes] == [0, 0]
    assert content(settings) == undisturbed
