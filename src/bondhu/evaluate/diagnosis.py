"""Where a log does not speak for a policy, and how much exploration would make it speak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, isfinite, log10, nan
from typing import NamedTuple

import numpy as np

from bondhu.equations.mending import least_rate, second_moment
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, support
from bondhu.policies.drawing import evenly
from bondhu.types import Array, Batch, Booleans, Floats, Integers, Names, Policy

HARDLY = 0.2  # of the tries that drawing evenly would give an action: below, the log hardly tries it
FEWEST = 3.0  # tries that drawing evenly would give, below which their absence may be chance (5 %)
ENOUGH = 10  # tries that are never called hardly any
RANGES = 4  # parts into which a column of numbers is cut, by quartiles
SHOWN = 10  # examples of rows, and cells
STUDIED = 50_000  # rows of a longer log from which exploration is worked out


class Cell(NamedTuple):
    """An action in a group of rows, which the policy takes there and the log hardly tries."""

    action: str
    where: str  # "field = value"; "" where it is all rows
    share: float  # of all rows that are in the group
    mass: float  # of the probability that the policy gives out in all rows, the part that goes here
    tries: int  # rows of the group in which the log took the action


class Group(NamedTuple):
    """Rows that have a value of a field in common."""

    where: str
    rows: Integers


@dataclass(frozen=True)
class Lacking:
    """Which decisions of a policy a log does not support, and what would mend it."""

    decisions: int  # in the log
    mass: float  # share of the policy's probability that goes to actions the log hardly tries
    affected: int  # rows in which most of its probability does
    rows: tuple[int, ...]  # the first of them
    cells: tuple[Cell, ...]  # worst first
    effective_samples: float  # that the log is worth now; NaN where more of the same would not help
    wanted: float  # effective samples
    exploration: float  # rate at which as many decisions would be worth that; NaN: at none
    needed: float  # decisions that are worth it at the present exploration; infinite: never
    needed_at_random: float  # decisions that are worth it when all are drawn at random

    @property
    def sentence(self) -> str:
        """All of it in plain English."""
        return " ".join(filter(None, (self._where(), self._worth(), self._mended())))

    def _where(self) -> str:
        if not self.cells:
            return "No action that the policy takes is hardly tried in any group of decisions."
        worst = self.cells[0]
        group = f" where {worst.where} ({_percent(worst.share)} of rows, " if worst.where else " ("
        return (
            f"In {_percent(self.mass)} of decisions the policy takes actions the log hardly tried, most of all "
            f'"{worst.action}"{group}{_times(worst.tries)}).'
        )

    def _worth(self) -> str:
        if self.effective_samples >= self.wanted:
            return f"The {self.decisions:,} decisions are worth {self.effective_samples:,.0f} effective samples."
        if not isfinite(self.needed):
            return f"At the present exploration no number of decisions would be worth {self.wanted:,.0f}."
        return (
            f"At the present exploration about {self.needed:,.0f} decisions would be worth {self.wanted:,.0f} "
            "effective samples."
        )

    def _mended(self) -> str:
        if self.effective_samples >= self.wanted:
            return ""
        if isfinite(self.exploration):
            return (
                f"With [exploration] rate = {self.exploration:.2g}, {self.decisions:,} decisions would be worth "
                f"{self.wanted:,.0f} effective samples."
            )
        if not isfinite(self.needed_at_random):
            return ""
        return (
            f"No [exploration] rate makes {self.decisions:,} decisions worth {self.wanted:,.0f} effective samples: "
            f"even at random it takes about {self.needed_at_random:,.0f}."
        )


def lacking(
    policy: Policy,
    batch: Batch,
    *,
    wanted: float = MINIMUM_EFFECTIVE_SAMPLES,
    logger: Policy | None = None,
    exploring: float = 0.0,
    actions: Sequence[str] = (),
) -> Lacking:
    """Which actions of the policy the log hardly tries, and the exploration at which it would be worth `wanted`.

    `logger` is the policy that acted, `exploring` the rate at which it explored already (the advice is the whole rate),
    `actions` their names. Without a logger, each row is taken to have spread evenly over its other actions what the
    logged one left. An action is hardly tried in a group of rows that share a value of a field where the log took it
    less than 10 times and less than a fifth as often as drawing evenly would.
    """
    found = support(policy, batch, 0.0)
    if not len(found.weights):
        return Lacking(len(batch), nan, 0, (), (), nan, wanted, nan, inf, inf)
    target = policy.distribution(batch.observation, batch.allowed)
    names = actions or [str(number) for number in range(target.shape[1])]
    cells, hardly = _cells(target, batch, names)
    lost = (target * hardly).sum(1)
    affected = np.flatnonzero(lost > 0.5)
    even = evenly(batch.allowed)
    acted = _acting(batch) if logger is None else logger.distribution(batch.observation, batch.allowed)
    part = slice(None, None, 1 + len(batch) // STUDIED)
    chances = target[part], acted[part], even[part]
    rate = least_rate(*chances, wanted / len(batch))
    effective = found.effective_samples
    if logger is not None or found.refused:  # rows that have not come yet are missing from the weights as well
        effective = min(effective, len(batch) / second_moment(*chances, 0.0))
    return Lacking(
        decisions=len(batch),
        mass=float(lost.mean()),
        affected=len(affected),
        rows=tuple(affected[:SHOWN].tolist()),
        cells=cells,
        effective_samples=effective,
        wanted=wanted,
        exploration=_up(1 - (1 - rate) * (1 - exploring)),
        needed=ceil(len(batch) * wanted / effective) if effective > 0 else inf,
        needed_at_random=ceil(wanted * second_moment(*chances, 1.0)),
    )


def _cells(target: Floats, batch: Batch, names: Sequence[str]) -> tuple[tuple[Cell, ...], Booleans]:
    """The cells that are hardly tried, worst first, and whether each action of each row lies in one: `[T, A]`."""
    total, actions = target.shape
    fair = evenly(batch.allowed)
    hardly, found = np.zeros(target.shape, bool), []
    for where, rows in _groups(batch):
        mass, even = target[rows].sum(0), fair[rows].sum(0)
        tries = np.bincount(batch.action[rows], minlength=actions)
        few = (tries < ENOUGH) & (even >= FEWEST) & (tries < HARDLY * even) & (mass > tries)
        for action in np.flatnonzero(few).tolist():
            hardly[rows, action] = True
            cell = Cell(names[action], where, len(rows) / total, float(mass[action]) / total, int(tries[action]))
            found.append(cell)
    found.sort(key=lambda cell: (-cell.mass, cell.share))  # of equals the smaller group says more
    return tuple(found[:SHOWN]), hardly


def _groups(batch: Batch) -> Iterator[Group]:
    """All rows, and those of each value of each field."""
    yield Group("", np.arange(len(batch)))
    for field, names in _fields(batch):
        order = np.argsort(names.codes, kind="stable")
        ends = np.searchsorted(names.codes[order], np.arange(len(names.values) + 1))
        for number, value in enumerate(names.values):
            yield Group(f"{field} = {value}", order[ends[number] : ends[number + 1]])


def _fields(batch: Batch) -> Iterator[tuple[str, Names]]:
    """Which value, or range of a number, each row has in each field of the context; its codes where there is none."""
    codes = batch.observation
    coded = np.issubdtype(codes.dtype, np.integer) and codes.ndim == 2
    if not batch.context and coded:
        yield from ((f"field {number}", Names.of(column.tolist())) for number, column in enumerate(codes.T))
    for number, (name, column) in enumerate(batch.context.items()):
        if column.ndim > 1:
            continue  # a vector has no values to group by
        if column.dtype == object:
            yield name, Names.of(column.tolist())
        elif coded and codes.shape[1] == len(batch.context):
            yield name, _ranges(column, codes[:, number])
        else:
            cuts = np.quantile(column, np.arange(1, RANGES) / RANGES)
            yield name, _ranges(column, np.searchsorted(cuts, column, side="right"))


def _ranges(column: Array, part: Integers) -> Names:
    """Parts of a column of numbers, named by the least and the greatest of each."""
    values, number = np.unique(part, return_inverse=True)
    ends = [(column[part == each].min(), column[part == each].max()) for each in values]
    return Names(number.ravel(), [f"{low:g} to {high:g}" if low < high else f"{low:g}" for low, high in ends])


def _acting(batch: Batch) -> Floats:
    """What the policy that acted did in each row, as far as one logged probability tells: `[T, A]`."""
    rows, others = np.arange(len(batch)), batch.allowed.sum(1) - 1
    left = np.where(others > 0, (1.0 - batch.probability) / np.maximum(others, 1), 0.0)
    spread: Floats = np.where(batch.allowed, left[:, None], 0.0)
    spread[rows, batch.action] = np.where(others > 0, batch.probability, 1.0)
    return spread


def _up(rate: float) -> float:
    """Rounded up to two digits; a rate is not to be said too low."""
    if not isfinite(rate) or rate <= 0:
        return rate
    digits = 1 - floor(log10(rate))
    scale: float = 10.0**digits
    return min(ceil(round(rate * scale, 6)) / scale, 1.0)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "less than 1 %"


def _times(tries: int) -> str:
    words = {0: "never tried", 1: "tried once", 2: "tried twice"}
    return words.get(tries, f"tried {tries:,} times")
