"""The client against a real server: what is asked, what comes back, and every way a call can go wrong."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from bondhu.app import open_app
from bondhu.client import AsyncClient, Client, Retry, baseline_of, otherwise
from bondhu.client.local import Local
from bondhu.client.retrying import Reply, exchange
from bondhu.errors import BondhuError, InvalidInput, StoreError
from bondhu.serve.decide import Decider
from bondhu.serve.messages import LARGEST_BATCH, Request, Said
from bondhu.settings import load
from tests.service.shop import CONTEXT, decider
from tests.service.test_server import Server
from tests.service.web import application


@pytest.fixture(scope="module")
def one() -> Decider:
    return decider(exploration=0.3)


@pytest.fixture(scope="module")
def address(one: Decider) -> Iterator[str]:
    with Server(application(one)) as url:
        yield url


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def test_a_decision_and_its_feedback_are_logged(client: Client, one: Decider) -> None:
    answer = client.decide(Request(CONTEXT, id="mine", user="ann"))
    assert (answer.id, answer.version) == ("mine", "baseline")
    assert client.decide(Request(CONTEXT, id="mine", user="ann")) == answer
    assert client.say(Said("mine", "like", id="said")).status == "stored"
    found = one.deployment.log.find("mine")
    assert found is not None
    decision, feedback = found
    assert (decision.action, decision.probability, decision.user) == (answer.action, answer.probability, "ann")
    assert [(each.id, each.signal, each.value) for each in feedback] == [("said", "like", 1.0)]


def test_more_than_a_call_takes_goes_in_several(client: Client, one: Decider) -> None:
    count = LARGEST_BATCH + 7
    answers = client.decide_many([Request(CONTEXT, id=f"many-{number}") for number in range(count)])
    assert [answer.id for answer in answers] == [f"many-{number}" for number in range(count)]
    heard = client.say_many([Said(answer.id, "watched", 0.5) for answer in answers])
    assert {each.status for each in heard} == {"stored"}
    assert len(heard) == count
    found = one.deployment.log.find(f"many-{count - 1}")
    assert found is not None
    assert [each.value for each in found[1]] == [0.5]
    assert client.decide_many([]) == []
    assert client.say_many([]) == []


def test_one_refused_feedback_of_many_says_why(client: Client) -> None:
    answer = client.decide(Request(CONTEXT))
    heard = client.say_many([Said(answer.id, "like"), Said(answer.id, "lik"), Said("nobody", "like")])
    assert [each.status for each in heard] == ["stored", "refused", "refused"]
    assert heard[1].error is not None
    assert "Did you mean 'like'?" in str(heard[1].error)


def test_what_the_server_refuses_is_raised_with_field_value_and_fix(client: Client) -> None:
    with pytest.raises(InvalidInput, match="'mood' got 'hapy'") as caught:
        client.decide(Request({**CONTEXT, "mood": "hapy"}))
    assert (caught.value.field, caught.value.value, caught.value.fix) == ("mood", "hapy", "Did you mean 'happy'?")
    with pytest.raises(InvalidInput, match="No decision 'nobody'"):
        client.say(Said("nobody", "like"))
    assert client.decide(Request(CONTEXT)).action  # the connection goes on


def test_a_connection_the_server_has_closed_is_opened_again(client: Client) -> None:
    first = client.decide(Request(CONTEXT, id="before"))
    for connection in client._http._transport._pool.connections:  # type: ignore[attr-defined]  # as if it had been idle
        connection._connection._network_stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    assert client.decide(Request(CONTEXT, id="before")) == first


def test_nobody_at_the_address_is_one_error() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with pytest.raises(StoreError, match=rf"127\.0\.0\.1:{port} does not answer: .*refused.*`bondhu serve`"):
        Client(f"http://127.0.0.1:{port}").decide(Request(CONTEXT))


def test_somebody_who_never_answers_is_one_error_and_the_client_can_go_on() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05, retry=Retry(2))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"does not answer: .*timed out"):
                client.decide(Request(CONTEXT))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 12\r\n\r\n<html></html",
        b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"id": 1234',
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
def test_an_answer_that_is_not_bondhus_is_one_error(answer: bytes) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:

        def reply() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with (
            Client(f"http://127.0.0.1:{other.getsockname()[1]}", retry=Retry(1)) as client,
            pytest.raises(StoreError, match=r"answered (200|502) with something else.*Bondhu's"),
        ):
            client.decide(Request(CONTEXT))
        thread.join()


def test_an_address_may_have_a_path_in_front() -> None:
    asked: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as proxy:

        def reply() -> None:
            connection, _ = proxy.accept()
            with connection:
                asked.append(connection.recv(65_536).split(b"\r\n")[0])
                body = b'{"id":"a","action":"red","probability":1.0,"version":"v"}'
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

        thread = threading.Thread(target=reply)
        thread.start()
        with Client(f"http://127.0.0.1:{proxy.getsockname()[1]}/bondhu/") as client:
            answer = client.decide(Request(CONTEXT))
        thread.join()
    assert asked == [b"POST /bondhu/v1/decide HTTP/1.1"]
    assert (answer.id, answer.action) == ("a", "red")


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://localhost", "http://", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BondhuError, match="Such as http://localhost:8000"):
        Client(address)


# ------------------------------------------------------------------------------------------------------------- retrying


def driven(retry: Retry, outcomes: list[Reply | OSError], draw: float = 1.0) -> tuple[list[float], Reply | OSError]:
    """The pauses that are made, and what it ends with."""
    steps, pauses = exchange(retry, lambda: draw), []
    step = next(steps)
    try:
        while True:
            if step is None:
                step = steps.send(outcomes.pop(0))
            else:
                pauses.append(step)
                step = next(steps)
    except StopIteration as last:
        return pauses, last.value


def test_pauses_double_up_to_the_longest_and_are_drawn_below() -> None:
    gone: list[Reply | OSError] = [ConnectionError("refused")] * 5
    retry = Retry(attempts=5, first=0.1, longest=0.5)
    assert driven(retry, gone[:])[0] == pytest.approx([0.1, 0.2, 0.4, 0.5])
    assert driven(retry, gone[:], draw=0.5)[0] == pytest.approx([0.05, 0.1, 0.2, 0.25])
    assert driven(retry, gone[:], draw=0.0)[0] == [0.0] * 4


def test_what_the_server_asks_for_is_waited_for_and_what_cannot_help_is_not_repeated() -> None:
    busy, fine, wrong = Reply(503, b"", "1"), Reply(200, b"{}"), Reply(422, b"{}")
    assert driven(Retry(), [busy, fine], draw=0.0) == ([1.0], fine)
    assert driven(Retry(), [Reply(429, b"", "3600"), fine]) == ([2.0], fine)
    assert driven(Retry(), [wrong]) == ([], wrong)
    assert driven(Retry(attempts=2), [busy, busy]) == ([1.0], busy)


def test_a_retry_is_the_same_decision(address: str, one: Decider) -> None:
    """The first answer is lost on its way: the client asks again and gets the decision that was logged."""
    before = one.deployment.log.summary("shop").decisions
    lost = [True]

    class Losing(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            if lost.pop() if lost else False:
                response.read()
                raise httpx.ReadError("connection reset")
            return response

    with Client(address, transport=Losing()) as client:
        answer = client.decide(Request(CONTEXT))
        assert client.say(Said(answer.id, "like")).status == "stored"
    assert one.deployment.log.summary("shop").decisions == before + 1
    assert one.deployment.log.find(answer.id) is not None


# ------------------------------------------------------------------------------------------------------------- fallback


def nobody() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_while_the_service_is_away_the_application_decides_by_itself() -> None:
    with Client(nobody(), retry=Retry(2, first=0.001), fallback=otherwise("red")) as client:
        answer = client.decide(Request(CONTEXT))
        assert (answer.action, answer.probability, answer.version) == ("red", 1.0, "fallback")
        assert client.say(Said(answer.id, "like")).status == "unheard"
        assert [each.action for each in client.decide_many([Request(CONTEXT)] * 3)] == ["red"] * 3


def test_the_fallback_does_not_hide_mistakes(address: str) -> None:
    with Client(address, fallback=otherwise("red")) as client, pytest.raises(InvalidInput, match="'mood' got 'hapy'"):
        client.decide(Request({**CONTEXT, "mood": "hapy"}))


def test_the_fallback_can_be_the_rule_of_a_declaration(tmp_path: Path) -> None:
    declared = '[domain]\nname = "shop"\n[context.mood]\nkind = "category"\nvalues = ["happy", "sad"]\n'
    rule = '[[baseline.rules]]\nwhen = { mood = "sad" }\nset = { action = "blue" }\n'
    actions = '[actions]\naction = ["red", "blue"]\n[reward.signals]\nlike = 1.0\n[baseline]\ndefault = "red"\n'
    (tmp_path / "bondhu.toml").write_text(f"{declared}{actions}{rule}", encoding="utf-8")
    with Client(nobody(), retry=Retry(1), fallback=baseline_of(tmp_path)) as client:
        assert client.decide(Request({"mood": "sad"})).action == "blue"
        assert client.decide(Request({"mood": "happy"})).action == "red"
    with Local(open_app(load(tmp_path))) as local:
        assert local.decide(Request({"mood": "sad"})).action == "blue"


# ---------------------------------------------------------------------------------------------- event loops, in process


def test_calls_of_one_turn_travel_together_and_each_gets_its_own_answer(address: str) -> None:
    async def main() -> None:
        sent: list[str] = []

        async def noted(request: httpx.Request) -> None:
            sent.append(request.url.path)

        async with AsyncClient(address, event_hooks={"request": [noted]}) as client:
            asked = [client.decide(Request(CONTEXT, id=f"turn-{number}")) for number in range(50)]
            answers = await asyncio.gather(*asked)
            assert [each.id for each in answers] == [f"turn-{number}" for number in range(50)]
            assert sent == ["/v1/decide/batch"]
            bad = client.decide(Request({**CONTEXT, "mood": "hapy"}))
            outcomes = await asyncio.gather(client.decide(Request(CONTEXT, id="good")), bad, return_exceptions=True)
            assert isinstance(outcomes[1], InvalidInput)
            assert not isinstance(outcomes[0], BaseException)
            assert outcomes[0].id == "good"
            heard = await client.say_many([Said(each.id, "like") for each in answers])
            assert {each.status for each in heard} == {"stored"}
            assert (await client.say(Said("good", "like"))).status == "stored"

    asyncio.run(main())


def test_the_same_calls_work_in_process(tmp_path: Path) -> None:
    declared = '[domain]\nname = "shop"\n[context.mood]\nkind = "category"\nvalues = ["happy", "sad"]\n'
    (tmp_path / "bondhu.toml").write_text(
        f'{declared}[actions]\nnames = ["red", "blue"]\n[reward.signals]\nlike = 1.0\n', encoding="utf-8"
    )
    with Local(open_app(load(tmp_path))) as local:
        answers = local.decide_many([Request({"mood": "sad"}, id="a"), Request({"mood": "sad"}, id="b")])
        assert [each.id for each in answers] == ["a", "b"]
        assert local.decide(Request({"mood": "sad"}, id="a")) == answers[0]
        heard = local.say_many([Said("a", "like"), Said("a", "lik"), Said("nobody", "like")])
        assert [each.status for each in heard] == ["stored", "refused", "refused"]
        assert local.say(Said("b", "like")).status == "stored"
