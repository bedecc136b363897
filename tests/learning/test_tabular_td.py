"""Temporal-difference and Monte-Carlo learners move each cell by the numbers that their rules give by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains.probes.markov import Markov, random_problem
from bondhu.equations.td import lambda_return, n_step_target
from bondhu.errors import InvalidInput
from bondhu.learners import build, pack, unpack
from bondhu.learners._traces import Traces, follow
from bondhu.learners.tabular import expected_sarsa
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch
from tests.learning.dictionaries import RULES, by_hand

HALF = {"learning_rate": 0.5, "discount": 0.5}


def rng(seed=0):
    return np.random.default_rng(seed)


def make(name, **hyperparameters):
    return build(f"tabular.{name}", hyperparameters)


def log(steps, last, has_next):
    """Sessions from (state, action, reward, next state); the rows of `last` end (0.0) or are cut (1.0)."""
    state, action, reward, following = (np.array(column) for column in zip(*steps, strict=True))
    rows, discount = len(steps), np.ones(len(steps))
    discount[list(last)] = list(last.values())
    allowed = np.ones((rows, 2), bool)
    return Batch(
        state[:, None],
        allowed,
        action,
        np.full(rows, 0.5),
        reward.astype(float),
        discount,
        np.array(has_next),
        np.where(discount > 0, following, 0)[:, None],
        allowed,
        np.cumsum([0, *(not each for each in has_next[:-1])]),
        np.arange(rows, dtype=float),
        np.empty((rows, 0)),
    )


# One session 0 → 1 → 2 → 3 with rewards 1, 2, 4, then another one that starts where the first one stopped.
STEPS = [(0, 1, 1, 1), (1, 0, 2, 2), (2, 1, 4, 3), (3, 1, 0, 0)]
HAS_NEXT = [True, True, False, False]
ENDED, CUT = log(STEPS, {2: 0.0, 3: 0.0}, HAS_NEXT), log(STEPS, {2: 1.0, 3: 0.0}, HAS_NEXT)
KNOWN = np.array([[0, 0], [0, 0], [0, 0], [4.0, 8.0]])  # half at random, state 3 is worth 0.25·4 + 0.75·8 = 7


def start(learner, probe=None, values=KNOWN):
    problem = probe or random_problem(4, 2, rng())
    state = learner.init(problem.spec, rng())
    pair = {"both": np.stack([values, values])} if hasattr(state, "both") else {}
    return replace(state, values=values.copy(), **pair)


WORKED = [
    ("sarsa", {}, (0.5, 1.0, 2.0), (0.5, 1.0, 3.75)),
    ("expected_sarsa", {}, (0.5, 1.0, 2.0), (0.5, 1.0, 3.75)),
    ("double_q_learning", {}, (0.5, 1.0, 2.0), (0.5, 1.0, 4.0)),
    ("n_step_sarsa", {"n": 2}, (1.0, 2.0, 2.0), (1.0, 2.875, 3.75)),
    ("n_step_sarsa", {"n": 9}, (1.5, 2.0, 2.0), (1.9375, 2.875, 3.75)),
    ("sarsa_lambda", {"trace_decay": 0.5}, (0.875, 1.5, 2.0), (0.984375, 1.9375, 3.75)),
    ("q_lambda", {"trace_decay": 0.5}, (0.875, 1.5, 2.0), (1.0, 2.0, 4.0)),
    ("monte_carlo", {"step_power": 0.0}, (1.5, 2.0, 2.0), (1.9375, 2.875, 3.75)),
]


@pytest.mark.parametrize(("name", "more", "ended", "cut"), WORKED)
def test_an_end_adds_nothing_and_a_cut_adds_what_the_next_state_is_worth(name, more, ended, cut):
    learner = make(name, **HALF, **more, exploration={"name": "epsilon_greedy", "epsilon": 0.5})
    for batch, (first, second, third) in ((ENDED, ended), (CUT, cut)):
        state, metrics = learner.update(start(learner), batch, Coins(0.0, 0.0, 0.0, 0.0))
        moved = state.both[1] if name == "double_q_learning" else state.values
        assert moved.tolist() == [[0.0, first], [second, 0.0], [0.0, third], [4.0, 4.0]]
        assert state.visits.tolist() == [[0, 1], [1, 0], [0, 1], [0, 1]]
        assert metrics["rounds"] == state.rounds == np.count_nonzero(batch.discount == 0)
        assert metrics["reward"] == 1.75


@pytest.mark.parametrize(("name", "more", "ended", "cut"), WORKED)
def test_a_batch_that_stops_in_the_middle_of_a_session_is_a_cut(name, more, ended, cut):
    learner = make(name, **HALF, **more, exploration={"name": "epsilon_greedy", "epsilon": 0.5})
    head = CUT.take(np.arange(3))
    states = [
        learner.update(start(learner), replace(head, has_next=np.array([True, True, stays])), Coins(0.0, 0.0, 0.0))[0]
        for stays in (False, True)
    ]
    np.testing.assert_array_equal(states[0].values, states[1].values)
    assert states[0].values[2, 1] == (cut[2] / 2 if name == "double_q_learning" else cut[2])


@pytest.mark.parametrize(("name", "more", "ended", "cut"), WORKED)
def test_nothing_follows_a_true_end_even_where_a_row_claims_so(name, more, ended, cut):
    learner, claimed = make(name, **HALF, **more), replace(ENDED, has_next=np.array([True, True, True, False]))
    ours, theirs = (learner.update(start(learner), batch, rng())[0] for batch in (claimed, ENDED))
    np.testing.assert_array_equal(ours.values, theirs.values)


class Coins:
    """Numbers in place of a generator."""

    def __init__(self, *numbers):
        self.numbers = np.array(numbers)

    def random(self, size):
        return self.numbers[:size]


def test_of_two_tables_one_chooses_the_next_action_and_the_other_judges_it():
    learner = make("double_q_learning", **HALF)
    step = log([(0, 1, 1, 1)], {0: 1.0}, [False])
    both = np.zeros((2, 4, 2))
    both[:, 1] = [[1.0, 3.0], [5.0, 2.0]]
    tables = {"both": both, "values": both.mean(axis=0)}
    for coin, moved, value in ((0.9, 0, 0.5 * (1 + 0.5 * 2.0)), (0.1, 1, 0.5 * (1 + 0.5 * 1.0))):
        given_state = replace(start(learner), **{key: table.copy() for key, table in tables.items()})
        state, _ = learner.update(given_state, step, Coins(coin))
        assert state.both[moved, 0, 1] == value
        assert state.both[1 - moved, 0, 1] == 0.0
        assert state.values[0, 1] == value / 2
        assert state.tries[:, 0, 1].tolist() == [1 - moved, moved]


def test_watkins_traces_stop_at_an_action_that_the_values_do_not_call_for():
    learner = make("q_lambda", **HALF, trace_decay=0.5)
    values = KNOWN.copy()
    values[2, 0] = 1.0  # so that action 1 of state 2 is not the best
    state, _ = learner.update(start(learner, values=values), ENDED, rng())
    assert state.values[:3].tolist() == [[0.0, 0.8125], [1.25, 0.0], [1.0, 2.0]]


@pytest.mark.parametrize(("trace", "again"), [("replacing", 1.0), ("accumulating", 1.25), ("dutch", 1.125)])
@pytest.mark.parametrize("name", ["sarsa_lambda", "q_lambda"])
def test_what_a_second_visit_does_to_a_trace(name, trace, again):
    learner = make(name, **HALF, trace_decay=0.5, trace=trace)
    twice = log([(0, 0, 0, 0), (0, 0, 8, 1)], {1: 0.0}, [True, False])
    state, _ = learner.update(start(learner, values=np.zeros((4, 2))), twice, rng())
    assert state.values[0, 0] == 0.5 * 8 * again


def test_the_list_of_traces_stays_short_however_long_the_session():
    traces, length = Traces.room_for(40), 0
    for t in range(2_000):
        length = follow(traces, length, (t % 1_000, 0), 0.5, 0.0)
    assert length == 27  # 0.5^26 is the last one above 1e-8
    assert traces.weight[:length].tolist() == [0.5**k for k in range(26, -1, -1)]
    assert traces.row[:length].tolist() == list(range(973, 1_000))


def test_a_first_visit_counts_once_a_session_and_every_visit_each_time():
    twice = log([(0, 0, 1, 0), (0, 0, 1, 1), (0, 0, 5, 1)], {1: 0.0, 2: 0.0}, [True, False, False])
    for first, mean, visits in ((True, (1.5 + 5) / 2, 2), (False, (1.5 + 1 + 5) / 3, 3)):
        learner = make("monte_carlo", discount=0.5, first_visit=first)
        state, metrics = learner.update(start(learner, values=np.zeros((4, 2))), twice, rng())
        assert state.values[0, 0] == pytest.approx(mean, abs=1e-15)
        assert state.visits[0, 0] == metrics["updates"] == visits


def test_off_policy_returns_are_weighted_by_how_much_more_likely_the_greedy_policy_was():
    steps = [(0, 1, 0, 1), (1, 0, 8, 0), (0, 1, 2, 0), (0, 1, 9, 1), (1, 1, 0, 0)]
    batch = log(steps, {1: 0.0, 2: 0.0, 4: 0.0}, [True, False, False, True, False])
    batch = replace(batch, probability=np.array([0.5, 0.25, 0.5, 0.5, 0.75]))
    learner = make("monte_carlo", discount=0.5, off_policy=True)
    state, metrics = learner.update(start(learner, values=np.zeros((4, 2))), batch, rng())
    # Session 1: 8 at weight 1, then 4 at weight 1 / 0.25. Session 2: 2 at weight 1. Session 3 stops
    # before its first row: action 1 of state 1 turned out to be worth 0, less than 8.
    assert state.values[1].tolist() == [8.0, 0.0]
    assert state.values[0, 1] == pytest.approx((4 * 4.0 + 1 * 2.0) / 5, abs=1e-15)
    assert state.weights[0, 1] == 5.0
    assert metrics["updates"] == 4.0


def test_off_policy_equal_values_share_the_greedy_policy():
    batch = replace(log([(0, 0, 0, 1), (1, 0, 0, 0)], {1: 0.0}, [True, False]), probability=np.array([0.5, 0.25]))
    learner = make("monte_carlo", off_policy=True)
    state, _ = learner.update(start(learner, values=np.zeros((4, 2))), batch, rng())
    assert state.weights[0, 0] == 0.5 / 0.25


# ------------------------------------------------------------------------------------- written again with dictionaries


def problem_from(seed, limit=6):
    source = rng(seed)
    allowed = source.random((5, 3)) < 0.7
    allowed[:, 0] = True
    probe = random_problem(5, 3, source)
    return replace(probe, allowed=allowed, noise=0.3, limit=limit)


@pytest.mark.parametrize("rule", sorted(RULES))
@given(seed=st.integers(0, 2**32 - 1), power=st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=25, deadline=None)
def test_the_compiled_loops_agree_with_dictionaries(rule, seed, power):
    name, more = RULES[rule]
    power = 1.0 if more.get("off_policy") else power
    probe, learner = problem_from(seed), make(name, learning_rate=0.4, discount=0.9, step_power=power, **more)
    state, source = learner.init(probe.spec, rng()), rng(seed)
    expected = None
    for _ in range(2):  # the second time the policy that explores is no longer uniform
        batch = probe.play(Uniform(), 12, source)
        expected = by_hand(rule, learner, batch, expected, rng(seed))
        state, _ = learner.update(state, batch, rng(seed))
    for (s, a), value in expected.values.items():
        assert state.values[s, a] == pytest.approx(value, rel=1e-7, abs=1e-7)  # traces below 1e-8 are dropped
    assert {(s, a): int(state.visits[s, a]) for s, a in np.argwhere(state.visits)} == expected.visits


def test_expected_sarsa_asks_its_policy_again_in_a_long_log(monkeypatch):
    probe, learner = problem_from(5), make("expected_sarsa", learning_rate=0.4, discount=0.9)
    batch = probe.play(Uniform(), 12, rng(5))
    monkeypatch.setattr(expected_sarsa, "BLOCK", 7)
    state, _ = learner.update(learner.init(probe.spec, rng()), batch, rng())
    expected = by_hand("expected_sarsa", learner, batch, None, rng(), block=7)
    assert {cell: pytest.approx(state.values[cell], abs=1e-12) for cell in expected.values} == expected.values
    stored = unpack(learner, pack(learner.init(probe.spec, rng())))  # its arrays are read-only: a copy is written to
    np.testing.assert_array_equal(learner.update(stored, batch, rng())[0].values, state.values)


# ---------------------------------------------------------------------------------------- one rule as a case of another


def learned(learner, probe, batch):
    return learner.update(learner.init(probe.spec, rng()), batch, rng())[0]


@pytest.mark.parametrize("power", [0.0, 0.7])
@pytest.mark.parametrize(
    ("name", "more", "special"),
    [
        ("n_step_sarsa", {"n": 1}, "sarsa"),
        ("sarsa_lambda", {"trace_decay": 0.0}, "sarsa"),
        ("sarsa_lambda", {"trace_decay": 0.0, "trace": "accumulating"}, "sarsa"),
        ("q_lambda", {"trace_decay": 0.0}, "q_learning"),
        ("q_lambda", {"trace_decay": 0.0, "trace": "dutch"}, "q_learning"),
    ],
)
def test_one_step_is_a_special_case_bit_for_bit(name, more, special, power):
    probe = problem_from(3)
    batch = probe.play(Uniform(), 200, rng(1))
    ours, theirs = (learned(make(n, step_power=power, **m), probe, batch) for n, m in ((name, more), (special, {})))
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(ours.visits, theirs.visits)


def acyclic(states, source):
    """Every step leads further, so that no session passes a state twice."""
    moves = np.triu(source.random((states, states)), 1)
    moves[-1, -1] = 1.0
    transition = np.stack([moves / moves.sum(axis=1, keepdims=True)] * 2, axis=1)
    reward, ends = source.random(transition.shape), np.arange(states) == states - 1
    return Markov(transition, reward, np.eye(states)[0], ends, np.ones((states, 2), bool), noise=0.2)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("sarsa_lambda", {"trace_decay": 1.0}),
        ("sarsa_lambda", {"trace_decay": 1.0, "trace": "accumulating"}),
        ("n_step_sarsa", {"n": 50}),
    ],
)
def test_looking_all_the_way_ahead_is_monte_carlo(name, more):
    probe = acyclic(8, rng(4))
    batch = probe.play(Uniform(), 100, rng(1))
    ours = learned(make(name, learning_rate=0.3, **more), probe, batch)
    theirs = learned(make("monte_carlo", learning_rate=0.3, step_power=0.0), probe, batch)
    np.testing.assert_allclose(ours.values, theirs.values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("limit", [3, 1_000])
def test_forward_views_say_where_a_session_moves_the_values(limit):
    probe = replace(acyclic(12, rng(4)), limit=limit)
    uniform = EpsilonGreedy(1.0)
    before = rng(8).random((12, 2))
    batch = probe.play(Uniform(), 1, rng(2))
    cell = (batch.observation[:, 0], batch.action)
    following = before[batch.next_observation[:, 0]].mean(axis=1)
    following[:-1] = before[cell][1:]
    forward = (batch.reward, batch.discount, batch.has_next, following, 0.9)
    for name, more, target in (
        ("n_step_sarsa", {"n": 3}, n_step_target(*forward, 3)),
        ("sarsa_lambda", {"trace_decay": 0.6}, lambda_return(*forward, 0.6)),
    ):
        learner = replace(make(name, learning_rate=0.3, discount=0.9, **more), exploration=uniform)
        state, _ = learner.update(start(learner, probe, before), batch, rng())
        assert state.values[cell] == pytest.approx(before[cell] + 0.3 * (target - before[cell]), abs=1e-7)


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("name", "key", "value", "fix"),
    [
        ("q_lambda", "trace", "replacig", "Did you mean 'replacing'"),
        ("sarsa_lambda", "trace", "none", "It must be one of 'replacing', 'accumulating', 'dutch'"),
        ("sarsa_lambda", "trace_decay", 1.5, "from 0 to 1"),
        ("n_step_sarsa", "n", 0, "at least 1"),
        ("sarsa", "learning_rate", -0.1, "from 0 to 1"),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused(name, key, value, fix):
    with pytest.raises(InvalidInput, match=fix) as raised:
        make(name, **{key: value})
    assert raised.value.field == key


def test_off_policy_needs_the_weighted_mean():
    with pytest.raises(InvalidInput, match="leave it at 1"):
        make("monte_carlo", off_policy=True, step_power=0.0)


@pytest.mark.parametrize("wrong", [0.0, np.nan, 1.5])
def test_off_policy_a_probability_that_is_none_is_refused_before_anything_is_learned(wrong):
    learner = make("monte_carlo", off_policy=True)
    state, probability = start(learner), ENDED.probability.copy()
    probability[2] = wrong
    with pytest.raises(InvalidInput, match="Row 2 needs a number above 0") as raised:
        learner.update(state, replace(ENDED, probability=probability), rng())
    assert raised.value.field == "probability"
    np.testing.assert_array_equal(state.values, KNOWN)
    assert make("monte_carlo").update(start(learner), replace(ENDED, probability=probability), rng())


@pytest.mark.parametrize("name", sorted({name for name, *_ in WORKED}))
def test_rewards_too_large_to_add_up_are_refused(name):
    learner = make(name)
    with pytest.raises(InvalidInput, match="scale the rewards down"):
        learner.update(start(learner), replace(ENDED, reward=np.full(4, 1.7e308)), rng())
