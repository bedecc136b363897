"""People who look at the pages, as their browsers do: each listens for changes, and asks for its page again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic

import aiohttp

PAUSE = 2.0  # seconds between two looks of one browser, as files/dashboard.js has it
EVENTS = "/dashboard/events"


@dataclass
class Seen:
    """What all of them were told."""

    events: int = 0
    pages: int = 0
    failed: int = 0
    bytes: int = 0  # of pages, as they came
    slowest: float = 0.0  # seconds until a page was there


async def watch(session: aiohttp.ClientSession, address: str, seen: Seen) -> None:
    """One browser, until cancelled."""
    last = -PAUSE
    async with session.get(EVENTS) as stream:
        async for line in stream.content:
            if not line.startswith(b"event:"):
                continue
            seen.events += 1
            await asyncio.sleep(max(0.0, last + PAUSE - monotonic()))
            last = monotonic()
            await look(session, address, seen)


async def look(session: aiohttp.ClientSession, address: str, seen: Seen) -> None:
    began = monotonic()
    async with session.get(address, headers={"x-part": "main"}) as answer:
        content = await answer.read()
        seen.pages += 1
        seen.failed += answer.status != 200
        seen.bytes += len(content)
        seen.slowest = max(seen.slowest, monotonic() - began)


async def watched(port: int, addresses: Sequence[str]) -> Seen:
    """All of them, until standard input ends."""
    seen = Seen()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", auto_decompress=False) as session:
        for address in addresses:
            await look(session, address, seen)
        watching = [asyncio.create_task(watch(session, address, seen)) for address in addresses]
        print("watching", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for each in watching:
            each.cancel()
        ended = await asyncio.gather(*watching, return_exceptions=True)
    seen.failed += sum(not isinstance(each, asyncio.CancelledError) for each in ended)
    return seen


@contextmanager
def watching(port: int, addresses: Sequence[str], seen: list[Seen]) -> Iterator[None]:
    """Browsers in a process of their own while the block runs; what they saw is added at the end."""
    command = [sys.executable, "-m", "benchmarks.dashboard_watchers", str(port), *addresses]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "watching\n":
                raise RuntimeError("The browsers could not look.")
            yield
        finally:
            process.stdin.close()
            told = process.stdout.read()
    if told:
        seen.append(Seen(**json.loads(told)))


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(watched(int(sys.argv[1]), sys.argv[2:])))))
