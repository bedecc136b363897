"""Apprentice mode: the application's own choice is followed, logged with its probability, and learned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bondhu.app import App
from bondhu.errors import UnknownName
from bondhu.policies.following import Following
from bondhu.ports import Event
from bondhu.registry import BASELINE
from bondhu.registry.lifecycle import APPLICATION
from bondhu.registry.share import place
from bondhu.serve.decide import Decider, Request, Said
from tests.service.shop import CONTEXT, decider, version
from tests.service.stand import HOUR, Clock, opened


def apprentice(exploration: float = 0.0) -> Decider:
    one = decider(exploration=exploration)
    one.apprentice = True
    return one


def test_the_applications_own_choice_is_followed_with_probability_1() -> None:
    made = apprentice().decide(Request(CONTEXT, default="green"))
    assert (made.action, made.probability, made.version, made.variant) == ("green", 1.0, APPLICATION, "live")


def test_an_exploring_apprentice_logs_exact_probabilities() -> None:
    one = apprentice(exploration=0.3)
    made = one.decide_many([Request(CONTEXT, default="green") for _ in range(3_000)])
    shares = Counter(each.action for each in made)
    assert {(each.action, round(each.probability, 12)) for each in made} == {
        ("green", 0.8),
        ("red", 0.1),
        ("blue", 0.1),
    }
    assert abs(shares["green"] / 3_000 - 0.8) < 4 * (0.8 * 0.2 / 3_000) ** 0.5


def test_who_says_nothing_of_the_kind_is_decided_for_by_the_rule() -> None:
    one = apprentice()
    requests = [Request(CONTEXT, id=f"d{row}", default="red" if row % 2 else None) for row in range(6)]
    made = one.decide_many(requests)
    assert [each.id for each in made] == [f"d{row}" for row in range(6)]
    assert [each.version for each in made] == [BASELINE, APPLICATION] * 3
    assert [each.action for each in made][1::2] == ["red"] * 3


def test_the_apprentice_ends_when_a_version_is_live_and_a_trial_runs_beside_it() -> None:
    one = apprentice()
    one.deployment.registry.add(version("v1"))
    one.deployment.registry.record("shop", Event(2.0, "tried", "v1", "test", {}, "ann", 0.5))
    made = one.decide_many([Request(CONTEXT, user=f"u{row}", default="red") for row in range(100)])
    met = {(each.variant, each.version, each.action) for each in made}
    assert met == {("live", APPLICATION, "red"), ("trial", "v1", "blue")}
    one.deployment.registry.record("shop", Event(3.0, "promoted", "v1", "test", {}))
    assert one.decide(Request(CONTEXT, default="red")).action == "blue"


@pytest.mark.parametrize(("default", "allowed"), [("gren", None), ("green", ["red", "blue"])])
def test_a_choice_that_is_not_open_is_refused(default: str, allowed: list[str] | None) -> None:
    with pytest.raises(UnknownName, match="which is not allowed here"):
        apprentice().decide(Request(CONTEXT, default=default, allowed=allowed))


def test_the_audit_record_says_whose_choice_it_was() -> None:
    one = apprentice(exploration=0.5)
    made = one.decide_many([Request(CONTEXT, default="green") for _ in range(40)])
    for each in made:
        audit = one.explain(each.id)
        assert audit.explored == (each.action != "green")
        assert ("by itself" in audit.why) == (each.action == "green")


def everyday(app: App, clock: Clock, people: range, noise: float = 0.0) -> None:
    """The application shows blue to the happy and red to the sad, but for some noise; who is right likes it."""
    decider = app.decider()
    requests = []
    for number in people:
        mood = ("happy", "sad")[number % 2]
        own = "green" if place("noise", str(number)) < noise else ("blue", "red")[number % 2]
        requests.append(Request({"mood": mood, "age": 30 + number % 40}, user=f"user-{number}", default=own))
    made = decider.decide_many(requests)
    decider.hear([Said(each.id, "like") for each in made if each.action != "green"])
    clock.now += 2 * HOUR


def test_an_apprentice_learns_what_the_application_does_and_is_released_once_it_agrees(tmp_path: Path) -> None:
    clock = Clock()
    rules = {"apprentice": True, "automatic": True, "shadow": False, "steps": []}
    app = opened(tmp_path, clock, release=rules, training={"holdout": 0.3}, gate={"minimum_interactions": 100})
    everyday(app, clock, range(600))
    run = app.train(replace(app.plan(), imitate=True))
    assert run.verdict is not None
    assert run.verdict.decision == "promote"
    assert run.verdict.figures["agreement"] > 0.95
    version = run.trained.version
    assert version is not None
    assert app.live() == version.id
    made = app.decider().decide(Request({"mood": "sad", "age": 33}, default="green"))
    assert (made.version, made.action) == (version.id, "red" if made.probability > 0.5 else made.action)
    assert app.verdicts()[-1].figures["against"] == APPLICATION
    everyday(app, clock, range(600, 900))
    learned = app.train().trained.version
    assert learned is not None
    assert learned.parent is None  # rewards are learned anew: an apprentice knows none


def test_an_apprentice_that_disagrees_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    rules = {"apprentice": True, "automatic": True, "shadow": False, "steps": []}
    app = opened(tmp_path, clock, release=rules, training={"holdout": 0.3}, gate={"minimum_interactions": 100})
    everyday(app, clock, range(900), noise=0.5)
    run = app.train(replace(app.plan(), imitate=True))
    assert run.verdict is not None
    assert (run.verdict.decision, app.live()) == ("refuse", None)
    assert "of what the application did" in run.verdict.reasons[0]


def test_following_is_a_policy_of_these_very_rows() -> None:
    policy = Following(np.array([2, 0]))
    seen, allowed = np.zeros((2, 1)), np.ones((2, 3), bool)
    assert policy.distribution(seen, allowed).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert policy.probability(seen, allowed, np.array([2, 1])).tolist() == [1.0, 0.0]
    drawn = policy.sample(seen, allowed, np.random.default_rng(0))
    assert (drawn.action.tolist(), drawn.probability.tolist()) == ([2, 0], [1.0, 1.0])
