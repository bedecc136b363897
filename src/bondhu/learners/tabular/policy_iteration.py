"""Policy iteration on the counted model of what was seen (Howard 1960; Sutton & Barto 2018, section 4.3).

Counts add up over batches; after each the model is solved by evaluating a policy, taking the better action wherever
there is one, and so on until no action changes. With few `evaluations` between two improvements it is modified policy
iteration (Puterman & Shin 1978). It ends at the values of `tabular.value_iteration`; a sweep looks at one action of a
state instead of all, which pays where there are many.

Metrics: `td_error` mean distance of what the rows showed from what is planned; `largest_value` the largest |Q|;
`reward` mean reward of a decision; `states`, `cells` and `outcomes` in the model; `rounds` sessions that truly ended;
`improvements` and `sweeps` of this update. Memory: see `learners._model`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import MultiDiscrete, Space

from bondhu.catalogue import require
from bondhu.compiled import compiled
from bondhu.equations.planning import best_cells, cell_values, sweep_policy
from bondhu.learners._model import Caution, Model, Plan, beliefs_of, blank, plan_of, seen, values_of, written
from bondhu.policies.by_value import ByValue, Exploring
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.types import Batch, Beliefs, Exploration, Integers, Metrics, Policy, Spec


@dataclass(frozen=True)
class PolicyIteration:
    """π ← argmax_a [mean reward - pessimism / √tries + γ·Σ share(s')·V_π(s')] over what was tried, until it stays."""

    discount: float = 0.95  # γ, worth of the next decision's value, in [0, 1]; 1 wants sessions that end
    known_after: int = 0  # tries that make an action known; 0: one try does, and the untried count as the worst return
    initial_value: float = 0.0  # worth of what is not known, where known_after > 0 (R-max, Brafman & Tennenholtz 2002)
    support: float = 0.0  # share of a state's tries below which an action is not known (Fujimoto et al. 2019)
    pessimism: float = 0.0  # taken off the value of each step as pessimism / √tries; below 0 it is optimism
    exploration: Exploration = EpsilonGreedy(0.3, decay=0.995, minimum=0.05)  # a round is a session that truly ended
    tolerance: float = 1e-9  # largest change of a value at which an evaluation stops; better means better by more
    evaluations: int = 1_000  # sweeps of one evaluation, at most
    improvements: int = 100  # policies tried in one update, at most
    largest_table: int = 10_000_000  # states times actions above which the model is refused

    observes: ClassVar[type[Space[Any]]] = MultiDiscrete
    State: ClassVar[type[Model]] = Model
    probes: ClassVar[tuple[str, ...]] = ("two_arms", "noisy", "corridor", "cut", "trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "discount", "support")
        require(self, 0.0, math.inf, "tolerance", "known_after")
        require(self, -math.inf, math.inf, "initial_value", "pessimism")
        require(self, 1, math.inf, "evaluations", "improvements", "largest_table")

    def init(self, spec: Spec, rng: np.random.Generator) -> Model:  # noqa: ARG002  # the model starts the same for all
        return blank(spec, self.initial_value, self.largest_table)

    def update(self, state: Model, batch: Batch, rng: np.random.Generator) -> tuple[Model, Metrics]:  # noqa: ARG002
        if len(batch) == 0:
            return state, {}
        state = seen(state, batch)
        plan = plan_of(state, self.discount, self._caution)
        self._look_ahead(plan)
        chosen, better = best_cells(plan.outcomes, plan.values), True
        sweeps = improvements = 0
        while better and improvements < self.improvements:
            sweeps += self._evaluate(plan, chosen)
            self._look_ahead(plan)
            following = self._improved(plan, chosen)
            better = bool((following != chosen).any())
            chosen, improvements = following, improvements + 1
        learned, metrics = written(state, batch, plan, self.discount)
        return learned, {**metrics, "improvements": float(improvements), "sweeps": float(sweeps)}

    def policy(self, state: Model, *, explore: bool = False) -> Policy:
        if explore:
            return Exploring(self.beliefs(state), self.exploration)
        return ByValue(values_of(state, self._caution), greedy)

    def beliefs(self, state: Model) -> Beliefs:
        return beliefs_of(state, self._caution)

    def _evaluate(self, plan: Plan, chosen: Integers) -> int:
        """Bring `plan.best` to the values of the cells chosen; the number of sweeps that took."""
        sweep, count, changed = compiled(sweep_policy), 0, math.inf
        while count < self.evaluations and changed > self.tolerance:
            changed = sweep(plan.best, plan.outcomes, chosen, (self.discount, plan.floor), count % 2 == 0)
            count += 1
        return count

    def _look_ahead(self, plan: Plan) -> None:
        """Bring `plan.values` to what each cell is worth where `plan.best` follows."""
        plan.values[:] = cell_values(plan.outcomes, plan.best, self.discount, plan.floor)

    def _improved(self, plan: Plan, chosen: Integers) -> Integers:
        """The best cell of each state with cells, `[R]`, -1 for one not known; a choice stays where none is better."""
        best = best_cells(plan.outcomes, plan.values)
        new, old = (np.where(each >= 0, plan.values[each], plan.outcomes.rest) for each in (best, chosen))
        return np.where(new > old + self.tolerance, best, chosen)

    @property
    def _caution(self) -> Caution:
        return Caution(self.known_after, self.initial_value, self.support, self.pessimism)
