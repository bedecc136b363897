"""What was certified of erasures: sealed, kept in the ledger, and checked again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bondhu.app import App
from bondhu.ports import ERASURE, PUBLISHED_KEY, Entry
from bondhu.privacy import Sealer
from bondhu.privacy.seals import SEAL

PUBLIC = "server.admin_key, which is public"  # a seal that anybody could make
AFTER = "after"  # the part of a certificate that repeats the seal of the one before


class Checked(NamedTuple):
    """A certificate and whether it can be believed."""

    seq: int  # of the ledger
    body: Mapping[str, Any]
    problem: str  # "": it is as it was written, and so is what stands before it


def sealer(app: App) -> Sealer:
    """Seals with the salt, which is there to stay; without one with the administrator's key."""
    salt, key = app.settings.privacy.salt, app.settings.server.admin_key
    if salt is not None:
        return Sealer(salt.get_secret_value().encode(), "privacy.salt")
    public = key.get_secret_value() == PUBLISHED_KEY
    return Sealer(key.get_secret_value().encode(), PUBLIC if public else "server.admin_key")


def certify(app: App, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Seal a certificate, chained to the one before, and keep it."""
    before = app.ledger.entries(ERASURE, app.domain.name)
    last = str(record(before[-1]).get(SEAL, "")) if before else ""
    whole = sealer(app).sealed({**body, "domain": app.domain.name, AFTER: last})
    return app.ledger.note(ERASURE, app.domain.name, whole, time=app.now()).body


def record(entry: Entry) -> Mapping[str, Any]:
    """What an entry says; nothing where somebody put something else in its place."""
    body: Any = entry.body
    return body if isinstance(body, Mapping) else {}


def certificates(app: App) -> list[Checked]:
    """All certificates of the deployment, oldest first."""
    seals, before, found = sealer(app), "", list[Checked]()
    for entry in app.ledger.entries(ERASURE, app.domain.name):
        problem, body = "", record(entry)
        if not body:
            problem = "changed: it is no certificate"
        elif body.get("key") != seals.mark:
            problem = f"sealed with another secret ({body.get('sealed_with')}) than the present one"
        elif not seals.holds(body):
            problem = "changed since it was sealed"
        elif body.get(AFTER) != before:
            problem = "the one before it is missing or was changed"
        found.append(Checked(entry.seq, body, problem))
        before = str(body.get(SEAL, ""))
    return found
