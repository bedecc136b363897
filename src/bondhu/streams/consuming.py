"""Takes feedback from a stream into the log until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bondhu.errors import InvalidInput, StoreError
from bondhu.serve.messages import Heard, Said
from bondhu.serve.replies import decoder
from bondhu.streams import Message, Source

Hear = Callable[[Sequence[Said]], Awaitable[list[Heard]]]
LONGEST_PAUSE = 30.0  # seconds between attempts while the stream or the store is away
log = logging.getLogger(__name__)
_read = decoder(Said)


async def consume(name: str, connect: Callable[[], Awaitable[Source]], hear: Hear) -> None:
    """Until cancelled. Whatever is away is waited for; nothing is acknowledged that is not committed."""
    pause = 0.1
    while True:
        source = None
        try:
            source = await connect()
            while True:
                messages = await source.take()
                if messages:
                    await _heard(source, messages, hear)
                pause = 0.1
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the stream or the store is away: whatever it is, it is tried again
            log.warning("Stream %s: %s; trying again in %.1f s.", name, _named(error), pause)
        finally:
            if source is not None:
                await _closed(source)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _heard(source: Source, messages: Sequence[Message], hear: Hear) -> None:
    """Commit what the messages say, then acknowledge them."""
    said: list[tuple[Message, Said]] = []
    for message in messages:
        try:
            said.append((message, _said(message)))
        except InvalidInput as error:
            await source.put_aside(message, str(error))
    outcomes = await hear([each for _, each in said]) if said else []
    stored = []
    for (message, _), outcome in zip(said, outcomes, strict=True):
        if outcome.status == "refused":
            await source.put_aside(message, (outcome.error or {}).get("detail", "refused"))
        else:
            stored.append(message)
    if stored:
        await source.done(stored)


def _said(message: Message) -> Said:
    """What a message says; its own id is that of the feedback where it names none."""
    said = _read(message.body)
    return said if said.id is not None else msgspec.structs.replace(said, id=message.id)


async def _closed(source: Source) -> None:
    try:
        await source.close()
    except Exception as error:  # it is gone already
        log.debug("A stream could not be left in order: %s", error)


def _named(error: Exception) -> str:
    return str(error) if isinstance(error, StoreError) else f"{type(error).__name__} {error}".strip()
