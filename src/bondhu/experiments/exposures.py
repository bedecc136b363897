"""The noun of every experiment: who was treated, with which probability, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.experiments.shares import SAME, shares
from bondhu.types import Array, Booleans, Floats, Integers, Names


@dataclass(frozen=True)
class Exposures:
    """Decisions of two variants: the trial, or whatever else is asked about, and what it is compared with.

    The unit is the user: a user's decisions depend on each other, and the variant was drawn for all of them at once.
    """

    unit: Integers  # [T] number of the user; of the session where no user is known
    treated: Booleans  # [T]
    share: Floats  # [T] probability of being treated at that moment, given that it is one of the two
    time: Floats  # [T] seconds
    metrics: Mapping[str, Floats]  # [T] each: the reward, signals
    before: Mapping[str, Floats] = field(default_factory=dict)  # [T] each: the user's own mean before; NaN where none
    segment: Mapping[str, Names] = field(default_factory=dict)  # [T] each
    drawn: Booleans | None = None  # [T] False: its variant is no draw between the two alone; None: all are

    def __post_init__(self) -> None:
        columns = {"treated": self.treated, "share": self.share, "time": self.time}
        for name, column in [*columns.items(), *self.metrics.items(), *self.before.items(), *self.segment.items()]:
            if len(column) != len(self.unit):
                raise InvalidInput(
                    f"The column {name!r} has {len(column):,} rows and the units have {len(self.unit):,}.",
                    field=name,
                    fix="Give one value for each decision.",
                )
        possible = np.where(self.treated, self.share, 1 - self.share)
        _all("share", self.share, (possible > 0) & (self.share <= 1) & (self.share >= 0), "possible for its variant")
        for name, metric in self.metrics.items():
            _all(name, metric, np.isfinite(metric), "a number")

    def __len__(self) -> int:
        return len(self.unit)

    def take(self, rows: Booleans | Integers) -> Exposures:
        """These decisions only."""
        numbers: Integers = np.arange(len(self))[rows]
        return Exposures(
            self.unit[numbers],
            self.treated[numbers],
            self.share[numbers],
            self.time[numbers],
            {name: column[numbers] for name, column in self.metrics.items()},
            {name: column[numbers] for name, column in self.before.items()},
            {name: column.take(numbers) for name, column in self.segment.items()},
            None if self.drawn is None else self.drawn[numbers],
        )

    def metric(self, name: str) -> Floats:
        """The column of a metric `[T]`, or an error that offers the nearest name."""
        if name not in self.metrics:
            raise UnknownName(
                f"There is no metric {name!r}.", field="metric", value=name, fix=nearest(name, self.metrics)
            )
        return self.metrics[name]


def _all(name: str, column: Array, good: Booleans, wanted: str) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise InvalidInput(
            f"Row {row} has {name} {column[row]}, which is not {wanted} ({int((~good).sum()):,} such rows).",
            field=name,
            value=float(column[row]),
            fix="Give the probability with which the user was assigned." if name == "share" else "Leave the row out.",
        )


@dataclass(frozen=True)
class Assigned:
    """What the log says of how each decision came to its variant."""

    user: Names  # [T] None where nobody is known
    session: Names  # [T]
    variant: Names  # [T]
    probability: Floats  # [T] with which this user gets this variant at that moment
    time: Floats  # [T] seconds


def between(log: Assigned, metrics: Mapping[str, Floats], treated: str, control: str) -> tuple[Exposures, Integers]:
    """Any two variants of a log as exposures, and which of its rows they are: trial with live, live with holdout.

    The log holds one release: the next one draws its people anew.
    """
    known = list(log.variant.values)
    for name in (treated, control):
        if name not in known:
            raise UnknownName(
                f"No decision has the variant {name!r}.", field="variant", value=name, fix=nearest(name, known)
            )
    rows = np.flatnonzero(log.variant.among(treated, control))
    is_treated, unit = log.variant.among(treated)[rows], units(log.user, log.session)
    found = shares(is_treated, log.probability[rows], log.time[rows])
    pool = np.zeros(len(log.time))
    pool[rows] = found.pool
    kept = {name: column[rows] for name, column in metrics.items()}
    drawn = _drawn(unit, log.time, pool)[rows]
    return Exposures(unit[rows], is_treated, found.share, log.time[rows], kept, drawn=drawn), rows


def _drawn(unit: Integers, time: Floats, pool: Floats) -> Booleans:
    """Whether chance may have moved a user from one of the two variants to the other by each row `[T]`.

    Not while the probability of being one of the two changes, since who left or joined them is not known, nor for users
    who were seen in a third variant (`pool` 0) before.
    """
    order = np.lexsort((time, unit))
    unit, pool = unit[order], pool[order]
    first = np.append(True, unit[1:] != unit[:-1])[: len(unit)]
    stranger = np.cumsum(pool == 0)
    begun = np.maximum.accumulate(np.where(first, np.arange(len(unit)), 0))
    met = stranger - (stranger - (pool == 0))[begun] > 0
    changed = ~first & (pool != np.append(pool[:1], pool[:-1]))
    drawn = np.empty(len(unit), bool)
    drawn[order] = ~met & ~changed
    return drawn


def units(user: Names, session: Names) -> Integers:
    """Number of the user of each row, of the session where nobody is known: `[T]`."""
    someone = ~user.among(None)
    return np.where(someone, user.codes, len(user.values) + session.codes)


def steps_of(share: Floats) -> tuple[Floats, Integers]:
    """The shares there were `[K]`, and which of them each row belongs to `[T]`.

    One share at two times is one step: treated and control have the same mix of both.
    """
    shares, step = np.unique(np.round(share, SAME), return_inverse=True)
    return shares, step


def segments_of(exposures: Exposures, fields: Sequence[str]) -> dict[str, Exposures]:
    """The decisions of each segment by "field = value"."""
    found = {}
    for name in fields:
        if name not in exposures.segment:
            raise UnknownName(
                f"There is no segment {name!r}.", field="segment", value=name, fix=nearest(name, exposures.segment)
            )
        column = exposures.segment[name]
        for code in np.unique(column.codes).tolist():
            found[f"{name} = {column.values[code]}"] = exposures.take(column.codes == code)
    return found
