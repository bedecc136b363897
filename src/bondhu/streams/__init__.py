"""Feedback that arrives in a stream: taken at least once, counted exactly once.

A message is acknowledged only when its feedback is committed; whatever is delivered again carries the same id, which
the log knows. What can never be stored is put aside with the reason, so that it blocks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

MOST = 500  # messages taken at once
PATIENCE = 1.0  # seconds to wait for the first message
ABANDONED = 60.0  # seconds after which a message that another consumer took, and never acknowledged, is taken over


class Message(NamedTuple):
    """One entry of a stream."""

    id: str  # the same whenever it is delivered
    body: bytes  # JSON: what POST /v1/feedback takes


class Source(Protocol):
    """One consumer of a stream; raises OSError or StreamAway where the stream cannot be reached."""

    async def take(self) -> list[Message]:
        """What nobody else has taken, at most MOST; an empty list after PATIENCE."""

    async def done(self, messages: Sequence[Message]) -> None:
        """Acknowledge: they are not delivered again."""

    async def put_aside(self, message: Message, why: str) -> None:
        """Keep it where people look, with the reason, and acknowledge it."""

    async def close(self) -> None:
        """Leave; what was taken and not acknowledged is delivered again."""
