"""What a log lacks for a policy is named, counted, and mended."""

from dataclasses import replace

import numpy as np
import pytest

from bondhu.equations.weights import effective_samples
from bondhu.evaluate.diagnosis import lacking
from bondhu.policies.floor import WithFloor
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch
from tests.contract.small_world import TARGET, Tabled, simulated

MOODS, GENRES = np.array(["sad", "happy"], object), np.array(["rock", "jazz", "folk"], object)
ACTIONS = ("low/focused", "low/social", "high/focused", "high/social")
LOGGER = Tabled(np.tile([0.0, 1.0, 0.0, 0.0], (2, 1)))  # always the second


def logged(rows, rate, seed=0, context=True):
    """Decisions of 31 % sad people and any genre, by a policy that explores at this rate."""
    rng = np.random.default_rng(seed)
    mood, genre = (rng.random(rows) >= 0.31).astype(int), rng.integers(3, size=rows)
    observation, allowed = np.stack([mood, genre], 1), np.ones((rows, 4), bool)
    choice = WithFloor(LOGGER, rate).sample(observation, allowed, rng)
    batch = Batch.single(observation, allowed, choice.action, choice.probability, rng.random(rows))
    names = {"mood": MOODS[mood], "genre": GENRES[genre], "age": rng.integers(18, 90, rows).astype(float)}
    return replace(batch, context=names) if context else batch


WANTS = Tabled(np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]))  # the first where people are sad, else as logged


def test_the_worst_cell_is_the_one_where_the_policy_differs_from_the_log():
    batch = logged(2_000, 0.01)
    found = lacking(WANTS, batch, actions=ACTIONS, logger=LOGGER)
    sad = batch.observation[:, 0] == 0
    worst = found.cells[0]
    assert (worst.action, worst.where) in {("low/focused", "mood = sad"), ("low/focused", "")}
    cell = next(each for each in found.cells if each.where == "mood = sad")
    assert cell.share == cell.mass == sad.mean()
    assert cell.tries == (sad & (batch.action == 0)).sum()
    assert found.mass == sad.mean()
    assert found.affected == sad.sum()
    assert found.rows == tuple(np.flatnonzero(sad)[:10])


def test_the_advice_holds_for_a_new_log():
    acting = WithFloor(LOGGER, 0.01)
    found = lacking(WANTS, logged(20_000, 0.01), wanted=1_000, logger=acting, exploring=0.01)
    moment = 0.31 * 4 / found.exploration + 0.69 / (1 - 0.75 * found.exploration)  # a quarter of it finds the first
    assert 20_000 / moment == pytest.approx(1_000, rel=0.05)
    again = logged(20_000, found.exploration, seed=1)
    weights = WANTS.probability(again.observation, again.allowed, again.action) / again.probability
    assert effective_samples(weights) == pytest.approx(1_000, rel=0.1)


def test_without_a_logger_the_logged_probabilities_advise_nearly_the_same():
    batch = logged(4_000, 0.01)
    known = lacking(WANTS, batch, logger=WithFloor(LOGGER, 0.01), exploring=0.01)
    guessed = lacking(WANTS, batch, exploring=0.01)
    assert guessed.exploration == pytest.approx(known.exploration, rel=0.1)


def test_the_sentence_says_where_how_often_and_what_would_help():
    found = lacking(WANTS, logged(2_000, 0.001, seed=3), actions=ACTIONS, logger=LOGGER)
    assert found.sentence == (
        'In 33 % of decisions the policy takes actions the log hardly tried, most of all "low/focused" where '
        "mood = sad (33 % of rows, never tried). At the present exploration no number of decisions would be worth 50. "
        "With [exploration] rate = 0.034, 2,000 decisions would be worth 50 effective samples."
    )


def test_rare_rows_that_have_not_come_yet_do_not_make_a_log_look_rich():
    found = lacking(WANTS, logged(2_000, 0.001, seed=3), exploring=0.001)  # Kish's formula alone says 1,348
    assert found.effective_samples < 5
    assert 20_000 < found.needed < 100_000
    assert found.exploration == pytest.approx(0.034, abs=0.002)


def test_a_log_that_never_explored_is_diagnosed_as_well():
    found = lacking(WANTS, logged(2_000, 0.0), actions=ACTIONS)
    assert np.isnan(found.effective_samples)
    assert found.needed == np.inf
    assert 0 < found.exploration < 0.1
    assert found.cells[0].tries == 0


def test_a_policy_close_to_the_log_lacks_nothing():
    batch = simulated(np.random.default_rng(0), 2_000)
    found = lacking(Tabled(TARGET), batch)
    assert found.cells == ()
    assert found.affected == 0
    assert found.mass == 0.0
    assert found.exploration == 0.0
    worth = f"The 2,000 decisions are worth {found.effective_samples:,.0f} effective samples."
    assert found.sentence.endswith(worth)


def test_decisions_needed_at_the_present_exploration_grow_in_proportion():
    batch = logged(2_000, 0.05)
    found = lacking(WANTS, batch, wanted=500)
    weights = WANTS.probability(batch.observation, batch.allowed, batch.action) / batch.probability
    assert found.needed == pytest.approx(2_000 * 500 / effective_samples(weights), abs=1)
    assert f"about {found.needed:,.0f} decisions would be worth 500" in found.sentence


def test_what_no_exploration_can_do_is_said():
    only_last = Tabled(np.tile([0.0, 0.0, 0.0, 1.0], (2, 1)))
    found = lacking(only_last, logged(100, 0.0), actions=ACTIONS)
    assert np.isnan(found.exploration)
    assert found.needed_at_random == 200  # one decision in four, and 50 are wanted
    assert "even at random it takes about 200" in found.sentence


def test_drawing_evenly_is_never_called_hardly_trying():
    rng = np.random.default_rng(1)
    allowed = np.ones((1_000, 27), bool)
    choice = Uniform().sample(np.zeros((1_000, 1)), allowed, rng)
    observation = rng.integers(5, size=(1_000, 3))
    batch = Batch.single(observation, allowed, choice.action, choice.probability, rng.random(1_000))
    found = lacking(Tabled(np.eye(27)[rng.integers(27, size=5)]), batch)
    assert found.mass <= 0.1


def test_fields_without_names_and_numbers_are_grouped_too():
    plain = lacking(WANTS, logged(2_000, 0.0, context=False))
    assert ("0", "field 0 = 0") in {(each.action, each.where) for each in plain.cells}
    floats = replace(logged(2_000, 0.0), observation=logged(2_000, 0.0).observation.astype(float))
    named = {each.where for each in lacking(WANTS, floats).cells}
    assert "mood = sad" in named
    assert any(each.startswith("age = 18 to") for each in named)


@pytest.mark.parametrize("column", ["probability", "reward"])
def test_a_broken_log_has_no_diagnosis(column):
    batch = logged(100, 0.1)
    found = lacking(WANTS, replace(batch, **{column: np.full(100, np.nan)}))
    assert np.isnan(found.mass)
    assert found.cells == ()
