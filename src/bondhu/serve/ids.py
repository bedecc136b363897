"""Ids that sort by time (UUID version 7, RFC 9562), and the random number that belongs to each id."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from bondhu.types import Floats

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_DIGITS = [place for place in range(36) if place not in (8, 13, 18, 23)]  # of an id's letters; the others are dashes


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
        if count > 1:
            return spelled(first, count)
        ticks, drawn = f"{first:015x}", os.urandom(8).hex()
        return [f"{ticks[:8]}-{ticks[8:12]}-7{ticks[12:]}-8{drawn[:3]}-{drawn[3:15]}"]


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


class Draws:
    """The uniform numbers in [0, 1) that belong to decision ids: the same ids give the same numbers, for ever."""

    def __init__(self, domain: str, ids: Iterable[str]) -> None:
        prefix = f"{domain}\0"
        self._bits = [blake2b(f"{prefix}{each}".encode(), digest_size=8).digest() for each in ids]

    def random(self, size: int, /) -> Floats:
        """53 bits of each hash, as a fraction."""
        if size == len(self._bits) == 1:  # the live request
            return np.array([(int.from_bytes(self._bits[0]) >> 11) * 2.0**-53])
        bits = np.frombuffer(b"".join(self._bits), ">u8")
        if size != len(bits):
            raise ValueError(f"{size} numbers asked for {len(bits)} decisions: one number belongs to each.")
        return (bits >> np.uint64(11)) * 2.0**-53
