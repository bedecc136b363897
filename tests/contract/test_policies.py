"""What every policy promises, and the exact numbers of each."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.errors import InvalidInput
from bondhu.policies.by_value import ByValue
from bondhu.policies.drawing import NARROW, draw, evenly, uniformly
from bondhu.policies.epsilon_greedy import epsilon_greedy
from bondhu.policies.floor import WithFloor
from bondhu.policies.greedy import greedy
from bondhu.policies.rules import RuleList, When
from bondhu.policies.uniform import Uniform

RULES = RuleList(
    sizes=(2, 3),
    default=1,
    rules=(
        When({0: frozenset({0, 2}), 2: frozenset({1})}, {0: 1}),
        When({2: frozenset({1})}, {0: 0, 1: 2}),
        When({1: frozenset({3})}, {1: 0}),
    ),
)
TABLE = np.random.default_rng(1).integers(-2, 3, (4, 6)) / 2  # few distinct values: ties are common


def by_table(rule):
    return ByValue(lambda observation: TABLE[observation[:, 0]], rule)


POLICIES = {
    "greedy": by_table(greedy),
    "epsilon_greedy": by_table(partial(epsilon_greedy, epsilon=0.3)),
    "floor": WithFloor(by_table(greedy), 0.1),
    "rules": RULES,
    "uniform": Uniform(),
}


class Fixed:
    """Uniform numbers that were chosen beforehand."""

    def __init__(self, *numbers):
        self.numbers = np.array(numbers)

    def random(self, size):
        return np.resize(self.numbers, size)


@st.composite
def situations(draw_from):
    rows = draw_from(st.integers(1, 5))
    seed = draw_from(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    allowed = rng.random((rows, 6)) < draw_from(st.floats(0, 1))
    allowed[np.arange(rows), rng.integers(0, 6, rows)] = True
    return rng.integers(0, 4, (rows, 3)), allowed, seed


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@given(situation=situations())
@settings(max_examples=60)
def test_every_policy_keeps_the_contract(policy, situation):
    observation, allowed, seed = situation
    distribution = policy.distribution(observation, allowed)
    assert distribution.shape == allowed.shape
    assert distribution.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert (distribution >= 0).all()
    assert not distribution[~allowed].any()
    choice = policy.sample(observation, allowed, np.random.default_rng(seed))
    again = policy.sample(observation, allowed, np.random.default_rng(seed))
    rows = np.arange(len(observation))
    assert choice.action.tolist() == again.action.tolist()
    assert allowed[rows, choice.action].all()
    assert choice.probability.tolist() == distribution[rows, choice.action].tolist()
    assert choice.probability.tolist() == policy.probability(observation, allowed, choice.action).tolist()
    assert choice.memo.shape == (len(rows), 0)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@given(situation=situations())
@settings(max_examples=60)
def test_one_row_and_many_rows_agree_bit_for_bit(policy, situation):
    observation, allowed, seed = situation
    uniforms = np.random.default_rng(seed).random(len(observation))
    together = policy.sample(observation, allowed, Fixed(*uniforms))
    for row, uniform in enumerate(uniforms):
        alone = policy.sample(observation[row : row + 1], allowed[row : row + 1], Fixed(uniform))
        assert alone.action[0] == together.action[row]
        assert alone.probability[0] == together.probability[row]


@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1.0)), min_size=1, max_size=40).filter(any),
    uniform=st.one_of(st.sampled_from([0.0, np.nextafter(1.0, 0.0), 1.0]), st.floats(0, 1)),
    rows=st.sampled_from([1, 2]),
)
def test_no_uniform_number_ever_draws_an_action_of_probability_zero(weights, uniform, rows):
    probabilities = np.tile(np.array(weights) / sum(weights), (rows, 1))
    choice = draw(probabilities, Fixed(uniform))
    assert (choice.probability > 0).all()


def test_draws_follow_the_cumulative_distribution():
    probabilities = np.array([0.25, 0.0, 0.5, 0.25])
    drawn = draw(np.tile(probabilities, (6, 1)), Fixed(0.0, 0.2, 0.25, 0.7, 0.75, 0.99))
    assert drawn.action.tolist() == [0, 0, 2, 2, 3, 3]
    assert drawn.probability.tolist() == [0.25, 0.25, 0.5, 0.5, 0.25, 0.25]


def test_frequencies_are_the_probabilities():
    probabilities = np.array([0.1, 0.0, 0.6, 0.3])
    drawn = draw(np.tile(probabilities, (100_000, 1)), np.random.default_rng(0))
    shares = np.bincount(drawn.action, minlength=4) / 100_000
    assert shares == pytest.approx(probabilities, abs=5 * 0.5 / np.sqrt(100_000))


def test_greedy_shares_exact_ties_among_the_allowed():
    values = np.array([[1.0, 3.0, 3.0, 9.0], [2.0, 2.0, 2.0, 2.0]])
    allowed = np.array([[True, True, True, False], [True, True, True, True]])
    assert greedy(values, allowed).tolist() == [[0, 0.5, 0.5, 0], [0.25, 0.25, 0.25, 0.25]]


def test_epsilon_greedy_mixes_in_the_uniform_choice():
    allowed = np.array([[True, True, True, False]])
    assert epsilon_greedy(np.array([[0.0, 5.0, 1.0, 9.0]]), allowed, 0.3)[0] == pytest.approx([0.1, 0.8, 0.1, 0.0])


def test_the_floor_gives_every_allowed_action_its_share():
    allowed = np.array([[True, True, False, True]])
    floored = WithFloor(ByValue(lambda _: np.array([[1.0, 2.0, 3.0, 0.0]]), greedy), 0.3)
    assert floored.distribution(np.zeros((1, 1), int), allowed)[0] == pytest.approx([0.1, 0.8, 0.0, 0.1])


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_floor_outside_0_to_1_is_refused(rate):
    with pytest.raises(InvalidInput, match="share from 0 to 1") as raised:
        WithFloor(Uniform(), rate)
    assert raised.value.field == "rate"


@pytest.mark.parametrize("rows", [1, 3])
def test_a_row_that_allows_nothing_is_named(rows):
    allowed = np.ones((rows, 4), bool)
    allowed[-1] = False
    with pytest.raises(InvalidInput, match=f"Row {rows - 1} allows no action"):
        evenly(allowed)


@pytest.mark.parametrize("actions", [6, NARROW + 1])  # shares of narrow rows are remembered
def test_one_mask_for_all_rows_counts_as_the_same_mask_in_each(actions):
    mask = np.arange(actions) % 3 > 0
    shared = np.broadcast_to(mask, (4, actions))
    alone = uniformly(mask[None], 0.3)
    assert alone[0].sum() == pytest.approx(0.3)
    assert set(alone[0].tolist()) == {0.0, 0.3 * (1 / mask.sum())}
    values = np.random.default_rng(0).random((4, actions))
    assert (epsilon_greedy(values, shared, 0.3) == epsilon_greedy(values, shared.copy(), 0.3)).all()
    assert (epsilon_greedy(values[:1], mask[None], 0.3) == epsilon_greedy(values, shared, 0.3)[:1]).all()


def test_shares_that_are_remembered_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        evenly(np.ones((1, 3), bool))[0, 0] = 1.0


def ruled(codes):
    """What the rules above say, read aloud."""
    first, second = 0, 1
    if codes[0] in (0, 2) and codes[2] == 1:
        first = 1
    if codes[2] == 1:
        second = 2
    elif codes[1] == 3:
        second = 0
    return 3 * first + second


def test_rules_act_as_they_read_on_every_observation_one_by_one_and_together():
    observation = np.array(list(product(range(5), repeat=3)))
    expected = [ruled(codes) for codes in observation.tolist()]
    assert RULES.actions(observation).tolist() == expected
    assert [int(RULES.actions(row[None])[0]) for row in observation] == expected
    assert (RULES.probability(observation, np.ones((125, 6), bool), np.array(expected)) == 1.0).all()


def test_a_ruled_action_that_is_not_allowed_gives_way_to_any_that_is():
    allowed = np.array([[True, False, True, True, False, False]])
    assert RULES.distribution(np.array([[3, 0, 0]]), allowed)[0] == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3, 0, 0])


def test_without_rules_the_default_is_always_taken():
    always = RuleList(sizes=(4,), default=2)
    assert always.distribution(np.zeros((3, 2), int), np.ones((3, 4), bool)).tolist() == [[0, 0, 1, 0]] * 3


@pytest.mark.parametrize(
    ("default", "rules", "field"),
    [(6, (), "default"), (0, (When({}, {2: 0}),), "rules"), (0, (When({}, {1: 3}),), "rules")],
)
def test_rules_about_parts_or_values_that_do_not_exist_are_refused(default, rules, field):
    with pytest.raises(InvalidInput) as raised:
        RuleList((2, 3), default, rules)
    assert raised.value.field == field
