"""Ids that sort by time (UUID version 7, RFC 9562), and the random number that belongs to each id."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from hashlib import blake2b

import numpy as np

from bondhu.types import Floats

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
FEW = 64  # ids up to which writing each costs less than setting up arrays for all
_DIGITS = [place for place in range(36) if place not in (8, 13, 18, 23)]  # of an id's letters; the others are dashes
TICKS = tuple(f"7{tick:03x}-8" for tick in range(4096))  # what counts within a millisecond, and what is the same in all


class Ids:
    """UUIDv7 in ascending order: 48 bits of milliseconds, 12 that count within one, 60 at random."""

    def __init__(self) -> None:
        self._next = 0  # (milliseconds << 12) + count
        self._lock = threading.Lock()

    def __call__(self, count: int, now: float) -> list[str]:
        """`count` new ids at `now` (seconds)."""
        with self._lock:
            first = max(int(now * 1000) << 12, self._next)
            self._next = first + count
        return spelled(first, count) if count > FEW else written(first, count)


def written(first: int, count: int) -> list[str]:
    """`count` ids from this one on, one after the other: the cheaper way for a few."""
    milliseconds, tick = divmod(first, len(TICKS))
    if tick + count > len(TICKS):
        left = len(TICKS) - tick
        return written(first, left) + written(first + left, count - left)
    time = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-"
    drawn = os.urandom(8 * count).hex("-", 8).split("-")
    return [
        f"{time}{each}{bits[:3]}-{bits[3:15]}" for each, bits in zip(TICKS[tick : tick + count], drawn, strict=True)
    ]


def spelled(first: int, count: int) -> list[str]:
    """`count` ids from this one on, all their letters at once."""
    ticks = np.arange(first, first + count, dtype=np.uint64)
    high = (ticks >> np.uint64(12) << np.uint64(16)) | np.uint64(0x7000) | (ticks & np.uint64(0xFFF))
    low = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(4) | np.uint64(0x8000_0000_0000_0000)
    digits = np.frombuffer(np.stack([high, low], axis=1).astype(">u8").tobytes().hex().encode(), np.uint8)
    letters = np.full((count, 36), ord("-"), np.uint8)
    letters[:, _DIGITS] = digits.reshape(count, 32)
    made: list[str] = letters.view("S36").ravel().astype("U36").tolist()
    return made


def made_at(identity: str) -> float | None:
    """When a UUIDv7 was made, in seconds; None for any other text."""
    if not _UUID7.fullmatch(identity):
        return None
    return int(identity[:8] + identity[9:13], 16) / 1000


def uniform_of(domain: str) -> Callable[[str], float]:
    """The function from decision ids to the uniform number in [0, 1) that belongs to each, for ever.

    It is 53 bits of a hash of domain and id, as a fraction.
    """
    begin = blake2b(f"{domain}\0".encode(), digest_size=8).copy  # going on from here costs half of a new hash

    def uniform(identity: str) -> float:
        hashed = begin()
        hashed.update(identity.encode())
        return (int.from_bytes(hashed.digest()) >> 11) * 2.0**-53

    return uniform


class Draws:
    """The uniform numbers of these ids as a policy asks for them: the same ids give the same numbers."""

    def __init__(self, domain: str, ids: Iterable[str]) -> None:
        self._numbers = [*map(uniform_of(domain), ids)]

    def random(self, size: int, /) -> Floats:
        """One number for each id: `[size]`."""
        if size != len(self._numbers):
            raise ValueError(f"{size} numbers asked for {len(self._numbers)} decisions: one number belongs to each.")
        return np.array(self._numbers, np.float64)
