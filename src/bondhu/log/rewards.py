"""What the feedback of each decision is worth, and what it says of how a session stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bondhu.ports import Reward, Signal
from bondhu.types import SESSION_CUT, SESSION_END, Array, Booleans, Columns, Floats, Integers, Records

UNKNOWN = Signal(weight=np.nan)


@dataclass(frozen=True)
class Heard:
    """Feedback by decision [T], and counts of what was said of the decisions inside of the window."""

    reward: Floats
    values: Columns  # by name, what was said of each signal that is asked for by itself, added up: [T]
    silent: Booleans  # nothing was said in time: the reward is the default
    ended: Booleans  # nothing follows
    cut: Booleans  # something followed, but nobody saw it
    late: int
    late_reward: float
    clipped: int
    unknown_signals: Mapping[str, int]


def hear(
    reward: Reward, records: Records, settles: Floats, inside: Booleans, arrived: Mapping[str, float] | None = None
) -> Heard:
    """Sum weight x value over the feedback in time: before `wait` for rewards, before `settles` [T] for sessions. Where
    the reward takes the `first`, only the earliest feedback of each signal counts.

    `arrived`: the share of each signal's feedback that comes in time; feedback in time then stands for all of it.
    """
    decisions, row = len(records.time), records.feedback_decision
    names, said = records.feedback_signal.values, records.feedback_signal.codes
    signals = [reward.signals.get(name, UNKNOWN) for name in names]
    weight, low, high = (_each(signals, part)[said] for part in ("weight", "low", "high"))
    ends, cuts = map(records.feedback_signal.among, (SESSION_END, SESSION_CUT))
    scored = ~(np.isnan(weight) | ends | cuts)
    known = scored | ends | cuts
    here = inside[row]
    value = np.clip(records.feedback_value, low, high)
    if arrived:
        value = value / np.array([arrived.get(name, 1.0) for name in names])[said]
    worth = weight * value
    in_time = records.feedback_time <= np.where(scored, (records.time + reward.wait)[row], settles[row])
    counts = scored & (in_time | reward.count_late)
    if reward.aggregate == "first":
        counts &= firsts(records)
    late = known & ~in_time & here
    silent = np.bincount(row[counts], minlength=decisions) == 0
    strange = np.bincount(said[~known & here], minlength=len(names)).tolist()
    return Heard(
        reward=np.where(silent, reward.default, np.bincount(row[counts], worth[counts], decisions)),
        values={
            name: np.bincount(row[these], value[these], decisions).astype(np.float64)
            for name in asked_for(reward)
            for these in [counts & records.feedback_signal.among(name)]
        },
        silent=silent,
        ended=_marked(row[ends & in_time], decisions),
        cut=_marked(row[cuts & in_time], decisions),
        late=int(late.sum()),
        late_reward=float(worth[late & scored].sum()),
        clipped=int((scored & here & ((records.feedback_value < low) | (records.feedback_value > high))).sum()),
        unknown_signals={name: count for name, count in zip(names, strange, strict=True) if count},
    )


def values_of(reward: Reward, records: Records, signal: str) -> Floats:
    """The values of one signal that came in time, inside its range, added up for each decision: `[T]`."""
    row, kind = records.feedback_decision, reward.signals[signal]
    these = records.feedback_signal.among(signal)
    these &= reward.count_late | (records.feedback_time <= records.time[row] + reward.wait)
    if reward.aggregate == "first":
        these &= firsts(records)
    value = np.clip(records.feedback_value[these], kind.low, kind.high)
    return np.bincount(row[these], value, len(records.time)).astype(np.float64)


def firsts(records: Records) -> Booleans:
    """Which feedback is the earliest of its signal on its decision: `[K]`; of several at one time, what came first."""
    signal, row, count = records.feedback_signal.codes, records.feedback_decision, len(records.feedback_time)
    order = np.lexsort((np.arange(count), records.feedback_time, signal, row))
    new = np.ones(count, bool)
    new[1:] = (np.diff(row[order]) != 0) | (np.diff(signal[order]) != 0)
    earliest = np.zeros(count, bool)
    earliest[order[new]] = True
    return earliest


def asked_for(reward: Reward) -> set[str]:
    """The signals whose values are needed one by one: those of objectives, and those of uncertain weight."""
    uncertain = {name for name, signal in reward.signals.items() if signal.error > 0}
    return uncertain.union(*(objective.signals for objective in reward.objectives.values()))


def _each(signals: list[Signal], part: str) -> Array:
    return np.array([getattr(each, part) for each in signals], dtype=np.float64)


def _marked(rows: Integers, length: int) -> Booleans:
    marked = np.zeros(length, bool)
    marked[rows] = True
    return marked
