"""Judging a policy by a log whose own policy learned from it: every row by what came before, and honest intervals."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from bondhu.equations.sequences import radius
from bondhu.evaluate.decisions.adaptive_doubly_robust import AdaptiveDoublyRobust, scored, sequential
from bondhu.evaluate.decisions.doubly_robust import DoublyRobust
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.types import Batch, Belief
from tests.contract.small_world import CONTEXTS, LOGGING, REWARDS, TARGET, TRUTH, Tabled, simulated

target = Tabled(TARGET)
judge = AdaptiveDoublyRobust(minimum_effective_samples=0)


@dataclass(frozen=True)
class Always:
    """One of two actions, whatever the context."""

    action: int

    def distribution(self, observation, allowed):
        return np.tile(np.arange(2) == self.action, (len(observation), 1)) * 1.0

    def probability(self, observation, allowed, action):
        return (action == self.action) * 1.0


def learned(rng, rows, means, rule):
    """A log of one context and two actions, whose policy follows the mean rewards so far."""
    total, tries = np.zeros(2), np.zeros(2)
    action, probability, reward = np.empty(rows, int), np.empty(rows), np.empty(rows)
    uniform, noise, open_ = rng.random(rows), rng.standard_normal(rows), np.ones((1, 2), bool)
    for t in range(rows):
        belief = Belief((total / np.maximum(tries, 1))[None], np.zeros((1, 2)), tries[None], t)
        first = rule(belief, open_)[0, 0]
        action[t] = uniform[t] >= first
        probability[t] = first if action[t] == 0 else 1 - first
        reward[t] = means[action[t]] + noise[t]
        total[action[t]] += reward[t]
        tries[action[t]] += 1
    return Batch.single(np.zeros((rows, 1)), np.ones((rows, 2), bool), action, probability, reward)


@pytest.fixture(scope="module")
def logs():
    """No action is better; exploration fades."""
    rng = np.random.default_rng(0)
    return [learned(rng, 600, (0.0, 0.0), EpsilonGreedy(1.0, power=0.4)) for _ in range(150)]


def test_intervals_hold_on_logs_that_learned_while_they_were_made(logs):
    found = [judge(Always(arm), log) for log in logs for arm in (0, 1)]
    kept = [each for each in found if each.refused is None]
    assert len(kept) >= 0.9 * len(found)
    covered = np.mean([each.low <= 0 <= each.high for each in kept])
    assert 0.92 <= covered <= 0.98, covered


def test_it_is_narrower_there_than_plain_doubly_robust_and_less_biased_than_a_sample_mean(logs):
    plain = DoublyRobust(minimum_effective_samples=0)
    ours, theirs, means = [], [], []
    for log in logs:
        for arm in (0, 1):
            other = plain(Always(arm), log)
            if other.refused is None:
                ours.append(judge(Always(arm), log))
                theirs.append(other)
                means.append(log.reward[log.action == arm].mean())
    width, wide = (np.mean([each.high - each.low for each in of]) for of in (ours, theirs))
    assert width < 0.9 * wide
    values = np.array([each.value for each in ours])
    assert np.mean(means) < -0.04  # an action that was unlucky early stays unlucky, for it is hardly tried again
    assert abs(values.mean()) < 0.5 * abs(np.mean(means))


def test_the_difference_of_two_policies_has_its_own_weights(logs):
    found = [each for each in (judge.versus(Always(0), Always(1), log) for log in logs) if each.refused is None]
    covered = np.mean([each.low <= 0 <= each.high for each in found])
    assert 0.91 <= covered <= 0.985, covered
    one = found[0]
    assert one.terms.mean() == pytest.approx(one.value)
    other = judge.versus(Always(1), Always(0), logs[0])
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))


def test_an_interval_that_holds_at_every_look_is_wider_by_the_known_factor(logs):
    once, always = (
        judge.versus(Always(0), Always(1), logs[0]),
        judge.versus(Always(0), Always(1), logs[0], anytime=True),
    )
    assert always.value == once.value
    assert (always.high - always.low) / (once.high - once.low) == pytest.approx(radius(600, 0.95) / 1.9639, abs=1e-3)


def test_a_difference_is_refused_where_either_policy_is(logs):
    found = AdaptiveDoublyRobust(minimum_effective_samples=10_000).versus(Always(0), Always(1), logs[0])
    assert "fewer than 10000" in found.refused
    assert np.isnan([found.value, found.low, found.high]).all()


def test_on_a_log_that_did_not_learn_it_is_doubly_robust_estimation():
    batch = simulated(np.random.default_rng(1), 4_000)
    ours, theirs = AdaptiveDoublyRobust()(target, batch), DoublyRobust()(target, batch)
    assert ours.value == pytest.approx(theirs.value, abs=0.25 * (theirs.high - theirs.low))
    assert ours.high - ours.low < 1.1 * (theirs.high - theirs.low)
    assert ours.low < TRUTH < ours.high


def test_models_and_weights_know_nothing_of_the_row_or_what_came_after():
    batch = simulated(np.random.default_rng(2), 700)
    later = np.arange(700) >= 400
    reward, action = np.where(later, 9.0, batch.reward), np.where(later, 1, batch.action)
    changed = replace(batch, reward=reward, action=action, probability=LOGGING[batch.observation[:, 0], action])
    before, after = sequential(batch), sequential(changed)
    assert after[:401] == pytest.approx(before[:401], abs=1e-12)
    assert not np.allclose(after[600:], before[600:])
    chances = target.distribution(batch.observation, batch.allowed)
    weights = TARGET[batch.observation[:, 0], batch.action] / batch.probability
    first, stable = scored(chances, weights, batch)
    second, others = scored(chances, np.where(later, 0.0, weights), changed)
    assert second[:400] == pytest.approx(first[:400], abs=1e-12)
    assert others[:401] == pytest.approx(stable[:401], abs=1e-12)


def test_the_order_of_rows_does_not_matter_but_the_order_of_time_does():
    batch = simulated(np.random.default_rng(3), 500)
    mixed = batch.take(np.random.default_rng(4).permutation(500))
    found, same = judge(target, batch), judge(target, mixed)
    assert same.value == pytest.approx(found.value, abs=1e-12)
    assert same.terms == pytest.approx(found.terms[mixed.session], abs=1e-12)
    backwards = judge(target, replace(batch, time=-batch.time))
    assert abs(backwards.value - found.value) > 1e-6


def test_a_row_is_never_predicted_from_its_own_session():
    """Sessions of several rows that overlap in time: rewards of a row's own session change nothing for it."""
    batch = simulated(np.random.default_rng(5), 900)
    rows = replace(batch, session=np.arange(900) // 3, time=np.arange(900) // 3 + 100.0 * (np.arange(900) % 3))
    ordered = rows.take(np.argsort(rows.time, kind="stable"))
    own = ordered.session == ordered.session[700]
    other = sequential(replace(ordered, reward=np.where(own, 50.0, ordered.reward)))
    assert other[own][1:] == pytest.approx(sequential(ordered)[own][1:], abs=1e-12)


def test_rewards_far_from_zero_cost_nothing():
    batch = simulated(np.random.default_rng(6), 1_000)
    near, far = judge(target, batch), judge(target, replace(batch, reward=batch.reward + 100.0))
    assert far.value - 100 == pytest.approx(near.value, abs=0.3 * (near.high - near.low))
    assert (far.high - far.low) / (near.high - near.low) < 2.5
    assert float(CONTEXTS @ (TARGET * REWARDS).sum(1)) + 100 == pytest.approx(far.value, abs=far.high - far.low)


@pytest.mark.parametrize("rows", [1, 2])
def test_one_or_two_decisions_are_refused(rows):
    batch = simulated(np.random.default_rng(8), 50)
    same = batch.take(np.full(rows, int(np.argmax(batch.observation[:, 0] == 0))))
    found = judge(Tabled(LOGGING), replace(same, session=np.arange(rows), time=np.arange(rows, dtype=float)))
    assert f"{rows} decisions say nothing of their own spread" in (found.refused or "")
    assert judge.versus(Tabled(LOGGING), target, same).refused is not None
