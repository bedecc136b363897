"""The best action with a bound on the error: tries actions until one is surely the best, then takes that one for good.

For each segment (each combination of codes) of its own. Track-and-stop (Garivier & Kaufmann 2016): decisions are shared
so that the least certain comparison becomes certain soonest, and it ends once the action that leads, leads every other
by more than luck can do. One may look after every decision: the chance that the action which is settled upon is not the
best one of its segment is at most `risk`, for rewards from `low` to `high` whose means do not move
(`equations.best_arm`). The wider that range, the more tries it takes. Rewards beyond it are refused; where it `clips`,
they count as its end, and what is said of the best action is said of means of rewards so clipped. In the service the
range goes from the least to the most that one answer to each declared signal is worth, and it clips. Shares are drawn
from, so that every decision until then has a probability from which other policies can be judged; a part of them, which
fades, goes to all actions evenly.

An action that is allowed for the first time after that opens the segment again. Where equals lead, it never ends.
Memory: 40 bytes for each action of each segment. Metrics: `settled`, the share of the segments met so far whose best
action is known; `risk`, the bound on the chance of each of them to be wrong; `arm`, the action of the segment that was
met most, -1 while it is open; `clipped`, the share of rewards of this update that were; `reward`, `rounds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.equations.best_arm import lead, needed, ready, regret, shared_out
from bondhu.errors import InvalidInput
from bondhu.learners._arms import Arms, beliefs_of, no_arms, tallied
from bondhu.learners._table import refused, row_finder, writable
from bondhu.policies.by_value import ByValue
from bondhu.policies.drawing import evenly
from bondhu.policies.greedy import greedy
from bondhu.types import (
    ActionNumbers,
    Array,
    Batch,
    Beliefs,
    Booleans,
    Floats,
    Integers,
    Metrics,
    PerAction,
    Policy,
    Spec,
)


@dataclass(frozen=True)
class Race:
    """What was learned, and what is known for good."""

    arms: Arms
    there: Annotated[Booleans, PerAction(1)]  # [rows, A] whether it was ever allowed
    share: Annotated[Floats, PerAction(1)]  # [rows, A] how often to try it next
    best: Annotated[Integers, ActionNumbers()]  # [rows] -1 while that is open


class Settled(NamedTuple):
    """What is known for good."""

    best: Integers  # [rows] the best action of each segment, -1 while that is open
    risk: float  # bound on the chance of each to be wrong


@dataclass(frozen=True)
class BestArm:
    """Shares of tries that find the best action soonest; that action alone once it is known."""

    risk: float = 0.05  # chance, at most, that the action settled upon is not the best one
    even: float = 0.5  # of the first decisions so much goes to all actions evenly, falling as 1 / √decisions
    low: float = 0.0  # the least that a decision earns; in the service, as the signals are declared
    high: float = 1.0  # the most; likewise
    clips: bool = False  # rewards below low or above high count as these; in the service true

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Race]] = Race
    probes: ClassVar[tuple[str, ...]] = ("bernoulli_arms", "rows_of_arms")

    def __post_init__(self) -> None:
        require(self, 1e-12, 0.5, "risk")
        require(self, 0.0, 1.0, "even")
        require(self, -math.inf, math.inf, "low", "high")
        if self.low >= self.high:
            fix = f"It must be above low, which is {self.low:g}."
            raise InvalidInput(f"'high' got {self.high!r}.", field="high", value=self.high, fix=fix)

    def init(self, spec: Spec, rng: np.random.Generator) -> Race:  # noqa: ARG002  # nothing is drawn
        arms = no_arms(spec)
        rows, actions = arms.tries.shape
        share, nobody = np.full((rows, actions), 1.0 / actions), np.full(rows, -1, np.int64)
        return Race(arms, np.zeros((rows, actions), np.bool_), share, nobody)

    def update(self, state: Race, batch: Batch, rng: np.random.Generator) -> tuple[Race, Metrics]:  # noqa: ARG002
        batch, clipped = self._within(batch)
        arms, metrics = tallied(state.arms, batch)
        there, share, best = writable(state.there), writable(state.share), writable(state.best)
        row = row_finder(arms.sizes, len(best))(batch.observation)
        met, place = np.unique(row, return_inverse=True)
        open_now = np.zeros((len(met), there.shape[1]), np.bool_)
        np.logical_or.at(open_now, place, batch.allowed)
        best[met[(open_now & ~there[met]).any(axis=1)]] = -1
        there[met] |= open_now
        shares = np.clip((arms.totals - self.low * arms.tries) / (self.high - self.low), 0.0, arms.tries)
        ready(run, surely)((shares, arms.tries, there), met, self.risk, self.even, (share, best))
        learned = replace(state, arms=arms, there=there, share=share, best=best)
        return learned, {**metrics, "clipped": clipped, **self._metrics(learned)}

    def _within(self, batch: Batch) -> tuple[Batch, float]:
        """The batch with rewards from low to high, and the share of those that were clipped; raises InvalidInput."""
        outside = (batch.reward < self.low) | (batch.reward > self.high)
        if not outside.any():
            return batch, 0.0
        if not self.clips:
            row = int(outside.argmax())
            fix = f"Row {row} needs a reward from {self.low:g} to {self.high:g}: set low and high, or clips = true."
            raise refused("reward", batch.reward[row], fix)
        return replace(batch, reward=np.clip(batch.reward, self.low, self.high)), float(outside.mean())

    def policy(self, state: Race, *, explore: bool = False) -> Policy:
        row_of, sure = row_finder(state.arms.sizes, len(state.best)), np.eye(len(state.share[0]) + 1)[:, :-1]
        if explore:

            def shares(observation: Array) -> Floats:
                row = row_of(observation)
                best = state.best.take(row)
                return np.where(best[:, None] >= 0, sure[best], state.share.take(row, 0))

            return ByValue(shares, in_proportion)
        known, most = self.beliefs(state), 2.0 * (self.high - self.low)

        def values(observation: Array) -> Floats:
            believed = known(observation)
            tried = np.where(believed.tries > 0.0, believed.value, self.low)
            return tried + most * sure[state.best.take(row_of(observation))]

        return ByValue(values, greedy)

    def beliefs(self, state: Race) -> Beliefs:
        return beliefs_of(state.arms, state.arms.noise)

    def settled(self, state: Race) -> Settled:
        """Where the search has ended, and with what."""
        return Settled(state.best, self.risk)

    def _metrics(self, state: Race) -> Metrics:
        tries = state.arms.tries.sum(axis=1)
        met = tries > 0.0
        settled = float((state.best[met] >= 0).mean()) if met.any() else 0.0
        return {"settled": settled, "risk": self.risk, "arm": float(state.best[tries.argmax()])}


def in_proportion(shares: Floats, allowed: Booleans) -> Floats:
    """p(a) ∝ share on the allowed actions; evenly where they have none: `[T, A]`."""
    even, within = evenly(allowed), np.where(allowed, shares, 0.0)
    total = within.sum(axis=1, keepdims=True)
    return np.where(total > 0.0, within / np.where(total > 0.0, total, 1.0), even)


def run(
    arms: tuple[Floats, Floats, Booleans], rows: Integers, risk: float, even: float, after: tuple[Floats, Integers]
) -> None:
    """Look at these rows: settle what is settled, and share the next tries of the others, in place.

    `arms`: totals, tries and whether an action is there, `[rows, A]` each; `after`: shares `[rows, A]`, best `[rows]`.
    """
    totals, tries, there = arms
    share, best = after
    for row in rows:
        if best[row] < 0:
            untried = there[row] & (tries[row] == 0.0)
            if untried.any():
                share[row] = untried / untried.sum()
            else:
                best[row] = surely(totals[row], tries[row], there[row], risk)
                sought, _ = shared_out((totals[row] + 0.5) / (tries[row] + 1.0), there[row])
                part = min(1.0, even * there[row].sum() / math.sqrt(tries[row].sum()))
                share[row] = (1.0 - part) * sought + part * there[row] / there[row].sum()
            for a in range(len(untried)):  # one that comes later is tried
                if not there[row, a]:
                    share[row, a] = 1.0 / len(untried)


def surely(totals: Floats, tries: Floats, there: Booleans, risk: float) -> int:
    """The action that leads all others that are there by as much as is needed, or -1; each was tried."""
    leader, count = -1, there.sum()
    for a in range(len(tries)):
        if there[a] and (leader < 0 or totals[a] * tries[leader] > totals[leader] * tries[a]):
            leader = a
    mean, cost = totals[leader] / tries[leader], regret(totals[leader], tries[leader])
    for a in range(len(tries)):
        if there[a] and a != leader:
            ahead = lead(mean, tries[leader], totals[a] / tries[a], tries[a])
            if ahead < needed(risk, count, cost, regret(totals[a], tries[a])):
                return -1
    return leader
