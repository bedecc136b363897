"""From settings to consumers."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from bondhu.serve.beside import Work
from bondhu.serve.decide import Decider
from bondhu.serve.hearing import hear
from bondhu.serve.writing import Writer
from bondhu.settings import Stream
from bondhu.streams import Source
from bondhu.streams.consuming import consume


def consumers(streams: list[Stream], worker: int, decider: Decider, writer: Writer) -> list[Work]:
    """What a worker runs beside its routes: one consumer of each stream."""
    heard = partial(hear, decider, writer)
    return [partial(consume, f"{each.kind} {each.name}", connection(each, worker), heard) for each in streams]


def connection(stream: Stream, worker: int) -> Callable[[], Awaitable[Source]]:
    """Connects to the stream; a Redis consumer keeps its name when its worker is replaced."""
    password = stream.password.get_secret_value() if stream.password else None
    if stream.kind == "nats":
        from bondhu.streams import nats

        return partial(nats.connect, stream.address, password, stream.name, stream.group)
    from bondhu.streams import redis

    consumer = f"{socket.gethostname()}-{worker}-{os.getuid()}"
    return partial(redis.connect, stream.address, password, stream.name, stream.group, consumer)
