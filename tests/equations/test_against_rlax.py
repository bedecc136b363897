"""The equations of deep reinforcement learning against RLax, an independent implementation, on random inputs."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bondhu.equations import action_values, advantages, categorical, losses

with warnings.catch_warnings():  # a library that RLax imports reads a name that JAX is about to drop
    warnings.filterwarnings("ignore", "jax.core.pytype_aval_mappings is deprecated", DeprecationWarning)
    import rlax

DECAY = 0.8
FACTOR = 0.9
SIZE = 4  # rows of each of the two trajectories: both are cut after the last, and hold one true end
RANDOM = np.random.default_rng(7)
REWARD, RATIO = RANDOM.normal(size=(2, SIZE)), np.exp(RANDOM.normal(size=(2, SIZE)))
STATES = RANDOM.normal(size=(2, SIZE + 1))  # values of the observations, with the one after the last row
CONTINUING = FACTOR * np.array([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]])
LINKED = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
FLAT = tuple(rows.reshape(-1) for rows in (REWARD, CONTINUING, LINKED, STATES[:, :-1], STATES[:, 1:]))
ONLINE, TARGET = RANDOM.normal(size=(2, SIZE, 5))
CHOSEN = np.array([0, 3, 1, 4])


def both(function, *rows):
    """What RLax makes of each of the two trajectories by itself."""
    return jax.jit(jax.vmap(function))(*(jnp.asarray(part, jnp.float32) for part in rows))


def close(found, expected):
    return np.asarray(found).reshape(-1) == pytest.approx(np.asarray(expected).reshape(-1), rel=1e-4, abs=1e-5)


def test_generalised_advantages():
    found = jax.jit(advantages.generalized_advantages)(*FLAT, DECAY)
    oracle = rlax.truncated_generalized_advantage_estimation
    assert close(found, both(lambda r, c, v: oracle(r, c, DECAY, v), REWARD, CONTINUING, STATES))


def test_lambda_returns():
    reward, continuing, linked, _, next_value = FLAT
    found = jax.jit(advantages.lambda_returns)(reward, continuing, linked, next_value, DECAY)
    expected = both(lambda r, c, v: rlax.lambda_returns(r, c, v, DECAY), REWARD, CONTINUING, STATES[:, 1:])
    assert close(found, expected)


@pytest.mark.parametrize("clip", [1.0, 0.7])
def test_v_trace(clip):
    target, advantage = jax.jit(advantages.v_trace)(np.log(RATIO.reshape(-1)), *FLAT, clip)
    expected = both(
        lambda v, w, r, c, ratio: rlax.vtrace_td_error_and_advantage(v, w, r, c, ratio, 1.0, clip, clip),
        *(STATES[:, :-1], STATES[:, 1:], REWARD, CONTINUING, np.minimum(RATIO, clip)),
    )
    assert close(advantage, expected.pg_advantage)
    assert close(target - FLAT[3], expected.errors)


def test_v_trace_that_decays():
    target, _ = jax.jit(advantages.v_trace)(np.log(RATIO.reshape(-1)), *FLAT, 1.0, DECAY)
    expected = both(
        lambda v, w, r, c, ratio: rlax.vtrace(v, w, r, c, ratio, DECAY),
        *(STATES[:, :-1], STATES[:, 1:], REWARD, CONTINUING, RATIO),
    )
    assert close(target - FLAT[3], expected)


def test_double_q_learning_errors():
    @jax.jit
    def error(reward, continuing, online, target, chosen):
        return action_values.double_q_target(reward, continuing, online, target) - action_values.taken(target, chosen)

    found = error(REWARD[0], CONTINUING[0], ONLINE, TARGET, CHOSEN)
    expected = jax.jit(jax.vmap(rlax.double_q_learning))(TARGET, CHOSEN, REWARD[0], CONTINUING[0], TARGET, ONLINE)
    assert close(found, expected)


def test_q_learning_errors():
    @jax.jit
    def error(reward, continuing, online, target, chosen):
        return action_values.q_target(reward, continuing, target) - action_values.taken(online, chosen)

    found = error(REWARD[0], CONTINUING[0], ONLINE, TARGET, CHOSEN)
    assert close(found, jax.jit(jax.vmap(rlax.q_learning))(ONLINE, CHOSEN, REWARD[0], CONTINUING[0], TARGET))


def test_the_categorical_projection():
    support = np.linspace(-1.0, 1.0, 5)
    chances = np.exp(ONLINE) / np.exp(ONLINE).sum(axis=1, keepdims=True)
    found = jax.jit(action_values.categorical_projection)(chances, REWARD[0], CONTINUING[0], support)
    moved = REWARD[0][:, None] + CONTINUING[0][:, None] * support
    expected = jax.jit(jax.vmap(rlax.categorical_l2_project, (0, 0, None)))(moved, chances, support)
    assert close(found, expected)


@pytest.mark.parametrize("limit", [0.0, 0.5])
def test_the_quantile_loss(limit):
    levels = (np.arange(5.0) + 0.5) / 5
    expected = both(lambda q, t: rlax.quantile_regression_loss(q, jnp.asarray(levels), t, limit), ONLINE, TARGET)
    found = jax.jit(action_values.quantile_loss, static_argnums=2)(ONLINE, TARGET, limit)
    assert close(found, expected)


def test_the_clipped_policy():
    found = jax.jit(losses.clipped_policy)(np.log(RATIO[0]), REWARD[0], 0.2)
    expected = both(lambda ratio, a: rlax.clipped_surrogate_pg_loss(ratio, a, 0.2), RATIO, REWARD)
    assert close(np.asarray(found).mean(), expected[0])


def test_the_huber_loss():
    assert close(jax.jit(losses.huber)(ONLINE, 0.7), jax.jit(rlax.huber_loss)(ONLINE, 0.7))


@pytest.mark.filterwarnings("ignore:Rlax softmax will be deprecated:PendingDeprecationWarning")
def test_the_policy_gradient_and_the_entropy():
    @jax.jit
    def ours(logits, chosen, advantage):
        chances = categorical.log_softmax(logits)
        gradient = losses.policy_gradient(categorical.log_probability(chances, chosen), advantage)
        return gradient.mean(), -categorical.entropy(chances).mean()

    @jax.jit
    def theirs(logits, chosen, advantage):
        weight = jnp.ones_like(advantage)
        return rlax.policy_gradient_loss(logits, chosen, advantage, weight), rlax.entropy_loss(logits, weight)

    assert close(ours(ONLINE, CHOSEN, REWARD[0]), theirs(ONLINE, CHOSEN, REWARD[0]))
