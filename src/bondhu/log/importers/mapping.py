"""Which column of a table plays which part in a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from bondhu.errors import InvalidInput, UnknownName, nearest

# Names a column may go by when the mapping does not say.
KNOWN_AS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "decision_id", "event_id"),
    "session": ("session", "session_id"),
    "user": ("user", "user_id"),
    "time": ("time", "timestamp", "created_at"),
    "action": ("action", "arm"),
    "probability": ("probability", "propensity", "propensity_score", "pscore"),
    "allowed": ("allowed",),
    "version": ("version",),
}


@dataclass(frozen=True)
class ColumnMapping:
    """Columns by part; None: a column of that name or a usual synonym, if there is one."""

    action: str | None = None
    probability: str | float | None = None  # a number: the same for every row
    id: str | None = None
    session: str | None = None
    user: str | None = None
    time: str | None = None  # ISO 8601, or UNIX seconds, milliseconds, microseconds, nanoseconds
    allowed: str | None = None  # action names as a list, or separated by "|"
    version: str | None = None
    signals: Mapping[str, str] | None = None  # signal: column
    context: Mapping[str, str] | None = None  # field: column
    delay: float = 0.0  # seconds from decision to feedback, which has no time of its own in a table
    fields: tuple[str, ...] | None = None  # what the domain calls its fields; None: any column may be one
    worth: tuple[str, ...] = ("reward", "click", "rating")  # columns that are feedback where `signals` does not say

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> ColumnMapping:
        """From TOML or the command line; `reward` is short for `signals = {reward = ...}`, a list of fields for context
        columns of the same names."""
        table = dict(table)
        names = [field.name for field in fields(cls) if field.name not in ("fields", "worth")]
        for key in table:
            if key not in [*names, "reward"]:
                raise UnknownName(
                    f"A mapping has no {key!r}.", field=key, value=table[key], fix=nearest(key, [*names, "reward"])
                )
        if "reward" in table:
            table["signals"] = {**table.get("signals", {}), "reward": table.pop("reward")}
        context = table.get("context")
        if context is not None and not isinstance(context, Mapping):
            table["context"] = {name: name for name in context}
        return cls(**table)

    def resolved(self, header: Sequence[str]) -> ColumnMapping:
        """Every part filled from these columns, or an error that names the nearest one."""
        parts: dict[str, Any] = {
            part: _first(names, header) if getattr(self, part) is None else getattr(self, part)
            for part, names in KNOWN_AS.items()
        }
        heard = {name: name for name in self.worth if name in header}
        signals = heard if self.signals is None else self.signals
        context = self.context
        if context is None:
            context = _found(header, {*parts.values(), *signals.values()}, self.fields)
        whole = replace(self, **parts, signals=signals, context=context)
        whole._require(header)
        return whole

    def _require(self, header: Sequence[str]) -> None:
        for part in ("action", "probability"):
            if getattr(self, part) is None:
                raise InvalidInput(
                    f"No column for the {part}: none is called {' or '.join(KNOWN_AS[part])}.",
                    field=part,
                    fix=f"Name it in the mapping; the columns are {', '.join(header[:20])}.",
                )
        for part, column in self.columns():
            if column not in header:
                raise InvalidInput(
                    f"There is no column {column!r} for {part}.", field=part, value=column, fix=nearest(column, header)
                )

    def columns(self) -> list[tuple[str, str]]:
        """All (part, column) pairs."""
        single = [(part, getattr(self, part)) for part in KNOWN_AS]
        several = [*(self.signals or {}).items(), *(self.context or {}).items()]
        return [(part, column) for part, column in [*single, *several] if isinstance(column, str)]


def _first(names: Sequence[str], header: Sequence[str]) -> str | None:
    return next((name for name in names if name in header), None)


def _found(header: Sequence[str], used: set[Any], fields: Sequence[str] | None) -> dict[str, str]:
    """Column by field, of an object called context or its own; without a declaration all that have no other part."""
    nested = {column.removeprefix("context."): column for column in header if column.startswith("context.")}
    if fields is not None:
        return {field: nested.get(field, field) for field in fields}
    return nested or {column: column for column in header if column and column not in used}
