"""`bondhu serve` as an operator starts it: killed in mid-stream, with several workers, and stopped politely."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from bondhu.app import App, open_app
from bondhu.settings import load
from tests.gateway.place import HELLO, LONG, folder, posted, stored
from tests.gateway.scripted import Model, chunk, either, model, stream, told
from tests.service.serving import Service, eventually, serving

MANY = [f"word{number} " for number in range(40)]


@pytest.fixture
def tiny() -> Iterator[Model]:
    with model() as made:
        yield made


class Clients:
    """Some clients that ask for one stream after the other, and remember which they received whole."""

    def __init__(self, port: int) -> None:
        self._port, self._stop = port, threading.Event()
        self.whole: list[tuple[str, str]] = []  # id and text
        self.begun: set[str] = set()  # ids
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(8)]
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def _run(self, number: int) -> None:
        base = f"http://127.0.0.1:{self._port}/v1"
        with openai.OpenAI(base_url=base, api_key="any", max_retries=0, timeout=LONG) as client:
            while not self._stop.is_set():
                with suppress(openai.APIError, openai.APIConnectionError):
                    self._one(client, number)

    def _one(self, client: openai.OpenAI, number: int) -> None:
        texts, identity = [], ""
        asked: Any = [{"role": "user", "content": f"Question {number}"}]
        if number % 2:
            answer = client.chat.completions.create(model="b", messages=asked)
            self.whole.append((answer.id, answer.choices[0].message.content or ""))
            return
        with client.chat.completions.create(model="b", messages=asked, stream=True) as events:
            for each in events:
                identity = each.id
                self.begun.add(identity)
                texts.append(each.choices[0].delta.content or "")
            finished = bool(texts)
        if finished:
            self.whole.append((identity, "".join(texts)))


@pytest.mark.parametrize("options", [(), ("--writer", "process")], ids=["one process", "with a writer"])
def test_what_was_received_whole_is_in_the_store_after_kill_9(
    tiny: Model, tmp_path: Path, options: tuple[str, ...]
) -> None:
    async def slowly(body: dict[str, Any], writer: Any) -> None:
        await (stream(told(MANY)) if body.get("stream") else either("Short."))(body, writer)

    tiny.plays(slowly)
    with serving(folder(tmp_path, {"local": tiny}), *options) as service:
        clients = Clients(service.port)
        eventually(lambda: len(clients.whole) >= 60)
        for pid in (service.process.pid, *service.workers, *service.writers):
            os.kill(pid, signal.SIGKILL)
        service.process.wait(LONG)
        clients.stop()
    app = open_app(load(tmp_path))
    try:
        for identity, text in clients.whole:
            decision, said, kept = stored(app, identity)
            assert decision.action == "plain/small"
            assert kept is not None
            assert (said["tokens_in"], said["tokens_out"]) == (11.0, 7.0)
            assert kept.body["status"] == "answered"
            assert kept.body["answer"]["content"] == text
            assert text in ("Short.", "".join(MANY))
        assert all(app.log.find(each.removeprefix("chatcmpl-")) for each in clients.begun)
    finally:
        app.stores.close()


def test_killed_in_the_middle_of_one_stream(tiny: Model, tmp_path: Path) -> None:
    half = stream([chunk({"content": "Half"})], ends=False)
    tiny.plays(tiny.held(half, either()))
    with serving(folder(tmp_path, {"local": tiny})) as service:
        base = f"http://127.0.0.1:{service.port}/v1"
        with openai.OpenAI(base_url=base, api_key="any", max_retries=0, timeout=LONG) as client:
            asked: Any = HELLO["messages"]
            events = client.chat.completions.create(model="b", messages=asked, stream=True)
            first = next(events)
            service.process.kill()
            rest: list[Any] = []
            with suppress(Exception):  # whichever the client makes of it
                rest.extend(events)
            assert not any(each.choices[0].finish_reason for each in (first, *rest))
    app = open_app(load(tmp_path))
    try:
        decision, said, kept = stored(app, first.id)
        assert (decision.action, said, kept) == ("plain/small", {}, None)
    finally:
        app.stores.close()


def test_several_workers_share_what_they_know(tiny: Model, tmp_path: Path) -> None:
    """Turns of one conversation reach whichever worker; each knows what the others answered."""
    context = 'user_turns = { kind = "number", range = [0, 1000] }'
    with serving(folder(tmp_path, {"local": tiny}, context=context), "--workers", "2") as service:
        eventually(lambda: len(service.workers) == 2)
        app = open_app(load(tmp_path))
        try:
            turns = [turn(service, app, number) for number in range(24)]
        finally:
            app.stores.close()
    assert turns == [float(number) for number in range(24)]


def turn(service: Service, app: App, number: int) -> float:
    body = {"messages": [{"role": "user", "content": f"Question {number}: {'x' * number}"}], "user": "ann"}
    status, headers, content = posted(service.port, "/v1/chat/completions", body, {"x_bondhu_session": "s"})
    assert status == 200, content
    turns: float = stored(app, headers["x-bondhu-decision"])[0].context["user_turns"]
    return turns


def test_a_server_that_stops_lets_answers_end(tiny: Model, tmp_path: Path) -> None:
    events = told(["One ", "two."])
    tiny.plays(tiny.held(stream(events[:2], ends=False), stream(events[2:], starts=False)))
    with serving(folder(tmp_path, {"local": tiny})) as service:
        got: list[bytes] = []

        def ask() -> None:
            body = {**HELLO, "stream": True}
            got.append(posted(service.port, "/v1/chat/completions", body, {})[2])

        client = threading.Thread(target=ask)
        client.start()
        assert tiny.reached.acquire(timeout=LONG)
        service.process.send_signal(signal.SIGTERM)
        tiny.hold.set()
        client.join()
        assert service.process.wait(LONG) == 0
    assert got[0].endswith(b"data: [DONE]\n\n")
    identity = json.loads(got[0].split(b"\n\n")[0].removeprefix(b"data: "))["id"]
    app = open_app(load(tmp_path))
    try:
        assert stored(app, identity)[2] is not None
    finally:
        app.stores.close()
