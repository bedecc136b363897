"""The live loop without HTTP: decisions, retries, feedback."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest

from bondhu.errors import DuplicateId, InvalidInput, UnknownName
from bondhu.log.memory import MemoryLog
from bondhu.log.sqlite import SqliteLog
from bondhu.serve.decide import Request, Said
from bondhu.serve.ids import Ids
from bondhu.serve.recent import Recent
from tests.service.shop import CONTEXT, decider

HOUR = 3600.0


def values(decision: str) -> dict[str, Any]:
    return {"decision_id": decision, "signal": "like"}


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
    one = decider(exploration=0.5, now=lambda: 1.0)
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
    for early in (0.0, HOUR - 1, -30.0):
        assert one.hear([Said(Ids()(1, 1.7e9 - early)[0], "like")])[0].status == "waiting"
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
        recent.add([str(number)])
    kept = [number for number in range(10) if str(number) in recent]
    assert kept[-3:] == [7, 8, 9]
    assert len(kept) <= 6
