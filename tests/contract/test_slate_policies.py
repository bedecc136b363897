"""Policies over slates, slots and intervals: every probability against all that can happen."""

from dataclasses import replace
from functools import partial
from itertools import permutations, product

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains import probes
from bondhu.errors import InvalidInput
from bondhu.policies.by_value import ByValue
from bondhu.policies.epsilon_greedy import epsilon_greedy
from bondhu.policies.floor import WithFloor
from bondhu.policies.greedy import greedy
from bondhu.policies.interval import Smoothed, Windows
from bondhu.policies.ranking import Ranking, with_position
from bondhu.policies.slots import Slots, side_by_side
from bondhu.policies.uniform import Uniform

SEEN = np.arange(3)[:, None]  # three observations of one code
VALUES = np.random.default_rng(0).integers(-2, 3, (3, 5)) / 2  # ties are common


class Fixed:
    """Uniform numbers that were chosen beforehand."""

    def __init__(self, *numbers):
        self.numbers = np.array(numbers)

    def random(self, size):
        return np.resize(self.numbers, size)


def softmax(values, allowed):
    weights = np.exp(values) * allowed
    return weights / weights.sum(axis=1, keepdims=True)


def of_five(rule):
    return ByValue(lambda observation: VALUES[observation[:, 0]], rule)


RULES = {"greedy": greedy, "epsilon_greedy": partial(epsilon_greedy, epsilon=0.3), "softmax": softmax}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
masks = st.lists(
    st.lists(st.booleans(), min_size=5, max_size=5).filter(lambda row: sum(row) > 2), min_size=3, max_size=3
)


# ------------------------------------------------------------------------------------------------------------- ranking


@every_rule
@given(allowed=masks)
@settings(max_examples=15)
def test_the_probabilities_of_all_ordered_slates_sum_to_one(rule, allowed):
    ranking, allowed = Ranking(of_five(rule), 3), np.array(allowed)
    total = sum(ranking.probability(SEEN, allowed, np.tile(slate, (3, 1))) for slate in permutations(range(5), 3))
    assert total == pytest.approx(np.ones(3), abs=1e-12)


def test_a_softmax_ranks_as_plackett_and_luce_say():
    ranking, allowed = Ranking(of_five(softmax), 3), np.array([[True, True, False, True, True]])
    weight = np.exp(VALUES[1])
    first, second = weight[[0, 1, 3, 4]].sum(), weight[[0, 1, 4]].sum()
    expected = [weight[3] / first, weight[0] / second, weight[4] / (second - weight[0])]
    slate = np.array([[3, 0, 4]])
    assert ranking.conditionals(SEEN[1:2], allowed, slate)[0] == pytest.approx(expected)
    assert ranking.probability(SEEN[1:2], allowed, slate)[0] == pytest.approx(np.prod(expected))


@every_rule
@given(allowed=masks, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_a_drawn_slate_has_the_probability_it_says_and_no_action_twice(rule, allowed, seed):
    ranking, allowed = Ranking(of_five(rule), 3), np.array(allowed)
    choice = ranking.sample(SEEN, allowed, np.random.default_rng(seed))
    assert choice.memo.tolist() == ranking.conditionals(SEEN, allowed, choice.action).tolist()
    assert choice.probability.tolist() == ranking.probability(SEEN, allowed, choice.action).tolist()
    assert all(len(set(slate)) == 3 for slate in choice.action.tolist())
    assert np.take_along_axis(allowed, choice.action, axis=1).all()


def test_slates_take_one_uniform_number_a_slot_and_rows_their_own():
    ranking, allowed = Ranking(of_five(softmax), 3), np.ones((3, 5), bool)
    numbers = np.random.default_rng(2).random((3, 3))
    together = ranking.sample(SEEN, allowed, Fixed(*numbers.ravel()))
    for row in range(3):
        alone = ranking.sample(SEEN[row : row + 1], allowed[:1], Fixed(*numbers[row]))
        assert alone.action[0].tolist() == together.action[row].tolist()
        assert alone.probability[0] == pytest.approx(together.probability[row], rel=1e-12)


def test_slates_are_drawn_as_often_as_their_probability_says():
    ranking, rows = Ranking(of_five(softmax), 2), 40_000
    observation, allowed = np.ones((rows, 1), int), np.ones((rows, 5), bool)
    drawn = ranking.sample(observation, allowed, np.random.default_rng(0)).action
    for slate in permutations(range(5), 2):
        share = (drawn == slate).all(axis=1).mean()
        exact = ranking.probability(SEEN[1:2], allowed[:1], np.array([slate]))[0]
        assert share == pytest.approx(exact, abs=5 * 0.5 / np.sqrt(rows))


def test_an_action_that_comes_again_or_is_not_allowed_has_probability_zero():
    ranking, allowed = Ranking(of_five(softmax), 2), np.array([[True, True, True, False, True]] * 2)
    assert ranking.probability(SEEN[:2], allowed, np.array([[1, 1], [0, 3]])).tolist() == [0.0, 0.0]


def test_slots_become_rows_that_any_learner_reads():
    ranking, allowed = Ranking(of_five(softmax), 2, position=True), np.array([[True] * 5, [True] * 4 + [False]])
    slate, conditional = np.array([[4, 2], [0, 1]]), np.array([[0.5, 0.25], [0.1, 0.2]])
    batch = ranking.slots_as_rows(SEEN[:2], allowed, slate, conditional, np.array([[1, 0], [0, 1]]))
    assert batch.observation.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]  # the last column is the position
    assert batch.action.tolist() == [4, 2, 0, 1]
    assert batch.probability.tolist() == [0.5, 0.25, 0.1, 0.2]
    assert batch.reward.tolist() == [1.0, 0.0, 0.0, 1.0]
    without = [[True] * 5, [True] * 4 + [False], [True] * 4 + [False], [False, True, True, True, False]]
    assert batch.allowed.tolist() == without
    assert not batch.discount.any()


def test_a_policy_may_look_at_the_position():
    by_position = ByValue(lambda observation: np.eye(5)[observation[:, -1] + 2], greedy)
    ranking = Ranking(by_position, 3, position=True)
    assert ranking.sample(SEEN, np.ones((3, 5), bool), Fixed(0.5)).action.tolist() == [[2, 3, 4]] * 3


def test_the_position_is_one_more_column_of_what_is_observed():
    assert with_position(MultiDiscrete([3, 4]), 6) == MultiDiscrete([3, 4, 6])
    features = with_position(Box(-1.0, 1.0, (2,), np.float32), 3)
    assert features == Box(np.array([-1, -1, 0], np.float32), np.array([1, 1, 2], np.float32))
    assert with_position(Box(-1.0, 1.0, (8, 2), np.float32), 3).shape == (8, 3)
    with pytest.raises(InvalidInput, match="no columns"):
        with_position(Discrete(3), 2)


def test_bad_slates_are_refused_with_the_row_and_the_number():
    with pytest.raises(InvalidInput, match="0 slots"):
        Ranking(Uniform(), 0)
    allowed = np.array([[True] * 5, [True] + [False] * 4])
    with pytest.raises(InvalidInput, match="Row 1 allows 1 actions for 2 slots") as raised:
        Ranking(Uniform(), 2).sample(SEEN[:2], allowed, Fixed(0.5))
    assert raised.value.field == "allowed"
    with pytest.raises(InvalidInput, match="They need 2 actions in each of 2 rows"):
        Ranking(Uniform(), 2).probability(SEEN[:2], np.ones((2, 5), bool), np.zeros((2, 3), int))


# --------------------------------------------------------------------------------------------------------------- slots

IN_SLOTS = Slots((of_five(softmax), Uniform(), of_five(RULES["epsilon_greedy"])), (5, 2, 5))


def open_slots(rows=3):
    allowed = np.random.default_rng(1).random((rows, 12)) < 0.7
    allowed[:, [0, 5, 9]] = True
    return allowed


def test_actions_of_slots_stand_side_by_side():
    assert side_by_side((5, 2, 5)) == [slice(0, 5), slice(5, 7), slice(7, 12)]


def test_the_probabilities_of_all_slates_sum_to_one_and_multiply():
    allowed, total = open_slots(), np.zeros(3)
    each = IN_SLOTS.distribution(SEEN, allowed)
    for slate in product(range(5), range(2), range(5)):
        probability = IN_SLOTS.probability(SEEN, allowed, np.tile(slate, (3, 1)))
        a, b, c = slate
        np.testing.assert_allclose(probability, each[:, a] * each[:, 5 + b] * each[:, 7 + c], rtol=1e-12)
        total += probability
    assert total == pytest.approx(np.ones(3), abs=1e-12)
    assert not each[~allowed].any()
    assert each.sum(axis=1) == pytest.approx(3.0)


def test_slots_are_drawn_with_the_probability_they_say():
    allowed = open_slots()
    choice = IN_SLOTS.sample(SEEN, allowed, np.random.default_rng(0))
    assert choice.action.shape == choice.memo.shape == (3, 3)
    assert choice.memo.tolist() == IN_SLOTS.marginals(SEEN, allowed, choice.action).tolist()
    assert choice.probability.tolist() == IN_SLOTS.probability(SEEN, allowed, choice.action).tolist()
    assert (choice.probability > 0).all()


def test_slots_take_one_uniform_number_each_and_rows_their_own():
    allowed, numbers = open_slots(), np.random.default_rng(2).random((3, 3))
    together = IN_SLOTS.sample(SEEN, allowed, Fixed(*numbers.ravel()))
    for row in range(3):
        alone = IN_SLOTS.sample(SEEN[row : row + 1], allowed[row : row + 1], Fixed(*numbers[row]))
        assert alone.action[0].tolist() == together.action[row].tolist()


def test_bad_slots_are_refused():
    with pytest.raises(InvalidInput, match="1 policies were given for 2 slots"):
        Slots((Uniform(),), (2, 3))
    with pytest.raises(InvalidInput, match=r"It has 12 columns: the actions of each slot, \[5, 2, 5\]") as raised:
        IN_SLOTS.distribution(SEEN, np.ones((3, 11), bool))
    assert raised.value.field == "allowed"
    allowed = open_slots()
    allowed[1, 5:7] = False
    with pytest.raises(InvalidInput, match="Row 1 allows no action"):
        IN_SLOTS.sample(SEEN, allowed, Fixed(0.5))


# ------------------------------------------------------------------------------------------------------------ interval

WINDOWS = Windows(-2.0, 8.0, bins=5, bandwidth=0.15)  # centres -1, 1, 3, 5, 7; reaching 1.5 to either side
WHOLE = np.ones((3, 1), bool)
ON_INTERVAL = {name: Smoothed(of_five(rule), WINDOWS) for name, rule in RULES.items()}
every_density = pytest.mark.parametrize("policy", ON_INTERVAL.values(), ids=ON_INTERVAL.keys())


def test_windows_by_hand():
    assert WINDOWS.reach[0] == pytest.approx([-2.0, -0.5, 1.5, 3.5, 5.5])
    assert WINDOWS.reach[1] == pytest.approx([0.5, 2.5, 4.5, 6.5, 8.0])
    assert WINDOWS.edges == pytest.approx([-2.0, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 8.0])
    assert WINDOWS.shares[0] == pytest.approx([0.6, 0.4, 0, 0, 0, 0, 0, 0, 0])
    assert WINDOWS.shares[2] == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    assert WINDOWS.piece(np.array([-2.0, -0.5, 7.9, 8.0])).tolist() == [0, 1, 8, 8]


def test_epsilon_greedy_over_centres_is_uniform_near_the_best_and_anywhere_now_and_then():
    best = ByValue(lambda _: np.array([[0.0, 0.0, 1.0, 0.0, 0.0]]), partial(epsilon_greedy, epsilon=0.2))
    action = np.array([-2.0, 1.4, 1.6, 3.0, 4.4, 4.6, 8.0])
    density = [Smoothed(best, WINDOWS).probability(SEEN[:1], WHOLE[:1], np.array([each]))[0] for each in action]
    near = 0.8 / 3.0 + 0.2 / 10.0
    assert density == pytest.approx([0.02, 0.02, near, near, near, 0.02, 0.02])


def test_a_floor_over_centres_is_a_floor_of_the_density():
    floored = Smoothed(WithFloor(of_five(greedy), 0.1), WINDOWS)
    lowest = min(floored.probability(SEEN, WHOLE, np.full(3, each)).min() for each in np.linspace(-2, 8, 101))
    assert lowest == pytest.approx(0.1 / 10.0)


def test_what_is_even_over_centres_is_even_over_the_interval():
    assert Smoothed(Uniform(), WINDOWS).probability(SEEN, WHOLE, np.array([-2.0, 0.0, 8.0])) == pytest.approx([0.1] * 3)


@every_density
def test_densities_integrate_to_one_and_pieces_hold_their_mass(policy):
    middle = (np.linspace(-2, 8, 10_001)[1:] + np.linspace(-2, 8, 10_001)[:-1]) / 2
    density = np.array([policy.probability(SEEN, WHOLE, np.full(3, each)) for each in middle])
    assert density.sum(axis=0) * 0.001 == pytest.approx(1.0, abs=1e-9)
    mass = policy.distribution(SEEN, WHOLE)
    assert mass.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    inside = (middle >= policy.edges[3]) & (middle < policy.edges[4])
    np.testing.assert_allclose(density[inside].sum(axis=0) * 0.001, mass[:, 3], atol=1e-9)


@every_density
@given(uniform=st.floats(0.0, 1.0))
@settings(max_examples=40)
def test_draws_invert_the_cumulative_distribution(policy, uniform):
    choice = policy.sample(SEEN, WHOLE, Fixed(uniform))
    assert ((choice.action >= -2.0) & (choice.action <= 8.0)).all()
    assert (choice.probability > 0).all()
    np.testing.assert_allclose(policy.probability(SEEN, WHOLE, choice.action), choice.probability, rtol=1e-12)
    mass, edges = policy.distribution(SEEN, WHOLE), policy.edges
    below = np.clip((choice.action[:, None] - edges[:-1]) / np.diff(edges), 0.0, 1.0)
    np.testing.assert_allclose((mass * below).sum(axis=1), uniform, atol=1e-9)


def test_density_is_zero_outside_of_the_interval_and_the_interval_is_allowed_as_a_whole():
    policy = ON_INTERVAL["softmax"]
    assert policy.probability(SEEN, WHOLE, np.array([-2.1, 8.1, np.nan])).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(InvalidInput, match="Row 1 allows no action"):
        policy.sample(SEEN, np.array([[True], [False], [True]]), Fixed(0.5))


@pytest.mark.parametrize(
    ("low", "high", "bins", "bandwidth", "field"),
    [
        (0.0, np.inf, 4, 0.2, "action"),
        (1.0, 1.0, 4, 0.2, "action"),
        (0.0, 1.0, 0, 0.2, "bins"),
        (0.0, 1.0, 4, 0.1, "bandwidth"),  # gaps between windows
    ],
)
def test_windows_that_do_not_cover_an_interval_are_refused(low, high, bins, bandwidth, field):
    with pytest.raises(InvalidInput) as raised:
        Windows(low, high, bins, bandwidth)
    assert raised.value.field == field


@given(low=st.floats(-1e6, 1e6), length=st.floats(1e-3, 1e6), bins=st.integers(1, 40), wide=st.floats(1.0, 4.0))
@settings(max_examples=60)
def test_pieces_run_from_end_to_end_and_every_window_is_whole(low, length, bins, wide):
    windows = Windows(low, low + length, bins, min(0.5 / bins * wide, 1.0))
    assert windows.edges[0] == low
    assert windows.edges[-1] == low + length
    assert (np.diff(windows.edges) > 0).all()
    assert windows.shares.sum(axis=1) == pytest.approx(1.0, abs=1e-9)


# -------------------------------------------------------------------------------------------------------------- probes


@pytest.mark.parametrize("name", ["dial", "peak"])
def test_the_worth_on_an_interval_is_the_integral(name):
    probe = probes.find(name)
    centres = ByValue(lambda observation: observation @ np.ones((4, 5)) * np.arange(5), softmax)
    policy = Smoothed(centres, Windows(probe.low, probe.high, 5, 0.15))
    nodes, weights = np.polynomial.legendre.leggauss(8)
    worth, allowed = 0.0, np.ones((64, 1), bool)
    knots = [np.unique(np.append(policy.edges, place)) for place in probe.place]  # smooth between these
    for piece in range(len(policy.edges)):
        start, end = (np.array([each[piece + side] for each in knots]) for side in (0, 1))
        for node, weight in zip(nodes, weights, strict=True):
            action = (start + end) / 2 + (end - start) / 2 * node
            density = policy.probability(probe.observation, allowed, action)
            worth += (weight * (end - start) / 2 * density * probe.mean(probe.place, action)).mean()
    assert probe.worth(policy) == pytest.approx(worth, abs=1e-9)
    with pytest.raises(InvalidInput, match="not known"):
        probe.worth(Uniform())


def test_nothing_on_an_interval_beats_the_best_and_narrow_windows_come_near_it():
    probe = probes.find("dial")
    centre = (np.arange(500) + 0.5) / 500 * 20 + 10
    near = ByValue(lambda seen: -np.abs(centre - probe.place[:, None]), greedy)
    worth = probe.worth(Smoothed(near, Windows(10.0, 30.0, 500, 0.001)))
    assert probe.best - 1e-4 < worth < probe.best


def test_the_worth_of_a_page_is_the_sum_over_its_slates():
    probe = probes.find("page")
    wants = [
        ByValue(lambda seen, size=size: seen @ np.ones((4, size)) * np.arange(size), softmax) for size in (4, 3, 5)
    ]
    policy = Slots(tuple(wants), probe.sizes)
    total = np.zeros(64)
    for slate in product(*map(range, probe.sizes)):
        place = np.add(slate, [0, 4, 7])
        chance = policy.probability(probe.observation, probe.allowed, np.tile(slate, (64, 1)))
        total += chance * probe.mean[:, place].sum(axis=1)
    assert probe.worth(policy) == pytest.approx(total.mean(), abs=1e-12)
    within = np.where(probe.allowed, probe.mean, -np.inf)
    best = max(within[0, list(np.add(slate, [0, 4, 7]))].sum() for slate in product(*map(range, probe.sizes)))
    alone = replace(probe, **{name: getattr(probe, name)[:1] for name in ("observation", "mean", "allowed")})
    assert alone.best == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", ["dial", "page"])
def test_playing_earns_the_worth(name):
    probe = probes.find(name)
    batch = probe.play(probe.uniform, 20_000, np.random.default_rng(0))
    margin = 5 * batch.reward.std() / np.sqrt(len(batch))
    assert batch.reward.mean() == pytest.approx(probe.worth(probe.uniform), abs=margin)
