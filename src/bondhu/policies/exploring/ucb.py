"""The best upper confidence bound from numbers of tries (UCB1: Auer, Cesa-Bianchi & Fischer 2002)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bondhu.catalogue import require
from bondhu.policies.greedy import greedy
from bondhu.types import Belief, Booleans, Floats

FADED = 1e-12  # evidence that fades is not divided by when less is left


@dataclass(frozen=True)
class Ucb:
    """The allowed action with the largest value + confidence·√(ln N / tries), where N counts the tries of all actions
    in this context; actions never tried come first, equals share evenly. UCB1 is confidence √2, for rewards in [0, 1].
    """

    confidence: float = 2.0  # width of the bound, in units of the reward

    def __post_init__(self) -> None:
        require(self, 0.0, math.inf, "confidence")

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        tries = belief.tries
        total = np.maximum(tries.sum(axis=-1, keepdims=True), 1.0)
        width = np.sqrt(np.log(total) / np.maximum(tries, FADED))
        return greedy(np.where(tries > 0.0, belief.value + self.confidence * width, np.inf), allowed)
