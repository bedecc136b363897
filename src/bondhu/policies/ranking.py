"""Ordered slates without replacement from any policy over single actions, one slot after another.

A softmax over values makes this the model of Plackett (1975) and Luce (1959). Where each slot has a reward of its own,
slots can be learned from as if they were decisions (`slots_as_rows`), by any learner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space

from bondhu.errors import InvalidInput
from bondhu.policies.slots import Given
from bondhu.types import Array, Batch, Booleans, Choice, Floats, Integers, Policy, Uniforms


@dataclass(frozen=True)
class Ranking:
    """Fills the slots in turn; what stands in one is not allowed in those after it.

    A slate is K of A actions in order, `[T, K]`; `allowed` is `[T, A]`, with at least K actions in each row.
    """

    policy: Policy  # over single actions
    slots: int  # K
    position: bool = False  # whether the policy sees the slot's number, from 0, as one more column of the observation

    def __post_init__(self) -> None:
        if self.slots < 1:
            what = f"A slate of {self.slots} slots was asked for."
            raise InvalidInput(what, field="slots", value=self.slots, fix="Give it at least one.")

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        """Slates `[T, K]`, their probability `[T]`, and as memo the probability of each slot given those before it,
        `[T, K]`. Uses one uniform number a slot, those of a row in succession."""
        left, rows = self._enough(allowed), np.arange(len(allowed))
        uniform = rng.random(len(allowed) * self.slots).reshape(-1, self.slots)
        slate = np.empty(uniform.shape, np.int64)
        conditional = np.empty(uniform.shape)
        for slot, numbers in enumerate(uniform.T):
            drawn = self.policy.sample(self._seen(observation, slot), left, Given(numbers))
            slate[:, slot], conditional[:, slot] = drawn.action, drawn.probability
            left[rows, drawn.action] = False
        return Choice(slate, conditional.prod(axis=1), conditional)

    def probability(self, observation: Array, allowed: Booleans, slate: Integers) -> Floats:
        """Probability of exactly this slate in this order: `[T, K]` to `[T]`."""
        joint: Floats = self.conditionals(observation, allowed, slate).prod(axis=1)
        return joint

    def conditionals(self, observation: Array, allowed: Booleans, slate: Integers) -> Floats:
        """Probability of each slot's action given those before it: `[T, K]` to `[T, K]`; 0 for one that comes again."""
        steps = enumerate(self._remaining(allowed, slate))
        columns = [self.policy.probability(self._seen(observation, k), left, slate[:, k]) for k, left in steps]
        return np.stack(columns, axis=1)

    def slots_as_rows(
        self, observation: Array, allowed: Booleans, slate: Integers, conditional: Floats, reward: Floats
    ) -> Batch:
        """One decision for each slot, those of a slate in succession: slates, conditional probabilities and rewards of
        the slots, `[T, K]` each, become a batch of T·K rows (a semi-bandit: Kale, Reyzin & Schapire 2010)."""
        left = np.stack([each.copy() for each in self._remaining(allowed, slate)], axis=1)
        seen = np.stack([self._seen(observation, slot) for slot in range(self.slots)], axis=1)
        return Batch.single(
            seen.reshape(-1, *seen.shape[2:]),
            left.reshape(-1, allowed.shape[1]),
            slate.reshape(-1),
            conditional.reshape(-1),
            np.asarray(reward, np.float64).reshape(-1),
        )

    def _seen(self, observation: Array, slot: int) -> Array:
        if not self.position:
            return observation
        column = np.full((*observation.shape[:-1], 1), slot, observation.dtype)
        return np.concatenate([observation, column], axis=-1)

    def _remaining(self, allowed: Booleans, slate: Integers) -> Iterator[Booleans]:
        """What is allowed in each slot, in turn; the same array, changed."""
        left, rows = self._enough(allowed), np.arange(len(allowed))
        if slate.shape != (len(allowed), self.slots):
            what = f"The slates have the shape {slate.shape}."
            fix = f"They need {self.slots} actions in each of {len(allowed)} rows."
            raise InvalidInput(what, field="slate", value=slate.shape, fix=fix)
        for slot in range(self.slots):
            yield left
            left[rows, slate[:, slot]] = False

    def _enough(self, allowed: Booleans) -> Booleans:
        """A copy of `allowed`, in which each row has an action for every slot."""
        counts = np.count_nonzero(allowed, axis=1)
        short = counts < self.slots
        if short.any():
            row = int(short.argmax())
            what = f"Row {row} allows {counts[row]} actions for {self.slots} slots."
            raise InvalidInput(what, field="allowed", value=int(counts[row]), fix="Allow more, or fill fewer slots.")
        return np.array(allowed)


def with_position(space: Space[Any], slots: int) -> Space[Any]:
    """What a policy that sees the slot's number observes: one more column, of codes or of features."""
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return MultiDiscrete([*space.nvec.tolist(), slots])
    if isinstance(space, Box) and space.shape:
        column = np.ones((*space.shape[:-1], 1), space.low.dtype)
        low, high = np.append(space.low, 0 * column, axis=-1), np.append(space.high, (slots - 1) * column, axis=-1)
        return Box(low, high, dtype=low.dtype.type)
    what = f"{space} has no columns to which the position could be added."
    raise InvalidInput(what, field="observation", value=space, fix="Use a flat MultiDiscrete, or a Box.")
