"""Acting by the values of a finite set of actions: what every value-based learner returns as its policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bondhu.policies.drawing import drawn, pick
from bondhu.types import Array, Beliefs, Booleans, Exploration, Floats, Integers

Rule = Callable[[Floats, Booleans], Floats]  # values [T, A], allowed [T, A] -> probabilities [T, A]


@dataclass(frozen=True)
class ByValue:
    """Probabilities by a rule on the values of what is observed."""

    values: Callable[[Array], Floats]  # observation [T, F] -> values [T, A]
    rule: Rule

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        return self.rule(self.values(observation), allowed)

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    sample = drawn


@dataclass(frozen=True)
class Exploring:
    """Probabilities by a rule on all that is known of the values: how sure, and from how many tries."""

    beliefs: Beliefs
    rule: Exploration

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        return self.rule(self.beliefs(observation), allowed)

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    sample = drawn
