"""Value iteration on the counted model of what was seen (Bellman 1957; Sutton & Barto 2018, section 4.4).

Counts add up over batches; after each the model is solved by sweeps in place, from the values planned last. What was
tried too little counts as the worst there can be, or as something good that is worth exploring (`known_after`).
`pessimism` inside the backup is value iteration with lower confidence bounds (Jin et al. 2021, "Is pessimism provably
efficient for offline RL?"; Rashidinejad et al. 2021).

Metrics: `td_error` mean distance of what the rows showed from what is planned; `largest_value` the largest |Q|;
`reward` mean reward of a decision; `states`, `cells` and `outcomes` in the model; `rounds` sessions that truly ended;
`sweeps` of this update.
Memory: see `learners._model`; the cost of an update grows with what was seen to follow, each outcome once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.compiled import compiled
from bondhu.equations.planning import sweep_best
from bondhu.learners._model import Caution, Model, beliefs_of, blank, plan_of, seen, values_of, written
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.types import Batch, Beliefs, Exploration, Metrics, Policy, Spec


@dataclass(frozen=True)
class ValueIteration:
    """V(s) ← max_a [mean reward - pessimism / √tries + γ·Σ share(s')·V(s')] over what was tried, until it stays."""

    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]; 1 wants sessions that end
    known_after: int = 0  # tries that make an action known; 0: one try does, and the untried count as the worst return
    initial_value: float = 0.0  # worth of what is not known, where known_after > 0 (R-max, Brafman & Tennenholtz 2002)
    support: float = 0.0  # share of a state's tries below which an action is not known (Fujimoto et al. 2019)
    pessimism: float = 0.0  # taken off the value of each step as pessimism / √tries; below 0 it is optimism
    sharing: float = 0.0  # tries that the mean of all actions of the state counts as, in the estimate of each
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.995, minimum=0.05)  # a round is a session that truly ended
    tolerance: float = 1e-9  # largest change of a value at which sweeping stops
    sweeps: int = 1_000  # at most, for one update
    largest_table: int = 10_000_000  # states times actions above which the model is refused

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Model]] = Model
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy", "corridor", "cut", "trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "discount", "support")
        require(self, 0.0, math.inf, "tolerance", "known_after", "sharing")
        require(self, -math.inf, math.inf, "initial_value", "pessimism")
        require(self, 1, math.inf, "sweeps", "largest_table")

    def init(self, spec: Spec, rng: np.random.Generator) -> Model:  # noqa: ARG002  # the model starts the same for all
        return blank(spec, self.initial_value, self.largest_table)

    def update(self, state: Model, batch: Batch, rng: np.random.Generator) -> tuple[Model, Metrics]:  # noqa: ARG002
        if len(batch) == 0:
            return state, {}
        state = seen(state, batch)
        plan = plan_of(state, self.discount, self._caution)
        sweep, step, count, changed = compiled(sweep_best), (self.discount, plan.floor, self.sharing), 0, math.inf
        while count < self.sweeps and changed > self.tolerance:
            changed = sweep(plan.best, plan.values, plan.outcomes, step, count % 2 == 0)
            count += 1
        learned, metrics = written(state, batch, plan, self.discount)
        return learned, {**metrics, "sweeps": float(count)}

    def policy(self, state: Model, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(self.beliefs(state), self.exploration)
        return ByValue(values_of(state, self._caution), greedy)

    def beliefs(self, state: Model) -> Beliefs:
        return beliefs_of(state, self._caution)

    @property
    def _caution(self) -> Caution:
        return Caution(self.known_after, self.initial_value, self.support, self.pessimism, self.sharing)
