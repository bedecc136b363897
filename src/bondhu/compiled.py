"""Compiles plain functions on arrays when they are first needed: importing Bondhu loads no compiler.

What was compiled is kept on disk. Numba looks whether the file of a function has changed, but not whether the files of
what it calls have; so it is kept in a folder that is named by all sources that are ever compiled. The folder is in
`__pycache__` beside this file, or where NUMBA_CACHE_DIR says; where neither can be written, Numba finds a place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

PACKAGE = Path(__file__).parent
_SETTING = Lock()  # the place is a setting of the whole compiler


@cache
def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, compiled by Numba and kept on disk. Functions that it calls must be compiled as well."""
    import numba

    settings: Any = numba.config  # it makes its names when it is loaded
    with _SETTING:
        users = settings.CACHE_DIR
        settings.CACHE_DIR = str(Path(users or PACKAGE / "__pycache__") / f"bondhu-{_sources()}")
        try:
            fast: Callable[P, R] = numba.njit(cache=True, nogil=True)(function)
        finally:
            settings.CACHE_DIR = users
    return fast


def digest(paths: Iterable[Path]) -> str:
    """Sixteen hexadecimal digits that change with a name or the content of these files, not with their order."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


@cache
def _sources() -> str:
    """The digest of everything that is compiled, or called by what is."""
    rooms = (path for room in ("equations", "policies", "learners") for path in (PACKAGE / room).rglob("*.py"))
    return digest([Path(__file__), *rooms])
