"""The kinds of context field: each validates a value, gives it one integer code, and a row of features.

A column holds the values as sent (strings, numbers, rows of a vector), so that another declaration can encode them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import shake_256
from itertools import pairwise
from typing import Annotated, Any, Literal, Protocol, TypeVar, cast
from zlib import crc32

import numpy as np
from msgspec import Meta

from bondhu.errors import InvalidInput, nearest
from bondhu.types import Array, Floats, Integers

Returned = TypeVar("Returned")


class Field(Protocol):
    """One column of the context."""

    @property
    def name(self) -> str: ...
    @property
    def cardinality(self) -> int:
        """Codes are 0 … cardinality - 1."""

    @property
    def width(self) -> int:
        """Number of features."""

    @property
    def json(self) -> Any:
        """The type that decodes and validates it from JSON."""

    def code(self, value: Any) -> int:
        """Validate one value and give its code."""

    @property
    def coder(self) -> Callable[[Any], int]:
        """`code` for values that are plainly right; may raise anything for others. The path of every decision."""

    def column(self, values: Sequence[Any]) -> Array:
        """Validate values into a typed array of length T; an error names the row."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a column."""

    def codes(self, column: Array) -> Integers:
        """`[T]`; raises InvalidInput where a value is not one of this declaration's."""

    def features(self, column: Array) -> Floats:
        """`[T, width]`"""

    def describe(self) -> dict[str, Any]:
        """Its table in bondhu.toml, in full."""


@dataclass(frozen=True)
class Category:
    """One of a list of names."""

    name: str
    values: tuple[str, ...]

    @property
    def cardinality(self) -> int:
        return len(self.values)

    @property
    def width(self) -> int:
        return len(self.values)

    @property
    def json(self) -> Any:
        return Literal[self.values]

    def code(self, value: Any) -> int:
        try:
            return self._codes[value]
        except (KeyError, TypeError):  # TypeError: a list or an object cannot be a key
            message = f"Field {self.name!r} got {value!r}, which is not in its list."
            raise InvalidInput(message, field=self.name, value=value, fix=nearest(str(value), self.values)) from None

    @property
    def coder(self) -> Callable[[Any], int]:
        return self._codes.__getitem__

    def column(self, values: Sequence[Any]) -> Array:
        self.codes(cast(Array, values))
        return _objects(values)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    def codes(self, column: Array) -> Integers:
        try:
            return np.fromiter(map(self._codes.__getitem__, column), np.int64, len(column))
        except (KeyError, TypeError):
            codes: Integers = _row_by_row(self.code, column)
            return codes

    def features(self, column: Array) -> Floats:
        return one_hot(self.codes(column), self.cardinality)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "category", "values": list(self.values)}

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {value: code for code, value in enumerate(self.values)}


@dataclass(frozen=True)
class Number:
    """A number in [low, high], cut into bins of equal width or at explicit edges."""

    name: str
    low: float
    high: float
    bins: int = 5
    edges: tuple[float, ...] = ()  # inner cuts, ascending; a value on a cut belongs to the upper bin

    @property
    def cardinality(self) -> int:
        return len(self.edges) + 1 if self.edges else self.bins

    @property
    def width(self) -> int:
        return 1 + self.cardinality

    @property
    def json(self) -> Any:
        return Annotated[float, Meta(ge=self.low, le=self.high)]

    @property
    def middles(self) -> list[float]:
        """The middle of each bin."""
        cuts = self.edges or tuple(self.low + self._step * number for number in range(1, self.bins))
        return [(below + above) / 2 for below, above in pairwise((self.low, *cuts, self.high))]

    def code(self, value: Any) -> int:
        return self.coder(float(self._checked(value)))

    @cached_property
    def coder(self) -> Callable[[Any], int]:
        low, high, step, edges, last = self.low, self.high, self._step, self.edges, self.bins - 1

        def coded(value: Any) -> int:
            if type(value) not in _NUMBERS or not low <= value <= high:
                raise ValueError
            if edges:
                return bisect_right(edges, value)
            code = int((value - low) / step)
            return code if code < last else last  # `high` itself belongs to the last bin

        return coded

    def column(self, values: Sequence[Any]) -> Array:
        if set(map(type, values)) - _NUMBERS:  # NumPy's numbers are welcome; True and "3" are not
            values = _row_by_row(self._checked, values)
        try:
            column = np.asarray(values, np.float64)
        except OverflowError:  # an integer beyond all floats
            column = _row_by_row(self._checked, values)
        self._require_range(column)
        return column

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float64)

    def codes(self, column: Array) -> Integers:
        self._require_range(column)
        if self.edges:
            edge_codes: Integers = np.searchsorted(np.asarray(self.edges), column, side="right")
            return edge_codes
        return np.minimum(((column - self.low) / self._step).astype(np.int64), self.bins - 1)

    def features(self, column: Array) -> Floats:
        """The number scaled to [0, 1], then its bin: a linear model can use the slope, the steps or both."""
        features = one_hot(self.codes(column) + 1, self.width)
        features[:, 0] = (column - self.low) / (self.high - self.low)
        return features

    def describe(self) -> dict[str, Any]:
        cut: dict[str, Any] = {"edges": list(self.edges)} if self.edges else {"bins": self.bins}
        return {"name": self.name, "kind": "number", "range": [self.low, self.high], **cut}

    @cached_property
    def _step(self) -> float:
        return (self.high - self.low) / self.bins

    def _checked(self, value: Any) -> Any:
        real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if real and self.low <= value <= self.high:
            return value
        finite = real and -math.inf < value < math.inf
        problem = f"outside {self.low:g} to {self.high:g}" if finite else "not a finite number"
        raise InvalidInput(
            f"Field {self.name!r} got {value!r:.80}, which is {problem}.",
            field=self.name,
            value=value,
            fix=f"Send a number from {self.low:g} to {self.high:g}.",
        )

    def _require_range(self, column: Array) -> None:
        if not ((column >= self.low) & (column <= self.high)).all():  # False for NaN as well
            _row_by_row(self._checked, column.tolist())


@dataclass(frozen=True)
class Text:
    """Free text in any case: a hashed bag of words as features, a bucket of the whole text as code."""

    name: str
    buckets: int = 256

    @property
    def cardinality(self) -> int:
        return self.buckets

    @property
    def width(self) -> int:
        return self.buckets

    @property
    def json(self) -> Any:
        return str

    def code(self, value: Any) -> int:
        return self._bucket(" ".join(self._checked(value).lower().split()))

    @property
    def coder(self) -> Callable[[Any], int]:
        return self.code

    def column(self, values: Sequence[Any]) -> Array:
        if set(map(type, values)) - {str}:
            _row_by_row(self._checked, values)
        return _objects(values)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    def codes(self, column: Array) -> Integers:
        known = {text: self.code(text) for text in set(column)}  # texts repeat: hash each once
        return np.fromiter(map(known.__getitem__, column), np.int64, len(column))

    def features(self, column: Array) -> Floats:
        """Counts of hashed words, each row scaled to length 1."""
        words = [text.lower().split() for text in column]
        rows = np.repeat(np.arange(len(words)), [len(row) for row in words])
        buckets = np.fromiter((self._bucket(word) for row in words for word in row), np.int64, len(rows))
        counts = np.bincount(rows * self.buckets + buckets, minlength=len(words) * self.buckets)
        bag = counts.reshape(len(words), self.buckets).astype(np.float32)
        scaled: Floats = bag / np.maximum(np.linalg.norm(bag, axis=1, keepdims=True), 1.0)
        return scaled

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "text", "buckets": self.buckets}

    def _bucket(self, text: str) -> int:
        return crc32(text.encode("utf-8", "surrogatepass")) % self.buckets  # the same in every process, unlike hash()

    def _checked(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        message = f"Field {self.name!r} got {value!r}, which is not text."
        raise InvalidInput(message, field=self.name, value=value, fix="Send a string.")


@dataclass(frozen=True)
class Vector:
    """A fixed number of finite numbers, such as an embedding; its code is the side of fixed planes it lies on."""

    name: str
    size: int
    bits: int = 8  # planes: 2**bits codes

    @property
    def cardinality(self) -> int:
        return int(2**self.bits)

    @property
    def width(self) -> int:
        return self.size

    @property
    def json(self) -> Any:
        return Annotated[list[float], Meta(min_length=self.size, max_length=self.size)]

    def code(self, value: Any) -> int:
        return int(self.codes(self._checked(value)[None])[0])

    @property
    def coder(self) -> Callable[[Any], int]:
        return self.code

    def column(self, values: Sequence[Any]) -> Array:
        try:
            column = np.asarray(values)
            whole = (
                column.dtype.kind in "fiu" and column.shape == (len(values), self.size) and np.isfinite(column).all()
            )
        except ValueError:  # rows of different lengths
            whole = False
        return column.astype(np.float64) if whole else _row_by_row(self._checked, values).reshape(-1, self.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype((np.float64, (self.size,)))

    def codes(self, column: Array) -> Integers:
        """Sign random projections (Charikar 2002): bit b is 1 where the vector is on plane b or above it."""
        if column.shape[1:] != (self.size,):
            _row_by_row(self._checked, column)
        codes = np.zeros(len(column), np.int64)
        for plane in self._planes:  # row sums rather than a matrix product: the same bits for one row as for many
            codes = 2 * codes + (np.add.reduce(np.ascontiguousarray(column) * plane, axis=1) >= 0)
        return codes

    def features(self, column: Array) -> Floats:
        return column.astype(np.float32)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "vector", "size": self.size, "bits": self.bits}

    @cached_property
    def _planes(self) -> Floats:
        """`[bits, size]` from a hash rather than a generator, whose stream may change between releases."""
        drawn = np.frombuffer(shake_256(b"planes").digest(self.bits * self.size), np.int8)
        return drawn.reshape(self.bits, self.size) + 0.5

    def _checked(self, value: Any) -> Floats:
        try:
            row = np.asarray(value)
        except ValueError:  # rows of different lengths
            row = np.empty(0)
        if row.dtype.kind in "fiu" and row.shape == (self.size,) and np.isfinite(row).all():
            return row.astype(np.float64)
        raise InvalidInput(
            f"Field {self.name!r} got {value!r:.80}, which is not {self.size} finite numbers.",
            field=self.name,
            value=value,
            fix=f"Send a list of {self.size} numbers.",
        )


def one_hot(codes: Integers, size: int) -> Floats:
    """1 at the code of each row: `[T, size]`."""
    hot = np.zeros((len(codes), size), np.float32)
    hot[np.arange(len(codes)), codes] = 1.0
    return hot


_NUMBERS = frozenset((int, float))


def _objects(values: Sequence[Any]) -> Array:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _row_by_row(check: Callable[[Any], Returned], values: Any) -> Any:
    """The checked values as an array; the slow way, which knows the row an error belongs to."""
    checked = []
    for row, value in enumerate(values):
        try:
            checked.append(check(value))
        except InvalidInput as error:
            message = f"Row {row}: {error.what}"
            raise InvalidInput(message, field=error.field, value=error.value, fix=error.fix) from None
    return np.asarray(checked)
