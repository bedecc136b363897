"""Fields whose values cannot be listed: text, vectors, and people. Each validates, codes and turns into features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import shake_256
from typing import Annotated, Any, cast
from zlib import crc32

import numpy as np
from msgspec import Meta

from bondhu.domains.fields import objects, row_by_row
from bondhu.errors import InvalidInput
from bondhu.types import Array, Floats, Integers


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
            row_by_row(self._checked, values)
        return objects(values)

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

    def write(self, value: Any, row: Floats) -> None:
        row[:] = self.features(cast(Array, (self._checked(value),)))[0]

    @property
    def typical(self) -> Sequence[Any]:
        return ("",)

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
        return column.astype(np.float64) if whole else row_by_row(self._checked, values).reshape(-1, self.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype((np.float64, (self.size,)))

    def codes(self, column: Array) -> Integers:
        """Sign random projections (Charikar 2002): bit b is 1 where the vector is on plane b or above it."""
        if column.shape[1:] != (self.size,):
            row_by_row(self._checked, column)
        codes = np.zeros(len(column), np.int64)
        for plane in self._planes:  # row sums rather than a matrix product: the same bits for one row as for many
            codes = 2 * codes + (np.add.reduce(np.ascontiguousarray(column) * plane, axis=1) >= 0)
        return codes

    def features(self, column: Array) -> Floats:
        return column.astype(np.float32)

    def write(self, value: Any, row: Floats) -> None:
        row[:] = self._checked(value)

    @property
    def typical(self) -> Sequence[Any]:
        return ([0.0] * self.size,)

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


@dataclass(frozen=True)
class Person:
    """Who it is, by any name: a code for learners that pool people, and nothing that learners of features would see.

    Code 0 is the unknown person, sent as "". Others are hashed: with n people, one in about buckets / n shares a code.
    """

    name: str
    buckets: int = 65_536

    @property
    def cardinality(self) -> int:
        return self.buckets

    @property
    def width(self) -> int:
        return 0

    @property
    def json(self) -> Any:
        return str

    def code(self, value: Any) -> int:
        if not isinstance(value, str):
            message = f"Field {self.name!r} got {value!r:.80}, which is no name."
            raise InvalidInput(message, field=self.name, value=value, fix='Send a string; "" where nobody is known.')
        return 1 + crc32(value.encode("utf-8", "surrogatepass")) % (self.buckets - 1) if value else 0

    @property
    def coder(self) -> Callable[[Any], int]:
        return self.code

    def column(self, values: Sequence[Any]) -> Array:
        if set(map(type, values)) - {str}:
            row_by_row(self.code, values)
        return objects(values)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    def codes(self, column: Array) -> Integers:
        known = {name: self.code(name) for name in set(column)}
        return np.fromiter(map(known.__getitem__, column), np.int64, len(column))

    def features(self, column: Array) -> Floats:
        return np.empty((len(column), 0), np.float32)

    def write(self, value: Any, row: Floats) -> None:  # noqa: ARG002  # it has no features
        if not isinstance(value, str):
            raise TypeError

    @property
    def typical(self) -> Sequence[Any]:
        return ("",)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "person", "buckets": self.buckets}
