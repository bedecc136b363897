"""Starting from a rule written by people: as good as the rule at once, better than it soon."""

from dataclasses import replace

import numpy as np
import pytest

from bondhu.domains.probes.contextual import planes
from bondhu.domains.probes.markov import Markov
from bondhu.errors import InvalidInput
from bondhu.learners import build
from bondhu.policies.by_value import ByValue
from bondhu.policies.greedy import greedy
from bondhu.policies.uniform import Uniform
from bondhu.train.warm_start import demonstrations, warm_started

SEEDS = 5


def rng(seed=0):
    return np.random.default_rng(seed)


def signs():
    """What people may know of `planes`: action 0 where two of the features are negative together, else action 2."""
    return ByValue(lambda x: np.stack([-x[:, 2] - x[:, 3], np.full(len(x), -9.0), 0.0 * x[:, 0]], axis=1), greedy)


def doors():
    """Twelve contexts as codes, three actions, one decision a session; and a rule that is right in eight of them."""
    mean = rng(7).permuted(np.tile([0.0, 0.5, 1.0], (12, 1)), axis=1)
    moves = np.zeros((13, 3, 13))
    moves[:, :, 12] = 1.0
    reward = np.zeros((13, 3, 13))
    reward[:12, :, 12] = mean
    start = np.append(np.full(12, 1 / 12), 0.0)
    problem = Markov(moves, reward, start, np.arange(13) == 12, np.ones((13, 3), bool), noise=0.2)
    ruled = np.append(np.where(np.arange(12) < 8, mean.argmax(axis=1), mean.argmin(axis=1)), 0)
    return problem, ByValue(lambda codes: np.eye(3)[ruled[codes[:, 0]]], greedy)


def lived(learner, probe, state, seed, rounds, sessions=10):
    """The worth of how it acted in each round, and of what it came to know."""
    source, worth = rng(seed), []
    for _ in range(rounds):
        policy = learner.policy(state, explore=True)
        worth.append(probe.worth(policy))
        state, _ = learner.update(state, probe.play(policy, sessions, source), source)
    return np.array(worth), probe.worth(learner.policy(state))


@pytest.mark.parametrize("name", ["bandit.online_regression", "bandit.bagged_regression"])
def test_a_warm_start_acts_like_the_rule_at_once_and_overtakes_it(name):
    probe, rule, learner = planes(), signs(), build(name, {})
    shown = demonstrations(rule, probe.observation, probe.allowed)
    assert_warm_beats_cold(learner, probe, probe.worth(rule), shown, rounds=20)


def test_a_table_starts_like_the_rule_at_once_and_overtakes_it():
    probe, rule = doors()
    learner = build("tabular.q_learning", {"exploration": {"name": "epsilon_greedy", "epsilon": 0.05}})
    shown = demonstrations(rule, np.arange(12)[:, None], np.ones((12, 3), bool), worth=0.6, otherwise=0.4, tries=3)
    assert_warm_beats_cold(learner, probe, probe.worth(rule), shown, rounds=100)


def assert_warm_beats_cold(learner, probe, ruled, shown, rounds):
    warm, cold = [], []
    for seed in range(SEEDS):
        warm.append(lived(learner, probe, warm_started(learner, probe.spec, shown, rng(seed)), seed, rounds))
        cold.append(lived(learner, probe, learner.init(probe.spec, rng(seed)), seed, rounds))
    began = np.mean([worth[0] for worth, _ in warm])
    earned, cold_earned = (np.mean([worth[:5] for worth, _ in each]) for each in (warm, cold))
    assert began > 0.95 * ruled  # although it explores
    assert min(known for _, known in warm) > 1.1 * ruled
    assert earned > 1.1 * cold_earned  # in the first 50 decisions


def test_a_demonstration_takes_every_allowed_action_of_every_context():
    rule = ByValue(lambda seen: np.array([[0.5, 0.5, 0.0], [0.2, 0.0, 0.8]])[seen[:, 0]], lambda p, _: p)
    allowed = np.array([[True, True, True], [True, False, True]])
    shown = demonstrations(rule, np.array([[0], [1]]), allowed, worth=0.8, otherwise=0.4, tries=2)
    assert shown.observation[:, 0].tolist() == [0, 0, 0, 1, 1] * 2
    assert shown.action.tolist() == [0, 1, 2, 0, 2] * 2
    assert shown.reward == pytest.approx([0.8, 0.8, 0.4, 0.4 + 0.4 * 0.25, 0.8] * 2)
    assert shown.probability == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2] * 2)
    assert not shown.discount.any()
    np.testing.assert_array_equal(shown.allowed[3:5], allowed[[1, 1]])


def test_more_tries_take_more_feedback_to_overrule():
    probe, learner = planes(), build("bandit.online_regression", {})
    rule = signs()
    log = probe.play(Uniform(), 100, rng(3))
    like = []
    for tries in (1, 5, 25):
        shown = demonstrations(rule, probe.observation, probe.allowed, tries=tries)
        state, _ = learner.update(warm_started(learner, probe.spec, shown, rng()), log, rng())
        acted = learner.policy(state).distribution(probe.observation, probe.allowed)
        like.append((acted * rule.distribution(probe.observation, probe.allowed)).sum(axis=1).mean())
    assert like[0] < like[1] < like[2]


@pytest.mark.parametrize(
    ("given", "field"),
    [({"worth": 0.4, "otherwise": 0.4}, "worth"), ({"worth": np.nan}, "worth"), ({"tries": 0}, "tries")],
)
def test_a_demonstration_that_shows_nothing_is_refused(given, field):
    probe = planes()
    with pytest.raises(InvalidInput) as raised:
        demonstrations(signs(), probe.observation, probe.allowed, **given)
    assert raised.value.field == field


def test_a_context_without_allowed_actions_is_refused():
    probe = replace(planes(), allowed=np.zeros((64, 3), bool))
    with pytest.raises(InvalidInput, match="Row 0 allows no action"):
        demonstrations(signs(), probe.observation, probe.allowed)
