"""Several objectives: weighted sums are learned exactly, limits are kept, and the front is what nothing beats."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.evaluate.decisions.ips import InversePropensity
from bondhu.learners import build, pack
from bondhu.learners.objectives.vector_reward import VectorReward
from bondhu.train.pareto import between, front
from bondhu.types import Batch, Spec

STATES, ACTIONS = 40, 4
FUN = np.array([1.0, 0.7, 0.3, 0.2])  # of the actions, up to what the state likes
NEW = np.array([0.0, 0.5, 1.0, 0.1])
SPEC = Spec(MultiDiscrete([STATES]), Discrete(ACTIONS))
LIKES = np.random.default_rng(0).uniform(0.5, 1.5, (STATES, 1))
MEANS = {"fun": LIKES * FUN, "new": np.broadcast_to(NEW, (STATES, ACTIONS))}
LEARNER = build("objectives.vector_reward", {"inner": {"name": "tabular.q_learning", "discount": 0.0,
                "learning_rate": 1.0, "step_power": 1.0}, "weights": {"fun": 1.0, "new": 0.0}})  # fmt: skip


def logged(rows, seed=0):
    rng = np.random.default_rng(seed)
    state, action = rng.integers(0, STATES, rows), rng.integers(0, ACTIONS, rows)
    batch = Batch.single(
        state[:, None], np.ones((rows, ACTIONS), bool), action, np.full(rows, 1 / ACTIONS), np.zeros(rows)
    )
    parts = {name: mean[state, action] + 0.1 * rng.standard_normal(rows) for name, mean in MEANS.items()}
    return replace(batch, reward=parts["fun"] + parts["new"], objectives=parts)


def learned(learner, rows=8_000, times=1):
    rng = np.random.default_rng(1)
    state = learner.init(SPEC, rng)
    for seed in range(times):
        state, metrics = learner.update(state, logged(rows, seed), rng)
    return state, metrics


def earned(policy):
    chosen = policy.distribution(np.arange(STATES)[:, None], np.ones((STATES, ACTIONS), bool))
    return {name: float((chosen * mean).sum(axis=1).mean()) for name, mean in MEANS.items()}


def test_other_weights_act_on_what_was_learned_once():
    state, _ = learned(LEARNER)
    for weight in (0.0, 0.7, 5.0):
        policy = LEARNER.with_weights({"fun": 1.0, "new": weight}).policy(state)
        best = (MEANS["fun"] + weight * MEANS["new"]).argmax(axis=1)
        chosen = policy.distribution(np.arange(STATES)[:, None], np.ones((STATES, ACTIONS), bool)).argmax(axis=1)
        assert (chosen == best).mean() >= 0.9


def test_the_belief_is_the_weighted_sum_of_the_parts():
    state, _ = learned(LEARNER)
    belief = LEARNER.with_weights({"fun": 2.0, "new": 3.0}).beliefs(state)(np.arange(STATES)[:, None])
    np.testing.assert_allclose(belief.value, 2 * MEANS["fun"] + 3 * MEANS["new"], atol=0.3)
    parts = [LEARNER.inner.beliefs(state.inner[name])(np.arange(STATES)[:, None]).error for name in ("fun", "new")]
    np.testing.assert_allclose(belief.error, np.hypot(2 * parts[0], 3 * parts[1]))


def test_a_limit_is_reached_at_the_least_cost():
    """The most fun with a mean novelty of 0.6: the cheapest states give theirs up, as the dual problem says."""
    limited = replace(LEARNER, weights={"fun": 1.0}, limits={"new": 0.6})
    state, metrics = learned(limited, rows=4_000, times=60)
    got = earned(limited.policy(state))
    prices = np.linspace(0, 3, 3_001)
    best = [
        np.where(np.eye(ACTIONS)[(MEANS["fun"] + price * MEANS["new"]).argmax(axis=1)], 1.0, 0.0) for price in prices
    ]
    reached = [price for price, chosen in zip(prices, best, strict=True) if (chosen * NEW).sum(1).mean() >= 0.6]
    cheapest = best[prices.tolist().index(reached[0])]
    assert metrics["multiplier_new"] == pytest.approx(reached[0], abs=0.1)
    assert got["new"] == pytest.approx(0.6, abs=0.05)
    assert got["fun"] == pytest.approx((cheapest * MEANS["fun"]).sum(1).mean(), abs=0.05)


def test_a_limit_that_is_reached_anyway_costs_nothing():
    easy = replace(LEARNER, weights={"fun": 1.0}, limits={"new": -1.0})
    state, metrics = learned(easy, times=3)
    assert metrics["multiplier_new"] == 0.0
    assert earned(easy.policy(state)) == pytest.approx(earned(LEARNER.policy(learned(LEARNER)[0])), abs=0.02)


def test_the_front_runs_from_one_objective_to_the_other_and_holds_nothing_that_is_beaten():
    state, _ = learned(LEARNER)
    points = front(LEARNER, state, logged(20_000, seed=9), between("fun", "new", 9), InversePropensity())
    values = [(point.values["fun"].value, point.values["new"].value) for point in points]
    assert len(points) >= 3
    fun, new = zip(*values, strict=True)
    assert list(fun) == sorted(set(fun), reverse=True)
    assert list(new) == sorted(set(new))
    assert points[0].weights == {"fun": 1.0, "new": 0.0}
    for point in points:
        truth = earned(point.policy)
        assert point.values["fun"].low - 0.02 <= truth["fun"] <= point.values["fun"].high + 0.02


@pytest.mark.parametrize(
    ("change", "says"),
    [({"weights": {}}, "The weights are"), ({"limits": {"new": np.inf}}, "finite numbers")],
)
def test_weights_that_are_no_numbers_are_refused(change, says):
    with pytest.raises(InvalidInput, match=says):
        VectorReward(**change)


def test_an_objective_that_the_log_does_not_have_is_named_with_the_nearest():
    learner = replace(LEARNER, weights={"fan": 1.0})
    with pytest.raises(InvalidInput, match="Did you mean 'fun'"):
        learner.update(learner.init(SPEC, np.random.default_rng(0)), logged(10), np.random.default_rng(0))
    with pytest.raises(InvalidInput, match="Did you mean 'new'"):
        LEARNER.with_weights({"now": 1.0})


def test_a_part_that_is_no_number_is_refused_before_anything_is_learned():
    state = LEARNER.init(SPEC, np.random.default_rng(0))
    batch = logged(10)
    batch.objectives["new"][4] = np.nan
    with pytest.raises(InvalidInput, match="Row 4 has new"):
        LEARNER.update(state, batch, np.random.default_rng(0))
    assert not state.inner["fun"].visits.any()


def test_a_part_that_its_learner_refuses_leaves_nothing_half_learned():
    learner = build("objectives.vector_reward",
                    {"inner": {"name": "bandit.bernoulli_thompson"}, "weights": {"fun": 1.0, "new": 1.0}})  # fmt: skip
    batch = logged(10)
    fine = replace(batch, objectives={"fun": np.ones(10), "new": np.ones(10)})
    state, _ = learner.update(learner.init(SPEC, np.random.default_rng(0)), fine, np.random.default_rng(0))
    before = pack(state)
    wrong = replace(fine, objectives={"fun": np.ones(10), "new": np.full(10, 2.0)})
    with pytest.raises(InvalidInput, match="Row 0 needs a reward from 0 to 1"):
        learner.update(state, wrong, np.random.default_rng(0))
    for key, array in pack(state).items():
        np.testing.assert_array_equal(array, before[key])


def test_the_belief_has_the_draws_and_the_scale_of_the_weighted_parts():
    inner = {"name": "bandit.bagged_regression", "members": 4}
    learner = build("objectives.vector_reward", {"inner": inner, "weights": {"fun": 2.0, "new": -3.0},
                                                 "exploration": {"name": "bagging"}})  # fmt: skip
    rng = np.random.default_rng(0)
    batch = replace(logged(200), observation=rng.standard_normal((200, 2)))
    spec = Spec(Box(-np.inf, np.inf, (2,)), Discrete(ACTIONS))
    state, _ = learner.update(learner.init(spec, rng), batch, rng)
    belief = learner.beliefs(state)(batch.observation[:3])
    fun, new = (learner.inner.beliefs(state.inner[name])(batch.observation[:3]) for name in ("fun", "new"))
    np.testing.assert_allclose(belief.draws, 2 * fun.draws - 3 * new.draws)
    assert belief.scale == pytest.approx(np.hypot(2 * fun.scale, 3 * new.scale))
    chances = learner.policy(state, explore=True).distribution(batch.observation[:3], batch.allowed[:3])
    assert chances.sum(axis=1) == pytest.approx(1.0)
    assert LEARNER.beliefs(learned(LEARNER, 10)[0])(np.zeros((1, 1), int)).draws is None
    assert learner.with_weights({}).beliefs(state)(batch.observation[:3]).scale == 1.0


def test_a_part_with_a_slash_in_its_name_is_refused():
    with pytest.raises(InvalidInput, match="part 'a/b'") as raised:
        VectorReward(weights={"reward": 1.0}, limits={"a/b": 0.5})
    assert raised.value.field == "weights"
