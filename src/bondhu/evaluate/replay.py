"""How a learner would have done together with its exploration, by playing a log to it as if it happened now.

The learner chooses at each logged decision, by probabilities pi; the log was made by probabilities mu. A decision is
accepted with the chance `bound * pi(a | x) / mu(a | x)`: it comes as if the learner had acted, and is learned from;
what is not accepted is never seen. Uniform logs: Li et al. (2011), "Unbiased offline evaluation of
contextual-bandit-based news article recommendation algorithms"; others: Dudik et al. (2012), Mandel et al. (2016).
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field, replace
from math import ceil, inf, nan, sqrt
from typing import Any, NamedTuple

import numpy as np

from bondhu.catalogue import require
from bondhu.equations.adaptive_weights import linearised
from bondhu.equations.intervals import Interval, standard_error, student, t_quantile
from bondhu.equations.weights import importance
from bondhu.evaluate.models import Model, cross_fitted
from bondhu.evaluate.support import SURE, stray_of, support
from bondhu.policies.by_value import Exploring
from bondhu.types import Batch, Exploration, Floats, Integers, Learner, Policy, Spec

LONGEST_LOOK = 4096  # logged decisions that a policy is asked about at once
ROUNDING = 1e-9  # of a chance
KNOWN = 100  # decisions looked at before a quantile of them sets the bound


@dataclass(frozen=True)
class Replayed:
    """What a learner and its exploration earn while it learns; or a refusal, which is a result as well."""

    value: float  # mean reward of a decision, or of a session where they are accepted whole
    low: float
    high: float
    accepted: float  # of these, how many the learner went through in a run, on average
    acceptance: float  # their share of those looked at
    cut: float  # share of what the learner would do that was accepted too rarely; 0: the replay is exact
    curve: Floats = field(default_factory=lambda: np.empty(0))  # [n] mean reward of the first, the second, …, over runs
    runs: Floats = field(default_factory=lambda: np.empty(0))  # [R] value by each run
    refused: str | None = None  # why the log does not support the question; value and bounds are NaN then

    @property
    def bias(self) -> str:
        """What can be wrong with the value beside chance."""
        holds = "as long as the contexts that come do not depend on what was done before"
        if self.cut == 0:
            return f"None {holds}: what was accepted comes as if the learner had acted."
        return (
            f"Of what the learner would do, {self.cut:.2%} was accepted too rarely: the value may be off by that share "
            f"of the span of rewards, and by what would have been learned from it. No other {holds}."
        )


class _Log(NamedTuple):
    """A log in the order in which it is played, in units that are accepted or not: decisions, or whole sessions."""

    batch: Batch
    start: Integers  # [U + 1] first row of each unit; the last entry is the number of rows
    session: Integers  # [U] the same for units that depend on each other
    predicted: Floats  # [T, A] rewards, or [T, 0]


class _Course(NamedTuple):
    """One run: what was looked at, and what was accepted."""

    weights: Floats  # [N] pi / mu of the units looked at
    chance: Floats  # [N] of being accepted; what lies above 1 is cut
    reward: Floats  # [n] of the units accepted
    terms: Floats  # whose mean is the value: rewards accepted, or what the model makes of all that was looked at
    session: Integers  # of each term


@dataclass(frozen=True)
class Replay:
    """Plays a log to a learner several times, each time in another order and from the learner's beginning."""

    exploration: Exploration | None = None  # in place of the learner's own
    every: int = 1  # accepted decisions that are learned from together
    horizon: int | None = None  # accepted decisions after which a run ends; None: only with the log
    runs: int = 10  # times that the log is played
    shuffled: bool = True  # False: in the order of time, as where the log's own policy learned from it
    whole: bool = False  # accept sessions whole, for learners that look ahead: fewer, the longer; without the model
    quantile: float = 0.0  # share of decisions whose acceptance may be cut, so that more are accepted; 0: exact
    model: Model | None = cross_fitted  # predicted rewards [T, A], to narrow the interval; None: rewards as accepted
    confidence: float = 0.95  # of the interval
    minimum: int = 50  # accepted in a run, on average; refuses below

    def __post_init__(self) -> None:
        require(self, 1, inf, "every", *(["horizon"] if self.horizon is not None else []))
        require(self, 2, inf, "runs")
        require(self, 0.0, 0.5, "quantile")

    def __call__(self, learner: Learner[Any], spec: Spec, batch: Batch, rng: np.random.Generator) -> Replayed:
        """What such a learner earns with its first decisions; the interval is for the mean over many such learners."""
        refused = support(self._acting(learner, learner.init(spec, rng)), batch, 0.0).refused
        if refused:
            return _refusal(refused, 0.0, nan)
        predicted = np.empty((len(batch), 0)) if self.model is None or self.whole else self.model(batch)
        courses = [self._course(learner, spec, self._log(batch, predicted, rng), rng) for _ in range(self.runs)]
        accepted = float(np.mean([len(course.reward) for course in courses]))
        looked = float(np.mean([len(course.weights) for course in courses]))
        refused = _lacking(courses[0].weights, accepted, looked, self.minimum)
        if refused:
            return _refusal(refused, accepted, accepted / looked)
        units = len(np.unique(batch.session)) if self.whole else len(batch)
        low, high = _interval(courses, looked / units if self.shuffled else 1.0, self.confidence)
        runs = np.array([course.terms.mean() for course in courses])
        length = min(len(course.reward) for course in courses)
        curve = np.mean([course.reward[:length] for course in courses], axis=0)
        chance = np.concatenate([course.chance for course in courses])
        cut = float(np.maximum(chance - 1 - ROUNDING, 0.0).sum() / chance.sum())
        return Replayed(float(runs.mean()), low, high, accepted, accepted / looked, cut, curve, runs)

    def _acting(self, learner: Learner[Any], state: Any) -> Policy:
        if self.exploration is None:
            return learner.policy(state, explore=True)
        return Exploring(learner.beliefs(state), self.exploration)

    def _log(self, batch: Batch, predicted: Floats, rng: np.random.Generator) -> _Log:
        """The units of the log in random order, or in the order of time."""
        session = batch.session if self.whole else np.arange(len(batch))
        start = np.flatnonzero(np.diff(session, prepend=session[0] - 1))
        order = rng.permutation(len(start)) if self.shuffled else np.argsort(batch.time[start], kind="stable")
        length = np.diff(start, append=len(batch))[order]
        end = np.cumsum(length)
        rows = np.repeat(start[order] - end + length, length) + np.arange(len(batch))
        played = replace(batch, context={}, objectives={}).take(rows)
        if not self.whole:
            played = replace(played, has_next=np.zeros(len(batch), bool), session=np.arange(len(batch)))
        return _Log(played, np.append(0, end), batch.session[start[order]], predicted[rows])

    def _course(self, learner: Learner[Any], spec: Spec, log: _Log, rng: np.random.Generator) -> _Course:
        """One run through the log."""
        run = _Run(log, rng.random(len(log.session)))
        state, horizon = learner.init(spec, rng), self.horizon or len(log.session)
        while run.at < len(run.uniform) and len(run.taken) < horizon:
            policy, known = self._acting(learner, state), len(run.taken)
            run.accept(policy, min(known + self.every, horizon))
            if self.quantile > 0:
                run.rebound(self.quantile)
            units = run.taken[known:]
            if units:
                rows = np.concatenate([np.arange(log.start[unit], log.start[unit + 1]) for unit in units])
                state, _ = learner.update(state, log.batch.take(rows), rng)
        return run.course()


class _Run:
    """How far a run has come, and what it found."""

    def __init__(self, log: _Log, uniform: Floats) -> None:
        self.log, self.uniform = log, uniform
        self.weights, self.bounds, self.terms = np.empty((3, len(uniform)))
        self.at, self.taken = 0, list[int]()  # units looked at, and which of them were accepted
        self.bound = float(
            np.multiply.reduceat(log.batch.probability, log.start[:-1]).min()
        )  # no weight is above 1 / this
        self.ratios = list[float]()  # mu / pi of the units looked at, in order of size

    def accept(self, policy: Policy, wanted: int) -> None:
        """Go on until so many units were accepted in all, or the log ends."""
        while self.at < len(self.uniform) and len(self.taken) < wanted:
            rate = (len(self.taken) + 1) / (self.at + 1 / self.bound)
            look = min(ceil(1.5 * (wanted - len(self.taken)) / rate), LONGEST_LOOK)
            units = slice(self.at, min(self.at + look, len(self.uniform)))
            self._look(policy, units)
            fit = self.uniform[units] < self.bound * self.weights[units]
            hits = self.at + np.flatnonzero(fit)[: wanted - len(self.taken)]
            self.taken.extend(hits.tolist())
            self.at = self.taken[-1] + 1 if len(self.taken) == wanted else units.stop

    def _look(self, policy: Policy, units: slice) -> None:
        """Weights and terms of these units under a policy."""
        log, first = self.log, self.log.start[units.start]
        rows = slice(first, log.start[units.stop])
        seen = log.batch.observation[rows], log.batch.allowed[rows]
        action = log.batch.action[rows]
        weights = importance(policy.probability(*seen, action), log.batch.probability[rows])
        self.weights[units] = np.multiply.reduceat(weights, log.start[units] - first)
        self.bounds[units] = self.bound
        if log.predicted.size:
            predicted = log.predicted[rows]
            error = log.batch.reward[rows] - predicted[np.arange(len(action)), action]
            self.terms[units] = (policy.distribution(*seen) * predicted).sum(1) + weights * error

    def rebound(self, quantile: float) -> None:
        """Let the bound be a quantile of mu / pi of what was looked at so far."""
        for weight in self.weights[len(self.ratios) : self.at].tolist():
            insort(self.ratios, 1 / weight if weight > 0 else inf)
        if self.at >= KNOWN:
            self.bound = min(self.ratios[int(quantile * self.at)], 1.0)

    def course(self) -> _Course:
        """What was found; with a model, each policy counts for as long as it took to accept its decisions."""
        log, looked = self.log, slice(0, self.at)
        reward = np.add.reduceat(log.batch.reward, log.start[:-1])[self.taken]
        weights, bounds = self.weights[looked], self.bounds[looked]
        if not log.predicted.size:
            return _Course(weights, bounds * weights, reward, reward, log.session[self.taken])
        return _Course(weights, bounds * weights, reward, linearised(self.terms[looked], bounds), log.session[looked])


def _interval(courses: list[_Course], share: float, confidence: float) -> Interval:
    """Runs differ by chance and by the part of the log that each of them saw; of that, any two have `share` in common,
    in the rewards as well as in the course that learning took: `variance = s^2 / R + share * max(s^2, mean(se_r^2))`.

    s is the deviation between the R runs, se_r the standard error within one. Student's t, degrees of freedom as in
    Satterthwaite (1946).
    """
    values = np.array([course.terms.mean() for course in courses])
    errors = [standard_error(course.terms, course.session) for course in courses]
    deviation = float(values.var(ddof=1))
    within = share * max(deviation, float(np.mean([error**2 for error, _ in errors])))
    between = deviation / len(values)
    groups = min(count for _, count in errors)
    freedom = (within + between) ** 2 / max(within**2 / (groups - 1) + between**2 / (len(values) - 1), 1e-300)
    half = t_quantile((1 + confidence) / 2, max(int(freedom), 1)) * sqrt(within + between)
    return float(values.mean()) - half, float(values.mean()) + half


def _lacking(weights: Floats, accepted: float, looked: float, minimum: int) -> str | None:
    """Why the log does not support the replay."""
    mean, (low, high) = float(weights.mean()), student(weights, SURE)
    if abs(mean - 1) > stray_of(len(weights)) and not low <= 1 <= high:
        return (
            f"The log does not fit the learner: importance weights average {mean:.3f} where 1 is expected. Either the "
            "learner takes actions the log never tried, or the logged probabilities are wrong."
        )
    if accepted >= minimum:
        return None
    return (
        f"Of {looked:,.0f} logged decisions {accepted:,.1f} could be accepted, fewer than {minimum}. Collect more "
        "decisions, with more exploration, or allow a quantile of them to be cut."
    )


def _refusal(reason: str, accepted: float, acceptance: float) -> Replayed:
    return Replayed(nan, nan, nan, accepted, acceptance, nan, refused=reason)
