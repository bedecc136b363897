"""Replaying a log to a learner: the same as having been there, or a refusal."""

from dataclasses import replace

import numpy as np
import pytest

from bondhu.domains.probes import find
from bondhu.errors import InvalidInput
from bondhu.evaluate.models import cross_fitted
from bondhu.evaluate.replay import Replay
from bondhu.learners import build
from bondhu.policies.by_value import ByValue
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch

LOGS, ONLINE, HORIZON, EVERY = 6, 300, 120, 10
CASES = [
    ("planes", "bandit.lin_ucb", {}),
    ("planes", "bandit.online_regression", {"exploration": {"name": "epsilon_greedy", "epsilon": 0.2}}),
    ("rows_of_arms", "tabular.q_learning", {"exploration": {"name": "epsilon_greedy", "epsilon": 0.2}}),
]


def tilted(actions):
    """A log that takes the last action twice as often as the first."""
    share = np.linspace(1, 2, actions)
    return ByValue(lambda seen: np.tile(share, (len(seen), 1)), lambda v, a: v * a / (v * a).sum(1, keepdims=True))


def lived(learner, world, decisions, every, rng):
    """Rewards of a learner that was really there."""
    state, rewards = learner.init(world.spec, rng), []
    for start in range(0, decisions, every):
        batch = world.play(learner.policy(state, explore=True), min(every, decisions - start), rng)
        state, _ = learner.update(state, batch, rng)
        rewards.append(batch.reward)
    return np.concatenate(rewards)


@pytest.fixture(scope="module", params=CASES, ids=[name for _, name, _ in CASES])
def case(request):
    """A world, a learner, and what it earned in each decision when it was really there: `[ONLINE, HORIZON]`."""
    name, learner, hyperparameters = request.param
    world, learner = find(name), build(learner, hyperparameters)
    return (
        world,
        learner,
        np.array([lived(learner, world, HORIZON, EVERY, np.random.default_rng([0, i])) for i in range(ONLINE)]),
    )


@pytest.mark.parametrize("model", [None, cross_fitted], ids=["accepted", "modelled"])
def test_a_replay_earns_what_the_learner_earns_when_it_is_really_there(case, model):
    world, learner, truly = case
    logging, found = tilted(world.mean.shape[1]), []
    for seed in range(LOGS):
        rng = np.random.default_rng([1, seed])
        log = world.play(logging, 1_500, rng)
        found.append(Replay(every=EVERY, horizon=HORIZON, runs=5, model=model)(learner, world.spec, log, rng))
    assert all(each.refused is None and each.accepted == HORIZON and each.cut == 0 for each in found)
    value, truth = np.mean([each.value for each in found]), truly.mean()
    error = np.hypot(truly.mean(1).std() / ONLINE**0.5, np.std([each.value for each in found]) / LOGS**0.5)
    assert value == pytest.approx(truth, abs=4 * error)
    assert sum(each.low <= truth <= each.high for each in found) >= LOGS - 1
    early, late = (np.mean([each.curve[part].mean() for each in found]) for part in (slice(0, 40), slice(80, 120)))
    assert early == pytest.approx(truly[:, :40].mean(), abs=0.12)
    assert late == pytest.approx(truly[:, 80:].mean(), abs=0.12)
    assert late > early


def test_a_model_narrows_the_interval(case):
    world, learner, _ = case
    log = world.play(Uniform(), 1_500, np.random.default_rng(2))
    plain, modelled = (
        Replay(every=EVERY, horizon=HORIZON, runs=5, model=model)(learner, world.spec, log, np.random.default_rng(3))
        for model in (None, cross_fitted)
    )
    assert modelled.high - modelled.low < 0.9 * (plain.high - plain.low)


def test_a_learner_that_never_learns_is_accepted_as_often_as_the_log_allows():
    """Uniform against uniform: every decision would be accepted but for the bound, which knows only 1 / p."""
    world = find("planes")
    log = world.play(Uniform(), 3_000, np.random.default_rng(4))
    replay = Replay(EpsilonGreedy(1.0), every=50, runs=2, model=None)
    found = replay(build("bandit.lin_ucb", {}), world.spec, log, np.random.default_rng(5))
    assert found.acceptance == pytest.approx(1 / 3, abs=0.03)
    assert found.value == pytest.approx(log.reward.mean(), abs=0.05)
    assert found.cut == 0
    assert found.bias.startswith("None as long as")
    wide = replace(replay, quantile=0.05)(build("bandit.lin_ucb", {}), world.spec, log, np.random.default_rng(5))
    assert wide.acceptance > 0.9  # the weights were all 1


def test_a_quantile_accepts_more_and_says_what_it_cuts():
    world = find("planes")
    share = np.array([0.1, 0.45, 0.45])
    log = world.play(
        ByValue(lambda seen: np.tile(share, (len(seen), 1)), lambda v, _: v), 3_000, np.random.default_rng(6)
    )
    learner = build("bandit.linear_thompson", {})
    exact, bold = (
        Replay(every=20, runs=2, quantile=quantile, minimum=1)(learner, world.spec, log, np.random.default_rng(7))
        for quantile in (0.0, 0.02)
    )
    assert exact.acceptance == pytest.approx(0.1, abs=0.01)
    assert bold.acceptance > 1.02 * exact.acceptance
    assert exact.cut == 0
    assert 0 < bold.cut < 0.5
    assert f"{bold.cut:.2%} was accepted too rarely" in bold.bias


def test_sessions_are_accepted_whole_and_shown_whole():
    """Two decisions a session; what is learned from are pairs that follow each other."""
    seen = []

    class Watching:
        def __init__(self, learner):
            self.init, self.beliefs, self.policy, self.learner = learner.init, learner.beliefs, learner.policy, learner

        def update(self, state, batch, rng):
            seen.append(batch)
            return self.learner.update(state, batch, rng)

    world, rng = find("rows_of_arms"), np.random.default_rng(8)
    single = world.play(Uniform(), 8_000, rng)
    first = np.arange(8_000) % 2 == 0
    batch = replace(single, session=np.arange(8_000) // 2, has_next=first, discount=first * 1.0)
    replay = Replay(EpsilonGreedy(1.0), every=5, runs=2, whole=True)
    found = replay(Watching(build("tabular.q_learning", {})), world.spec, batch, rng)
    assert found.acceptance == pytest.approx(1 / 9, abs=0.015)  # of three actions twice
    pairs = batch.reward.reshape(-1, 2).sum(1)
    assert found.value == pytest.approx(pairs.mean(), abs=5 * pairs.std() / found.accepted**0.5)
    assert all(len(each) % 2 == 0 and (each.has_next == (np.arange(len(each)) % 2 == 0)).all() for each in seen)


def test_in_order_of_time_what_is_learned_from_comes_in_order_of_time():
    times = []

    class Watching:
        def __init__(self, learner):
            self.init, self.beliefs, self.policy, self.learner = learner.init, learner.beliefs, learner.policy, learner

        def update(self, state, batch, rng):
            times.extend(batch.time.tolist())
            return self.learner.update(state, batch, rng)

    world, rng = find("planes"), np.random.default_rng(9)
    log = world.play(Uniform(), 400, rng)
    log = replace(log, time=rng.permutation(400).astype(float))
    found = Replay(runs=2, shuffled=False)(Watching(build("bandit.lin_ucb", {})), world.spec, log, rng)
    count = len(times)
    assert count == 2 * found.accepted
    falls = np.flatnonzero(np.diff(times) < 0)
    assert len(falls) == 1  # where the second run begins


def test_events_learned_one_by_one_and_together_differ_only_in_what_was_known():
    world, learner = find("planes"), build("bandit.lin_ucb", {})
    log = world.play(Uniform(), 1_000, np.random.default_rng(10))
    quick, slow = (
        Replay(every=every, horizon=200, runs=3)(learner, world.spec, log, np.random.default_rng(11))
        for every in (1, 100)
    )
    assert quick.value > slow.value + 0.05  # the first hundred are taken without knowing anything


def test_a_log_that_cannot_say_is_refused_with_its_reason():
    world, learner, rng = find("planes"), build("bandit.lin_ucb", {}), np.random.default_rng(12)
    log = world.play(Uniform(), 100, rng)
    few = Replay(runs=2)(learner, world.spec, log, rng)
    assert few.refused.startswith("Of 100 logged decisions")
    assert "fewer than 50" in few.refused
    assert np.isnan([few.value, few.low, few.high]).all()
    never = ByValue(lambda seen: np.tile([0.5, 0.5, 0.0], (len(seen), 1)), lambda v, _: v)
    missing = Replay(runs=2)(learner, world.spec, world.play(never, 2_000, rng), rng)
    assert "fit the" in missing.refused
    forced = Batch.single(log.observation, log.allowed, log.action, np.ones(100), log.reward)
    assert "no exploration" in Replay(runs=2)(learner, world.spec, forced, rng).refused
    broken = replace(log, reward=np.full(100, np.nan))
    assert "Row 0 has reward nan" in Replay(runs=2)(learner, world.spec, broken, rng).refused


def test_settings_out_of_range_are_named():
    for wrong in ({"every": 0}, {"runs": 1}, {"quantile": 0.6}, {"horizon": 0}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            Replay(**wrong)
