"""The way to an upstream's address: names with several addresses, of which one may lead nowhere, and TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, NamedTuple, TypeVar

AHEAD = 0.25  # seconds that an address has to answer before the next one is tried beside it
Address = tuple[int, int, int, str, Any]  # as getaddrinfo tells it
Made = TypeVar("Made", bound=asyncio.Protocol)


class Origin(NamedTuple):
    """Who is connected to."""

    secure: bool
    host: str
    port: int


async def connected(make: Callable[[], Made], origin: Origin, context: ssl.SSLContext | None) -> Made:
    """A protocol with its connection; raises OSError, ssl.SSLError among them, and UnicodeError for a name that is
    none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    reached = await _first(in_turn(found))
    try:
        name = origin.host if origin.secure else None
        _, made = await loop.create_connection(make, sock=reached, ssl=context, server_hostname=name)
    except BaseException:
        reached.close()
        raise
    return made


def in_turn(found: Sequence[Address]) -> list[Address]:
    """Addresses of both kinds, one of each after the other, beginning with the kind that the system prefers."""
    first = [each for each in found if each[0] == found[0][0]]
    others = [each for each in found if each[0] != found[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]


async def _first(addresses: Sequence[Address]) -> socket.socket:
    """A socket to the address that answers first; raises what went wrong with the last of them."""
    trying: set[asyncio.Task[socket.socket]] = set()
    wrong: BaseException = OSError("The name has no address.")
    left = list(addresses)
    try:
        while left or trying:
            if left:
                trying.add(asyncio.ensure_future(_reached(left.pop(0))))
            done, trying = await asyncio.wait(
                trying, timeout=AHEAD if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for each in done:
                error = each.exception()
                if error is None:
                    trying |= done - {each}
                    return each.result()
                wrong = error
        raise wrong
    finally:
        for each in trying:
            each.cancel()
            each.add_done_callback(_let_go)


async def _reached(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


def _let_go(late: asyncio.Task[socket.socket]) -> None:
    """Another address was faster."""
    with suppress(asyncio.CancelledError, OSError):
        late.result().close()
