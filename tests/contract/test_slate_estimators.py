"""Estimators of slates: exact against all that can happen, and refusing what they cannot know."""

from dataclasses import replace
from itertools import pairwise, permutations, product

import numpy as np
import pytest

from bondhu import evaluate
from bondhu.domains.probes.slots import page
from bondhu.evaluate.decisions.slates import Cascade, Independent, PseudoInverse, SlateInversePropensity
from bondhu.policies.by_value import ByValue
from bondhu.policies.ranking import Ranking
from bondhu.policies.slots import Slots
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch

SIZES = (2, 3)
LOGGING = [np.array([0.4, 0.6]), np.array([0.2, 0.5, 0.3])]
WANTED = [np.array([0.7, 0.3]), np.array([0.5, 0.1, 0.4])]
WORTH = [np.array([0.1, 0.4]), np.array([0.3, 0.0, 0.5])]  # what each action adds to the reward
TIMES = 2_000  # rows of the population: every slate as often as expected


def fixed(chances):
    """The same chances whatever is seen."""
    return ByValue(lambda observation: np.tile(chances, (len(observation), 1)), lambda values, allowed: values)


def slots(chances):
    return Slots(tuple(map(fixed, chances)), SIZES)


def population(reward):
    """Every slate exactly as often as it is logged in 2,000 decisions; `reward(slate)` of each slot."""
    slates = np.array(list(product(*map(range, SIZES))))
    each = np.stack([LOGGING[k][slates[:, k]] for k in range(2)], axis=1)
    rows = np.random.default_rng(0).permutation(np.repeat(slates, np.rint(TIMES * each.prod(1)).astype(int), axis=0))
    memo = np.stack([LOGGING[k][rows[:, k]] for k in range(2)], axis=1)
    rewards = np.array([reward(slate) for slate in rows])
    batch = Batch.single(
        np.zeros((len(rows), 1), np.int64), np.ones((len(rows), 5), bool), rows, memo.prod(1), rewards.sum(1)
    )
    return replace(batch, memo=memo, objectives={"first": rewards[:, 0], "second": rewards[:, 1]})


def additive(slate):
    return WORTH[0][slate[0]], WORTH[1][slate[1]]


def cascading(slate):
    """The second slot earns only after the first one's first action."""
    return WORTH[0][slate[0]], WORTH[1][slate[1]] * (slate[0] == 0)


def entangled(slate):
    """The first slot's reward depends on the second."""
    return 1.0 * (slate[0] == slate[1]), WORTH[1][slate[1]]


def truth(reward):
    return sum(WANTED[0][slate[0]] * WANTED[1][slate[1]] * sum(reward(slate)) for slate in product(*map(range, SIZES)))


NAMED = {"slots": ("first", "second")}
ALL = {
    "slate_ips": SlateInversePropensity(),
    "slate_pseudo_inverse": PseudoInverse(),
    "slate_independent": Independent(**NAMED),
    "slate_cascade": Cascade(**NAMED),
}
every = pytest.mark.parametrize("judge", ALL.values(), ids=ALL.keys())
HOLDS = {  # what each assumes of the slots
    "slate_ips": (additive, cascading, entangled),
    "slate_pseudo_inverse": (additive,),
    "slate_independent": (additive,),
    "slate_cascade": (additive, cascading),
}


def test_they_are_in_the_catalogue():
    assert set(evaluate.names("slate")) == set(ALL)
    assert all(evaluate.find(name) is type(judge) for name, judge in ALL.items())


@every
def test_the_value_is_exact_where_slots_are_as_assumed(judge):
    for reward in HOLDS[judge.name]:
        found = judge(slots(WANTED), population(reward))
        assert found.refused is None
        assert found.value == pytest.approx(truth(reward), abs=1e-12)
        assert found.terms.mean() == pytest.approx(found.value)
        assert found.low < found.value < found.high


@every
def test_the_value_is_wrong_where_they_are_not(judge):
    for reward in {additive, cascading, entangled} - set(HOLDS[judge.name]):
        assert abs(judge(slots(WANTED), population(reward)).value - truth(reward)) > 0.02


@every
def test_the_policy_that_acted_is_worth_the_mean_reward(judge):
    batch = population(additive)
    found = judge(slots(LOGGING), batch)
    assert found.value == pytest.approx(batch.reward.mean(), abs=1e-12)
    assert found.effective_samples == pytest.approx(len(batch))


def test_the_more_is_assumed_the_narrower_the_interval():
    width = {name: np.ptp([found.low, found.high]) for name, found in _on_a_page().items()}
    assert width["slate_pseudo_inverse"] < 0.6 * width["slate_ips"]


def _on_a_page():
    world = page()
    best = Slots(tuple(ByValue(_means(world, part), _soft) for part in _parts(world)), world.sizes)
    batch = world.play(world.uniform, 20_000, np.random.default_rng(1))
    found = {name: ALL[name](best, batch) for name in ("slate_ips", "slate_pseudo_inverse")}
    for each in found.values():
        assert each.refused is None
        assert abs(each.value - world.worth(best)) < 4 * (each.high - each.low) / 3.92
    return found


def _parts(world):
    ends = np.cumsum((0, *world.sizes))
    return [slice(*each) for each in pairwise(ends)]


def _means(world, part):
    place = {row.tobytes(): number for number, row in enumerate(world.observation)}
    return lambda seen: world.mean[[place[row.tobytes()] for row in seen]][:, part]


def _soft(values, allowed):
    weights = np.exp(2 * values) * allowed
    return weights / weights.sum(axis=1, keepdims=True)


# ---------------------------------------------------------------------------------------- slots that are filled in turn


RANKED = np.array([[0.5, 0.3, 0.2]])


def plackett(weights):
    return ByValue(lambda observation: np.tile(weights, (len(observation), 1)), _renewed)


def _renewed(values, allowed):
    left = values * allowed
    return left / left.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["slate_ips", "slate_cascade"])
def test_rankings_are_judged_exactly_by_what_knows_that_slots_depend(name):
    """All six slates of two of three actions, as often as a Plackett-Luce policy draws them."""
    logging, wanted = Ranking(plackett(RANKED[0]), 2), Ranking(plackett(np.array([0.2, 0.2, 0.6])), 2)
    slates = np.array(list(permutations(range(3), 2)))
    seen, allowed = np.zeros((6, 1), np.int64), np.ones((6, 3), bool)
    chances = logging.probability(seen, allowed, slates)
    rows = np.repeat(np.arange(6), np.rint(7_000 * chances * 100).astype(int) // 100)
    rewards = np.stack([slates[:, 0] == 2, (slates[:, 0] == 2) & (slates[:, 1] == 1)], axis=1)[rows] * 1.0
    batch = Batch.single(seen[rows], allowed[rows], slates[rows], chances[rows], rewards.sum(1))
    memo = logging.conditionals(seen, allowed, slates)[rows]
    batch = replace(batch, memo=memo, objectives={"first": rewards[:, 0], "second": rewards[:, 1]})
    found = ALL[name](wanted, batch)
    exact = (wanted.probability(seen, allowed, slates) * ((slates[:, 0] == 2) * (1.0 + (slates[:, 1] == 1)))).sum()
    assert found.refused is None
    assert found.value == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("name", ["slate_pseudo_inverse", "slate_independent"])
def test_rankings_are_refused_by_what_assumes_independent_slots(name):
    found = ALL[name](Ranking(Uniform(), 2), population(additive))
    assert "does not fill its slots independently" in found.refused


@pytest.mark.parametrize("name", ["slate_pseudo_inverse", "slate_independent"])
def test_logs_of_rankings_are_refused_by_what_assumes_independent_slots(name):
    """The policy fills its slots independently, the log never put an action twice into a slate."""
    rng, weights = np.random.default_rng(4), np.linspace(3.0, 1.0, 20)
    seen, allowed = np.zeros((2_000, 1), np.int64), np.ones((2_000, 20), bool)
    choice = Ranking(plackett(weights / weights.sum()), 2).sample(seen, allowed, rng)
    rewards = choice.action / 20
    batch = Batch.single(seen, allowed, choice.action, choice.probability, rewards.sum(1))
    batch = replace(batch, memo=choice.memo, objectives={"first": rewards[:, 0], "second": rewards[:, 1]})
    policy = Slots((plackett(weights / weights.sum()),) * 2, (20, 20))
    found = ALL[name](policy, replace(batch, allowed=np.ones((2_000, 40), bool)))
    assert "did not fill its slots independently: no slate holds an action twice" in (found.refused or "")
    few = ALL[name](policy, replace(batch, allowed=np.ones((2_000, 40), bool)).take(np.arange(150)))
    assert "independently" not in (few.refused or "")  # eight repeats are expected: none may be chance


# ------------------------------------------------------------------------------------------------------------ refusals


def without(**columns):
    return replace(population(additive), **columns)


FAULTS = {
    "single actions": (without(action=np.zeros(TIMES, int)), "single actions, not slates", set(ALL)),
    "no probabilities of slots": (
        without(memo=np.empty((TIMES, 0))),
        "does not say how likely each slot was",
        set(ALL) - {"slate_ips"},
    ),
    "probabilities that do not multiply": (
        without(memo=np.full((TIMES, 2), 0.5)),
        "the probabilities of the slots multiply to 0.25",
        set(ALL) - {"slate_ips"},
    ),
    "rewards of slots unknown": (
        without(objectives={}),
        "No objective 'first' is in the log",
        {"slate_independent", "slate_cascade"},
    ),
    "rewards that do not add up": (
        without(reward=np.ones(TIMES)),
        "the rewards of the slots add up to",
        {"slate_independent", "slate_cascade"},
    ),
    "probability 0": (without(probability=np.zeros(TIMES)), "Row 0 has probability 0.0", {"slate_ips"}),
    "too few": (population(additive).take(np.arange(30)), "fewer than 50", set(ALL)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_log_that_cannot_answer_is_refused_with_its_reason(fault):
    batch, reason, judges = FAULTS[fault]
    for name in judges:
        found = ALL[name](slots(WANTED), batch)
        assert reason in (found.refused or ""), name
        assert np.isnan([found.value, found.low, found.high]).all()


def test_unnamed_rewards_of_slots_are_asked_for():
    found = Independent()(slots(WANTED), population(additive))
    assert "0 objectives were named for 2 slots" in found.refused


@every
def test_a_slot_that_the_log_never_tries_is_noticed(judge):
    only = [np.array([0.4, 0.6]), np.array([0.0, 0.0, 1.0])]
    batch = population(additive)
    never = batch.take(batch.action[:, 1] != 2)
    found = judge(slots(only), never)
    assert "No overlap" in found.refused


def test_intervals_hold_the_truth_as_often_as_they_say():
    """150 logs of 400 slates: at 95 %, chance leaves 89 to 99 %."""
    rng, held = np.random.default_rng(2), []
    observation, allowed = np.zeros((400, 1), np.int64), np.ones((400, 5), bool)
    for _ in range(150):
        choice = slots(LOGGING).sample(observation, allowed, rng)
        mean = np.stack([WORTH[k][choice.action[:, k]] for k in range(2)], axis=1)
        rewards = (rng.random((400, 2)) < mean) * 1.0
        batch = Batch.single(observation, allowed, choice.action, choice.probability, rewards.sum(1))
        batch = replace(batch, memo=choice.memo, objectives={"first": rewards[:, 0], "second": rewards[:, 1]})
        held.append(
            [found.low <= truth(additive) <= found.high for found in (j(slots(WANTED), batch) for j in ALL.values())]
        )
    share = np.mean(held, axis=0)
    assert (share >= 0.89).all(), share
    assert (share <= 0.99).all(), share
