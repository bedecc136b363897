"""Redis streams: a consumer group shares the entries; field `feedback` of an entry is the message.

What a consumer took and never acknowledged, because it died, is claimed by another after ABANDONED seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.exceptions import ResponseError

from bondhu.streams import ABANDONED, MOST, PATIENCE, Message

FIELD = b"feedback"
REFUSED = ":refused"  # behind the stream's name: where what cannot be stored is put


class RedisSource:
    """One consumer of a group."""

    def __init__(self, client: redis.asyncio.Redis, stream: str, group: str, consumer: str, claim: float) -> None:
        self._client, self._stream, self._group = client, stream, group
        self._consumer, self._claim = consumer, claim
        self._own = True  # first what this consumer took before it died

    async def take(self) -> list[Message]:
        if self._own:
            mine = await self._read("0", block=None)
            self._own = bool(mine)
            if mine:
                return mine
        _, claimed, *_ = await self._client.xautoclaim(
            self._stream, self._group, self._consumer, int(self._claim * 1000), "0-0", count=MOST
        )
        if claimed:
            return self._messages(claimed)
        return await self._read(">", block=int(PATIENCE * 1000))

    async def done(self, messages: Sequence[Message]) -> None:
        await self._client.xack(self._stream, self._group, *(each.id.rpartition(":")[2] for each in messages))

    async def put_aside(self, message: Message, why: str) -> None:
        entry: dict[Any, Any] = {FIELD: message.body, b"why": why.encode(), b"id": message.id.encode()}
        await self._client.xadd(f"{self._stream}{REFUSED}", entry)
        await self.done([message])

    async def close(self) -> None:
        await self._client.aclose()

    async def _read(self, start: str, block: int | None) -> list[Message]:
        answer = await self._client.xreadgroup(
            self._group, self._consumer, {self._stream: start}, count=MOST, block=block
        )
        entries = answer[0][1] if isinstance(answer, list) and answer else []
        return self._messages(entries)

    def _messages(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Message]:
        """An entry without the field is a message that says nothing, and is put aside as one."""
        return [
            Message(f"redis:{self._stream}:{at.decode()}", (fields or {}).get(FIELD, b"")) for at, fields in entries
        ]


async def connect(
    address: str, password: str | None, stream: str, group: str, consumer: str, claim: float = ABANDONED
) -> RedisSource:
    """Join the group; it and the stream are made where they do not exist. Raises OSError."""
    client = redis.asyncio.Redis.from_url(address, password=password, protocol=2, socket_timeout=30)
    try:
        try:
            await client.xgroup_create(stream, group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
    except BaseException:  # told to stop in the middle of it, too
        await client.aclose()
        raise
    return RedisSource(client, stream, group, consumer, claim)
