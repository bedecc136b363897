"""A trial as an experiment, on real stores: effects, segments, ratios, the holdout, CUPED, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bondhu.app import App
from bondhu.errors import InvalidInput, UnknownName
from bondhu.experimenting import Question, analysis, findable, planned, replayed
from bondhu.ports import Event
from bondhu.registry.share import place
from bondhu.serve.decide import Request, Said
from tests.service.stand import HOUR, Clock, log, opened

PEOPLE = [f"person-{number}" for number in range(200)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> App:
    """Blue is liked by most; a version that knows it is on trial for half of those who are not in the holdout."""
    made = opened(tmp_path, clock, training={"holdout": 0.5}, release={"holdout": 0.2, "guardrails": {"watched": 0.5}})
    log(made, PEOPLE, 6, context=[{"mood": mood, "age": 30} for mood in ("happy", "sad")])
    version = made.train().trained.version
    assert version is not None
    days(made, clock, 2)  # before the trial: what people liked then adjusts what they say later
    event = Event(clock.now, "tried", version.id, "a test", {}, "ann", 0.5)
    made.deployment.registry.record("shop", event)
    days(made, clock, 3)
    return made


def days(app: App, clock: Clock, count: int) -> None:
    decider = app.decider()
    for _ in range(count):
        requests = [
            Request({"mood": ("happy", "sad")[number % 2], "age": 30}, user=f"user-{number}") for number in range(500)
        ]
        made = decider.decide_many(requests)
        # people like what is blue, each by a taste of their own; they watch half as often as they like
        liked = [each for each in made if each.action == "blue" and place("taste", str(each.user)) < 0.8]
        decider.hear([Said(each.id, "like") for each in liked])
        decider.hear([Said(each.id, "watched") for each in liked if place("watch", each.id) < 0.5])
        clock.now += 2 * HOUR


def test_the_effect_of_a_trial_is_found_with_an_interval_that_holds_the_truth(app: App) -> None:
    found = analysis(app, Question(metrics=("like", "watched/like"), by=("mood",)))
    truth = 0.8 * (0.95 + 0.05 / 3 - 1 / 3) * 1.25  # blue under the version and under the rule; a like and half a watch
    assert found.answer == "better"
    assert found.primary.always_low < truth < found.primary.always_high
    assert (found.primary.treated.users + found.primary.control.users) == pytest.approx(
        400, abs=45
    )  # 20 % are held out
    assert found.primary.measured.ready
    assert not found.ratio.mismatch
    assert {each.name for each in found.segments} == {"mood = happy", "mood = sad"}
    assert {each.name for each in found.secondary} == {"like", "watched per like"}
    ratio = next(each.effect for each in found.secondary if each.name == "watched per like")
    assert ratio.always_low < 0.0 < ratio.always_high  # who likes, watches half the time, whatever decided
    assert [each.guardrail.metric.name for each in found.guardrails] == ["watched"]


def test_the_holdout_says_what_learning_has_brought(app: App, clock: Clock) -> None:
    app.promote(app.versions()[0], reason="test")
    days(app, clock, 3)
    found = analysis(app, Question("live", "holdout", days=0.3))
    assert found.answer == "better"
    assert found.primary.control.users == pytest.approx(100, abs=30)
    assert not found.ratio.mismatch


def test_what_cannot_be_compared_is_said(app: App, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="There is no signal 'lik'"):
        analysis(app, Question(metrics=("lik",)))
    with pytest.raises(UnknownName, match="No field 'moood'"):
        analysis(app, Question(by=("moood",)))
    empty = opened(tmp_path / "empty")
    with pytest.raises(InvalidInput, match="There is no settled decision of the variant 'trial'"):
        analysis(empty, Question())
    with pytest.raises(InvalidInput, match="There are no settled decisions in the last 28 days"):
        planned(empty, 0.1)
    with pytest.raises(InvalidInput, match="There are no settled decisions to play"):
        replayed(empty)


def test_a_plan_knows_the_traffic_and_larger_effects_are_found_sooner(app: App) -> None:
    small, traffic = planned(app, 0.02)
    large, _ = planned(app, 0.2)
    assert traffic.daily_users > 300
    assert large.fixed_users < small.fixed_users
    assert large.fixed_days <= large.sequential_days
    fixed, sequential = findable(app, 7)
    assert 0 < fixed < sequential


def test_a_learner_replayed_on_a_uniform_log_earns_what_it_would_have(tmp_path: Path) -> None:
    app = opened(tmp_path)
    log(app, PEOPLE, 6)
    found = replayed(app, "bandit.gaussian_thompson")
    assert found.refused is None
    assert found.acceptance == pytest.approx(1 / 3, abs=0.05)  # of three actions, drawn evenly
    assert np.mean(found.curve[-50:]) > 0.9  # blue is all that anybody likes
