"""Judging slates: one action in each of several slots, with a reward for the whole slate or one for each slot.

`Batch.action` is `[T, K]`, `Batch.probability` that of the whole slate, `Batch.memo [T, K]` that of each slot (given
those before it, where slots are filled in turn), as `policies.slots` and `policies.ranking` say when they draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bondhu.equations.slates import pseudo_inverse_weights, repeats
from bondhu.equations.weights import effective_samples
from bondhu.errors import nearest
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, Support, estimate, refusal
from bondhu.evaluate.unlisted import supported
from bondhu.types import Array, Batch, Booleans, Estimate, Floats, Policy


@dataclass(frozen=True)
class SlateInversePropensity:
    """`V = mean(w_t r_t)`, `w_t` the ratio of the probabilities of the whole slate. Whatever slots do to each other, it
    is unbiased; its weights grow with the number of slates."""

    name: ClassVar[str] = "slate_ips"
    scope: ClassVar[str] = "slate"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # slates; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        misfit = _misfit(batch)
        if misfit:
            return refusal(misfit, np.nan)
        chance = policy.probability(batch.observation, batch.allowed, batch.action)
        found = supported(chance, batch.probability, batch, self.minimum_effective_samples)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        return estimate(found.weights * batch.reward, batch, self.confidence, found.effective_samples)


@dataclass(frozen=True)
class PseudoInverse:
    """`V = mean(w_t r_t)`, `w_t = 1 + sum_k (pi_k / mu_k - 1)`: unbiased where slots add up to the reward and are drawn
    independently. Swaminathan et al. (2017). With one slot it is IPS. Refuses logs in which no action ever repeats."""

    name: ClassVar[str] = "slate_pseudo_inverse"
    scope: ClassVar[str] = "slate"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # slates; refuses below

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        misfit = _misfit(batch) or _unknown_slots(batch) or _in_turn(batch)
        if misfit:
            return refusal(misfit, np.nan)
        if not hasattr(policy, "marginals"):
            return refusal(DEPENDENT, np.nan)
        target = policy.marginals(batch.observation, batch.allowed, batch.action)
        weakest = _weakest(target, batch.memo, batch, self.minimum_effective_samples)
        if weakest.refused:
            return refusal(weakest.refused, weakest.effective_samples)
        weights = pseudo_inverse_weights(target, batch.memo)
        effective = effective_samples(weights)
        if effective < self.minimum_effective_samples:
            few = f"The {len(batch):,} slates are worth {effective:.1f} effective samples for this policy, fewer than "
            return refusal(f"{few}{self.minimum_effective_samples:g}. Collect more.", effective)
        return estimate(weights * batch.reward, batch, self.confidence, effective)


@dataclass(frozen=True)
class Independent:
    """`V = mean(sum_k w_tk r_tk)`, `w_tk = pi_k / mu_k`: a reward in each slot that depends on that slot alone, slots
    drawn independently. Li et al. (2018), the item-position model."""

    name: ClassVar[str] = "slate_independent"
    scope: ClassVar[str] = "slate"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # slates; refuses below
    slots: tuple[str, ...] = ()  # the objectives that hold the reward of each slot; they add up to the slate's

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        if not hasattr(policy, "marginals"):
            return refusal(DEPENDENT, np.nan)
        in_turn = _misfit(batch) or _in_turn(batch)
        if in_turn:
            return refusal(in_turn, np.nan)
        return _by_slot(self, policy.marginals, batch, lambda chance: chance)


@dataclass(frozen=True)
class Cascade:
    """`V = mean(sum_k w_tk r_tk)`, `w_tk = prod_{j <= k} pi_j / mu_j`: a reward in each slot that depends on it and on
    those before, as where people read from the top. Slots may be filled in turn. McInerney et al. (2020), RIPS."""

    name: ClassVar[str] = "slate_cascade"
    scope: ClassVar[str] = "slate"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # slates; refuses below
    slots: tuple[str, ...] = ()  # the objectives that hold the reward of each slot; they add up to the slate's

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        conditional = getattr(policy, "conditionals", None) or getattr(policy, "marginals", None)
        if conditional is None:
            return refusal(f"{type(policy).__name__} does not say how likely each slot is.", np.nan)
        return _by_slot(self, conditional, batch, lambda chance: np.cumprod(chance, axis=1))


DEPENDENT = (
    "The policy does not fill its slots independently, so that the probability of each is not known. Use slate_ips, or "
    "slate_cascade where each slot has a reward."
)
BY_CHANCE = 10.0  # repeated actions expected, without a single one of which slots were not drawn independently: e^-10
Probabilities = Callable[[Array, Booleans, Array], Floats]  # of each slot: [T, K]
Reach = Callable[[Floats], Floats]  # from the probabilities of slots to those of all that a slot's reward depends on


def _weakest(chance: Floats, logged: Floats, batch: Batch, minimum: float) -> Support:
    """The support of the slot that has the least, `[T, K]` each, or the first refusal."""
    found = [supported(ours, theirs, batch, minimum) for ours, theirs in zip(chance.T, logged.T, strict=True)]
    for slot, each in enumerate(found):
        if each.refused:
            return each._replace(refused=f"Slot {slot}: {each.refused}")
    return min(found, key=lambda each: each.effective_samples)


def _by_slot(judge: Independent | Cascade, probabilities: Probabilities, batch: Batch, reach: Reach) -> Estimate:
    """The sum over slots of their rewards, weighted by how likely is all that a slot's reward depends on."""
    misfit = _misfit(batch) or _unknown_slots(batch) or _unknown_rewards(judge.slots, batch)
    if misfit:
        return refusal(misfit, np.nan)
    chance, logged = reach(probabilities(batch.observation, batch.allowed, batch.action)), reach(batch.memo)
    weakest = _weakest(chance, logged, batch, judge.minimum_effective_samples)
    if weakest.refused:
        return refusal(weakest.refused, weakest.effective_samples)
    rewards = np.stack([batch.objectives[name] for name in judge.slots], axis=1)
    return estimate((chance / logged * rewards).sum(1), batch, judge.confidence, weakest.effective_samples)


def _misfit(batch: Batch) -> str | None:
    """Why these are no slates."""
    if batch.action.ndim == 2:
        return None
    return "The log holds single actions, not slates: one action in each of several slots. Use ips or dr."


def _in_turn(batch: Batch) -> str | None:
    """Why slots were not drawn independently: none ever holds an action that another one holds."""
    found, expected = repeats(batch.action) if len(batch) else (0, 0.0)
    if found or expected < BY_CHANCE:
        return None
    return (
        f"The log did not fill its slots independently: no slate holds an action twice, where about {expected:,.0f} "
        "pairs of slots would by chance. Use slate_ips, or slate_cascade where each slot has a reward."
    )


def _unknown_slots(batch: Batch) -> str | None:
    """Why the log does not say how likely each slot was."""
    if batch.memo.shape != batch.action.shape:
        return (
            f"The log does not say how likely each slot was: a memo of {batch.action.shape[1]} probabilities a row is "
            f"needed, {batch.memo.shape[1]} are there. Log with policies.slots or policies.ranking, or use slate_ips."
        )
    wrong = ~np.isclose(batch.memo.prod(axis=1), batch.probability, rtol=1e-6, atol=0.0)
    if wrong.any():
        row = int(wrong.argmax())
        return (
            f"Row {row}: the probabilities of the slots multiply to {batch.memo[row].prod():g}, that of the slate is "
            f"{batch.probability[row]:g}. Mend the log, or use slate_ips."
        )
    return None


def _unknown_rewards(slots: tuple[str, ...], batch: Batch) -> str | None:
    """Why the reward of each slot is not known."""
    if len(slots) != batch.action.shape[1]:
        return (
            f"The reward of each slot has to be known: {len(slots)} objectives were named for {batch.action.shape[1]} "
            "slots. Name them in `slots`, or use slate_pseudo_inverse."
        )
    missing = next((name for name in slots if name not in batch.objectives), None)
    if missing is not None:
        return f"No objective {missing!r} is in the log. {nearest(missing, batch.objectives)}"
    total = np.sum([batch.objectives[name] for name in slots], axis=0)
    wrong = ~np.isclose(total, batch.reward, rtol=1e-6, atol=1e-9)
    if wrong.any():
        row = int(wrong.argmax())
        return (
            f"Row {row}: the rewards of the slots add up to {total[row]:g}, that of the slate is {batch.reward[row]:g}."
        )
    return None
