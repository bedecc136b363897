"""Twin critics, temperature and averaging of weights, worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bondhu.equations import critics
from bondhu.equations.categorical import log_softmax
from bondhu.equations.critics import polyak

soft_target, soft_state_value = jax.jit(critics.soft_target), jax.jit(critics.soft_state_value)
temperature_loss, smoothed_noise = jax.jit(critics.temperature_loss), jax.jit(critics.smoothed_noise)


def test_the_soft_target_takes_the_smaller_critic_adds_entropy_and_stops_at_an_end():
    found = soft_target(
        np.array([1.0, 1.0, 1.0]),
        np.array([0.5, 0.5, 0.0]),  # the last row ends truly
        np.array([4.0, 8.0, 99.0]),
        np.array([6.0, 2.0, 99.0]),
        np.array([-1.0, 2.0, -5.0]),
        0.5,
    )
    assert found.tolist() == [1 + 0.5 * (4 + 0.5), 1 + 0.5 * (2 - 1), 1.0]


def test_the_temperature_falls_while_entropy_is_above_its_target():
    log_temperature, log_probability = np.log(2.0), np.array([-1.0, 3.0])  # entropies 1 and -3; the target is -2
    assert temperature_loss(log_temperature, log_probability, -2.0).tolist() == pytest.approx([6.0, -2.0])
    slope = jax.jit(jax.grad(lambda x, y: temperature_loss(x, y, -2.0).sum(), argnums=(0, 1)))(
        log_temperature, log_probability
    )
    assert float(slope[0]) == pytest.approx(4.0)
    assert slope[1].tolist() == [0.0, 0.0]


def test_the_soft_state_value_is_expected_over_actions():
    probabilities, values = np.array([[0.5, 0.5]]), np.array([[1.0, 3.0]])
    assert soft_state_value(probabilities, values, np.log(probabilities), 0.5).tolist() == pytest.approx(
        [2 + 0.5 * np.log(2)]
    )


def test_the_soft_state_value_leaves_out_masked_actions_without_a_nan_gradient():
    allowed = np.array([[True, False]])

    def value(logits):
        log_probabilities = log_softmax(logits, allowed)
        return soft_state_value(jnp.exp(log_probabilities), np.array([[1.0, 30.0]]), log_probabilities, 0.5)[0]

    assert float(jax.jit(value)(np.zeros((1, 2)))) == 1.0
    assert jax.jit(jax.grad(value))(np.zeros((1, 2))).tolist() == [[0.0, 0.0]]


def test_smoothing_noise_is_scaled_and_limited():
    found = smoothed_noise(np.array([[-9.0, -1.0], [0.5, 9.0]]), 0.2, 0.5)
    assert np.asarray(found) == pytest.approx(np.array([[-0.5, -0.2], [0.1, 0.5]]))


def test_averaged_weights_move_by_the_rate_and_other_leaves_are_the_online_ones():
    target = {"weight": jnp.array([0.0, 8.0]), "count": np.array(3), "activation": jnp.tanh}
    online = {"weight": jnp.array([4.0, 4.0]), "count": np.array(5), "activation": jnp.tanh}
    found = polyak(target, online, 0.25)
    assert found["weight"].tolist() == [1.0, 7.0]
    assert found["weight"].dtype == jnp.float32
    assert int(found["count"]) == 5
    assert found["activation"] is jnp.tanh


def test_a_rate_of_one_copies_and_of_zero_keeps():
    target, online = {"weight": jnp.array([0.1, 0.3])}, {"weight": jnp.array([0.7, 1e-9])}
    assert polyak(target, online, 1.0)["weight"].tolist() == online["weight"].tolist()
    assert polyak(target, online, 0.0)["weight"].tolist() == target["weight"].tolist()
