"""Compiles plain functions on arrays when they are first needed: importing Bondhu loads no compiler."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@cache
def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, compiled by Numba and kept on disk. Functions that it calls must be compiled as well."""
    from numba import njit

    fast: Callable[P, R] = njit(cache=True, nogil=True)(function)
    return fast
