"""Who looks: sessions that begin with a key and end with it. They are kept in memory, and nowhere else."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address, ip_network

from bondhu.access import EXPLAIN, PERMISSIONS, READ, Access, Caller
from bondhu.access.admission import MARK
from bondhu.access.rates import Bucket
from bondhu.dashboard.page import Viewer
from bondhu.errors import NotAllowed, TooManyRequests, Unauthorized

COOKIE = "bondhu_session"
IDLE = 12 * 3600.0  # seconds without a request after which a session has ended
MOST = 1_000  # sessions; the one that was idle for longest makes room
ATTEMPTS, EVERY = 5.0, 10.0  # wrong keys of one address at once, and seconds until one more
ADDRESSES = 1_000  # whose attempts are remembered
COOKIES = 8  # of one request that are looked at
LONGEST = 512  # characters of a key
PREFIX = 64  # bits of an IPv6 address that are one customer's
ANYBODY = Viewer("anybody", frozenset({EXPLAIN, READ}))
NOBODY = Viewer("nobody", frozenset())
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass
class Session:
    """Somebody who logged in."""

    headers: Headers = field(repr=False)  # the key, as a request would have it
    caller: Caller
    token: str = field(repr=False)  # to be sent with every act
    used: float  # by the monotonic clock

    @property
    def viewer(self) -> Viewer:
        return Viewer(self.caller.name, PERMISSIONS.get(self.caller.role or "", frozenset()), self.token)

    def sent(self, token: str) -> bool:
        """Whether this is its token."""
        return compare_digest(token.encode("utf-8", "replace"), self.token.encode())


class Sessions:
    """Of one deployment. To be used by one thread."""

    def __init__(
        self, access: Access, *, development: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`development`: nobody but who develops reaches the server; `clock`: seconds that never go back."""
        self._access, self._development, self._clock = access, development, clock
        self._kept: OrderedDict[bytes, Session] = OrderedDict()  # by the hash of their id, the last used at the end
        self._attempts = Attempts(clock)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def required(self) -> bool:
        """Whether only those who logged in may look. Deciding without keys, elsewhere than in development, is one
        thing, and showing everybody what was decided another: the interface asks a key for that as well."""
        return self._access.required or not self._development

    def begin(self, key: str, address: str) -> tuple[str, Session]:
        """The id of a new session, and the session; raises Unauthorized, NotAllowed, TooManyRequests. `address`: from
        where it is tried."""
        headers, caller = self._admitted(key.strip(), address)
        identity = secrets.token_urlsafe(32)
        self._kept[hashed(identity)] = session = Session(headers, caller, secrets.token_urlsafe(32), self._clock())
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return identity, session

    def _admitted(self, key: str, address: str) -> tuple[Headers, Caller]:
        """Who has this key: one of the ledger's, or the administrator's.

        Nobody guesses one of the ledger's, which are 256 random bits: whoever has one is let in at once, however many
        wrong keys came from the same office or proxy. The administrator's was thought of by a person, so it is looked
        at only as often as an address may be wrong: to look first and to be slow only where it is wrong would leave as
        many guesses as connections. A ledger's key of the role admin does not wait.
        """
        try:
            sent = key.encode("latin-1") if len(key) <= LONGEST else b""
        except UnicodeEncodeError:  # no header has such letters, so no key has
            sent = b""
        if sent.startswith(MARK + b"_"):
            with suppress(Unauthorized):
                return self._of(b"x-api-key", sent)
        self._attempts.count(address)
        try:
            found = self._of(b"x-admin-key", sent)
        except Unauthorized:
            fix = "Use one that `bondhu key list` shows as good."
            raise Unauthorized("This key is not known.", fix=fix) from None
        self._attempts.forget(address)
        return found

    def _of(self, name: bytes, key: bytes) -> tuple[Headers, Caller]:
        headers = ((name, key),)
        return headers, self._access.admit(headers, READ)

    def of(self, identities: Iterable[str], *, idle: bool = False) -> Session | None:
        """The session with one of these ids; None where there is none, or its key is good for nothing any more. Raises
        TooManyRequests where the key has sent too many. `idle`: nobody did anything, a page looks by itself."""
        for each in identities:
            name = hashed(each)
            session = self._kept.get(name)
            if session is None:
                continue
            try:
                if self._clock() - session.used > IDLE:
                    raise Unauthorized("The session has ended.")
                session.caller = self._access.admit(session.headers, READ)
            except (Unauthorized, NotAllowed):
                del self._kept[name]
                continue
            if not idle:
                session.used = self._clock()
                self._kept.move_to_end(name)
            return session
        return None

    def end(self, identities: Iterable[str]) -> None:
        """Log out."""
        for each in identities:
            self._kept.pop(hashed(each), None)

    def viewer(self, session: Session | None) -> Viewer | None:
        """Who looks; None where they may not."""
        if session is not None:
            return session.viewer
        return None if self.required else ANYBODY


class Attempts:
    """How often somebody tried a key that may be wrong, by address: keys cannot be tried one after another."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def count(self, address: str) -> None:
        """One more; raises TooManyRequests."""
        where = network(address)
        bucket = self._buckets.setdefault(where, Bucket(1 / EVERY, self._clock(), size=ATTEMPTS))
        self._buckets.move_to_end(where)
        while len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        if not bucket.take(self._clock()):
            error = TooManyRequests("Too many keys were tried.", fix=f"Try again in {bucket.wait:.0f} seconds.")
            error.seconds = bucket.wait
            raise error

    def forget(self, address: str) -> None:
        """They had a good key."""
        self._buckets.pop(network(address), None)


def network(address: str) -> str:
    """What stands for whoever has this address: of IPv6, they have all that begin with the same 64 bits."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((known, PREFIX), strict=False)) if isinstance(known, IPv6Address) else address


def hashed(identity: str) -> bytes:
    """What a session is found by: how long it takes to find none says nothing of the ids there are."""
    return sha256(identity.encode("utf-8", "replace")).digest()


def identities(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The ids of sessions that a request sends: one of each deployment whose path it is below, if all is well."""
    found = []
    for name, value in headers:
        if name == b"cookie":
            pairs = (each.strip().partition("=") for each in value.decode("latin-1").split(";"))
            found += [said for key, _, said in pairs if key == COOKIE]
    return found[:COOKIES]


def cookie(identity: str, root: str, *, secure: bool) -> str:
    """The header that has a browser keep the id, or, where it is empty, forget it."""
    lasting = "" if identity else "; Max-Age=0"
    return f"{COOKIE}={identity}; Path={root or '/'}; HttpOnly; SameSite=Strict{lasting}{'; Secure' if secure else ''}"


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that the page which sends this is one of ours: by Sec-Fetch-Site, which no page can set,
    or else by Origin."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin, host = headers.get("origin", ""), headers.get("host", "")
    return bool(host) and origin.partition("://")[2] == host
