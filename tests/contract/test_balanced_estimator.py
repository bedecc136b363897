"""Logs of several policies, judged as one."""

from dataclasses import replace

import numpy as np
import pytest

from bondhu.errors import InvalidInput
from bondhu.evaluate.decisions.balanced import Balanced
from bondhu.evaluate.decisions.ips import InversePropensity
from bondhu.types import Batch
from tests.contract.small_world import CONTEXTS, LOGGING, REWARDS, TARGET, TRUTH, Tabled, simulated

OTHER = np.array([[0.1, 0.1, 0.8], [0.7, 0.2, 0.1], [0.0, 0.9, 0.1]])
LOGGERS, SHARES = (Tabled(LOGGING), Tabled(OTHER)), (0.75, 0.25)
target = Tabled(TARGET)


def both(rng, rows):
    """Three quarters of the rows by one logger, a quarter by the other; each with its own probability."""
    parts = [
        simulated(rng, int(rows * share), logging) for share, logging in zip(SHARES, (LOGGING, OTHER), strict=True)
    ]
    names = ("observation", "allowed", "action", "probability", "reward")
    return Batch.single(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def test_weights_by_hand():
    batch = both(np.random.default_rng(0), 1_000)
    found = Balanced(loggers=LOGGERS, shares=SHARES)(target, batch)
    place = batch.observation[:, 0], batch.action
    weights = TARGET[place] / (0.75 * LOGGING[place] + 0.25 * OTHER[place])
    np.testing.assert_allclose(found.terms, weights * batch.reward, rtol=1e-12)
    assert found.effective_samples == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_its_expectation_is_the_truth_and_its_variance_below_that_of_ips():
    """Over all that one row may be, by either logger."""
    mixed = SHARES[0] * LOGGING + SHARES[1] * OTHER
    chance = CONTEXTS[:, None] * mixed
    balanced = np.divide(TARGET, mixed, out=np.zeros((3, 3)), where=mixed > 0)
    assert (chance * balanced * REWARDS).sum() == pytest.approx(TRUTH, abs=1e-12)
    squares = [(chance * balanced**2 * REWARDS).sum(), 0.0]
    for share, logging in zip(SHARES, (LOGGING, OTHER), strict=True):
        plain = np.divide(TARGET, logging, out=np.zeros((3, 3)), where=logging > 0)
        squares[1] += share * (CONTEXTS[:, None] * logging * plain**2 * REWARDS).sum()
    assert squares[0] < 0.9 * squares[1]
    rng, widths = np.random.default_rng(1), []
    for judge in (Balanced(loggers=LOGGERS, shares=SHARES), InversePropensity()):
        found = judge(target, both(rng, 4_000))
        assert found.low < TRUTH < found.high
        widths.append(found.high - found.low)
    assert widths[0] < widths[1]


def test_what_one_logger_never_tries_another_may():
    narrow = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    rng = np.random.default_rng(2)
    parts = [simulated(rng, 2_000, logging) for logging in (narrow, LOGGING)]
    names = ("observation", "allowed", "action", "probability", "reward")
    batch = Batch.single(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    assert InversePropensity()(target, parts[0]).refused is not None
    found = Balanced(loggers=(Tabled(narrow), Tabled(LOGGING)), shares=(0.5, 0.5))(target, batch)
    assert found.refused is None
    assert found.value == pytest.approx(TRUTH, abs=4 * (found.high - found.low) / 3.92)


def test_without_loggers_it_is_ips():
    batch = both(np.random.default_rng(3), 1_000)
    ours, theirs = Balanced()(target, batch), InversePropensity()(target, batch)
    assert (ours.value, ours.low, ours.high) == (theirs.value, theirs.low, theirs.high)


def test_loggers_that_did_not_make_the_log_are_noticed():
    batch = both(np.random.default_rng(4), 4_000)
    found = Balanced(loggers=(target,), shares=(1.0,))(target, batch)
    assert found.refused is not None
    impossible = np.array([[0.0, 0.5, 0.5]] * 3)
    refused = Balanced(loggers=(Tabled(impossible),), shares=(1.0,))(target, batch).refused
    assert "has probability 0.0" in refused


def test_no_decisions_are_refused():
    empty = both(np.random.default_rng(5), 400).take(np.zeros(400, bool))
    assert "no settled decisions" in Balanced(loggers=LOGGERS, shares=SHARES)(target, empty).refused


@pytest.mark.parametrize(
    ("shares", "match"), [((1.0,), "1 shares were given for 2 loggers"), ((0.5, 0.6), "which sum to 1.1")]
)
def test_shares_that_do_not_fit_are_an_error(shares, match):
    with pytest.raises(InvalidInput, match=match):
        Balanced(loggers=LOGGERS, shares=shares)


def test_sessions_stay_together():
    batch = both(np.random.default_rng(6), 600)
    thrice = batch.take(np.repeat(np.arange(600), 3))
    ours = Balanced(loggers=LOGGERS, shares=SHARES)
    widths = [found.high - found.low for found in (ours(target, each) for each in (batch, replace(thrice)))]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)
