"""Pages that are drawn once for all who ask for the same, and kept no longer than they are true."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bondhu.dashboard.page import Asked, Desk, Page
from bondhu.dashboard.web import application, drawing
from bondhu.dashboard.web.application import GONE, Site
from bondhu.dashboard.web.drawing import Drawn, Kept
from bondhu.errors import StoreError
from bondhu.serve.replies import Message
from bondhu.server.admitting import access_of
from tests.dashboard.looking import desk
from tests.dashboard.visiting import furnished


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.close()


class Artist:
    """Draws when it may, and counts how often."""

    def __init__(self) -> None:
        self.begun = self.drawn = 0
        self.may = threading.Event()
        self.may.set()

    def __call__(self) -> Drawn:
        self.begun += 1
        self.may.wait()
        self.drawn += 1
        return Drawn(200, gzip.compress(b"page %d" % self.drawn))


def test_what_nobody_has_changed_is_drawn_once(kept: Kept) -> None:
    artist = Artist()

    async def play() -> list[bytes]:
        asked = [(1, "a"), (1, "a"), (1, "b"), (2, "a"), (2, "a"), (1, "a")]
        return [(await kept.drawn(*each, artist)).plain for each in asked]

    assert asyncio.run(play()) == [b"page 1", b"page 1", b"page 2", b"page 3", b"page 3", b"page 4"]
    assert len(kept) == 1


def test_those_who_ask_at_once_wait_for_the_same_and_who_leaves_takes_it_from_nobody(kept: Kept) -> None:
    artist = Artist()
    artist.may.clear()

    async def play() -> list[Drawn]:
        asking = [asyncio.create_task(kept.drawn(1, "a", artist)) for _ in range(5)]
        await asyncio.sleep(0)
        asking.pop(0).cancel()
        artist.may.set()
        return await asyncio.gather(*asking)

    assert {each.plain for each in asyncio.run(play())} == {b"page 1"}
    assert artist.drawn == 1


def test_a_failure_is_not_kept(kept: Kept) -> None:
    def failing() -> Drawn:
        raise StoreError("The disk is away.")

    async def play() -> bytes:
        with pytest.raises(StoreError):
            await kept.drawn(1, "a", failing)
        return (await kept.drawn(1, "a", Artist())).plain

    assert asyncio.run(play()) == b"page 1"


def test_only_so_many_are_kept(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MOST", 2)
    artist = Artist()

    async def play() -> None:
        for key in ("a", "b", "c", "b", "c", "a"):
            await kept.drawn(1, key, artist)

    asyncio.run(play())
    assert (len(kept), artist.drawn) == (2, 4)


def test_a_page_that_nobody_waits_for_any_more_is_not_begun(kept: Kept) -> None:
    busy, artist = Artist(), Artist()
    busy.may.clear()

    async def play() -> bytes:
        under_way = [asyncio.create_task(kept.drawn(1, number, busy)) for number in range(drawing.THREADS)]
        left = [asyncio.create_task(kept.drawn(1, f"left {number}", artist)) for number in range(20)]
        shared = [asyncio.create_task(kept.drawn(1, "shared", artist)) for _ in range(2)]
        await asyncio.sleep(0)
        for each in [*left, shared[0]]:
            each.cancel()
        await asyncio.gather(*left, shared[0], return_exceptions=True)
        assert len(kept) == drawing.THREADS + 1
        busy.may.set()
        await asyncio.gather(*under_way)
        found = (await shared[1]).plain
        assert (await kept.drawn(1, "left 0", artist)).plain == b"page 2"  # it can be asked for again
        return found

    assert asyncio.run(play()) == b"page 1"
    assert (busy.drawn, artist.drawn) == (drawing.THREADS, 2)


def test_a_page_that_is_begun_is_kept_though_nobody_waits_for_it(kept: Kept) -> None:
    artist = Artist()
    artist.may.clear()

    async def play() -> bytes:
        asking = asyncio.create_task(kept.drawn(1, "a", artist))
        while not artist.begun:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        artist.may.set()
        return (await kept.drawn(1, "a", artist)).plain

    assert asyncio.run(play()) == b"page 1"
    assert artist.drawn == 1


def test_who_closes_the_connection_leaves_no_page_to_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = furnished(tmp_path)
    site, may, begun = Site(desk(app), access_of(app)), threading.Event(), []

    def viewed(_: Desk, asked: Asked) -> Page:
        begun.append(asked.query["n"])
        may.wait()
        return Page("A page", [])

    monkeypatch.setattr(application, "viewed", viewed)

    async def play() -> list[int]:
        asking = [Asking(number) for number in range(drawing.THREADS + 3)]
        running = [asyncio.create_task(site(each.scope, each.received.get, each.send)) for each in asking]
        while len(begun) < drawing.THREADS:
            await asyncio.sleep(0)
        for each in asking[1:-1]:  # all but one whose page is begun and one whose page is not
            each.received.put_nowait({"type": "http.disconnect"})
        await asyncio.gather(*running[1:-1])
        may.set()
        await asyncio.gather(*running)
        return [each.status for each in asking]

    assert asyncio.run(play()) == [200, GONE, GONE, GONE, 200]
    assert begun == ["0", "1", "4"]
    app.stores.close()


class Asking:
    """One who asks for a page."""

    def __init__(self, number: int) -> None:
        self.scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"n=%d" % number}
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self.received.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        self.status = 0

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
