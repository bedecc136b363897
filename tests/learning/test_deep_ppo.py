"""PPO by numbers: the loss and its gradient worked by hand, ends and cuts, masks, slots, images, normalisation, early
stops, and the same bits every time. What it learns is in tests/contract; here it learns only what needs a memory."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.learners import _actors, _columns, pack
from bondhu.learners._scales import deviation, discounted, in_deviations
from bondhu.learners.deep import ppo as module
from bondhu.learners.deep.ppo import Ppo
from bondhu.train.simulate import Simulation
from bondhu.types import Batch, Spec

ROOT = Path(__file__).parents[2]
FEATURES = Box(-1.0, 1.0, (3,), np.float32)
TWO = Spec(FEATURES, Discrete(2))
SMALL = Ppo(hidden=(8,), epochs=1, minibatch=16, learning_rate=0.01, anneal_steps=64)
WARY = replace(SMALL, memory=4, sequence_length=4, learning_rate=0.5, kl_limit=1e-3, epochs=3)
PLAIN = Ppo(hidden=(), entropy_bonus=0.01)
LOG_TWO = float(np.log(2.0))
loss_of = jax.jit(module._loss, static_argnums=(0, 2))


def rng(seed=0):
    return np.random.default_rng(seed)


def played(learner, state, rows=16, seed=0):
    """What the policy of this state did, in sessions of four rows that end and are cut by turns."""
    draws = rng(seed)
    observation = draws.normal(size=(rows, len(state.parameters.critic.body["0"].weight))).astype(np.float32)
    width = len(np.asarray(state.known.tries)) if len(np.asarray(state.known.sizes)) else 1
    allowed = np.ones((rows, width), bool)
    choice = learner.policy(state, explore=True).sample(observation, allowed, draws)
    last = np.arange(rows) % 4 == 3
    return Batch(
        observation, allowed, choice.action, choice.probability, draws.normal(size=rows),
        discount=1.0 - (np.arange(rows) % 8 == 7), has_next=~last, next_observation=np.roll(observation, -1, axis=0),
        next_allowed=allowed, session=np.arange(rows) // 4, time=np.arange(float(rows)), memo=choice.memo,
    )  # fmt: skip


def even(actions, value):
    """Parameters under which all actions are alike, and every context is worth `value`."""
    parameters, _ = _actors.begun(Spec(Box(-1, 1, (1,), np.float32), actions), _actors.Shape((), "tanh"), rng())
    parameters = jax.tree.map(np.zeros_like, parameters)
    return replace(parameters, critic=replace(parameters.critic, head=replace(
        parameters.critic.head, bias=np.full(1, value, np.float32))))  # fmt: skip


def sequences(**columns):
    """Columns as sequences of one row: `[T, 1, ...]`."""
    made = {name: np.asarray(each)[:, None] for name, each in columns.items()}
    return {name: each.astype(np.float32) if each.dtype == np.float64 else each for name, each in made.items()}


THREE = sequences(
    weight=[1.0, 1.0, 1.0], action=[0, 1, 0], observation=np.ones((3, 1)), old_log=np.log([0.5, 0.25, 0.9]),
    advantage=[1.0, -1.0, 2.0], value=[0.5, 0.0, 0.5], target=[1.0, 1.0, 2.0],
)  # fmt: skip
TWO_ACTIONS = _columns.Actions((2,), 0)


def test_the_loss_of_three_rows_is_as_worked_by_hand():
    loss, told = loss_of(PLAIN, even(Discrete(2), 0.5), TWO_ACTIONS, THREE, 1.0)
    ratios = np.array([1.0, 2.0, 0.5 / 0.9])
    policy = (-1.0 + 2.0 - 2 * 0.5 / 0.9) / 3  # the second and third are clipped only where that helps nothing
    value = (0.25 + 0.25 + 2.25) / 3
    assert float(told["policy_loss"]) == pytest.approx(policy, abs=1e-6)
    assert float(told["value_loss"]) == pytest.approx(value, abs=1e-6)
    assert float(told["entropy"]) == pytest.approx(LOG_TWO, abs=1e-6)
    assert float(told["kl"]) == pytest.approx((ratios - 1 - np.log(ratios)).mean(), abs=1e-6)
    assert float(told["clip_fraction"]) == pytest.approx(2 / 3, abs=1e-6)
    assert float(loss) == pytest.approx(policy + 0.5 * value - 0.01 * LOG_TWO, abs=1e-6)


def test_a_row_without_weight_counts_for_nothing():
    two = THREE | {"weight": np.array([[1.0], [1.0], [0.0]], np.float32)}
    _, told = loss_of(PLAIN, even(Discrete(2), 0.5), TWO_ACTIONS, two, 1.0)
    assert float(told["policy_loss"]) == pytest.approx((-1.0 + 2.0) / 2, abs=1e-6)
    assert float(told["value_loss"]) == pytest.approx(0.25, abs=1e-6)


def test_a_value_that_moved_beyond_its_clip_is_judged_where_the_clip_leaves_it_if_that_is_worse():
    learner = Ppo(hidden=(), value_clip=0.1)
    _, told = loss_of(learner, even(Discrete(2), 0.5), TWO_ACTIONS, THREE, 1.0)
    assert float(told["value_loss"]) == pytest.approx((0.25 + 0.81 + 2.25) / 3, abs=1e-6)  # 0.81 = (0.1 - 1)²


def test_the_clip_falls_with_the_steps():
    barely = THREE | {"old_log": np.log([[0.5 / 1.15], [0.5 / 1.15], [0.5]]).astype(np.float32)}
    for share, fraction in ((1.0, 0.0), (0.5, 2 / 3)):  # 15 % is within 20 %, and not within 10 %
        _, told = loss_of(PLAIN, even(Discrete(2), 0.5), TWO_ACTIONS, barely, share)
        assert float(told["clip_fraction"]) == pytest.approx(fraction, abs=1e-6)


def test_a_masked_action_gets_no_gradient_and_the_others_get_that_of_a_choice_between_two():
    rows = sequences(
        weight=[1.0], action=[0], observation=np.ones((1, 1)), old_log=np.log([0.5]), advantage=[1.0], value=[0.0],
        target=[0.0], allowed=np.array([[True, True, False]]),
    )  # fmt: skip
    parameters = even(Discrete(3), 0.0)

    def loss(parameters):
        return loss_of(Ppo(hidden=(), entropy_bonus=0.3), parameters, _columns.Actions((3,), 0), rows, 1.0)

    slope, told = jax.jit(jax.grad(loss, has_aux=True))(parameters)
    np.testing.assert_allclose(slope.actor.head.bias[:, 0], [-0.5, 0.5, 0.0], atol=1e-6)
    assert float(slope.actor.head.bias[2, 0]) == 0.0
    assert float(told["entropy"]) == pytest.approx(LOG_TWO, abs=1e-6)


def test_advantages_bootstrap_at_a_cut_and_not_at_an_end_and_flow_over_neither():
    rows = sequences(
        weight=np.ones(4), observation=np.ones((4, 1)), next_observation=np.ones((4, 1)), reward=[1.0, 2.0, 3.0, 4.0],
        continuing=[0.9, 0.0, 0.9, 0.9], linked=[1.0, 0.0, 1.0, 0.0],  # two end, two are cut
    )  # fmt: skip
    found = jax.jit(module._estimated, static_argnums=0)(Ppo(hidden=(), trace_decay=0.5), even(Discrete(2), 0.5), rows)
    np.testing.assert_allclose(found["advantage"][:, 0], [0.95 + 0.45 * 1.5, 1.5, 2.95 + 0.45 * 3.95, 3.95], rtol=1e-6)
    np.testing.assert_allclose(found["target"], found["advantage"] + 0.5, rtol=1e-6)


def test_the_probability_of_several_slots_is_the_product_and_is_what_the_loss_looks_at():
    spec = Spec(FEATURES, MultiDiscrete([2, 3]))
    state = SMALL.init(spec, rng())
    bias = np.array([0.0, 1.0, 0.0, 2.0, -1.0], np.float32)[:, None]
    actor = replace(state.parameters.actor, head=replace(state.parameters.actor.head, bias=bias))
    state = replace(state, parameters=replace(state.parameters, actor=actor))
    batch = played(SMALL, state)
    policy = SMALL.policy(state, explore=True)
    marginal = policy.marginals(batch.observation, batch.allowed, batch.action)
    np.testing.assert_allclose(batch.probability, marginal.prod(axis=1), rtol=1e-12)
    rows, _ = SMALL._rows(state.known, batch, _actors.actions_known(state.known))
    log, entropy = _actors.likelihood(
        state.parameters, _columns.Actions((2, 3), 0), {name: each[:, 0] for name, each in rows.items()}, "tanh"
    )
    np.testing.assert_allclose(np.exp(log), batch.probability, rtol=1e-5)
    whole = policy.distribution(batch.observation, batch.allowed).astype(np.float64)
    np.testing.assert_allclose(entropy, -(whole * np.log(whole)).sum(axis=1), rtol=1e-5)


def test_masks_are_left_out_where_everything_is_allowed_and_kept_where_something_is_not():
    state = SMALL.init(TWO, rng())
    batch, actions = played(SMALL, state), _columns.Actions((2,), 0)
    assert "allowed" not in SMALL._rows(state.known, batch, actions)[0]
    some = batch.allowed.copy()
    some[5, 1 - batch.action[5]] = False
    rows = SMALL._rows(state.known, replace(batch, allowed=some), actions)[0]
    np.testing.assert_array_equal(rows["allowed"][:, 0], some)


def test_rewards_are_measured_in_deviations_of_the_discounted_sums_that_begin_anew_with_every_trajectory():
    state = SMALL.init(TWO, rng())
    batch = replace(
        played(SMALL, state, 4), reward=np.array([1.0, 2.0, 3.0, 40.0]), has_next=np.array([1, 1, 0, 0]) > 0
    )
    sums = np.array([1.0, 2.5, 4.25, 40.0])
    np.testing.assert_allclose(discounted(batch, 0.5), sums)
    learner = replace(SMALL, normalise_rewards=True, discount=0.5)
    known = learner._known(state.known, batch)
    assert float(deviation(known.earned)) == pytest.approx(sums.std())
    rows, _ = learner._rows(known, batch, _columns.Actions((2,), 0))
    np.testing.assert_allclose(rows["reward"][:4, 0], batch.reward / sums.std(), rtol=1e-6)
    assert in_deviations(np.array([1e9]), known.earned) == pytest.approx(10.0)
    again = learner._known(known, batch)
    assert float(deviation(again.earned)) == pytest.approx(sums.std())
    assert float(again.earned.rows) == 8.0


def test_a_policy_sees_observations_in_the_deviations_of_what_was_learned_from_and_counts_nothing_itself():
    learner = replace(SMALL, normalise_observations=True)
    state = learner.init(TWO, rng())
    batch = played(learner, state)
    state = replace(state, known=learner._known(state.known, batch))
    before = {name: array.copy() for name, array in pack(state).items()}
    away = np.float32([[5.0, -2.0, 0.5], [900.0, 0.0, 0.0]])
    mean, spread = batch.observation.mean(axis=0, dtype=np.float64), batch.observation.std(axis=0, dtype=np.float64)
    plain = SMALL.policy(replace(state, known=SMALL.init(TWO, rng()).known), explore=True)
    allowed = np.ones((2, 2), bool)
    np.testing.assert_allclose(
        learner.policy(state, explore=True).distribution(away, allowed),
        plain.distribution(np.clip((away - mean) / spread, -10, 10).astype(np.float32), allowed),
        rtol=1e-6,
    )
    for name, array in pack(state).items():
        np.testing.assert_array_equal(array, before[name])


def test_images_are_acted_on_as_they_are_learned_from():
    spec = Spec(Box(0, 255, (84, 84, 4), np.uint8), Discrete(3))
    learner = replace(SMALL, activation="relu")
    state = learner.init(spec, rng())
    assert [np.shape(state.parameters.actor.body[each].weight) for each in "0123"] == [
        (8, 8, 4, 32), (4, 4, 32, 64), (3, 3, 64, 64), (3136, 8),
    ]  # fmt: skip
    seen = rng().integers(0, 256, (2, 84, 84, 4), np.uint8)
    allowed = np.ones((2, 3), bool)
    batch = Batch.single(seen, allowed, np.array([0, 2]), np.full(2, 1 / 3), np.ones(2))
    rows, _ = learner._rows(learner._known(state.known, batch), batch, _columns.Actions((3,), 0))
    assert rows["observation"].dtype == np.uint8
    logits = _actors.spoken(state.parameters, rows["observation"][:2, 0], "relu")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(learner.policy(state, explore=True).distribution(seen, allowed), expected, rtol=1e-4)


# -------------------------------------------------------------------------------------------------------- whole updates


def assert_same(ours, theirs):
    for name, array in pack(ours).items():
        np.testing.assert_array_equal(array, pack(theirs)[name])


def test_the_learning_rate_falls_in_a_line_and_then_nothing_moves():
    state, told = SMALL.init(TWO, rng()), []
    for _ in range(4):
        state, metrics = SMALL.update(state, played(SMALL, state), rng())
        told.append(metrics["learning_rate"])
    assert told == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    after, metrics = SMALL.update(state, played(SMALL, state), rng())
    assert metrics["learning_rate"] == 0.0
    assert_same(after.parameters, state.parameters)


def test_recomputed_advantages_are_those_of_the_critic_after_the_pass_before():
    learner = replace(SMALL, learning_rate=0.1, epochs=2, recompute_advantages=True, anneal_steps=0)
    state = learner.init(TWO, rng())
    batch, actions = played(learner, state), _columns.Actions((2,), 0)
    rows, size = learner._rows(state.known, batch, actions)
    order = _columns.shuffled(16, size, 2, rng())
    learned = state.parameters, state.moments
    whole, _ = module._phase(learner, actions, learned, rows, order, np.float32(0))
    for each in order:  # every phase begins with new advantages
        learned, told = module._phase(learner, actions, learned, rows, each[None], np.float32(0))
    for ours, theirs in zip(jax.tree.leaves(whole[0]), jax.tree.leaves(learned[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert abs(float(told["value_estimation"])) > 0.05  # the critic had moved by then, from about 0


def after_three_updates():
    state = SMALL.init(TWO, rng())
    for seed in range(3):
        state, _ = SMALL.update(state, played(SMALL, state, seed=seed), rng(seed))
    return state


def fingerprint():
    digest = hashlib.sha256()
    for name, array in sorted(pack(after_three_updates()).items()):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def test_three_updates_give_the_same_bits_in_this_process_and_in_another():
    program = "from tests.learning import test_deep_ppo; print(test_deep_ppo.fingerprint())"
    other = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    assert fingerprint() == fingerprint() == other.stdout.strip()


def test_three_updates_give_the_numbers_they_always_gave():
    state = after_three_updates()
    seen = np.float32([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5], [-2.0, 0.3, 1.0]])
    chances = SMALL.policy(state, explore=True).distribution(seen, np.ones((3, 2), bool))
    np.testing.assert_allclose(chances[:, 0], CHANCES, rtol=1e-5)
    np.testing.assert_allclose(SMALL.beliefs(state)(seen).value[:, 0], VALUES, rtol=1e-5, atol=1e-6)


CHANCES = [0.4976580809, 0.5087691982, 0.5029656062]
VALUES = [0.0643955022, -0.2424385846, -0.3918030262]


# --------------------------------------------------------------------------------------------------------------- memory


class Cue(gymnasium.Env):
    """Shows ±1 at the first of three steps; at the last it pays 1 for saying which."""

    observation_space = Box(-1.0, 1.0, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.steps = int(self.np_random.integers(2)), 0
        return np.float32([2 * self.cue - 1, 0.0]), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == 3
        return np.float32([0.0, self.steps / 3]), float(over and action == self.cue), over, False, {}


def paid_after_learning(memory):
    simulation = Simulation(gymnasium.vector.SyncVectorEnv([Cue] * 16), memory=memory)
    simulation.reset(0)
    learner = Ppo(
        memory=memory, sequence_length=4, hidden=(16,), epochs=8, minibatch=128, learning_rate=0.01, discount=1.0
    )
    generator = rng()
    state = learner.init(simulation.spec, generator)
    for _ in range(16):
        state, _ = learner.update(state, simulation.play(learner.policy(state, explore=True), 16, generator), generator)
    simulation.finished()
    simulation.play(learner.policy(state), 40, generator)
    return float(np.mean([episode.total_reward for episode in simulation.finished()]))


def test_what_was_seen_only_at_the_beginning_is_remembered_with_a_memory_and_only_then():
    assert paid_after_learning(memory=8) >= 0.95
    assert paid_after_learning(memory=0) <= 0.7


def remembered(state):
    """Two episodes of eight rows, as the recurrent policy of this state played them."""
    draws, observation = rng(1), np.zeros((16, 7), np.float32)
    observation[:, :3] = draws.normal(size=(16, 3))
    policy, choices = WARY.policy(state, explore=True), []
    for row in range(16):
        if row % 8:
            observation[row, 3:] = choices[-1].memo[:, -4:]
        choices.append(policy.sample(observation[row : row + 1], np.ones((1, 1), bool), draws))
    action, chance, memo = (np.concatenate(each) for each in zip(*choices, strict=True))
    batch = Batch.single(observation, np.ones((16, 1), bool), action, chance, draws.normal(size=16))
    return replace(batch, has_next=np.arange(16) % 8 != 7, memo=memo)


def test_a_recurrent_policy_learns_from_the_densities_it_drew_with_and_stops_before_it_goes_too_far():
    state = WARY.init(Spec(Box(-1.0, 1.0, (7,), np.float32), Box(-1.0, 1.0, (2,), np.float32)), rng())
    batch = remembered(state)
    assert batch.memo.shape == (16, 5)
    np.testing.assert_allclose(np.exp(batch.memo[:, 0]), batch.probability)
    once, metrics = WARY.update(state, batch, rng())
    assert metrics["kl"] > 1.5 * WARY.kl_limit / 2  # 0 before the one step that was taken, too far after it
    assert int(once.moments.steps) == 1  # of three
    again, _ = WARY.update(once, batch, rng())  # too far already
    assert_same(again.parameters, once.parameters)
    assert_same(again.moments, once.moments)


def test_a_memory_without_room_in_the_observation_is_refused():
    with pytest.raises(InvalidInput, match="leaves no room") as raised:
        Ppo(memory=3).init(TWO, rng())
    assert (raised.value.field, raised.value.value) == ("memory", 3)
