"""How functions over bytes are compiled here: to machine code when first called, and kept for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba as nb

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The same function as machine code. Arrays are not checked for bounds: the function must stay within them."""
    return cast(Function, nb.njit(nogil=True, cache=True, boundscheck=False)(function))
