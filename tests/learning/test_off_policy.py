"""What the probabilities of a log are for: right where a plain regression of the rewards is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from bondhu.domains.probes.contextual import Contextual, candidates, described_actions, planes
from bondhu.errors import InvalidInput, UnknownName
from bondhu.learners.bandit.off_policy import METHODS, OffPolicy, events_of
from bondhu.policies.by_value import ByValue
from bondhu.types import Batch

CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


def rng(seed=0):
    return np.random.default_rng(seed)


def learned(learner, probe, batch):
    return learner.update(learner.init(probe.spec, rng()), batch, rng())


def confounded():
    """Action 0 is worth 0.3 + 0.4·x·y, which no plane over x and y can say; action 1 always 0.5. Without the product,
    action 1 is right in all corners. The log takes action 0 mostly where it is at its best."""
    product = CORNERS.prod(axis=1)
    probe = Contextual(CORNERS, np.stack([0.3 + 0.4 * product, np.full(4, 0.5)], axis=1), np.ones((4, 2), bool))
    often = ByValue(
        lambda seen: np.stack([0.5 + 0.4 * seen.prod(axis=1), 0.5 - 0.4 * seen.prod(axis=1)], axis=1), lambda p, _: p
    )
    return probe, often


@pytest.mark.parametrize("seed", range(5))
def test_a_plain_regression_takes_the_flattered_action_and_the_corrected_ones_do_not(seed):
    probe, logging = confounded()
    batch = probe.play(logging, 10_000, rng(seed))
    worth, values = {}, {}
    for method in METHODS:
        learner = OffPolicy(method=method)
        state, _ = learned(learner, probe, batch)
        worth[method] = probe.worth(learner.policy(state))
        values[method] = learner.beliefs(state)(CORNERS).value.mean(axis=0)
    assert worth == {"ips": 0.5, "dr": 0.5, "mtr": 0.5, "dm": pytest.approx(0.3)}
    assert values["dm"] == pytest.approx([0.3 + 0.4 * 0.8, 0.5], abs=0.03)  # E[x·y | action 0 taken] = 0.8
    for method in ("ips", "dr", "mtr"):
        assert values[method] == pytest.approx([0.3, 0.5], abs=0.1)


def test_a_plain_regression_that_sees_the_product_needs_no_correction():
    probe, logging = confounded()
    learner = OffPolicy(method="dm", quadratic=True)
    state, _ = learned(learner, probe, probe.play(logging, 2_000, rng()))
    assert probe.worth(learner.policy(state)) == pytest.approx(probe.best)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [planes, described_actions, candidates])
def test_every_method_finds_nearly_the_best_policy_from_an_even_log(method, make):
    probe = make()
    learner, nothing = OffPolicy(method=method), probe.worth(probe.uniform)
    state, _ = learned(learner, probe, probe.play(probe.uniform, 6_000, rng(1)))
    share = 0.75 if (method, make) == ("ips", described_actions) else 0.9
    assert probe.worth(learner.policy(state)) > nothing + share * (probe.best - nothing)


def test_importance_is_relative_to_an_even_choice():
    probe = planes()
    batch = probe.play(probe.uniform, 300, rng())
    plain, weighted = (learned(OffPolicy(method=method), probe, batch)[0] for method in ("dm", "mtr"))
    np.testing.assert_allclose(plain.own, weighted.own, rtol=1e-12)
    np.testing.assert_allclose(plain.own_evidence, weighted.own_evidence, rtol=1e-12)


def test_the_rewards_that_dr_imagines_are_those_of_the_plain_regression():
    probe = planes()
    batch = probe.play(probe.uniform, 300, rng())
    plain, doubly = (learned(OffPolicy(method=method), probe, batch) for method in ("dm", "dr"))
    np.testing.assert_allclose(plain[0].own[0], doubly[0].own[1], rtol=1e-12)
    np.testing.assert_allclose(plain[0].shared[0], doubly[0].shared[1], rtol=1e-12)
    assert doubly[1]["squared_error"] == pytest.approx(plain[1]["squared_error"])


def test_ips_of_one_decision_lowers_nothing_and_lifts_the_action_taken():
    probe, learner = planes(), OffPolicy(method="ips", learning_rate=100.0)  # one step goes all the way
    batch = Batch.single(
        probe.observation[:1], np.array([[True, True, False]]), np.array([0]), np.array([0.25]), np.array([2.0])
    )
    state, metrics = learned(learner, probe, batch)
    value = learner.beliefs(state)(probe.observation[:1]).value[0]
    assert value[0] == pytest.approx(2.0 / 0.25)
    assert metrics["error"] == pytest.approx((0.0 + 8.0) / 2)
    assert (state.own_evidence[0].sum(axis=1) > 0).tolist() == [True, True, False]


def test_events_are_the_allowed_actions_of_each_row_with_the_one_taken_last():
    probe = described_actions()
    batch = probe.play(probe.uniform, 20, rng())
    row, action, taken = events_of(batch, slice(5, 12))
    assert np.flatnonzero(taken).tolist() == [*(np.flatnonzero(np.diff(row))), len(row) - 1]
    assert action[taken].tolist() == batch.action[5:12].tolist()
    seen = np.zeros((7, 12), bool)
    seen[row, action] = True
    assert len(row) == seen.sum()
    np.testing.assert_array_equal(seen, batch.allowed[5:12])


@pytest.mark.parametrize("method", ["ips", "dr", "mtr"])
def test_rare_actions_count_up_to_the_limit(method):
    probe, learner = planes(), OffPolicy(method=method, weight_limit=10.0)
    batch = probe.play(probe.uniform, 50, rng())
    rare, tenth = (learned(learner, probe, replace(batch, probability=np.full(50, p))) for p in (0.001, 0.1))
    np.testing.assert_array_equal(rare[0].own, tenth[0].own)
    assert (rare[1]["largest_weight"], rare[1]["clipped"]) == (pytest.approx(1000.0), 1.0)
    assert (tenth[1]["largest_weight"], tenth[1]["clipped"]) == (pytest.approx(10.0), 0.0)


@pytest.mark.parametrize("probability", [0.0, -0.5, 1.5, np.nan])
def test_what_is_no_probability_is_refused_with_its_row(probability):
    probe, learner = planes(), OffPolicy()
    batch = probe.play(probe.uniform, 10, rng())
    wrong = batch.probability.copy()
    wrong[6] = probability
    state = learner.init(probe.spec, rng())
    with pytest.raises(InvalidInput, match="Row 6") as raised:
        learner.update(state, replace(batch, probability=wrong), rng())
    assert raised.value.field == "probability"
    assert not state.own.any()


def test_an_unknown_method_gets_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'mtr'"):
        OffPolicy(method="mtrr")
    with pytest.raises(InvalidInput, match="weight_limit"):
        OffPolicy(weight_limit=0.5)
