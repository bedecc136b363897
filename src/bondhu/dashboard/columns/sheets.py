"""Decisions as the narrow columns that pages are drawn from: some 60 bytes each, in memory and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from bondhu.ports import Domain
from bondhu.types import Array, Booleans, Floats, Integers, Names, Records
from bondhu.watch.observed import observe_rows

MINUTE = 60.0  # seconds
ONCE = ("feedback", "unfit", "people", "generation")  # fields that are no columns
NOBODY: Integers = np.zeros(0, np.int64)

_generations = count(1)


def new_generation() -> int:
    """One that no sheet has."""
    return next(_generations)


class Minutes(Mapping[int, int]):
    """How much there was in each minute since 1970; a minute without anything is not there."""

    def __init__(self, minute: Integers, number: Integers) -> None:
        """`minute [M]` ascending, each once."""
        self.minute, self.number = minute, number

    @classmethod
    def of(cls, minute: Integers, number: Integers | None = None) -> Minutes:
        """From minutes in any order, each as often as one likes `[K]`, one or `number [K]` at a time."""
        minutes, place = np.unique(minute, return_inverse=True)
        total = np.bincount(place, number, len(minutes)).astype(np.int64)
        return cls(minutes.astype(np.int64), total)

    def __getitem__(self, minute: int) -> int:
        place = int(np.searchsorted(self.minute, minute))
        if place == len(self.minute) or self.minute[place] != minute:
            raise KeyError(minute)
        return int(self.number[place])

    def __iter__(self) -> Iterator[int]:
        return iter(self.minute.tolist())

    def __len__(self) -> int:
        return len(self.minute)


@dataclass(frozen=True, eq=False)
class Sheet:
    """T decisions, oldest first. Columns are narrow and not to be written to: widen whole numbers before adding."""

    time: Floats  # [T] seconds
    action: Names  # [T]
    version: Names  # [T] who decided; "baseline" is the rule
    variant: Names  # [T] "live", "trial" or "holdout"
    probability: Floats  # [T] of the action taken
    exploration: Floats  # [T] share of decisions that were drawn at random when this one was made
    user: Integers  # [T] the same number for the same person, in every sheet; a session's where nobody is known
    settled: Booleans  # [T] nothing that is said from now on changes the reward
    heard: Booleans  # [T] whether anything was said in time so far
    delay: Floats  # [T] seconds until the first feedback in time; NaN where there is none
    reward: Floats  # [T] NaN where it is not settled
    context: Mapping[str, Names]  # by field: [T] the category, or the bin of a number
    said: Mapping[str, Integers]  # by signal: [T] how often it was said in time
    feedback: Mapping[int, int] = field(default_factory=dict)  # by minute since 1970: feedback that came in it
    generation: int = 0  # another one whenever anything above is
    unfit: int = 0  # decisions left out, because their context is not what the domain declares now
    person: Integers = field(default_factory=NOBODY.copy)  # [T] which of `people`; nothing where nobody has looked
    people: Integers = field(default_factory=NOBODY.copy)  # [P] numbers of users, ascending

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Integers | Booleans | slice) -> Sheet:
        """These decisions only, in this order; `feedback` and `people` stay as they are."""
        place = rows if isinstance(rows, slice) else np.arange(len(self), dtype=np.int32)[rows]
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        whole = ONCE if len(self.person) else (*ONCE, "person")
        return Sheet(**{name: part if name in whole else _rows(part, place) for name, part in parts.items()})

    def between(self, start: float, end: float) -> Sheet:
        """The decisions with start <= time < end, without a copy."""
        first, last = np.searchsorted(self.time, [start, end], side="left").tolist()
        return self.take(slice(first, max(first, last)))

    @property
    def size(self) -> int:
        """Bytes of its columns."""
        parts = [
            getattr(self, each.name) for each in fields(self) if each.name not in ("feedback", "unfit", "generation")
        ]
        flat = [each for part in parts for each in (part.values() if isinstance(part, Mapping) else [part])]
        return sum(each.codes.nbytes if isinstance(each, Names) else each.nbytes for each in flat)


def _rows(part: Any, rows: Any) -> Any:
    if isinstance(part, Mapping):
        return {name: _rows(column, rows) for name, column in part.items()}
    return part.take(rows) if isinstance(part, Names) else part[rows]


# ---------------------------------------------------------------------------------------------------------- from a log


def sheet_of(
    domain: Domain,
    records: Records,
    start: float,
    end: float,
    now: float,
    in_time: Mapping[str, float] | None = None,
) -> Sheet:
    """The decisions with start <= time < end as they look at `now`. `in_time`: as `watch.observed` has it."""
    observed, kept = observe_rows(domain, records, start, end, now, in_time)
    people, person = np.unique(observed.user, return_inverse=True)
    sheet = Sheet(
        time=observed.time,
        action=_narrow(observed.action),
        version=_narrow(observed.version),
        variant=_narrow(observed.variant),
        probability=observed.probability.astype(np.float32),
        exploration=_last(kept.memo).astype(np.float32),
        user=observed.user,
        settled=observed.settled,
        heard=observed.heard,
        delay=observed.delay.astype(np.float32),
        reward=observed.reward.astype(np.float32),
        context={name: _narrow(column) for name, column in observed.context.items()},
        said={name: _counted(column) for name, column in observed.said.items()},
        feedback=Minutes.of((kept.feedback_time // MINUTE).astype(np.int64)),
        generation=new_generation(),
        unfit=observed.unfit,
        person=person.astype(np.int32),
        people=people,
    )
    return _sorted(sheet)


def _last(memo: Floats) -> Floats:
    """The last number of each row's memo `[T]`, where the decider logs the share of random decisions; else 0."""
    found = np.zeros(len(memo))
    for column in memo.T:  # shorter rows end in NaN
        found = np.where(np.isnan(column), found, column)
    return found


def _narrow(column: Names) -> Names:
    """With the names that are used alone, and with codes no wider than they need to be."""
    there = np.bincount(column.codes, minlength=len(column.values)) > 0
    values = list(column.values)
    if there.all() or len(values) <= DECLARED:
        return Names(column.codes.astype(_codes(len(values))), values)
    place = (np.cumsum(there) - 1).astype(_codes(len(values)))
    return Names(place[column.codes], [value for value, is_used in zip(values, there.tolist(), strict=True) if is_used])


DECLARED = 1000  # names up to which those that nobody has are kept: what a field could be is worth seeing


def _codes(values: int) -> np.dtype[Any]:
    return np.dtype(np.int16 if values <= np.iinfo(np.int16).max else np.int32)


def _counted(numbers: Integers) -> Integers:
    return np.minimum(numbers, np.iinfo(np.int16).max).astype(np.int16)


def _sorted(sheet: Sheet) -> Sheet:
    """By time; at one time in order of arrival."""
    if (sheet.time[1:] >= sheet.time[:-1]).all():
        return sheet
    return sheet.take(np.argsort(sheet.time, kind="stable"))


# ------------------------------------------------------------------------------------------------------------- joining


def empty(domain: Domain) -> Sheet:
    """No decisions of a domain."""
    none, nothing = np.zeros(0, np.float32), np.zeros(0, bool)
    nameless = Names(np.zeros(0, np.int16), [])
    declared = [each["name"] for each in domain.describe().get("fields", ())]
    return Sheet(
        time=np.zeros(0),
        action=Names(nameless.codes, list(domain.actions)),
        version=nameless,
        variant=nameless,
        probability=none,
        exploration=none,
        user=NOBODY,
        settled=nothing,
        heard=nothing,
        delay=none,
        reward=none,
        context=dict.fromkeys(declared, nameless),
        said={name: np.zeros(0, np.int16) for name in domain.reward.signals},
        generation=new_generation(),
    )


def joined(sheets: Sequence[Sheet]) -> Sheet:
    """One sheet of these, at least one, by time; at one time in their order. People and names are the same in all."""
    if len(sheets) == 1:
        return sheets[0]
    known = [persons(each) for each in sheets]
    people, places = _people([each for _, each in known])
    columns: dict[str, Any] = {}
    for name in ("time", "user", "probability", "exploration", "settled", "heard", "delay", "reward"):
        columns[name] = np.concatenate([getattr(each, name) for each in sheets])
    for name in ("action", "version", "variant"):
        columns[name] = _one_table([getattr(each, name) for each in sheets])
    sheet = Sheet(
        **columns,
        context={name: _one_table([each.context[name] for each in sheets]) for name in sheets[-1].context},
        said={name: np.concatenate([each.said[name] for each in sheets]) for name in sheets[-1].said},
        feedback=minutes([each.feedback for each in sheets]),
        generation=new_generation(),
        unfit=sum(each.unfit for each in sheets),
        person=np.concatenate([_recoded(each, place) for (each, _), place in zip(known, places, strict=True)]),
        people=people,
    )
    return _sorted(sheet)


def persons(sheet: Sheet) -> tuple[Integers, Integers]:
    """A number from 0 for each row's person `[T]`, and by it the number that is in `user` `[P]`, ascending."""
    if len(sheet.person) or not len(sheet):
        return sheet.person, sheet.people
    people, person = np.unique(sheet.user, return_inverse=True)
    return person.astype(np.int32), people


def _one_table(columns: Sequence[Names]) -> Names:
    """One column of several after each other."""
    table: dict[Any, int] = {}
    for column in columns:
        for value in column.values:
            table.setdefault(value, len(table))
    kind, values = _codes(len(table)), list(table)
    parts = []
    for column in columns:
        same = list(column.values) == values[: len(column.values)]
        place = None if same else np.array([table[value] for value in column.values], kind)
        parts.append(_recoded(column.codes, place))
    return Names(np.concatenate(parts).astype(kind, copy=False), values)


def _recoded(codes: Integers, place: Integers | None) -> Integers:
    return codes if place is None else place[codes]


def _people(tables: Sequence[Integers]) -> tuple[Integers, list[Integers | None]]:
    """One table of the people in several, each of them ascending, and their new numbers in it; None: as they were."""
    largest = max(range(len(tables)), key=lambda number: len(tables[number]))
    one = tables[largest]
    others = [each for number, each in enumerate(tables) if number != largest and each is not one]
    new = np.unique(np.concatenate([_missing(each, one) for each in others])) if others else NOBODY
    if len(new):
        one = np.insert(one, np.searchsorted(one, new), new)
    numbered = partial(_numbered, one)
    return one, [None if len(each) == len(one) else numbered(each) for each in tables]


def _missing(wanted: Integers, table: Integers) -> Integers:
    """Those that an ascending table does not have."""
    if not len(table):
        return wanted
    place = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    missing: Integers = wanted[table[place] != wanted]
    return missing


def _numbered(table: Integers, people: Integers) -> Integers:
    return np.searchsorted(table, people).astype(np.int32)


def minutes(parts: Sequence[Mapping[int, int]]) -> Minutes:
    """The sums of several."""
    known = [each if isinstance(each, Minutes) else Minutes(*_ascending(each)) for each in parts]
    minute: Array = np.concatenate([NOBODY, *(each.minute for each in known)])
    return Minutes.of(minute, np.concatenate([NOBODY, *(each.number for each in known)]))


def _ascending(each: Mapping[int, int]) -> tuple[Integers, Integers]:
    there = np.array(sorted(each), np.int64)
    return there, np.array([each[minute] for minute in there.tolist()], np.int64)


def alike(one: Sheet, other: Sheet) -> bool:
    """Whether two sheets say the same of the same decisions, whatever they were made of."""
    if len(one) != len(other):
        return False
    plain = ("time", "user", "probability", "exploration", "settled", "heard", "delay", "reward")
    pairs = [(getattr(one, name), getattr(other, name)) for name in plain]
    pairs += [(one.said[name], other.said[name]) for name in one.said]
    named = [(getattr(one, name), getattr(other, name)) for name in ("action", "version", "variant")]
    named += [(one.context[name], other.context[name]) for name in one.context]
    return all(np.array_equal(*pair, equal_nan=pair[0].dtype.kind == "f") for pair in pairs) and all(
        np.array_equal(a.codes, _one_table([a, b]).codes[len(a) :]) for a, b in named
    )
