"""Learners that are paid for what is new: how much, for which rows, and that it leads to where nothing else does."""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains.probes.features import Seen
from bondhu.domains.probes.markov import Markov
from bondhu.errors import InvalidInput
from bondhu.learners import _novelty, build, pack
from bondhu.learners._novelty import embedded
from bondhu.learners._scales import unscaled
from bondhu.learners.motivation.counts import Counts, counting, hashed
from bondhu.learners.motivation.icm import Icm, loss, predicted
from bondhu.learners.motivation.rnd import Rnd, looked_at
from bondhu.types import Batch, Spec

FEATURES = Spec(Box(-np.inf, np.inf, (3,), np.float32), Discrete(2))
CODES = Spec(MultiDiscrete([9]), Discrete(2))


@dataclass(frozen=True)
class Listening:
    """A learner that only keeps what it is given."""

    observes: Any = Box
    heard: list = field(default_factory=list, compare=False)

    def init(self, spec, rng):
        return None

    def update(self, state, batch, rng):
        self.heard.append(batch)
        return state, {"reward_signal": float(batch.reward.mean())}


def walked(places, *, ended, actions=None):
    """One session along these observations; its last row sees the last of them, or a true end."""
    seen = np.asarray(places)
    rows = len(seen) - 1
    after = seen[1:].copy()
    if ended:
        after[-1] = 0
    discount, has_next = np.ones(rows), np.arange(rows) < rows - 1
    discount[-1] = 0.0 if ended else 1.0
    allowed = np.ones((rows, 2), bool)
    return Batch(
        observation=seen[:-1], allowed=allowed, action=np.zeros(rows, int) if actions is None else np.array(actions),
        probability=np.full(rows, 0.5), reward=np.arange(rows, dtype=float), discount=discount, has_next=has_next,
        next_observation=after, next_allowed=allowed, session=np.zeros(rows, int), time=np.arange(rows, dtype=float),
        memo=np.zeros((rows, 0)),
    )  # fmt: skip


def codes(*places):
    return np.array(places)[:, None]


def first(learner, spec, batch, times=1):
    """What the inner learner hears, and the metrics, the last of some times."""
    rng = np.random.default_rng(0)
    state = learner.init(spec, rng)
    for _ in range(times):
        state, metrics = learner.update(state, batch, rng)
    return learner.inner.heard[-1].reward - batch.reward, metrics, state


# -------------------------------------------------------------------------------------------------------------- counts


def test_a_visit_is_paid_by_the_root_of_how_often_the_place_was_reached():
    batch = walked(codes(0, 1, 2, 1, 1), ended=False)
    learner = Counts(Listening(MultiDiscrete), weight=0.6)
    extra, metrics, _ = first(learner, CODES, batch)
    assert extra == pytest.approx(np.array([1 / 3**0.5, 1.0, 1 / 3**0.5, 1 / 3**0.5]) * 0.6)
    assert metrics["intrinsic_reward"] == pytest.approx(extra.mean())
    assert metrics["reward_signal"] == pytest.approx(1.5)  # what the environment paid
    extra, _, state = first(learner, CODES, batch, times=2)
    assert extra == pytest.approx(np.array([1 / 6**0.5, 1 / 2**0.5, 1 / 6**0.5, 1 / 6**0.5]) * 0.6)
    assert sorted(state.table.counts.tolist()) == [2, 6]


def test_a_true_end_earns_no_bonus_and_is_not_counted():
    extra, _, state = first(Counts(Listening(MultiDiscrete), weight=1.0), CODES, walked(codes(0, 1, 5), ended=True))
    assert extra.tolist() == [1.0, 0.0]
    assert state.table.counts.tolist() == [1]


def test_only_the_first_visit_of_a_session_is_paid_where_asked_for():
    batch = walked(codes(0, 1, 0, 1, 2), ended=False)
    extra, _, _ = first(Counts(Listening(MultiDiscrete), weight=1.0, once=True), CODES, batch)
    assert extra == pytest.approx([1 / 2**0.5, 0.0, 0.0, 1.0])  # 0 was where the session began
    other = replace(batch, session=np.array([0, 0, 1, 1]), has_next=np.array([True, False, True, False]))
    extra, _, _ = first(Counts(Listening(MultiDiscrete), weight=1.0, once=True), CODES, other)
    assert extra == pytest.approx([1 / 2**0.5, 0.0, 1 / 2**0.5, 1.0])


def test_a_simhash_sees_directions_and_bytes_see_everything():
    projection = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    seen = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [-1.0, -2.0, -3.0]])
    alike = hashed(seen, projection)
    assert alike[0] == alike[1] != alike[2]
    exact = hashed(np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 1.0 + 1e-12]]), np.zeros((2, 0)))
    assert exact[0] == exact[1] != exact[2]
    np.testing.assert_array_equal(
        exact, hashed(np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 1.0 + 1e-12]]), np.zeros((2, 0)))
    )


def test_a_table_of_counts_adds_up():
    table = Counts(Listening(MultiDiscrete)).init(CODES, np.random.default_rng(0)).table
    for keys in ([7, 3, 7], [5, 3], []):
        table = counting(table, np.array(keys, np.uint64))
    assert (table.keys.tolist(), table.counts.tolist()) == ([3, 5, 7], [2, 1, 2])


# ------------------------------------------------------------------------------------------------------ shared, and rnd


def test_novelty_is_measured_in_deviations_of_its_return():
    batch = walked(codes(0, 1, 2), ended=False)
    extra, scale = _novelty.scaled(unscaled(()), np.array([1.0, 4.0]), batch, 0.5)
    assert extra == pytest.approx([2.0, 8.0])  # returns 3 and 4: deviation 0.5
    assert (float(scale.mean), float(scale.rows)) == (3.5, 2.0)


def test_an_end_is_paid_the_novelty_that_the_next_episode_would_bring():
    batch = walked(codes(0, 1, 2, 3), ended=True)
    extra = _novelty.beyond_ends(np.array([1.0, 3.0, 0.0]), batch, 0.9)
    assert extra == pytest.approx([1.0, 3.0, 2.0 * 9.0])  # 2 a row for ever, from the next row on


def places(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def test_distillation_pays_the_squared_error_and_nothing_at_a_true_end():
    batch, learner = walked(places(5), ended=True), Rnd(Listening(), weight=2.0, episodic=True)
    state = learner.init(FEATURES, np.random.default_rng(0))
    extra, metrics, after = first(learner, FEATURES, batch)
    seen = looked_at(batch.next_observation[:3], after.curiosity.seen)
    said, truth = (embedded(each, seen, "relu") for each in (state.curiosity.predictor, state.curiosity.target))
    error = np.r_[np.mean((np.asarray(said) - np.asarray(truth)) ** 2, axis=1), 0.0]
    returns = [error[0] + 0.99 * error[1] + 0.99**2 * error[2], error[1] + 0.99 * error[2], error[2], 0.0]
    assert extra == pytest.approx(2.0 * error / np.std(returns), rel=1e-4)
    assert metrics["predictor_loss"] == pytest.approx(error[:3].mean(), rel=1e-4)
    for ours, theirs in zip(
        jax.tree.leaves(after.curiosity.target), jax.tree.leaves(state.curiosity.target), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)  # the target never learns


def test_what_was_seen_often_is_no_longer_new():
    learner, rng = Rnd(Listening(), learning_rate=1e-3, episodic=True), np.random.default_rng(0)
    known, other = places(65), places(65, seed=1) + 3.0
    state = learner.init(FEATURES, rng)
    for _ in range(200):
        state, _ = learner.update(state, walked(known, ended=False), rng)
    paid = []
    for each in (known, other):
        learner.update(state, walked(each, ended=False), rng)
        paid.append((learner.inner.heard[-1].reward - np.arange(64.0)).mean())
    assert paid[1] > 10 * paid[0]


def test_observations_are_clipped_at_five_deviations():
    scale = unscaled((1,))
    scale = replace(scale, squares=np.array([40.0]), rows=np.asarray(10.0))  # deviation 2
    assert looked_at(np.array([[4.0], [100.0], [-100.0]]), scale)[:, 0].tolist() == [2.0, 5.0, -5.0]


def test_a_batch_of_ends_alone_teaches_curiosity_nothing():
    learner, rng = Rnd(Listening()), np.random.default_rng(0)
    state = learner.init(FEATURES, rng)
    before = pack(state.curiosity.predictor)
    after, metrics = learner.update(state, walked(places(2), ended=True), rng)
    assert metrics["intrinsic_reward"] == 0.0
    for name, each in pack(after.curiosity.predictor).items():
        np.testing.assert_array_equal(each, before[name])


# ----------------------------------------------------------------------------------------------------------------- icm


def model_and_rows():
    learner = Icm(Listening())
    model = learner.init(FEATURES, np.random.default_rng(0)).curiosity.model
    rows = {
        "observation": places(4), "next_observation": places(4, seed=1), "action": np.array([0, 1, 1, 0]),
        "allowed": np.ones((4, 2), bool), "weight": np.ones(4, np.float32),
        "continuing": np.array([1.0, 1.0, 1.0, 0.0]),
    }  # fmt: skip
    return model, rows


def test_features_learn_from_the_inverse_model_alone():
    model, rows = model_and_rows()
    silent = replace(model, inverse=jax.tree.map(np.zeros_like, model.inverse))  # whose loss says nothing of features
    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=2)
    (_, told), gradients = compiled(silent, rows, "relu")
    assert float(told["inverse_loss"]) == pytest.approx(np.log(2.0))
    assert float(told["forward_loss"]) > 0
    assert all(not np.any(each) for each in jax.tree.leaves(gradients.features))
    assert np.any(gradients.forward.taken)
    assert np.any(compiled(model, rows, "relu")[1].features.head.weight)


def test_the_curiosity_reward_is_half_the_squared_error_of_the_forward_model():
    model, rows = model_and_rows()
    before, after = (
        np.asarray(embedded(model.features, rows[each], "relu")) for each in ("observation", "next_observation")
    )
    forward = model.forward
    hidden = np.maximum(before @ forward.seen.weight + forward.taken[rows["action"]] + forward.seen.bias, 0.0)
    wanted = 0.5 * ((hidden @ forward.head.weight + forward.head.bias - after) ** 2).sum(axis=1)
    assert np.asarray(predicted(model, rows, "relu")[1]) == pytest.approx(wanted, rel=1e-4)
    told = loss(model, rows, "relu")[1]
    assert float(told["forward_loss"]) == pytest.approx(wanted[:3].mean(), rel=1e-4)  # not the row that ends


def test_curiosity_pays_nothing_at_a_true_end_and_learns_which_action_was_taken():
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 2, 128)
    steps = np.stack([2.0 * actions - 1.0, rng.normal(size=128), np.zeros(128)], axis=1)
    batch = walked(np.r_[np.zeros((1, 3)), steps].astype(np.float32), ended=True, actions=actions)
    learner = Icm(Listening(), episodic=True)
    extra, metrics, _ = first(learner, FEATURES, batch, times=30)
    assert extra[-1] == 0.0
    assert (extra[:-1] > 0).all()
    assert metrics["inverse_loss"] < 0.1 < first(learner, FEATURES, batch)[1]["inverse_loss"]


def test_continuous_actions_have_no_inverse_model():
    dial = Spec(FEATURES.observation, Box(-1.0, 1.0, (1,)))
    with pytest.raises(InvalidInput) as raised:
        Icm(Listening()).init(dial, np.random.default_rng(0))
    assert raised.value.field == "action_space"


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("counts", "weight", -1.0), ("counts", "bits", 65), ("rnd", "discount", 1.0), ("icm", "epochs", 0)],
)
def test_hyper_parameters_out_of_range_are_refused(name, field, value):
    with pytest.raises(InvalidInput) as raised:
        build(f"motivation.{name}", {field: value})
    assert raised.value.field == field


# ------------------------------------------------------------------------------------------------ where it is needed


def deep_sea(size):
    """Osband et al. 2019: each step goes one row down, left for nothing or right for 0.01 / size; only `size` times
    right finds 1. A random walk finds it once in 2^size sessions, and is taught to go left."""
    end = size * size
    transition = np.zeros((end + 1, 2, end + 1))
    reward = np.zeros_like(transition)
    for row, column in np.ndindex(size, size):
        for action in (0, 1):
            place, there = row * size + column, min(max(column + 2 * action - 1, 0), size - 1)
            following = end if row == size - 1 else (row + 1) * size + there
            transition[place, action, following] = 1.0
            reward[place, action, following] = -0.01 / size * action
    reward[end - 1, 1, end] += 1.0
    transition[end, :, end] = 1.0
    everything = np.ones((end + 1, 2), bool)
    return Markov(transition, reward, np.eye(end + 1)[0], np.arange(end + 1) == end, everything, factor=0.999)


def reached(name, hyper, problem, rounds, sessions):
    learner, rng = build(name, hyper), np.random.default_rng(0)
    state = learner.init(problem.spec, rng)
    for _ in range(rounds):
        batch = problem.play(learner.policy(state, explore=True), sessions, rng)
        state, _ = learner.update(state, batch, rng)
    return problem.worth(learner.policy(state))


def test_counts_lead_a_table_to_the_bottom_of_the_deep_sea():
    inner = {"discount": 0.99, "learning_rate": 0.5}
    sea = deep_sea(10)
    assert reached("tabular.q_learning", inner, sea, 60, 20) <= 0.0
    counting = {"weight": 0.1, "inner": {"name": "tabular.q_learning", **inner}}
    assert reached("motivation.counts", counting, sea, 60, 20) == pytest.approx(sea.best)


@pytest.mark.parametrize("name", ["rnd", "icm"])
def test_curiosity_leads_a_network_to_the_bottom_of_the_deep_sea(name):
    sea = Seen(deep_sea(10), np.eye(101, dtype=np.float32))
    inner = {"name": "deep.ppo", "learning_rate": 2e-3, "epochs": 4, "minibatch": 256, "entropy_bonus": 0.01}
    learning_rate = {"rnd": 1e-3, "icm": 1e-3}[name]
    found = reached(f"motivation.{name}", {"learning_rate": learning_rate, "inner": inner}, sea, 40, 100)
    assert found == pytest.approx(sea.best, abs=0.02)
