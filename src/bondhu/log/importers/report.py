"""What an import read, took, and refused, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bondhu.errors import InvalidInput

SHOWN = 100  # refusals kept in full; all are counted by reason


class Refusal(NamedTuple):
    """One row that was not imported."""

    number: int  # line of a text file, row of a table
    field: str
    value: Any
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """Counts of rows: read = accepted + repeated + skipped + refused. Filled while the import runs."""

    counts: Counter[str] = field(default_factory=Counter)  # "read", "accepted", "repeated", and "feedback" taken
    skipped: Counter[str] = field(default_factory=Counter)  # rows that hold no decision, by why
    reasons: Counter[str] = field(default_factory=Counter)  # refused rows, by field and kind of problem
    refusals: list[Refusal] = field(default_factory=list)  # the first SHOWN of them
    notes: Counter[str] = field(default_factory=Counter)  # what accepted rows held that has no place in a decision

    @property
    def read(self) -> int:
        return self.counts["read"]

    @property
    def accepted(self) -> int:
        return self.counts["accepted"]

    @property
    def repeated(self) -> int:
        """Rows whose id and content were already read further up in the file."""
        return self.counts["repeated"]

    @property
    def feedback(self) -> int:
        return self.counts["feedback"]

    @property
    def refused(self) -> int:
        return self.reasons.total()

    def refuse(self, number: int, error: InvalidInput) -> None:
        """Count the row, and keep it if there is room."""
        name = error.field or "row"
        self.reasons[f"{name}: {_kind(error)}"] += 1
        if len(self.refusals) < SHOWN:
            self.refusals.append(Refusal(number, name, error.value, str(error)))


def _kind(error: InvalidInput) -> str:
    """The message without the value, so that a thousand bad values are one reason."""
    return error.what if error.value is None else error.what.replace(repr(error.value), "…")
