"""A trial as an experiment, on real stores: effects, segments, ratios, the holdout, CUPED, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bondhu.app import App
from bondhu.errors import InvalidInput, UnknownName
from bondhu.experimenting import Question, analysis, findable, planned, replayed
from bondhu.ports import Event
from bondhu.registry.lifecycle import traffic
from bondhu.registry.share import place
from bondhu.release.exposed import About, exposed
from bondhu.serve.decide import Request, Said
from bondhu.types import Floats
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


def test_what_was_said_after_a_trial_began_does_not_adjust_what_it_says(app: App, clock: Clock) -> None:
    """The last decisions before it were made two hours before: what is said of them later may be an effect."""
    step = traffic(app.events()).step
    assert step is not None
    read = app.deployment.log.read
    records, earlier = read("shop", step.began, clock.now), read("shop", step.began - 10 * HOUR, step.began)

    def before(began: float) -> Floats:
        found = exposed(app.deployment, records, About(began=began), clock.now, earlier)[1]
        assert found is not None
        return found.before["reward"]

    all_of_them, only_the_first = before(step.began), before(step.began - 2.5 * HOUR)
    assert np.isfinite(only_the_first).mean() > 0.9
    assert (all_of_them != only_the_first)[np.isfinite(only_the_first)].any()


def test_a_window_over_two_releases_is_refused_and_the_last_one_is_asked_about(app: App, clock: Clock) -> None:
    first = traffic(app.events()).step
    assert first is not None
    app.withdraw(reason="a test", by="ann")
    days(app, clock, 1)
    over = analysis(app, Question())
    assert over.answer == "better"  # of the release that is over
    assert not over.ratio.mismatch
    log(app, [f"new-{number}" for number in range(200)], 6, ago=0.5 * HOUR)
    clock.now += 2 * HOUR
    version = app.train().trained.version
    assert version is not None
    event = Event(clock.now, "tried", version.id, "a test", {}, "ann", 0.5)
    app.deployment.registry.record("shop", event)
    days(app, clock, 2)
    with pytest.raises(InvalidInput, match=rf"more than one release \({first.version}, {version.id}\)") as refused:
        analysis(app, Question(days=1))
    assert "at most 0.167" in str(refused.value)
    assert not analysis(app, Question()).ratio.mismatch
    assert not analysis(app, Question("live", "holdout", days=1)).ratio.mismatch


def test_a_plan_waits_for_the_decisions_that_the_rules_ask_for(tmp_path: Path, clock: Clock) -> None:
    rules = {"minimum_decisions": 1000, "minimum_hours": 36.0, "steps": [0.1, 0.5]}
    made = opened(tmp_path, clock, release=rules)
    for _ in range(3):
        days(made, clock, 1)
        clock.now += 22 * HOUR
    found, seen = planned(made, 0.02)
    assert seen.daily_users == pytest.approx(500, rel=0.01)
    assert found.step_days == (20,)  # fifty a day


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
