"""Thompson sampling with Beta posteriors (Thompson 1933; Chapelle & Li 2011): each action as often as it may be best.

The probability of being the best is computed, not sampled, so that every decision's propensity is exact to 1e-8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.compiled import compiled
from bondhu.equations.largest import largest_of_betas
from bondhu.learners._arms import check_share, ready, reported
from bondhu.learners._table import row_finder, shape_of, writable
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.drawing import evenly
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Belief, Beliefs, Booleans, Floats, Integers, Metrics, PerAction, Policy, Spec


@dataclass(frozen=True)
class Counts:
    """What was seen; 16 bytes for each action of each row. A row is a state; where the table is hashed, several."""

    successes: Annotated[Floats, PerAction(1)]  # [rows, A] sum of rewards
    failures: Annotated[Floats, PerAction(1)]  # [rows, A] sum of what they lacked of 1
    sizes: Integers  # [F] codes of each observation column
    rounds: int  # decisions learned from


@dataclass(frozen=True)
class BernoulliThompson:
    """Beta(prior_successes + successes, prior_failures + failures) for the chance of each action in each state.

    Rewards lie in [0, 1]; a fraction is a success and a failure in part.
    """

    prior_successes: float = 1.0  # as if seen before any decision, of at least 0.1
    prior_failures: float = 1.0  # both 1: every chance is as likely; more failures where success is rare
    forgetting: float = 1.0  # what remains of a state's evidence at each new decision there; 1: nothing is forgotten

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Counts]] = Counts
    probes: ClassVar[tuple[str, ...]] = ("bernoulli_arms", "rows_of_arms")

    def __post_init__(self) -> None:
        require(self, 0.1, math.inf, "prior_successes", "prior_failures")
        require(self, 0.0, 1.0, "forgetting")

    def init(self, spec: Spec, rng: np.random.Generator) -> Counts:  # noqa: ARG002  # nothing is drawn
        sizes, *shape = shape_of(spec)
        return Counts(np.zeros(shape), np.zeros(shape), sizes, rounds=0)

    def update(self, state: Counts, batch: Batch, rng: np.random.Generator) -> tuple[Counts, Metrics]:  # noqa: ARG002
        rows = ready(batch, state.sizes, *state.successes.shape)
        check_share(batch)
        successes, failures = writable(state.successes), writable(state.failures)
        compiled(count)(successes, failures, rows, self.forgetting)
        learned = replace(state, successes=successes, failures=failures, rounds=state.rounds + len(batch))
        return learned, reported(batch, state.rounds)

    def policy(self, state: Counts, *, explore: bool = False) -> Policy:
        beliefs = self.beliefs(state)
        if explore:
            return Exploring(beliefs, self.chance_to_be_best)
        return ByValue(lambda observation: beliefs(observation).value, greedy)

    def beliefs(self, state: Counts) -> Beliefs:
        row_of = row_finder(state.sizes, len(state.successes))
        prior = self.prior_successes + self.prior_failures

        def believed(observation: Array) -> Belief:
            row = row_of(observation)
            successes = state.successes.take(row, 0)
            tries = successes + state.failures.take(row, 0)
            mean = (successes + self.prior_successes) / (tries + prior)
            error = np.sqrt(mean * (1.0 - mean) / (tries + prior + 1.0))
            return Belief(mean, error, tries, state.rounds)

        return believed

    def chance_to_be_best(self, belief: Belief, allowed: Booleans) -> Floats:
        """The probability that each action's chance is the highest of the allowed ones: `[T, A]`."""
        evenly(allowed)  # refuses a row that allows nothing
        evidence = belief.tries + self.prior_successes + self.prior_failures
        successes = belief.value * evidence
        return largest_of_betas(successes, evidence - successes, allowed)


def count(successes: Floats, failures: Floats, rows: tuple[Integers, Integers, Floats], keep: float) -> None:
    """One pass over T decisions, in place."""
    row, action, reward = rows
    for t in range(len(row)):
        s, a = row[t], action[t]
        if keep < 1.0:
            for b in range(successes.shape[1]):
                successes[s, b] *= keep
                failures[s, b] *= keep
        successes[s, a] += reward[t]
        failures[s, a] += 1.0 - reward[t]
