"""What one process erases, the others forget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bondhu.access.admission import Keys, Rules
from bondhu.errors import StoreLocked
from bondhu.log.memory import MemoryLedger
from bondhu.ports import ERASURE, Entry
from bondhu.serve.decide import Decider, Request
from bondhu.serve.forgetting import erasures
from bondhu.serve.messages import Sent
from bondhu.serve.parts import Parts
from bondhu.serve.writing.thread import ThreadWriter
from tests.service.shop import CONTEXT, decider
from tests.service.web import Desk
from tests.service.web import opened as client_of


class Busy(MemoryLedger):
    """A ledger that is away at first."""

    asked = 0

    def entries(self, kind: str, domain: str | None = None, *, after: int = 0) -> list[Entry]:
        self.asked += 1
        if self.asked == 1:
            raise StoreLocked("Somebody writes.", fix="Wait.")
        return super().entries(kind, domain, after=after)


def used() -> tuple[Decider, str]:
    """A live loop that remembers a decision, its context and its row."""
    one = decider()
    made = one.decide(Request(CONTEXT, user="ann"))
    one.contexts.request(Sent(b'{"mood":"happy"}'))  # type: ignore[arg-type]  # a `Raw` is made by a decoder alone
    return one, made.id


def remembered(one: Decider, identity: str) -> tuple[bool, int, int]:
    return one.remembers(identity), len(one._rows), len(one.contexts._young) + len(one.contexts._old)


async def until(done: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if done():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come to be")


def test_a_new_certificate_of_the_domain_has_everything_forgotten_and_another_domains_nothing() -> None:
    one, identity = used()
    ledger = Busy()
    parts = Parts(one, ThreadWriter(one.deployment.log), Desk(), Keys(ledger, "shop", Rules()), ledger=ledger)

    async def watched() -> None:
        task = asyncio.create_task(erasures(parts, look=0.001))
        ledger.note(ERASURE, "other", {}, time=1.0)
        await until(lambda: ledger.asked > 3)  # an error of the store does not end it
        assert remembered(one, identity) == (True, 1, 1)
        ledger.note(ERASURE, "shop", {}, time=1.0)
        await until(lambda: remembered(one, identity) == (False, 0, 0))
        again = one.decide(Request(CONTEXT)).id
        asked = ledger.asked
        await until(lambda: ledger.asked > asked + 2)
        assert remembered(one, again) == (True, 1, 0)  # once for each certificate
        task.cancel()

    asyncio.run(watched())


def test_a_server_that_starts_watches_the_ledger() -> None:
    one, identity = used()
    ledger = MemoryLedger()
    ledger.note(ERASURE, "shop", {}, time=1.0)
    for _ in client_of(one, ledger=ledger):
        asyncio.run(until(lambda: not one.remembers(identity)))
        assert remembered(one, identity) == (False, 0, 0)


def test_what_is_said_of_a_decision_erased_here_is_refused_though_all_is_forgotten_later() -> None:
    one, erased = used()
    other = one.decide(Request(CONTEXT)).id
    one.deployment.log.erase("shop", "ann")
    one.forget([erased])
    assert remembered(one, other) == (True, 0, 0)
    one.forget_all()
    assert remembered(one, other) == (False, 0, 0)
    assert one.standing(other) == "stored"
    with pytest.raises(Exception, match="No decision"):
        one.standing(erased)
