"""The direct method: learn what every action is worth, and ask what the policy's actions would have earned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bondhu.equations import regression
from bondhu.equations.intervals import student
from bondhu.equations.weights import effective_samples
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, estimate, refusal, support
from bondhu.types import Batch, Estimate, Floats, Policy

FIT = 0.99  # confidence beyond which the model's errors are not chance
SLIGHT = 1e-3  # of the largest reward: errors that matter to nobody, such as those of the ridge itself


@dataclass(frozen=True)
class DirectMethod:
    """`V = mean_t [ sum_a pi(a | x_t) q(x_t, a) + omega_t (r_t - q(x_t, a_t)) ]`: as narrow as its model is good.

    q is a ridge regression. `omega` are the weights that a barely penalised one gives each reward in V: they undo the
    shrinkage of q, which no interval would show, and carry its noise into the interval (Bruns-Smith et al. 2025). No
    logged probability enters the value; what the features cannot express stays as bias. Probabilities check for it: a
    model that misses the rewards of the policy's own actions, beyond chance, is refused. A given `model` is taken as
    known, without the second term.
    """

    name: ClassVar[str] = "dm"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    model: Callable[[Batch], Floats] | None = None  # predicted rewards [T, A], taken as known; None: ridge regression

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        weights, effective, refused = support(policy, batch, self.minimum_effective_samples)
        if refused:
            return refusal(refused, effective)
        target = policy.distribution(batch.observation, batch.allowed)
        if self.model is not None:
            return estimate(np.einsum("ta,ta->t", target, self.model(batch)), batch, self.confidence, effective)
        terms, implied, error = _regressed(target, batch)
        low, high = student((weights - implied) * error, FIT, batch.session)
        slight = SLIGHT * float(np.abs(batch.reward).max())
        if low > slight or high < -slight:
            return refusal(
                "The reward model does not fit this policy: where the log did as the policy would, rewards are "
                f"{low:+.3g} to {high:+.3g} off the model's. Use dr, which corrects for that.",
                np.nan,
            )
        return estimate(terms, batch, self.confidence, effective_samples(implied))


def _regressed(target: Floats, batch: Batch) -> tuple[Floats, Floats, Floats]:
    """Terms `[T]` of the estimate, the weights `omega [T]` that it gives the rewards, and the model's errors `[T]`."""
    actions = target.shape[1]
    design = regression.design(batch.observation, actions)
    parts = regression.by_fold(design, batch.action, batch.reward, regression.folds(batch.session), actions)
    penalty = regression.choose_penalty(regression.total(parts, 0), parts[0])
    whole = regression.total(parts)
    model = regression.solve(whole, penalty)
    needed = regression.Moments(whole.gram, regression.moved_by(design, target))
    implied = regression.predict_taken(design, regression.solve(needed, min(regression.PENALTIES)), batch.action)
    error = batch.reward - regression.predict_taken(design, model, batch.action)
    return np.einsum("ta,ta->t", target, regression.predict(design, model)) + implied * error, implied, error
