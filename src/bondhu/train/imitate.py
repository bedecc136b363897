"""Apprenticeship: before it may decide, a version learns to choose what the application itself would choose.

Any learner of values can be an apprentice: what the application took earned 1, what it might have taken instead 0. The
higher an action's value is then, the likelier the application takes it, and the best is its likeliest choice. Where it
chooses at random, no policy can agree with it more often than its likeliest choices come.

    shown = imitation(batch, rng)
    state, _ = learner.update(learner.init(spec, rng), shown, rng)
    agreement(learner.policy(state), held_out)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import student
from bondhu.errors import InvalidInput
from bondhu.registry.lifecycle import APPLICATION
from bondhu.types import Batch, Booleans, Integers, Policy, Records


class Agreement(NamedTuple):
    """How often a policy would do what the application did."""

    share: float  # mean probability that the policy gives to what was done
    low: float
    high: float


def of_application(records: Records) -> Booleans:
    """Which decisions were the application's own choice, followed by the apprentice, and not explored: `[T]`."""
    return records.version.among(APPLICATION)


def imitation(batch: Batch, rng: np.random.Generator, contrasts: int = 1) -> Batch:
    """Decisions that tell a learner what the application did: each as it was taken, with reward 1, and with reward 0
    `contrasts` times another allowed action drawn at random; in random order, and nothing follows any of them.

    A row that allowed nothing else is shown as it was taken. Probabilities are 1 / |allowed|, as if nobody had chosen.
    An action's value, `mu / (mu + contrasts (1 - mu) / (|allowed| - 1))`, rises with the chance mu that it is taken.
    """
    if contrasts < 1:
        raise InvalidInput(
            f"There are {contrasts} contrasts.", field="contrasts", value=contrasts, fix="Take one at least."
        )
    if batch.action.ndim != 1 or not np.issubdtype(batch.action.dtype, np.integer):
        fix = "Train an apprentice of a domain whose decisions are one action each."
        raise InvalidInput("Only single actions can be imitated.", field="action", value=batch.action.shape, fix=fix)
    shown, count = np.arange(len(batch)), batch.allowed.sum(axis=1)
    others = np.repeat(np.flatnonzero(count > 1), contrasts)
    row = np.concatenate([shown, others])
    action = np.concatenate([batch.action, _another(batch.allowed[others], batch.action[others], rng)])
    order = rng.permutation(len(row))
    row, action, reward = row[order], action[order], (order < len(batch)).astype(np.float64)
    return Batch.single(batch.observation[row], batch.allowed[row], action, 1.0 / count[row], reward)


def _another(allowed: Booleans, taken: Integers, rng: np.random.Generator) -> Integers:
    """An allowed action of each row, any but the taken one with equal chance: `[T]`."""
    left = allowed.copy()
    left[np.arange(len(taken)), taken] = False
    place = np.floor(rng.random(len(taken)) * left.sum(axis=1)).astype(np.int64)
    return np.asarray((left.cumsum(axis=1) > place[:, None]).argmax(axis=1))


def agreement(policy: Policy, batch: Batch, confidence: float = 0.95) -> Agreement:
    """The mean chance that the policy does what was logged, with an interval over sessions; on rows that it has not
    learned from."""
    if len(batch) == 0:
        raise InvalidInput(
            "There is no decision to agree with.", field="batch", fix="Wait for decisions, or hold out more."
        )
    chance = policy.probability(batch.observation, batch.allowed, batch.action)
    low, high = student(chance, confidence, batch.session)
    return Agreement(float(chance.mean()), max(low, 0.0), min(high, 1.0))
