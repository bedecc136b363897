"""Partial pooling: a new person starts from what people like them want, and departs from it as evidence comes.

The reward of action a, for person u in context x, is a part that all people share, u's own part, and noise:
`r = x'c_a + delta_u[a] + noise`, with `delta_u ~ N(0, Sigma)`. The shared part is a Bayesian regression on indicators
of the codes, in which actions deviate from what all actions share, so that rare ones borrow strength. Sigma says how
people differ, and is learned from all of them: it is the prior that each person's posterior starts from
(`equations.hierarchy`).

Each row teaches the shared part what is not believed of its person yet, and its person what the shared part, as it
would be without that row, leaves unexplained. The two posteriors are kept as if independent of each other.

Observes codes; one column is the person, a row of the table of people. Two people that share a row, where names are
hashed, are taken for one. Row 0 is for strangers: nothing is kept of them, and their value is the shared part.
Memory: 12·A bytes for each row of the table of people, 8·A·W² bytes for the shared part; a step costs the same however
much was seen.

Metrics: `error` mean |what the shared part leaves| of a row; `noise` standard deviation of a person's rewards of one
action; `spread` standard deviation of what people add to an action; `people` known; `reward` mean; `rounds` decisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.equations.hierarchy import Prior, Shared, around_shared, covariance_between, deviation, noise_within
from bondhu.equations.regression import moments
from bondhu.learners._people import Indicators, indicators
from bondhu.learners._table import check, refused, sizes_of, writable
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.thompson import Thompson
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Belief, Beliefs, Exploration, Floats, Integers, Metrics, PerAction, Policy, Spec

ENTRIES = 1 << 22  # at most this many numbers in the moments of the shared part: 32 MB
CHUNK = 32  # people, or rows, that are looked at together: their matrices stay in the cache
LEAST = 1e-12  # variance of rewards that never differ
FREE = 1e-6  # pseudo-rows of "the mean reward is 0"


@dataclass(frozen=True)
class Crowd:
    """What was learned of everybody together, and of each person. Of pairs of numbers, strangers come first."""

    gram: Annotated[Floats, PerAction()]  # [A, W, W] sum of x x' over the rows of each action
    cross: Annotated[Floats, PerAction()]  # [A, W] sum of x (r - what was believed of the person)
    total: Annotated[Floats, PerAction(1)]  # [P, A] sum of what the shared part left of each person's rewards
    tries: Annotated[Integers, PerAction(1)]  # [P, A]
    rows: Annotated[Floats, PerAction(1)]  # [2, A] decisions
    squares: Annotated[Floats, PerAction(1)]  # [2, A] sum of squares of what the shared part left
    sizes: Integers  # [F] codes of each observation column
    rounds: int  # decisions learned from


@dataclass(frozen=True)
class Pooled:
    """Values that are partly everybody's and partly a person's own."""

    person: int = -1  # which column of the observation is the person; code 0 is a stranger
    shared: bool = True  # everybody's decisions teach one regression; off: each person starts from nothing
    adaptive: bool = True  # how people differ is learned from all of them; off: evenly, by the spread
    spread: float = 0.1  # share of the variance of rewards that lies between people, until they have shown it
    penalty: float = 10.0  # pseudo-rows of "this action is like the others" for each indicator
    pairs: float = 0.2  # size of a pair's indicator beside a code's 1: below 1, pairs are trusted less; 0: none
    width: int = 128  # most indicators; codes beyond it, and pairs of codes, share them
    exploration: Exploration = Thompson(0.25)  # a round is a decision; more of it pays where people stay for long

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Crowd]] = Crowd
    probes: ClassVar[tuple[str, ...]] = ("people",)

    def __post_init__(self) -> None:
        require(self, 0.0, 0.99, "spread")
        require(self, 1e-6, math.inf, "penalty")
        require(self, 0.0, 1.0, "pairs")
        require(self, 8, 1024, "width")

    def init(self, spec: Spec, rng: np.random.Generator) -> Crowd:  # noqa: ARG002  # it starts the same for all
        sizes = sizes_of(spec.observation)
        if not isinstance(spec.action, Discrete):
            raise refused("action", spec.action, "People are pooled over a Discrete action space.")
        if not -len(sizes) <= self.person < len(sizes):
            raise refused("person", self.person, f"An observation has the columns 0 to {len(sizes) - 1}.")
        actions, people = int(spec.action.n), int(sizes[self.person])
        width = self._indicators(sizes, actions).width
        gram, cross = np.zeros((actions, width, width)), np.zeros((actions, width))
        total, tries = np.zeros((people, actions)), np.zeros((people, actions), np.int32)
        return Crowd(gram, cross, total, tries, np.zeros((2, actions)), np.zeros((2, actions)), sizes, rounds=0)

    def update(self, state: Crowd, batch: Batch, rng: np.random.Generator) -> tuple[Crowd, Metrics]:  # noqa: ARG002
        actions = state.total.shape[1]
        check(batch, state.sizes, actions)
        context, person = self._parted(batch.observation, state.sizes)
        design = self._indicators(state.sizes, actions).design(context)
        believed = _deviations(state, self.prior(state), person)[0][np.arange(len(batch)), batch.action]
        sums = moments(design, batch.action, batch.reward - believed, actions)
        gram, cross = state.gram + sums.gram, state.cross + sums.cross
        left = _left(self._shared(gram, cross), design, batch)
        tables = _recorded(state, batch.action, person, left)
        learned = replace(state, gram=gram, cross=cross, **tables, rounds=state.rounds + len(batch))
        return learned, self._metrics(learned, batch, left)

    def policy(self, state: Crowd, *, explore: bool = False) -> Policy:
        beliefs = self.beliefs(state)
        return Exploring(beliefs, self.exploration) if explore else ByValue(lambda seen: beliefs(seen).value, greedy)

    def beliefs(self, state: Crowd) -> Beliefs:
        """The error adds what is not known of the shared part and of the person; `tries` is how many decisions of one's
        own would make as sure."""
        prior, scatter = self.prior(state), _scatter(state)
        reader = self._indicators(state.sizes, state.total.shape[1])
        shared = self._shared(state.gram, state.cross)
        values = np.ascontiguousarray(shared.mean.T)
        covariance = np.ascontiguousarray(shared.covariance.transpose(1, 2, 0)).reshape(reader.width**2, -1)
        first, second = np.triu_indices(len(reader.weights))
        twice = scatter * np.where(first == second, 1.0, 2.0) * reader.weights[first] * reader.weights[second]

        def believed(observation: Array) -> Belief:
            context, person = self._parted(observation, state.sizes)
            column = reader.columns(context)
            mean, variance = _deviations(state, prior, person)
            for start in range(0, len(column), CHUNK):
                rows = slice(start, start + CHUNK)
                mean[rows] += reader.weights @ values[column[rows]]
                cell = column[rows][:, first] * reader.width + column[rows][:, second]
                variance[rows] += twice @ covariance[cell]
            variance = np.maximum(variance, 0.0)
            return Belief(mean, np.sqrt(variance), prior.noise / np.maximum(variance, 1e-300), float(state.rounds))

        return believed

    def prior(self, state: Crowd) -> Prior:
        """How people differ, and how a person's rewards scatter: what each person starts from."""
        known = state.tries.any(axis=1)
        total, tries = state.total[known], state.tries[known].astype(np.float64)
        scatter = _scatter(state)
        between = self.spread * scatter
        noise = noise_within(total, tries, float(state.squares[1].sum()), scatter - between)
        if not self.adaptive or between == 0.0:
            return Prior(between * np.eye(total.shape[1]), noise)
        return Prior(covariance_between(total, tries, noise, between), noise)

    def _indicators(self, sizes: Integers, actions: int) -> Indicators:
        """How contexts are read; without a shared part they weigh nothing."""
        width = max(min(self.width, math.isqrt(ENTRIES // actions)), 8)
        reader = indicators(np.delete(sizes, self.person), width, self.pairs)
        return reader if self.shared else reader._replace(weights=0.0 * reader.weights)

    def _parted(self, observation: Array, sizes: Integers) -> tuple[Array, Integers]:
        """What is known of the context, `[T, F - 1]`, and the person, `[T]`."""
        codes = observation.reshape(-1, len(sizes))
        others = np.delete(np.arange(len(sizes)), self.person)
        return codes[:, others], codes[:, self.person]

    def _shared(self, gram: Floats, cross: Floats) -> Shared:
        """The shared part; the first column is the constant."""
        penalty, ridge = np.full(gram.shape[1], self.penalty), np.ones(gram.shape[1])
        penalty[0], ridge[0] = 1.0, FREE
        return around_shared(gram, cross, penalty, ridge)

    def _metrics(self, state: Crowd, batch: Batch, left: Floats) -> Metrics:
        prior, rows = self.prior(state), max(len(batch), 1)
        return {
            "error": float(np.abs(left).sum()) / rows,
            "noise": math.sqrt(prior.noise),
            "spread": math.sqrt(np.trace(prior.covariance) / len(prior.covariance)),
            "people": float(np.count_nonzero(state.tries.any(axis=1))),
            "reward": float(batch.reward.sum()) / rows,
            "rounds": float(state.rounds),
        }


def _scatter(state: Crowd) -> float:
    """The variance of what the shared part leaves of a reward; 1 before anything is known."""
    rows = float(state.rows.sum())
    return max(float(state.squares.sum()) / rows, LEAST) if rows else 1.0


def _deviations(state: Crowd, prior: Prior, person: Integers) -> tuple[Floats, Floats]:
    """Mean and variance of what each row's person adds, `[T, A]`; strangers add nothing."""
    who, place = (person, slice(None)) if len(person) == 1 else np.unique(person, return_inverse=True)
    parts = (who[start : start + CHUNK] for start in range(0, len(who), CHUNK))
    found = [deviation(prior, state.total[part], state.tries[part].astype(np.float64)) for part in parts]
    mean, variance = np.concatenate([np.empty((2, 0, state.total.shape[1])), *found], axis=1)
    variance[who == 0] = 0.0
    return mean[place], variance[place]


def _left(shared: Shared, design: Floats, batch: Batch) -> Floats:
    """What the shared part leaves of each reward, `[T]`, had it not learned from that row: the residual over one minus
    the row's leverage (Hoaglin & Welsch 1978)."""
    left, leverage = np.empty(len(batch)), np.empty(len(batch))
    for action in np.unique(batch.action):
        rows = batch.action == action
        left[rows] = batch.reward[rows] - design[rows] @ shared.mean[action]
        leverage[rows] = (design[rows] @ shared.covariance[action] * design[rows]).sum(axis=1)
    return left / (1.0 - leverage)


def _recorded(state: Crowd, action: Integers, person: Integers, left: Floats) -> dict[str, Array]:
    """The tables of people and the sums over all of them, with these rows; strangers are in the sums only."""
    known = (person > 0).astype(np.int64)
    rows, squares = state.rows.copy(), state.squares.copy()
    np.add.at(rows, (known, action), 1.0)
    np.add.at(squares, (known, action), left**2)
    if not np.isfinite(squares).all():
        raise refused("reward", left[np.abs(left).argmax()], "Squares are no longer finite: scale the rewards down.")
    total, tries = writable(state.total), writable(state.tries)
    np.add.at(total, (person, action), left * known)
    np.add.at(tries, (person, action), known)
    return {"rows": rows, "squares": squares, "total": total, "tries": tries}
