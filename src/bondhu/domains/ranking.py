"""Actions that a request brings along by name, each described by any JSON objects, as its context is.

Two kinds of field: `features` holds objects about the context, `ranked` the actions, `{"id": …, "features": [{…}]}`.
They are logged as they were sent and hashed (`domains.hashing`) when they are looked at, so that another size can be
tried on the same log. An action of the domain is a place in the list: `NAME-1` is the first that the request lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any

import numpy as np
from gymnasium.spaces import Box, Space
from msgspec import Meta

from bondhu.domains.encoders import check
from bondhu.domains.fields import Field, objects, row_by_row
from bondhu.domains.hashing import MOST_OF_ACTION, Hashed, crossed, hashed, joined, with_pairs
from bondhu.errors import InvalidInput
from bondhu.types import Array, Columns, Floats, Integers

NAMED = "id"  # the feature that an action's own name is
SHORTEST, LONGEST = 1, 256  # characters of an action's name


def template() -> str:
    """A commented bondhu.toml for whoever comes from Azure AI Personalizer."""
    return resources.files("bondhu.domains").joinpath("personalizer.toml").read_text("utf-8")


@dataclass(frozen=True)
class Features:
    """A list of JSON objects about the context. Tables see nothing of it: its code is always 0."""

    name: str

    @property
    def cardinality(self) -> int:
        return 1

    @property
    def width(self) -> int:
        return 0  # they count only together with those of an action

    @property
    def json(self) -> Any:
        return list[dict[str, Any]]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    @property
    def typical(self) -> Sequence[Any]:
        return ()

    def code(self, value: Any) -> int:
        if isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
            return 0
        what = f"Field {self.name!r} got {value!r:.80}, which is no list of objects."
        raise InvalidInput(
            what, field=self.name, value=value, fix='Send objects, such as [{"device": {"mobile": true}}].'
        )

    @property
    def coder(self) -> Callable[[Any], int]:
        return self.code

    def column(self, values: Sequence[Any]) -> Array:
        row_by_row(self.code, values)
        return objects(values)

    def codes(self, column: Array) -> Integers:
        return np.zeros(len(column), np.int64)

    def features(self, column: Array) -> Floats:
        return np.empty((len(column), 0), np.float32)

    def write(self, value: Any, row: Floats) -> None:  # noqa: ARG002  # it has no width
        self.code(value)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "features"}


@dataclass(frozen=True)
class Ranked:
    """Between one and `most` actions, `{"id": name, "features": [objects]}`; `size` is how many numbers describe one,
    once its features and their products with those of the context, and with pairs of these, are hashed. Its code is how
    many there are, less one."""

    name: str
    most: int
    size: int

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the first, the second, … action of any request."""
        return tuple(f"{self.name}-{number}" for number in range(1, self.most + 1))

    @property
    def cardinality(self) -> int:
        return self.most

    @property
    def width(self) -> int:
        return 0

    @property
    def json(self) -> Any:
        return Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=self.most)]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    @property
    def typical(self) -> Sequence[Any]:
        return ()

    def code(self, value: Any) -> int:
        if not isinstance(value, list) or not 1 <= len(value) <= self.most:
            what = f"Field {self.name!r} got {value!r:.80}, which is not a list of 1 to {self.most} actions."
            fix = f"Send 1 to {self.most} actions; more need a larger context.{self.name}.most."
            raise InvalidInput(what, field=self.name, value=value, fix=fix)
        names = [self._named(each) for each in value]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            what = f"Two actions have the id {twice!r}."
            raise InvalidInput(what, field=self.name, value=twice, fix="Give every action its own id.")
        return len(value) - 1

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
        self.code(value)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "ranked", "most": self.most, "size": self.size}

    def _named(self, action: Any) -> str:
        """The name of one action, if it is one."""
        name = action.get("id") if isinstance(action, Mapping) else None
        features = action.get("features") if isinstance(action, Mapping) else None
        if not isinstance(name, str) or not SHORTEST <= len(name) <= LONGEST:
            what = f"Field {self.name!r} holds {action!r:.80}, which has no id of {SHORTEST} to {LONGEST} characters."
            raise InvalidInput(what, field=self.name, value=action, fix='Send {"id": "name", "features": [{…}]}.')
        if features is not None and not (isinstance(features, list) and all(isinstance(x, Mapping) for x in features)):
            what = f"The features of action {name!r} are {features!r:.80}, which is no list of objects."
            raise InvalidInput(what, field=self.name, value=features, fix='Send objects, such as [{"colour": "red"}].')
        return name


class RankedEncoder:
    """Hashed features of every action in its context: `[T, A, S + 1]`, the last a 1; zeros where there is no action."""

    def __init__(self, fields: tuple[Field, ...], ranked: Ranked) -> None:
        other = next((each.name for each in fields if not isinstance(each, Features | Ranked)), None)
        if other is not None:
            what = f"The field {other!r} stands beside ranked actions."
            raise InvalidInput(what, field=other, fix="Send it inside of the field of kind features.")
        self.fields, self._ranked = fields, ranked
        self._about = [each.name for each in fields if isinstance(each, Features)]
        self.space: Space[Any] = Box(-np.inf, np.inf, (ranked.most, ranked.size + 1), np.float32)
        self._latest: tuple[Mapping[str, Any] | None, Array] = (
            None,
            np.empty(0),
        )  # one request is looked at repeatedly

    def one(self, context: Mapping[str, Any]) -> Array:
        known, seen = self._latest
        if known is context:
            return seen
        check(self.fields, context)
        row = np.zeros((self._ranked.most, self._ranked.size + 1), np.float32)
        self._write(context[self._ranked.name], [context[name] for name in self._about], row)
        row.flags.writeable = False
        self._latest = context, row
        return row

    def many(self, columns: Columns) -> Array:
        actions = columns[self._ranked.name]
        rows = np.zeros((len(actions), self._ranked.most, self._ranked.size + 1), np.float32)
        for number, row in enumerate(rows):  # what is not written stays untouched memory
            self._write(actions[number], [columns[name][number] for name in self._about], row)
        return rows

    def variations(self, context: Mapping[str, Any]) -> Mapping[str, Array]:
        check(self.fields, context)
        return {}  # nobody knows what else it might have been

    def _write(self, actions: Sequence[Any], about: Sequence[Any], row: Floats) -> None:
        parts = [_described(each) for each in actions]
        owner = np.repeat(np.arange(len(parts)), [len(each.names) for each in parts])
        shared = with_pairs(hashed(about))
        row[: len(parts), :-1] = crossed(joined(parts), owner, shared, self._ranked.size, len(parts))
        row[: len(parts), -1] = 1.0


def _described(action: Mapping[str, Any]) -> Hashed:
    """One action: its name, and what is said of it."""
    return joined([hashed(action["id"], NAMED), hashed(action.get("features") or [], most=MOST_OF_ACTION)])
