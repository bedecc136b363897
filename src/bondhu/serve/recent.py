"""Ids of late, so that what was just decided need not be looked up."""

from __future__ import annotations

from collections.abc import Iterable


class Recent:
    """The latest ids: at least `size` of them, at most twice as many and one addition."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: set[str] = set()
        self._old: set[str] = set()

    def add(self, identities: Iterable[str]) -> None:
        self._young.update(identities)
        if len(self._young) > self._size:
            self._young, self._old = set(), self._young

    def discard(self, identities: Iterable[str]) -> None:
        """Forget these."""
        gone = set(identities)
        self._young -= gone
        self._old -= gone

    def clear(self) -> None:
        """Forget all."""
        self._young, self._old = set(), set()

    def __contains__(self, identity: str) -> bool:
        return identity in self._young or identity in self._old
