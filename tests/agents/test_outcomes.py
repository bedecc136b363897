"""What tests say of an edit: classes, scores and calibration by hand, and a temperature that helps on other data."""

from __future__ import annotations

import numpy as np
import pytest

from bondhu.agents import outcomes
from bondhu.agents.budget import Budget
from bondhu.agents.outcomes import (
    ONWARD,
    OUTCOMES,
    Observed,
    OutcomeModel,
    brier,
    calibration,
    calibration_error,
    learned,
    log_loss,
    observed,
    outcome,
    tempered,
)
from bondhu.agents.search import repair
from tests.agents.repairs import becoming, context, edit, judge, judgement, one, wanting

BEFORE = judgement([True, False, False, False])


@pytest.mark.parametrize(
    ("passed", "ended", "expected"),
    [
        ([True, True, True, True], "done", "solved"),
        ([True, True, False, False], "done", "better"),
        ([False, True, False, False], "done", "same"),
        ([False, False, False, False], "done", "worse"),
        ([False, False, False, False], "cpu", "broken"),
        ([False, False, False, False], "invalid", "broken"),
        ([True, False, False, False], "cpu", "same"),
        ([True, True, False, False], "crash", "better"),
    ],
)
def test_the_outcome_is_told_beside_the_program_it_was_made_from(passed: list[bool], ended: str, expected: str) -> None:
    assert outcome(judgement(passed, ended), BEFORE) == expected


def test_a_search_observes_the_edits_of_its_first_program() -> None:
    found = repair(one(), judge(), wanting(becoming("2", "1")), Budget(executions=20))
    seen = observed(found)
    assert found.context is not None
    assert len(seen.outcome) == 1
    assert OUTCOMES[int(seen.outcome[0])] == "solved"
    right = next(number for number, each in enumerate(found.context.edits) if becoming("2", "1")(each))
    np.testing.assert_array_equal(seen.features[0], found.context.features[right])
    both = Observed.of([seen, seen])
    assert (both.features.shape[0], both.outcome.tolist()) == (2, [0, 0])


def test_what_solves_is_worth_one_and_what_leads_on_a_part() -> None:
    assert Observed(np.zeros((5, 1)), np.arange(5)).worth.tolist() == [1.0, ONWARD, 0.0, 0.0, 0.0]


def test_a_temperature_takes_a_root_and_normalises() -> None:
    shares = np.array([[0.64, 0.36], [1.0, 0.0]])
    np.testing.assert_allclose(tempered(shares, 2.0)[0], [0.8 / 1.4, 0.6 / 1.4])
    np.testing.assert_allclose(tempered(shares, 0.5)[0], [0.64**2 / (0.64**2 + 0.36**2), 0.36**2 / 0.5392])
    np.testing.assert_allclose(tempered(shares, 1.0), shares, atol=1e-11)
    np.testing.assert_allclose(tempered(shares, 3.0).sum(axis=1), 1.0)


def test_scores_by_hand() -> None:
    shares, came = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]), np.array([0, 1, 1])
    assert log_loss(shares, came) == pytest.approx(-(np.log(0.8) + np.log(0.5) + np.log(0.9)) / 3)
    assert brier(shares, came) == pytest.approx((0.2**2 + 0.5**2 + 0.1**2) / 3)
    assert brier(shares, came, of=1) == pytest.approx((0.2**2 + 0.5**2 + 0.1**2) / 3)
    assert log_loss(np.array([[0.0, 1.0]]), np.array([0])) == pytest.approx(-np.log(1e-12))


def test_calibration_by_hand() -> None:
    said = np.array([0.01, 0.03, 0.55, 0.57, 0.52, 1.0])
    came = np.array([1, 1, 0, 1, 1, 0])  # 0 is what is asked about
    curve = calibration(np.stack([said, 1 - said], axis=1), came)
    assert [(count, seen) for _, seen, count in curve] == [(2, 0.0), (3, pytest.approx(1 / 3)), (1, 1.0)]
    assert [mean for mean, *_ in curve] == pytest.approx([0.02, 1.64 / 3, 1.0])
    assert calibration_error(curve) == pytest.approx((2 * 0.02 + (1.64 - 1.0)) / 6)
    assert calibration_error([]) == 0.0


def sampled(rows: int, rng: np.random.Generator, *, signal: float) -> Observed:
    """Outcomes solved or same; the first feature raises the odds of the first."""
    table = rng.normal(size=(rows, 12)).astype(np.float32)
    solved = rng.random(rows) < 1 / (1 + np.exp(-signal * table[:, 0]))
    return Observed(table, np.where(solved, 0, 2))


def test_a_temperature_learned_on_some_data_lowers_the_log_loss_on_other_data() -> None:
    """It was fitted to outcomes that one feature decides, and is asked about some that it only makes likelier."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20_000, 12)).astype(np.float32)
    decided = Observed(table, np.where(table[:, 0] > 0, 0, 2))
    model = learned(decided, sampled(1000, rng, signal=0.7), np.random.default_rng(1))
    unseen = sampled(4000, rng, signal=0.7)
    assert model.temperature > 2
    plain, tuned = (
        log_loss(each.probabilities(unseen.features), unseen.outcome) for each in (OutcomeModel(model.state), model)
    )
    assert tuned < plain - 0.2
    np.testing.assert_allclose(model.probabilities(unseen.features).sum(axis=1), 1.0, rtol=1e-6)


def test_a_model_that_is_right_about_itself_keeps_its_temperature() -> None:
    rng = np.random.default_rng(0)
    model = learned(sampled(20_000, rng, signal=2.0), sampled(4000, rng, signal=2.0), np.random.default_rng(1))
    assert 0.8 < model.temperature < 1.25
    unseen = sampled(4000, rng, signal=2.0)
    shares = model.probabilities(unseen.features)
    assert calibration_error(calibration(shares, unseen.outcome)) < 0.04
    base = float(np.mean(unseen.outcome == 0))
    assert brier(shares, unseen.outcome) < 0.7 * base * (1 - base)


def test_an_edit_is_worth_that_it_solves_and_a_part_of_that_it_leads_on() -> None:
    rng = np.random.default_rng(0)
    model = learned(sampled(100, rng, signal=1.0), sampled(100, rng, signal=1.0), rng)
    seen = context([edit("a")] * 3, rng.normal(size=(3, 12)))
    shares = model.probabilities(seen.features)
    np.testing.assert_allclose(model(seen), np.log(shares[:, 0] + ONWARD * shares[:, 1]))
    assert outcomes.OUTCOMES[:2] == ("solved", "better")
