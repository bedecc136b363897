"""The live loop without HTTP: draws that belong to ids, retries, feedback, swaps of versions, the audit record."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete
from hypothesis import given
from hypothesis import strategies as st

from bondhu.domains import declared
from bondhu.errors import DuplicateId, InvalidInput, StateCorrupt, StoreError, UnknownName
from bondhu.log.memory import MemoryLog
from bondhu.log.sqlite import SqliteLog
from bondhu.policies.by_value import ByValue
from bondhu.policies.epsilon_greedy import epsilon_greedy
from bondhu.policies.greedy import greedy
from bondhu.registry.memory import MemoryRegistry
from bondhu.serve.decide import Decider, Recent, Request, Said
from bondhu.serve.ids import Draws, Ids, made_at
from bondhu.types import Acting, Deployment, Event, Version
from tests.service.shop import ACTIONS, CONTEXT, acting, decider, problem, shop, version

HOUR = 3600.0


def values(decision: str) -> dict[str, Any]:
    return {"decision_id": decision, "signal": "like"}


# ------------------------------------------------------------------------------------------------------------------ ids


def test_ids_are_version_7_ascend_and_carry_their_time() -> None:
    ids = Ids()
    made = [*ids(5000, 1.7e9), *ids(3, 1.7e9 - 5), *ids(2, 1.7e9 + 60)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in made} == {(7, uuid.RFC_4122)}
    assert made_at(made[0]) == 1.7e9
    assert made_at(made[-1]) == 1.7e9 + 60
    assert made_at(str(uuid.uuid4())) is None
    assert made_at("order-66") is None


def test_ids_made_in_many_threads_never_collide() -> None:
    ids, made = Ids(), []
    threads = [threading.Thread(target=lambda: made.extend(ids(1, 1.0)[0] for _ in range(500))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(made)) == 4000


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_the_number_of_an_id_does_not_depend_on_its_company(ids: list[str]) -> None:
    together = Draws("shop", ids).random(len(ids))
    assert together.tolist() == [float(Draws("shop", [each]).random(1)[0]) for each in ids]
    assert ((together >= 0) & (together < 1)).all()


def test_the_number_of_an_id_is_what_blake2b_gives() -> None:
    # blake2b(b"shop\0a", 8 bytes) = 2e03e40f66a0e0b2 would be a change of every logged draw: pinned once, for ever
    import hashlib

    bits = int.from_bytes(hashlib.blake2b(b"shop\0a", digest_size=8).digest()) >> 11
    assert float(Draws("shop", ["a"]).random(1)[0]) == bits / 2**53
    assert float(Draws("other", ["a"]).random(1)[0]) != bits / 2**53
    with pytest.raises(ValueError, match="one number belongs to each"):
        Draws("shop", ["a"]).random(2)


def test_draws_are_uniform_over_ids() -> None:
    drawn = Draws("shop", Ids()(20_000, 1.7e9)).random(20_000)
    counts = np.bincount((drawn * 20).astype(int), minlength=20)
    chi2 = ((counts - 1000) ** 2 / 1000).sum()
    assert chi2 < 50.8  # 19 degrees of freedom, p = 0.0001


# --------------------------------------------------------------------------------------------------------------- choose


def test_a_decision_holds_what_was_asked_and_what_was_done() -> None:
    made = decider().decide(Request(CONTEXT, user="ann", allowed=["green", "red"]))
    assert made.context == CONTEXT
    assert made.allowed == ("red", "green")  # in declared order
    assert made.action in made.allowed
    assert (made.user, made.session, made.version, made.variant) == ("ann", "ann", "baseline", "live")
    assert made.domain == "shop"


def test_the_session_is_the_user_or_else_the_decision_itself() -> None:
    one = decider()
    alone = one.decide(Request(CONTEXT))
    assert alone.session == alone.id
    assert one.decide(Request(CONTEXT, user="ann", session="visit-1")).session == "visit-1"


def test_probability_is_that_of_the_policy_with_the_floor() -> None:
    made = decider(exploration=0.3).choose([Request(CONTEXT) for _ in range(300)])
    # greedy on (1, 3, 2): blue 0.7 + 0.3 / 3, the others 0.3 / 3
    assert {(each.action, round(each.probability, 12)) for each in made} == {
        ("blue", 0.8),
        ("red", 0.1),
        ("green", 0.1),
    }
    assert all(each.memo == (0.3,) for each in made)


def test_one_and_many_decide_the_same_under_the_same_id() -> None:
    one = decider(exploration=0.5)
    many = one.choose([Request({**CONTEXT, "age": number}, id=f"d{number}") for number in range(50)])
    alone = [one.choose([Request({**CONTEXT, "age": number}, id=f"d{number}")])[0] for number in range(50)]
    assert many == alone


def test_nothing_is_stored_by_choosing() -> None:
    one = decider()
    made = one.choose([Request(CONTEXT)])[0]
    assert one.deployment.log.find(made.id) is None


def test_deciding_nothing_gives_nothing() -> None:
    assert decider().decide_many([]) == []


@pytest.mark.parametrize(
    ("request_", "error", "field", "fix"),
    [
        (Request({**CONTEXT, "mood": "hapy"}), InvalidInput, "mood", "happy"),
        (Request({**CONTEXT, "age": 130}), InvalidInput, "age", "100"),
        (Request({**CONTEXT, "age": float("nan")}), InvalidInput, "age", "0"),
        (Request({"age": 3}), InvalidInput, "mood", "mood"),
        (Request(CONTEXT, allowed=["gren"]), UnknownName, "allowed", "'green'"),
        (Request(CONTEXT, allowed=[]), InvalidInput, "allowed", "at least one"),
        (Request(CONTEXT, id=""), InvalidInput, "id", "128"),
        (Request(CONTEXT, id="x" * 129), InvalidInput, "id", "128"),
        (Request(CONTEXT, id="a\nb"), InvalidInput, "id", "printable"),
        (Request(CONTEXT, user="\ud800"), InvalidInput, "user", "printable"),
        (Request(CONTEXT, session="\0"), InvalidInput, "session", "printable"),
    ],
)
def test_a_bad_request_is_refused_with_the_field_and_the_fix(
    request_: Request, error: type[InvalidInput], field: str, fix: str
) -> None:
    one = decider()
    with pytest.raises(error) as caught:
        one.decide(request_)
    assert type(caught.value) is error
    assert caught.value.field == field
    assert fix in caught.value.fix
    assert len(one.deployment.log.read("shop", 0, 1e12).id) == 0


def test_one_bad_request_of_many_is_named_and_nothing_is_stored() -> None:
    one = decider()
    with pytest.raises(InvalidInput, match="Request 1: ") as caught:
        one.decide_many([Request(CONTEXT), Request({**CONTEXT, "mood": "hapy"}), Request(CONTEXT)])
    assert caught.value.field == "requests[1].context.mood"
    assert len(one.deployment.log.read("shop", 0, 1e12).id) == 0


# -------------------------------------------------------------------------------------------------------------- retries


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_retry_returns_the_decision_made_first(store: str, tmp_path: Any) -> None:
    clock = iter(range(1000, 2000))
    log = MemoryLog() if store == "memory" else SqliteLog(tmp_path / "log.sqlite")
    one = decider(log=log, exploration=0.9, now=lambda: float(next(clock)))
    first = one.decide(Request(CONTEXT, id="order-1", user="ann"))
    again = one.decide(Request(dict(reversed(CONTEXT.items())), id="order-1", user="ann"))
    assert again == first
    assert one.decide_many([Request(CONTEXT, id="order-1", user="ann"), Request(CONTEXT, id="order-2")])[0] == first
    assert len(log.read("shop", 0, 1e12).id) == 2


@pytest.mark.parametrize(
    "other", [Request({**CONTEXT, "age": 31}), Request(CONTEXT, user="bob"), Request(CONTEXT, allowed=["red"])]
)
def test_an_id_cannot_be_used_for_another_request(other: Request) -> None:
    one = decider()
    one.decide(Request(CONTEXT, id="order-1"))
    with pytest.raises(DuplicateId) as caught:
        one.decide(Request(other.context, id="order-1", user=other.user, session="order-1", allowed=other.allowed))
    assert caught.value.value == "order-1"


def test_an_id_twice_in_one_call_is_one_decision_or_an_error() -> None:
    one = decider(now=lambda: 5.0)
    same = one.decide_many([Request(CONTEXT, id="a"), Request(CONTEXT, id="a")])
    assert same[0] == same[1]
    with pytest.raises(DuplicateId):
        one.decide_many([Request(CONTEXT, id="b"), Request({**CONTEXT, "age": 2}, id="b")])
    assert one.deployment.log.find("b") is None


# ------------------------------------------------------------------------------------------------------------- feedback


def test_feedback_is_stored_under_its_decision() -> None:
    one = decider(now=lambda: 7.0)
    made = one.decide(Request(CONTEXT))
    heard = one.hear([Said(made.id, "like"), Said(made.id, "watched", 0.25, id="w1")])
    assert [each.status for each in heard] == ["stored", "stored"]
    stored = one.deployment.log.find(made.id)
    assert stored is not None
    assert [(each.id, each.signal, each.value, each.time) for each in stored[1]] == [
        (heard[0].id, "like", 1.0, 7.0),
        ("w1", "watched", 0.25, 7.0),
    ]


def test_feedback_may_come_an_hour_before_its_decision_but_not_later() -> None:
    one = decider(now=lambda: 1.7e9)
    ids = Ids()
    for early in (0.0, HOUR - 1, -30.0):
        assert (
            one.hear([Said(ids(1, 1.7e9 - early)[0] if early >= 0 else Ids()(1, 1.7e9 + 30)[0], "like")])[0].status
            == "waiting"
        )
    for unknown in (Ids()(1, 1.7e9 - HOUR - 1)[0], Ids()(1, 1.7e9 + 90)[0], "order-1", str(uuid.uuid4())):
        with pytest.raises(UnknownName, match="No decision") as caught:
            one.hear([Said(unknown, "like", id="never")])
        assert caught.value.value == unknown


def test_waiting_feedback_is_there_when_its_decision_comes() -> None:
    one = decider(now=lambda: 1.7e9)
    early = Ids()(1, 1.7e9)[0]
    assert one.hear([Said(early, "like", id="f1")])[0].status == "waiting"
    one.decide(Request(CONTEXT, id=early))
    assert [each["id"] for each in one.explain(early).feedback] == ["f1"]
    assert one.hear([Said(early, "like", id="f2")])[0].status == "stored"


@pytest.mark.parametrize(
    ("said", "field", "fix"),
    [
        ({"signal": "lik"}, "signal", "'like'"),
        ({"value": 1.5}, "value", "0 to 1"),
        ({"value": float("nan")}, "value", "0 to 1"),
        ({"value": float("inf")}, "value", "0 to 1"),
        ({"value": 10**400}, "value", "0 to 1"),
        ({"value": True}, "value", "number"),
        ({"value": "1"}, "value", "number"),
        ({"value": None}, "replaces", "Name the id"),
        ({"id": "a\tb"}, "id", "printable"),
        ({"signal": "session_end", "value": 2.0}, "value", "0 to 1"),
    ],
)
def test_bad_feedback_is_refused_with_the_field_and_the_fix(said: dict[str, Any], field: str, fix: str) -> None:
    one = decider()
    made = one.decide(Request(CONTEXT))
    with pytest.raises(InvalidInput) as caught:
        one.hear([Said(made.id, "like"), Said(**{**values(made.id), **said})])
    assert caught.value.field == field
    assert fix in caught.value.fix
    assert one.explain(made.id).feedback == []  # not even the good one: all of it or nothing


@pytest.mark.parametrize("signal", ["session_end", "session_cut"])
def test_every_domain_hears_how_a_session_stopped(signal: str) -> None:
    one = decider()
    assert one.hear([Said(one.decide(Request(CONTEXT)).id, signal)])[0].status == "stored"


def test_feedback_can_be_revised_and_taken_back() -> None:
    one = decider()
    made = one.decide(Request(CONTEXT, id="d"))
    one.hear([Said("d", "watched", 0.2, id="w1"), Said("d", "watched", 0.9, id="w2", replaces="w1")])
    assert one.deployment.log.read("shop", 0, 1e12).feedback_value.tolist() == [0.9]
    one.hear([Said("d", "watched", None, replaces="w2")])
    assert one.deployment.log.read("shop", 0, 1e12).feedback_value.tolist() == []
    assert len(one.explain(made.id).feedback) == 3  # the audit record keeps what was said


@pytest.mark.parametrize("waiting", [False, True])
def test_feedback_retried_with_its_id_is_stored_once(waiting: bool) -> None:
    clock = iter(np.arange(1.7e9, 1.7e9 + 100))
    one = decider(now=lambda: float(next(clock)))
    decision = Ids()(1, 1.7e9)[0] if waiting else one.decide(Request(CONTEXT)).id
    first = one.hear([Said(decision, "like", id="f1")])
    assert one.hear([Said(decision, "like", id="f1")]) == first
    with pytest.raises(DuplicateId) as caught:
        one.hear([Said(decision, "watched", 0.5, id="f2"), Said(decision, "like", 0.5, id="f1")])
    assert caught.value.value == "f1"
    one.decide(Request(CONTEXT, id=decision)) if waiting else None
    assert [each["id"] for each in one.explain(decision).feedback] == ["f1"]


def test_recent_ids_are_forgotten_by_age_not_kept_for_ever() -> None:
    recent = Recent(3)
    for number in range(10):
        recent.add([(str(number), number)])
    kept = [number for number in range(10) if str(number) in recent]
    assert kept[-3:] == [7, 8, 9]
    assert len(kept) <= 6
    assert recent.get("9") == 9
    assert recent.get("0") is None


# ------------------------------------------------------------------------------------------------------------- versions


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
    assert audit.replayed
    assert audit.explored == (made.action == "red")
    assert made.action in audit.why
    assert audit.decision["context"] == CONTEXT


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


def test_decisions_of_other_domains_are_not_shown_and_take_no_feedback() -> None:
    one = decider()
    made = one.choose([Request(CONTEXT)])[0]
    one.deployment.log.append([made._replace(domain="other")])
    with pytest.raises(UnknownName):
        one.explain(made.id)
    with pytest.raises(UnknownName):
        one.hear([Said(made.id, "like")])


def test_explaining_an_unknown_decision_says_so() -> None:
    with pytest.raises(UnknownName, match="No decision '../../etc/passwd'"):
        decider().explain("../../etc/passwd")


def test_epsilon_greedy_is_logged_with_its_true_probability() -> None:
    table = np.array([[1.0, 3.0, 2.0]])
    policy = ByValue(lambda seen: table[np.zeros(len(seen), int)], partial(epsilon_greedy, epsilon=0.3))
    one = decider(restore=lambda name: acting(name)._replace(policy=policy))
    made = one.choose([Request(CONTEXT) for _ in range(3000)])
    share = np.mean([each.action == "blue" for each in made])
    assert abs(share - 0.8) < 4 * (0.8 * 0.2 / 3000) ** 0.5
    assert {round(each.probability, 12) for each in made} == {0.8, 0.1}


def test_the_test_shop_is_what_the_tests_say() -> None:
    domain = declared.from_table(problem())
    assert domain.actions == ACTIONS
    assert isinstance(Deployment(domain, MemoryLog(), MemoryRegistry()).domain.name, str)
    assert isinstance(version("v"), Version)
    assert greedy(np.array([[1.0, 3.0, 2.0]]), np.ones((1, 3), bool)).tolist() == [[0, 1, 0]]
