"""How data crosses the wall: JSON in frames, with a tag where JSON has no such type. Nothing in it can run.

What comes out is of exact built-in types: an instance of a subclass, which may bring its own `__eq__`, is refused. The
library's own kinds of dictionary come out as dictionaries, which they are equal to.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

FRAME = 1 << 20  # bytes of one frame at most
DEPTH = 64  # of nesting
NODES = 200_000  # values within a value
DIGITS = 20  # of a number in JSON; longer ones go as text of base 16, which is read in linear time
EQUAL_HASHES = 16  # keys of one hash at most: a table of many takes quadratic time
LENGTH = Struct(">I")
DICTIONARIES = (Counter, OrderedDict, defaultdict)
LARGE = 10 ** (DIGITS - 1)


class Opaque(Exception):  # it says what a value is
    """A value that is no plain data, or that is too large, too deep or made to be slow."""


class TooLarge(Opaque):
    """Too much of it to be sent, or too deep."""


def encode(value: object, depth: int = DEPTH, left: list[int] | None = None) -> Any:
    """A value as JSON has it. Raises Opaque, TooLarge where that is why."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind in SCALARS:
        return SCALARS[kind](value)
    if kind in DICTIONARIES:
        value, kind = dict(value), dict  # type: ignore[call-overload]  # they are dictionaries
    if kind not in MANY:
        raise Opaque(f"a {kind.__name__}")
    left = [NODES] if left is None else left
    left[0] -= len(value)  # type: ignore[arg-type]  # each of MANY has a length
    if depth == 0 or left[0] < 0:
        raise TooLarge("it is nested too deep" if depth == 0 else "it is too large")
    pairs = value.items() if kind is dict else value  # type: ignore[attr-defined]  # a dictionary has items
    inside = [encode(each, depth - 1, left) for each in pairs]  # type: ignore[union-attr]  # all of MANY are iterable
    return inside if kind is list else {MANY[kind]: inside}


def decode(data: Any, depth: int = DEPTH) -> Any:
    """What `encode` was given. Raises Opaque for anything that it does not make."""
    if type(data) is list:
        if depth == 0:
            raise Opaque("it is nested too deep")
        return [decode(each, depth - 1) for each in data]
    if type(data) is not dict:
        return data
    if len(data) != 1:
        raise Opaque("it has an unknown form")
    [(tag, inside)] = data.items()
    try:
        return MADE[tag](inside if tag in "bif" else decode(inside, depth))
    except (TypeError, ValueError, LookupError, OverflowError) as problem:
        raise Opaque("it has an unknown form") from problem


def frame(message: object) -> bytes:
    """A message with its length before it. Raises TooLarge."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(body) > FRAME:
        raise TooLarge("it is too large")
    return LENGTH.pack(len(body)) + body


def read(body: bytes) -> Any:
    """The message of a frame. Raises Opaque for what cannot be read in time proportional to its length."""
    try:
        return READER.decode(body.decode("ascii"))
    except (ValueError, RecursionError) as problem:
        raise Opaque("it has an unknown form") from problem


def _integer(value: int) -> Any:
    return value if -LARGE < value < LARGE else {"i": hex(value)}


def _real(value: float) -> Any:
    return value if math.isfinite(value) else {"f": repr(value)}


def _number(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError("a number of too many digits")
    return int(text)


def _decimal(text: str) -> float:
    if len(text) > 32:
        raise ValueError("a number of too many digits")
    return float(text)


def _refused(text: str) -> Any:
    raise ValueError(text)


def _keys(members: Sequence[Any]) -> Sequence[Any]:
    """The same, if a table of them can be built in linear time. Hashes of numbers are known to everybody."""
    if len(members) > EQUAL_HASHES:
        hashes = sorted(map(hash, members))
        if any(early == late for early, late in zip(hashes, hashes[EQUAL_HASHES:], strict=False)):
            raise Opaque("too many of its keys have one hash")
    return members


def _dictionary(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    _keys([key for key, _ in pairs])
    return dict(pairs)


def _complex(parts: list[float]) -> complex:
    real, imaginary = parts
    return complex(float(real), float(imaginary))


MANY: dict[type, str] = {list: "", tuple: "t", set: "s", frozenset: "z", dict: "d"}
SCALARS: dict[type, Callable[[Any], Any]] = {
    int: _integer,
    float: _real,
    bytes: lambda value: {"b": b64encode(value).decode()},
    complex: lambda value: {"c": [_real(value.real), _real(value.imag)]},
}
MADE: dict[str, Callable[[Any], Any]] = {
    "t": tuple,
    "s": lambda members: set(_keys(members)),
    "z": lambda members: frozenset(_keys(members)),
    "d": _dictionary,
    "b": lambda text: b64decode(text, validate=True),
    "c": _complex,
    "i": lambda text: int(text, 16),
    "f": lambda text: {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[text],
}
READER = json.JSONDecoder(parse_int=_number, parse_float=_decimal, parse_constant=_refused)
