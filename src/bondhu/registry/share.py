"""Who is given which variant: by a hash, so that it is the same in every process, on every device and for ever."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from bondhu.registry.lifecycle import Step

LIVE, TRIAL, HOLDOUT = "live", "trial", "holdout"  # the variants that a log may name


class Assignment(NamedTuple):
    """The variant of one person, and with what probability a person is given it."""

    variant: str
    probability: float


def place(salt: str, unit: str) -> float:
    """Where a unit falls in [0, 1): uniform over units, and independent from salt to salt."""
    digest = blake2b(unit.encode(), digest_size=8, salt=_salt(salt)).digest()
    return (int.from_bytes(digest) >> 11) * 2.0**-53


@lru_cache(maxsize=64)
def _salt(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def assign(domain: str, unit: str, step: Step | None, holdout: float) -> Assignment:
    """The variant of a unit (a user; where nobody is known, a session).

    Growing shares keep everybody who was in: the place does not move, the boundary does. Those of the holdout meet the
    rule, whatever is released to others; they are chosen apart from any trial.
    """
    if holdout and place(f"{domain}/holdout", unit) < holdout:
        return Assignment(HOLDOUT, holdout)
    if step is None or not step.share:
        return Assignment(LIVE, 1.0 - holdout)
    if place(f"{domain}/{step.version}", unit) < step.share:
        return Assignment(TRIAL, (1.0 - holdout) * step.share)
    return Assignment(LIVE, (1.0 - holdout) * (1.0 - step.share))
