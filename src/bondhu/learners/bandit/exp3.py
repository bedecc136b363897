"""Exp3 (Auer, Cesa-Bianchi, Freund & Schapire 2002): exponential weights of what each action would have earned.

It promises little regret for any sequence of rewards in [0, 1], even one chosen by an opponent. What was not tried is
estimated by importance: reward / probability, by the probability that was logged, whoever acted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.compiled import compiled
from bondhu.learners._arms import check_share, ready, reported
from bondhu.learners._table import UNTRIED, refused, row_finder, shape_of, writable
from bondhu.policies.by_value import ByValue
from bondhu.policies.drawing import uniformly
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Belief, Beliefs, Booleans, Floats, Integers, Metrics, PerAction, Policy, Spec


@dataclass(frozen=True)
class Regrets:
    """What was learned; 24 bytes for each action of each row. A row is a state; where the table is hashed, several.

    The regret of an action is what it would have earned more than what was earned, where it was allowed.
    """

    regrets: Annotated[Floats, PerAction(1)]  # [rows, A] estimated, summed over decisions
    squares: Annotated[Floats, PerAction(1)]  # [rows, A] of the estimates, summed
    tries: Annotated[Floats, PerAction(1)]  # [rows, A]
    rewards: Floats  # [rows] sum
    decisions: Floats  # [rows]
    sizes: Integers  # [F] codes of each observation column
    rounds: int  # decisions learned from


@dataclass(frozen=True)
class Exp3:
    """p(a) = (1 - mixing)·exp(η·regret(a)) / Σ exp(η·regret) + mixing / K over the K allowed actions.

    An action that is not allowed neither wins nor loses (Freund et al. 1997). By default η = √(ln A / (A·t)) at the
    t-th decision in a state of A actions, for which the regret is at most 2·√(t·A·ln A) at any time (Bubeck &
    Cesa-Bianchi 2012, theorem 3.1). As published in 2002: learning_rate = γ / A, mixing = γ, baseline = 0.
    """

    learning_rate: float = 0.0  # η; 0: falls with the decisions, as above
    mixing: float = 0.0  # share of random actions
    baseline: float = (
        1.0  # reward that an untried action is thought to have had: 1 varies least where most rewards are high
    )

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Regrets]] = Regrets
    probes: ClassVar[tuple[str, ...]] = ("bernoulli_arms", "rows_of_arms")

    def __post_init__(self) -> None:
        require(self, 0.0, math.inf, "learning_rate")
        require(self, 0.0, 1.0, "mixing", "baseline")

    def init(self, spec: Spec, rng: np.random.Generator) -> Regrets:  # noqa: ARG002  # nothing is drawn
        sizes, *shape = shape_of(spec)
        tables = {name: np.zeros(shape) for name in ("regrets", "squares", "tries")}
        return Regrets(**tables, rewards=np.zeros(shape[0]), decisions=np.zeros(shape[0]), sizes=sizes, rounds=0)

    def update(self, state: Regrets, batch: Batch, rng: np.random.Generator) -> tuple[Regrets, Metrics]:  # noqa: ARG002
        rows = ready(batch, state.sizes, *state.regrets.shape)
        check_share(batch)
        likely = (batch.probability > 0.0) & (batch.probability <= 1.0)
        if not likely.all():
            row = int(likely.argmin())
            raise refused("probability", batch.probability[row], f"Row {row} needs one above 0, up to 1.")
        tables = {name: writable(getattr(state, name)) for name in TABLES}
        allowed = np.ascontiguousarray(batch.allowed)
        probability = np.ascontiguousarray(batch.probability, np.float64)
        compiled(regret)(tuple(tables.values()), (*rows, probability, allowed), self.baseline)
        learned = Regrets(**tables, sizes=state.sizes, rounds=state.rounds + len(batch))
        return learned, reported(batch, state.rounds)

    def policy(self, state: Regrets, *, explore: bool = False) -> Policy:
        beliefs = self.beliefs(state)
        if explore:
            return ByValue(self._scores(state), self._weighed)
        return ByValue(lambda observation: beliefs(observation).value, greedy)

    def beliefs(self, state: Regrets) -> Beliefs:
        """The mean reward in this state and what the action would have earned more."""
        row_of = row_finder(state.sizes, len(state.regrets))

        def believed(observation: Array) -> Belief:
            row = row_of(observation)
            decisions = np.maximum(state.decisions.take(row), UNTRIED)[:, None]
            value = (state.rewards.take(row)[:, None] + state.regrets.take(row, 0)) / decisions
            error = np.sqrt(np.maximum(state.squares.take(row, 0), UNTRIED)) / decisions
            return Belief(value, error, state.tries.take(row, 0), state.rounds)

        return believed

    def _scores(self, state: Regrets) -> Callable[[Array], Floats]:
        """η·regret: `[T, F]` to `[T, A]`."""
        row_of, actions = row_finder(state.sizes, len(state.regrets)), state.regrets.shape[1]

        def scored(observation: Array) -> Floats:
            row = row_of(observation)
            turn = state.decisions.take(row)[:, None] + 1.0
            rate = self.learning_rate or np.sqrt(math.log(actions) / (actions * turn))
            scores: Floats = rate * state.regrets.take(row, 0)
            return scores

        return scored

    def _weighed(self, scores: Floats, allowed: Booleans) -> Floats:
        random = uniformly(allowed, self.mixing)
        within = np.where(allowed, scores, -np.inf)
        weights = np.exp(within - within.max(axis=-1, keepdims=True))
        probabilities: Floats = (1.0 - self.mixing) * weights / weights.sum(axis=-1, keepdims=True) + random
        return probabilities


TABLES = ("regrets", "squares", "tries", "rewards", "decisions")


def regret(tables: tuple[Floats, ...], rows: tuple[Array, ...], baseline: float) -> None:
    """One pass over T decisions, in place: of an allowed action, the estimated reward less the one that was earned."""
    regrets, squares, tries, rewards, decisions = tables
    row, action, reward, probability, allowed = rows
    for t in range(len(row)):
        s, a = row[t], action[t]
        for b in range(regrets.shape[1]):
            if allowed[t, b]:
                more = baseline - reward[t]
                if b == a:
                    more += (reward[t] - baseline) / probability[t]
                regrets[s, b] += more
                squares[s, b] += more * more
        tries[s, a] += 1.0
        rewards[s] += reward[t]
        decisions[s] += 1.0
