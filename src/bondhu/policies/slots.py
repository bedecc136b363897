"""Acting in several slots at once, each with actions of its own, such as the parts of a page.

What a policy over single actions says of A actions, this says of ΣA_k: the actions of the slots stand side by side,
those of the first slot first. So do the columns of `allowed`, `[T, ΣA_k]`; each slot needs one that is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Array, Booleans, Choice, Floats, Integers, Policy, Uniforms


@dataclass(frozen=True)
class Given:
    """Uniform numbers that were drawn before."""

    numbers: Floats  # [T]

    def random(self, size: int, /) -> Floats:  # noqa: ARG002  # as many as there are
        return self.numbers


@dataclass(frozen=True)
class Slots:
    """A policy for each slot, none of which looks at what the others draw: probabilities multiply."""

    policies: tuple[Policy, ...]  # K of them
    sizes: tuple[int, ...]  # actions of each slot

    def __post_init__(self) -> None:
        if len(self.policies) != len(self.sizes):
            what = f"{len(self.policies)} policies were given for {len(self.sizes)} slots."
            raise InvalidInput(what, field="policies", value=self.policies, fix="Give one for each slot.")

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        """Probability of every action of every slot, side by side: `[T, ΣA_k]`; the part of each slot sums to 1."""
        masks = self._masks(allowed)
        parts = [policy.distribution(observation, mask) for policy, mask in zip(self.policies, masks, strict=True)]
        return np.concatenate(parts, axis=1)

    def marginals(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        """Probability of the action in each slot: `[T, K]` to `[T, K]`."""
        columns = zip(self.policies, self._masks(allowed), action.T, strict=True)
        return np.stack([policy.probability(observation, mask, each) for policy, mask, each in columns], axis=1)

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        """Probability of all of a row's actions together: `[T, K]` to `[T]`."""
        joint: Floats = self.marginals(observation, allowed, action).prod(axis=1)
        return joint

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        """Actions `[T, K]`, their joint probability `[T]`, and as memo that of each slot `[T, K]`, from which other
        policies are judged (`equations.slates`). Uses one uniform number a slot, those of a row in succession."""
        uniform = rng.random(len(observation) * len(self.sizes)).reshape(len(observation), len(self.sizes))
        columns = zip(self.policies, self._masks(allowed), uniform.T, strict=True)
        drawn = [policy.sample(observation, mask, Given(numbers)) for policy, mask, numbers in columns]
        marginal = np.stack([each.probability for each in drawn], axis=1)
        return Choice(np.stack([each.action for each in drawn], axis=1), marginal.prod(axis=1), marginal)

    def _masks(self, allowed: Booleans) -> list[Booleans]:
        """The columns of `allowed` that belong to each slot."""
        if allowed.shape[1:] != (sum(self.sizes),):
            what = f"`allowed` has the shape {allowed.shape}."
            fix = f"It has {sum(self.sizes)} columns: the actions of each slot, {list(self.sizes)}, side by side."
            raise InvalidInput(what, field="allowed", value=allowed.shape, fix=fix)
        return [allowed[:, part] for part in side_by_side(self.sizes)]


def side_by_side(sizes: Sequence[int]) -> list[slice]:
    """Where the actions of each slot stand among all: `[K]`."""
    return [slice(*ends) for ends in pairwise(accumulate(sizes, initial=0))]
