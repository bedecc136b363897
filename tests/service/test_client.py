"""The client against a real server: what is asked, what comes back, and every way a call can go wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from bondhu.errors import BondhuError, InvalidInput, StoreError
from bondhu.serve.client import Client
from bondhu.serve.decide import Decider
from bondhu.serve.http import create_app
from bondhu.serve.messages import LARGEST_BATCH, Request, Said
from tests.service.shop import CONTEXT, decider
from tests.service.test_server import Server
from tests.service.web import KEY, Desk


@pytest.fixture(scope="module")
def one() -> Decider:
    return decider(exploration=0.3)


@pytest.fixture(scope="module")
def address(one: Decider) -> Iterator[str]:
    with Server(create_app(one, operations=Desk(), admin_key=KEY)) as url:
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
    assert client._connection.sock is not None
    client._connection.sock.shutdown(socket.SHUT_RDWR)
    assert client.decide(Request(CONTEXT, id="before")) == first


def test_nobody_at_the_address_is_one_error() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with pytest.raises(StoreError, match=rf"127\.0\.0\.1:{port} does not answer: .*refused.*`bondhu serve`"):
        Client(f"http://127.0.0.1:{port}").decide(Request(CONTEXT))


def test_somebody_who_never_answers_is_one_error_and_the_client_can_go_on() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        for _ in range(2):
            with pytest.raises(StoreError, match="does not answer: timed out"):
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
            Client(f"http://127.0.0.1:{other.getsockname()[1]}") as client,
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
