"""How functions over bytes are compiled here: to machine code when first called, and kept for the next process.

`word_at`, `put_word`, `copy_bytes` and `lowest_bit` give such functions what numpy does not have: instructions of the
machine on memory at any address.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numba as nb
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent
_WITH_COMPILED_CODE = ("dedup", "records", "selection")


def compiled(function: Function) -> Function:
    """The same function as machine code. Arrays are not checked for bounds: the function must stay within them."""
    is_kept = bool(_numba.CACHE_DIR)
    return cast(Function, nb.njit(nogil=True, cache=is_kept, boundscheck=False)(function))


def _load_word(_typing: Any, _address: Any) -> Any:
    """The eight bytes at any address as one word; an array can only be read as words from a multiple of eight on."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(types.uint64), generate


def _store_word(_typing: Any, _address: Any, _word: Any) -> Any:
    """Write eight bytes to any address."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, word = arguments
        builder.store(word, builder.inttoptr(address, ir.IntType(64).as_pointer())).align = 1

    return types.void(types.uint64, types.uint64), generate


def _copy_memory(_typing: Any, _target: Any, _source: Any, _count: Any) -> Any:
    """Copy bytes between two addresses; the places do not overlap."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        target, source = (builder.inttoptr(each, ir.IntType(8).as_pointer()) for each in arguments[:2])
        raw_memcpy(builder, target, source, arguments[2], 1)

    return types.void(types.uint64, types.uint64, types.uint64), generate


def _find_lowest_bit(_typing: Any, _word: Any) -> Any:
    """The number of the lowest bit that is set in a word, which is not 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


raw_memcpy: Any = cgutils.raw_memcpy
word_at: Any = intrinsic(_load_word)
put_word: Any = intrinsic(_store_word)
copy_bytes: Any = intrinsic(_copy_memory)
lowest_bit: Any = intrinsic(_find_lowest_bit)


def _cache_directory() -> str:
    """Where machine code is kept; empty if no directory can be written, which a warning tells.

    Nobody else may write there: numba keeps pickles, and reading one back can run anything.
    """
    places = list(_places(_state_of_sources()))
    for place in places:
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(place, os.W_OK | os.X_OK):
                return str(place)
    tried = " nor ".join(str(place.parent) for place in places)
    warnings.warn(
        f"Every process compiles its functions anew: no machine code can be kept in {tried}. "
        "Set NUMBA_CACHE_DIR to a directory that only you can write.",
        stacklevel=2,
    )
    return ""


def _places(state: str) -> Iterator[Path]:
    """Beside the sources, else in the user's cache."""
    yield _PACKAGE / "__pycache__" / f"nemo_assets-compiled-{os.getuid()}-{state}"
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield (cache if cache.is_absolute() else Path("~/.cache").expanduser()) / "nemo_assets" / f"compiled-{state}"


def _state_of_sources() -> str:
    """One name for each state of the sources.

    numba looks at the file of a function alone: it would keep using code into which a function of another file was
    compiled before that was changed.
    """
    sources = sorted(path for name in _WITH_COMPILED_CODE for path in (_PACKAGE / name).rglob("*.py"))
    state = hashlib.blake2b(digest_size=8)
    for path in (Path(__file__), *sources):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()


_numba: Any = nb.config
if not _numba.CACHE_DIR:  # else NUMBA_CACHE_DIR is the user's own choice
    _numba.CACHE_DIR = _cache_directory()
