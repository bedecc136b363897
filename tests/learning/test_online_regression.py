"""Regressions on hashed features reach known values, whatever the units, and know new actions by their features."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains.probes.contextual import candidates, crossing, described_actions, planes, scales
from bondhu.errors import InvalidInput
from bondhu.learners import _regressions, carried
from bondhu.learners._hashed import expanded, expanded_width, folded, places
from bondhu.learners.bandit.bagged_regression import BaggedRegression
from bondhu.learners.bandit.lin_ucb import LinUcb
from bondhu.learners.bandit.online_regression import OnlineRegression
from bondhu.policies.exploring.upper_bound import UpperBound
from bondhu.types import Batch, Spec


def rng(seed=0):
    return np.random.default_rng(seed)


def log(probe, sessions, seed=0):
    return probe.play(probe.uniform, sessions, rng(seed))


def learned(learner, probe, batch, seed=0):
    return learner.update(learner.init(probe.spec, rng(seed)), batch, rng(seed))[0]


def live(learner, probe, seed, rounds=30):
    source = rng(seed)
    state = learner.init(probe.spec, source)
    for _ in range(rounds):
        batch = probe.play(learner.policy(state, explore=True), 100, source)
        state, _ = learner.update(state, batch, source)
    return state


def gap_closed(probe, policy):
    """0: no better than acting at random; 1: the best there is."""
    nothing = probe.worth(probe.uniform)
    return (probe.worth(policy) - nothing) / (probe.best - nothing)


def box(*shape):
    return Box(-np.inf, np.inf, shape)


# ------------------------------------------------------------------------------------------------------------- features


def test_quadratic_features_are_the_constant_the_columns_and_every_product_with_squares_from_their_mean():
    features = expanded(np.array([[2.0, -3.0]]), True, 6)
    assert features.tolist() == [[1.0, 2.0, -3.0, 4.0 - 1.0, -6.0, 9.0 - 1.0]]
    assert features.shape[1] == expanded_width(2, True)


def test_folding_adds_every_feature_once_with_its_sign():
    features = rng().normal(size=(3, 4, 11))
    order, sign = places(11, 4)
    expected = np.zeros((3, 4, 4))
    for place, feature in enumerate(order.tolist()):
        if feature < 11:
            expected[..., place % 4] += sign[place] * features[..., feature]
    np.testing.assert_allclose(folded(features, 4), expected, rtol=1e-12)
    assert sorted(order.tolist()) == [*range(11), 11]


def test_folding_keeps_inner_products_on_the_average():
    one, other = rng(1).normal(size=(2, 400, 2_000))
    inner, kept = (one * other).sum(axis=1), (folded(one, 500) * folded(other, 500)).sum(axis=1)
    assert np.mean(kept - inner) == pytest.approx(0.0, abs=15.0)
    assert np.std(kept - inner) < 2.0 * 2_000 / np.sqrt(500)


@pytest.mark.parametrize("quadratic", [False, True])
def test_weights_never_outnumber_two_to_the_bits(quadratic):
    spec = Spec(box(30), Discrete(7), rng().normal(size=(7, 3)))
    state = OnlineRegression(bits=6, quadratic=quadratic).init(spec, rng())
    assert state.own.shape[2] == 6
    assert state.own.size + state.shared.size == 7 * 6 + 1 + 6 * 3 <= 64


def test_a_problem_is_learned_through_a_quarter_of_the_weights_it_would_need():
    probe = planes()
    wide = np.hstack([probe.observation, rng().normal(size=(64, 27))])
    probe = replace(probe, observation=wide)
    learner = OnlineRegression(bits=5)  # 10 columns for 33 features
    assert learner.init(probe.spec, rng()).own.shape == (1, 3, 10)
    assert gap_closed(probe, learner.policy(learned(learner, probe, log(probe, 4_000)))) > 0.5


# ---------------------------------------------------------------------------------------------------- units and batches


def test_units_of_features_do_not_matter():
    plane, scaled, learner = planes(), scales(), OnlineRegression()
    values = [learner.beliefs(learned(learner, p, log(p, 500)))(p.observation).value for p in (plane, scaled)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6, atol=1e-9)


def test_units_of_rewards_do_not_matter():
    probe, learner = planes(), OnlineRegression()
    batch = log(probe, 500)
    state, thousand = (learned(learner, probe, replace(batch, reward=k * batch.reward)) for k in (1.0, 1000.0))
    ours, theirs = (learner.beliefs(each)(probe.observation) for each in (state, thousand))
    np.testing.assert_allclose(1000.0 * ours.value, theirs.value, rtol=1e-9)
    np.testing.assert_allclose(1000.0 * ours.error, theirs.error, rtol=1e-9)
    acting = [
        learner.policy(each, explore=True).distribution(probe.observation, probe.allowed) for each in (state, thousand)
    ]
    np.testing.assert_allclose(*acting, rtol=1e-9)


def test_a_hundred_decisions_together_teach_what_they_teach_one_by_one():
    probe, learner = described_actions(), OnlineRegression(quadratic=True)
    batch = log(probe, 100)
    together = learned(learner, probe, batch)
    state = learner.init(probe.spec, rng())
    for row in range(100):
        state, _ = learner.update(state, batch.take(np.array([row])), rng())
    for name in ("own", "shared", "mean", "squares", "rewards", "tries"):
        np.testing.assert_allclose(getattr(state, name), getattr(together, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", [planes, candidates])
def test_windows_are_only_about_memory(make, monkeypatch):
    probe, learner = make(), OnlineRegression(quadratic=True)
    whole = learned(learner, probe, log(probe, 64))
    believed = learner.beliefs(whole)(probe.observation)
    monkeypatch.setattr(_regressions, "ENTRIES", 300)
    parts = learned(learner, probe, log(probe, 64))
    np.testing.assert_allclose(parts.shared, whole.shared, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts.own, whole.own, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(learner.beliefs(whole)(probe.observation)[:3], believed[:3], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


# -------------------------------------------------------------------------------------------------------------- beliefs


def test_values_and_errors_are_those_of_the_features_written_out():
    probe, learner = described_actions(), OnlineRegression()
    state = learned(learner, probe, log(probe, 300))
    belief = learner.beliefs(state)(probe.observation)
    scaled = (probe.observation - state.mean) / np.sqrt(np.maximum(state.squares, 1e-30) / 300)
    scaled[:, 3] = 0.0  # the constant column never varied
    known = probe.action_features
    described = (known - known.mean(axis=0)) / known.std(axis=0)
    for t, a in ((0, 0), (5, 7), (63, 11)):
        u = np.array([1.0, *scaled[t]])
        common = np.array([1.0, *np.outer(u, described[a]).ravel()])
        value = common @ state.shared[0] + u @ state.own[0, a]
        doubt = (common**2 / (1 + state.shared_evidence[0])).sum() + (u**2 / (1 + state.own_evidence[0, a])).sum()
        assert belief.value[t, a] == pytest.approx(value)
        assert belief.error[t, a] == pytest.approx(np.sqrt((state.noise * 300 + belief.scale**2) / 301 * doubt))
    assert belief.scale == pytest.approx(log(probe, 300).reward.std())
    assert belief.tries[0].tolist() == np.bincount(log(probe, 300).action, minlength=12).tolist()


def test_errors_shrink_as_a_mean_would_and_noise_becomes_that_of_the_rewards():
    probe, learner = planes(), OnlineRegression()
    few, many = (learned(learner, probe, log(probe, sessions)) for sessions in (1_000, 16_000))
    errors = [learner.beliefs(state)(probe.observation).error.mean() / np.sqrt(state.noise) for state in (few, many)]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.05)
    assert many.noise == pytest.approx(0.01, rel=0.2)


def test_bounds_of_these_errors_explore_well():
    learner, probe = OnlineRegression(exploration=UpperBound(1.0)), planes()
    assert gap_closed(probe, learner.policy(live(learner, probe, 0, rounds=5))) > 0.95


def test_products_are_needed_where_the_sign_of_one_decides():
    probe = crossing()
    linear, quadratic = OnlineRegression(), OnlineRegression(quadratic=True)
    for seed in range(5):
        assert gap_closed(probe, quadratic.policy(live(quadratic, probe, seed, rounds=10))) > 0.95
        assert gap_closed(probe, linear.policy(live(linear, probe, seed, rounds=10))) < 0.5


# -------------------------------------------------------------------------------------------------------------- actions


def of_actions(probe, kept, features=True):
    """The problem with these actions only."""
    allowed = probe.allowed[:, kept]
    allowed = allowed | ~allowed.any(axis=1, keepdims=True)
    known = probe.action_features[kept] if features else None
    return replace(probe, mean=probe.mean[:, kept], allowed=allowed, action_features=known)


@pytest.mark.parametrize("learner", [OnlineRegression(), BaggedRegression(members=3)], ids=["one", "bagged"])
@pytest.mark.parametrize("features", [True, False])
def test_actions_that_were_never_tried_are_known_by_their_features_at_once(learner, features):
    closed = []
    for seed in range(5):
        order = rng(seed).permutation(12)
        old, new = np.sort(order[:8]), np.sort(order[8:])
        state = live(learner, of_actions(described_actions(), old, features), seed)
        probe = of_actions(described_actions(), np.arange(12), features)
        places = np.full(12, -1)
        places[old] = np.arange(8)
        moved = carried(learner.init(probe.spec, rng()), state, places)
        among_new = replace(probe, allowed=np.broadcast_to(np.isin(range(12), new), (64, 12)))
        closed.append(gap_closed(among_new, learner.policy(moved)))
    assert np.mean(closed) > 0.8 if features else np.abs(closed).max() < 1e-9


def test_what_was_learned_moves_with_the_actions():
    probe, learner, order = described_actions(), OnlineRegression(), rng(3).permutation(12)
    state = learned(learner, probe, log(probe, 300))
    fresh = learner.init(replace(probe.spec, action_features=probe.action_features[order]), rng())
    ours, theirs = (learner.beliefs(each)(probe.observation) for each in (carried(fresh, state, order), state))
    np.testing.assert_allclose(ours.value, theirs.value[:, order])
    np.testing.assert_allclose(ours.error, theirs.error[:, order])
    assert ours.tries.tolist() == theirs.tries[:, order].tolist()


def test_described_anew_the_actions_are_what_they_are_said_to_be_now():
    probe = described_actions()
    for learner in (OnlineRegression(), LinUcb(shared=True)):
        state = learned(learner, probe, log(probe, 100))
        name = "described" if isinstance(learner, LinUcb) else "action_features"
        other = probe.action_features[::-1] * 2.0
        fresh = learner.init(replace(probe.spec, action_features=other), rng())
        moved = carried(fresh, state, np.arange(12))
        np.testing.assert_array_equal(getattr(moved, name), other)
        assert len(learner.update(moved, log(probe, 10), rng())) == 2
        wider = np.concatenate([other, other], axis=1)
        assert carried(learner.init(replace(probe.spec, action_features=wider), rng()), state, np.arange(12)) is None


@pytest.mark.parametrize("learner", [OnlineRegression(), BaggedRegression(members=4)], ids=["one", "bagged"])
@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_where_rewards_lie_does_not_matter(learner, offset):
    source = rng(4)
    seen, action = source.standard_normal((2_000, 2)), source.integers(0, 2, 2_000)
    reward = (action == (seen[:, 0] > 0)).astype(float)
    one = Batch.single(seen, np.ones((2_000, 2), bool), action, np.full(2_000, 0.5), reward)
    here, allowed = source.standard_normal((500, 2)), np.ones((500, 2), bool)
    ours, theirs = (
        learner.policy(learner.update(learner.init(Spec(box(2), Discrete(2)), rng()), each, rng())[0])
        for each in (one, replace(one, reward=reward + offset))
    )
    best = [each.distribution(here, allowed).argmax(axis=1) for each in (ours, theirs)]
    assert (best[0] == (here[:, 0] > 0)).mean() > 0.9
    assert (best[0] == best[1]).mean() > 0.995


def test_candidates_are_worth_the_same_in_any_order_and_any_number():
    probe, learner = candidates(), OnlineRegression()
    state = learned(learner, probe, log(probe, 300))
    belief, order = learner.beliefs(state)(probe.observation), rng(1).permutation(8)
    other = learner.beliefs(state)(probe.observation[:, order])
    np.testing.assert_allclose(other.value, belief.value[:, order])
    np.testing.assert_allclose(other.error, belief.error[:, order])
    assert (belief.tries == 300.0).all()
    fewer = learner.init(Spec(box(5, 4), Discrete(5)), rng())
    moved = carried(fewer, state, np.arange(5))
    np.testing.assert_allclose(learner.beliefs(moved)(probe.observation[:, :5]).value, belief.value[:, :5])


# -------------------------------------------------------------------------------------------------------------- bagging


def test_members_saw_different_samples_and_the_belief_holds_their_draws():
    probe, learner = planes(), BaggedRegression(members=4)
    state = learned(learner, probe, log(probe, 200))
    belief = learner.beliefs(state)(probe.observation)
    assert belief.draws.shape == (4, 64, 3)
    np.testing.assert_allclose(belief.value, belief.draws.mean(axis=0))
    np.testing.assert_allclose(belief.error, belief.draws.std(axis=0))
    assert (belief.error > 0).all()
    assert len(set(state.shared_evidence[:, 0])) > 1
    assert state.shared_evidence[:, 0].sum() == pytest.approx(4 * 200, rel=0.1)


def test_a_member_that_saw_every_decision_once_is_an_online_regression(monkeypatch):
    class Always:
        def poisson(self, mean, size):
            return np.ones(size)

    probe, batch = planes(), log(planes(), 100)
    one = learned(OnlineRegression(), probe, batch)
    bagged = BaggedRegression(members=2)
    state, _ = bagged.update(bagged.init(probe.spec, rng()), batch, Always())
    for member in range(2):
        np.testing.assert_array_equal(state.own[member], one.own[0])


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (Spec(box(4), MultiDiscrete([2, 2])), "action"),
        (Spec(MultiDiscrete([2, 2]), Discrete(3)), "observation"),
        (Spec(box(4, 2), Discrete(3)), "observation"),
        (Spec(box(3, 4, 2), Discrete(3)), "observation"),
        (Spec(box(4), Discrete(3), np.ones((2, 5))), "action_features"),
        (Spec(box(4), Discrete(3), np.full((3, 1), np.nan)), "action_features"),
        (Spec(box(4), Discrete(512)), "bits"),
    ],
)
def test_spaces_that_it_cannot_learn_are_refused(spec, field):
    with pytest.raises(InvalidInput) as raised:
        OnlineRegression(bits=9).init(spec, rng())
    assert raised.value.field == field


def test_observations_of_another_shape_or_without_a_number_are_refused_before_anything_is_learned():
    probe, learner = planes(), OnlineRegression()
    state, batch = learned(learner, probe, log(probe, 10)), log(probe, 10)
    before = state.own.copy()
    holed = batch.observation.copy()
    holed[4, 2] = np.inf
    for observation, message in ((batch.observation[:, :3], r"\(10, 5\)"), (holed, "Row 4 needs a number")):
        with pytest.raises(InvalidInput, match=message):
            learner.update(state, replace(batch, observation=observation), rng())
    np.testing.assert_array_equal(state.own, before)


@pytest.mark.parametrize(("key", "value"), [("learning_rate", -0.1), ("step_power", 1.5), ("bits", 31)])
def test_hyper_parameters_out_of_range_are_refused(key, value):
    for kind in (OnlineRegression, BaggedRegression):
        with pytest.raises(InvalidInput, match=key):
            kind(**{key: value})
    with pytest.raises(InvalidInput, match="members"):
        BaggedRegression(members=0)


def test_rewards_too_large_for_their_squares_are_refused():
    probe, learner, batch = planes(), OnlineRegression(), log(planes(), 10)
    with pytest.raises(InvalidInput, match=r"Row 0 needs a number below 1e\+100: scale the rewards down"):
        learned(learner, probe, replace(batch, reward=np.full(10, 1e200)))
