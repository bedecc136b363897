"""The kinds of context field: each validates a value, gives it one integer code, and a row of features.

A column holds the values as sent (strings, numbers, rows of a vector), so that another declaration can encode them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal, Protocol, TypeVar, cast

import numpy as np
from msgspec import Meta

from bondhu.errors import InvalidInput, nearest
from bondhu.types import Array, Floats, Integers

Returned = TypeVar("Returned")
MOST_TYPICAL = 32  # values of a field that one is compared with


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

    def write(self, value: Any, row: Floats) -> None:
        """Write the features of one plainly right value into zeros `[width]`; may raise anything for others."""

    @property
    def typical(self) -> Sequence[Any]:
        """A few values from all over its range, to compare one with."""

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
        return objects(values)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    def codes(self, column: Array) -> Integers:
        try:
            return np.fromiter(map(self._codes.__getitem__, column), np.int64, len(column))
        except (KeyError, TypeError):
            codes: Integers = row_by_row(self.code, column)
            return codes

    def features(self, column: Array) -> Floats:
        return one_hot(self.codes(column), self.cardinality)

    def write(self, value: Any, row: Floats) -> None:
        row[self._codes[value]] = 1.0

    @property
    def typical(self) -> Sequence[Any]:
        return self.values[:: 1 + len(self.values) // MOST_TYPICAL]

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
            values = row_by_row(self._checked, values)
        try:
            column = np.asarray(values, np.float64)
        except OverflowError:  # an integer beyond all floats
            column = row_by_row(self._checked, values)
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

    def write(self, value: Any, row: Floats) -> None:
        row[1 + self.coder(value)] = 1.0
        row[0] = (value - self.low) / (self.high - self.low)

    @property
    def typical(self) -> Sequence[Any]:
        return self.middles[:: 1 + self.cardinality // MOST_TYPICAL]

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
            row_by_row(self._checked, column.tolist())


def one_hot(codes: Integers, size: int) -> Floats:
    """1 at the code of each row: `[T, size]`."""
    hot = np.zeros((len(codes), size), np.float32)
    hot[np.arange(len(codes)), codes] = 1.0
    return hot


_NUMBERS = frozenset((int, float))


def objects(values: Sequence[Any]) -> Array:
    """The values as they are, one a row."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def row_by_row(check: Callable[[Any], Returned], values: Any) -> Any:
    """The checked values as an array; the slow way, which knows the row an error belongs to."""
    checked = []
    for row, value in enumerate(values):
        try:
            checked.append(check(value))
        except InvalidInput as error:
            message = f"Row {row}: {error.what}"
            raise InvalidInput(message, field=error.field, value=error.value, fix=error.fix) from None
    return np.asarray(checked)
