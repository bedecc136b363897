"""Estimators on a dial: exact where the policy has a density, within the window where it has none."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from bondhu import evaluate
from bondhu.domains.probes.dial import dial, peak
from bondhu.evaluate.decisions.kernel import KernelDoublyRobust, KernelInversePropensity, KernelSelfNormalised
from bondhu.evaluate.selection import choose, tuned
from bondhu.policies.by_value import ByValue
from bondhu.policies.epsilon_greedy import epsilon_greedy
from bondhu.policies.interval import Smoothed, Windows
from bondhu.types import Batch, Choice
from tests.contract.small_world import TARGET, Tabled, simulated

ALL = (KernelInversePropensity, KernelSelfNormalised, KernelDoublyRobust)
every = pytest.mark.parametrize("judge", ALL, ids=[each.name for each in ALL])
WORLD = dial()
PLACE = {row.tobytes(): place for row, place in zip(WORLD.observation, WORLD.place, strict=True)}


def places(observation):
    return np.array([PLACE[row.tobytes()] for row in observation])


def near(width=1 / 12, bins=12, rate=0.2):
    """In the window of the centre that is nearest to the right place; now and then anywhere."""
    windows = Windows(10.0, 30.0, bins, width)
    centres = 10 + 20 * (np.arange(bins) + 0.5) / bins

    def values(observation):
        return -np.abs(centres - places(observation)[:, None])

    return Smoothed(ByValue(values, lambda value, allowed: epsilon_greedy(value, allowed, rate)), windows)


@dataclass(frozen=True)
class Exactly:
    """Always the right place, moved by this much and kept inside of the interval."""

    moved: float

    def place(self, observation):
        return np.clip(places(observation) + self.moved, 10.0, 30.0)

    def sample(self, observation, allowed, rng):
        rng.random(len(observation))
        action = self.place(observation)
        return Choice(action, np.full(len(action), np.nan), np.empty((len(action), 0)))

    def worth(self, world):
        return float(world.mean(world.place, self.place(world.observation)).mean())


def evenly(world, steps=200):
    """Every context at every one of evenly spaced places, without noise: what a uniform log is on average."""
    rows = np.repeat(np.arange(64), steps)
    action = np.tile(10 + 20 * (np.arange(steps) + 0.5) / steps, 64)
    batch = replace(world, noise=0.0).play(world.uniform, 64 * steps, np.random.default_rng(0))
    reward = world.mean(world.place[rows], action)
    return replace(
        batch,
        observation=world.observation[rows],
        action=action,
        probability=np.full(len(action), 1 / 20),
        reward=reward,
        session=np.random.default_rng(1).permutation(len(action)),
    )


def test_they_are_in_the_catalogue():
    assert set(evaluate.names("dial")) == {each.name for each in ALL}


@every
@pytest.mark.parametrize("world", [dial(), peak()], ids=["flat", "peaked"])
def test_a_policy_with_a_density_is_judged_exactly(judge, world):
    found = judge()(near(), evenly(world))
    assert found.refused is None
    assert found.value == pytest.approx(world.worth(near()), abs=1e-3)
    assert found.terms.mean() == pytest.approx(found.value)


def test_weights_are_the_ratio_of_the_densities():
    batch = WORLD.play(WORLD.uniform, 2_000, np.random.default_rng(2))
    weights = near().probability(batch.observation, batch.allowed, batch.action) / batch.probability
    found = KernelInversePropensity()(near(), batch)
    np.testing.assert_allclose(found.terms, weights * batch.reward, rtol=1e-9)


def test_smoothing_costs_the_second_moment_of_the_window():
    """Where the reward is 1 - (distance / 10)^2 a window of h costs h^2 / 5 / 100, as Epanechnikov's kernel says."""
    policy, batch = Exactly(0.0), evenly(WORLD, 600)
    inside = (WORLD.place > 12.5) & (WORLD.place < 27.5)
    batch = batch.take(np.repeat(inside, 600))
    span = np.ptp(batch.action)
    found = KernelInversePropensity(bandwidth=2.0 / span)(policy, batch)
    assert found.value == pytest.approx(1.0 - 4.0 / 5 / 100, abs=1e-4)


@every
def test_a_policy_without_a_density_is_judged_within_its_window(judge):
    policy, batch = Exactly(2.0), evenly(WORLD)
    assert judge(bandwidth=0.05)(policy, batch).value == pytest.approx(policy.worth(WORLD), abs=0.01)


def test_the_model_takes_most_of_the_bias_of_wide_windows():
    policy, batch = Exactly(2.0), evenly(WORLD)
    truth = policy.worth(WORLD)
    bias = [abs(judge(bandwidth=0.3)(policy, batch).value - truth) for judge in (ALL[0], ALL[2])]
    assert bias[0] > 0.02
    assert bias[1] < 0.25 * bias[0]


@every
def test_by_itself_the_window_shrinks_with_the_log(judge):
    policy = Exactly(1.0)
    for rows, close in ((2_000, 0.1), (20_000, 0.05)):
        found = judge()(policy, WORLD.play(WORLD.uniform, rows, np.random.default_rng(3)))
        assert found.value == pytest.approx(policy.worth(WORLD), abs=close)


@every
def test_intervals_hold_the_truth_as_often_as_they_say(judge):
    """100 logs of 600 decisions of a policy with a density: at 95 %, chance leaves 88 to 100 %."""
    policy, rng = near(), np.random.default_rng(4)
    truth, held = WORLD.worth(policy), []
    for _ in range(100):
        found = judge()(policy, WORLD.play(near(0.25, 6, 0.5), 600, rng))
        held.append(found.low <= truth <= found.high)
    assert 0.88 <= np.mean(held) <= 1.0


def test_the_doubly_robust_one_is_narrower():
    batch = WORLD.play(WORLD.uniform, 4_000, np.random.default_rng(5))
    width = [found.high - found.low for found in (judge()(near(), batch) for judge in (ALL[0], ALL[2]))]
    assert width[1] < 0.3 * width[0]


def test_the_window_is_tuned_and_the_estimator_chosen():
    batch = WORLD.play(WORLD.uniform, 4_000, np.random.default_rng(6))
    found = tuned(KernelInversePropensity, Exactly(1.0), batch)
    assert found.setting > 0
    assert found.estimate.value == pytest.approx(Exactly(1.0).worth(WORLD), abs=0.1)
    chosen = choose([each() for each in ALL], near(), batch)
    assert chosen.table[-1].name == "kernel_ips"
    assert chosen.estimate.value == pytest.approx(WORLD.worth(near()), abs=0.03)


@every
def test_what_cannot_be_answered_is_refused(judge):
    batch = WORLD.play(WORLD.uniform, 500, np.random.default_rng(7))
    assert "has no density" in judge(bandwidth=0.0)(Exactly(0.0), batch).refused
    assert "actions from a list" in judge()(Tabled(TARGET), simulated(np.random.default_rng(8), 100)).refused
    assert "no settled decisions" in judge()(near(), batch.take(np.zeros(500, bool))).refused
    zero = replace(batch, probability=np.where(np.arange(500) == 7, 0.0, batch.probability))
    assert "Row 7 has density 0.0" in judge()(near(), zero).refused
    assert "fewer than 50" in judge()(near(), batch.take(np.arange(40))).refused
    assert "1 is expected" in judge()(near(), replace(batch, probability=batch.probability * 2)).refused


@dataclass(frozen=True)
class Always:
    """The same place, whatever is seen: no density."""

    spot: float

    def sample(self, observation, allowed, rng):
        rows = len(observation)
        return Choice(np.full(rows, self.spot), np.full(rows, np.nan), np.empty((rows, 0)))


@every
@pytest.mark.parametrize(("spot", "width"), [(0.6, 0.12), (0.6, 0.5), (0.25, 0.2)])
def test_a_window_by_rule_knows_what_it_costs(judge, spot, width):
    """30 logs of 1,000 decisions, and 10 of 10,000, of a policy at or beside the top of a bell, as wide as a window."""
    for rows, logs, least in ((1_000, 30, 26), (10_000, 10, 8)):
        rng, held = np.random.default_rng(9), 0
        for _ in range(logs):
            action = rng.random(rows)
            reward = np.exp(-(((action - 0.6) / width) ** 2)) + 0.3 * rng.standard_normal(rows)
            batch = Batch.single(rng.normal(size=(rows, 1)), np.ones((rows, 1), bool), action, np.ones(rows), reward)
            found = judge()(Always(spot), batch)
            held += found.low <= np.exp(-(((spot - 0.6) / width) ** 2)) <= found.high
        assert held >= least, (rows, held)


def test_a_window_that_is_given_is_taken_at_its_word():
    batch = WORLD.play(WORLD.uniform, 4_000, np.random.default_rng(10))
    found = KernelInversePropensity(bandwidth=0.1)(Exactly(1.0), batch)
    assert found.high - found.low == pytest.approx(3.92 * found.terms.std() / np.sqrt(4_000), rel=0.01)
