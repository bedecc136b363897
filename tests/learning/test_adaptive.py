"""Learners that follow a changing world: windows, restarts and fading evidence against a learner that never forgets."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.compiled import compiled
from bondhu.errors import InvalidInput
from bondhu.learners import build, carried, pack, unpack
from bondhu.learners._states import renumbered
from bondhu.learners.adaptive.restarting import LARGEST, watch
from bondhu.types import Batch, Spec

SPEC = Spec(MultiDiscrete([1]), Discrete(3))
ALLOWED = np.ones((1, 3), bool)
HERE = np.zeros((1, 1), np.int64)
BEFORE, AFTER = np.array([0.7, 0.5, 0.2]), np.array([0.2, 0.5, 0.8])
STABLE = {"name": "tabular.q_learning", "discount": 0.0, "learning_rate": 1.0, "step_power": 1.0,
          "exploration": {"name": "epsilon_greedy", "epsilon": 0.1}}  # fmt: skip
FADING = {**STABLE, "learning_rate": 0.05, "step_power": 0.0}


def made(name, **more):
    fields = dict(more)
    return build(name, fields)


def rows(action, reward):
    count = len(action)
    return Batch.single(
        np.zeros((count, 1), np.int64), np.ones((count, 3), bool), action, np.full(count, 1 / 3), reward
    )


def play(learner, steps, change, seed):
    """Regret of each decision with a change of all means after `change` steps; ten decisions at a time."""
    rng = np.random.default_rng(seed)
    state, regrets = learner.init(SPEC, rng), []
    for step in range(0, steps, 10):
        mean = BEFORE if step < change else AFTER
        policy = learner.policy(state, explore=True)
        chances = policy.distribution(HERE, ALLOWED)[0]
        action = policy.sample(np.zeros((10, 1), np.int64), np.ones((10, 3), bool), rng).action
        regrets += [mean.max() - chances @ mean] * 10
        state, _ = learner.update(state, rows(action, (rng.random(10) < mean[action]).astype(float)), rng)
    return np.array(regrets), state


LEARNERS = {
    "fading": build("tabular.q_learning", {key: value for key, value in FADING.items() if key != "name"}),
    "windowed": made("adaptive.windowed", inner=STABLE, window=300, refresh=50),
    "restarting": made("adaptive.restarting", inner=STABLE),
}
NEVER = build("tabular.q_learning", {key: value for key, value in STABLE.items() if key != "name"})


@pytest.mark.parametrize("name", LEARNERS)
def test_after_a_change_it_regrets_less_than_a_learner_that_never_forgets(name):
    after = slice(2_000, 4_000)
    ours = [play(LEARNERS[name], 4_000, 2_000, seed)[0][after].mean() for seed in range(5)]
    theirs = [play(NEVER, 4_000, 2_000, seed)[0][after].mean() for seed in range(5)]
    assert np.mean(ours) < 0.6 * np.mean(theirs)


@pytest.mark.parametrize("name", LEARNERS)
def test_without_a_change_it_is_nearly_as_good(name):
    ours = np.mean([play(LEARNERS[name], 2_000, 9_999, seed)[0].mean() for seed in range(5)])
    theirs = np.mean([play(NEVER, 2_000, 9_999, seed)[0].mean() for seed in range(5)])
    assert ours < theirs + 0.03


def test_a_change_is_noticed_once_and_what_came_before_is_dropped():
    _, state = play(LEARNERS["restarting"], 4_000, 2_000, seed=0)
    assert state.restarts == 1
    believed = LEARNERS["restarting"].beliefs(state)(HERE).value[0]
    assert believed[2] == pytest.approx(0.8, abs=0.05)


def test_a_stable_world_raises_hardly_an_alarm():
    alarms = [play(LEARNERS["restarting"], 3_000, 9_999, seed)[1].restarts for seed in range(10)]
    assert sum(alarms) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_arms_of_very_different_noise_raise_no_alarm_in_a_stable_world(seed):
    learner, rng = made("adaptive.restarting"), np.random.default_rng(seed)
    state = learner.init(SPEC, rng)
    for _ in range(200):
        action = rng.integers(0, 3, 100)
        state, _ = learner.update(state, rows(action, rng.normal(size=100) * np.array([0.1, 1.0, 3.0])[action]), rng)
    assert (state.seen, state.restarts) == (20_000, 0)


@given(st.integers(0, 2**32 - 1), st.floats(2.0, 12.0), st.integers(0, 6))
@settings(max_examples=30, deadline=None)
def test_the_detector_is_its_two_sums_written_out(seed, threshold, patience):
    rng = np.random.default_rng(seed)
    error, action = rng.normal(0.3, 1.0, 60), rng.integers(0, 2, 60)
    up, down, start, expected = [0.0, 0.0], [0.0, 0.0], {}, -1
    count, squares = [0.0, 0.0], [0.0, 0.0]
    for t, (e, a) in enumerate(zip(error.tolist(), action.tolist(), strict=True)):
        if count[a] >= patience and squares[a] > 0:
            z = float(np.clip(e / np.sqrt(squares[a] / count[a]), -LARGEST, LARGEST))
            for side, sums, sign in ((0, up, 1), (1, down, -1)):
                if sums[a] == 0.0:
                    start[a, side] = 7 + t
                sums[a] = max(0.0, sums[a] + sign * z - 0.25)
                if sums[a] > threshold and expected < 0:
                    expected = start[a, side]
            if expected >= 0:
                break
        count[a], squares[a] = count[a] + 1, squares[a] + e * e
    detector = (np.zeros((2, 2)), np.zeros((2, 2), np.int64), np.zeros((2, 2)))
    for run in (watch, compiled(watch)):
        fresh = tuple(each.copy() for each in detector)
        assert run(fresh, error, action, 7, (threshold, 0.25, float(patience))) == expected


def test_a_window_holds_the_last_rows_and_learning_starts_again_from_them():
    learner, rng = made("adaptive.windowed", inner=STABLE, window=5, refresh=4), np.random.default_rng(0)
    state = learner.init(SPEC, rng)
    state, _ = learner.update(state, rows(np.zeros(3, int), np.array([1.0, 1.0, 1.0])), rng)
    assert learner.beliefs(state)(HERE).tries[0, 0] == 3
    state, metrics = learner.update(state, rows(np.zeros(6, int), np.zeros(6)), rng)
    belief = learner.beliefs(state)(HERE)
    assert metrics["window_rows"] == 5
    assert (belief.tries[0, 0], belief.value[0, 0]) == (5.0, 0.0)  # the ones are forgotten
    assert state.since == 0


def test_windows_and_watches_are_stored_and_go_on():
    for name in ("windowed", "restarting"):
        learner, rng = LEARNERS[name], np.random.default_rng(0)
        _, state = play(learner, 200, 100, seed=1)
        again = unpack(learner, pack(state))
        more = rows(np.arange(30) % 3, np.ones(30))
        ours, theirs = (pack(learner.update(each, more, rng)[0]) for each in (state, again))
        assert ours.keys() == theirs.keys()
        for key, array in ours.items():
            np.testing.assert_array_equal(array, theirs[key])


def test_the_rows_of_a_window_are_renumbered_when_actions_change_places():
    learner, rng = LEARNERS["windowed"], np.random.default_rng(0)
    state, _ = learner.update(learner.init(SPEC, rng), rows(np.array([0, 1, 2, 2]), np.arange(4.0)), rng)
    wider = Spec(MultiDiscrete([1]), Discrete(4))
    moved = carried(learner.init(wider, rng), state, np.array([2, -1, 0, -1]))  # action 1 is gone, two are new
    assert moved.rows.action.tolist() == [2, 0, 0]
    assert moved.rows.allowed.tolist() == [[True, False, True, False]] * 3
    assert moved.rows.reward.tolist() == [0.0, 2.0, 3.0]


def test_a_wrapper_observes_what_the_learner_within_observes():
    assert LEARNERS["windowed"].observes is MultiDiscrete
    with pytest.raises(InvalidInput, match="single actions"):
        LEARNERS["windowed"].init(Spec(MultiDiscrete([1]), Box(0, 1)), np.random.default_rng(0))


@pytest.mark.parametrize("name", ["windowed", "restarting"])
def test_the_fresh_state_stays_fresh_in_arrays_that_may_be_written_to(name):
    """As a registry gives them out: mapped copy-on-write."""
    learner, rng = LEARNERS[name], np.random.default_rng(0)
    arrays = {key: np.array(array) for key, array in pack(learner.init(SPEC, rng)).items()}
    state = unpack(learner, arrays)
    for step in range(120):  # windows start again, and the change below is noticed
        reward = np.full(10, float(step >= 60)) + rng.normal(size=10) * 0.1
        state, _ = learner.update(state, rows(np.arange(10) % 3, reward), rng)
    assert getattr(state, "restarts", 1) >= 1
    assert not state.fresh.visits.any()
    assert state.inner.visits.sum() <= 1_000


@pytest.mark.parametrize("name", ["windowed", "restarting"])
def test_an_unknown_code_is_refused_in_the_words_of_the_learner_within(name):
    learner, rng = LEARNERS[name], np.random.default_rng(0)
    wrong = replace(rows(np.zeros(1, int), np.ones(1)), observation=np.array([[7]]))
    with pytest.raises(InvalidInput, match="Column 0 has the codes 0 to 0"):
        learner.update(learner.init(SPEC, rng), wrong, rng)


def test_a_window_keeps_the_parts_of_a_vector_reward():
    inner = {"name": "objectives.vector_reward", "weights": {"reward": 1.0, "a/b c": 0.5}}
    with pytest.raises(InvalidInput, match="part 'a/b c'"):
        made("adaptive.windowed", inner=inner)
    inner = {"name": "objectives.vector_reward", "weights": {"reward": 1.0, "novelty": 0.5}}
    learner, rng = made("adaptive.windowed", inner=inner, window=4, refresh=4), np.random.default_rng(0)
    state = learner.init(SPEC, rng)
    for start in range(0, 12, 2):
        batch = rows(np.zeros(2, int), np.ones(2))
        parts = {"novelty": np.arange(start, start + 2.0), "other/part": np.ones(2)}
        state, _ = learner.update(state, replace(batch, objectives=parts), rng)
    assert state.rows.objectives["novelty"].tolist() == [8.0, 9.0, 10.0, 11.0]
    assert learner.beliefs(state)(HERE).value[0, 0] == pytest.approx(1.0 + 0.5 * 9.5)
    again = unpack(learner, pack(state))
    assert again.rows.objectives["other/part"].tolist() == [1.0] * 4
    state, _ = learner.update(again, replace(batch, objectives={"novelty": np.zeros(2)}), rng)
    assert state.rows.objectives["other/part"].tolist() == [1.0, 1.0, 0.0, 0.0]  # what was not said is 0


def test_nothing_follows_a_decision_once_the_next_one_is_gone():
    batch = replace(
        rows(np.array([0, 2, 1]), np.array([0.0, 0.0, 1.0])),
        observation=np.array([[0], [1], [2]]), next_observation=np.array([[1], [2], [0]]),
        discount=np.array([1.0, 1.0, 0.0]), has_next=np.array([True, True, False]), session=np.zeros(3, np.int64),
    )  # fmt: skip
    kept = renumbered(batch, np.array([0, 1]))
    assert kept.observation.ravel().tolist() == [0, 2]
    assert kept.has_next.tolist() == [False, False]
    assert kept.next_observation.ravel().tolist() == [1, 0]
    assert renumbered(batch, np.array([2, 1, 0])).has_next.tolist() == [True, True, False]


def test_the_candidates_of_a_window_are_renumbered():
    learner, rng = made("adaptive.windowed", inner={"name": "bandit.online_regression"}), np.random.default_rng(0)
    seen = rng.standard_normal((6, 3, 2))
    batch = replace(rows(np.arange(6) % 3, np.arange(6.0)), observation=seen, next_observation=np.zeros_like(seen))
    state, _ = learner.update(learner.init(Spec(Box(-9, 9, (3, 2)), Discrete(3)), rng), batch, rng)
    fresh = learner.init(Spec(Box(-9, 9, (4, 2)), Discrete(4)), rng)
    moved = carried(fresh, state, np.array([2, -1, 0, 1]))
    np.testing.assert_array_equal(moved.rows.observation[:, [2, 3, 0]], seen)
    assert not moved.rows.observation[:, 1].any()
    wider = np.concatenate([seen, seen[:, :1]], axis=1)
    more = Batch.single(wider, np.ones((6, 4), bool), np.arange(6) % 4, np.full(6, 0.25), np.ones(6))
    assert len(learner.update(moved, more, rng)[0].rows) == 12
