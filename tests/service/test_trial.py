"""Trials in the live loop: who meets which version, with what probability, and what happens when it fails."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bondhu.errors import InvalidInput, StateCorrupt
from bondhu.policies.by_value import ByValue
from bondhu.policies.greedy import greedy
from bondhu.ports import Event
from bondhu.registry import BASELINE
from bondhu.serve.decide import Decider, Request
from bondhu.types import Acting, Array, Booleans, Floats
from tests.service.shop import CONTEXT, acting, decider, version

USERS = [f"user {number}" for number in range(400)]


def on_trial(one: Decider, name: str = "v2", share: float = 0.5, time: float = 2.0) -> Decider:
    one.deployment.registry.record("shop", Event(time, "tried", name, "test", {}, "ann", share))
    return one


def ready(**parts: object) -> Decider:
    one = decider(**parts)  # type: ignore[arg-type]
    for name in ("v1", "v2"):
        one.deployment.registry.add(version(name))
    one.deployment.registry.record("shop", Event(1.5, "promoted", "v1", "test", {}))
    return one


def everybody(one: Decider) -> list[tuple[str, str, float]]:
    made = one.decide_many([Request(CONTEXT, user=user) for user in USERS])
    return [(each.variant, each.version, each.assigned) for each in made]


def test_a_share_of_the_people_meets_the_version_on_trial_and_the_log_says_with_what_probability() -> None:
    one = on_trial(ready(), share=0.1)
    met = Counter(everybody(one))
    assert set(met) == {("trial", "v2", 0.1), ("live", "v1", 0.9)}
    assert 22 <= met["trial", "v2", 0.1] <= 60  # 40 of 400 expected, four standard deviations


def test_people_stay_where_they_are_while_the_share_grows_across_processes_and_without_a_trial() -> None:
    one = on_trial(ready(), share=0.1)
    before = everybody(one)
    other = decider(registry=one.deployment.registry, log=one.deployment.log)  # another process of the same service
    assert everybody(other) == before
    on_trial(one, share=0.5, time=3.0)
    after = everybody(one)
    assert all(now[0] == "trial" for then, now in zip(before, after, strict=True) if then[0] == "trial")
    assert {each[2] for each in after} == {0.5}
    one.deployment.registry.record("shop", Event(4.0, "promoted", "v2", "test", {}))
    assert set(everybody(one)) == {("live", "v2", 1.0)}


def test_whoever_is_not_known_is_assigned_by_session_and_else_decision_by_decision() -> None:
    one = on_trial(ready())
    of_session = {one.decide(Request(CONTEXT, session="s1")).variant for _ in range(20)}
    assert len(of_session) == 1
    assert {one.decide(Request(CONTEXT)).variant for _ in range(50)} == {"live", "trial"}


def test_a_batch_is_answered_in_its_order_whoever_decides() -> None:
    one = on_trial(ready())
    requests = [Request({**CONTEXT, "age": age}, id=f"d{age}", user=USERS[age]) for age in range(60)]
    made = one.decide_many(requests)
    assert [each.id for each in made] == [each.id for each in requests]
    assert [each.context["age"] for each in made] == list(range(60))
    singly = [one.choose([each])[0] for each in requests]
    assert [(each.variant, each.action, each.probability) for each in made] == [
        (each.variant, each.action, each.probability) for each in singly
    ]


def test_the_holdout_meets_the_rule_whatever_is_released() -> None:
    one = ready()
    one = replace(one, holdout=0.2)
    on_trial(one, share=0.5)
    met = Counter(everybody(one))
    assert set(met) == {("holdout", BASELINE, 0.2), ("trial", "v2", 0.4), ("live", "v1", 0.4)}
    held = [user for user, each in zip(USERS, everybody(one), strict=True) if each[0] == "holdout"]
    one.deployment.registry.record("shop", Event(4.0, "promoted", "v2", "test", {}))
    again = [user for user, each in zip(USERS, everybody(one), strict=True) if each[0] == "holdout"]
    assert held == again
    assert set(everybody(one)) == {("holdout", BASELINE, 0.2), ("live", "v2", 0.8)}


class Failing:
    """A policy that cannot decide for the young, and gives no probability to the old."""

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        if (observation[:, 1] == 0).any():
            raise FloatingPointError("it divided by zero")
        return np.full(allowed.shape, np.nan)

    def sample(self, observation: Array, allowed: Booleans, rng: object) -> object:
        from bondhu.types import Choice

        self.distribution(observation, allowed)
        rows = len(observation)
        return Choice(np.zeros(rows, np.int64), np.full(rows, np.nan), np.empty((rows, 0)))

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:
        return np.full(len(observation), np.nan)


@pytest.mark.parametrize("age", [5, 90])
def test_what_the_trial_cannot_decide_the_live_version_does_and_the_log_shows_it(age: int) -> None:
    def restore(name: str | None) -> Acting:
        made = acting(name)
        return made._replace(policy=Failing()) if name == "v2" else made  # type: ignore[arg-type]

    one = on_trial(ready(restore=restore), share=1.0)
    made = one.decide(Request({**CONTEXT, "age": age}, user="ann"))
    assert (made.variant, made.version, made.action, made.assigned) == ("trial", "v1", "blue", 1.0)
    assert one.explain(made.id).replayed


def test_one_decision_of_a_batch_that_the_trial_cannot_make_costs_the_others_nothing() -> None:
    class Picky(ByValue):
        def sample(self, observation: Array, allowed: Booleans, rng: object) -> object:
            if (observation[:, 1] == 0).any():
                raise FloatingPointError("it divided by zero")
            return super().sample(observation, allowed, rng)  # type: ignore[arg-type]

    def restore(name: str | None) -> Acting:
        made = acting(name)
        picky = Picky(lambda seen: np.tile([1.0, 3.0, 2.0], (len(seen), 1)), greedy)
        return made._replace(policy=picky) if name == "v2" else made

    one = on_trial(ready(restore=restore), share=1.0)
    made = one.decide_many([Request({**CONTEXT, "age": 5 if row == 3 else 40}, user=USERS[row]) for row in range(20)])
    assert [each.version for each in made] == ["v1" if row == 3 else "v2" for row in range(20)]


def test_a_bad_request_is_the_callers_fault_and_not_the_trials() -> None:
    one = on_trial(ready(), share=1.0)
    with pytest.raises(InvalidInput, match="age"):
        one.decide(Request({"mood": "happy", "age": "old"}, user="ann"))


def test_a_trial_that_cannot_be_loaded_leaves_everybody_with_the_live_version() -> None:
    def restore(name: str | None) -> Acting:
        if name == "v2":
            raise StateCorrupt("It is damaged.")
        return acting(name)

    one = on_trial(ready(restore=restore), share=1.0)
    assert set(everybody(one)) == {("trial", "v1", 1.0)}
    assert one.live.problem == "It is damaged."


def test_the_kill_switch_reaches_the_next_decision() -> None:
    one = on_trial(ready())
    one.deployment.registry.record("shop", Event(9.0, "stopped", BASELINE, "it hurts", {}, "ann"))
    assert set(everybody(one)) == {("live", BASELINE, 1.0)}


def test_no_decision_is_dropped_or_mixed_while_versions_change_under_load() -> None:
    """Every answer belongs to one version as a whole: v1 always says blue, v2 always green, the rule always red."""
    says = {"v1": 1, "v2": 2, BASELINE: 0}

    def restore(name: str | None) -> Acting:
        made = acting(name)
        values = np.eye(3)[says[made.version]]
        return made._replace(policy=ByValue(lambda seen: np.tile(values, (len(seen), 1)), greedy))

    one = ready(restore=restore)
    record = one.deployment.registry.record
    moves = [
        *(("tried", "v2", 0.1), ("tried", "v2", 0.5), ("promoted", "v2", None), ("rolled_back", "v1", None)),
        *(("stopped", BASELINE, None), ("promoted", "v1", None)),
    ]
    from concurrent.futures import ThreadPoolExecutor

    def ask(number: int) -> list[tuple[str, str, str]]:
        made = one.decide_many([Request(CONTEXT, id=f"{number}.{row}", user=USERS[row]) for row in range(20)])
        return [(each.version, each.variant, each.action) for each in made]

    with ThreadPoolExecutor(4) as pool:
        asked = []
        for number, (kind, name, share) in enumerate(moves * 5):
            asked += [pool.submit(ask, 10 * number + each) for each in range(10)]
            record("shop", Event(2.0 + number, kind, name, "test", {}, "ann", share))
        answers = [each.result() for each in asked]
    names = ("red", "blue", "green")
    assert sum(map(len, answers)) == 30 * 10 * 20
    assert all(action == names[says[version]] for of_batch in answers for version, _, action in of_batch)
    for of_batch in answers:
        assert len({version for version, variant, _ in of_batch if variant == "live"}) <= 1
