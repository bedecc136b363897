"""What every rule of exploration promises, found by walking the folder, and the exact numbers of each."""

from math import erfc, exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.catalogue import plain
from bondhu.domains.probes.markov import two_arms
from bondhu.errors import InvalidInput, UnknownName
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.policies import exploring
from bondhu.policies.by_value import Exploring
from bondhu.policies.exploring.bagging import Bagging
from bondhu.policies.exploring.explore_first import ExploreFirst
from bondhu.policies.exploring.softmax import Softmax
from bondhu.policies.exploring.square_cb import SquareCb
from bondhu.policies.exploring.thompson import Thompson
from bondhu.policies.exploring.ucb import Ucb
from bondhu.policies.exploring.upper_bound import UpperBound
from bondhu.policies.floor import WithFloor
from bondhu.types import Belief

every_rule = pytest.mark.parametrize("rule", [exploring.build(name, {}) for name in exploring.names()], ids=repr)
ACTIONS = 6


def believed(value, error=None, tries=None, rounds=0.0, draws=None):
    """A belief from lists, one row where they are flat."""
    value = np.atleast_2d(np.array(value, float))
    error = np.ones_like(value) if error is None else np.atleast_2d(np.array(error, float))
    tries = np.ones_like(value) if tries is None else np.atleast_2d(np.array(tries, float))
    return Belief(value, error, tries, rounds, draws)


def everything(belief):
    return np.ones(belief.value.shape, bool)


def rows_of(belief, rows):
    draws = None if belief.draws is None else belief.draws[:, rows]
    return Belief(belief.value[rows], belief.error[rows], belief.tries[rows], belief.rounds, draws)


@st.composite
def situations(draw_from):
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    rows = draw_from(st.integers(1, 5))
    shape = (rows, ACTIONS)
    coarse = draw_from(st.booleans())  # few distinct numbers: ties are common
    value = rng.integers(-2, 3, shape) / 2 if coarse else rng.normal(size=shape) * 10.0 ** draw_from(st.integers(-3, 3))
    error = rng.integers(0, 3, shape) / 2 if coarse else 10.0 ** rng.uniform(-6, 3, shape)
    allowed = rng.random(shape) < draw_from(st.floats(0, 1))
    allowed[np.arange(rows), rng.integers(0, ACTIONS, rows)] = True
    draws = value + error * rng.standard_normal((4, *shape))
    return Belief(value, error, rng.integers(0, 4, shape) / 1.0, float(rng.integers(300)), draws), allowed


@every_rule
@given(situation=situations())
@settings(max_examples=60, deadline=None)
def test_a_rule_gives_probabilities_of_the_allowed_actions(rule, situation):
    belief, allowed = situation
    probabilities = rule(belief, allowed)
    assert probabilities.shape == allowed.shape
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert (probabilities >= 0).all()
    assert not probabilities[~allowed].any()


@every_rule
@given(situation=situations())
@settings(max_examples=30, deadline=None)
def test_one_row_counts_the_same_alone_as_among_others(rule, situation):
    belief, allowed = situation
    together = rule(belief, allowed)
    for row in range(len(allowed)):
        alone = rule(rows_of(belief, [row]), allowed[[row]])
        np.testing.assert_allclose(alone[0], together[row], rtol=0, atol=1e-15)


@every_rule
@given(situation=situations())
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_actions_does_not_matter(rule, situation):
    belief, allowed = situation
    order = np.arange(ACTIONS)[::-1]
    turned = Belief(*(part[:, order] for part in belief[:3]), belief.rounds, belief.draws[:, :, order])
    np.testing.assert_allclose(rule(turned, allowed[:, order]), rule(belief, allowed)[:, order], rtol=0, atol=1e-12)


@every_rule
@given(situation=situations(), rate=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_with_a_floor_every_allowed_action_keeps_its_share(rule, situation, rate):
    belief, allowed = situation
    policy = WithFloor(Exploring(lambda rows: rows_of(belief, rows), rule), rate)
    distribution = policy.distribution(np.arange(len(allowed)), allowed)
    least = rate / allowed.sum(axis=1, keepdims=True)
    assert (distribution >= np.where(allowed, least, 0.0) * (1 - 1e-12)).all()
    assert distribution.sum(axis=1) == pytest.approx(1.0, abs=1e-12)


@every_rule
def test_a_mask_that_all_rows_share_and_arrays_that_are_read_only_are_fine(rule):
    rng = np.random.default_rng(0)
    belief = believed(*rng.random((3, 4, ACTIONS)), draws=rng.random((5, 4, ACTIONS)))
    mask = np.broadcast_to(np.arange(ACTIONS) > 1, (4, ACTIONS))
    expected = rule(belief, mask.copy())
    for part in (*belief[:3], belief.draws):
        part.flags.writeable = False
    np.testing.assert_array_equal(rule(belief, mask), expected)


@every_rule
@pytest.mark.parametrize("rows", [1, 3])
def test_a_row_that_allows_nothing_is_named(rule, rows):
    belief = believed(np.zeros((rows, 4)), draws=np.zeros((2, rows, 4)))
    allowed = everything(belief)
    allowed[-1] = False
    with pytest.raises(InvalidInput, match=f"Row {rows - 1} allows no action"):
        rule(belief, allowed)


@every_rule
def test_a_rule_survives_as_plain_data(rule):
    name = next(name for name in exploring.names() if type(exploring.build(name, {})) is type(rule))
    assert exploring.build(name, plain(rule)) == rule


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("softmax", "temperature", 0.0),
        ("softmax", "minimum", -1.0),
        ("softmax", "decay", 1.5),
        ("ucb", "confidence", -1.0),
        ("upper_bound", "width", float("nan")),
        ("thompson", "scale", float("inf")),
        ("square_cb", "gamma", 0.0),
        ("square_cb", "exponent", 2.0),
        ("bagging", "floor", 1.1),
        ("explore_first", "rounds", -1),
    ],
)
def test_a_hyper_parameter_outside_its_range_is_refused(name, field, value):
    with pytest.raises(InvalidInput, match="It must be a number") as raised:
        exploring.build(name, {field: value})
    assert raised.value.field == field


def test_an_unknown_rule_gets_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'thompson'"):
        exploring.build("tompson", {})


def test_softmax_weighs_by_exponentials_over_the_allowed_actions():
    belief = believed([[log(1.0), log(2.0), log(5.0), 99.0]])
    allowed = np.array([[True, True, True, False]])
    assert Softmax()(belief, allowed)[0] == pytest.approx([0.125, 0.25, 0.625, 0.0])
    squares = Softmax(temperature=0.5)(belief, allowed)[0]
    assert squares == pytest.approx([1 / 30, 4 / 30, 25 / 30, 0.0])


def test_softmax_cools_by_the_round_down_to_its_minimum():
    assert Softmax(2.0, decay=0.5, minimum=0.3).warmth(2) == 0.5
    assert Softmax(2.0, decay=0.5, minimum=0.3).warmth(50) == 0.3
    assert Softmax(0.2, decay=0.5, minimum=0.3).warmth(50) == 0.2
    cold = Softmax(1.0, decay=0.1, minimum=1e-9)(believed([[0.1, 0.2]], rounds=1e6), np.ones((1, 2), bool))
    assert cold.tolist() == [[0.0, 1.0]]


def test_ucb_adds_what_few_tries_leave_open():
    belief = believed([[0.5, 0.4]], tries=[[8, 2]])
    bounds = [0.5 + 2.0 * sqrt(log(10) / 8), 0.4 + 2.0 * sqrt(log(10) / 2)]  # 1.573 and 2.546
    assert bounds[1] > bounds[0]
    assert Ucb(2.0)(belief, everything(belief)).tolist() == [[0.0, 1.0]]
    assert Ucb(0.1)(belief, everything(belief)).tolist() == [[1.0, 0.0]]  # 0.554 and 0.507


def test_ucb_counts_the_tries_of_actions_that_are_not_allowed_now():
    tries = [[4, 1, 95]]
    gap = sqrt(log(100)) * (1.0 - 0.5)  # between widths at one and at four tries, for a confidence of 1
    for value, expected in ((gap + 1e-9, [1.0, 0.0, 0.0]), (gap - 1e-9, [0.0, 1.0, 0.0])):
        belief = believed([[value, 0.0, 0.0]], tries=tries)
        assert Ucb(1.0)(belief, np.array([[True, True, False]]))[0].tolist() == expected


def test_ucb_takes_what_was_never_tried_first_and_evenly():
    belief = believed([[9.0, 0.0, 0.0, 0.0]], tries=[[3, 0, 0, 0]])
    assert Ucb()(belief, np.array([[True, True, True, False]])).tolist() == [[0.0, 0.5, 0.5, 0.0]]


def test_ucb_understands_evidence_that_has_nearly_faded():
    belief = believed([[0.5, 0.5]], tries=[[1e-300, 0.5]])
    assert Ucb()(belief, everything(belief)).tolist() == [[0.5, 0.5]]  # ln of less than one try counts as 0


def test_upper_bound_takes_what_may_be_best():
    belief = believed([[0.5, 0.3, 0.0]], error=[[0.1, 0.3, 1.0]])
    allowed = np.array([[True, True, False]])
    assert UpperBound(1.5)(belief, allowed).tolist() == [[0.0, 1.0, 0.0]]  # 0.65 and 0.75
    assert UpperBound(0.5)(belief, allowed).tolist() == [[1.0, 0.0, 0.0]]  # 0.55 and 0.45


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_thompson_of_two_is_the_normal_distribution_of_their_difference(scale):
    belief = believed([[0.3, 0.1, 5.0]], error=[[0.3, 0.4, 1.0]])
    probabilities = Thompson(scale)(belief, np.array([[True, True, False]]))[0]
    assert probabilities[0] == pytest.approx(erfc(-0.2 / (scale * 0.5) / sqrt(2)) / 2, abs=1e-12)


def test_thompson_without_scale_or_error_is_greedy():
    belief = believed([[0.3, 0.3, 0.1]])
    assert Thompson(0.0)(belief, everything(belief)).tolist() == [[0.5, 0.5, 0.0]]
    certain = believed([[0.3, 0.3, 0.1]], error=[[0.0, 0.0, 0.0]])
    assert Thompson()(certain, everything(certain)).tolist() == [[0.5, 0.5, 0.0]]


def test_thompson_takes_the_share_of_joint_draws_where_there_are_any():
    draws = np.array([[[1.0, 0.0, 9.0]], [[0.0, 2.0, 9.0]], [[0.0, 3.0, 9.0]], [[1.0, 1.0, 9.0]]])
    belief = believed([[0.5, 0.0, 9.0]], draws=draws)
    allowed = np.array([[True, True, False]])
    assert Thompson()(belief, allowed).tolist() == [[0.375, 0.625, 0.0]]
    assert Thompson(0.0)(belief, allowed).tolist() == [[1.0, 0.0, 0.0]]
    assert Thompson(0.1)(belief, allowed).tolist() == [[1.0, 0.0, 0.0]]  # draws shrink towards the value


def test_square_cb_weighs_by_the_inverse_gap():
    belief = believed([[0.9, 0.4, 0.8, 1.0]], rounds=3.0)
    allowed = np.array([[True, True, True, False]])
    others = [1 / (3 + 20 * 0.5), 1 / (3 + 20 * 0.1)]  # γ = 10·√4
    assert SquareCb()(belief, allowed)[0] == pytest.approx([1 - sum(others), *others, 0.0], abs=1e-15)


def test_square_cb_gives_equals_at_the_top_equal_shares_and_at_least_one_in_k():
    belief = believed([[0.5, 0.5, 0.4]])
    last = 1 / (3 + 10 * 0.1)
    assert SquareCb()(belief, everything(belief))[0] == pytest.approx([(1 - last) / 2, (1 - last) / 2, last])


@given(situation=situations())
@settings(max_examples=40, deadline=None)
def test_square_cb_gives_worse_values_no_more_and_the_best_at_least_an_even_share(situation):
    belief, allowed = situation
    probabilities = SquareCb()(belief, allowed)
    for value, p, mask in zip(belief.value, probabilities, allowed, strict=True):
        assert (np.diff(p[mask][np.argsort(value[mask], kind="stable")]) >= -1e-15).all()
        assert p.max() >= 1 / mask.sum() - 1e-15


@given(situation=situations())
@settings(max_examples=40, deadline=None)
def test_softmax_is_the_ratio_of_exponentials_written_out(situation):
    belief, allowed = situation
    probabilities = Softmax(temperature=20.0)(belief, allowed)
    for value, p, mask in zip(belief.value, probabilities, allowed, strict=True):
        weights = [exp((v - value[mask].max()) / 20.0) for v in value[mask]]
        assert p[mask] == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-12)


@given(situation=situations())
@settings(max_examples=40, deadline=None)
def test_ucb_and_upper_bound_take_the_largest_bound_written_out(situation):
    belief, allowed = situation
    for row, mask in enumerate(allowed):
        tries, value, error = belief.tries[row], belief.value[row], belief.error[row]
        width = [sqrt(log(max(tries.sum(), 1)) / n) if n else np.inf for n in tries]
        for rule, bounds in (
            (Ucb(2.0), [v + 2.0 * w for v, w in zip(value, width, strict=True)]),
            (UpperBound(0.5), value + 0.5 * error),
        ):
            best = [a for a in np.flatnonzero(mask) if bounds[a] == max(bounds[b] for b in np.flatnonzero(mask))]
            expected = [1 / len(best) if a in best else 0.0 for a in range(ACTIONS)]
            assert rule(rows_of(belief, [row]), mask[None])[0].tolist() == expected


def test_bagging_counts_the_members_that_prefer_an_action():
    draws = np.array([[[1.0, 0.0, 9.0]], [[0.0, 2.0, 9.0]], [[0.0, 3.0, 9.0]], [[1.0, 1.0, 9.0]]])
    belief = believed([[0.5, 0.0, 9.0]], draws=draws)
    allowed = np.array([[True, True, False]])
    assert Bagging()(belief, allowed).tolist() == [[0.375, 0.625, 0.0]]
    assert Bagging(floor=0.2)(belief, allowed)[0] == pytest.approx([0.4, 0.6, 0.0])


def test_bagging_without_an_ensemble_says_what_to_do():
    belief = believed([[0.0, 1.0]])
    with pytest.raises(InvalidInput, match=r"belief without draws.*'thompson'"):
        Bagging()(belief, everything(belief))


def test_explore_first_is_uniform_then_greedy():
    rule, allowed = ExploreFirst(rounds=10), np.array([[True, True, False]])
    assert rule(believed([[0.1, 0.2, 0.9]], rounds=9.0), allowed).tolist() == [[0.5, 0.5, 0.0]]
    assert rule(believed([[0.1, 0.2, 0.9]], rounds=10.0), allowed).tolist() == [[0.0, 1.0, 0.0]]


def test_a_high_initial_value_makes_greed_try_everything():
    """Optimism in the face of what is unknown (Sutton & Barto 2018, section 2.6)."""
    probe, rng = two_arms(), np.random.default_rng(0)
    tried = {}
    for initial_value in (0.0, 5.0):
        learner = QLearning(initial_value=initial_value)
        state = learner.init(probe.spec, rng)
        state.values[0, 0] += 1e-6  # greed begins with the worse action
        for _ in range(3):
            batch = probe.play(learner.policy(state), 1, rng)
            state, _ = learner.update(state, batch, rng)
        tried[initial_value] = (state.visits[0] > 0).tolist()
    assert tried == {0.0: [True, False], 5.0: [True, True]}


@pytest.mark.parametrize("shape", [(1, 4), (2, 3), (1, 2)])
def test_square_cb_refuses_a_mask_of_another_shape_than_the_values(shape):
    with pytest.raises(InvalidInput, match=r"Values have \(1, 3\)") as raised:
        SquareCb()(believed([1.0, 2.0, 3.0]), np.ones(shape, bool))
    assert raised.value.field == "allowed"
