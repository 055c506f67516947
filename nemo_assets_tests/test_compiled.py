"""Machine code is that of the sources as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nemo_assets

PROGRAM = """
import numpy as np
from nemo_assets.dedup.numerals import numerals_digest
print(int(numerals_digest(np.frombuffer(b"x -5" + b" " * 128, np.uint8), 4)))
"""


def test_a_change_in_another_file_reaches_the_machine_code(tmp_path: Path) -> None:
    """`mixed` is compiled into `numerals_digest`, whose own file stays as it is."""
    package = tmp_path / "nemo_assets"
    shutil.copytree(Path(nemo_assets.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = digest_by(tmp_path)
    assert digest_by(tmp_path) == before
    path = package / "dedup" / "shingles.py"
    changed = path.read_text().replace("0xD6E8FEB86659FD93", "0xD6E8FEB86659FD95")
    assert changed != path.read_text()
    path.write_text(changed)
    assert digest_by(tmp_path) != before


def digest_by(directory: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment["PYTHONPATH"] = str(directory)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment, cwd=directory
    )
    return done.stdout
