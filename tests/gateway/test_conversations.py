"""What was before: turns, their worth, whether a user asks again, and whose feedback counts."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bondhu.serve.gateway.history import History, newest, whose_of
from bondhu.serve.gateway.messages import read
from bondhu.types import Decision
from tests.gateway.place import HELLO, LONG, Served, folder, served
from tests.gateway.scripted import Model, either, hangs_up, model, whole

FIRST = "How do I sort a list of numbers in Python?"
AGAIN = "How can I sort a list of numbers in Python??"
OTHER = "Thank you. Now write a poem about the sea."
CONTEXT = """
user_turns = { kind = "number", range = [0, 100] }
user_reward = { kind = "number", range = [-5, 5] }
feedback = { kind = "category", values = ["none", "good", "bad"] }
"""


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


@pytest.fixture(scope="module")
def one(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(folder(tmp_path_factory.mktemp("talk"), {"local": tiny}, context=CONTEXT)) as made:
        yield made


def said(*texts: str) -> list[dict[str, str]]:
    """A conversation: the user, the assistant, the user…"""
    return [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]


def asked(one: Served, messages: Any, **more: Any) -> Decision:
    headers = more.pop("headers", {})
    status, _, body = one.ask({"model": "b", "messages": messages, **more}, **headers)
    assert status == 200, body
    return one.facts(body["id"])[0]


def feedback(one: Served, body: Any, path: str = "/v1/feedback") -> tuple[int, Any]:
    status, _, content = one.post(path, body)
    return status, json.loads(content)


def test_a_question_asked_again_is_a_complaint_about_the_answer(one: Served, tiny: Model) -> None:
    tiny.plays(either())
    first = asked(one, said(FIRST), user="ann")
    second = asked(one, said(FIRST, "Hello.", AGAIN), user="ann")
    assert (first.session, first.context["retry"]) == (second.session, "no")
    assert second.context["retry"] == "yes"
    assert one.facts(first.id)[1]["retry"] == 1.0
    third = asked(one, said(FIRST, "Hello.", AGAIN, "Hello.", OTHER), user="ann")
    assert third.context["retry"] == "no"
    assert "retry" not in one.facts(second.id)[1]


def test_the_result_of_a_tool_is_no_complaint(one: Served, tiny: Model) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    used = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "sun"}]
    tiny.plays(whole(None, tool_calls=[call]))
    first = asked(one, said(FIRST), user="tess")
    second = asked(one, said(FIRST) + used, user="tess")
    third = asked(one, said(FIRST) + used * 2, user="tess")
    assert [each.context["retry"] for each in (first, second, third)] == ["no"] * 3
    assert "retry" not in one.facts(first.id)[1] | one.facts(second.id)[1]
    again = [*said(FIRST), *used, *said(AGAIN), *used]  # the application did what the model asked for
    fourth = asked(one, again, user="tess")
    assert fourth.context["retry"] == "yes"
    assert one.facts(third.id)[1]["retry"] == 1.0


def test_many_who_ask_again_at_once_complain_once(one: Served, tiny: Model) -> None:
    tiny.plays(either())
    first = asked(one, said(FIRST), user="cora")
    tiny.plays(tiny.held(told_nothing, either()))
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(asked, one, said(FIRST, "Hello.", AGAIN), user="cora") for _ in range(4)]
        for _ in asking:
            assert tiny.reached.acquire(timeout=LONG)  # all of them are decided on, none is answered
        tiny.hold.set()
        again = [each.result() for each in asking]
    assert [each.context["retry"] for each in again] == ["yes"] * 4
    found = one.app.log.find(first.id)
    assert found is not None
    assert [each.id for each in found[1] if each.signal == "retry"] == [f"retry-{first.id}"]


async def told_nothing(_: dict[str, Any], __: Any) -> None:
    """The first of an answer that is held."""


def test_turns_and_their_worth_are_known_and_survive_a_restart(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(either())
    path = folder(tmp_path, {"local": tiny}, context=CONTEXT)
    with served(path) as one:
        first = asked(one, said(FIRST), user="ann", headers={"x_bondhu_session": "s1"})
        assert (first.session, first.context["user_turns"], first.context["feedback"]) == ("s1", 0.0, "none")
        like = {"decision_id": f"chatcmpl-{first.id}", "signal": "like", "user": "ann"}
        assert feedback(one, like) == (
            200,
            {"id": one.app.log.find(first.id)[1][-1].id, "decision_id": first.id, "status": "stored"},
        )  # type: ignore[index]
        second = asked(one, said(OTHER), user="ann", headers={"x_bondhu_session": "s1"})
        assert (second.context["user_turns"], second.context["user_reward"]) == (1.0, 1.0)
        assert second.context["feedback"] == "good"
    with served(path) as one:
        third = asked(one, said("And now?"), user="ann", headers={"x_bondhu_session": "s1"})
        assert (third.context["user_turns"], third.context["user_reward"]) == (2.0, 0.5)
        assert third.context["feedback"] == "none"


def test_conversations_that_begin_alike_are_not_one(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(either())
    path = folder(tmp_path, {"local": tiny}, context=CONTEXT)
    with served(path) as one:
        first, on = asked(one, said(FIRST), user="ann"), asked(one, said(FIRST, "Hello.", OTHER), user="ann")
        second = asked(one, said(FIRST), user="ann")
        assert first.session == on.session != second.session
        assert (second.context["retry"], second.context["user_turns"]) == ("no", 2.0)
        assert "retry" not in one.facts(on.id)[1]
    with served(path) as one:  # any process finds the newest of them
        assert asked(one, said(FIRST, "Hello.", OTHER), user="ann").session == second.session
        more = [asked(one, said(FIRST), user="ann").session for _ in range(4)]
        assert asked(one, said(FIRST, "Hello.", AGAIN), user="ann").session == more[-1]
        assert len({first.session, second.session, *more}) == 6
        assert asked(one, said(FIRST), user="eve").session not in more
        history = History(one.app.stores.transcripts, one.app.log, one.app.domain)
        body = read(json.dumps({"messages": said(FIRST, "Hello.", OTHER), "user": "ann"}).encode(), [])
        whose = whose_of(body, time.time(), b"", None)
        assert history.before(whose).session == more[-1]
        after = history.before(whose._replace(now=whose.now + one.app.domain.idle + 1.0))
        assert after.session not in (first.session, second.session, *more)


def test_the_newest_is_found_among_many() -> None:
    for count in range(70):
        assert newest(lambda number, count=count: number <= count) == count  # type: ignore[misc]  # bound at once


def test_the_session_of_somebody_else_tells_nothing(one: Served, tiny: Model) -> None:
    tiny.plays(either())
    first = asked(one, said(FIRST), user="ann", headers={"x_bondhu_session": "shared"})
    second = asked(one, said(FIRST), user="eve", headers={"x_bondhu_session": "shared"})
    assert (second.context["retry"], second.context["user_turns"]) == ("no", 0.0)
    assert "retry" not in one.facts(first.id)[1]
    third = asked(one, said(FIRST, "Hello.", AGAIN), user="ann", headers={"x_bondhu_session": "shared"})
    assert third.context["retry"] == "yes"  # nor does it stand between hers
    assert one.facts(first.id)[1]["retry"] == 1.0


def test_strangers_who_say_the_same_are_not_one(one: Served, tiny: Model) -> None:
    tiny.plays(either())
    first, second = asked(one, said(FIRST)), asked(one, said(FIRST))
    assert (first.session, second.session) == (first.id, second.id)
    assert "retry" not in one.facts(first.id)[1]


def test_to_ask_again_what_was_not_answered_is_no_complaint(one: Served, tiny: Model) -> None:
    tiny.plays(hangs_up)
    status, headers, _ = one.ask({"messages": said(FIRST), "user": "tom"})
    assert status == 502
    tiny.plays(either())
    second = asked(one, said(FIRST), user="tom")
    assert second.context["retry"] == "no"
    assert "retry" not in one.facts(headers["x-bondhu-decision"])[1]


def test_feedback_on_somebody_elses_decision_is_refused(one: Served, tiny: Model) -> None:
    tiny.plays(whole())
    mine = asked(one, said(FIRST), user="ann")
    nobodys = asked(one, said(FIRST))
    like = {"signal": "like"}
    for identity in (mine.id, f"chatcmpl-{mine.id}"):
        status, body = feedback(one, {**like, "decision_id": identity, "user": "eve"})
        assert (status, body["code"]) == (403, "not_allowed")
        status, body = feedback(one, {**like, "decision_id": identity})
        assert (status, body["field"]) == (422, "user")
    assert "like" not in one.facts(mine.id)[1]
    for identity in (mine.id, f"chatcmpl-{mine.id}"):
        assert feedback(one, {**like, "decision_id": identity, "user": "ann"})[0] == 200
    assert feedback(one, {**like, "decision_id": nobodys.id})[0] == 200
    assert feedback(one, {**like, "decision_id": nobodys.id, "user": "eve"})[0] == 403
    made_up = "01a2030f-8b24-7000-898c-88f0b1c00be3"
    assert feedback(one, {**like, "decision_id": f"chatcmpl-{made_up}", "user": "ann"})[0] == 404
    many = [{**like, "decision_id": mine.id, "user": who} for who in ("ann", "eve")]
    _, body = feedback(one, {"feedback": many}, "/v1/feedback/batch")
    assert [each["status"] for each in body["results"]] == ["stored", "refused"]


def test_why_an_answer_was_given_is_asked_by_its_own_id(one: Served, tiny: Model) -> None:
    tiny.plays(whole())
    identity = one.ask(HELLO)[2]["id"]
    status, _, content = one.post(f"/v1/decisions/{identity}", None)
    assert status == 200
    assert json.loads(content)["decision"]["id"] == identity.removeprefix("chatcmpl-")


def test_whoever_is_erased_is_not_remembered(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(either())
    more = '[server]\nadmin_key = "a-long-and-secret-key"\n'
    with served(folder(tmp_path, {"local": tiny}, context=CONTEXT, more=more)) as one:
        first = asked(one, said(FIRST), user="ann")
        asked(one, said(FIRST, "Hello.", OTHER), user="ann")
        assert asked(one, said("Something new."), user="ann").context["user_turns"] == 1.0
        connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=LONG)
        connection.request("DELETE", "/v1/users/ann", headers={"X-Admin-Key": "a-long-and-secret-key"})
        assert connection.getresponse().status == 200
        connection.close()
        assert one.app.log.find(first.id) is None
        assert one.app.stores.transcripts.transcripts([first.id]) == []
        assert asked(one, said("And now?"), user="ann").context["user_turns"] == 0.0
