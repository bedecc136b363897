"""Deep Q-learning: targets and losses worked by hand, on networks small enough to be read."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.equations.noise import factored_noise
from bondhu.errors import InvalidInput, UnknownName
from bondhu.learners import _action_values, _networks
from bondhu.learners._action_values import ActionValues, Streams
from bondhu.learners._networks import Head, Layer
from bondhu.learners._optimiser import begun
from bondhu.learners._states import pack
from bondhu.learners.deep import dqn
from bondhu.learners.deep.dqn import CALL, Dqn, Learned
from bondhu.types import Batch, Spec

SPEC = Spec(Box(-1, 1, (3,), np.float32), Discrete(3))
SMALL = Dqn(  # one for all, since each is compiled
    hidden=(8,),
    minibatch=4,
    updates_per_step=0.5,
    learning_starts=50,
    capacity=200,
    target_every=2 * CALL,
    target_share=1.0,
)
target_of, loss_of = (jax.jit(function, static_argnums=place) for function, place in ((dqn._target, 0), (dqn._loss, 1)))


def table(*rows):
    """A network without hidden layers on one-hot observations: row x says the values of the actions in x."""
    weight = np.array(rows, np.float32)
    weight = weight[:, :, None] if weight.ndim == 2 else weight
    return ActionValues(Streams({}, Head(weight, np.zeros(weight.shape[1:], np.float32))))


def one_hot(*states, of=2):
    return np.eye(of, dtype=np.float32)[list(states)]


def asked(learner, parameters, target, **columns):
    rows = {"weight": np.ones(len(columns["reward"]), np.float32), **columns}
    rows["next_allowed"] = np.array(rows.get("next_allowed", np.ones((len(rows["reward"]), 2), bool)))
    rows["reward"], rows["continuing"] = (np.array(rows[name], np.float32) for name in ("reward", "continuing"))
    return np.asarray(target_of(learner, Learned(parameters, target, begun(parameters)), rows)), rows


def log(count, rng, spec=SPEC, allowed=None):
    seen = rng.normal(size=(count, *spec.observation.shape)).astype(np.float32)
    allowed = np.ones((count, spec.action.n), bool) if allowed is None else allowed
    action = np.array([rng.choice(np.flatnonzero(row)) for row in allowed])
    batch = Batch.single(seen, allowed, action, np.full(count, 0.5), rng.random(count))
    going = np.arange(count) % 5 < 4  # sessions of five, cut
    going[-1] = False
    return replace(batch, discount=np.ones(count), has_next=going, next_observation=np.roll(seen, -1, 0))


def trained(learner, batch, seed=0, spec=SPEC):
    rng = np.random.default_rng(seed)
    return learner.update(learner.init(spec, rng), batch, rng)


# ------------------------------------------------------------------------------------------------------------- targets


def test_the_online_network_chooses_the_action_that_the_target_values():
    online, target = table([0, 0], [5, 7]), table([0, 0], [4, 1])
    columns = {"next_observation": one_hot(1, 1), "reward": [1, 1], "continuing": [0.9, 0.0]}
    double, _ = asked(Dqn(double=True), online, target, **columns)
    single, _ = asked(Dqn(double=False), online, target, **columns)
    np.testing.assert_allclose(double, [1 + 0.9 * 1, 1])  # an end is worth nothing more
    np.testing.assert_allclose(single, [1 + 0.9 * 4, 1])


def test_a_forbidden_action_is_not_bootstrapped_from():
    values = table([0, 0], [5, 7])
    masks = [[True, True], [True, False], [False, False]]
    columns = {
        "next_observation": one_hot(1, 1, 1),
        "reward": [0, 0, 2],
        "continuing": [0.5] * 3,
        "next_allowed": masks,
    }
    for learner in (Dqn(), Dqn(double=False)):
        np.testing.assert_allclose(asked(learner, values, values, **columns)[0], [3.5, 2.5, 2.0])


def test_the_loss_is_hubers_and_weighs_rows_by_their_importance():
    values, rows = table([2, 0], [0, 0]), {"observation": one_hot(0, 1), "action": np.array([0, 1])}
    rows["weight"] = np.array([1.0, 0.5], np.float32)
    target = np.array([5.0, 0.5], np.float32)  # errors 3 and 0.5
    loss, (size, told) = loss_of(values, Dqn(huber=1.0), rows, target)
    np.testing.assert_allclose(loss, (1.0 * 2.5 + 0.5 * 0.125) / 2)
    np.testing.assert_allclose(size, [3.0, 0.5])
    np.testing.assert_allclose([told["td_error"], told["squared_error"], told["value_estimation"]], [1.75, 4.625, 1.0])
    np.testing.assert_allclose(loss_of(values, Dqn(huber=0.0), rows, target)[0], (4.5 + 0.5 * 0.125) / 2)


def test_the_atoms_of_c51_move_and_are_shared_between_their_neighbours():
    learner = Dqn(distribution="categorical", atoms=3, low=0.0, high=2.0, double=False)
    certain = 50.0 * np.eye(3)  # logits of being at 0, at 1, at 2
    values = table(*[[[0, 0, 0]] * 2, [certain[1], certain[0]]])
    columns = {"next_observation": one_hot(1, 1), "reward": [0.25, 1.5], "continuing": [0.5, 0.0]}
    target, rows = asked(learner, values, values, **columns)
    np.testing.assert_allclose(target, [[0.25, 0.75, 0], [0, 0.5, 0.5]], atol=1e-6)  # at 0.75; at 1.5, an end
    rows |= {"observation": one_hot(0, 0), "action": np.array([0, 1])}
    loss, (_, told) = loss_of(values, learner, rows, target)
    np.testing.assert_allclose(loss, np.log(3), rtol=1e-6)  # against three equal chances, whose mean is 1
    np.testing.assert_allclose(told["squared_error"], (0.25**2 + 0.5**2) / 2, rtol=1e-5)


def test_quantiles_are_those_of_the_action_with_the_best_mean():
    learner = Dqn(distribution="quantile", atoms=2, huber=0.0)
    values = table([[0, 4], [0, 0]], [[0, 3], [1, 1]])  # means 2, 0 and 1.5, 1
    columns = {"next_observation": one_hot(1, 1), "reward": [1, 2], "continuing": [0.5, 0.0]}
    target, rows = asked(learner, values, values, **columns)
    np.testing.assert_allclose(target, [[1, 2.5], [2, 2]])
    rows |= {"observation": one_hot(0, 0), "action": np.array([0, 0])}
    loss, (size, _) = loss_of(values, learner, rows, target)
    # τ = ¼, ¾. Row 0: u of 0 are 1, 2.5, of 4 are -3, -1.5; row 1: 2, 2 and -2, -2.
    np.testing.assert_allclose(size, [0.25 * 1.75 + 0.25 * 2.25, 0.25 * 2 + 0.25 * 2])
    np.testing.assert_allclose(loss, np.mean(size))


# ------------------------------------------------------------------------------------------------------------ networks


def test_a_dueling_network_folds_into_one_whose_advantages_have_mean_nothing():
    head = Head(np.array([[[1.0], [3.0]]], np.float32), np.array([[0.5], [-0.5]], np.float32))
    value = Layer(np.array([[10.0]], np.float32), np.array([1.0], np.float32))
    network = _action_values.plain(ActionValues(Streams({}, head, {"0": value})))
    said = _networks.outputs(network, np.array([[2.0]], np.float32), "relu")
    np.testing.assert_allclose(np.asarray(said)[0, :, 0], [21 + (2.5 - 4), 21 + (5.5 - 4)])


def test_noise_is_the_deviation_times_factored_noise_and_absent_from_what_is_exploited():
    mean = Streams({}, Head(np.ones((2, 3, 1), np.float32), np.zeros((3, 1), np.float32)))
    spread = Streams({}, Head(np.full((2, 3, 1), 0.1, np.float32), np.full((3, 1), 0.2, np.float32)))
    values, key = ActionValues(mean, {"0": spread}), jax.random.key(4)
    weight, bias = factored_noise(jax.random.split(key, 2)[0], 2, 3)
    noisy = _action_values.plain(values, key).head
    np.testing.assert_allclose(noisy.weight[:, :, 0], 1 + 0.1 * np.asarray(weight), rtol=1e-6)
    np.testing.assert_allclose(noisy.bias[:, 0], 0.2 * np.asarray(bias), rtol=1e-6)
    np.testing.assert_array_equal(_action_values.plain(values).head.weight, mean.head.weight)


def test_the_target_follows_every_so_many_gradient_steps_by_its_share():
    batch, rng = log(2 * CALL, np.random.default_rng(1)), np.random.default_rng(0)
    state = SMALL.init(SPEC, rng)
    begin = state.parameters.mean.head.weight
    state, _ = SMALL.update(state, batch, rng)
    np.testing.assert_array_equal(state.target.mean.head.weight, begin)
    assert np.abs(np.asarray(state.parameters.mean.head.weight) - begin).max() > 1e-3
    state, _ = SMALL.update(state, batch, rng)
    np.testing.assert_array_equal(state.target.mean.head.weight, state.parameters.mean.head.weight)


# ------------------------------------------------------------------------------------------------ from the outside


@pytest.fixture(scope="module")
def rainbow():
    """Everything at once, and its state after a batch in which action 2 was never allowed."""
    learner = replace(SMALL, dueling=True, n_step=3, prioritised=0.5, noisy=True, distribution="categorical", atoms=5)
    allowed = np.tile([True, True, False], (140, 1))
    batch = log(140, np.random.default_rng(1), allowed=allowed)
    return learner, batch, trained(learner, batch)


def test_everything_together_learns_the_same_from_the_same_seed(rainbow):
    learner, batch, (state, metrics) = rainbow
    again, told = trained(learner, batch)
    assert told == metrics
    for name, array in pack(state).items():
        np.testing.assert_array_equal(array, pack(again)[name])
    assert metrics["updates"] == 2 * CALL
    assert state.owed == 70 - 2 * CALL
    assert len(set(state.replay.priority.round(6))) > 10  # errors have come in


def test_a_forbidden_action_is_never_chosen(rainbow):
    learner, batch, (state, _) = rainbow
    plain = trained(SMALL, batch)[0]
    for each, known in ((learner, state), (SMALL, plain)):
        for explore in (False, True):
            chances = each.policy(known, explore=explore).distribution(batch.observation, batch.allowed)
            assert not chances[:, 2].any()


def test_noise_is_drawn_once_for_a_policy_and_not_at_all_without_exploration(rainbow):
    learner, batch, (state, metrics) = rainbow
    values = [learner._values(state, noisy=noisy)(batch.observation) for noisy in (True, True, False)]
    np.testing.assert_array_equal(values[0], values[1])
    assert np.abs(values[0] - values[2]).max() > 1e-3
    np.testing.assert_array_equal(values[2], learner.beliefs(state)(batch.observation).value.astype(np.float32))
    assert metrics["exploration_rate"] == 0.0


def test_epsilon_falls_in_a_line_with_environment_steps():
    learner = replace(SMALL, first_epsilon=1.0, last_epsilon=0.2, exploration_steps=80, updates_per_step=0.0)
    batch, rates = log(20, np.random.default_rng(0)), []
    state = learner.init(SPEC, np.random.default_rng(0))
    for _ in range(5):
        state, metrics = learner.update(state, batch, np.random.default_rng(0))
        rates.append(metrics["exploration_rate"])
    np.testing.assert_allclose(rates, [0.8, 0.6, 0.4, 0.2, 0.2])
    chances = learner.policy(state, explore=True).distribution(batch.observation, batch.allowed)
    np.testing.assert_allclose(np.sort(chances, axis=1), [[0.2 / 3, 0.2 / 3, 0.8 + 0.2 / 3]] * 20)


def test_nothing_is_owed_before_learning_starts_and_what_is_left_is_owed_after():
    batch, rng = log(40, np.random.default_rng(0)), np.random.default_rng(0)
    state = SMALL.init(SPEC, rng)
    owed, steps = [], []
    for _ in range(4):
        state, metrics = SMALL.update(state, batch, rng)
        owed.append(state.owed)
        steps.append(metrics["updates"])
    assert (owed, steps) == ([0, 20, 8, 28], [0, 0, CALL, CALL])


def test_scales_are_applied_to_what_is_drawn_while_the_memory_keeps_it_as_it_was():
    learner = replace(SMALL, normalise_observations=True, updates_per_step=0.0)
    batch = log(40, np.random.default_rng(0))
    batch = replace(batch, observation=100 + 7 * batch.observation)
    state, _ = trained(learner, batch)
    np.testing.assert_array_equal(state.replay.rows.observation, batch.observation)
    np.testing.assert_allclose(state.known.scale.mean, batch.observation.mean(0), rtol=1e-5)
    ask = _networks.asked(_action_values.plain(state.parameters), "relu", learner.normalise_layers)
    scaled = (batch.observation - batch.observation.mean(0)) / batch.observation.std(0)
    np.testing.assert_allclose(
        learner.beliefs(state)(batch.observation).value, ask(scaled.astype(np.float32))[:, :, 0], atol=1e-4
    )


def test_images_are_seen_through_kernels():
    spec = Spec(Box(0, 255, (36, 36, 1), np.uint8), Discrete(2))
    learner = replace(SMALL, minibatch=2)
    rng = np.random.default_rng(0)
    count = 2 * CALL
    seen = rng.integers(0, 256, (count, 36, 36, 1), np.uint8)
    batch = Batch.single(
        seen, np.ones((count, 2), bool), rng.integers(0, 2, count), np.full(count, 0.5), rng.random(count)
    )
    state, metrics = trained(learner, batch, spec=spec)
    assert (metrics["updates"], state.replay.rows.observation.dtype) == (CALL, np.uint8)
    assert state.parameters.mean.body["0"].weight.shape == (8, 8, 1, 32)
    assert learner.policy(state).distribution(seen[:3], batch.allowed[:3]).sum() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"distribution": "catgorical"}, "distribution"), ({"minibatch": 0}, "minibatch"), ({"discount": 1.5}, "discount"),
     ({"distribution": "categorical", "low": 1.0, "high": 1.0}, "atoms"), ({"activation": "rleu"}, "activation")],
)  # fmt: skip
def test_a_wrong_hyper_parameter_is_refused(wrong, field):
    with pytest.raises(InvalidInput) as raised:
        Dqn(**wrong).init(SPEC, np.random.default_rng(0))
    assert raised.value.field == field


def test_an_unknown_distribution_gets_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'categorical'"):
        Dqn(distribution="catgorical")


def test_actions_in_slots_are_refused_with_who_takes_them():
    with pytest.raises(InvalidInput, match=r"deep\.dqn chooses one of finitely many actions.*Take deep\.ppo"):
        Dqn().init(Spec(SPEC.observation, MultiDiscrete([2, 2])), np.random.default_rng(0))
