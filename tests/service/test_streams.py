"""Feedback from real Redis and NATS servers: at least once in, exactly once in effect."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest
import redis

from bondhu.errors import Busy
from bondhu.serve.beside import running
from bondhu.serve.decide import Decider, Request
from bondhu.serve.hearing import hear
from bondhu.serve.messages import Heard, Said
from bondhu.serve.writing.thread import ThreadWriter
from bondhu.streams import Source
from bondhu.streams import nats as nats_source
from bondhu.streams import redis as redis_source
from bondhu.streams.consuming import consume
from tests.documents import free_port
from tests.service.shop import CONTEXT, decider

STREAM = "feedback"
DEADLINE = 60.0  # seconds
WAIT = 0.5  # seconds after which a message nobody acknowledged comes again
PROGRAMS = {"redis": "redis-server", "nats": "nats-server"}


class Broker:
    """A server of its own, which can be killed and started again on what it kept on disk."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.port = kind, folder, free_port()
        self.address = f"{kind}://127.0.0.1:{self.port}"
        self.start()
        if kind == "nats":
            asyncio.run(self._nats_stream())

    def start(self) -> None:
        program = shutil.which(PROGRAMS[self.kind], path="/usr/sbin:/usr/bin:/usr/local/bin:/bin")
        if program is None:
            pytest.skip(f"{PROGRAMS[self.kind]} is not installed")
        options = {
            "redis": ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"],
            "nats": ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)],
        }[self.kind]
        options += ["--appendfsync", "always", "--dir", str(self.folder)] if self.kind == "redis" else []
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{program} did not start")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def _nats_stream(self) -> None:
        client = await nats.connect(self.address)
        await client.jetstream().add_stream(name=STREAM, subjects=[f"{STREAM}.>", f"refused.{STREAM}"])
        await client.close()

    def publish(self, *bodies: bytes) -> None:
        if self.kind == "redis":
            with redis.Redis(port=self.port, protocol=2) as client:
                for body in bodies:
                    client.xadd(STREAM, {"feedback": body})
        else:
            with ThreadPoolExecutor(1) as aside:  # there may be a running loop here
                aside.submit(asyncio.run, self._publish(bodies)).result()

    async def _publish(self, bodies: Sequence[bytes]) -> None:
        client = await nats.connect(self.address)
        for body in bodies:
            await client.jetstream().publish(f"{STREAM}.shop", body)
        await client.close()

    def connect(self, consumer: str = "one") -> Callable[[], Awaitable[Source]]:
        if self.kind == "redis":
            return partial(redis_source.connect, self.address, None, STREAM, "bondhu", consumer, WAIT)
        return partial(nats_source.connect, self.address, None, STREAM, "bondhu", WAIT)


@pytest.fixture(params=["redis", "nats"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    started = Broker(request.param, tmp_path)
    yield started
    started.kill()


def likes(one: Decider, count: int) -> list[bytes]:
    made = one.decide_many([Request(CONTEXT)] * count)
    return [json.dumps({"decision_id": each.id, "signal": "like"}).encode() for each in made]


def feedback_in(one: Decider) -> int:
    return one.deployment.log.summary("shop").feedback


def consumed(
    one: Decider,
    *connects: Callable[[], Awaitable[Source]],
    until: Callable[[], bool],
    before: Callable[[Sequence[Said]], None] = lambda _: None,
    after: Callable[[Sequence[Said]], None] = lambda _: None,
) -> None:
    """Run consumers until something holds; `before` and `after` a commit, anything may be raised."""

    async def main() -> None:
        writer = ThreadWriter(one.deployment.log)
        await writer.start()

        async def heard(said: Sequence[Said]) -> list[Heard]:
            before(said)
            outcome = await hear(one, writer, said)
            after(said)
            return outcome

        end = time.monotonic() + DEADLINE
        async with running([partial(consume, STREAM, connect, heard) for connect in connects]):
            while not until() and time.monotonic() < end:
                await asyncio.sleep(0.05)
        await writer.close()

    asyncio.run(main())
    assert until()


def test_every_message_is_heard_once_and_acknowledged(broker: Broker) -> None:
    one = decider()
    broker.publish(*likes(one, 700))
    consumed(one, broker.connect(), until=lambda: feedback_in(one) == 700)
    again = [0]

    def count(said: Sequence[Said]) -> None:
        again[0] += len(said)

    broker.publish(*likes(one, 1))
    consumed(one, broker.connect(), until=lambda: feedback_in(one) == 701, before=count)
    assert again == [1]


def test_what_is_delivered_again_after_a_crash_counts_once(broker: Broker) -> None:
    one = decider()
    broker.publish(*likes(one, 20))
    crashes = [0]

    def crash(said: Sequence[Said]) -> None:
        if crashes[0] < 3:
            crashes[0] += 1
            raise ConnectionResetError("after the commit, before the acknowledgement")

    heard: list[str] = []
    consumed(
        one,
        broker.connect(),
        until=lambda: crashes[0] == 3 and len(heard) >= 40,
        before=lambda said: heard.extend(str(each.id) for each in said),
        after=crash,
    )
    assert len(set(heard)) == 20
    assert feedback_in(one) == 20


def test_nothing_is_lost_while_the_store_is_busy(broker: Broker) -> None:
    one = decider()
    broker.publish(*likes(one, 5))
    refusals = [0]

    def busy(_: Sequence[Said]) -> None:
        if refusals[0] < 2:
            refusals[0] += 1
            raise Busy("10000 rows are waiting to be written.")

    consumed(one, broker.connect(), until=lambda: feedback_in(one) == 5, before=busy)
    assert refusals == [2]


def test_what_can_never_be_stored_is_put_aside_with_the_reason(broker: Broker) -> None:
    one = decider()
    good = likes(one, 1)[0]
    bad = [b"\xff\xfe no JSON", b'{"decision_id": "order-9", "signal": "like"}', good.replace(b"like", b"lik\\u00e9")]
    broker.publish(*bad, good)
    consumed(one, broker.connect(), until=lambda: feedback_in(one) == 1)
    aside = put_aside(broker)
    assert [body for body, _ in aside] == bad
    reasons = [why for _, why in aside]
    assert "not JSON" in reasons[0]
    assert "No decision 'order-9'" in reasons[1]
    assert "There is no signal" in reasons[2]


def put_aside(broker: Broker) -> list[tuple[bytes, str]]:
    if broker.kind == "redis":
        with redis.Redis(port=broker.port, protocol=2) as client:
            entries: Any = client.xrange(f"{STREAM}:refused")
            return [(fields[b"feedback"], fields[b"why"].decode()) for _, fields in entries]

    async def main() -> list[tuple[bytes, str]]:
        client = await nats.connect(broker.address)
        pulls = await client.jetstream().pull_subscribe(f"refused.{STREAM}", stream=STREAM)
        found = await pulls.fetch(3, timeout=5)
        await client.close()
        return [(each.data, (each.headers or {})["why"]) for each in found]

    return asyncio.run(main())


def test_a_broker_that_is_killed_and_comes_back_goes_on(broker: Broker) -> None:
    one = decider()
    bodies = likes(one, 30)
    broker.publish(*bodies[:10])
    steps = iter([broker.kill, lambda: (broker.start(), broker.publish(*bodies[10:]))])

    def halfway() -> bool:
        if feedback_in(one) == 10:
            for step in steps:
                step()
        return feedback_in(one) == 30

    consumed(one, broker.connect(), until=halfway)
    assert feedback_in(one) == 30


@pytest.mark.parametrize("connect", [nats_source.connect, redis_source.connect])
def test_a_consumer_stopped_while_it_connects_leaves_no_socket_open(connect: Any) -> None:
    async def main() -> bool:
        gone = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1024):
                pass
            writer.close()
            gone.set()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        kind = connect.__module__.rpartition(".")[2]
        rest = ("bondhu",) if kind == "nats" else ("bondhu", "one")
        connecting = asyncio.create_task(connect(f"{kind}://127.0.0.1:{port}", None, STREAM, *rest))
        await asyncio.sleep(0.3)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await asyncio.wait_for(gone.wait(), DEADLINE)
        server.close()
        return gone.is_set()

    assert asyncio.run(main())


def test_consumers_of_one_group_share_the_messages(broker: Broker) -> None:
    one = decider()
    heard: list[str] = []
    broker.publish(*likes(one, 1200))
    consumed(
        one,
        broker.connect("one"),
        broker.connect("two"),
        until=lambda: feedback_in(one) == 1200,
        before=lambda said: heard.extend(str(each.id) for each in said),
    )
    assert len(heard) == len(set(heard)) == 1200
