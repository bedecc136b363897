"""Learners with a model: exact on what was counted, careful with what was not, quick where experience is dear."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.domains.probes.features import Seen, one_hot_corridor
from bondhu.domains.probes.markov import Markov, corridor, cut, random_problem, trap, two_arms
from bondhu.errors import InvalidInput
from bondhu.learners import build, carried, pack, unpack
from bondhu.learners._cells import rows_of
from bondhu.learners.tabular.dyna_q import DynaQ, Memory, Step, sweep
from bondhu.learners.tabular.fitted_q import FittedQ
from bondhu.learners.tabular.policy_iteration import PolicyIteration
from bondhu.learners.tabular.value_iteration import ValueIteration
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch, Spec

planners = pytest.mark.parametrize("planner", [ValueIteration, PolicyIteration])
GREEDY = EpsilonGreedy(0.1)


def rng(seed=0):
    return np.random.default_rng(seed)


def learn(learner, problem, *batches):
    """From nothing, one update a batch."""
    start = learner.init(problem.spec, rng())
    return reduce(lambda state, batch: learner.update(state, batch, rng())[0], batches, start)


def values(learner, state, states):
    return learner.beliefs(state)(np.arange(states)[:, None]).value


def rows(cells, problem):
    """Decisions `(state, action, reward, next state or None)`, one a session, each cut where it goes on."""
    state, action, reward, following = (list(column) for column in zip(*cells, strict=True))
    goes = np.array([each is not None for each in following])
    after = np.array([each or 0 for each in following])
    return Batch(
        observation=np.array(state)[:, None],
        allowed=problem.allowed[state],
        action=np.array(action),
        probability=np.ones(len(action)),
        reward=np.array(reward, float),
        discount=goes.astype(float),
        has_next=np.zeros(len(action), np.bool_),
        next_observation=after[:, None],
        next_allowed=problem.allowed[after],
        session=np.arange(len(action)),
        time=np.zeros(len(action)),
        memo=np.empty((len(action), 0)),
    )


def in_sixteenths(seed, states=7, actions=3):
    """A random problem whose chances are sixteenths, and a log in which each outcome is as frequent as it is likely."""
    source = rng(seed)
    problem = random_problem(states, actions, source)
    chance = source.multinomial(16, np.full(states, 1 / states), size=(states, actions)) / 16
    mean = source.random((states, actions, 1)) * np.ones(states)
    problem = replace(problem, transition=chance, reward=mean)
    log = [
        (s, a, mean[s, a, 0], None if n == states - 1 else n)
        for s in range(states - 1)
        for a in range(actions)
        for n in np.repeat(np.arange(states), np.rint(16 * chance[s, a]).astype(int))
    ]
    return problem, rows(log, problem)


# ------------------------------------------------------------------------------------ value iteration, policy iteration


@planners
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5, 0.95]))
@settings(max_examples=10, deadline=None)
def test_from_exact_counts_a_planner_finds_the_optimum_exactly(planner, seed, factor):
    problem, log = in_sixteenths(seed)
    learner = planner(discount=factor, tolerance=1e-12)
    state = learn(learner, problem, log.take(rng(seed).permutation(len(log))))
    np.testing.assert_allclose(values(learner, state, 6), problem.optimum(factor)[:6], rtol=0, atol=1e-9)


@planners
def test_without_a_discount_sessions_that_end_have_their_exact_values_too(planner):
    problem, log = in_sixteenths(3)
    learner = planner(discount=1.0, tolerance=1e-12)
    state = learn(learner, problem, log)
    np.testing.assert_allclose(values(learner, state, 6), problem.optimum(1.0)[:6], rtol=0, atol=1e-9)
    costly = replace(problem, reward=problem.reward - 2.0)
    state = learn(learner, costly, replace(log, reward=log.reward - 2.0))
    np.testing.assert_allclose(values(learner, state, 6), costly.optimum(1.0)[:6], rtol=0, atol=1e-9)


@planners
def test_a_loop_that_earns_nothing_does_not_keep_up_a_value_that_is_gone(planner):
    problem = corridor(2)
    learner = planner(discount=1.0)
    good, bad = (rows([(0, 0, 0.0, 0), (0, 1, 0.0, 1), (1, 1, end, None)], problem) for end in (1.0, 0.0))
    state = learn(learner, problem, good, *[bad] * 9)
    np.testing.assert_allclose(values(learner, state, 2), [[0.1, 0.1], [0.0, 0.1]], atol=1e-6)


@planners
def test_windows_add_up_to_the_whole_log(planner):
    problem = random_problem(8, 3, rng(3))
    batch = problem.play(Uniform(), 300, rng())
    learner = planner(tolerance=1e-12)
    once = learn(learner, problem, batch)
    windows = learn(learner, problem, *[batch.take(part) for part in np.array_split(np.arange(len(batch)), 7)])
    for name in ("tries", "outcome", "count", "allowed", "rounds", "updates", "lowest"):
        np.testing.assert_array_equal(getattr(windows, name), getattr(once, name))
    np.testing.assert_allclose(windows.values, once.values, rtol=0, atol=1e-9)
    assert once.count.sum() + once.rounds == len(batch) == once.tries.sum()


@planners
def test_a_cut_is_not_an_end_and_a_forbidden_action_is_not_looked_at(planner):
    learner = planner(discount=0.9)
    assert values(learner, learn(learner, cut(), cut().play(Uniform(), 3, rng())), 1)[0] == pytest.approx([10.0])
    learner, problem = planner(discount=0.5), trap()
    tempted = rows([(0, 0, 0.0, 1), (0, 1, 0.0, 1), (1, 0, 0.5, None), (1, 1, 10.0, None)], problem)
    assert values(learner, learn(learner, problem, tempted), 1)[0] == pytest.approx([0.25, 0.25])


@planners
def test_an_action_is_allowed_as_its_state_was_seen_last(planner):
    problem, learner = corridor(2), planner(discount=0.5)
    log = rows([(0, 1, 0.0, 1), (1, 0, 0.5, None), (1, 1, 1.0, None)], problem)
    shut = replace(log, allowed=log.allowed.copy(), next_allowed=log.next_allowed.copy())
    shut.allowed[1:, 1] = shut.next_allowed[0, 1] = False
    assert values(learner, learn(learner, problem, log, shut), 1)[0, 1] == pytest.approx(0.25)
    assert values(learner, learn(learner, problem, shut, log), 1)[0, 1] == pytest.approx(0.5)


@planners
def test_what_was_never_tried_counts_as_the_worst_return(planner):
    problem = corridor(3)
    log = rows([(0, 1, -1.0, 1), (1, 0, -1.0, 0), (1, 1, -1.0, 2)], problem)  # nobody has gone on from state 2
    learner = planner(discount=0.5)
    state = learn(learner, problem, log)
    np.testing.assert_allclose(values(learner, state, 3), [[-2, -2], [-2, -2], [-2, -2]], atol=1e-8)
    better = learn(learner, problem, log, rows([(2, 1, 0.0, None)], problem))
    np.testing.assert_allclose(values(learner, better, 3), [[-2, -1.5], [-1.75, -1], [-2, 0]], atol=1e-8)
    policy = learner.policy(better).distribution(np.arange(3)[:, None], np.ones((3, 2), np.bool_))
    np.testing.assert_array_equal(policy, [[0, 1], [0, 1], [0, 1]])


@planners
def test_what_was_tried_too_little_draws_an_explorer_to_it(planner):
    """R-max goes straight for the end of a corridor that chance reaches once in many thousand sessions."""
    problem = replace(corridor(24), limit=40)
    worth = {}
    for known_after in (0, 1):
        learner = planner(known_after=known_after, initial_value=1.0, exploration=GREEDY)
        state, source = learner.init(problem.spec, rng()), rng(1)
        for _ in range(60):
            batch = problem.play(learner.policy(state, explore=True), 1, source)
            state, _ = learner.update(state, batch, source)
        worth[known_after] = problem.worth(learner.policy(state))
    assert worth[1] == pytest.approx(problem.best)
    assert worth[0] < 0.5 * problem.best


@planners
def test_pessimism_prefers_what_is_known_to_what_was_lucky_once(planner):
    problem = two_arms()
    log = rows([(0, 0, 1.0, None), *[(0, 1, 0.8, None)] * 100], problem)
    bold, careful = planner(), planner(pessimism=0.3)
    for learner, expected in ((bold, [1.0, 0.8]), (careful, [0.7, 0.77])):
        assert values(learner, learn(learner, problem, log), 1)[0] == pytest.approx(expected)


@planners
def test_an_action_without_support_is_not_known(planner):
    problem = two_arms()
    log = rows([(0, 0, 1.0, None), *[(0, 1, 0.8, None)] * 19], problem)
    for support, expected in ((0.05, [1.0, 0.8]), (0.06, [0.0, 0.8])):
        learner = planner(support=support)
        assert values(learner, learn(learner, problem, log), 1)[0] == pytest.approx(expected)


def test_sharing_tames_the_luckiest_of_many():
    problem = random_problem(2, 8, rng())
    problem = replace(problem, transition=np.eye(2)[np.ones((2, 8), int)])
    truth, source = rng(1).normal(0, 0.1, 8), rng(2)
    gained = {0.0: 0.0, 10.0: 0.0}
    for _ in range(50):
        log = rows([(0, a, truth[a] + source.normal(), None) for a in range(8) for _ in range(10)], problem)
        for sharing in gained:
            learner = ValueIteration(sharing=sharing)
            known = values(learner, learn(learner, problem, log), 1)[0]
            gained[sharing] += np.square(known - truth).mean() / 50
    assert gained[10.0] < 0.5 * gained[0.0]


@planners
def test_actions_come_and_go_and_the_model_goes_with_them(planner):
    problem = random_problem(5, 3, rng(4))
    first, second = (problem.play(Uniform(), 60, rng(seed)) for seed in (0, 1))
    learner = planner(tolerance=1e-12)
    order = np.array([2, -1, 0])  # action 1 went, a new one came in its place
    number = np.array([2, -1, 0])
    moved = carried(learner.init(problem.spec, rng()), learn(learner, problem, first), order)
    again = replace(second, action=number[second.action]).take(np.flatnonzero(second.action != 1))
    state, _ = learner.update(moved, again, rng())
    kept = replace(first, action=number[first.action]).take(np.flatnonzero(first.action != 1))
    expected = learn(learner, problem, kept, again)
    for name in ("tries", "outcome", "count", "known", "actions"):
        np.testing.assert_array_equal(getattr(state, name), getattr(expected, name))
    np.testing.assert_allclose(values(learner, state, 4), values(learner, expected, 4), rtol=0, atol=1e-8)


@planners
def test_a_stored_model_stays_as_it_is(planner):
    problem = random_problem(5, 3, rng(4))
    learner = planner()
    arrays = pack(learn(learner, problem, problem.play(Uniform(), 20, rng())))
    copies = {name: array.copy() for name, array in arrays.items()}
    learner.update(unpack(learner, arrays), problem.play(Uniform(), 20, rng(1)), rng())
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, copies[name])


@pytest.mark.parametrize("name", ["tabular.value_iteration", "tabular.policy_iteration", "tabular.dyna_q"])
def test_a_model_that_does_not_fit_is_refused_before_memory_is_taken(name):
    spec = Spec(MultiDiscrete([1_000_000, 1_000]), Discrete(5))
    with pytest.raises(InvalidInput, match=r"1,000,000,000 states x 5 actions .* tabular.q_learning") as raised:
        build(name, {}).init(spec, rng())
    assert raised.value.field == "observation"
    with pytest.raises(InvalidInput, match="codes"):
        build(name, {}).init(Spec(Box(0, 1, (2,)), Discrete(5)), rng())


# --------------------------------------------------------------------------------------------------------------- Dyna-Q


def maze(picture, limit=2_000):
    """Walls are #, the start S, the goal G; up, down, left, right; 1 for reaching the goal."""
    grid = np.array([list(line) for line in picture.split()])
    height, width = grid.shape
    number = np.arange(grid.size).reshape(grid.shape)
    transition, reward = np.zeros((grid.size, 4, grid.size)), np.zeros((grid.size, 4, grid.size))
    for (y, x), state in np.ndenumerate(number):
        for action, (down, right) in enumerate([(-1, 0), (1, 0), (0, -1), (0, 1)]):
            to = min(max(y + down, 0), height - 1), min(max(x + right, 0), width - 1)
            transition[state, action, state if grid[to] == "#" else number[to]] = 1.0
    goal = grid.ravel() == "G"
    reward[:, :, goal] = 1.0
    allowed = np.ones((grid.size, 4), np.bool_)
    return Markov(transition, reward, (grid.ravel() == "S").astype(float), goal, allowed, limit=limit)


def played(learner, problems, seed):
    """One session, one update: decisions of each session, and the state in the end."""
    source = rng(seed)
    state, lengths = learner.init(problems[0].spec, source), []
    for problem in problems:
        batch = problem.play(learner.policy(state, explore=True), 1, source)
        state, _ = learner.update(state, batch, source)
        lengths.append(len(batch))
    return np.array(lengths), state


def walked(learner, problems, seed):
    """One decision, one update, for so many decisions of each problem: the goals reached in the last."""
    source = rng(seed)
    state = learner.init(problems[0][0].spec, source)
    for problem, steps in problems:
        start = place = int(problem.start.argmax())
        goals = 0
        for _ in range(steps):
            choice = learner.policy(state, explore=True).sample(np.array([[place]]), problem.allowed[:1], source)
            following = int(problem.transition[place, choice.action[0]].argmax())
            reached = bool(problem.ends[following])
            row = (place, choice.action[0], float(reached), None if reached else following)
            state, _ = learner.update(state, rows([row], problem), source)
            goals += reached
            place = start if reached else following
    return goals


DYNA_MAZE = """
.......#G
..#....#.
S.#....#.
..#......
.....#...
.........
"""
BLOCKED = """
........G
.........
.........
{}
.........
...S.....
"""


def test_planning_needs_far_fewer_sessions_in_the_maze_of_the_book():
    """Sutton & Barto 2018, figure 8.2: the shortest way has 14 steps."""
    problem, late = maze(DYNA_MAZE), {}
    for planning in (0, 50):
        learner = DynaQ(planning=planning, exploration=GREEDY)
        lengths = np.mean([played(learner, [problem] * 14, seed)[0] for seed in range(3)], axis=0)
        late[planning] = int((lengths > 25).sum())
    assert late[50] <= 3
    assert late[0] == 14


def test_curiosity_finds_the_way_that_opened():
    """Sutton & Barto 2018, example 8.3: a shorter way opens on the right, where the old one still leads to the goal."""
    closed, opened = (maze(BLOCKED.format(wall)) for wall in (".########", ".#######."))
    gained = {}
    for curiosity in (0.0, 0.001):
        learner = DynaQ(planning=20, curiosity=curiosity, learning_rate=0.5, exploration=GREEDY)
        gained[curiosity] = sum(walked(learner, [(closed, 800), (opened, 1200)], seed) for seed in (1, 2))
    assert gained[0.001] > 1.2 * gained[0.0] > 0


def by_hand(problem, batch, learner, uniform):
    """Dyna-Q with dictionaries: remembers the last outcome, draws from what was visited in order of the visits."""
    table = np.zeros(problem.allowed.shape)
    model, visited = {}, []

    def back_up(s, a, reward, following):
        ahead = 0.0 if following is None else max(table[following][problem.allowed[following]])
        table[s, a] += learner.learning_rate * (reward + learner.discount * ahead - table[s, a])

    for t in range(len(batch)):
        cell = int(batch.observation[t, 0]), int(batch.action[t])
        visited += [] if cell in model else [cell]
        model[cell] = batch.reward[t], int(batch.next_observation[t, 0]) if batch.discount[t] else None
        back_up(*cell, *model[cell])
        for number in uniform[t]:
            drawn = visited[int(number * len(visited))]
            back_up(*drawn, *model[drawn])
    return table


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_an_update_is_the_rule_of_the_book(seed):
    source = rng(seed)
    problem = random_problem(6, 3, source)
    allowed = source.random((6, 3)) < 0.7
    allowed[:, 0] = True
    problem = replace(problem, allowed=allowed)
    batch = problem.play(Uniform(), 10, source)
    learner = DynaQ(planning=4)
    state, metrics = learner.update(learner.init(problem.spec, rng()), batch, rng(5))
    expected = by_hand(problem, batch, learner, rng(5).random((len(batch), 4)))
    np.testing.assert_allclose(state.values, expected, rtol=0, atol=1e-12)
    assert metrics["simulated"] == 4 * metrics["updates"] == 4 * len(batch)
    np.testing.assert_array_equal(
        state.visits.ravel(), np.bincount(batch.observation[:, 0] * 3 + batch.action, minlength=18)
    )


@pytest.mark.parametrize("curiosity", [0.0, 0.1])
def test_the_compiled_loop_is_the_plain_one(curiosity):
    problem = random_problem(6, 3, rng(1))
    batch = problem.play(Uniform(), 8, rng(2))
    learner = DynaQ(planning=3, remembered=2, step_power=0.5, curiosity=curiosity)
    state = learner.init(problem.spec, rng())
    memory, errors = Memory(**{name: getattr(state, name).copy() for name in Memory._fields}), np.zeros(len(batch))
    visited = (np.empty(len(batch), np.int64), 0)
    step = Step((0.1, 0.5), 0.95, curiosity)
    rows, uniform = rows_of(state, batch, 0.95), rng(3).random((len(batch), 3))
    found = sweep(memory, rows, errors, visited, (0, 0, uniform), step)
    fast, metrics = learner.update(state, batch, rng(3))
    for name in Memory._fields:
        np.testing.assert_allclose(getattr(fast, name), getattr(memory, name), rtol=1e-12)
    assert metrics["td_error"] == pytest.approx(np.abs(errors).mean())
    assert found == np.count_nonzero(memory.visits.any(axis=1) if curiosity else memory.visits)


def test_curiosity_adds_the_root_of_the_time_and_tries_what_was_never_tried():
    problem = Markov(
        np.eye(2)[[[1, 1], [1, 1]]], np.zeros((2, 2, 2)), np.eye(2)[0], np.arange(2) == 1, np.ones((2, 2), bool)
    )
    learner = DynaQ(planning=1, curiosity=0.5, learning_rate=1.0, discount=0.5)
    state, _ = learner.update(learner.init(problem.spec, rng()), rows([(0, 0, 0.0, None)] * 9, problem), Fixed(0.75))
    expected = 0.0
    for now in range(9):  # action 1 leads back to where one is, for nothing but the bonus
        expected = 0.5 * now**0.5 + 0.5 * max(expected, 0.0)
    assert state.values[0, 1] == pytest.approx(expected)
    assert state.visits[0].tolist() == [9, 0]
    shut = replace(problem, allowed=np.array([[True, False], [True, True]]))
    state, _ = learner.update(learner.init(shut.spec, rng()), rows([(0, 0, 0.0, None)] * 9, shut), Fixed(0.75))
    assert state.values[0].tolist() == [0.0, 0.0]


class Fixed:
    """The same number again and again."""

    def __init__(self, number):
        self.number = number

    def random(self, shape):
        return np.full(shape, self.number)


def test_more_remembered_outcomes_average_chance():
    problem = in_sixteenths(5)[0]
    batch = problem.play(Uniform(), 400, rng(1))
    errors = {}
    for remembered in (1, 50):
        learner = DynaQ(planning=50, remembered=remembered, learning_rate=1.0, step_power=0.8, discount=0.8)
        state = learn(learner, problem, batch)
        errors[remembered] = np.abs(state.values[:6] - problem.optimum(0.8)[:6]).max()
    assert errors[50] < 0.6 * errors[1]


# --------------------------------------------------------------------------------------------------- fitted Q-iteration


def test_with_one_hot_features_the_fit_is_the_optimum():
    problem, log = in_sixteenths(6)
    seen = Seen(problem, np.eye(7))
    features = np.eye(7)
    following = features[log.next_observation[:, 0]] * log.discount[:, None]
    log = replace(log, observation=features[log.observation[:, 0]], next_observation=following)
    learner = FittedQ(discount=0.9, ridge=1e-9, penalty=1e-9, tolerance=1e-11, sweeps=1_000)
    state = learn(learner, seen, log.take(rng().permutation(len(log))))
    belief = learner.beliefs(state)(features[:6])
    # nearly without a penalty, the inverse of the normal equations keeps six digits
    np.testing.assert_allclose(belief.value, problem.optimum(0.9)[:6], rtol=0, atol=4e-6)
    np.testing.assert_allclose(belief.tries, 16.0, rtol=1e-4)


def test_a_line_of_features_is_enough_where_values_are_lines():
    """Each step costs 1 until the end of the corridor: values are as linear as the place."""
    problem = corridor(9)
    problem = replace(problem, reward=np.where(problem.ends[:, None, None], 0.0, -np.ones((10, 2, 10))), limit=60)
    seen = Seen(problem, np.arange(10.0)[:, None])
    learner = FittedQ(discount=1.0, ridge=1e-6, penalty=1e-6)
    batch = seen.play(Uniform(), 30, rng())
    batch = batch.take(
        np.flatnonzero((batch.observation[:, 0] > 0) | (batch.action == 1))
    )  # back is not linear at the wall
    state = learn(learner, seen, batch)
    known = learner.beliefs(state)(np.arange(1.0, 9.0)[:, None]).value
    np.testing.assert_allclose(known[:, 1], np.arange(1, 9) - 9.0, atol=1e-3)
    np.testing.assert_allclose(known[:, 0], np.arange(1, 9) - 11.0, atol=1e-3)


def test_the_reservoir_is_a_fair_sample_of_bounded_size():
    problem = one_hot_corridor()
    batch = problem.play(Uniform(), 40, rng())
    learner, taken = FittedQ(remembered=20, sweeps=1), np.zeros(200)
    stamped = replace(batch, reward=np.arange(len(batch)) * 1.0).take(np.arange(200))
    for seed in range(300):
        state, source = learner.init(problem.spec, rng()), rng(seed)
        for part in np.array_split(np.arange(200), 3):
            state, metrics = learner.update(state, stamped.take(part), source)
        np.add.at(taken, state.reward.astype(int), 1)
        assert metrics["remembered"] == 20 == len(np.unique(state.reward))
    expected, thirds = 300 * 20 / 200, taken.reshape(10, 20).sum(axis=1) / 20
    np.testing.assert_allclose(thirds, expected, rtol=0.1)
    assert np.abs(taken - expected).max() < 5 * np.sqrt(expected)


def test_a_model_that_cannot_hold_the_values_does_not_run_away():
    """Tsitsiklis & Van Roy 1996: one feature, 1 then 2, no reward; fits of the next value grow without bound."""
    log = replace(
        one_hot_corridor().play(Uniform(), 1, rng()).take(np.zeros(2, np.int64)),
        observation=np.array([[1.0], [2.0]]),
        next_observation=np.array([[2.0], [2.0]]),
        discount=np.ones(2),
        reward=np.array([0.0, 1e-3]),
        action=np.array([0, 0]),
    )
    learner = FittedQ(discount=0.99)
    state, metrics = learner.update(learner.init(Spec(Box(0, 2, (1,)), Discrete(2)), rng()), log, rng())
    assert metrics["largest_value"] <= 1e-3 / (1 - 0.99) + 1e-12
    assert np.isfinite(state.coefficients).all()


def test_rows_of_an_action_that_went_no_longer_count():
    problem = one_hot_corridor()
    batch = problem.play(Uniform(), 40, rng())
    learner = FittedQ()
    state = carried(learner.init(problem.spec, rng()), learn(learner, problem, batch), np.array([1, -1]))
    state, metrics = learner.update(state, batch.take(np.flatnonzero(batch.action == 0)[:1]), rng())
    assert metrics["remembered"] == (batch.action == 1).sum() + 1


@pytest.mark.parametrize("field", ["observation", "next_observation"])
def test_features_that_are_no_numbers_are_refused(field):
    problem = one_hot_corridor()
    batch = problem.play(Uniform(), 2, rng())
    spoiled = getattr(batch, field).copy()
    spoiled[1, 0] = np.nan
    with pytest.raises(InvalidInput, match="Row 1") as raised:
        learn(FittedQ(), problem, replace(batch, **{field: spoiled}))
    assert raised.value.field == field
    stuck = replace(batch, next_allowed=np.zeros_like(batch.next_allowed))
    with pytest.raises(InvalidInput, match="allows no next action"):
        learn(FittedQ(), problem, stuck)
