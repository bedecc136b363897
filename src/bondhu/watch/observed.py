"""A stretch of decisions as columns to watch: who, where, what was done, what was said, and what it was worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.log.delays import arrived, learn
from bondhu.log.join import fitting, only
from bondhu.log.rewards import firsts, hear
from bondhu.ports import Domain
from bondhu.types import Booleans, Columns, Floats, Integers, Names, Records

COUNTED = ("unfit",)  # fields that are no columns


@dataclass(frozen=True)
class Observed:
    """T decisions in order of arrival."""

    time: Floats  # [T] seconds
    context: Mapping[str, Names]  # by field: the category, or the bin of a number
    numbers: Mapping[str, Floats]  # by field, of numbers only: the number itself
    action: Names  # [T]
    probability: Floats  # [T] of the action taken
    version: Names  # [T]
    variant: Names  # [T] "live", "trial" or "holdout"
    user: Integers  # [T] the same number for the same person in every stretch; a session's where nobody is known
    settled: Booleans  # [T] nothing that is said from now on changes the reward
    reward: Floats  # [T] NaN where it is not settled
    heard: Booleans  # [T] whether anything was said in time so far
    delay: Floats  # [T] seconds until the first feedback in time; NaN where there is none
    said: Mapping[str, Integers]  # by signal: how often it was said in time
    worth: Mapping[str, Floats]  # by signal: weight x value of what was said in time
    late: Integers  # [T] feedback that came after the wait
    unfit: int = 0  # decisions left out, because their context is not what the domain declares now

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Integers | Booleans) -> Observed:
        """These rows only."""
        number = np.arange(len(self))[rows]
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        return Observed(**{name: part if name in COUNTED else _rows(part, number) for name, part in parts.items()})

    def between(self, start: float, end: float) -> Observed:
        """The decisions with start <= time < end."""
        return self.take((self.time >= start) & (self.time < end))

    def known(self) -> Observed:
        """The settled ones."""
        return self.take(self.settled)

    def by(self, *variants: str) -> Observed:
        """The decisions of these variants."""
        return self.take(self.variant.among(*variants))


def _rows(part: Any, rows: Integers) -> Any:
    if isinstance(part, Mapping):
        return {name: _rows(column, rows) for name, column in part.items()}
    return part.take(rows) if isinstance(part, Names) else part[rows]


def observe(domain: Domain, records: Records, start: float, end: float, now: float | None = None) -> Observed:
    """The decisions with start <= time < end as they look at `now` (else at `end`): later feedback is unheard.

    Rewards are those of the reward join: missing feedback counts as the default once the wait is over.
    """
    return observe_rows(domain, records, start, end, now)[0]


def observe_rows(
    domain: Domain,
    records: Records,
    start: float,
    end: float,
    now: float | None = None,
    in_time: Mapping[str, float] | None = None,
) -> tuple[Observed, Records]:
    """The same, with the records of exactly these rows. `in_time`: the share of each signal's feedback that comes
    within the wait, where it has been learned from more than these decisions."""
    now = end if now is None else now
    inside = (records.time >= start) & (records.time < end)
    fit, columns = _decoded(domain, records, inside)
    kept = only(_until(records, now), fit)
    reward = domain.reward
    settles = kept.time + reward.wait
    settled = settles <= now
    if in_time is None:
        in_time = arrived(reward, learn(reward, kept, now)) if reward.delay_horizon else {}
    heard = hear(reward, kept, settles, settled, in_time)
    row, rows = kept.feedback_decision, len(kept.time)
    timely = kept.feedback_time <= settles[row]
    scored = kept.feedback_signal.among(*reward.signals)
    delay = np.full(rows, np.inf)
    np.minimum.at(delay, row[timely & scored], (kept.feedback_time - kept.time[row])[timely & scored])
    observed = Observed(
        time=kept.time,
        context=_coded(domain, columns),
        numbers={name: each for name, each in columns.items() if each.ndim == 1 and each.dtype.kind == "f"},
        action=kept.action,
        probability=kept.probability,
        version=kept.version,
        variant=kept.variant,
        user=_people(kept),
        settled=settled,
        reward=np.where(settled, heard.reward, np.nan),
        heard=np.isfinite(delay),
        delay=np.where(np.isfinite(delay), delay, np.nan),
        said={name: _count(kept, name, timely) for name in reward.signals},
        worth={name: _worth(domain, kept, name, timely) for name in reward.signals},
        late=np.bincount(row[scored & ~timely], minlength=rows),
        unfit=int(inside.sum() - fit.sum()),
    )
    return observed, kept


def _until(records: Records, now: float) -> Records:
    """Without the feedback that came after `now`."""
    heard = records.feedback_time <= now
    if heard.all():
        return records
    parts = {each.name: getattr(records, each.name) for each in fields(records)}
    of_feedback = {name: _rows(part, np.flatnonzero(heard)) for name, part in parts.items() if name[:9] == "feedback_"}
    return Records(**{**parts, **of_feedback})


def _decoded(domain: Domain, records: Records, inside: Booleans) -> tuple[Booleans, Columns]:
    """The rows whose context the domain knows `[T]`, and their columns."""
    rows = np.flatnonzero(inside)
    contexts = [records.context[row] for row in rows.tolist()]
    try:
        return inside, domain.columns(contexts)
    except InvalidInput:
        good = fitting(domain, contexts)
    fit = np.zeros(len(inside), bool)
    fit[rows[good]] = True
    return fit, domain.columns([context for context, fits in zip(contexts, good.tolist(), strict=True) if fits])


def _coded(domain: Domain, columns: Columns) -> dict[str, Names]:
    encoder = domain.encoder(MultiDiscrete)
    codes = encoder.many(columns)
    sizes = encoder.space.nvec.tolist()  # type: ignore[attr-defined]  # of a MultiDiscrete
    declared = {each["name"]: each for each in domain.describe().get("fields", ())}
    return {
        name: Names(codes[:, number], _labels(declared.get(name, {}), sizes[number]))
        for number, name in enumerate(columns)
    }


def _labels(declared: Mapping[str, Any], size: int) -> Sequence[str]:
    """What each code of a field means."""
    if declared.get("kind") == "category":
        return [str(each) for each in declared["values"]]
    if declared.get("kind") == "number":
        low, high = declared["range"]
        cuts = declared.get("edges") or [low + (high - low) / size * number for number in range(1, size)]
        return [f"{below:g} to {above:g}" for below, above in pairwise([low, *cuts, high])]
    return [str(number) for number in range(size)]


def _people(records: Records) -> Integers:
    """A number of each row's person that does not depend on the stretch it is read in."""
    nobody = records.user.among("", None)
    user = _numbers("user", records.user)
    if nobody.any():
        user[nobody] = _numbers("session", records.session.take(np.flatnonzero(nobody)))
    return user


def _numbers(kind: str, column: Names) -> Integers:
    """A number for each of these names: `[T]`."""
    used, place = np.unique(column.codes, return_inverse=True)
    return np.array([number_of(f"{kind}:{column.values[code]}") for code in used.tolist()], np.int64)[place]


def number_of(name: str) -> int:
    """The number in `user` of "user:NAME", and of "session:NAME" where nobody is known."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def _count(records: Records, signal: str, timely: Booleans) -> Integers:
    return np.bincount(records.feedback_decision[_of(records, signal, timely)], minlength=len(records.time))


def _worth(domain: Domain, records: Records, name: str, timely: Booleans) -> Floats:
    these, signal = _of(records, name, timely), domain.reward.signals[name]
    if domain.reward.aggregate == "first":
        these = these[firsts(records)[these]]
    value = signal.weight * np.clip(records.feedback_value[these], signal.low, signal.high)
    return np.bincount(records.feedback_decision[these], value, len(records.time)).astype(np.float64)


def _of(records: Records, signal: str, timely: Booleans) -> Integers:
    return np.flatnonzero(timely & records.feedback_signal.among(signal))
