"""The gateway with its log in PostgreSQL, as an operator starts it: what clients ask and say is in the tables."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from bondhu.app import App, open_app
from bondhu.client import Client, Said
from bondhu.settings import load
from tests.gateway.place import LONG, folder, stored
from tests.gateway.scripted import Model, model, stream, streamed, told, whole
from tests.gateway.test_killed import MANY, Clients
from tests.service.postgres import Cluster, address, cluster, own_cluster  # noqa: F401  fixtures
from tests.service.serving import Service, eventually, serving

ASKED: Any = [{"role": "user", "content": "Write to ann@example.org: what is a list?"}]


@pytest.fixture
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


def settled(path: Path, tiny: Model, address: str, more: str = "") -> Path:  # noqa: F811
    return folder(path, {"local": tiny}, more=f'[store]\nlog = "{address}"\n{more}')


def asking(service: Service) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{service.port}/v1", api_key="any", max_retries=0, timeout=LONG)


@contextmanager
def opened(path: Path) -> Iterator[App]:
    """The deployment of a folder, seen from another process."""
    app = open_app(load(path))
    with closing(app.stores):
        yield app


def rows_of(cluster: Cluster, address: str, query: str) -> list[tuple[Any, ...]]:  # noqa: F811
    return cluster.fetch(query, database=address.rpartition("/")[2])


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_what_was_asked_answered_and_said_is_in_the_tables(
    tiny: Model,
    cluster: Cluster,  # noqa: F811
    address: str,  # noqa: F811
    tmp_path: Path,
    options: tuple[str, ...],
) -> None:
    path = settled(tmp_path, tiny, address)
    with (
        serving(path, *options) as service,
        asking(service) as client,
        Client(f"http://127.0.0.1:{service.port}") as own,
    ):
        tiny.plays(whole("A sequence."))
        answer = client.chat.completions.create(model="b", messages=ASKED, user="ann")
        assert own.say(Said(answer.id, "like", user="ann")).status == "stored"
        tiny.plays(streamed("A ", "row."))
        asked = [*ASKED, {"role": "assistant", "content": "A sequence."}, *ASKED]
        again = list(client.chat.completions.create(model="b", messages=asked, user="ann", stream=True))
        assert "".join(each.choices[0].delta.content or "" for each in again) == "A row."
        with opened(path) as app:
            decision, said, kept = stored(app, answer.id)
            other, _, second = stored(app, again[0].id)
    assert (decision.user, decision.action, decision.context["topic"]) == ("ann", "plain/small", "other")
    assert (said["like"], said["tokens_in"], said["tokens_out"]) == (1.0, 11.0, 7.0)
    assert said["retry"] == 1.0  # the same was asked once more
    assert (other.session, other.context["retry"]) == (decision.session, "yes")
    assert kept is not None
    assert kept.body["messages"][0]["content"] == "Write to <email>: what is a list?"
    assert kept.body["answer"] == {"role": "assistant", "content": "A sequence."}
    assert second is not None
    assert second.body["before"]["turns"] == 1
    found = rows_of(cluster, address, "SELECT id FROM decision ORDER BY seq")
    assert found == [(decision.id,), (other.id,)]
    assert rows_of(cluster, address, "SELECT decision_id FROM transcript ORDER BY seq") == found
    (text,) = rows_of(cluster, address, "SELECT string_agg(body, ' ') FROM transcript")[0]
    assert "example.org" not in text
    liked = rows_of(cluster, address, "SELECT decision_id, value FROM feedback WHERE signal = 'like'")
    assert liked == [(decision.id, 1.0)]


def test_whoever_is_erased_leaves_no_words_behind(
    tiny: Model,
    cluster: Cluster,  # noqa: F811
    address: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    key = "a-long-and-secret-key"
    path = settled(tmp_path, tiny, address, f'[server]\nadmin_key = "{key}"\n')
    with serving(path) as service, asking(service) as client:
        tiny.plays(whole("A sequence."))
        for user in ("ann", "ben"):
            client.chat.completions.create(model="b", messages=ASKED, user=user)
        assert rows_of(cluster, address, "SELECT count(*) FROM transcript") == [(2,)]
        connection = service.connected()
        connection.request("DELETE", "/v1/users/ann", headers={"x-admin-key": key})
        answer = connection.getresponse()
        assert answer.status in (200, 202), answer.read()
        eventually(lambda: rows_of(cluster, address, "SELECT count(*) FROM transcript") == [(1,)])
    assert rows_of(cluster, address, 'SELECT "user" FROM decision') == [("ben",)]


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_what_was_received_whole_is_in_the_tables_after_kill_9_of_both(
    tiny: Model, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Of the gateway, and of the database a moment later."""

    async def either(body: dict[str, Any], writer: Any) -> None:
        await (stream(told(MANY)) if body.get("stream") else whole("Short."))(body, writer)

    tiny.plays(either)
    with own_cluster(fsync=True) as cluster:  # noqa: F811
        path = settled(tmp_path, tiny, cluster.address(cluster.create()))
        with serving(path, *options) as service:
            clients = Clients(service.port)
            eventually(lambda: len(clients.whole) >= 40)
            for pid in (service.process.pid, *service.workers):
                os.kill(pid, signal.SIGKILL)
            cluster.kill()
            service.process.wait(LONG)
            clients.stop()
        cluster.start()
        with opened(path) as app:
            for identity, text in clients.whole:
                _, said, kept = stored(app, identity)
                assert kept is not None
                assert (said["tokens_in"], said["tokens_out"]) == (11.0, 7.0)
                assert (kept.body["status"], kept.body["answer"]["content"]) == ("answered", text)
                assert text in ("Short.", "".join(MANY))
            assert all(app.log.find(each.removeprefix("chatcmpl-")) for each in clients.begun)


def test_where_the_database_is_away_an_error_says_so_and_afterwards_it_goes_on(tiny: Model, tmp_path: Path) -> None:
    tiny.plays(whole("A sequence."))
    with own_cluster() as cluster:  # noqa: F811
        path = settled(tmp_path, tiny, cluster.address(cluster.create()))
        with serving(path) as service, asking(service) as client:
            client.chat.completions.create(model="b", messages=ASKED, user="ann")
            asked = len(tiny.asked)
            cluster.stop()
            with pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(model="b", messages=ASKED, user="ann")
            assert caught.value.status_code == 503
            assert cluster.address() not in json.dumps(caught.value.body)
            assert len(tiny.asked) == asked  # nothing is asked that could not be logged
            cluster.start()
            patient = client.with_options(max_retries=8)  # as 503 says: try again in a second
            answer = patient.chat.completions.create(model="b", messages=ASKED, user="ann")
            with opened(path) as app:
                assert stored(app, answer.id)[2] is not None
