"""Continuous actions: the regression against closed forms, densities that are densities, and known optima."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains import probes
from bondhu.errors import InvalidInput
from bondhu.learners import pack
from bondhu.learners.bandit.cats import Cats, chained_ridge
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.policies.by_value import ByValue
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.greedy import greedy
from bondhu.policies.interval import Smoothed, Windows
from bondhu.types import Spec

DIAL, PEAK = probes.find("dial"), probes.find("peak")
WHOLE = np.ones((64, 1), bool)


def logged(rows, seed=0, probe=DIAL, policy=None):
    return probe.play(policy or probe.uniform, rows, np.random.default_rng(seed))


def learned(batch, learner=None, spec=DIAL.spec):
    learner, rng = learner or Cats(), np.random.default_rng(0)
    return learner.update(learner.init(spec, rng), batch, rng)[0]


def share_of_best(probe, learner, seeds=3, rounds=20):
    """Of what there is to gain over acting without looking, after `rounds` x 100 decisions of its own."""
    nothing, shares = probe.worth(probe.uniform), []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        state = learner.init(probe.spec, rng)
        for _ in range(rounds):
            batch = probe.play(learner.policy(state, explore=True), 100, rng)
            state, _ = learner.update(state, batch, rng)
        shares.append((probe.worth(learner.policy(state)) - nothing) / (probe.best - nothing))
    return float(np.mean(shares))


def test_regressions_in_a_row_are_one_large_ridge_regression():
    rng = np.random.default_rng(0)
    designs, ridge, alike = rng.standard_normal((5, 9, 3)), 0.3, 2.0
    gram, cross = designs.swapaxes(1, 2) @ designs, rng.standard_normal((5, 3))
    chain = np.diff(np.eye(5), axis=0)
    hessian = np.kron(alike * chain.T @ chain + ridge * np.eye(5), np.eye(3))
    for k in range(5):
        hessian[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] += gram[k]
    coefficients, covariance = chained_ridge(gram, cross, ridge, alike)
    np.testing.assert_allclose(coefficients.ravel(), np.linalg.solve(hessian, cross.ravel()), rtol=1e-9)
    inverse = np.linalg.inv(hessian).reshape(5, 3, 5, 3)
    np.testing.assert_allclose(covariance, [inverse[k, :, k] for k in range(5)], rtol=1e-9, atol=1e-12)


def test_rows_count_one_over_width_times_density_in_each_window_that_holds_them():
    learner = Cats(bins=5, bandwidth=0.15, waves=0)
    policy = Smoothed(ByValue(lambda seen: np.arange(5.0) * seen[:, :1], greedy), Windows(10.0, 30.0, 5, 0.15))
    batch = logged(60, policy=policy)
    state = learned(batch, learner)
    windows = policy.windows
    standard = (batch.reward - batch.reward.mean()) / batch.reward.std()
    for k in range(5):
        low, high = windows.reach[:, k]
        inside = (batch.action >= low) & (batch.action < high)
        weight = inside / ((high - low) * batch.probability)
        assert state.evidence[k, 0, 0] == pytest.approx(weight.sum())
        assert state.evidence[k, 0, -1] == pytest.approx(weight @ standard)
        assert state.evidence[k, -1, -1] == pytest.approx(weight @ standard**2)
        assert state.squares[k] == pytest.approx(weight @ weight)


def smoothed(probe, learner):
    """The exact mean reward of each centre's window, `[64, bins]`."""
    windows = Windows(probe.low, probe.high, learner.bins, learner.bandwidth)
    each = [ByValue(lambda seen, k=k: np.eye(learner.bins)[np.full(len(seen), k)], greedy) for k in range(learner.bins)]
    worth = np.empty((64, learner.bins))
    for row in range(64):
        alone = replace(probe, observation=probe.observation[row : row + 1], place=probe.place[row : row + 1])
        worth[row] = [alone.worth(Smoothed(centre, windows)) for centre in each]
    return worth


@pytest.mark.parametrize("logging", ["uniform", "narrow"])
def test_values_become_the_smoothed_rewards_whoever_logged_them(logging):
    """Where many rows of one policy lie, they must not count more than the few of another place."""
    learner = Cats(bins=6, bandwidth=1 / 6, ridge=0.01, alike=0.1)
    quiet = replace(DIAL, noise=0.01)
    crowd = ByValue(lambda seen: np.tile([0.02, 0.02, 0.9, 0.02, 0.02, 0.02], (len(seen), 1)), lambda values, _: values)
    policy = Smoothed(crowd, Windows(10.0, 30.0, 6, 1 / 12)) if logging == "narrow" else None
    state = learned(logged(20_000, probe=quiet, policy=policy), learner)
    value, truth = learner.beliefs(state)(DIAL.observation).value, smoothed(DIAL, learner)
    assert np.abs(value - truth).mean() < 0.04  # the truth varies by 0.5
    assert np.abs(value.mean(axis=0) - truth.mean(axis=0)).max() < 0.03


def test_errors_are_about_as_large_as_the_mistakes():
    """Of values that have settled: 2.5 errors hold nearly all mistakes, one error does not."""
    learner = Cats(bins=6, bandwidth=1 / 6)
    belief = learner.beliefs(learned(logged(3_000), learner))(DIAL.observation)
    mistake = np.abs(belief.value - smoothed(DIAL, learner)) / belief.error
    assert np.mean(mistake < 2.5) > 0.95
    assert np.mean(mistake < 0.5) < 0.5


def test_tries_are_effective_rows():
    learner = Cats(bins=4, bandwidth=1 / 8)  # windows side by side: from a uniform log all rows weigh the same
    batch = logged(400)
    tries = learner.beliefs(learned(batch, learner))(DIAL.observation[:1]).tries[0]
    assert tries == pytest.approx(np.histogram(batch.action, 4, (10.0, 30.0))[0])


def test_exploring_is_uniform_near_the_best_centre_and_anywhere_with_epsilon():
    learner = Cats(exploration=EpsilonGreedy(0.2))
    state = learned(logged(500))
    best = learner.beliefs(state)(DIAL.observation).value.argmax(axis=1)
    low, high = Windows(10.0, 30.0, learner.bins, learner.bandwidth).reach[:, best]
    exploring, acting = (learner.policy(state, explore=explore) for explore in (True, False))
    inside, outside = (low + high) / 2, np.where(low > 11.0, low - 0.01, high + 0.01)
    assert acting.probability(DIAL.observation, WHOLE, inside) == pytest.approx(1 / (high - low))
    assert acting.probability(DIAL.observation, WHOLE, outside) == pytest.approx(np.zeros(64))
    assert exploring.probability(DIAL.observation, WHOLE, inside) == pytest.approx(0.8 / (high - low) + 0.2 / 20)
    assert exploring.probability(DIAL.observation, WHOLE, outside) == pytest.approx(np.full(64, 0.01))


def test_before_any_feedback_it_acts_anywhere():
    state = Cats().init(DIAL.spec, np.random.default_rng(0))
    for explore in (False, True):
        assert DIAL.worth(Cats().policy(state, explore=explore)) == pytest.approx(DIAL.worth(DIAL.uniform))


def test_the_unit_of_the_interval_does_not_matter():
    batch = logged(300)
    other = replace(batch, action=1000 * batch.action - 500, probability=batch.probability / 1000)
    wide = replace(DIAL.spec, action=Box(9_500.0, 29_500.0, (1,), np.float64))
    ours = Cats().beliefs(learned(batch))(DIAL.observation).value
    theirs = Cats().beliefs(learned(other, spec=wide))(DIAL.observation).value
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


def test_units_of_features_and_rewards_do_not_matter():
    batch, units = logged(300), np.array([1e-3, 1e3, 30.0, 1.0])
    other = replace(batch, observation=batch.observation * units, reward=100 * batch.reward + 7)
    ours = Cats().beliefs(learned(batch))(batch.observation)
    theirs = Cats().beliefs(learned(other))(other.observation)
    np.testing.assert_allclose(theirs.value, 100 * ours.value + 7, rtol=1e-6)
    np.testing.assert_allclose(theirs.error, 100 * ours.error, rtol=1e-6)


def test_waves_learn_a_peak_that_linear_models_miss():
    bent, linear = (share_of_best(PEAK, Cats(waves=waves), rounds=15) for waves in (32, 0))
    assert bent > 0.78
    assert linear < 0.75


def test_2000_decisions_of_its_own_reach_94_percent_on_the_dial():
    assert share_of_best(DIAL, Cats()) > 0.94


def test_two_batches_teach_what_one_does_and_a_stored_version_stays():
    learner, batch = Cats(), logged(300)
    first = np.arange(300) < 100
    stored = learned(batch.take(first))
    arrays = pack(stored)
    frozen = replace(stored, evidence=arrays["evidence"], squares=arrays["squares"])
    before = {name: array.copy() for name, array in arrays.items()}
    after, _ = learner.update(frozen, batch.take(~first), np.random.default_rng(0))
    for name, array in pack(frozen).items():
        np.testing.assert_array_equal(array, before[name])
    blank = replace(stored, evidence=0 * stored.evidence, squares=0 * stored.squares)
    whole, _ = learner.update(blank, batch, np.random.default_rng(0))
    np.testing.assert_allclose(after.evidence, whole.evidence, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (Spec(MultiDiscrete([3]), Box(0, 1, (1,))), "observation", "needs features"),
        (Spec(Box(-1, 1, (3, 2)), Box(0, 1, (1,))), "observation", "one dimension"),
        (Spec(Box(-1, 1, (3,)), Discrete(4)), "action", "needs an interval"),
        (Spec(Box(-1, 1, (3,)), Box(0, 1, (2,))), "action", "needs an interval"),
        (Spec(Box(-1, 1, (3,)), Box(0, np.inf, (1,))), "action", "finite ends"),
        (Spec(Box(-1, 1, (3,)), Box(-np.inf, 0, (1,))), "action", "finite ends"),
    ],
)
def test_spaces_that_are_not_an_interval_are_refused(spec, field, message):
    with pytest.raises(InvalidInput, match=message) as raised:
        Cats().init(spec, np.random.default_rng(0))
    assert raised.value.field == field


def test_a_table_refuses_an_interval():
    with pytest.raises(InvalidInput, match="Discrete") as raised:
        QLearning().init(Spec(MultiDiscrete([3]), Box(0, 1, (1,))), np.random.default_rng(0))
    assert raised.value.field == "action"


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("probability", 0.0, "Row 4 needs a density above 0"),
        ("probability", -0.1, "Row 4 needs a density above 0"),
        ("probability", np.nan, "Row 4 needs a density above 0"),
        ("probability", np.inf, "Row 4 needs a density above 0"),
        ("action", 9.99, "Row 4 lies outside of the interval from 10 to 30"),
        ("action", 30.01, "Row 4 lies outside of the interval from 10 to 30"),
        ("action", np.nan, "Row 4 lies outside"),
        ("reward", np.nan, "Row 4 needs a number"),
    ],
)
def test_a_batch_that_would_spoil_the_model_is_refused_and_changes_nothing(name, wrong, message):
    learner, batch = Cats(), logged(10)
    state = learned(batch)
    before, column = pack(state), getattr(batch, name).copy()
    column[4] = wrong
    with pytest.raises(InvalidInput, match=message) as raised:
        learner.update(state, replace(batch, **{name: column}), np.random.default_rng(0))
    assert raised.value.field == name
    for key, array in pack(state).items():
        np.testing.assert_array_equal(array, before[key])


def test_actions_as_a_column_are_refused_with_the_shape():
    batch = logged(10)
    with pytest.raises(InvalidInput, match=r"\(10, 1\).*It needs the shape \[T\]"):
        learned(replace(batch, action=batch.action[:, None]))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"bins": 0}, "bins"), ({"bandwidth": 0.01}, "bandwidth"), ({"waves": -1}, "waves"), ({"ridge": 0.0}, "ridge")],
)
def test_hyper_parameters_out_of_range_are_refused(wrong, field):
    with pytest.raises(InvalidInput) as raised:
        Cats(**wrong)
    assert raised.value.field == field
