"""What a test needs of the machine beyond the packages of the project: a browser, a cluster, the right to mount."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what_to_do: str, required_by: str) -> NoReturn:
    """End the test for want of something: it fails if the environment variable `required_by` is 1, else it skips."""
    if os.environ.get(required_by) == "1":
        pytest.fail(what_to_do)
    pytest.skip(what_to_do)
