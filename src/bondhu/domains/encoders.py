"""Contexts to observations: integer codes for tables and rules, float features for linear and deep learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space

from bondhu.domains.fields import Field
from bondhu.errors import InvalidInput, nearest
from bondhu.types import Array, Columns, Encoder

CHUNK = 4096  # contexts decoded at a time: their rows stay in the processor's cache, and are never all in memory


class CodeEncoder:
    """One integer code a field: `[T, F]`."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields
        self.space: Space[Any] = MultiDiscrete([field.cardinality for field in fields])
        self._coders = [(field.name, field.coder) for field in fields]

    def one(self, context: Mapping[str, Any]) -> Array:
        try:
            if len(context) == len(self.fields):
                return np.array([code(context[name]) for name, code in self._coders])
        except (KeyError, TypeError, ValueError):  # something is unusual: take the way that can say what
            pass
        check(self.fields, context)
        return np.array([field.code(context[field.name]) for field in self.fields])

    def many(self, columns: Columns) -> Array:
        codes = np.empty((len(columns[self.fields[0].name]), len(self.fields)), np.int64)
        for number, field in enumerate(self.fields):  # one at a time: new memory is slower than arithmetic
            codes[:, number] = field.codes(columns[field.name])
        return codes

    def variations(self, context: Mapping[str, Any]) -> Mapping[str, Array]:
        return variations(self.fields, self, context)


class FeatureEncoder:
    """One-hot categories, scaled numbers and their bins, hashed words, vectors, and a last 1 as bias: `[T, W]`."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields
        ends = list(accumulate((field.width for field in fields), initial=0))
        self.space: Space[Any] = Box(-np.inf, np.inf, (ends[-1] + 1,), np.float32)
        places = [slice(*each) for each in pairwise(ends)]
        self._writers = [(field.name, field.write, place) for field, place in zip(fields, places, strict=True)]
        self._bias = np.zeros(ends[-1] + 1, np.float32)
        self._bias[-1] = 1.0

    def one(self, context: Mapping[str, Any]) -> Array:
        row = self._bias.copy()
        try:
            if len(context) == len(self.fields):
                for name, write, place in self._writers:
                    write(context[name], row[place])
                return row
        except (KeyError, TypeError, ValueError, InvalidInput):  # something is unusual: take the way that can say what
            pass
        check(self.fields, context)
        columns = {field.name: field.column([context[field.name]]) for field in self.fields}
        unusual: Array = self.many(columns)[0]
        return unusual

    def many(self, columns: Columns) -> Array:
        parts = [field.features(columns[field.name]) for field in self.fields]
        return np.concatenate([*parts, np.ones((len(parts[0]), 1), np.float32)], axis=1)

    def variations(self, context: Mapping[str, Any]) -> Mapping[str, Array]:
        return variations(self.fields, self, context)


@dataclass(frozen=True)
class Decoder:
    """JSON contexts to typed columns, a chunk at a time."""

    fields: tuple[Field, ...]

    def columns(self, contexts: Sequence[bytes]) -> Columns:
        """Raises InvalidInput naming the row, the field and the value."""
        columns = {field.name: np.empty(len(contexts), field.dtype) for field in self.fields}
        for start in range(0, len(contexts), CHUNK):
            rows = self._chunk(contexts[start : start + CHUNK], start)
            for field, name in zip(self.fields, self._row.__struct_fields__, strict=True):
                values = np.fromiter(map(attrgetter(name), rows), field.dtype, len(rows))
                columns[field.name][start : start + len(rows)] = values
        return columns

    def _chunk(self, rows: Sequence[bytes], start: int) -> list[Any]:
        try:
            decoded = self._rows.decode(b"[" + b",".join(rows) + b"]")
            if len(decoded) != len(rows):  # a row with a comma outside of its object
                raise msgspec.DecodeError("not one JSON object a row")
        except (msgspec.DecodeError, UnicodeError) as error:
            raise self._explained(rows, start, error) from None
        return decoded

    def _explained(self, rows: Sequence[bytes], start: int, error: Exception) -> InvalidInput:
        """Which row and field it was."""
        for number, row in enumerate(rows, start):
            try:
                check(self.fields, msgspec.json.decode(row))
                self._one.decode(row)
            except InvalidInput as found:
                what = f"Row {number}: {found.what}"
                return InvalidInput(what, field=found.field, value=found.value, fix=found.fix)
            except (msgspec.DecodeError, UnicodeError) as found:
                what = f"Row {number}: the context is not what was declared: {found}."
                return InvalidInput(what, value=bytes(row[:200]), fix="Send one JSON object.")
        return InvalidInput(f"Rows {start} to {start + len(rows)}: {error}.", fix="Send one JSON object a row.")

    @cached_property
    def _row(self) -> type[msgspec.Struct]:
        names = [f"field_{number}" for number in range(len(self.fields))]  # a field may be called anything
        return msgspec.defstruct(
            "Row",
            [(name, field.json) for name, field in zip(names, self.fields, strict=True)],
            rename={name: field.name for name, field in zip(names, self.fields, strict=True)},
            forbid_unknown_fields=True,
            gc=False,
        )

    @cached_property
    def _rows(self) -> msgspec.json.Decoder[list[Any]]:
        return msgspec.json.Decoder(list[self._row])  # type: ignore[name-defined]  # a type made at run time

    @cached_property
    def _one(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self._row)


def variations(fields: Sequence[Field], encoder: Encoder, context: Mapping[str, Any]) -> dict[str, Array]:
    """By field, the context as it would be observed with each of that field's typical values: `[V, F]` each."""
    return {
        field.name: np.stack([encoder.one({**context, field.name: value}) for value in field.typical])
        for field in fields
        if len(field.typical)
    }


def check(fields: Sequence[Field], context: Any) -> None:
    """Raise InvalidInput where the context is not what the fields declare."""
    if not isinstance(context, Mapping):
        what = f"The context is {context!r:.80}."
        raise InvalidInput(what, value=context, fix="Send an object with one key a field.")
    if set(context) != {field.name for field in fields}:
        raise misnamed(fields, context)
    for field in fields:
        field.code(context[field.name])


def misnamed(fields: Sequence[Field], context: Mapping[str, Any]) -> InvalidInput:
    """The error of a context with a field too many or too few."""
    names = [field.name for field in fields]
    unknown = next((name for name in context if name not in names), None)
    if unknown is not None:
        left = [name for name in names if name not in context] or names  # most likely the one that was meant
        what = f"Field {unknown!r} is not declared."
        return InvalidInput(what, field=str(unknown), value=context[unknown], fix=nearest(str(unknown), left))
    missing = next(name for name in names if name not in context)
    return InvalidInput(f"Field {missing!r} is missing.", field=missing, fix=f"Send all of {', '.join(names)}.")
