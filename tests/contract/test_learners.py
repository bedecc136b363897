"""What every learner of the catalogue promises, found by walking the folders and played on the problems it names."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass, replace

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from bondhu.domains import probes
from bondhu.domains.probes.markov import corridor
from bondhu.errors import InvalidInput, StateCorrupt, UnknownName
from bondhu.learners import build, carried, find, names, pack, plain, unpack
from bondhu.ports import Version
from bondhu.registry import DiskRegistry

every_learner = pytest.mark.parametrize("name", names())
every_problem = pytest.mark.parametrize(("name", "problem"), [(n, p) for n in names() for p in find(n).probes])
of_single_actions = [n for n in names() if isinstance(probes.find(find(n).probes[0]).spec.action, Discrete)]
SESSIONS, ROUNDS = 100, 30  # of the on-line learning below
SEEDS = 5


def first_probe(name):
    return probes.find(find(name).probes[0])


def log(probe, sessions, seed=0):
    return probe.play(probe.uniform, sessions, np.random.default_rng(seed))


def learned(learner, probe, batch, seed=0):
    rng = np.random.default_rng(seed)
    return learner.update(learner.init(probe.spec, rng), batch, rng)


def live(learner, probe, seed):
    """Play with the learner's own exploration, update, and again."""
    rng = np.random.default_rng(seed)
    state = learner.init(probe.spec, rng)
    for _ in range(ROUNDS):
        batch = probe.play(learner.policy(state, explore=True), SESSIONS, rng)
        state, _ = learner.update(state, batch, rng)
    return state


class Alike:
    """Randomness that gives every row the same numbers: what is drawn then shows what a policy would do."""

    def random(self, size):
        return np.full(size, 0.4)


def acts(policy, batch):
    """What a policy would do with these rows: probabilities, or, where actions are several numbers, one draw."""
    if len(batch.action.shape) == 2 and batch.action.dtype.kind == "f":
        return policy.sample(batch.observation, batch.allowed, Alike()).action
    return policy.distribution(batch.observation, batch.allowed)


def assert_same(ours, theirs):
    for key, array in pack(ours).items():
        np.testing.assert_array_equal(array, pack(theirs)[key])


@every_learner
def test_a_learner_is_a_frozen_dataclass_named_like_its_file(name):
    learner = build(name, {})
    assert is_dataclass(learner)
    assert type(learner).__name__.lower() == name.rpartition(".")[2].replace("_", "")
    with pytest.raises(FrozenInstanceError):
        setattr(learner, fields(learner)[0].name, None)


@every_learner
def test_hyper_parameters_survive_as_plain_data(name):
    learner = build(name, {})
    assert build(name, plain(learner)) == learner


@every_problem
def test_a_learner_finds_nearly_the_best_policy_of_each_problem_it_names_over_five_seeds(name, problem):
    learner, probe = build(name, {}), probes.find(problem)
    nothing = probe.worth(probe.uniform)
    worth = [probe.worth(learner.policy(live(learner, probe, seed))) for seed in range(SEEDS)]
    assert np.mean(worth) >= probe.best - 0.1 * (probe.best - nothing) - 1e-9
    assert max(worth) <= probe.best + 1e-9


@every_problem
@pytest.mark.parametrize("explore", [False, True])
def test_what_a_policy_draws_has_the_probability_it_says(name, problem, explore):
    learner, probe = build(name, {}), probes.find(problem)
    rng = np.random.default_rng(0)
    for state in (learner.init(probe.spec, rng), learned(learner, probe, log(probe, 50))[0]):
        policy = learner.policy(state, explore=explore)
        batch = log(probe, 40, seed=1)
        choice = policy.sample(batch.observation, batch.allowed, rng)
        again = policy.probability(batch.observation, batch.allowed, choice.action)
        bent = choice.action.ndim == 2 and choice.action.dtype.kind == "f"  # into bounds, which costs some last bits
        np.testing.assert_allclose(choice.probability, again, rtol=1e-6 if bent else 1e-12)
        assert (choice.probability > 0).all()


@every_problem
@pytest.mark.parametrize("explore", [False, True])
def test_policies_are_distributions_over_the_allowed_actions(name, problem, explore):
    learner, probe = build(name, {}), probes.find(problem)
    if not isinstance(probe.spec.action, Discrete):
        pytest.skip("several slots or continuous actions: tested beside their learner")
    rng = np.random.default_rng(0)
    for state in (learner.init(probe.spec, rng), learned(learner, probe, log(probe, 50))[0]):
        policy = learner.policy(state, explore=explore)
        batch = log(probe, 40, seed=1)
        distribution = policy.distribution(batch.observation, batch.allowed)
        assert distribution.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
        assert (distribution >= 0).all()
        assert not distribution[~batch.allowed].any()
        one = policy.distribution(batch.observation[:1], batch.allowed[:1])  # the live request
        np.testing.assert_allclose(one, distribution[:1], rtol=1e-6, atol=1e-9)


@every_learner
@pytest.mark.parametrize("explore", [False, True])
def test_a_policy_of_no_rows_is_a_distribution_of_no_rows(name, explore):
    learner, probe = build(name, {}), first_probe(name)
    state = learned(learner, probe, log(probe, 50))[0]
    policy, batch = learner.policy(state, explore=explore), log(probe, 4)
    observation, allowed = batch.observation[:0], batch.allowed[:0]
    assert acts(policy, batch.take(np.arange(0))).shape == (0, *acts(policy, batch).shape[1:])
    choice = policy.sample(observation, allowed, np.random.default_rng(0))
    assert (choice.action.shape, choice.probability.shape) == ((0, *batch.action.shape[1:]), (0,))


@every_problem
def test_beliefs_say_value_error_and_tries_of_every_action(name, problem):
    learner, probe = build(name, {}), probes.find(problem)
    state = learned(learner, probe, log(probe, 50))[0]
    batch = log(probe, 10, seed=1)
    belief = learner.beliefs(state)(batch.observation)
    assert belief.value.shape == belief.error.shape == belief.tries.shape == (len(batch), belief.value.shape[1])
    assert np.isfinite(belief.value).all()
    assert (belief.error >= 0).all()
    assert (belief.tries >= 0).all()
    assert belief.tries.any()


@every_learner
def test_the_same_seed_learns_the_same_bit_for_bit(name):
    learner, probe = build(name, {}), first_probe(name)
    (one, first), (other, second) = (learned(learner, probe, log(probe, 40), seed=5) for _ in range(2))
    assert first == second
    assert_same(one, other)


@every_learner
def test_updating_changes_no_hyper_parameter_and_reports_finite_numbers(name):
    learner, probe = build(name, {}), first_probe(name)
    before = asdict(learner)
    _, metrics = learned(learner, probe, log(probe, 10))
    assert asdict(learner) == before
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())


@every_learner
def test_an_empty_batch_teaches_nothing(name):
    learner, probe = build(name, {}), first_probe(name)
    state, _ = learned(learner, probe, log(probe, 10))
    before = pack(state)
    batch = log(probe, 10)
    after, _ = learner.update(state, batch.take(np.zeros(len(batch), bool)), np.random.default_rng(0))
    for key, array in pack(after).items():
        np.testing.assert_array_equal(array, before[key])


@every_learner
def test_a_packed_state_acts_and_goes_on_learning_like_the_original(name):
    learner, probe = build(name, {}), first_probe(name)
    batch = log(probe, 40)
    state, _ = learned(learner, probe, batch)
    arrays = pack(state)
    kept = {key: array.copy() for key, array in arrays.items()}
    again = unpack(learner, arrays)
    ours, theirs = (
        learner.policy(each, explore=True).sample(batch.observation, batch.allowed, np.random.default_rng(3))
        for each in (state, again)
    )
    assert ours.action.tolist() == theirs.action.tolist()
    assert ours.probability.tolist() == theirs.probability.tolist()
    ours, theirs = (learner.update(each, batch, np.random.default_rng(1))[0] for each in (state, again))
    assert_same(ours, theirs)
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, kept[key])  # learning went on elsewhere


@every_learner
def test_a_state_comes_back_from_the_disk_and_goes_on_learning(name, tmp_path):
    learner, probe = build(name, {}), first_probe(name)
    batch = log(probe, 40)
    state, _ = learned(learner, probe, batch)
    registry = DiskRegistry(tmp_path)
    registry.add(Version("v1", "here", name, plain(learner), pack(state), {}, 0.0))
    again = unpack(learner, registry.load("v1").state)
    assert_same(again, state)
    for explore in (False, True):
        ours, theirs = (acts(learner.policy(each, explore=explore), batch) for each in (state, again))
        np.testing.assert_array_equal(ours, theirs)
    ours, theirs = (learner.update(each, batch, np.random.default_rng(1))[0] for each in (state, again))
    assert_same(ours, theirs)
    assert_same(unpack(learner, registry.load("v1").state), learned(learner, probe, batch)[0])  # as it was stored


@every_learner
@pytest.mark.parametrize("wrong", [np.nan, 1e200, -np.inf])
def test_a_reward_that_is_no_sane_number_is_refused_before_anything_is_learned(name, wrong):
    learner, probe = build(name, {}), first_probe(name)
    state, _ = learned(learner, probe, log(probe, 10))
    before = pack(state)
    batch = log(probe, 10)
    reward = batch.reward.copy()
    reward[3] = wrong
    with pytest.raises(InvalidInput, match="Row 3"):
        learner.update(state, replace(batch, reward=reward), np.random.default_rng(0))
    for key, array in pack(state).items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("name", of_single_actions)
def test_an_action_that_does_not_exist_is_refused(name):
    learner, probe = build(name, {}), first_probe(name)
    batch = log(probe, 10)
    for wrong in (-1, probe.spec.action.n):
        action = batch.action.copy()
        action[2] = wrong
        state = learner.init(probe.spec, np.random.default_rng(0))
        with pytest.raises(InvalidInput) as raised:
            learner.update(state, replace(batch, action=action), np.random.default_rng(0))
        assert raised.value.field == "action"


@pytest.mark.parametrize("name", of_single_actions)
def test_a_row_that_allows_no_action_is_refused(name):
    learner, probe = build(name, {}), first_probe(name)
    state, _ = learned(learner, probe, log(probe, 50))
    batch = log(probe, 4)
    allowed = np.array(batch.allowed)
    allowed[1] = False
    for explore in (False, True):
        with pytest.raises(InvalidInput, match="Row 1 allows no action"):
            learner.policy(state, explore=explore).distribution(batch.observation, allowed)


@pytest.mark.parametrize("name", of_single_actions)
def test_an_action_that_was_never_allowed_is_never_taken_and_spoils_nothing(name):
    learner, probe = build(name, {}), first_probe(name)
    if probe.spec.action.n < 2:
        pytest.skip("one action only")
    batch = log(probe, 60)
    without = np.array(batch.allowed)
    without[:, 0] = False
    kept = without.any(axis=1) & (batch.action != 0)
    rows = replace(batch, allowed=without, next_allowed=np.ones_like(without)).take(kept)
    alone = replace(rows, discount=np.zeros(len(rows)), has_next=np.zeros(len(rows), bool))
    state, _ = learned(learner, probe, alone)
    for explore in (False, True):
        chances = learner.policy(state, explore=explore).distribution(alone.observation, alone.allowed)
        assert not chances[:, 0].any()
        assert chances.sum(axis=1) == pytest.approx(1.0, abs=1e-9)
    assert np.isfinite(learner.beliefs(state)(alone.observation).value).all()


@pytest.mark.parametrize("name", of_single_actions)
def test_what_was_learned_is_carried_over_when_actions_change_places(name):
    learner, probe = build(name, {}), first_probe(name)
    if probe.spec.action.n < 2:
        pytest.skip("one action only")
    state, _ = learned(learner, probe, log(probe, 50))
    observation = log(probe, 10, seed=1).observation
    known = learner.beliefs(state)(observation).value
    order = np.arange(probe.spec.action.n)[::-1]
    if observation.ndim > 2 or probe.spec.action_features is not None:
        pytest.skip("actions are known by their features: tested beside the learner")
    stored = pack(state)
    kept = {key: array.copy() for key, array in stored.items()}
    moved = carried(learner.init(probe.spec, np.random.default_rng(0)), unpack(learner, stored), order)
    np.testing.assert_allclose(learner.beliefs(moved)(observation).value, known[:, order])
    again, metrics = learner.update(moved, log(probe, 20, seed=2), np.random.default_rng(0))
    assert all(map(np.isfinite, metrics.values()))
    assert np.isfinite(learner.beliefs(again)(observation).value).all()
    for key, array in stored.items():
        np.testing.assert_array_equal(array, kept[key])  # learning went on elsewhere


def test_the_catalogue_lists_q_learning():
    assert "tabular.q_learning" in names()


def test_an_unknown_learner_gets_the_nearest_name():
    with pytest.raises(UnknownName, match=r"No learner 'tabular.q_lerning'. Did you mean 'tabular.q_learning'\?"):
        find("tabular.q_lerning")


def test_an_unknown_hyper_parameter_gets_the_nearest_name():
    with pytest.raises(InvalidInput, match="Did you mean 'learning_rate'") as raised:
        build("tabular.q_learning", {"lerning_rate": 0.1})
    assert raised.value.field == "lerning_rate"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", "0.1"),
        ("passes", 1.5),
        ("passes", True),
        ("exploration", None),
        ("exploration", {"epsilon": 0.1}),
        ("discount", 1.5),
    ],
)
def test_a_hyper_parameter_of_the_wrong_type_or_range_is_refused(key, value):
    with pytest.raises(InvalidInput) as raised:
        build("tabular.q_learning", {key: value})
    assert raised.value.field == key
    assert raised.value.value == value


def test_a_whole_number_may_stand_for_a_float():
    assert build("tabular.q_learning", {"learning_rate": 1}).learning_rate == 1.0


def test_a_state_with_a_missing_field_is_corrupt():
    learner = build("tabular.q_learning", {})
    arrays = pack(learner.init(corridor().spec, np.random.default_rng(0)))
    del arrays["visits"]
    with pytest.raises(StateCorrupt, match="visits"):
        unpack(learner, arrays)


def test_acting_does_not_import_the_compiler():
    program = (
        "import sys, numpy; from bondhu.learners import build; from bondhu.domains.probes.markov import corridor;"
        "learner = build('tabular.q_learning', {}); state = learner.init(corridor().spec, numpy.random.default_rng(0));"
        "learner.policy(state); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
