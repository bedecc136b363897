"""What the gateway of one deployment is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bondhu.domains.assistant.strategies import Strategies
from bondhu.ports import Transcripts
from bondhu.serve.gateway.breaker import Rules
from bondhu.serve.gateway.upstream import Upstream


@dataclass(frozen=True)
class Gateway:
    """Whom to ask, how, and what is kept of it."""

    strategies: Strategies
    upstreams: Mapping[str, Upstream]
    transcripts: Transcripts
    prompt: str = "store"  # "store", "hash" or "drop": what is kept of what users write
    answer: str = "store"  # likewise of answers
    salt: bytes = b""  # keys the hashes
    dollars_per_day: float | None = None
    workers: int = 1  # processes that spend of the same budget
    breaker: Rules = Rules()
    embed: Callable[[str], Sequence[float]] | None = None  # makes the vector of a text
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep  # seconds, between attempts
