"""Apprentice mode: the application's own choice is followed, logged with its probability, and learned."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bondhu.errors import UnknownName
from bondhu.policies.following import Following
from bondhu.ports import Event
from bondhu.registry import BASELINE
from bondhu.registry.lifecycle import APPLICATION
from bondhu.serve.decide import Decider, Request
from tests.service.shop import CONTEXT, decider, version


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


def test_following_is_a_policy_of_these_very_rows() -> None:
    policy = Following(np.array([2, 0]))
    seen, allowed = np.zeros((2, 1)), np.ones((2, 3), bool)
    assert policy.distribution(seen, allowed).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert policy.probability(seen, allowed, np.array([2, 1])).tolist() == [1.0, 0.0]
    drawn = policy.sample(seen, allowed, np.random.default_rng(0))
    assert (drawn.action.tolist(), drawn.probability.tolist()) == ([2, 0], [1.0, 1.0])
