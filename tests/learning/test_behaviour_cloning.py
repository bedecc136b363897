"""Behaviour cloning: the loss worked by hand, and what is learned from demonstrations, good and bad."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu.errors import InvalidInput
from bondhu.learners._networks import Head, Network
from bondhu.learners.imitation.behaviour_cloning import BehaviourCloning
from bondhu.types import Batch, Spec

CANDIDATES = Spec(Box(-1, 1, (3, 2), np.float32), Discrete(3))
RNG = np.random.default_rng


def shown(observation: np.ndarray, action: list[int], reward: list[float], allowed: np.ndarray | None = None) -> Batch:
    rows = len(action)
    masks = np.ones((rows, 3), bool) if allowed is None else allowed
    return Batch.single(observation.astype(np.float32), masks, np.array(action), np.ones(rows), np.array(reward))


def test_the_loss_is_the_mean_of_minus_log_likelihood_weighed_by_reward() -> None:
    learner = BehaviourCloning(hidden=(), learning_rate=0.0, passes=1)
    state = learner.init(CANDIDATES, RNG(0))
    head = Head(np.array([[[1.0]], [[2.0]]], np.float32), np.zeros((1, 1), np.float32))
    state = replace(state, parameters=Network({}, head))
    # preferences x1 + 2·x2: (0, 1, 2) in the first row, (0, 1) of two allowed ones in the second; the third is worth 0
    seen = np.array([[[0, 0], [1, 0], [0, 1]], [[0, 0], [1, 0], [9, 9]], [[0, 0], [0, 0], [0, 0]]])
    masks = np.array([[True, True, True], [True, True, False], [True, True, True]])
    _, metrics = learner.update(state, shown(seen, [2, 0, 1], [1.0, 0.5, -3.0], masks), RNG(0))
    first = np.log(1 + np.e + np.e**2) - 2.0
    second = np.log(1 + np.e)
    assert metrics["loss"] == pytest.approx((first + 0.5 * second) / 1.5, abs=1e-6)
    assert metrics["agreement"] == 0.5
    assert metrics["rows"] == 2


def test_candidates_are_scored_by_their_features_wherever_they_stand_and_however_many_they_are() -> None:
    rng = RNG(1)
    seen = rng.uniform(-1, 1, (400, 3, 2))
    best = (seen[:, :, 0] - seen[:, :, 1]).argmax(axis=1)  # whoever shows it follows this rule
    learner = BehaviourCloning(learning_rate=5e-3, passes=30)
    state, metrics = learner.update(learner.init(CANDIDATES, rng), shown(seen, best.tolist(), [1.0] * 400), rng)
    assert metrics["agreement"] > 0.97
    policy = learner.policy(state)
    many = rng.uniform(-1, 1, (200, 50, 2)).astype(np.float32)
    chosen = policy.sample(many, np.ones((200, 50), bool), rng).action
    margin = many[:, :, 0] - many[:, :, 1]
    assert np.mean(margin.max(axis=1) - margin[np.arange(200), chosen]) < 0.05


def test_rows_that_earned_nothing_are_not_imitated() -> None:
    rng = RNG(2)
    spec = Spec(Box(-1, 1, (1,), np.float32), Discrete(3))
    action = rng.integers(0, 3, 600)
    reward = np.where(action == 1, 1.0, -1.0)
    learner = BehaviourCloning(learning_rate=1e-2, passes=40)
    batch = shown(np.ones((600, 1)), action.tolist(), reward.tolist())
    state, metrics = learner.update(learner.init(spec, rng), batch, rng)
    assert metrics["rows"] == (action == 1).sum()
    assert (
        learner.policy(state, explore=True).distribution(np.ones((1, 1), np.float32), np.ones((1, 3), bool))[0, 1]
        > 0.95
    )


def test_candidates_that_are_not_as_many_as_the_actions_are_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be learned from"):
        BehaviourCloning().init(Spec(Box(-1, 1, (4, 2), np.float32), Discrete(3)), RNG(0))
