"""When a call is tried again, and how long to wait before: decided here, done by the clients."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple

AGAIN = frozenset({408, 425, 429, 502, 503, 504})  # statuses after which the same request may succeed


@dataclass(frozen=True)
class Retry:
    """Full jitter: after n attempts that failed, a time drawn between 0 and min(longest, first · 2ⁿ⁻¹)."""

    attempts: int = 4
    first: float = 0.05  # seconds
    longest: float = 2.0  # seconds; a server's Retry-After is followed up to here

    def pause(self, failed: int, asked: float, draw: float) -> float:
        """Seconds after `failed` attempts; `asked`: the server's Retry-After; `draw` in [0, 1)."""
        jittered = draw * min(self.longest, self.first * 2.0 ** (failed - 1))
        return min(max(jittered, asked), self.longest) if asked else jittered


class Reply(NamedTuple):
    """What came back of one attempt."""

    status: int
    body: bytes
    again: str | None = None  # Retry-After


Step = float | None  # seconds to wait, or None: send the request


def exchange(retry: Retry, draw: Callable[[], float]) -> Generator[Step, Reply | OSError, Reply | OSError]:
    """What to do, one step after the other: the driver sends, and hands in what came of it. Returns the last."""
    for attempt in range(retry.attempts):
        outcome = yield None
        last = attempt + 1 == retry.attempts
        if last or (isinstance(outcome, Reply) and outcome.status not in AGAIN):
            return outcome
        asked = _seconds(outcome.again) if isinstance(outcome, Reply) else 0.0
        yield retry.pause(attempt + 1, asked, draw())
    raise AssertionError("A retry has at least one attempt.")


def _seconds(text: str | None) -> float:
    """Retry-After in seconds; a date, which we never send, counts as none."""
    return float(text) if text and text.isascii() and text.isdigit() else 0.0
