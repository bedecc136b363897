"""Every ledger keeps the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from bondhu.log.memory import MemoryLedger
from bondhu.log.sqlite import SqliteLedger
from bondhu.log.stores import open_stores
from bondhu.ports import Entry
from tests.service.postgres import address, cluster  # noqa: F401  fixtures


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryLedger()
    elif request.param == "sqlite":
        with closing(SqliteLedger(tmp_path / "log.db")) as opened:
            yield opened
    else:
        with closing(open_stores(request.getfixturevalue("address"), tmp_path)) as stores:
            yield stores.ledger


def test_an_entry_comes_back_as_it_was_noted(ledger: Any) -> None:
    body = {"name": "è \u2028 \x00", "roles": ["app", "admin"], "until": None, "x": -1e300, "inner": {"a": 0.1}}
    noted = ledger.note("key", "shop", body, time=1_700_000_000.123456)
    assert noted == Entry(noted.seq, 1_700_000_000.123456, "key", "shop", body)
    assert ledger.entries("key") == [noted]


def test_entries_are_by_kind_and_domain_oldest_first(ledger: Any) -> None:
    one = ledger.note("key", "shop", {"n": 1}, time=9.0)
    two = ledger.note("act", "shop", {"n": 2}, time=8.0)
    three = ledger.note("key", "other", {"n": 3}, time=7.0)
    assert one.seq < two.seq < three.seq
    assert ledger.entries("key") == [one, three]
    assert ledger.entries("key", "shop") == [one]
    assert ledger.entries("act", "other") == []
    assert ledger.entries("nothing") == []
    assert ledger.kinds() == ["act", "key"]


def test_who_asks_again_is_told_what_came_since(ledger: Any) -> None:
    seen = [ledger.note("act", "shop", {"n": number}, time=1.0) for number in range(3)][-1].seq
    assert ledger.entries("act", after=seen) == []
    new = ledger.note("act", "shop", {"n": 3}, time=0.5)
    assert ledger.entries("act", after=seen) == [new]
    assert ledger.entries("act", "shop", after=seen) == [new]


def test_nobody_who_asks_for_what_came_since_misses_an_entry(ledger: Any) -> None:
    threads, each = 4, 25
    start = Barrier(threads + 1)
    heard: list[int] = []

    def note(thread: int) -> None:
        start.wait()
        for number in range(each):
            ledger.note("act", "shop", {"n": [thread, number]}, time=1.0)

    workers = [Thread(target=note, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    while len(heard) < threads * each and (any(worker.is_alive() for worker in workers) or heard != sorted(heard)):
        heard += [entry.seq for entry in ledger.entries("act", after=heard[-1] if heard else 0)]
    for worker in workers:
        worker.join()
    heard += [entry.seq for entry in ledger.entries("act", after=heard[-1] if heard else 0)]
    assert heard == [entry.seq for entry in ledger.entries("act")]
    assert len(set(heard)) == threads * each
