"""Pooled people: what is shared, what is a person's own, and the prior, against known values; what they are worth."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains.probes.people import differing, people, tastes
from bondhu.domains.recommendation.newcomers import arrive, decide, first_steps, history, spec
from bondhu.domains.recommendation.simulator import ACTIONS, Population
from bondhu.equations.hierarchy import around_shared, deviation
from bondhu.equations.regression import moments
from bondhu.errors import InvalidInput
from bondhu.learners import build, pack, unpack
from bondhu.learners._people import indicators
from bondhu.learners.bandit.pooled import Pooled
from bondhu.policies.exploring.thompson import Thompson
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch, Spec

ALIKE = np.zeros((ACTIONS, ACTIONS))
ALONE = {"shared": False, "adaptive": False, "width": 8}


def rng(seed=0):
    return np.random.default_rng(seed)


def rows(codes, action, reward, actions=3):
    codes, action = np.array(codes), np.array(action)
    everything = np.ones((len(action), actions), bool)
    return Batch.single(codes, everything, action, np.full(len(action), 1 / actions), np.array(reward, float))


def random_rows(sizes, count, source, actions=3):
    reward = source.normal(size=count)
    return rows(source.integers(0, sizes, (count, len(sizes))), source.integers(0, actions, count), reward, actions)


def learned(learner, sizes, *batches, actions=3):
    state = learner.init(Spec(MultiDiscrete(sizes), Discrete(actions)), rng())
    for batch in batches:
        state, metrics = learner.update(state, batch, rng())
    return state, metrics


def design_of(codes):
    """Constant, codes of sizes 3 and 2, and their pairs at 0.2."""
    kind, situation = np.array(codes)[:, :2].T
    pair = 0.2 * np.eye(6)[kind * 2 + situation]
    return np.hstack([np.ones((len(kind), 1)), np.eye(3)[kind], np.eye(2)[situation], pair])


def shared_of(batch, actions=3):
    """What strangers teach, by the definition."""
    sums = moments(design_of(batch.observation), batch.action, batch.reward, actions)
    penalty, ridge = np.full(12, 10.0), np.ones(12)
    penalty[0], ridge[0] = 1.0, 1e-6
    return around_shared(sums.gram, sums.cross, penalty, ridge)


def strangers(count=40, seed=1):
    batch = random_rows([3, 2, 5], count, rng(seed))
    batch.observation[:, 2] = 0
    return batch


def test_indicators_are_a_constant_the_codes_and_their_pairs():
    reader = indicators(np.array([3, 2]), 20, 0.2)
    assert reader.width == 12
    codes = np.stack(np.indices((3, 2)), axis=-1).reshape(-1, 2)
    np.testing.assert_array_equal(reader.design(codes), design_of(codes))
    assert indicators(np.array([3, 2]), 20, 0.0).width == 6
    assert indicators(np.array([], np.int64), 20, 0.2).design(np.empty((2, 0), np.int64)).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(("sizes", "width"), [([3, 2], 8), ([50, 40], 16), ([7] * 20, 200), ([1000] * 3, 64)])
def test_what_has_no_column_of_its_own_shares_one(sizes, width):
    reader = indicators(np.array(sizes), width, 0.2)
    assert reader.width <= width
    codes = rng().integers(0, sizes, (50, len(sizes)))
    column = reader.columns(codes)
    assert column.min() == 0
    assert column.max() < reader.width
    np.testing.assert_allclose(reader.design(codes).sum(axis=1), reader.weights.sum())


def test_strangers_meet_the_shared_part_alone():
    batch = strangers()
    learner = Pooled()
    state, _ = learned(learner, [3, 2, 5], batch)
    shared, design = shared_of(batch), design_of(batch.observation)
    belief = learner.beliefs(state)(batch.observation)
    assert belief.value == pytest.approx(design @ shared.mean.T)
    scatter = state.squares.sum() / 40
    variance = scatter * np.einsum("tf,afg,tg->ta", design, shared.covariance, design)
    assert belief.error == pytest.approx(np.sqrt(variance))
    assert not state.total.any()
    assert not state.tries.any()


def test_what_is_left_of_a_row_is_what_the_others_do_not_explain():
    batch = strangers(12)
    state, _ = learned(Pooled(), [3, 2, 5], batch)
    left = []
    for each in range(12):
        others = batch.take(np.delete(np.arange(12), each))
        expected = design_of(batch.observation[[each]]) @ shared_of(others).mean[batch.action[each]]
        left.append(batch.reward[each] - expected.item())
    assert state.squares[0] == pytest.approx(np.bincount(batch.action, np.square(left), 3))
    assert state.rows[0].tolist() == np.bincount(batch.action, minlength=3).tolist()


def test_a_new_person_starts_from_people_like_them_and_is_less_certain():
    learner, probe = Pooled(), people()
    state, _ = learner.update(learner.init(probe.spec, rng()), probe.play(probe.uniform, 2_000, rng()), rng())
    state.total[30], state.tries[30] = 0.0, 0  # nobody has met the last person yet
    stranger, new = (learner.beliefs(state)(np.array([[1, 0, person]])) for person in (0, 30))
    assert new.value == pytest.approx(stranger.value)
    own = np.diag(learner.prior(state).covariance)
    assert new.error**2 == pytest.approx(stranger.error**2 + own)
    assert new.tries == pytest.approx(learner.prior(state).noise / new.error**2)


def test_a_person_departs_as_conditioning_on_their_evidence_says():
    learner, probe = Pooled(), people()
    state, _ = learner.update(learner.init(probe.spec, rng()), probe.play(probe.uniform, 900, rng()), rng())
    seen = np.array([[0, 1, person] for person in range(31)])
    mean, variance = deviation(learner.prior(state), state.total, state.tries.astype(float))
    belief = learner.beliefs(state)(seen)
    shared = learner.beliefs(state)(seen[:1])
    assert belief.value[1:] == pytest.approx(shared.value + mean[1:])
    assert belief.error[1:] ** 2 == pytest.approx(shared.error**2 + variance[1:])


def test_a_row_teaches_the_shared_part_only_what_is_not_believed_of_its_person():
    learner, probe = Pooled(), people()
    first, second = (probe.play(probe.uniform, 600, rng(seed)) for seed in (0, 1))
    state, _ = learner.update(learner.init(probe.spec, rng()), first, rng())
    mean, _ = deviation(learner.prior(state), state.total, state.tries.astype(float))
    before = state.cross.copy()
    believed = mean[second.observation[:, 2], second.action]
    constants = np.bincount(second.action, second.reward - believed, 4)
    state, _ = learner.update(state, second, rng())
    assert state.cross[:, 0] - before[:, 0] == pytest.approx(constants)


def test_one_row_and_many_are_believed_alike():
    learner, probe = Pooled(), people()
    batch = probe.play(probe.uniform, 200, rng())
    state, _ = learner.update(learner.init(probe.spec, rng()), batch, rng())
    many = learner.beliefs(state)(batch.observation)
    for row in (0, 77, 199):
        one = learner.beliefs(state)(batch.observation[row : row + 1])
        assert one.value[0] == pytest.approx(many.value[row])
        assert one.error[0] == pytest.approx(many.error[row])


def test_the_person_may_be_any_column():
    batch = random_rows([3, 2, 5], 50, rng())
    last, _ = learned(Pooled(), [3, 2, 5], batch)
    turned = batch.observation[:, [2, 0, 1]]
    first, _ = learned(Pooled(person=0), [5, 3, 2], replace(batch, observation=turned, next_observation=turned))
    ours, theirs = Pooled().beliefs(last)(batch.observation), Pooled(person=0).beliefs(first)(turned)
    np.testing.assert_array_equal(ours.value, theirs.value)
    np.testing.assert_array_equal(ours.error, theirs.error)


def test_without_spread_people_are_all_alike():
    learner = Pooled(spread=0.0)
    batch = random_rows([3, 2, 5], 60, rng())
    state, metrics = learned(learner, [3, 2, 5], batch)
    belief = learner.beliefs(state)(np.array([[1, 1, person] for person in range(5)]))
    assert np.ptp(belief.value, axis=0) == pytest.approx(np.zeros(3))
    assert metrics["spread"] == 0.0


def test_without_a_shared_part_a_value_is_the_persons_own_shrunk_mean():
    learner = Pooled(shared=False, adaptive=False, spread=0.5)
    batch = rows([[0, 1], [0, 1], [0, 2]], [0, 0, 1], [1.0, 2.0, 5.0])
    state, _ = learned(learner, [1, 4], batch)
    belief, prior = learner.beliefs(state)(np.array([[0, 1], [0, 2], [0, 3]])), learner.prior(state)
    between = prior.covariance[0, 0]
    assert between == pytest.approx(0.5 * 10.0)  # half of the mean square
    assert belief.value == pytest.approx(
        np.array([[3 / (2 + prior.noise / between), 0, 0], [0, 5 / (1 + prior.noise / between), 0], [0, 0, 0]])
    )
    assert belief.error[2] ** 2 == pytest.approx(np.full(3, between))


def test_how_people_differ_is_learned_the_better_the_more_there_are():
    directions, errors = np.array([[0.5, 0.2, -0.2, -0.5]]), []
    truth = tastes(directions, 0.1)
    for count in (20, 1_000):
        probe = differing(count, rng(1).normal(0, 0.4, (3, 2, 4)), truth, rng(2))
        state, metrics = learned(
            Pooled(), probe.spec.observation.nvec, probe.play(probe.uniform, 20 * count, rng(3)), actions=4
        )
        errors.append(np.linalg.norm(Pooled().prior(state).covariance - truth) / np.linalg.norm(truth))
    assert errors[1] < 0.12
    assert errors[1] < errors[0]
    assert metrics["noise"] == pytest.approx(0.3, rel=0.03)
    assert metrics["spread"] == pytest.approx(np.sqrt(np.trace(truth) / 4), rel=0.06)
    assert metrics["people"] == 1_000.0


def test_partial_pooling_beats_both_extremes_where_people_differ_around_their_features():
    probe, worth = people(), {}
    for name, learner in {
        "partial": Pooled(),
        "complete": Pooled(spread=0.0),
        "none": build("bandit.pooled", ALONE),
    }.items():
        total = 0.0
        for seed in range(5):
            state, _ = learner.update(learner.init(probe.spec, rng()), probe.play(probe.uniform, 450, rng(seed)), rng())
            total += probe.worth(learner.policy(state)) / 5
        worth[name] = (total - probe.worth(probe.uniform)) / (probe.best - probe.worth(probe.uniform))
    assert worth["partial"] > worth["complete"] + 0.1
    assert worth["partial"] > worth["none"] + 0.1
    assert worth["partial"] > 0.8


def test_the_best_worth_of_the_people_is_their_own_maximum():
    probe = people()
    assert probe.best == pytest.approx(np.mean([mean.max() for mean in probe.mean.reshape(-1, 4)]))
    assert probe.worth(probe.uniform) == pytest.approx(probe.mean.mean())
    batch = probe.play(probe.uniform, 20_000, rng())
    person, situation = batch.observation[:, 2] - 1, batch.observation[:, 1]
    error = batch.reward - probe.mean[person, situation, batch.action]
    assert abs(error.mean()) < 4 * 0.3 / np.sqrt(20_000)
    assert error.std() == pytest.approx(0.3, rel=0.03)
    assert (batch.observation[:, 0] == probe.kind[person]).all()


def test_tastes_are_a_few_directions_and_a_rest():
    assert tastes(np.array([[1.0, -2.0]]), 0.5) == pytest.approx(np.array([[1.25, -2.0], [-2.0, 4.25]]))


def test_regret_of_acting_at_random_is_the_best_less_the_mean():
    population = Population()
    crowd = arrive(population, 300, tastes(np.eye(ACTIONS), 0.0), 7, rng())
    assert crowd.number.tolist() == list(range(7, 307))
    worth = population.expected_reward(crowd.traits, crowd.situation) + crowd.own
    following, batch, regret = decide(population, crowd, Uniform(), rng())
    assert regret == pytest.approx((worth.max(axis=1) - worth.mean(axis=1)).mean())
    assert batch.observation[:, -1].tolist() == crowd.number.tolist()
    assert spec(306).observation.contains(batch.observation[-1])
    assert (following.traits == crowd.traits).all()
    assert (following.situation != crowd.situation).any()


def test_rewards_of_newcomers_have_the_mean_that_regret_is_counted_by():
    population, source = Population(), rng()
    crowd = arrive(population, 20_000, tastes(np.eye(ACTIONS), 0.0), 1, source)
    _, batch, _ = decide(population, crowd, Uniform(), source)
    error = batch.reward - crowd.worth(population)[np.arange(20_000), batch.action]
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(20_000)


def test_new_users_lose_a_quarter_less_from_the_start_with_pooling():
    population, regret = Population(), {}
    for name, settings in {"pooled": {}, "alone": ALONE}.items():
        source = rng(1)
        before = history(population, arrive(population, 300, ALIKE, 1, source), 10, source)
        new = arrive(population, 60, ALIKE, 301, source)
        learner = build("bandit.pooled", {"exploration": {"name": "thompson", "scale": 0.1}, **settings})
        state = learner.init(spec(360), source)
        for batch in before:
            state, _ = learner.update(state, batch, source)
        regret[name] = first_steps(population, new, learner, state, 5, source)
    assert regret["pooled"].shape == (5,)
    assert regret["pooled"].sum() < 0.6 * regret["alone"].sum()


def test_learning_writes_to_no_stored_version_and_keeps_the_size_of_the_state():
    learner, probe = Pooled(), people()
    batch = probe.play(probe.uniform, 50, rng())
    state, _ = learner.update(learner.init(probe.spec, rng()), batch, rng())
    stored = pack(state)
    kept = {name: array.copy() for name, array in stored.items()}
    state = unpack(learner, stored)
    for _ in range(3):
        state, _ = learner.update(state, batch, rng())
    for name, array in stored.items():
        np.testing.assert_array_equal(array, kept[name])
        assert pack(state)[name].nbytes == array.nbytes


@pytest.mark.parametrize(
    ("space", "action", "field"),
    [
        (MultiDiscrete([3, 4]), Box(0, 1), "action"),
        (Box(0, 1, (3,)), Discrete(3), "observation"),
        (Discrete(3), Discrete(3), "person"),
    ],
)
def test_spaces_without_codes_actions_or_that_person_are_refused(space, action, field):
    with pytest.raises(InvalidInput) as raised:
        Pooled(person=1).init(Spec(space, action), rng())
    assert raised.value.field == field


def test_a_person_outside_of_the_table_is_refused():
    with pytest.raises(InvalidInput, match="Column 1 has the codes 0 to 3"):
        learned(Pooled(), [2, 4], rows([[0, 4]], [0], [1.0]))


def test_rewards_whose_squares_overflow_are_refused_before_anything_is_written():
    learner = Pooled()
    state, _ = learned(learner, [2, 4], rows([[0, 1]], [0], [1.0]))
    before = pack(state)
    with np.errstate(over="ignore"), pytest.raises(InvalidInput, match="scale the rewards down"):
        learner.update(state, rows([[0, 1]], [0], [1e200]), rng())
    for name, array in pack(state).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("name", "value"), [("spread", 1.0), ("penalty", 0.0), ("width", 3), ("pairs", 2.0)])
def test_hyper_parameters_out_of_range_are_refused(name, value):
    with pytest.raises(InvalidInput) as raised:
        build("bandit.pooled", {name: value})
    assert raised.value.field == name


def test_a_nested_table_chooses_the_exploration():
    learner = build("bandit.pooled", {"exploration": {"name": "thompson", "scale": 0.5}})
    assert learner == Pooled(exploration=Thompson(0.5))
