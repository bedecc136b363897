"""What every learner in the catalogue promises, found by walking the folders."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass, replace

import numpy as np
import pytest

from bondhu.domains.probes import corridor, trap
from bondhu.errors import InvalidInput, StateCorrupt, UnknownName
from bondhu.learners import build, find, names, pack, unpack
from bondhu.policies.uniform import Uniform

every_learner = pytest.mark.parametrize("name", names())


def log(probe, sessions, seed=0):
    return probe.play(Uniform(), sessions, np.random.default_rng(seed))


def learned(learner, probe, batch, seed=0):
    rng = np.random.default_rng(seed)
    return learner.update(learner.init(probe.spec, rng), batch, rng)


@every_learner
def test_a_learner_is_a_frozen_dataclass_named_like_its_file(name):
    learner = build(name, {})
    assert is_dataclass(learner)
    assert type(learner).__name__.lower() == name.rpartition(".")[2].replace("_", "")
    with pytest.raises(FrozenInstanceError):
        setattr(learner, fields(learner)[0].name, None)


@every_learner
@pytest.mark.parametrize("explore", [False, True])
def test_policies_are_distributions_over_the_allowed_actions(name, explore):
    learner, probe = build(name, {}), trap()
    rng = np.random.default_rng(0)
    untrained = learner.init(probe.spec, rng)
    for state in (untrained, learned(learner, probe, log(probe, 50))[0]):
        policy = learner.policy(state, explore=explore)
        distribution = policy.distribution(np.arange(3)[:, None], probe.allowed)
        assert distribution.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
        assert not distribution[~probe.allowed].any()
        choice = policy.sample(np.arange(3)[:, None], probe.allowed, rng)
        assert choice.probability.tolist() == distribution[np.arange(3), choice.action].tolist()


@every_learner
def test_the_same_seed_learns_the_same_bit_for_bit(name):
    learner, probe = build(name, {}), corridor()
    (one, first), (other, second) = (learned(learner, probe, log(probe, 40), seed=5) for _ in range(2))
    assert first == second
    for key, array in pack(one).items():
        np.testing.assert_array_equal(array, pack(other)[key])


@every_learner
def test_updating_changes_no_hyper_parameter_and_reports_finite_numbers(name):
    learner, probe = build(name, {}), corridor()
    before = asdict(learner)
    _, metrics = learned(learner, probe, log(probe, 10))
    assert asdict(learner) == before
    assert all(type(value) is float and np.isfinite(value) for value in metrics.values())


@every_learner
def test_an_empty_batch_teaches_nothing(name):
    learner, probe = build(name, {}), corridor()
    state, _ = learned(learner, probe, log(probe, 10))
    before = pack(state)
    batch = log(probe, 10)
    after, _ = learner.update(state, batch.take(np.zeros(len(batch), bool)), np.random.default_rng(0))
    for key, array in pack(after).items():
        np.testing.assert_array_equal(array, before[key])


@every_learner
def test_a_packed_state_acts_and_goes_on_learning_like_the_original(name):
    learner, probe = build(name, {}), corridor()
    batch = log(probe, 40)
    state, _ = learned(learner, probe, batch)
    arrays = pack(state)
    kept = {key: array.copy() for key, array in arrays.items()}
    again = unpack(type(learner).State, arrays)
    observation, allowed = np.arange(8)[:, None], np.ones((8, 2), bool)
    ours, theirs = (learner.policy(each).distribution(observation, allowed) for each in (state, again))
    assert ours.tolist() == theirs.tolist()
    ours, theirs = (learner.update(each, batch, np.random.default_rng(1))[0] for each in (state, again))
    for key, array in pack(ours).items():
        np.testing.assert_array_equal(array, pack(theirs)[key])
        np.testing.assert_array_equal(arrays[key], kept[key])  # learning went on elsewhere


@every_learner
def test_every_learner_finds_the_way_along_the_corridor(name):
    learner, probe = build(name, {}), corridor(5)
    state, _ = learned(learner, probe, log(probe, 400))
    forth = learner.policy(state).distribution(np.arange(5)[:, None], np.ones((5, 2), bool))[:, 1]
    assert forth.tolist() == [1.0] * 5


@every_learner
def test_a_reward_that_is_not_a_number_is_refused_before_anything_is_learned(name):
    learner, probe = build(name, {}), corridor()
    state, _ = learned(learner, probe, log(probe, 10))
    before = pack(state)
    batch = log(probe, 10)
    reward = batch.reward.copy()
    reward[3] = np.nan
    with pytest.raises(InvalidInput, match="Row 3"):
        learner.update(state, replace(batch, reward=reward), np.random.default_rng(0))
    for key, array in pack(state).items():
        np.testing.assert_array_equal(array, before[key])


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
    [("learning_rate", "0.1"), ("passes", 1.5), ("passes", True), ("epsilon", None), ("discount", 1.5)],
)
def test_a_hyper_parameter_of_the_wrong_type_or_range_is_refused(key, value):
    with pytest.raises(InvalidInput) as raised:
        build("tabular.q_learning", {key: value})
    assert raised.value.field == key
    assert raised.value.value == value


def test_a_whole_number_may_stand_for_a_float():
    assert build("tabular.q_learning", {"epsilon": 1}).epsilon == 1.0


def test_a_state_with_a_missing_field_is_corrupt():
    learner = build("tabular.q_learning", {})
    arrays = pack(learner.init(corridor().spec, np.random.default_rng(0)))
    del arrays["visits"]
    with pytest.raises(StateCorrupt, match="visits"):
        unpack(type(learner).State, arrays)


def test_acting_does_not_import_the_compiler():
    program = (
        "import sys, numpy; from bondhu.learners import build; from bondhu.domains.probes import corridor;"
        "learner = build('tabular.q_learning', {}); state = learner.init(corridor().spec, numpy.random.default_rng(0));"
        "learner.policy(state); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
