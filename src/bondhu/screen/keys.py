"""API keys and the audit log on the screen."""

from __future__ import annotations

from collections.abc import Iterable

from bondhu.access.keys import Key, Made
from bondhu.ports import Entry
from bondhu.screen import moment, say, table


def keys(found: Iterable[Key], now: float) -> None:
    """Every key without its secret."""
    rows = [
        (
            key.id,
            key.name,
            key.role,
            key.domain or "all",
            key.told(now)["status"],
            moment(key.created),
            moment(key.expires),
            f"{key.rate:g}" if key.rate else "—",
        )
        for key in found
    ]
    table("API keys", ("id", "name", "role", "domain", "status", "made", "expires", "a second"), rows)


def made(new: Made) -> None:
    """A new key, this once. Its text stands on a line of its own, so that a script can take it."""
    say(f"Key {new.key.id} of {new.key.name} ({new.key.role}, {new.key.domain or 'all domains'}). Keep it: nobody sees")
    say("it again.")
    say(new.text)


def acts(found: Iterable[Entry]) -> None:
    """The audit log."""
    rows = []
    for entry in found:
        body = entry.body
        given = ", ".join(f"{name}={value}" for name, value in body["arguments"].items())
        who = f"{body['who']} ({body['role']})" if body["role"] else body["who"]
        rows.append((entry.seq, moment(entry.time), who, body["what"], given, body["status"], body["address"]))
    table("Administrative acts", ("number", "when", "who", "what", "with", "status", "from"), rows)
