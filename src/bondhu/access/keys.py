"""API keys: their text, what a ledger says of each, and how they are made, replaced and revoked.

A key is `bd_<id>_<secret>` with 256 random bits of secret. The ledger holds the SHA-256 of the secret and never the
secret: such a hash cannot be guessed back, because nobody can try 2^256 texts.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, NamedTuple

from bondhu.access import PERMISSIONS, Caller
from bondhu.errors import InvalidInput, NotAllowed, UnknownName, nearest
from bondhu.ports import Entry, Ledger

log = logging.getLogger(__name__)
KIND = "key"  # of the entries in the ledger
EVERYWHERE = "*"  # the domain of the entries of keys that are for all of them
LONGEST_NAME = 64  # characters
SECRET_BYTES = 32
DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class Key:
    """What is known of one key."""

    id: str
    name: str  # whose it is, for the history and the audit log
    role: str
    domain: str | None  # the only one it is for; None: all of the server's
    hash: bytes  # SHA-256 of the secret
    created: float  # seconds
    by: str
    expires: float | None = None  # seconds; from then on it is good for nothing
    rate: float | None = None  # requests a second; None: as the server's settings say
    revoked: float | None = None  # seconds

    def good(self, now: float) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def told(self, now: float) -> dict[str, Any]:
        """What may be shown of it: all that there is but the hash."""
        shown = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "hash"}
        status = "revoked" if self.revoked is not None else "good" if self.good(now) else "expired"
        return {**{name: value for name, value in shown.items() if value is not None}, "status": status}


class Wanted(NamedTuple):
    """What a new key is to be."""

    name: str
    role: str
    domain: str | None  # None: all of the server's
    days: float | None = None  # that it is good for; None: until somebody revokes it
    rate: float | None = None  # requests a second


class Made(NamedTuple):
    """A new key, and its text: the only time that anybody sees it."""

    key: Key
    text: str


def known(entries: Iterable[Entry], before: dict[str, Key] | None = None) -> dict[str, Key]:
    """The keys by id after these entries of the ledger, oldest first; `before`: the keys as they stood before. What
    cannot be read is logged and opens nothing."""
    keys = dict(before or {})
    for entry in entries:
        try:
            _follow(keys, entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log.error("Entry %s of the ledger says nothing of a key that can be read: %r", entry.seq, error)
    return keys


def _follow(keys: dict[str, Key], entry: Entry) -> None:
    body = entry.body
    identity, did = body["id"], body["did"]
    if did == "created":
        fields: dict[str, Any] = {**body, "hash": bytes.fromhex(body["hash"]), "created": entry.time}
        keys[identity] = _sound(Key(**{name: fields[name] for name in Key.__dataclass_fields__ if name in fields}))
    elif identity in keys and did == "revoked":
        keys[identity] = replace(keys[identity], revoked=entry.time)
    elif identity in keys and did == "expires":
        keys[identity] = _sound(replace(keys[identity], expires=body["at"]))


def _sound(key: Key) -> Key:
    """The same, if its fields are of their kinds; raises TypeError."""
    texts = (key.id, key.name, key.role, key.domain or "")
    numbers = (key.expires or 0, key.rate or 0)
    if not all(isinstance(each, str) for each in texts) or not all(isinstance(each, int | float) for each in numbers):
        raise TypeError("a field is of another kind")
    return key


class Ring:
    """The keys that somebody may look after: all of them, or those of one domain."""

    def __init__(self, ledger: Ledger, domain: str | None) -> None:
        """`domain`: keys of other domains, and those for all domains, are as if they were not there. None: all."""
        self._ledger, self._domain = ledger, domain

    def keys(self) -> dict[str, Key]:
        """By id, oldest first."""
        found = known(self._ledger.entries(KIND))
        return {name: key for name, key in found.items() if self._domain in (None, key.domain)}

    def create(self, wanted: Wanted, by: str, now: float) -> Made:
        """Make a key; raises InvalidInput with the field, NotAllowed for a domain that is not the caller's."""
        check(wanted)
        if self._domain is not None and wanted.domain != self._domain:
            what = f"This key may make keys for {self._domain!r} only."
            raise NotAllowed(what, field="domain", value=wanted.domain, fix=f"Ask for the domain {self._domain!r}.")
        identity, secret = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES)
        digest, expires = sha256(secret.encode()).digest(), None if wanted.days is None else now + wanted.days * DAY
        asked = {"name": wanted.name, "role": wanted.role, "domain": wanted.domain, "rate": wanted.rate}
        body = {"did": "created", "id": identity, **asked, "hash": digest.hex(), "expires": expires, "by": by}
        entry = self._ledger.note(KIND, wanted.domain or EVERYWHERE, body, time=now)
        return Made(known([entry])[identity], f"bd_{identity}_{secret}")

    def rotate(self, identity: str, by: str, now: float, *, grace: float) -> Made:
        """A key like this one; the old one is good for `grace` seconds more, so that nobody is shut out meanwhile."""
        old = self.find(identity)
        if not old.good(now):
            what = f"The key {identity!r} is good for nothing any more."
            raise InvalidInput(what, field="id", value=identity, fix="Make a new one: `bondhu key create`.")
        if not 0 <= grace <= 366 * DAY:
            raise InvalidInput("The grace is not within a year.", field="grace", value=grace, fix="Say it in seconds.")
        days = None if old.expires is None else max(old.expires - old.created, DAY) / DAY
        made = self.create(Wanted(old.name, old.role, old.domain, days, old.rate), by, now)
        ends = now + grace if old.expires is None else min(old.expires, now + grace)
        body = {"did": "expires", "id": identity, "at": ends, "by": by}
        self._ledger.note(KIND, old.domain or EVERYWHERE, body, time=now)
        return made

    def revoke(self, identity: str, by: str, now: float) -> Key:
        """End a key at once; a second time changes nothing."""
        key = self.find(identity)
        if key.revoked is None:
            body = {"did": "revoked", "id": identity, "by": by}
            self._ledger.note(KIND, key.domain or EVERYWHERE, body, time=now)
        return self.find(identity)

    def find(self, identity: str) -> Key:
        """One key; raises UnknownName, also for one that the caller has no business with."""
        keys = self.keys()
        if identity not in keys:
            what = f"There is no key {identity[:LONGEST_NAME]!r}."
            raise UnknownName(what, field="id", value=identity, fix=nearest(identity, keys))
        return keys[identity]


def of(caller: Caller, ledger: Ledger) -> Ring:
    """The keys that a caller may look after."""
    return Ring(ledger, caller.domain)


def check(wanted: Wanted) -> None:
    """Raises InvalidInput for what no key can be."""
    if not (0 < len(wanted.name) <= LONGEST_NAME and wanted.name.isprintable()):
        fix = f"Use 1 to {LONGEST_NAME} printable characters."
        raise InvalidInput("The name cannot be used.", field="name", value=wanted.name, fix=fix)
    if wanted.role not in PERMISSIONS:
        fix = nearest(wanted.role, PERMISSIONS)
        raise InvalidInput(f"There is no role {wanted.role!r}.", field="role", value=wanted.role, fix=fix)
    for name, value, most in (("days", wanted.days, 36_600.0), ("rate", wanted.rate, 1e9)):
        if value is not None and not 0 < value <= most:
            what = f"{name} is {value:g}."
            raise InvalidInput(what, field=name, value=value, fix=f"It must be above 0 and at most {most:g}.")
