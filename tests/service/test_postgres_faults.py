"""Whatever happens to the server, the network or a client, nothing that was acknowledged is lost, and it comes back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.errors import Busy, DuplicateId, StoreError, StoreFull
from bondhu.log.stores import Stores, open_stores
from bondhu.types import Decision, Feedback
from tests.service.postgres import Cluster, address, cluster, own_cluster  # noqa: F401  fixtures

pytest.importorskip("asyncpg")

from bondhu.log.postgres import database
from bondhu.serve.writing.postgres import PostgresWriter

HERE = Path()


def decision(id_: str, size: int = 10, **changes: object) -> Decision:
    made = Decision(id_, "shop", "s", None, 1.0, {"text": "x" * size}, ("a", "b"), "a", 0.5, (1.0,), "v1", "live")
    return made._replace(**changes)


def said(id_: str, decision_id: str) -> Feedback:
    return Feedback(id_, decision_id, "like", 1.0, 2.0)


def ids(stores: Stores) -> list[str]:
    return list(stores.log.read("shop", -np.inf, np.inf).id)


def with_writer(stores: Stores, work: Callable[[PostgresWriter], Awaitable[None]], **options: Any) -> None:
    """Run this with a writer that has started."""

    async def main() -> None:
        writer = PostgresWriter(stores.log, **options)  # type: ignore[arg-type]  # it is PostgreSQL's
        await writer.start()
        try:
            await work(writer)
        finally:
            await writer.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """A server for the tests of this file: they leave it running again."""
    with own_cluster() as made:
        yield made


@pytest.fixture
def stores(own: Cluster) -> Iterator[Stores]:
    with closing(open_stores(own.address(own.create()), HERE)) as opened:
        yield opened


# -------------------------------------------------------------------------------------------------------------- the log


def test_after_a_restart_it_connects_anew_by_itself(own: Cluster, stores: Stores) -> None:
    stores.log.append([decision("d1")])
    own.stop()
    for use in (lambda: stores.log.append([decision("d2")]), lambda: ids(stores), lambda: stores.log.find("d1")):
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            use()
        assert caught.value.status == 503
    own.start()
    stores.log.append([decision("d2", allowed=("a", "new"))])
    assert ids(stores) == ["d1", "d2"]


def test_a_server_that_is_read_only_is_told_and_still_read(own: Cluster, stores: Stores) -> None:
    stores.log.append([decision("d1")], [said("early", "d2")])
    own.read_only(True)
    with pytest.raises(StoreError, match="read-only now") as caught:
        stores.log.append([decision("d2")])
    assert caught.value.status == 503
    assert ids(stores) == ["d1"]
    with closing(open_stores(stores.log.database.address._where, HERE)) as others:  # type: ignore[attr-defined]  # PostgreSQL's
        assert ids(others) == ["d1"]
    own.read_only(False)
    stores.log.append([decision("d2")])
    assert ids(stores) == ["d1", "d2"]


def test_a_server_that_hangs_is_given_up_and_used_again_when_it_answers(
    own: Cluster, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QUICK", "LONG"):
        monkeypatch.setattr(database, name, 0.3)
    monkeypatch.setattr("bondhu.log.postgres.log.LONG", 0.3)
    monkeypatch.setattr("bondhu.log.postgres.address.CONNECTING", 0.3)
    stores.log.append([decision("d1")])
    own.hang()
    for use in (lambda: stores.log.append([decision("d2")]), lambda: ids(stores), lambda: stores.log.append([])):
        with pytest.raises(StoreError, match="not answered in time"):
            use()
    own.resume()
    stores.log.append([decision("d2"), decision("d3")])
    assert set(ids(stores)) == {"d1", "d2", "d3"}


def test_a_closed_store_says_so(stores: Stores) -> None:
    stores.close()
    stores.close()
    for use in (lambda: stores.log.append([decision("d2")]), lambda: ids(stores)):
        with pytest.raises(StoreError, match="has been closed"):
            use()


def test_what_the_driver_says_of_a_connection_cut_between_two_steps_is_that_the_store_is_closed(stores: Stores) -> None:
    async def broken(connection: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'bind_execute'")

    database = stores.log.database  # type: ignore[attr-defined]  # it is the log of PostgreSQL
    with pytest.raises(AttributeError):
        database.run(broken)
    stores.close()
    with pytest.raises(StoreError, match="has been closed"), database.in_our_words():
        raise AttributeError("'NoneType' object has no attribute 'bind_execute'")


def test_closing_a_store_cuts_off_who_still_uses_it(own: Cluster, stores: Stores) -> None:
    outcomes: list[Exception] = []

    def use() -> None:
        try:
            for number in range(1_000_000):
                stores.log.append([decision(f"{threading.get_ident()}-{number}")])
        except StoreError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=use) for _ in range(12)]  # more than there are connections
    for thread in threads:
        thread.start()
    while stores.log.summary("shop").decisions < 50:
        pass
    stores.close()
    for thread in threads:
        thread.join()
    assert ["has been closed" in str(each) for each in outcomes] == [True] * 12


APPENDER = """
import sys
from pathlib import Path
from bondhu.log.stores import open_stores
from bondhu.types import Decision, Feedback
log = open_stores(sys.argv[1], Path()).log
for number in range(1_000_000):
    names = [f"{sys.argv[2]}-{number}-{part}" for part in range(number % 5 + 1)]
    log.append(
        [Decision(n, "shop", "s", None, 1.0, {"n": n}, ("a",), "a", 0.5, (), "v1", "live") for n in names],
        [Feedback(f"f{n}", n, "like", 1.0, 2.0) for n in names],
    )
    print(*names, flush=True)
"""


@pytest.mark.parametrize("killed", ["the client", "the server"])
def test_every_acknowledged_row_survives_kill_9(own: Cluster, stores: Stores, killed: str) -> None:
    acknowledged: list[list[str]] = []
    where = stores.log.database.address._where  # type: ignore[attr-defined]  # it is PostgreSQL's
    for run, lines in enumerate((1, 30, 60)):
        command = [sys.executable, "-c", APPENDER, where, str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            for _ in range(lines):
                acknowledged.append(process.stdout.readline().split())
            own.kill() if killed == "the server" else process.send_signal(signal.SIGKILL)
            acknowledged.extend(line.split() for line in process.stdout if line.endswith("\n"))
        if killed == "the server":
            own.start()
    records = stores.log.read("shop", -np.inf, np.inf)
    stored = set(records.id)
    assert {name for names in acknowledged for name in names} <= stored
    assert len(stored) == len(records.id)
    assert len(acknowledged) >= 91
    # what was not acknowledged is there whole or not at all: each decision has its one feedback
    assert sorted(records.feedback_decision) == list(range(len(stored)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_said_and_what_was_there_stays(own: Cluster) -> None:
    disk = own.folder / "small"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this container may not mount a small disk")
    try:
        space = disk / "space"
        space.mkdir()
        shutil.chown(space, own.data.owner())
        own.run(f"CREATE TABLESPACE small LOCATION '{space}'", "CREATE DATABASE filled TABLESPACE small")
        with closing(open_stores(own.address("filled"), HERE)) as opened:
            stored = _fill(opened, message := [])
            assert "No room on the disk of PostgreSQL at bondhu@127.0.0.1" in message[0]
            assert "Free some space" in message[0]
            assert ids(opened) == stored
            assert len(stored) > 100
            assert len(opened.log.read("shop", -np.inf, np.inf).feedback_decision) == len(stored)
        own.drop("filled")
        own.run("DROP TABLESPACE small")
    finally:
        own.restart()
        subprocess.run(["umount", str(disk)], check=True)


def _fill(stores: Stores, message: list[str]) -> list[str]:
    text = os.urandom(3000).hex()  # nothing to be gained by packing it
    for number in range(10_000):
        try:
            stores.log.append([decision(str(number), context={"text": text})], [said(f"f{number}", str(number))])
        except StoreFull as error:
            message.append(str(error))
            return [str(each) for each in range(number)]
    raise AssertionError("the disk was never full")


# ----------------------------------------------------------------------------------------------------------- the writer


def test_what_comes_in_during_a_commit_is_committed_together(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = PostgresWriter._commit

    async def counted(self: PostgresWriter, rows: Any) -> None:
        sizes.append(len(rows.decisions) + len(rows.feedback))
        await real(self, rows)

    monkeypatch.setattr(PostgresWriter, "_commit", counted)

    async def work(writer: PostgresWriter) -> None:
        first = writer.submit([decision("0")])
        await asyncio.sleep(0)
        rest = [writer.submit([decision(str(n))], [said(f"f{n}", str(n - 1))]) for n in range(1, 50)]
        assert writer.waiting == 99
        outcomes = await asyncio.gather(first, *rest)
        assert outcomes == [[decision(str(n))] for n in range(50)]
        assert writer.waiting == 0

    with_writer(stores, work)
    assert sizes == [1, 98]
    assert ids(stores) == [str(n) for n in range(50)]
    assert sorted(stores.log.read("shop", 0.0, 9.0).feedback_decision) == list(range(49))


def test_one_row_at_fault_fails_alone_and_a_retry_is_told_what_was(stores: Stores) -> None:
    stores.log.append([decision("old", time=5.0)], [said("f", "old")])

    async def work(writer: PostgresWriter) -> None:
        retried = writer.submit([decision("old")])  # the same request, made again later
        wrong = writer.submit([decision("old", session="another")], [said("g", "old")])
        refused = writer.submit([], [said("f", "other")])
        fine = [writer.submit([decision(str(n))]) for n in range(20)]
        assert await retried == [decision("old", time=5.0)]
        for each in (wrong, refused):
            with pytest.raises(DuplicateId):
                await each
        assert await asyncio.gather(*fine) == [[decision(str(n))] for n in range(20)]

    with_writer(stores, work)
    assert ids(stores) == ["old", *(str(n) for n in range(20))]
    assert stores.log.said("g") is None


def test_a_full_queue_is_busy_and_closing_writes_what_waits(stores: Stores) -> None:
    async def work(writer: PostgresWriter) -> None:
        waiting = [writer.submit([decision(str(n))]) for n in range(3)]
        with pytest.raises(Busy, match="3 rows are waiting"):
            writer.submit([decision("more")])
        await writer.close()
        assert [each.result()[0].id for each in waiting] == ["0", "1", "2"]
        with pytest.raises(Busy, match="stopping"):
            writer.submit([decision("late")])

    with_writer(stores, work, limit=3)
    assert ids(stores) == ["0", "1", "2"]


async def keep_sending(writer: PostgresWriter, name: str, stop: asyncio.Event) -> tuple[list[str], int]:
    """Ids that were acknowledged, and how often the answer was 503."""
    acknowledged, refused, number = [], 0, 0
    while not stop.is_set():
        number += 1
        id_ = f"{name}-{number}"
        try:
            made = await writer.submit([decision(id_)], [said(f"f{id_}", id_)])
            acknowledged.append(made[0].id)
        except StoreError as error:
            refused += error.status == 503
            await asyncio.sleep(0.01)
    return acknowledged, refused


def _kill(own: Cluster) -> None:
    own.kill()
    own.start()


def _restart(own: Cluster) -> None:
    own.restart()


def _hang(own: Cluster) -> None:
    import time

    own.hang()
    time.sleep(1.5)  # longer than the writer's patience
    own.resume()


def _read_only(own: Cluster) -> None:
    own.read_only(True)
    own.read_only(False)


@pytest.mark.parametrize("fault", [_kill, _restart, _hang, _read_only])
def test_nothing_acknowledged_is_lost_and_it_recovers_by_itself(
    own: Cluster, stores: Stores, fault: Callable[[Cluster], None]
) -> None:
    acknowledged: list[str] = []

    async def work(writer: PostgresWriter) -> None:
        stop = asyncio.Event()
        senders = [asyncio.create_task(keep_sending(writer, str(n), stop)) for n in range(8)]
        ticking = asyncio.create_task(_ticks(stop))
        for _ in range(2):
            await asyncio.sleep(0.1)
            await asyncio.to_thread(fault, own)
        while True:  # until it has come back
            try:
                acknowledged.append((await writer.submit([decision(f"after-{len(acknowledged)}")]))[0].id)
                break
            except StoreError:
                await asyncio.sleep(0.05)
        stop.set()
        outcomes = await asyncio.gather(*senders)
        acknowledged.extend(id_ for some, _ in outcomes for id_ in some)
        assert sum(refused for _, refused in outcomes) > 0
        assert await ticking > 20  # nobody held up the event loop
        assert writer.waiting == 0

    with_writer(stores, work, patience=0.4)
    records = stores.log.read("shop", -np.inf, np.inf)
    assert len(acknowledged) > 8
    assert set(acknowledged) <= set(records.id)
    assert len(set(records.id)) == len(records.id)
    made = [row for row, id_ in enumerate(records.id) if not id_.startswith("after")]
    assert sorted(records.feedback_decision) == made


async def _ticks(stop: asyncio.Event) -> int:
    count = 0
    while not stop.is_set():
        await asyncio.sleep(0.01)
        count += 1
    return count


def test_while_the_server_is_away_everything_is_busy_at_once(own: Cluster, stores: Stores) -> None:
    async def work(writer: PostgresWriter) -> None:
        await writer.submit([decision("before")])
        await asyncio.to_thread(own.stop)
        with pytest.raises(StoreError):
            await writer.submit([decision("lost")])
        with pytest.raises(Busy, match="cannot be written to now") as caught:
            writer.submit([decision("refused")])
        assert caught.value.status == 503
        assert writer.waiting == 0
        await asyncio.to_thread(own.start)

    with_writer(stores, work)
    assert ids(stores) == ["before"]


def test_a_writer_that_starts_without_its_server_writes_once_it_is_there(own: Cluster, stores: Stores) -> None:
    own.stop()

    async def work(writer: PostgresWriter) -> None:
        await asyncio.to_thread(own.start)
        for _ in range(1000):
            try:
                await writer.submit([decision("d1")])
                return
            except Busy:
                await asyncio.sleep(0.02)
        raise AssertionError("it never came back")

    with_writer(stores, work)
    assert ids(stores) == ["d1"]
