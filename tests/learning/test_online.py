"""The loop in one process: it learns, keeps exact probabilities, takes late rewards, and goes on after being saved."""

import numpy as np
import pytest

from bondhu.errors import InvalidInput, StateCorrupt
from bondhu.train.online import Online


def played(online, events, seed=0):
    """Mean reward of the last half; the action right for a context is the sign of its first number."""
    rng, earned = np.random.default_rng(seed), []
    for _ in range(events):
        context = rng.standard_normal(3)
        decided = online.decide(context)
        earned.append(float(decided.action == (context[0] > 0)))
        online.learn(decided, earned[-1])
    return np.mean(earned[events // 2 :])


@pytest.mark.parametrize("learner", ["bandit.fourier_ridge", "bandit.lin_ucb", "bandit.linear_thompson"])
def test_it_learns_while_it_decides(learner):
    assert played(Online(2, 3, learner, seed=0), 400) > 0.85


def test_probabilities_are_those_of_the_policy_and_what_is_not_allowed_is_not_taken():
    online = Online(3, 2, seed=0)
    assert online.decide([1.0, 2.0]).probability == pytest.approx(1 / 3)
    for _ in range(20):
        decided = online.decide([1.0, 2.0], allowed=[False, True, False])
        assert (decided.action, decided.probability) == (1, 1.0)


def test_rewards_may_come_late_and_in_any_order():
    online, rng = Online(2, 1, "bandit.lin_ucb", seed=0), np.random.default_rng(0)
    waiting = [online.decide(rng.standard_normal(1)) for _ in range(50)]
    for decided in reversed(waiting):
        online.learn(decided, float(decided.action))
    belief = online.believed([0.0])
    assert belief.tries.sum() == 50
    assert belief.value[0, 1] > belief.value[0, 0]


def test_a_saved_state_goes_on_where_it_was():
    first, second = Online(2, 3, seed=0), Online(2, 3, seed=1)
    played(first, 100)
    second.restore(first.save())
    context = np.array([0.3, -1.0, 2.0])
    assert second.believed(context).value.tolist() == first.believed(context).value.tolist()
    with pytest.raises(StateCorrupt):
        Online(2, 3, "bandit.lin_ucb").restore(first.save())


def test_hyper_parameters_are_given_by_name():
    assert Online(2, 3, fourier=8).learner.fourier == 8
    with pytest.raises(InvalidInput, match="Did you mean 'fourier'"):
        Online(2, 3, fourrier=8)


def test_mistakes_are_named():
    with pytest.raises(InvalidInput, match="It needs 3 numbers"):
        Online(2, 3).decide([1.0, 2.0])
    with pytest.raises(InvalidInput, match="observes codes"):
        Online(2, 3, "tabular.q_learning")
    online = Online(2, 1)
    with pytest.raises(InvalidInput, match="Row 0"):
        online.learn(online.decide([1.0]), float("nan"))
    with pytest.raises(InvalidInput, match="allows no action"):
        online.decide([1.0], allowed=[False, False])


@pytest.mark.parametrize("learner", ["bandit.fourier_ridge", "bandit.lin_ucb"])
def test_a_mask_of_another_width_and_a_context_with_gaps_are_refused(learner):
    online = Online(3, 2, learner, seed=0)
    for allowed in ([True, True], [True] * 4, True):
        with pytest.raises(InvalidInput, match="3 yes or no") as raised:
            online.decide([0.0, 1.0], allowed)
        assert raised.value.field == "allowed"
    for gap in (np.nan, np.inf):
        with pytest.raises(InvalidInput, match="not all numbers") as raised:
            online.decide([gap, 1.0])
        assert raised.value.field == "context"


def test_a_state_restored_is_a_copy():
    online = Online(2, 2, "bandit.lin_ucb", seed=0)
    arrays = {name: np.array(array) for name, array in online.save().items()}
    kept = {name: array.copy() for name, array in arrays.items()}
    online.restore(arrays)
    online.learn(online.decide([1.0, 2.0]), 1.0)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, kept[name])
