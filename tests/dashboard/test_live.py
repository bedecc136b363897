"""Browsers are told when something has changed: by one look for all of them, for as long as they may know."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from bondhu.app import App
from bondhu.dashboard.page import Desk, Progress
from bondhu.dashboard.web import live
from bondhu.dashboard.web.live import Watch, changed
from bondhu.errors import StoreError
from bondhu.ports import Task
from tests.dashboard.visiting import House, furnished, housed, showing
from tests.service.serving import LONG, eventually


@dataclass
class Sheetlike:
    generation: int = 0


@dataclass
class Columns:
    kept: Sheetlike = field(default_factory=Sheetlike)
    trouble: bool = False

    def sheet(self) -> Any:
        if self.trouble:
            raise StoreError("The disk is away.")
        return self.kept

    def progress(self) -> Progress:
        return Progress(0, 0, 0.0)


@dataclass
class Errands:
    generation: int = 0

    def ask(self, key: object, work: Any) -> Any: ...

    def look(self, key: object) -> Any: ...


@pytest.fixture
def app(tmp_path: Any) -> Iterator[App]:
    app = furnished(tmp_path)
    yield app
    app.stores.close()


async def taken(told: AsyncIterator[bytes], count: int) -> list[bytes]:
    async with asyncio.timeout(LONG):
        return [await anext(told) for _ in range(count)]


# ------------------------------------------------------------------------------------------------------ what it notices


def test_decisions_versions_trainings_and_errands_are_changes_and_nothing_else_is(app: App) -> None:
    columns, errands = Columns(), Errands()
    watch = Watch(Desk(app, columns, errands))
    seen = []

    async def looked() -> None:
        await watch.look()
        seen.append(watch.generation)

    async def play() -> None:
        await looked()
        await looked()  # nothing
        columns.kept.generation += 1
        await looked()
        app.stop(reason="a test")
        await looked()
        app.tasks.record(Task("rl_training", app.now(), "skipped", 0, 0, 0.1, {}))
        await looked()
        errands.generation += 1
        await looked()
        columns.trouble = True
        await looked()  # who cannot look says nothing
        columns.trouble = False
        await looked()

    asyncio.run(play())
    assert [each - seen[0] for each in seen] == [0, 0, 1, 2, 3, 4, 4, 4]


def test_a_store_that_is_away_is_told_once(app: App, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(Desk(app, Columns(trouble=True), Errands()))
    for _ in range(3):
        asyncio.run(watch.look())
    assert [each.getMessage() for each in caplog.records] == [
        "It cannot be seen whether anything has changed: The disk is away."
    ]


# -------------------------------------------------------------------------------------------------------- who is told


def test_all_who_listen_are_told_of_each_change_once(app: App) -> None:
    columns = Columns()
    watch = Watch(Desk(app, columns, Errands()))

    async def play() -> None:
        await watch.look()
        streams = [watch.told(lambda: True) for _ in range(3)]
        assert await asyncio.gather(*(taken(each, 1) for each in streams)) == [[b"retry: 2000\n\n"]] * 3
        waiting = [asyncio.create_task(taken(each, 1)) for each in streams]
        while watch.listeners < 3:
            await asyncio.sleep(0)
        columns.kept.generation += 1
        await watch.look()
        assert await asyncio.gather(*waiting) == [[changed(watch.generation)]] * 3
        for each in streams:
            await each.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert watch.listeners == 0

    asyncio.run(play())


def test_an_event_says_which_one_it_is() -> None:
    assert changed(7) == b'id: 7\nevent: changed\ndata: {"generation":7}\n\n'


def test_who_was_away_is_told_at_once_what_they_missed(app: App) -> None:
    watch = Watch(Desk(app, Columns(), Errands()))

    async def play() -> None:
        await watch.look()
        assert await taken(watch.told(lambda: True, watch.generation - 1), 2) == [
            b"retry: 2000\n\n",
            changed(watch.generation),
        ]

    asyncio.run(play())


def test_something_is_said_every_now_and_then(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEEP", 0.01)
    watch = Watch(Desk(app, Columns(), Errands()))
    assert asyncio.run(taken(watch.told(lambda: True), 3)) == [b"retry: 2000\n\n", *[b": still here\n\n"] * 2]


def test_whose_session_has_ended_is_told_nothing_more(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEEP", 0.01)
    watch, good = Watch(Desk(app, Columns(), Errands())), [True]

    async def play() -> list[bytes]:
        told = watch.told(lambda: good[0])
        first = await taken(told, 2)
        good[0] = False
        watch.generation += 1
        return first + [each async for each in told]

    assert asyncio.run(play()) == [b"retry: 2000\n\n", b": still here\n\n"]


def test_when_it_ends_nobody_waits(app: App) -> None:
    watch = Watch(Desk(app, Columns(), Errands()))

    async def play() -> list[bytes]:
        listening = asyncio.create_task(listened())
        while not watch.listeners:
            await asyncio.sleep(0)
        watch.end()
        return await listening

    async def listened() -> list[bytes]:
        return [each async for each in watch.told(lambda: True)]

    assert asyncio.run(play()) == [b"retry: 2000\n\n"]


# -------------------------------------------------------------------------------------------------------- a real server


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two workers, which may finish what they are at for longer than a test waits: nobody who listens holds them up."""
    more = "wait = 3600\n[server]\ndrain_seconds = 1000\n"
    with housed(tmp_path_factory.mktemp("live"), "--workers", "2", more=more) as running:
        yield running
        listening = Stream(running.service.port)
        listening.until(b"retry:")
        assert running.service.stop() == 0
        assert listening.rest() == b"\n"
        listening.close()


class Stream:
    """Events as a browser reads them."""

    def __init__(self, port: int, path: str = "/dashboard/events", **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()

    def until(self, beginning: bytes) -> bytes:
        while not (line := self.answer.readline()).startswith(beginning):
            assert line, "it ended"
        return line

    def rest(self) -> bytes:
        return self.answer.read()

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


def test_a_decision_is_told_to_whoever_looks(house: House) -> None:
    streams = [Stream(house.service.port) for _ in range(3)]
    for each in streams:
        assert each.answer.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert each.answer.getheader("cache-control") == "no-store"
        each.until(b"retry: 2000")
    assert house.service.decide()[0] == 200
    told = {each.until(b"data:") for each in streams}
    assert len(told) == 1
    for each in streams:
        each.close()


def test_who_comes_again_with_an_old_number_is_told_at_once(house: House) -> None:
    stream = Stream(house.service.port, **{"Last-Event-ID": "1"})
    assert stream.until(b"data:").startswith(b'data: {"generation":')
    stream.close()


def shown(house: House) -> tuple[str, int]:
    """Where a page that was just drawn listens, and the number in that address."""
    found = re.search(r'data-events="(/dashboard/events\?since=(\d+))"', house.visitor().get("/").text)
    assert found
    return found[1], int(found[2])


def test_what_changed_between_a_page_and_its_first_connection_is_told_at_once(house: House) -> None:
    path, since = shown(house)
    assert house.service.decide()[0] == 200
    eventually(lambda: shown(house)[1] > since)
    late = Stream(house.service.port, path)
    told = msgspec.json.decode(late.until(b"data:").removeprefix(b"data:"))
    assert told["generation"] > since
    late.close()


def test_a_number_that_is_none_of_ours_is_nothing_known(house: House) -> None:
    for path, headers in (
        ("/dashboard/events", {"Last-Event-ID": "9" * 5_000}),
        ("/dashboard/events", {"Last-Event-ID": "-1"}),
        (f"/dashboard/events?since={'9' * 5_000}", {}),
        ("/dashboard/events?since=now", {}),
    ):
        stream = Stream(house.service.port, path, **headers)
        assert stream.answer.status == 200
        stream.until(b"retry: 2000")
        stream.close()


def test_who_leaves_leaves_nothing_behind(house: House) -> None:
    processes = [*house.service.workers, *showing(house.service)]
    assert len(processes) == 3

    def opened() -> int:
        return sum(len(os.listdir(f"/proc/{each}/fd")) for each in processes)

    Stream(house.service.port).close()
    before = opened()
    streams = [Stream(house.service.port) for _ in range(30)]
    for each in streams:
        each.until(b"retry:")
    assert opened() >= before + 60
    for each in streams:
        each.close()
    eventually(lambda: opened() <= before + 6, "connections were left behind")
