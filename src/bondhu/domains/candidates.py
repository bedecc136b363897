"""Actions that are other in each request: candidates sent with the context, known by their numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from gymnasium.spaces import Box, Space
from msgspec import Meta

from bondhu.domains.encoders import FeatureEncoder, check, variations
from bondhu.domains.fields import Field, objects, row_by_row
from bondhu.errors import InvalidInput
from bondhu.types import Array, Columns, Floats, Integers

WIDEST = 8192  # features of one candidate


@dataclass(frozen=True)
class Candidates:
    """Between one and `most` candidates, each a list of `size` numbers. Its code is how many there are, less one."""

    name: str
    most: int
    size: int

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the first, the second, … candidate of any request."""
        return tuple(f"{self.name}-{number}" for number in range(1, self.most + 1))

    @property
    def cardinality(self) -> int:
        return self.most

    @property
    def width(self) -> int:
        return 0  # they are features of actions, not of the context

    @property
    def json(self) -> Any:
        one = Annotated[list[float], Meta(min_length=self.size, max_length=self.size)]
        return Annotated[list[one], Meta(min_length=1, max_length=self.most)]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    @property
    def typical(self) -> Sequence[Any]:
        return ()  # other candidates would be other actions

    def code(self, value: Any) -> int:
        return len(self._checked(value)) - 1

    @property
    def coder(self) -> Callable[[Any], int]:
        return self.code

    def column(self, values: Sequence[Any]) -> Array:
        row_by_row(self.code, values)
        return objects(values)

    def codes(self, column: Array) -> Integers:
        return np.fromiter(map(len, column), np.int64, len(column)) - 1

    def features(self, column: Array) -> Floats:
        return np.empty((len(column), 0), np.float32)

    def write(self, value: Any, row: Floats) -> None:  # noqa: ARG002  # the context has none of their features
        self._checked(value)

    def padded(self, column: Any) -> Floats:
        """`[T, most, size]`, zeros where there are fewer."""
        numbers = np.zeros((len(column), self.most, self.size), np.float32)
        for row, each in zip(numbers, column, strict=True):
            row[: len(each)] = each
        return numbers

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "candidates", "most": self.most, "size": self.size}

    def _checked(self, value: Any) -> Array:
        try:
            numbers = np.asarray(value)
        except ValueError:  # of different lengths
            numbers = np.empty(0)
        whole = numbers.dtype.kind in "fiu" and numbers.ndim == 2 and numbers.shape[1] == self.size
        if whole and 1 <= len(numbers) <= self.most and np.isfinite(numbers).all():
            return numbers
        raise InvalidInput(
            f"Field {self.name!r} got {value!r:.80}, which is not 1 to {self.most} lists of {self.size} numbers.",
            field=self.name,
            value=value,
            fix=f"Send a list of candidates, each a list of {self.size} finite numbers.",
        )


class CandidateEncoder:
    """Features of every candidate in its context: `[T, A, C·S + 1]`, each of its S numbers times each of the C features
    of the context (the last of those is 1), and a last 1; zeros where there is no candidate."""

    def __init__(self, fields: tuple[Field, ...], candidates: Candidates) -> None:
        self.fields, self._candidates, self._context = fields, candidates, FeatureEncoder(fields)
        width = self._context.space.shape[0] * candidates.size + 1  # type: ignore[index]  # a Box has a shape
        if width > WIDEST:
            fix = "Declare fewer or smaller fields: text and vectors are wide."
            raise InvalidInput(f"A candidate would have {width:,} features.", field="context", value=width, fix=fix)
        self.space: Space[Any] = Box(-np.inf, np.inf, (candidates.most, width), np.float32)

    def one(self, context: Mapping[str, Any]) -> Array:
        seen = self._context.one(context)
        crossed: Array = self._crossed(seen[None], [context[self._candidates.name]])[0]
        return crossed

    def many(self, columns: Columns) -> Array:
        return self._crossed(self._context.many(columns), columns[self._candidates.name])

    def variations(self, context: Mapping[str, Any]) -> Mapping[str, Array]:
        check(self.fields, context)
        return variations(self.fields, self, context)

    def _crossed(self, context: Floats, column: Any) -> Floats:
        numbers = self._candidates.padded(column)
        rows, most, _ = numbers.shape
        products = (numbers[:, :, None, :] * context[:, None, :, None]).reshape(rows, most, -1)
        there = np.arange(most) < np.fromiter(map(len, column), np.int64, rows)[:, None]
        return np.concatenate([products, there[:, :, None].astype(np.float32)], axis=2)
