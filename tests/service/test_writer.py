"""The writer: what was answered is stored, one bad row fails alone, a full queue says so."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from bondhu.errors import StoreFull, StoreLocked
from bondhu.log.memory import MemoryLog
from bondhu.serve.decide import Request
from bondhu.serve.writer import Busy, Writer
from bondhu.types import Decision
from tests.service.shop import CONTEXT, decider
from tests.service.web import error, opened, stored


class Slow(MemoryLog):
    """A log whose commits wait for a sign, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.sizes: list[int] = []
        self.error: Exception | None = None

    def append(self, decisions: Any, feedback: Any = ()) -> None:
        self.go.wait(10)
        self.sizes.append(len(decisions) + len(feedback))
        if self.error:
            raise self.error
        super().append(decisions, feedback)


def rows(count: int) -> list[Decision]:
    return decider(now=lambda: 1.0).choose([Request(CONTEXT)] * count)


def test_what_comes_in_during_a_commit_is_committed_together() -> None:
    log = Slow()
    one = decider(log=log)

    async def main() -> None:
        writer = Writer(one.commit)
        writer.start()
        made = rows(100)
        first = writer.submit(made[:1])
        await asyncio.sleep(0.05)
        rest = [writer.submit([each]) for each in made[1:]]
        assert writer.waiting == 100
        assert not first.done()
        log.go.set()
        assert [done[0] for done in await asyncio.gather(first, *rest)] == made
        assert writer.waiting == 0
        await asyncio.to_thread(writer.close)

    asyncio.run(main())
    assert log.sizes == [1, 99]


def test_closing_writes_what_is_waiting_and_takes_nothing_more() -> None:
    log = Slow()
    one = decider(log=log)

    async def main() -> None:
        writer = Writer(one.commit)
        writer.start()
        waiting = [writer.submit([each]) for each in rows(50)]
        closing = asyncio.create_task(asyncio.to_thread(writer.close))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="stopping"):
            writer.submit(rows(1))
        log.go.set()
        await closing
        assert all([len(await each) == 1 for each in waiting])

    asyncio.run(main())
    assert sum(log.sizes) == 50


def test_a_full_queue_is_busy() -> None:
    log = Slow()
    one = decider(log=log)

    async def main() -> None:
        writer = Writer(one.commit, limit=3)
        writer.start()
        waiting = [writer.submit([each]) for each in rows(3)]
        with pytest.raises(Busy, match="3 rows are waiting") as caught:
            writer.submit(rows(1))
        assert caught.value.status == 503
        log.go.set()
        await asyncio.gather(*waiting)
        assert len(await writer.submit(rows(1))) == 1
        await asyncio.to_thread(writer.close)

    asyncio.run(main())


def test_a_store_that_fails_is_tried_once_a_group() -> None:
    log = Slow()
    log.error = StoreLocked("Another process is writing.")
    one = decider(log=log)

    async def main() -> None:
        writer = Writer(one.commit)
        writer.start()
        first = writer.submit(rows(1))
        await asyncio.sleep(0.05)
        rest = [writer.submit([each]) for each in rows(10)]
        log.go.set()
        outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [type(each) for each in outcomes] == [StoreLocked] * 11
        await asyncio.to_thread(writer.close)

    asyncio.run(main())
    assert log.sizes == [1, 10]


@pytest.mark.parametrize(("failure", "status", "again"), [(StoreLocked(), 503, "1"), (StoreFull(), 507, None)])
def test_a_store_that_cannot_write_is_told_and_nothing_is_half_stored(
    failure: Exception, status: int, again: str | None
) -> None:
    log = Slow()
    log.go.set()
    one = decider(log=log)
    for client in opened(one):
        log.error = failure
        response = client.post("/v1/decide", {"context": CONTEXT, "id": "d1"})
        error(response, status)
        assert response.headers.get("retry-after") == again
        log.error = None
        assert client.post("/v1/decide", {"context": CONTEXT, "id": "d1"}).status_code == 200
    assert stored(one) == 1
