"""Normalising: what decides the bytes and what does not, and what survives a kill."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from nemo_assets.errors import ConservationError, UserError
from nemo_assets.settings import Settings
from nemo_assets.stages.normalized import normalize
from nemo_assets.storage import Manifest, Stage
from nemo_assets_tests.stages.making import files_below, make, rows_of

KEY = "nemotron-agentic-v1/tool_calling"
UNIT_BYTES = 20_000  # makes several units of the 37 records


def normalized(settings: Settings, unit_bytes: int = UNIT_BYTES, workers: int = 1) -> Manifest:
    make(Stage.RAW, KEY, settings)
    return normalize(settings.catalog.split(KEY), settings.store, workers, unit_bytes)


def directory_of(settings: Settings) -> Path:
    return settings.store.directory(Stage.NORMALIZED, KEY)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_bytes_depend_neither_on_the_number_of_workers_nor_on_the_run(
    settings: Settings, tmp_path: Path, workers: int
) -> None:
    other = replace(settings, data_dir=tmp_path / "other")
    assert len(normalized(settings, workers=1).table("rows")) >= 3  # enough for processes to start
    normalized(other, workers=workers)
    assert files_below(directory_of(settings)) == files_below(directory_of(other))


def test_rows_do_not_depend_on_the_cut_into_units(settings: Settings) -> None:
    one = normalized(settings, unit_bytes=1 << 20)
    many = normalized(settings, unit_bytes=1_000)
    assert (len(one.table("rows")), len(many.table("rows")) > 10) == (1, True)
    for table in ("rows", "rejected"):
        assert rows_of(one, settings.store, table) == rows_of(many, settings.store, table)
    assert one.counters == many.counters


def test_a_rejection_keeps_the_bytes_of_its_line_and_a_row_says_where_its_line_is(settings: Settings) -> None:
    manifest = normalized(settings)
    raw = settings.store.current(Stage.RAW, KEY)
    content = (settings.data_dir / raw.details["files"][0]["blob"]).read_bytes()
    rejected = rows_of(manifest, settings.store, "rejected").to_pylist()
    assert len(rejected) == 5
    for entry in rejected:
        assert content[entry["source_offset"] :].startswith(entry["raw"])
        assert content.split(b"\n")[entry["source_row"]] == entry["raw"]
    for row in rows_of(manifest, settings.store).select(["source_row", "source_offset", "source_uuid"]).to_pylist():
        line = content[row["source_offset"] :].split(b"\n", 1)[0]
        assert line == content.split(b"\n")[row["source_row"]]
        assert json.loads(line.removeprefix(b"\xef\xbb\xbf"))["uuid"] == row["source_uuid"]


# Runs in a process of its own, and kills it at the n-th rename: parts, records of finished units and the manifest all
# come into being by one, so every n is another moment.
KILLED_AT_RENAME = """
import os, pathlib, signal, sys
from pathlib import Path
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets_tests.stages.test_normalized import normalized

left, rename = int(sys.argv[2]), Path.replace

def counted(self, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
    return rename(self, target)

settings = Settings(data_dir=Path(sys.argv[1]), source_dir=HUB)
Path.replace = counted
normalized(settings)
"""


def killed_at_rename(number: int, settings: Settings) -> int:
    return subprocess.run(
        [sys.executable, "-c", KILLED_AT_RENAME, str(settings.data_dir), str(number)], check=False
    ).returncode


@pytest.fixture
def with_old_version(settings: Settings) -> Manifest:
    """The split normalized in another cut, so that there is an older version to fall back on."""
    return normalized(settings, unit_bytes=1 << 20)


def test_a_kill_leaves_the_old_version_and_a_rerun_goes_on_where_it_stopped(
    settings: Settings, with_old_version: Manifest, tmp_path: Path
) -> None:
    undisturbed = replace(settings, data_dir=tmp_path / "undisturbed")
    whole = normalized(undisturbed)
    units = len(whole.table("rows"))
    renames = 4 * units + 1  # three parts and a record for each unit; the manifest
    assert units >= 3
    version = directory_of(settings) / whole.version
    # In the first unit; in the second; before the second is recorded; with all done but the manifest.
    for number in (2, 6, 8, renames):
        shutil.rmtree(version, ignore_errors=True)
        assert killed_at_rename(number, settings) == -signal.SIGKILL
        assert settings.store.current(Stage.NORMALIZED, KEY) == with_old_version
        finished = [Path(path) for path in sorted(version.glob("unit-*.json"))]
        assert len(finished) == (number - 1) // 5
        before = {path: path.stat() for unit in finished for path in version.glob(f"*-{unit.stem[-5:]}.parquet")}
        normalized(settings)
        after = {path: path.stat() for path in before}
        assert {p: (s.st_ino, s.st_mtime_ns) for p, s in before.items()} == {
            p: (s.st_ino, s.st_mtime_ns) for p, s in after.items()
        }
        visible = {name: content for name, content in files_below(version).items() if not name.startswith(".")}
        assert visible == files_below(directory_of(undisturbed) / whole.version)
        (directory_of(settings) / "manifest.json").write_bytes(msgspec.json.encode(with_old_version))


def test_a_part_that_lost_bytes_is_made_again(settings: Settings) -> None:
    manifest = normalized(settings)
    damaged = settings.store.paths(manifest)[1]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    assert normalized(settings) == manifest
    assert damaged.read_bytes() == whole


def test_a_count_that_does_not_add_up_makes_nothing_current(settings: Settings, with_old_version: Manifest) -> None:
    manifest = normalized(settings)
    record = directory_of(settings) / manifest.version / "unit-00001.json"
    unit = json.loads(record.read_bytes())
    unit["counters"]["rows"] -= 1
    record.write_text(json.dumps(unit))
    (directory_of(settings) / "manifest.json").write_bytes(msgspec.json.encode(with_old_version))
    with pytest.raises(ConservationError, match=r"tool_calling\.jsonl holds 37 records, but 31 rows and 5 rejections"):
        normalized(settings)
    assert settings.store.current(Stage.NORMALIZED, KEY) == with_old_version


def test_without_raw_it_says_what_to_make(settings: Settings) -> None:
    with pytest.raises(
        UserError, match=r"raw does not exist yet. Materialise raw of nemotron-agentic-v1/tool_calling first"
    ):
        normalize(settings.catalog.split(KEY), settings.store)


def test_unchanged_inputs_make_nothing_new(settings: Settings) -> None:
    first = normalized(settings)
    shutil.rmtree(settings.store.root / Stage.RAW / "blobs")
    assert normalize(settings.catalog.split(KEY), settings.store, unit_bytes=UNIT_BYTES) == first
