"""Figures of a sheet are computed once, however many browsers ask: they are remembered as long as the sheet is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import wraps
from threading import Lock, RLock
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from bondhu.dashboard.columns.sheets import Sheet

KEPT = 64  # results of one sheet

P = ParamSpec("P")
R = TypeVar("R")


class _Known(NamedTuple):
    """What was computed of one sheet."""

    turn: RLock
    results: OrderedDict[Any, Any]


_sheets: WeakKeyDictionary[Sheet, _Known] = WeakKeyDictionary()
_turn = Lock()


def remembered(compute: Callable[Concatenate[Sheet, P], R]) -> Callable[Concatenate[Sheet, P], R]:
    """The function, which asks itself only once about the same sheet with the same arguments: hashable ones, arrays,
    and mappings of these. Results are shared and not to be changed."""

    @wraps(compute)
    def asked(sheet: Sheet, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with _turn:
            known = _sheets.setdefault(sheet, _Known(RLock(), OrderedDict()))
        key = compute.__module__, compute.__qualname__, _key(args), _key(kwargs)
        with known.turn:
            if key not in known.results:
                known.results[key] = compute(sheet, *args, **kwargs)
                while len(known.results) > KEPT:
                    known.results.popitem(last=False)
            known.results.move_to_end(key)
            result: R = known.results[key]
            return result

    return asked


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return tuple((name, _key(each)) for name, each in sorted(value.items()))
    return tuple(map(_key, value)) if isinstance(value, list | tuple) else value
