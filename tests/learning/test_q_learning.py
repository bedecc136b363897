"""Q-learning reaches the exact values of problems whose answers are known."""

from collections import defaultdict
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains.probes.markov import corridor, cut, from_table, noisy, random_problem, trap, two_arms
from bondhu.errors import InvalidInput
from bondhu.learners.tabular.q_learning import QLearning, Table, compiled_sweep, row_finder, sweep
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch, Spec


def rng(seed=0):
    return np.random.default_rng(seed)


def learn(learner, probe, sessions, seed=0):
    return learner.update(learner.init(probe.spec, rng()), probe.play(Uniform(), sessions, rng(seed)), rng())


def improve(learner, probe, rounds, sessions):
    """Learn online: play with exploration, update, again."""
    state, source = learner.init(probe.spec, rng()), rng(1)
    for _ in range(rounds):
        batch = probe.play(learner.policy(state, explore=True), sessions, source)
        state, _ = learner.update(state, batch, source)
    return learner.policy(state)


def by_hand(values, batch, rate, factor):
    """The update rule, written again with dictionaries."""
    table = defaultdict(dict, {s: dict(enumerate(row)) for s, row in enumerate(values.tolist())})
    for t in range(len(batch)):
        s, a, target = batch.observation[t, 0], batch.action[t], batch.reward[t]
        if batch.discount[t]:
            following = table[batch.next_observation[t, 0]]
            target += factor * max(following[b] for b in np.flatnonzero(batch.next_allowed[t]))
        table[s][a] += rate * (target - table[s][a])
    return np.array([[table[s][a] for a in range(values.shape[1])] for s in range(len(values))])


def test_one_update_is_the_seeds_rule():
    learner, probe = QLearning(), corridor(2)
    state = learner.init(probe.spec, rng())
    state = replace(state, values=np.array([[0, 0], [2.0, 4.0], [0, 0]]), best=np.array([0, 4.0, 0]))
    step = probe.play(Uniform(), 20, rng()).take(np.array([0]))
    step = replace(step, action=np.array([1]), reward=np.array([1.0]), next_observation=np.array([[1]]))
    learned, metrics = learner.update(state, step, rng())
    assert learned.values[0, 1] == pytest.approx(0.1 * (1.0 + 0.95 * 4.0))
    assert metrics["td_error"] == pytest.approx(4.8)
    assert metrics["largest_value"] == pytest.approx(0.48)
    assert (learned.updates, learned.states, learned.cells) == (1, 1, 1)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_the_kernel_agrees_with_dictionaries_and_with_its_own_plain_python(seed, masked, power):
    source = rng(seed)
    probe = random_problem(6, 3, source)
    if masked:
        allowed = source.random((6, 3)) < 0.5
        allowed[:, 0] = True
        probe = replace(probe, allowed=allowed)
    batch = probe.play(Uniform(), 10, source)
    learner = QLearning(learning_rate=0.3)
    state, _ = learner.update(learner.init(probe.spec, source), batch, source)
    np.testing.assert_allclose(state.values, by_hand(np.zeros((6, 3)), batch, 0.3, 0.95), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(state.best, state.values.max(axis=1))
    rows = (batch.observation[:, 0], batch.action, batch.reward, batch.discount, batch.next_observation[:, 0])
    tables = [(np.zeros((6, 3)), np.zeros((6, 3), np.int32), np.zeros(6)) for _ in range(2)]
    results = [
        run(table, (*rows, batch.next_allowed), (0.3, power), True)
        for run, table in zip((sweep, compiled_sweep()), tables, strict=True)
    ]
    assert results[0] == pytest.approx(results[1], rel=1e-12)
    np.testing.assert_allclose(tables[0][0], tables[1][0], rtol=1e-12)
    assert results[0][3:] == ((tables[0][1] > 0).sum(), (tables[0][1] > 0).any(axis=1).sum())


def test_two_arms_get_their_values():
    state, metrics = learn(QLearning(), two_arms(), 200)
    assert state.values[0] == pytest.approx([0.2, 0.8], abs=1e-3)
    assert metrics["reward"] == pytest.approx(0.5, abs=0.1)


def test_a_step_of_one_over_tries_is_exactly_the_mean():
    probe = noisy()
    batch = probe.play(Uniform(), 500, rng())
    learner = QLearning(learning_rate=1.0, step_power=1.0)
    state, _ = learner.update(learner.init(probe.spec, rng()), batch, rng())
    means = [batch.reward[batch.action == arm].mean() for arm in (0, 1)]
    assert state.values[0] == pytest.approx(means, abs=1e-12)
    assert state.visits[0].tolist() == np.bincount(batch.action).tolist()


def test_the_corridor_passes_credit_back_to_its_start():
    probe = corridor()
    state, _ = learn(QLearning(learning_rate=0.5), probe, 500)
    optimum = probe.optimum(0.95)
    assert optimum[:8, 1] == pytest.approx(0.95 ** np.arange(7, -1, -1))
    assert state.values[:8] == pytest.approx(optimum[:8], abs=1e-6)


def test_a_cut_is_not_an_end():
    state, _ = learn(QLearning(discount=0.9), cut(), 2_000)
    assert state.values[0, 0] == pytest.approx(10.0, abs=1e-6)
    ended = cut().play(Uniform(), 2_000, rng())
    ended = replace(ended, discount=ended.has_next.astype(float))  # the mistake this probe is there to catch
    mistaken, _ = QLearning(discount=0.9).update(QLearning().init(cut().spec, rng()), ended, rng())
    assert mistaken.values[0, 0] < 5.0


def test_the_maximum_is_over_allowed_actions():
    probe = trap()
    rigged = replace(QLearning().init(probe.spec, rng()), values=np.array([[0, 0], [0, 10.0], [0, 0]]))
    batch = probe.play(Uniform(), 300, rng())
    state, _ = QLearning(discount=0.5).update(rigged, batch, rng())
    assert state.values[0] == pytest.approx([0.25, 0.25], abs=1e-4)


def test_more_passes_over_one_batch_reach_the_exact_values_of_a_random_problem():
    probe = random_problem(8, 3, rng(3))
    learner = QLearning(discount=0.8, learning_rate=1.0, step_power=0.8, passes=30)
    state, _ = learn(learner, probe, 20_000)
    assert state.values[:7] == pytest.approx(probe.optimum(0.8)[:7], abs=0.05)
    best = probe.optimum(0.8)[:7].max(axis=1)[0]
    assert probe.value(learner.policy(state), 0.8) == pytest.approx(best, abs=0.02)


def test_learning_in_windows_is_learning_at_once():
    probe = random_problem(8, 3, rng(3))
    batch = probe.play(Uniform(), 200, rng())
    learner = QLearning()
    once, _ = learner.update(learner.init(probe.spec, rng()), batch, rng())
    windows = learner.init(probe.spec, rng())
    for week in np.array_split(np.arange(len(batch)), 7):
        windows, _ = learner.update(windows, batch.take(week), rng())
    np.testing.assert_array_equal(once.values, windows.values)
    assert (once.states, once.cells, once.updates) == (windows.states, windows.cells, windows.updates)
    assert once.rounds == windows.rounds == 200


def test_a_table_made_from_its_cells_goes_on_learning_like_the_original():
    probe = random_problem(8, 3, rng(3))
    batch = probe.play(Uniform(), 50, rng())
    state, _ = learn(QLearning(), probe, 50)
    again = Table.of(state.values.copy(), state.visits.copy(), state.sizes)
    assert (again.states, again.cells, again.updates) == (state.states, state.cells, state.updates)
    ours, theirs = (QLearning().update(each, batch, rng())[0] for each in (state, again))
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(ours.best, theirs.best)


def test_exploration_decays_once_per_session_down_to_its_minimum():
    here, allowed = np.array([[0]]), np.ones((1, 2), bool)
    for sessions, epsilon in ((10, 0.3 * 0.995**10), (5_000, 0.05)):
        state, metrics = learn(QLearning(), two_arms(), sessions)
        assert state.rounds == metrics["rounds"] == sessions
        exploring = QLearning().policy(state, explore=True)
        assert exploring.distribution(here, allowed).min() == pytest.approx(epsilon / 2)


def test_a_pessimist_prefers_what_was_tried_often_to_what_was_lucky_once():
    visits, values = np.array([[1, 100, 0]], np.int32), np.array([[0.5, 0.3, 0.0]])
    state = Table(values, visits, values.max(axis=1), np.array([1]), 0, 1.0, updates=101, states=1, cells=2)
    here, allowed = np.array([[0]]), np.ones((1, 3), bool)
    assert QLearning().policy(state).distribution(here, allowed)[0].tolist() == [1.0, 0.0, 0.0]
    pessimist = QLearning(pessimism=0.5).policy(state)
    np.testing.assert_allclose(pessimist.values(here), [[0.5 - 0.5, 0.3 - 0.05, 0.0 - 0.5 * 2**0.5]])
    assert pessimist.distribution(here, allowed)[0].tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "limit", "learner", "optimum", "tolerance"),
    [
        ("FrozenLake-v1", 100, QLearning(discount=0.99, learning_rate=0.8, step_power=0.6), 0.7442, 0.02),
        ("CliffWalking-v1", 200, QLearning(discount=1.0, learning_rate=1.0), -13.0, 1e-9),
    ],
)
def test_it_acts_optimally_in_toy_text(name, limit, learner, optimum, tolerance):
    env = gymnasium.make(name).unwrapped
    probe = from_table(env.P, env.initial_state_distrib, limit)
    policy = improve(replace(learner, exploration=EpsilonGreedy(0.3, 0.995, 0.1)), probe, rounds=60, sessions=100)
    batch = probe.play(policy, 20_000, rng(9))
    assert batch.reward.sum() / 20_000 == pytest.approx(optimum, abs=tolerance)


def test_a_wide_state_space_is_hashed_into_rows_and_still_learns():
    sizes = [5] * 12  # 244 million states
    learner = QLearning(hashed_rows=2**14)
    count = 6_000
    contexts = rng(2).integers(0, 5, (100, 12))
    which, action = rng(3).integers(0, 100, count), rng(4).integers(0, 2, count)
    observation, allowed = contexts[which], np.ones((count, 2), bool)
    reward = (action == which % 2).astype(float)
    zeros = np.zeros(count)
    batch = Batch(
        observation,
        allowed,
        action,
        zeros + 0.5,
        reward,
        zeros,
        zeros > 0,
        observation * 0,
        allowed,
        np.arange(count),
        zeros,
        np.empty((count, 0)),
    )
    state, _ = learner.update(learner.init(Spec(MultiDiscrete(sizes), Discrete(2)), rng()), batch, rng())
    assert state.values.shape == (2**14, 2)
    best = learner.policy(state).distribution(contexts, allowed[:100])[:, 1]
    assert (best == np.arange(100) % 2).mean() >= 0.98


def test_dense_rows_are_one_to_one_and_hashed_rows_spread_evenly():
    grid = np.array(np.unravel_index(np.arange(60), (3, 4, 5))).T
    assert row_finder(np.array([3, 4, 5]), 60)(grid).tolist() == list(range(60))
    many = np.array(np.unravel_index(np.arange(10**5), (10,) * 5)).T
    load = np.bincount(row_finder(np.full(5, 10), 1_000)(many), minlength=1_000)
    assert load.mean() == 100
    assert load.var() == pytest.approx(100, rel=0.2)  # Poisson: variance = mean
    narrow = row_finder(np.full(5, 10), 1_000)(many.astype(np.uint8))
    assert narrow.tolist() == row_finder(np.full(5, 10), 1_000)(many).tolist()


@pytest.mark.parametrize(
    ("field", "row", "value"),
    [("observation", 2, 99), ("observation", 2, -1), ("next_observation", 1, 99), ("action", 4, 2), ("action", 4, -1),
     ("reward", 3, np.inf), ("next_allowed", 0, False)],
)  # fmt: skip
def test_what_would_write_outside_the_table_is_refused(field, row, value):
    probe = corridor()
    batch = probe.play(Uniform(), 5, rng())
    column = getattr(batch, field).copy()
    column[row] = value
    state = QLearning().init(probe.spec, rng())
    with pytest.raises(InvalidInput) as raised:
        QLearning().update(state, replace(batch, **{field: column}), rng())
    assert raised.value.field == field
    assert not state.values.any()


def test_rewards_too_large_to_add_up_are_refused():
    batch, learner = two_arms().play(Uniform(), 5, rng()), QLearning(initial_value=-1e308)
    state, huge = learner.init(two_arms().spec, rng()), replace(batch, reward=np.full(5, 1.7e308))
    with pytest.raises(InvalidInput, match=r"Row 0 needs a number below 1e\+100: scale the rewards down"):
        learner.update(state, huge, rng())
    assert (state.values == -1e308).all()  # nothing was written


@pytest.mark.parametrize(
    ("observation", "action"),
    [(Box(0, 1, (3,)), Discrete(2)), (MultiDiscrete([3, 3], start=[1, 0]), Discrete(2)), (Discrete(3), Box(0, 1))],
)
def test_spaces_that_do_not_fit_a_table_are_refused(observation, action):
    with pytest.raises(InvalidInput, match="A table needs"):
        QLearning().init(Spec(observation, action), rng())
