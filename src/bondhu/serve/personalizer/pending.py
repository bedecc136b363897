"""Events whose activation is deferred, and the ids under which events are logged.

A decision that may never be shown is committed like any other, but to a domain of its own beside the deployment's, so
that it is safe when its answer is sent and nothing that reads the deployment's log ever sees it. To activate it is to
log the decision itself. Its feedback waits in the log meanwhile, as all feedback does that comes before its decision.
"""

from __future__ import annotations

from hashlib import blake2b

from bondhu.ports import Keeping, Log
from bondhu.types import Decision

LONGEST = 100  # characters of an event's id that is logged as it is; longer ones are hashed
PREFIX = "deferred:"


def logged_as(*names: str) -> str:
    """The id of the decision of an event, or of one slot of an event: the same whenever it is asked for."""
    plain = "/".join(names)
    if len(plain) <= LONGEST and plain.isprintable():
        return plain
    return f"hashed-{blake2b(chr(0).join(names).encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def beside(domain: str) -> str:
    """Where the decisions are logged that wait for their activation."""
    return f"{domain}#deferred"


def deferred(decision: Decision, event: str, slot: int = 0) -> Decision:
    """The decision as it waits."""
    name = waits_as(event, slot)
    return decision._replace(id=name, domain=beside(decision.domain), session=name)


def activated(waiting: Decision, domain: str, identity: str, session: str) -> Decision:
    """The decision itself."""
    return waiting._replace(id=identity, domain=domain, session=session)


def waits_as(event: str, slot: int = 0) -> str:
    """The id under which an event, or the n-th slot of one (from 1), waits."""
    return f"{PREFIX}{logged_as(event)}" + (f"#{slot}" if slot else "")


def waiting(log: Log, domain: str, event: str, slot: int = 0) -> Decision | None:
    """The decision that waits, or None."""
    found = log.find(waits_as(event, slot))
    return found[0] if found is not None and found[0].domain == beside(domain) else None


def forget(log: Keeping, domain: str, before: float) -> int:
    """Delete what was ranked before this time and never activated; returns how many decisions."""
    return len(log.let_go(beside(domain), before).decisions)
