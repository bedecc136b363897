"""NATS JetStream: a durable pull consumer; workers of one name share the messages of a stream."""

from __future__ import annotations

from collections.abc import Sequence

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.client import JetStreamContext

from bondhu.streams import ABANDONED, MOST, PATIENCE, Message

REFUSED = "refused"  # before the stream's name: subject of what cannot be stored


class NatsSource:
    """One of the workers that share a durable consumer."""

    def __init__(self, client: Client, pulls: JetStreamContext.PullSubscription, stream: str) -> None:
        self._client, self._pulls, self._stream = client, pulls, stream
        self._taken: dict[str, Msg] = {}  # by id of the message

    async def take(self) -> list[Message]:
        try:
            fetched = await self._pulls.fetch(MOST, timeout=PATIENCE)
        except nats.errors.TimeoutError:
            return []
        self._taken = {f"nats:{self._stream}:{each.metadata.sequence.stream}": each for each in fetched}
        return [Message(identity, each.data) for identity, each in self._taken.items()]

    async def done(self, messages: Sequence[Message]) -> None:
        for each in messages:
            await self._taken[each.id].ack()
        await self._client.flush()

    async def put_aside(self, message: Message, why: str) -> None:
        reason = why.encode("ascii", "replace").decode().replace("\r", " ").replace("\n", " ")
        await self._client.publish(f"{REFUSED}.{self._stream}", message.body, headers={"why": reason, "id": message.id})
        await self._taken[message.id].term()

    async def close(self) -> None:
        await _leave(self._client)


async def connect(address: str, password: str | None, stream: str, group: str, wait: float = ABANDONED) -> NatsSource:
    """Join the durable consumer `group` of a stream that exists; what is not acknowledged in `wait` seconds is
    delivered again."""
    client = Client()
    try:
        await client.connect(address, token=password, allow_reconnect=False, connect_timeout=5)
        asked = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=wait, max_ack_pending=4 * MOST)
        streams = client.jetstream()
        pulls = await streams.pull_subscribe("", durable=group, stream=stream, config=asked)
    except BaseException:  # told to stop in the middle of it, too
        await _leave(client)
        raise
    return NatsSource(client, pulls, stream)


async def _leave(client: Client) -> None:
    """Close the connection; the library leaves its socket open where the last flush fails."""
    try:
        await client.close()
    finally:
        if client._transport is not None:
            client._transport.close()  # type: ignore[no-untyped-call]  # the library leaves it untyped
