"""Writers, in a thread or in a process of their own: what was answered is stored, one bad row fails alone, a full queue
says so, and where nobody writes everything is busy."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bondhu.errors import Busy, DuplicateId, InvalidInput, StoreFull, StoreLocked
from bondhu.log.memory import MemoryLog
from bondhu.log.prepared import Prepared
from bondhu.log.sqlite import SqliteLog
from bondhu.serve.decide import Request
from bondhu.serve.writing.committer import Committer, grouped
from bondhu.serve.writing.frames import LARGEST, LENGTH, Batch, batch_of, cut, frame, of_jobs
from bondhu.serve.writing.process import ProcessWriter
from bondhu.serve.writing.thread import ThreadWriter
from bondhu.types import Decision, Feedback
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

    async def main() -> None:
        writer = ThreadWriter(log)
        await writer.start()
        made = rows(100)
        first = writer.submit(made[:1])
        await asyncio.sleep(0.05)
        rest = [writer.submit([each]) for each in made[1:]]
        assert writer.waiting == 100
        assert not first.done()
        log.go.set()
        assert [done[0] for done in await asyncio.gather(first, *rest)] == made
        assert writer.waiting == 0
        await writer.close()

    asyncio.run(main())
    assert log.sizes == [1, 99]


def test_closing_writes_what_is_waiting_and_takes_nothing_more() -> None:
    log = Slow()

    async def main() -> None:
        writer = ThreadWriter(log)
        await writer.start()
        waiting = [writer.submit([each]) for each in rows(50)]
        closing = asyncio.create_task(writer.close())
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

    async def main() -> None:
        writer = ThreadWriter(log, limit=3)
        await writer.start()
        waiting = [writer.submit([each]) for each in rows(3)]
        with pytest.raises(Busy, match="3 rows are waiting") as caught:
            writer.submit(rows(1))
        assert caught.value.status == 503
        log.go.set()
        await asyncio.gather(*waiting)
        assert len(await writer.submit(rows(1))) == 1
        await writer.close()

    asyncio.run(main())


def test_a_store_that_fails_is_tried_once_a_group() -> None:
    log = Slow()
    log.error = StoreLocked("Another process is writing.")

    async def main() -> None:
        writer = ThreadWriter(log)
        await writer.start()
        first = writer.submit(rows(1))
        await asyncio.sleep(0.05)
        rest = [writer.submit([each]) for each in rows(10)]
        log.go.set()
        outcomes = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [type(each) for each in outcomes] == [StoreLocked] * 11
        await writer.close()

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


# ------------------------------------------------------------------------------------------- in a process of its own


class Patient(SqliteLog):
    """A log in a file whose commits wait for a sign."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()
        self.go.set()
        self.sizes: list[int] = []

    def insert(self, rows: Prepared) -> None:
        self.go.wait(10)
        self.sizes.append(len(rows.decisions) + len(rows.feedback))
        super().insert(rows)


@contextmanager
def committing(log: SqliteLog, path: Path) -> Iterator[None]:
    """What the process runs, in a thread of the test."""
    with socket.socket(socket.AF_UNIX) as listener:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen()
        ours, theirs = socket.socketpair()
        committer = Committer(log, listener, theirs)
        thread = threading.Thread(target=committer.run)
        thread.start()
        try:
            yield
        finally:
            ours.sendall(b"stop")
            thread.join()
            committer.close()
            ours.close()
            theirs.close()


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    with Patient(tmp_path / "log.sqlite") as log:
        yield log


async def there(writer: ProcessWriter) -> None:
    """Until it has reached its process again."""
    for _ in range(1000):
        try:
            await writer.submit([])
        except Busy:
            await asyncio.sleep(0.01)
        else:
            return
    raise AssertionError("It was never reached.")


def test_rows_that_come_in_during_a_commit_cross_over_and_are_committed_together(
    patient: Patient, tmp_path: Path
) -> None:
    async def main() -> None:
        writer = ProcessWriter(str(tmp_path / "writer"))
        await writer.start()
        made = rows(100)
        patient.go.clear()
        first = writer.submit(made[:1])
        await asyncio.sleep(0.1)
        rest = [
            writer.submit([each], [Feedback(f"f{at}", each.id, "like", 1.0, 1.0)]) for at, each in enumerate(made[1:])
        ]
        assert writer.waiting == 1 + 2 * 99
        await asyncio.sleep(0.1)
        assert not first.done()
        patient.go.set()
        assert [done[0] for done in await asyncio.gather(first, *rest)] == made
        assert writer.waiting == 0
        await writer.close()
        with pytest.raises(Busy, match="stopping"):
            writer.submit(made[:1])

    with committing(patient, tmp_path / "writer"):
        asyncio.run(main())
    assert patient.sizes == [1, 198]
    assert len(patient.read("shop", 0, 1e12).feedback_decision) == 99


def test_a_retry_gets_what_was_logged_first_and_a_bad_row_fails_alone(patient: Patient, tmp_path: Path) -> None:
    one, two, three, four = rows(4)
    again = one._replace(action=next(name for name in one.allowed if name != one.action), time=2.0)
    other = two._replace(user="somebody else")
    said, differently = Feedback("f", one.id, "like", 1.0, 1.0), Feedback("f", one.id, "like", 0.5, 1.0)

    async def main() -> None:
        writer = ProcessWriter(str(tmp_path / "writer"))
        await writer.start()
        assert await writer.submit([one, two], [said]) == [one, two]
        outcomes = await asyncio.gather(
            writer.submit([again]),
            writer.submit([other]),
            writer.submit([], [differently]),
            writer.submit([three], [said._replace(time=9.0)]),
            writer.submit([four._replace(probability=2.0)]),
            return_exceptions=True,
        )
        assert outcomes[0] == [one]
        assert isinstance(outcomes[1], DuplicateId)
        assert (outcomes[1].field, outcomes[1].value) == ("id", two.id)
        assert "made for another request" in str(outcomes[1])
        assert isinstance(outcomes[2], DuplicateId)
        assert outcomes[3] == [three]
        assert isinstance(outcomes[4], InvalidInput)
        assert outcomes[4].field == "probability"
        assert writer.waiting == 0
        await writer.close()

    with committing(patient, tmp_path / "writer"):
        asyncio.run(main())
    assert list(patient.read("shop", 0, 1e12).id) == [one.id, two.id, three.id]
    assert patient.find(one.id) == (one, [said])


def test_without_the_process_everything_is_busy_until_it_is_back(patient: Patient, tmp_path: Path) -> None:
    path = tmp_path / "writer"

    async def main() -> None:
        writer = ProcessWriter(str(path))
        made = rows(3)
        with committing(patient, path):
            await writer.start()
            await writer.submit(made[:1])
            patient.go.clear()
            unanswered = [writer.submit([each]) for each in made[1:]]
            await asyncio.sleep(0.1)
            writer._line.hang_up()  # type: ignore[union-attr]  # as if the process had been killed in its commit
            outcomes = await asyncio.gather(*unanswered, return_exceptions=True)
            assert [type(each) for each in outcomes] == [Busy, Busy]
            assert writer.waiting == 0
            with pytest.raises(Busy, match="is away"):
                writer.submit(made[1:2])
            patient.go.set()
        with committing(patient, path):
            await there(writer)
            assert await writer.submit(made) == made  # whether or not two of them were stored unanswered
            await writer.close()

    asyncio.run(main())
    assert len(patient.read("shop", 0, 1e12).id) == 3


def test_more_than_may_wait_for_the_process_is_busy(patient: Patient, tmp_path: Path) -> None:
    async def main() -> None:
        writer = ProcessWriter(str(tmp_path / "writer"), limit=3)
        await writer.start()
        patient.go.clear()
        waiting = [writer.submit([each]) for each in rows(3)]
        with pytest.raises(Busy, match="3 rows are waiting"):
            writer.submit(rows(1))
        patient.go.set()
        await asyncio.gather(*waiting)
        assert len(await writer.submit(rows(1))) == 1
        await writer.close()

    with committing(patient, tmp_path / "writer"):
        asyncio.run(main())


def test_a_store_that_cannot_write_is_told_to_each_request(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Prepared) -> None:
        raise StoreFull("No room.", fix="Free some space.")

    async def main() -> None:
        writer = ProcessWriter(str(tmp_path / "writer"))
        await writer.start()
        outcomes = await asyncio.gather(*[writer.submit([each]) for each in rows(3)], return_exceptions=True)
        assert [(type(each), str(each)) for each in outcomes] == [(StoreFull, "No room. Free some space.")] * 3
        await writer.close()

    monkeypatch.setattr(patient, "insert", full)
    with committing(patient, tmp_path / "writer"):
        asyncio.run(main())


def test_who_talks_nonsense_to_the_writer_is_cut_off_and_others_go_on(
    patient: Patient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        writer = ProcessWriter(str(tmp_path / "writer"))
        await writer.start()
        for nonsense in (LENGTH.pack(LARGEST + 1), bytes(frame("rows"))):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(tmp_path / "writer"))
                stranger.sendall(nonsense)
                stranger.settimeout(10)
                while await asyncio.to_thread(stranger.recv, 100):
                    pass
        assert len(await writer.submit(rows(1))) == 1
        await writer.close()

    with committing(patient, tmp_path / "writer"):
        asyncio.run(main())
    assert [each.message for each in caplog.records].count(
        "A worker sent what cannot be understood; its connection is closed."
    ) == 2


@pytest.mark.parametrize("step", [1, 3, 7, 10_000])
def test_frames_are_found_however_the_bytes_arrive(step: int) -> None:
    contents = [b"", b"a", b"b" * 300]
    stream = b"".join(LENGTH.pack(len(each)) + each for each in contents)
    arrived, found = bytearray(), []
    for at in range(0, len(stream), step):
        arrived += stream[at : at + step]
        found += cut(arrived)
    assert found == contents
    assert not arrived


def test_a_frame_says_every_field_of_its_rows_and_large_groups_are_parted() -> None:
    first = rows(1)[0]._replace(
        context={"mood": "glücklich", "age": 12345678901234567890123, "list": [None, True, {"deep": 0.1}]},
        memo=(0.1, -0.0, 1e300),
        user=None,
        assigned=0.25,
    )
    said = Feedback("f", first.id, "like", None, 2.5, "earlier")

    class Rows:
        decisions = [first]  # noqa: RUF012
        feedback = [said]  # noqa: RUF012

    batch = batch_of(bytes(of_jobs([Rows(), Rows()])[LENGTH.size :]))
    assert [(each.decisions, each.feedback) for each in batch.jobs()] == [([first], [said])] * 2
    assert str(batch.jobs()[0].decisions[0].memo) == "(0.1, -0.0, 1e+300)"
    many = [(None, Batch(Prepared([()] * 900, []), [])) for _ in range(5)]
    assert [len(group) for group in grouped(many)] == [3, 2]  # type: ignore[arg-type]  # nobody is asked for anything
