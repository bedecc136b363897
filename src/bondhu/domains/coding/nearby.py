"""Inputs near those of tests, and whether two answers are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isclose, isnan
from typing import Any

from bondhu.sandbox.program import Call

INPUTS = 32  # at most
CLOSE = 1e-6  # relative and absolute difference at which numbers are still the same answer


def perturbed(calls: Sequence[Call], most: int = INPUTS) -> list[Call]:
    """Calls near those given, and different from all of them: one argument changed at a time, of the same type."""
    seen, made = {written_call(call) for call in calls}, list[Call]()
    changes = [
        iter([replace(call, arguments=(*call.arguments[:at], new, *call.arguments[at + 1 :])) for new in _near(each)])
        for call in calls
        for at, each in enumerate(call.arguments)
    ]
    while changes and len(made) < most:  # one of each in turn, so that no call has all the places
        for source in list(changes):
            call = next(source, None)
            if call is None:
                changes.remove(source)
            elif written_call(call) not in seen and len(made) < most:
                seen.add(written_call(call))
                made.append(call)
    return made


def alike(left: Any, right: Any) -> bool:
    """Whether two answers are the same, but for rounding and for a list in place of a tuple."""
    if isinstance(left, float | int) and isinstance(right, float | int):
        return _close(left, right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(alike(*each) for each in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    return type(left) is type(right) and bool(left == right)


def written(value: Any) -> str:
    """As `repr` has it, but of integers of any length, and of a set in one order."""
    if type(value) is int:
        return hex(value)
    if isinstance(value, dict):
        inside = [f"{written(key)}: {written(each)}" for key, each in value.items()]
    elif isinstance(value, list | tuple):
        inside = [written(each) for each in value]
    elif isinstance(value, set | frozenset):
        inside = sorted(written(each) for each in value)
    else:
        return repr(value)
    return f"{type(value).__name__}({', '.join(inside)})"


def written_call(call: Call) -> str:
    return written([call.arguments, dict(call.keywords)])


def _close(left: float, right: float) -> bool:
    """Integers are counts: only where a float is among the two is there rounding. A NaN is like another."""
    if left == right or float not in (type(left), type(right)):
        return left == right
    try:
        return isclose(left, right, rel_tol=CLOSE, abs_tol=CLOSE) or (isnan(left) and isnan(right))
    except OverflowError:  # an integer past every float
        return False


def _near(value: Any) -> list[Any]:
    """Values of the same type that are a little different."""
    near: list[Any] = []
    match value:
        case bool():
            near = [not value]
        case int() | float():
            near = [value + 1, value - 1, value + 2, value * 2]
        case str():
            # A date, a number or a quotation that is cut or turned round is none: its form is kept.
            near = _spelled(value) + (_shifted(value) if value.replace(" ", "").isalpha() or not value else [])
        case list() | tuple():
            near = _shifted(value) + _inside(value)
        case dict():
            near = [{key: each for key, each in value.items() if key != gone} for gone in list(value)[:2]]
        case set() | frozenset():
            near = [value - {gone} for gone in sorted(value, key=written)[:2]]
    return near


def _spelled(text: str) -> list[str]:
    """A text with another letter or digit in place of its first, its last, or one in its middle."""
    places = [at for at, each in enumerate(text) if each.isascii() and each.isalnum()]
    chosen = dict.fromkeys((places[0], places[-1], places[len(places) // 2])) if places else {}
    return [text[:at] + _next(text[at]) + text[at + 1 :] for at in chosen]


def _next(character: str) -> str:
    """The next of its kind; after the last one, the one before."""
    return chr(ord(character) + (-1 if character in "9Zz" else 1))


def _shifted(value: Any) -> list[Any]:
    """A sequence without its first or its last, the other way round, and longer."""
    return [value[1:], value[:-1], value[::-1], value + value[:1]]


def _inside(value: Any) -> list[Any]:
    """A list or tuple with one of its first two elements changed."""
    return [
        value[:at] + type(value)([near]) + value[at + 1 :]
        for at, each in enumerate(value[:2])
        for near in _near(each)[:2]
    ]
