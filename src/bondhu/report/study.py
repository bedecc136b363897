"""What a page about an evaluation is made of: plain figures and sentences, nothing that could still be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bondhu.types import Estimate, Floats, Integers, Verdict


class Figure(NamedTuple):
    """A number with its interval; NaN where nothing can be said."""

    value: float
    low: float
    high: float


class Compared(NamedTuple):
    """What both policies are worth, and how much more the candidate: by one estimator, or in one part of the reward."""

    name: str
    candidate: Estimate
    against: Estimate
    advantage: Estimate
    assumes: str = ""  # in one sentence


class Guess(NamedTuple):
    """What the log says of one estimator's error, in units of the reward."""

    name: str
    error: float  # root of the mean squared error; infinite where it refused
    noise: float  # standard error
    bias: float


class Choice(NamedTuple):
    """The estimator that errs the least as far as the log can tell; the name is empty where it cannot."""

    name: str
    reason: str
    table: tuple[Guess, ...]  # least error first


class Kind(NamedTuple):
    """One kind of interval, of what the candidate earns and of its advantage."""

    name: str
    estimator: str  # whose terms it is of
    assumes: str
    candidate: Figure
    advantage: Figure


class Curve(NamedTuple):
    """P(reward <= value) under one policy, and figures of it; or why there is none."""

    policy: str
    values: Floats  # [V] ascending
    cdf: Floats  # [V]
    low: Floats  # [V] of the band that holds the whole function
    high: Floats  # [V]
    figures: tuple[tuple[str, Figure], ...]
    refused: str | None = None


class Weights(NamedTuple):
    """How much each logged decision counts for one policy."""

    policy: str
    edges: Floats  # [B + 1] of the bins, ascending; weights of 0 lie in none
    counts: Integers  # [B] decisions
    sums: Floats  # [B] of their weights
    zeros: int  # decisions that do not count at all
    effective_samples: float
    half: int  # fewest decisions that carry half of all weight
    largest: float
    tail: float  # Pareto shape; above 0.7 means do not settle
    refused: str | None = None  # what an estimate by these weights would be refused for


class Cell(NamedTuple):
    """An action in a group of decisions, which the policy takes there and the log hardly tries."""

    action: str
    where: str
    share: float  # of all decisions that are in the group
    mass: float  # of the policy's probability that goes here
    tries: int


class Support(NamedTuple):
    """Where the log does not speak for a policy, and what would mend it."""

    policy: str
    sentence: str
    cells: tuple[Cell, ...]


class Group(NamedTuple):
    """The advantage among decisions that have a value of a field in common."""

    name: str
    rows: int
    advantage: Estimate


class Rail(NamedTuple):
    """How much more of a signal the candidate brings, beside what is tolerated."""

    name: str
    tolerated: float
    more: Estimate


class Rule(NamedTuple):
    """What the gate asks for, and what it found."""

    about: str
    wanted: str
    found: str


class Fact(NamedTuple):
    """Something the log held."""

    about: str
    found: str


@dataclass(frozen=True)
class Study:
    """One evaluation. The truth is not in it: nobody knows it."""

    domain: str
    moment: float  # seconds; when it was made
    candidate: str
    against: str
    window: tuple[float, float]  # settlement times (start, end] in seconds
    held_out: float  # share of people that the decisions are of; 0: everybody
    rows: int  # decisions
    people: int
    confidence: float  # of every interval
    verdict: Verdict
    rules: tuple[Rule, ...]
    judged_by: str  # the estimator that the gate looked at
    estimates: tuple[Compared, ...]  # of a decision, by estimator
    chosen: Choice
    kinds: tuple[Kind, ...]
    sessions: tuple[Compared, ...]  # of a whole session, by estimator; none where decisions stand alone
    curves: tuple[Curve, ...]
    weights: tuple[Weights, ...]
    support: tuple[Support, ...]
    groups: tuple[Group, ...]  # most gain first; those at either end where there are many
    all_groups: int
    guarded: bool  # whether the gate looked at the groups
    guardrails: tuple[Rail, ...]
    objectives: tuple[Compared, ...]
    log: tuple[Fact, ...]

    @property
    def by_gate(self) -> Compared | None:
        """What the estimator says that the gate looked at."""
        return next((each for each in self.estimates if each.name == self.judged_by), None)
