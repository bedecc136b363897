"""Where two versions differ, for whom, and how many people that is: both asked about the newest decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, nan, nextafter
from typing import NamedTuple

import numpy as np

from bondhu.app import App
from bondhu.dashboard.figures.acting import acting
from bondhu.errors import InvalidInput
from bondhu.types import Acting, Array, Booleans, Columns, Floats, Integers, Names
from bondhu.watch.observed import Observed, observe_rows

MOST = 20_000  # decisions that both are asked about
CELLS = 4_000_000  # numbers of an observation that are in memory at once
SAME = 1e-12  # probabilities that are alike up to this are equally good
SEVERAL = "any of several"  # what a version does where more than one action is its likeliest
GROUPED = ("category", "number")  # kinds of field whose values can be told to people


class Segment(NamedTuple):
    """The decisions with one value of one field."""

    field: str
    value: str
    decisions: int
    people: int
    differ: int  # decisions
    moved: int  # people who would meet another likeliest action at least once
    distance: float  # mean total variation distance

    @property
    def share(self) -> float:
        return self.differ / self.decisions


class Move(NamedTuple):
    """Decisions in which one version's likeliest action gives way to another."""

    before: str
    after: str
    decisions: int
    people: int
    example: str  # id of the newest of them


class Differ(NamedTuple):
    """Two versions on the same decisions."""

    decisions: int
    people: int
    since: float  # seconds; time of the earliest of them
    left_out: int  # decisions that neither could be asked about, as they were made for other fields or actions
    differ: int  # decisions whose likeliest action is another one
    moved: int  # people
    distance: float  # mean total variation distance: the least share of decisions that would come out otherwise
    segments: tuple[Segment, ...] = ()  # the largest share first
    moves: tuple[Move, ...] = ()  # the most frequent first


class Seen(NamedTuple):
    """T decisions that two versions were asked about."""

    before: Floats  # [T, A] probabilities of one version
    after: Floats  # [T, A] of the other
    user: Integers  # [T]
    id: Sequence[str]  # [T]
    time: Floats  # [T] seconds
    context: Mapping[str, Names]  # by field: [T]
    called: Sequence[Sequence[str]] = ()  # [T] what actions are called in each decision, where each brings its own


def differing(app: App, before: str, after: str, most: int = MOST) -> Differ:
    """Both versions on the newest decisions. Raises BondhuError where one cannot act on them."""
    name = app.domain.name
    reached = app.log.reach(name, nextafter(app.now(), inf), most)
    if reached is None:
        return Differ(0, 0, nan, 0, 0, 0, nan)
    end = nextafter(app.now(), inf)
    observed, records = observe_rows(app.domain, app.log.read(name, reached[0], end), reached[0], end)
    both = [acting(app, each) for each in (before, after)]
    actions = tuple(app.domain.actions)
    sets = np.array([[action in each for action in actions] for each in records.allowed_sets], bool)
    allowed = sets.reshape(-1, len(actions))[records.allowed]
    rows = np.flatnonzero(allowed.any(axis=1))
    columns = app.domain.columns([records.context[row] for row in rows.tolist()])
    chances = [distribution(each, columns, allowed[rows]) for each in both]
    groups = {each["name"] for each in app.domain.describe()["fields"] if each["kind"] in GROUPED}
    context = {field: each.take(rows) for field, each in observed.context.items() if field in groups}
    ids = [records.id[row] for row in rows.tolist()]
    called = _called(app, columns)
    asked = Seen(chances[0], chances[1], observed.user[rows], ids, observed.time[rows], context, called)
    return compared(asked, actions, left_out=_left_out(observed, rows))


def _called(app: App, columns: Columns) -> list[list[str]]:
    """The names of the actions that each decision brought along; nothing where actions are those of the domain."""
    described = app.domain.describe()
    ranked = [each["name"] for each in described["fields"] if each["kind"] == "ranked"]
    if described.get("candidates") not in ranked:
        return []
    return [[str(each["id"]) for each in brought] for brought in columns[described["candidates"]]]


def _left_out(observed: Observed, rows: Integers) -> int:
    return observed.unfit + len(observed) - len(rows)


def distribution(able: Acting, columns: Columns, allowed: Booleans) -> Floats:
    """Probability of every action for each decision, `[T, A]`, a piece at a time."""
    size = int(np.prod(able.encoder.space.shape or (1,)))
    step = max(1, min(4096, CELLS // size))
    parts: list[Floats] = [np.zeros((0, allowed.shape[1]))]
    for at in range(0, len(allowed), step):
        rows = slice(at, at + step)
        parts.append(able.policy.distribution(_observed(able, columns, rows), allowed[rows]))
    return np.concatenate(parts)


def _observed(able: Acting, columns: Columns, rows: slice) -> Array:
    try:
        return able.encoder.many({name: column[rows] for name, column in columns.items()})
    except KeyError as error:
        what = f"Version {able.version!r} looks at the field {error}, which contexts do not have any more."
        raise InvalidInput(what, field="older", value=able.version, fix="Choose another version.") from None


def compared(of: Seen, actions: Sequence[str], left_out: int = 0) -> Differ:
    """What the figures of both say."""
    if not len(of.time):
        return Differ(0, 0, nan, left_out, 0, 0, nan)
    one, other = likeliest(of.before), likeliest(of.after)
    differs: Booleans = np.asarray(~(one & other).any(axis=1))  # no action is the likeliest of both
    distance = 0.5 * np.abs(of.before - of.after).sum(axis=1)
    people = _people(of.user)
    return Differ(
        decisions=len(of.time),
        people=people(np.ones(len(of.time), bool)),
        since=float(of.time.min()),
        left_out=left_out,
        differ=int(differs.sum()),
        moved=people(differs),
        distance=float(distance.mean()),
        segments=tuple(_segments(of, differs, distance, people)),
        moves=tuple(_moves(of, differs, (_named(of, one, actions), _named(of, other, actions)), people)),
    )


def likeliest(chances: Floats) -> Booleans:
    """Which actions no other one is likelier than: `[T, A]`."""
    return np.asarray(chances >= chances.max(axis=1, keepdims=True) - SAME)


def _named(of: Seen, best: Booleans, actions: Sequence[str]) -> Names:
    """The likeliest action of each decision."""
    several, codes = best.sum(axis=1) > 1, best.argmax(axis=1)
    if not of.called:
        return Names(np.where(several, len(actions), codes), [*actions, SEVERAL])
    rows = zip(several.tolist(), codes.tolist(), of.called, strict=True)
    return Names.of([SEVERAL if any_ else called[code] for any_, code, called in rows])


def _people(user: Integers) -> Callable[[Booleans], int]:
    """Counts the people behind some of the decisions."""
    _, number = np.unique(user, return_inverse=True)
    size = int(number.max()) + 1

    def count(rows: Booleans) -> int:
        return int((np.bincount(number[rows], minlength=size) > 0).sum())

    return count


def _segments(of: Seen, differs: Booleans, distance: Floats, people: Callable[[Booleans], int]) -> list[Segment]:
    found = []
    for field, column in of.context.items():
        for code in np.unique(column.codes).tolist():
            rows = column.codes == code
            found.append(
                Segment(
                    field,
                    str(column.values[code]),
                    int(rows.sum()),
                    people(rows),
                    int((rows & differs).sum()),
                    people(rows & differs),
                    float(distance[rows].mean()),
                )
            )
    return sorted(found, key=lambda each: (-each.share, -each.decisions))


def _moves(of: Seen, differs: Booleans, named: tuple[Names, Names], people: Callable[[Booleans], int]) -> list[Move]:
    before, after = named
    width = len(after.values)
    pair = before.codes * width + after.codes
    found = []
    for code in np.unique(pair[differs]).tolist():
        rows = differs & (pair == code)
        newest = int(np.flatnonzero(rows)[of.time[rows].argmax()])
        ends = before.values[code // width], after.values[code % width]
        found.append(Move(*ends, int(rows.sum()), people(rows), of.id[newest]))
    return sorted(found, key=lambda each: -each.decisions)
