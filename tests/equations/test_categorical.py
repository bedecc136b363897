"""Categorical policies with and without masks, worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bondhu.equations import categorical

LOGITS = np.log(np.array([[1.0, 1.0, 2.0], [1.0, 2.0, 1.0]]))
entropy, kl = jax.jit(categorical.entropy), jax.jit(categorical.kl)
log_probability, log_softmax = jax.jit(categorical.log_probability), jax.jit(categorical.log_softmax)
ALLOWED = np.array([[True, True, False], [False, True, False]])  # two actions; all but one masked


def test_chances_without_a_mask():
    assert np.exp(log_softmax(LOGITS)) == pytest.approx(np.array([[0.25, 0.25, 0.5], [0.25, 0.5, 0.25]]))


def test_disallowed_actions_have_no_chance_and_a_finite_logarithm():
    found = log_softmax(LOGITS, ALLOWED)
    assert np.exp(found) == pytest.approx(np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]))
    assert np.isfinite(found).all()
    assert found.tolist()[0][2] < -1e8


def test_nothing_allowed_is_uniform():
    found = log_softmax(LOGITS, np.zeros((2, 3), bool))
    assert np.exp(found) == pytest.approx(np.full((2, 3), 1 / 3))


def test_the_logarithm_of_the_taken_action():
    found = log_probability(log_softmax(LOGITS), np.array([2, 0]))
    assert found.tolist() == pytest.approx([-np.log(2), -np.log(4)])


def test_entropy_counts_allowed_actions_alone():
    assert entropy(log_softmax(LOGITS)).tolist() == pytest.approx([1.5 * np.log(2)] * 2)
    assert entropy(log_softmax(LOGITS, ALLOWED), ALLOWED).tolist() == pytest.approx([np.log(2), 0.0])


def test_entropy_of_a_mask_of_infinities_is_finite_and_so_is_its_gradient():
    def total(logits):
        return entropy(jnp.where(ALLOWED, jax.nn.log_softmax(logits), -jnp.inf), ALLOWED).sum()

    assert np.isfinite(jax.jit(total)(LOGITS))
    assert np.isfinite(jax.jit(jax.grad(total))(LOGITS)).all()


def test_gradients_with_all_but_one_action_masked_are_zero_and_not_nan():
    def total(logits):
        masked = log_softmax(logits, ALLOWED)
        return entropy(masked, ALLOWED)[1] + log_probability(masked, np.array([0, 1]))[1]

    assert jax.jit(jax.grad(total))(LOGITS).tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_the_divergence_of_two_policies():
    uniform = log_softmax(np.zeros((2, 3)))
    assert kl(log_softmax(LOGITS), uniform).tolist() == pytest.approx([np.log(3) - 1.5 * np.log(2)] * 2)
    assert kl(uniform, uniform).tolist() == [0.0, 0.0]


def test_the_divergence_under_one_mask_is_that_of_the_allowed_actions():
    other = log_softmax(np.log(np.array([[1.0, 3.0, 9.0], [1.0, 1.0, 1.0]])), ALLOWED)
    found = kl(log_softmax(LOGITS, ALLOWED), other)
    assert found.tolist() == pytest.approx([0.5 * np.log(2) + 0.5 * np.log(2 / 3), 0.0])
    slope = jax.jit(jax.grad(lambda logits: kl(log_softmax(logits, ALLOWED), other).sum()))(LOGITS)
    assert np.isfinite(slope).all()
