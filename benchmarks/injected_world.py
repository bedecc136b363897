"""Simulated weeks of one deployment, healthy or with a fault: its people, versions, variants and feedback.

`simulate(fault, seed)` gives the days one after the other; `World.day` is a pure function of what acts on that day, so
that a loop that releases and takes back can step after each of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from bondhu.domains.recommendation import domain
from bondhu.domains.recommendation.simulator import (
    ACTIONS,
    MOODS,
    SHAPE,
    SITUATIONS,
    Population,
    levels_of,
    parts_of,
)
from bondhu.types import Booleans, Decision, Feedback, Floats, Integers, Names, Records

FAULTS = ("policy", "feedback", "traffic", "season", "segment")
HEALTHY = "healthy"
KINDS_OF = {
    "policy": ("in trial", "live"),
    "feedback": ("one signal", "most decisions", "late"),
    "segment": ("rewards of a mood", "mood served badly", "trait served badly"),
}
DAY = 86_400.0  # seconds
MONDAY = 1_767_571_200.0  # seconds; 5 January 2026, 0:00 UTC
DAYS = 32
PEOPLE, SESSIONS, LONGEST = 500, 180, 12  # sessions a day; decisions in the longest
EXPLORATION = 0.1
NOISE = 0.35  # of what the versions know, beside the deviation of the true values
TRIAL, HOLDOUT = 0.3, 0.05  # shares of the people


class Arms(NamedTuple):
    """Which versions act on a day. The holdout always has the rule."""

    live: str = "v1"
    trial: str | None = None
    share: float = TRIAL  # of the people, in the trial


class Columns(NamedTuple):
    """The decisions of a day and what was said of them."""

    person: Integers  # [T]
    session: Integers  # [T]
    situation: Integers  # [T]
    time: Floats  # [T]
    arm: Integers  # [T] 0 live, 1 trial, 2 holdout
    action: Integers  # [T]
    probability: Floats  # [T]
    row: Integers  # [K]
    signal: Integers  # [K]
    value: Floats  # [K]
    heard: Floats  # [K] seconds, absolute


VARIANTS = ("live", "trial", "holdout")
SIGNALS = tuple(domain().reward.signals)


@dataclass(frozen=True)
class Day:
    """One simulated day, as columns of a log or as rows to append to one."""

    number: int
    versions: tuple[str, str, str]  # of live, trial, holdout
    columns: Columns
    assigned: tuple[float, float, float]  # probability of being given each of them
    prefixes: Sequence[str]  # the beginning of each person's context

    @property
    def end(self) -> float:
        return MONDAY + (self.number + 1) * DAY

    def contexts(self) -> list[bytes]:
        endings = _endings()
        pairs = zip(self.columns.person.tolist(), self.columns.situation.tolist(), strict=True)
        return [(self.prefixes[person] + endings[situation]).encode() for person, situation in pairs]

    def facts(self) -> tuple[list[Decision], list[Feedback]]:
        """Rows for `Log.append`."""
        of, names = self.columns, domain().actions
        ids = [f"{self.number}-{row}" for row in range(len(of.time))]
        rows = zip(ids, of.session, of.person, of.time, self.contexts(), of.action, of.probability, of.arm, strict=True)
        decisions = [
            Decision(
                id=identity,
                domain="recommendation",
                session=f"s{self.number}-{session}",
                user=f"p{person}",
                time=float(time),
                context=json.loads(context),
                allowed=names,
                action=names[action],
                probability=float(probability),
                memo=(),
                version=self.versions[arm],
                variant=VARIANTS[arm],
                assigned=self.assigned[arm],
            )
            for identity, session, person, time, context, action, probability, arm in rows
        ]
        said = zip(of.row, of.signal, of.value, of.heard, strict=True)
        feedback = [
            Feedback(f"{ids[row]}:{number}", ids[row], SIGNALS[signal], float(value), float(time))
            for number, (row, signal, value, time) in enumerate(said)
        ]
        return decisions, feedback


def records(days: Sequence[Day]) -> Records:
    """The days as a log reads them back."""
    of = [day.columns for day in days]
    starts = np.concatenate([[0], np.cumsum([len(each.time) for each in of])]).astype(np.int64)
    whole = Columns(*(np.concatenate(parts) for parts in zip(*of, strict=True)))
    row = np.concatenate([each.row + start for each, start in zip(of, starts, strict=False)])
    session = np.concatenate([each.session + 10_000 * day.number for each, day in zip(of, days, strict=True)])
    count = len(whole.time)
    versions = [name for day in days for name in np.array(day.versions)[day.columns.arm].tolist()]
    return Records(
        id=range(count),  # type: ignore[arg-type]  # nothing here asks for names
        session=Names.of(session.tolist()),
        user=Names(whole.person, [f"p{number}" for number in range(PEOPLE)]),
        time=whole.time,
        context=[context for day in days for context in day.contexts()],
        allowed=np.zeros(count, np.int64),
        allowed_sets=[domain().actions],
        action=Names(whole.action, domain().actions),
        probability=whole.probability,
        memo=np.zeros((count, 0)),
        version=Names.of(versions),
        variant=Names(whole.arm, VARIANTS),
        feedback_decision=row,
        feedback_signal=Names(whole.signal, SIGNALS),
        feedback_value=whole.value,
        feedback_time=whole.heard,
        assigned=np.concatenate([np.array(day.assigned)[day.columns.arm] for day in days]),
    )


@lru_cache(maxsize=1)
def _endings() -> list[str]:
    made = Population().contexts(np.zeros((SITUATIONS, 5)), np.arange(SITUATIONS))
    return [json.dumps({key: context[key] for key in ("content_type", "mood", "time_of_day")})[1:] for context in made]


# ------------------------------------------------------------------------------------------------------------ the world

KINDS = np.stack(np.meshgrid(*[[-1, 0, 1]] * 5, indexing="ij"), axis=-1).reshape(-1, 5)  # [243, 5] levels


@lru_cache(maxsize=1)
def _values() -> Floats:
    """Exact mean reward of every kind of person: `[243, 96, 27]`."""
    return Population().mean_reward(KINDS[:, None, None], np.arange(SITUATIONS)[:, None], np.arange(ACTIONS))


@lru_cache(maxsize=1)
def _rule() -> Integers:
    """What the rule does: `[243, 96]`."""
    traits = np.repeat(50.0 + 30 * KINDS, SITUATIONS, axis=0)
    seen = Population().codes(traits, np.tile(np.arange(SITUATIONS), len(KINDS)))
    chances = domain().baseline().distribution(seen, np.ones((len(seen), ACTIONS), bool))
    return np.asarray(chances.argmax(1).reshape(len(KINDS), SITUATIONS))


@dataclass(frozen=True)
class World:
    """Weeks of one deployment with one fault; the kinds of a fault take turns from seed to seed."""

    fault: str
    seed: int

    @property
    def kind(self) -> str:
        kinds = KINDS_OF.get(self.fault, ("in trial", "live"))
        return kinds[self.seed % len(kinds)]

    @property
    def begins(self) -> int:
        """The day on which the fault, and in any case a new version, comes."""
        return 18 + self.seed // 6 % 4

    @cached_property
    def people(self) -> tuple[Floats, Integers, Floats]:
        """Traits, number of the kind, and how active everybody is."""
        rng = np.random.default_rng([self.seed, 0])
        traits = Population().users(PEOPLE, rng)
        kind = (levels_of(traits) + 1) @ 3 ** np.arange(4, -1, -1)
        active = rng.lognormal(0.0, 0.8, PEOPLE)
        return traits, kind, active / active.sum()

    @cached_property
    def places(self) -> Floats:
        """Where everybody lies among people, which decides on trial and holdout: `[PEOPLE]` in [0, 1)."""
        return np.random.default_rng([self.seed, 1]).random(PEOPLE)

    @property
    def mood(self) -> int:
        return self.seed // 3 % SHAPE[1]

    def segment(self) -> str:
        """The segment that a segment's fault hits."""
        return "neuroticism" if self.kind == "trait served badly" else f"mood = {MOODS[self.mood]}"

    def hit(self, kinds: Integers, situation: Integers) -> Booleans:
        """Whether a person's kind and situation are in that segment; arguments broadcast."""
        if self.kind == "trait served badly":
            return np.broadcast_to(KINDS[kinds, 4] == 1, np.broadcast(kinds, situation).shape)
        return np.broadcast_to(parts_of(situation)[1] == self.mood, np.broadcast(kinds, situation).shape)

    def arms(self, number: int) -> Arms:
        """What acts on a day if nobody intervenes."""
        if number < self.begins:
            return Arms()
        alone = (self.fault in ("feedback", "traffic", "season") and self.seed % 5 == 0) or "rewards" in self.kind
        if alone:
            return Arms()
        return Arms("v1", "v2") if self.kind == "in trial" else Arms("v2")

    @lru_cache(maxsize=8)  # noqa: B019  worlds are few and die together
    def policy(self, version: str) -> Integers:
        """The greedy action of a version for each kind of person and situation: `[243, 96]`."""
        if version == "baseline":
            return _rule()
        values = _values()
        little = np.where(KINDS[:, 2] < 0, 8.0, 1.0)[:, None, None]  # of the introverted, versions know little
        drawn = np.random.default_rng([self.seed, 3]).standard_normal(values.shape)
        noise = NOISE * values.std() * little * drawn
        best: Integers = (values + noise * (0.9 if version == "v2" else 1.0)).argmax(-1)  # the newer one knows more
        if version != "v2":
            return best
        worst: Integers = (values + noise).argmin(-1)
        if self.fault == "segment" and "served" in self.kind:
            here = self.hit(np.arange(len(KINDS))[:, None], np.arange(SITUATIONS))
            return np.where(here, worst, best)
        if self.fault == "policy":  # an encoder that mixes up moods and contents
            content, mood, time = parts_of(np.arange(SITUATIONS))
            return best[:, np.ravel_multi_index(((content + 1) % SHAPE[0], (mood + 4) % SHAPE[1], time), SHAPE)]
        return best

    def day(self, number: int, arms: Arms | None = None) -> Day:
        """A pure function of the world, the day and what acts on it."""
        arms = self.arms(number) if arms is None else arms
        rng = np.random.default_rng([self.seed, 2, number])
        columns = _lived(self, number, arms, rng)
        versions = arms.live, arms.trial or "none", "baseline"
        tried = arms.share if arms.trial else 0.0
        return Day(number, versions, columns, (1 - HOLDOUT - tried, tried, HOLDOUT), self.prefixes)

    @cached_property
    def prefixes(self) -> list[str]:
        made = Population().contexts(self.people[0], np.zeros(PEOPLE, np.int64))
        traits = [name for name in made[0] if name not in ("content_type", "mood", "time_of_day")]
        return [json.dumps({name: context[name] for name in traits})[:-1] + ", " for context in made]


def _lived(world: World, number: int, arms: Arms, rng: np.random.Generator) -> Columns:
    """Everybody's sessions of a day."""
    faulty = number >= world.begins
    _, kind, active = world.people
    person = rng.choice(PEOPLE, rng.poisson(SESSIONS), p=_crowd(world, active) if faulty else active)
    situation = Population().reset(len(person), rng)
    place = world.places[person]
    tried = place < HOLDOUT + (arms.share if arms.trial else 0.0)
    arm = np.where(place < HOLDOUT, 2, tried * 1)
    acting = [world.policy(version) for version in (arms.live, arms.trial or arms.live, "baseline")]
    hour = (parts_of(situation)[2] + 1) % 4 * 6 + 6 * rng.random(len(person))
    time = MONDAY + number * DAY + hour * 3600
    session = np.arange(len(person))
    parts: list[Columns] = []
    before = 0
    for _ in range(LONGEST):
        best = np.stack(acting)[arm, kind[person], situation]
        action = np.where(rng.random(len(person)) < EXPLORATION, rng.integers(0, ACTIONS, len(person)), best)
        probability = EXPLORATION / ACTIONS + (1 - EXPLORATION) * (action == best)
        following, ended, said = _step(world, number, (person, situation, action), rng)
        row, signal, value, delay = _received(world, faulty, said, rng)
        when = np.minimum(time, MONDAY + (number + 1) * DAY - 1)
        facts = (person, session, situation, when, arm, action, probability)
        parts.append(Columns(*facts, row + before, signal, value, when[row] + delay))
        before += len(person)
        on = np.flatnonzero(~ended)
        person, situation, session, arm = person[on], following[on], session[on], arm[on]
        time = time[on] + rng.exponential(120.0, len(on))
    return Columns(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _crowd(world: World, active: Floats) -> Floats:
    """Who comes: after a shift of the traffic mostly those for whom the live version does least."""
    if world.fault != "traffic":
        return active
    values = _values()[np.arange(len(KINDS))[:, None], np.arange(SITUATIONS), world.policy("v1")]
    worth = (values @ Population().starts)[world.people[1]]
    least = worth <= np.quantile(worth, 0.35)
    shares = np.where(least, 0.75 * active / active[least].sum(), 0.25 * active / active[~least].sum())
    return np.asarray(shares)


def _step(
    world: World, number: int, taken: tuple[Integers, Integers, Integers], rng: np.random.Generator
) -> tuple[Integers, Booleans, tuple[Integers, Integers, Floats, Floats]]:
    """What people say and where they go: some of them are harder to please at times."""
    person, situation, action = taken
    weekend = number % 7 >= 5
    dip = {"season": 0.5}.get(world.fault, 0.9) if weekend else 1.0
    usual = Population(tolerance=Population().tolerance * dip)
    traits, kind, _ = world.people
    harder = np.zeros(len(person), bool)
    if number >= world.begins and "rewards" in world.kind:
        harder = world.hit(kind[person], situation)
    following, ended = np.zeros(len(person), np.int64), np.zeros(len(person), bool)
    said: list[tuple[Integers, Integers, Floats, Floats]] = []
    for people, rows in ((usual, ~harder), (replace(usual, tolerance=0.25), harder)):
        where = np.flatnonzero(rows)
        if len(where):
            next_, stop, heard = people.step(traits[person[where]], situation[where], action[where], rng)
            following[where], ended[where] = next_, stop
            signal = np.array([SIGNALS.index(name) for name in heard.signal], np.int64)
            said.append((where[heard.row], signal, heard.value, heard.delay))
    return following, ended, tuple(np.concatenate(each) for each in zip(*said, strict=True))  # type: ignore[return-value]


def _received(
    world: World, faulty: bool, said: tuple[Integers, Integers, Floats, Floats], rng: np.random.Generator
) -> tuple[Integers, Integers, Floats, Floats]:
    """What of it arrives."""
    row, signal, value, delay = said
    if world.fault != "feedback" or not faulty:
        return said
    if world.kind == "late":
        return row, signal, value, delay + 1.5 * DAY * (rng.random(len(row)) < 0.9)
    if world.kind == "one signal":
        kept = signal != SIGNALS.index("like")
    else:
        kept = (rng.random(int(row.max(initial=0)) + 1) < 0.4)[row]
    return row[kept], signal[kept], value[kept], delay[kept]


def simulate(fault: str, seed: int, days: int = DAYS) -> Iterator[Day]:
    """Day after day of a deployment in which nobody intervenes; `fault` is one of FAULTS or HEALTHY."""
    world = World(fault, seed)
    return (world.day(number) for number in range(days))
