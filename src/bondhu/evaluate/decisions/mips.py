"""Marginalised inverse propensity scoring: actions that are alike count as one, so weights stay small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bondhu.equations.regression import FOLDS, folds
from bondhu.equations.weights import importance
from bondhu.errors import InvalidInput
from bondhu.evaluate.support import MINIMUM_EFFECTIVE_SAMPLES, Support, broken, estimate, refusal, support, weighed
from bondhu.types import Batch, Booleans, Estimate, Floats, Integers, Policy


@dataclass(frozen=True, eq=False)
class MarginalisedInversePropensity:
    """`V = mean(w_t r_t)`, `w_t = pi(e_t | x_t) / mu(e_t | x_t)`: e is the kind of the action, all its codes together.

    Unbiased where the kind is all of an action that the reward depends on. Saito & Joachims (2022). mu(e | x) is a sum
    over the `logger`'s distribution. Without one it is `mu(a_t | x_t) / p(a_t | e_t)`, with p the share of the action
    among the allowed ones of its kind, counted in the other folds' sessions: any such p leaves the estimate unbiased,
    as long as the log tries every one of them there, and the nearer it is to `mu(a | x, e)`, the narrower.
    """

    name: ClassVar[str] = "mips"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False

    confidence: float = 0.95  # of the interval
    minimum_effective_samples: float = MINIMUM_EFFECTIVE_SAMPLES  # rows; refuses below
    embeddings: Integers | None = None  # [A, E] codes of the actions; None: each is a kind of its own, as in ips
    logger: Policy | None = None  # the policy that acted, where it can still be asked

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        found = self._support(policy, batch)
        if found.refused:
            return refusal(found.refused, found.effective_samples)
        return estimate(found.weights * batch.reward, batch, self.confidence, found.effective_samples)

    def _support(self, policy: Policy, batch: Batch) -> Support:
        if self.embeddings is None or broken(batch):
            return support(policy, batch, self.minimum_effective_samples)
        kind = _kinds(np.asarray(self.embeddings), batch.allowed.shape[1])
        alike = kind == kind[batch.action][:, None]  # [T, A]
        target = _chance(policy, batch, alike)
        if self.logger is None:
            weights = importance(target * _share(batch, alike & batch.allowed), batch.probability)
        else:
            weights = importance(target, _chance(self.logger, batch, alike))
        return weighed(weights, batch, self.minimum_effective_samples)


def _kinds(embeddings: Integers, actions: int) -> Integers:
    """A number for each different row of codes: `[A]`."""
    if embeddings.shape[:1] != (actions,):
        raise InvalidInput(
            f"Embeddings of {len(embeddings)} actions were given for {actions}.",
            field="embeddings",
            value=embeddings.shape,
            fix="Give one row of codes for each action.",
        )
    rows = embeddings.reshape(actions, -1)
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1].reshape(actions))


def _chance(policy: Policy, batch: Batch, alike: Booleans) -> Floats:
    """The chance of the logged action's kind: `[T]`."""
    return np.asarray(np.einsum("ta,ta->t", policy.distribution(batch.observation, batch.allowed), alike))


def _share(batch: Batch, alike: Booleans) -> Floats:
    """Of each row's logged action among the allowed ones of its kind, by how often the other folds took them: `[T]`.

    Where they took none of them, each counts alike.
    """
    fold, actions = folds(batch.session), alike.shape[1]
    counts = np.bincount(fold * actions + batch.action, minlength=FOLDS * actions).reshape(FOLDS, actions)
    others = (counts.sum(0) - counts).astype(np.float64)
    taken, of_kind = others[fold, batch.action], np.einsum("ta,ta->t", others[fold], alike)
    return np.asarray(np.where(of_kind > 0, taken / np.maximum(of_kind, 1.0), 1 / alike.sum(1)))
