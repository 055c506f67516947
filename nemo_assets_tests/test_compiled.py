"""Machine code is that of the sources as they are, and kept where nobody else can write."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import nemo_assets

PROGRAM = """
import numpy as np
from nemo_assets.dedup.numerals import numerals_digest
print(int(numerals_digest(np.frombuffer(b"x -5" + b" " * 128, np.uint8), 4)))
"""
WHERE = """
import nemo_assets.compiled, numba
print(numba.config.CACHE_DIR)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package to do with as a test likes."""
    sources = Path(nemo_assets.__file__).parent
    return shutil.copytree(sources, tmp_path / "nemo_assets", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def closed_package(package: Path) -> Path:
    """One beside which nothing can be kept, not even by root."""
    (package / "__pycache__").touch()
    return package


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("dedup/shingles.py", "0xD6E8FEB86659FD93", "0xD6E8FEB86659FD95"),
        ("compiled.py", "builder.cttz", "builder.ctlz"),
    ],
)
def test_a_change_in_another_file_reaches_the_machine_code(package: Path, file: str, old: str, new: str) -> None:
    """`mixed` and `lowest_bit` are compiled into `numerals_digest`, whose own file stays as it is."""
    before = output_of(PROGRAM, package)
    assert output_of(PROGRAM, package) == before
    path = package / file
    changed = path.read_text().replace(old, new)
    assert changed != path.read_text()
    path.write_text(changed)
    assert output_of(PROGRAM, package) != before


def test_machine_code_lies_beside_the_sources(package: Path) -> None:
    assert Path(output_of(WHERE, package).strip()).parent == package / "__pycache__"


# A relative XDG_CACHE_HOME counts as none.
@pytest.mark.parametrize(("cache", "expected"), [("{home}/own", "own"), ("", ".cache"), ("relative", ".cache")])
def test_beside_a_package_that_cannot_be_written_it_lies_in_the_cache_of_the_user(
    closed_package: Path, tmp_path: Path, cache: str, expected: str
) -> None:
    place = Path(output_of(WHERE, closed_package, XDG_CACHE_HOME=cache.format(home=tmp_path)).strip())
    assert place.parent == tmp_path / expected / "nemo_assets"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_directory_that_the_user_names_is_taken(closed_package: Path, tmp_path: Path) -> None:
    assert output_of(WHERE, closed_package, NUMBA_CACHE_DIR=str(tmp_path / "named")) == f"{tmp_path / 'named'}\n"
    assert not (tmp_path / ".cache").exists()


def test_where_nothing_can_be_written_it_runs_and_tells(closed_package: Path, tmp_path: Path) -> None:
    (tmp_path / ".cache").touch()
    done = run(PROGRAM, closed_package)
    assert int(done.stdout)
    assert done.stderr.count("Every process compiles its functions anew") == 1
    for told in (closed_package / "__pycache__", tmp_path / ".cache" / "nemo_assets", "NUMBA_CACHE_DIR"):
        assert str(told) in done.stderr
    assert not list(tmp_path.rglob("*.nbi"))


def output_of(program: str, package: Path, **variables: str) -> str:
    return run(program, package, **variables).stdout


def run(program: str, package: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """With the directory of the package as home."""
    taken_out = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in taken_out} | variables
    environment |= {"PYTHONPATH": str(package.parent), "HOME": str(package.parent)}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=package.parent
    )
