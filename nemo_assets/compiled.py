"""How functions over bytes are compiled here: to machine code when first called, and kept for the next process."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba as nb

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent
_WITH_COMPILED_CODE = ("dedup", "records")


def compiled(function: Function) -> Function:
    """The same function as machine code. Arrays are not checked for bounds: the function must stay within them."""
    return cast(Function, nb.njit(nogil=True, cache=True, boundscheck=False)(function))


def _cache_directory() -> Path:
    """Where machine code is kept, one directory for each state of the sources.

    numba looks at the file of a function alone: it would keep using code into which a function of another file was
    compiled before that was changed.
    """
    sources = sorted(path for name in _WITH_COMPILED_CODE for path in (_PACKAGE / name).rglob("*.py"))
    state = hashlib.blake2b(digest_size=8)
    for path in sources:
        state.update(path.name.encode() + path.read_bytes())
    beside = _PACKAGE / "__pycache__"
    home = beside if os.access(beside if beside.is_dir() else _PACKAGE, os.W_OK) else Path(tempfile.gettempdir())
    return home / f"nemo_assets-compiled-{os.getuid()}-{state.hexdigest()}"


_numba: Any = nb.config
if not _numba.CACHE_DIR:  # else NUMBA_CACHE_DIR is the user's own choice
    _numba.CACHE_DIR = str(_cache_directory())
