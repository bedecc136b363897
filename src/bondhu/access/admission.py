"""Lets requests in by their keys, from a copy of the ledger's keys in memory that follows the ledger."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from time import monotonic
from typing import NamedTuple

from bondhu.access import PERMISSIONS, WITHOUT_KEYS, Caller
from bondhu.access.administrator import same_key
from bondhu.access.keys import KIND, Key, known
from bondhu.access.rates import Bucket
from bondhu.errors import BondhuError, NotAllowed, TooManyRequests, Unauthorized
from bondhu.ports import Ledger

log = logging.getLogger(__name__)
FRESH = 1.0  # seconds for which the copy is believed; a revocation counts within them
FOLLOW = 0.25  # seconds between two looks at the ledger
CREDENTIALS = frozenset({b"x-api-key", b"authorization", b"x-admin-key"})
MARK = b"bd"  # what the text of a key begins with
ANYBODY = Caller("anybody", None)


@dataclass(frozen=True)
class Rules:
    """What the settings say of keys."""

    admin_key: str = ""  # sent as X-Admin-Key; empty: it opens nothing
    required: bool = False  # whether deciding and explaining need a key
    rate: float | None = None  # requests a second that a key may send, unless it has a rate of its own
    workers: int = 1  # processes that share the requests, and so the rate
    everywhere: bool = True  # whether `admin_key` may look after the keys of all domains, or of this one alone


class Pass(NamedTuple):
    """A key, ready to be compared."""

    hash: bytes
    permissions: frozenset[str]
    expires: float  # seconds
    caller: Caller
    bucket: Bucket | None


NOBODY = Pass(bytes(32), frozenset(), 0.0, ANYBODY, None)  # no secret is known whose hash is all zeros


class Keys:
    """The access of one domain: its own keys, and those for all domains."""

    def __init__(
        self,
        ledgers: Ledger | Sequence[Ledger],
        domain: str,
        rules: Rules,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`ledgers`: the deployment's own, and that of the server where it is another."""
        self._ledgers = tuple(ledgers) if isinstance(ledgers, Sequence) else (ledgers,)
        self._domain, self._rules, self._now = domain, rules, now
        self._open: frozenset[str] = frozenset() if rules.required else WITHOUT_KEYS
        scope = None if rules.everywhere else domain
        self._administrator = Caller("administrator", "admin", "", scope)
        self._seen = [0] * len(self._ledgers)
        self._keys: dict[str, Key] = {}
        self._passes: dict[bytes, Pass] = {}
        self._believed = 0.0  # by the monotonic clock: until when the copy is believed
        self._turn = threading.Lock()
        self._stopped: threading.Event | None = None
        self._follower: threading.Thread | None = None

    @property
    def required(self) -> bool:
        """Whether deciding and explaining need a key."""
        return self._rules.required

    def admit(  # noqa: C901  every request of an app comes this way: one pass, no calls
        self, headers: Iterable[tuple[bytes, bytes]], permission: str
    ) -> Caller:
        """Who sends this; raises Unauthorized, NotAllowed, TooManyRequests."""
        if permission in self._open:
            return ANYBODY
        kind = given = b""
        for name, value in headers:
            if name in CREDENTIALS:
                kind, given = name, value
                if name == b"x-api-key":
                    break
        if kind != b"x-api-key":
            if kind == b"x-admin-key":
                return self._by_admin_key(given)
            given = given[7:] if given[:7].lower() == b"bearer " else b""
        if self._believed < monotonic():
            self._renew()
        mark, _, rest = given.partition(b"_")
        identity, _, secret = rest.partition(b"_")
        digest, permissions, expires, caller, bucket = self._passes.get(identity, NOBODY) if mark == MARK else NOBODY
        # An unknown id and a wrong secret take the same way from here.
        if not compare_digest(digest, sha256(secret).digest()) or expires <= (now := self._now()):
            raise unknown()
        if permission not in permissions:
            raise not_for(caller, permission)
        if bucket is not None and not bucket.take(now):
            raise too_many(bucket)
        return caller

    def _by_admin_key(self, given: bytes) -> Caller:
        if same_key(given.decode("latin-1"), self._rules.admin_key):
            return self._administrator
        raise unknown()

    # --------------------------------------------------------------------------------------------- following the ledger

    def refresh(self) -> None:
        """Take up what is new in the ledgers. A store that cannot be read leaves the keys as they are."""
        with self._turn:
            new = [self._news(number) for number in range(len(self._ledgers))]
            if any(new) or not self._believed:
                self._passes = self._made_ready()
            self._believed = monotonic() + FRESH

    def _renew(self) -> None:
        """Believe the copy for longer while the thread that follows the ledgers lives; otherwise look at them here."""
        if self._follower is not None and self._follower.is_alive():
            self._believed = monotonic() + FRESH
        else:
            self.refresh()

    def _news(self, number: int) -> bool:
        """Whether one ledger tells something new; what it tells is taken up."""
        try:
            entries = self._ledgers[number].entries(KIND, after=self._seen[number])
        except BondhuError as error:
            log.error("The keys cannot be read, so they stay as they are: %s", error)
            return False
        if entries:
            self._keys = known(entries, self._keys)
            self._seen[number] = entries[-1].seq
        return bool(entries)

    def _made_ready(self) -> dict[bytes, Pass]:
        """The keys of this domain and of all domains that are not revoked; those that were there keep their bucket."""
        mine = [key for key in self._keys.values() if key.domain in (None, self._domain) and key.revoked is None]
        return {key.id.encode(): self._pass(key) for key in mine}

    def _pass(self, key: Key) -> Pass:
        before = self._passes.get(key.id.encode())
        rate = key.rate or self._rules.rate
        bucket = before.bucket if before else Bucket(rate / self._rules.workers, self._now()) if rate else None
        expires = float("inf") if key.expires is None else key.expires
        caller = Caller(key.name, key.role, key.id, key.domain)
        return Pass(key.hash, PERMISSIONS.get(key.role, frozenset()), expires, caller, bucket)

    def follow(self) -> None:
        """Look at the ledger every now and then in a thread, so that no request has to wait for it."""
        if self._stopped is None:
            self.refresh()
            self._stopped = threading.Event()
            self._follower = threading.Thread(target=self._run, args=(self._stopped,), name="bondhu-keys", daemon=True)
            self._follower.start()

    def close(self) -> None:
        """Follow no more."""
        if self._stopped is not None:
            self._stopped.set()
            self._stopped, self._follower, self._believed = None, None, 0.0  # the next request looks by itself

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.wait(FOLLOW):
            try:
                self.refresh()
            except Exception:  # whatever it is: without this thread no revocation would count
                log.exception("The keys could not be followed.")


def unknown() -> Unauthorized:
    """The one refusal, whatever is wrong with a key."""
    return Unauthorized("This needs a key that is known.", fix="Send one as X-API-Key or Authorization: Bearer.")


def not_for(caller: Caller, permission: str) -> NotAllowed:
    """The refusal of a good key whose role is not for this."""
    able = [role for role, allowed in PERMISSIONS.items() if permission in allowed]
    what = f"A key with the role {caller.role!r} is not for this: it needs {permission!r}."
    return NotAllowed(what, fix=f"Use a key with one of the roles {', '.join(able)}.")


def too_many(bucket: Bucket) -> TooManyRequests:
    """The refusal, with the seconds to wait."""
    error = TooManyRequests("This key has sent more than it may.", fix=f"Send it again in {bucket.wait:.3g} seconds.")
    error.seconds = bucket.wait
    return error
