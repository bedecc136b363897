"""Maximum-entropy inverse reinforcement learning: known rewards recovered from what was shown."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu.errors import InvalidInput
from bondhu.learners.inverse.maximum_entropy import MaximumEntropy, Wanted
from bondhu.types import Batch, Spec

WEIGHTS = np.array([1.5, -1.0, 0.0])
SPEC = Spec(Box(-np.inf, np.inf, (5, 3), np.float64), Discrete(5))


def shown(rows: int, seed: int) -> Batch:
    """What somebody with these weights chooses among five candidates."""
    rng = np.random.default_rng(seed)
    seen = rng.standard_normal((rows, 5, 3))
    noisy = seen @ WEIGHTS + rng.gumbel(size=(rows, 5))
    open_ = np.ones((rows, 5), np.bool_)
    return Batch.single(seen, open_, noisy.argmax(axis=1), np.full(rows, 0.2), np.ones(rows))


def learned(batch: Batch) -> Wanted:
    rng = np.random.default_rng(0)
    return MaximumEntropy().update(MaximumEntropy().init(SPEC, rng), batch, rng)[0]


def test_known_weights_lie_in_their_intervals() -> None:
    inside = list[bool]()
    for seed in range(30):
        state = learned(shown(200, seed))
        errors = np.sqrt(np.linalg.inv(state.precision).diagonal())
        inside += (np.abs(state.mean - WEIGHTS) <= 1.96 * errors).tolist()
    assert 0.88 <= np.mean(inside) <= 1.0  # 95 % of 90, within three standard errors


def test_batch_after_batch_comes_near_to_all_at_once() -> None:
    whole, rng, learner = shown(300, 1), np.random.default_rng(0), MaximumEntropy()
    state = learner.init(SPEC, rng)
    for part in np.array_split(np.arange(300), 6):
        state, metrics = learner.update(state, whole.take(part), rng)
    assert metrics["rows"] == 50
    np.testing.assert_allclose(state.mean, learned(whole).mean, atol=0.05)
    assert float(state.rows) == 300


def test_what_is_shown_has_the_features_that_the_policy_is_expected_to_choose() -> None:
    batch = shown(2000, 2)
    state = learned(batch)
    shares = MaximumEntropy().policy(state, explore=True).distribution(batch.observation, batch.allowed)
    expected = np.einsum("ta,taf->f", shares, batch.observation)
    chosen = batch.observation[np.arange(2000), batch.action].sum(axis=0)
    np.testing.assert_allclose(chosen - expected, state.mean / 9.0, atol=1e-4)  # the prior holds back so much


def test_a_row_that_earned_nothing_is_not_imitated() -> None:
    batch = shown(50, 3)
    state, metrics = MaximumEntropy().update(
        learned(batch), Batch.single(batch.observation, batch.allowed, batch.action, batch.probability, -np.ones(50)),
        np.random.default_rng(0),
    )  # fmt: skip
    assert metrics == {}
    assert float(state.rows) == 50


def test_only_features_of_candidates_are_taken() -> None:
    with pytest.raises(InvalidInput, match=r"features of every candidate, \[A, F\]") as raised:
        MaximumEntropy().init(Spec(Box(0, 1, (3,)), Discrete(5)), np.random.default_rng(0))
    assert raised.value.field == "observation_space"
