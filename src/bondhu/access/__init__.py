"""Who may do what: roles and the permissions that they give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

DECIDE = "decide"  # ask for decisions, give feedback
EXPLAIN = "explain"  # see why one decision was made
READ = "read"  # see versions, verdicts, health
OPERATE = "operate"  # train, release, promote, roll back, stop
ADMINISTER = "administer"  # keys, erasure, the audit log

PERMISSIONS: Mapping[str, frozenset[str]] = {
    "reader": frozenset({EXPLAIN, READ}),
    "app": frozenset({DECIDE}),
    "operator": frozenset({EXPLAIN, READ, OPERATE}),
    "admin": frozenset({DECIDE, EXPLAIN, READ, OPERATE, ADMINISTER}),
}  # by role
WITHOUT_KEYS = frozenset({DECIDE, EXPLAIN})  # what anybody may where no keys are asked for


class Caller(NamedTuple):
    """Who sends a request."""

    name: str  # for the history and the audit log
    role: str | None  # None: nobody asked for a key
    key: str = ""  # id of the key; empty for the administrator's key of the settings
    domain: str | None = None  # the only domain that the key is for; None: all of the server's


class Access(Protocol):
    """Lets a request in, or not."""

    @property
    def required(self) -> bool:
        """Whether deciding and explaining need a key."""

    def admit(self, headers: Iterable[tuple[bytes, bytes]], permission: str) -> Caller:
        """Raises Unauthorized without a good key, NotAllowed where its role does not give the permission,
        TooManyRequests where it has sent too many."""

    def follow(self) -> None:
        """Keep up with what others change, until `close`."""

    def close(self) -> None: ...
