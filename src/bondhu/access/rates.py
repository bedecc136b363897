"""How much may come in how short a time: a token bucket."""

from __future__ import annotations


class Bucket:
    """Holds one second's worth of tokens, at least one; each request takes one, and they come back at the rate."""

    __slots__ = ("_at", "_left", "_rate", "_size")

    def __init__(self, rate: float, now: float, *, size: float | None = None) -> None:
        """`rate`: tokens a second; `size`: how many it holds, default one second's worth."""
        self._rate, self._size = rate, max(rate, 1.0) if size is None else size
        self._left, self._at = self._size, now

    def take(self, now: float) -> bool:
        """Take one token, if there is one. A clock that was set back brings none."""
        left = self._left + max(now - self._at, 0.0) * self._rate
        self._at = now
        left = min(left, self._size)
        if left < 1.0:
            self._left = left
            return False
        self._left = left - 1.0
        return True

    @property
    def wait(self) -> float:
        """Seconds until there is a token."""
        return max(1.0 - self._left, 0.0) / self._rate
