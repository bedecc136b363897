"""Which version acts, and why a decision was made."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete

from bondhu.errors import StateCorrupt, StoreError, UnknownName
from bondhu.policies.by_value import ByValue
from bondhu.policies.epsilon_greedy import epsilon_greedy
from bondhu.ports import Event
from bondhu.registry.memory import MemoryRegistry
from bondhu.serve.decide import Decider, Request, Said
from bondhu.types import Acting
from tests.service.shop import ACTIONS, CONTEXT, acting, decider, shop, version


def promoted(one: Decider, name: str, time: float = 1.0) -> None:
    one.deployment.registry.record("shop", Event(time, "promoted", name, "test", {}))


def test_a_promotion_takes_effect_with_the_next_decision_and_a_rollback_too() -> None:
    one = decider()
    for name in ("v1", "v2"):
        one.deployment.registry.add(version(name))
    assert one.decide(Request(CONTEXT)).version == "baseline"
    promoted(one, "v1")
    assert one.decide(Request(CONTEXT)).version == "v1"
    promoted(one, "v2")
    assert one.decide(Request(CONTEXT)).version == "v2"
    one.deployment.registry.record("shop", Event(3.0, "rolled_back", "v1", "test", {}))
    assert one.decide(Request(CONTEXT)).version == "v1"


def test_a_version_is_loaded_once() -> None:
    loads: list[str | None] = []

    def restore(name: str | None) -> Acting:
        loads.append(name)
        return acting(name)

    one = decider(restore=restore)
    one.deployment.registry.add(version("v1"))
    promoted(one, "v1")
    for _ in range(20):
        one.decide(Request(CONTEXT))
    assert loads == [None, "v1"]


def test_the_last_good_version_acts_while_the_next_cannot_be_loaded() -> None:
    damaged = {"v2"}
    clock = [100.0]

    def restore(name: str | None) -> Acting:
        if name in damaged:
            raise StateCorrupt(f"Version {name!r} is damaged.")
        return acting(name)

    one = decider(restore=restore, now=lambda: clock[0])
    for name in ("v1", "v2"):
        one.deployment.registry.add(version(name))
        promoted(one, name)
        assert one.decide(Request(CONTEXT)).version == "v1"
    assert one.live.problem == "Version 'v2' is damaged."
    damaged.clear()
    assert one.decide(Request(CONTEXT)).version == "v1"  # not tried again at once
    clock[0] += 60
    assert one.decide(Request(CONTEXT)).version == "v2"
    assert one.live.problem is None


def test_what_was_taken_back_does_not_go_on_though_what_it_was_taken_back_to_cannot_be_loaded() -> None:
    damaged: set[str] = set()

    def restore(name: str | None) -> Acting:
        if name in damaged:
            raise StateCorrupt(f"Version {name!r} is damaged.")
        return acting(name)

    one = decider(restore=restore)
    for name in ("v1", "v2"):
        one.deployment.registry.add(version(name))
        promoted(one, name)
    again = decider(restore=restore, registry=one.deployment.registry)  # it never had v1
    damaged.add("v1")
    one.deployment.registry.record("shop", Event(3.0, "rolled_back", "v1", "it hurts", {}))
    assert again.decide(Request(CONTEXT)).version == "baseline"
    assert again.live.problem == "Version 'v1' is damaged."


def test_a_kill_switch_thrown_while_another_thread_loads_a_version_holds() -> None:
    begun, go = threading.Event(), threading.Event()

    def restore(name: str | None) -> Acting:
        if name == "v2":
            begun.set()
            go.wait(5)
        return acting(name)

    one = decider(restore=restore)
    one.deployment.registry.add(version("v2"))
    promoted(one, "v2")
    slow = threading.Thread(target=lambda: one.live.arms(2.0))
    slow.start()
    begun.wait(5)
    one.deployment.registry.record("shop", Event(3.0, "stopped", "baseline", "fire", {}))
    go.set()
    slow.join()
    assert one.decide(Request(CONTEXT)).version == "baseline"


def test_a_failure_that_nobody_foresaw_is_said_and_tried_again() -> None:
    clock, broken = [100.0], [True]

    def restore(name: str | None) -> Acting:
        if name == "v1" and broken[0]:
            raise OSError("Too many open files")
        return acting(name)

    one = decider(restore=restore, now=lambda: clock[0])
    one.deployment.registry.add(version("v1"))
    promoted(one, "v1")
    assert (one.decide(Request(CONTEXT)).version, one.live.problem) == ("baseline", "Too many open files")
    broken[0] = False
    clock[0] += 60
    assert (one.decide(Request(CONTEXT)).version, one.live.problem) == ("v1", None)


def test_the_baseline_acts_where_no_version_was_ever_good() -> None:
    def restore(name: str | None) -> Acting:
        if name:
            raise StateCorrupt("It is damaged.")
        return acting(None)

    registry = MemoryRegistry()
    registry.add(version("v1"))
    registry.record("shop", Event(1.0, "promoted", "v1", "test", {}))
    one = decider(restore=restore, registry=registry)
    assert one.decide(Request(CONTEXT)).version == "baseline"
    assert one.live.problem == "It is damaged."


def test_decisions_go_on_while_the_registry_cannot_be_read() -> None:
    class Broken(MemoryRegistry):
        broken = False

        def events(self, domain: str) -> Any:
            if self.broken:
                raise StoreError("The registry cannot be read.")
            return super().events(domain)

    registry = Broken()
    one = decider(registry=registry)
    registry.broken = True
    assert one.decide(Request(CONTEXT)).action == "blue"
    assert one.live.problem == "The registry cannot be read."
    registry.broken = False
    one.now = lambda: 1e12
    assert one.decide(Request(CONTEXT)).version == "baseline"
    assert one.live.problem is None


# -------------------------------------------------------------------------------------------------------------- explain


def test_the_audit_record_shows_candidates_with_values_and_probabilities() -> None:
    one = decider(exploration=0.3)
    made = one.decide(Request(CONTEXT, allowed=["red", "blue"]))
    audit = one.explain(made.id)
    assert [(each.action, round(each.probability, 12), each.value) for each in audit.candidates] == [
        ("red", 0.15, 1.0),
        ("blue", 0.85, 3.0),
    ]
    half = 1.959963984540054 * 0.5
    assert [(each.low, each.high, each.tries) for each in audit.candidates] == [
        (1.0 - half, 1.0 + half, 4.0),
        (3.0 - half, 3.0 + half, 9.0),
    ]
    assert audit.replayed
    assert audit.explored == (made.action == "red")
    assert made.action in audit.why
    assert audit.decision["context"] == CONTEXT


def test_the_audit_record_says_which_fields_moved_the_decision() -> None:
    one = decider()
    audit = one.explain(one.decide(Request({"mood": "happy", "age": 30}, allowed=["red", "blue"])).id)
    # blue leads the mean of both by half of 3 - red; red is 1.5, 1, 0.5, 0, -0.5 in the five bins of age, and 1 here
    assert [(each.field, each.by) for each in audit.moved] == [("age", pytest.approx(0.5 * (2 - 2.5))), ("mood", 0.0)]
    assert audit.moved_in == "value"
    rule = decider(restore=lambda name: acting(name)._replace(policy=shop().baseline(), beliefs=None))
    audit = rule.explain(rule.decide(Request(CONTEXT)).id)
    assert ([each.by for each in audit.moved], audit.moved_in) == ([0.0, 0.0], "probability")


def test_exploration_is_told_from_following_the_policy() -> None:
    one = decider(exploration=0.5)
    made = one.decide_many([Request(CONTEXT) for _ in range(60)])
    audits = [one.explain(each.id) for each in made]
    assert [each.explored for each in audits] == [each.action != "blue" for each in made]
    assert {"explored" in each.why for each in audits} == {True, False}


def test_every_decision_replays_after_other_versions_and_floors() -> None:
    one = decider(exploration=0.4)
    made = one.decide_many([Request({**CONTEXT, "age": age}) for age in range(40)])
    one.deployment.registry.add(version("v1"))
    promoted(one, "v1")
    one = replace(one, exploration=0.0)
    made += one.decide_many([Request({**CONTEXT, "age": age}) for age in range(40)])
    assert {each.version for each in made} == {"baseline", "v1"}
    assert all(one.explain(each.id).replayed for each in made)


def test_a_policy_without_values_is_explained_without_them() -> None:
    one = decider(restore=lambda name: Acting("baseline", shop().baseline(), shop().encoder(MultiDiscrete), ACTIONS))
    audit = one.explain(one.decide(Request(CONTEXT)).id)
    assert [each.value for each in audit.candidates] == [None] * 3
    assert audit.replayed


def test_an_audit_says_when_its_version_is_gone() -> None:
    def restore(name: str | None) -> Acting:
        if name == "v1" and gone:
            raise StateCorrupt("It is damaged.")
        return acting(name)

    gone = False
    one = decider(restore=restore)
    one.deployment.registry.add(version("v1"))
    promoted(one, "v1")
    made = one.decide(Request(CONTEXT))
    gone = True
    audit = one.explain(made.id)
    assert (audit.candidates, audit.replayed) == ([], False)
    assert audit.why == "It cannot be decided again with version 'v1': It is damaged."


def test_an_audit_shows_that_a_decision_was_tampered_with() -> None:
    one = decider()
    made = one.choose([Request(CONTEXT)])[0]
    one.deployment.log.append([made._replace(action="red", probability=0.9)])
    assert not one.explain(made.id).replayed


def test_all_stays_as_it_was_while_nothing_at_all_can_be_loaded() -> None:
    clock, broken = [100.0], [False]

    def restore(name: str | None) -> Acting:
        if broken[0]:
            raise OSError("Too many open files")
        return acting(name)

    one = decider(restore=restore, now=lambda: clock[0])
    one.deployment.registry.add(version("v1"))
    promoted(one, "v1")
    assert one.decide(Request(CONTEXT)).version == "v1"
    broken[0] = True
    one.deployment.registry.record("shop", Event(3.0, "stopped", "baseline", "fire", {}))
    assert (one.decide(Request(CONTEXT)).version, one.live.problem) == ("v1", "Too many open files")
    assert one.choose([Request(CONTEXT)], wait=False)[0].version == "v1"
    broken[0] = False
    clock[0] += 60
    assert (one.decide(Request(CONTEXT)).version, one.live.problem) == ("baseline", None)


def test_a_probability_that_is_off_by_its_last_bit_does_not_replay() -> None:
    one = decider(exploration=0.3)
    for turn in (1.0, 0.0, 2.0):
        made = one.choose([Request(CONTEXT)])[0]
        logged = made.probability if turn == 1.0 else float(np.nextafter(made.probability, turn))
        one.deployment.log.append([made._replace(probability=logged)])
        assert one.explain(made.id).replayed == (turn == 1.0)


def test_decisions_of_other_domains_are_not_shown_and_take_no_feedback() -> None:
    one = decider()
    made = one.choose([Request(CONTEXT)])[0]
    one.deployment.log.append([made._replace(domain="other")])
    with pytest.raises(UnknownName):
        one.explain(made.id)
    with pytest.raises(UnknownName):
        one.hear([Said(made.id, "like")])


def test_explaining_an_unknown_decision_says_so() -> None:
    with pytest.raises(UnknownName, match=r"No decision '\.\./\.\./etc/passwd'"):
        decider().explain("../../etc/passwd")


def test_epsilon_greedy_is_logged_with_its_true_probability() -> None:
    table = np.array([[1.0, 3.0, 2.0]])
    policy = ByValue(lambda seen: table[np.zeros(len(seen), int)], partial(epsilon_greedy, epsilon=0.3))
    one = decider(restore=lambda name: acting(name)._replace(policy=policy))
    made = one.choose([Request(CONTEXT) for _ in range(3000)])
    share = np.mean([each.action == "blue" for each in made])
    assert abs(share - 0.8) < 4 * (0.8 * 0.2 / 3000) ** 0.5
    assert {round(each.probability, 12) for each in made} == {0.8, 0.1}
