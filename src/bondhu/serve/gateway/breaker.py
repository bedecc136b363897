"""A circuit breaker: whoever keeps failing is left alone for a while, then tried by one request at a time.

Pure: a state, what happened, and the time give the next state. Times are seconds of any clock that only goes forward.
"""

from __future__ import annotations

from typing import NamedTuple


class Rules(NamedTuple):
    """When a breaker opens, and for how long."""

    failures: int = 5  # in a row
    seconds: float = 30.0  # until one request may try again


class Breaker(NamedTuple):
    """What is known of one upstream."""

    failures: int = 0  # in a row
    opened: float | None = None  # when it was last found not to work; None: it is closed
    probe: float | None = None  # when the one request that tries it again was let through


CLOSED = Breaker()


def standing(breaker: Breaker, now: float, rules: Rules) -> str:
    """ "closed", "open" or "half-open"."""
    if breaker.opened is None:
        return "closed"
    return "open" if now < breaker.opened + rules.seconds else "half-open"


def entered(breaker: Breaker, now: float, rules: Rules) -> Breaker | None:
    """The state after one request was let through; None: it is not. A probe that never reports back counts as lost
    after as long as the breaker stays open."""
    stands = standing(breaker, now, rules)
    if stands == "closed":
        return breaker
    if stands == "open" or (breaker.probe is not None and now < breaker.probe + rules.seconds):
        return None
    return breaker._replace(probe=now)


def failed(breaker: Breaker, now: float, rules: Rules) -> Breaker:
    """The state after a request that failed."""
    failures = breaker.failures + 1
    opens = failures >= rules.failures or breaker.opened is not None
    return Breaker(failures, now if opens else None)


def left(breaker: Breaker) -> Breaker:
    """The state after a request that ended without saying anything of the upstream: its user went away."""
    return breaker._replace(probe=None)


def wait(breaker: Breaker, now: float, rules: Rules) -> float:
    """Seconds until it may be tried again."""
    return max(0.0, (breaker.opened or now) + rules.seconds - now) if breaker.opened is not None else 0.0
