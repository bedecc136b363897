"""The audit log: every administrative act, and attempts at one that were refused, as entries of the ledger."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bondhu.access import Caller
from bondhu.access.rates import Bucket
from bondhu.ports import Entry, Ledger

KIND = "act"  # of the entries in the ledger
SECRET = re.compile("key|secret|password|salt|token|authorization", re.IGNORECASE)  # in the name of an argument
PERSONAL = frozenset({"user", "user_id"})  # whoever is erased is not to be remembered for it
LONGEST = 200  # characters of one argument
MOST = 50  # arguments
LARGEST = 1 << 53  # whole numbers beyond it are kept as text
REFUSED_RATE, REFUSED_SIZE = 0.1, 20.0  # refused attempts noted a second, and at once
log = logging.getLogger(__name__)


class Where(NamedTuple):
    """Where an act came from."""

    address: str  # of the caller; "command line" for whoever sits at the server
    request: str = ""  # id of the request


class Acts:
    """Notes what was done, by whom, and what came of it."""

    def __init__(self, ledger: Ledger, domain: str, now: Callable[[], float] = time.time) -> None:
        self._ledger, self._domain, self._now = ledger, domain, now
        self._refused = Bucket(REFUSED_RATE, now(), size=REFUSED_SIZE)
        self._left_out = 0
        self._turn = threading.Lock()

    def note(self, who: Caller, what: str, arguments: Mapping[str, Any], status: int, where: Where) -> bool:
        """Note one act; `status` as in HTTP. Refused ones are noted only so often, with how many were left out, so that
        nobody can fill the disk with them; returns whether this one was noted. Raises nothing: an act that cannot be
        noted is told in the server's log."""
        left_out = 0
        if status in (401, 403, 429):
            with self._turn:
                if not self._refused.take(self._now()):
                    self._left_out += 1
                    return False
                left_out, self._left_out = self._left_out, 0
            log.warning("Refused with %d, by %s: %s (and %d before).", status, where.address, what, left_out)
        try:
            self._write(who, what, arguments, status, where, left_out)
        except Exception as error:
            log.error("An act could not be noted in the audit log: %s by %s: %s", what, who.name, error)
            return False
        return True

    def _write(
        self, who: Caller, what: str, arguments: Mapping[str, Any], status: int, where: Where, left_out: int
    ) -> None:
        body = {
            "who": written(who.name),
            "key": who.key,
            "role": who.role,
            "what": written(what),
            "arguments": shown(arguments),
            "address": where.address,
            "request": where.request,
            "status": status,
            **({"left_out": left_out} if left_out else {}),
        }
        self._ledger.note(KIND, self._domain, body, time=self._now())

    def after(self, seq: int, limit: int) -> list[Entry]:
        """What was noted of this domain, oldest first, with a number above `seq`."""
        return self._ledger.entries(KIND, self._domain, after=seq)[:limit]


def shown(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as they are kept: short, and none that are secret or say who somebody is."""
    kept: dict[str, Any] = {}
    for name, value in list(arguments.items())[:MOST]:
        plain = value is None or isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < LARGEST)
        if SECRET.search(name) or name.rpartition(".")[2] in PERSONAL:
            kept[written(name[:LONGEST])] = "(left out)"
        else:  # NaN and infinity are not plain
            kept[written(name[:LONGEST])] = value if plain else written(str(value)[:LONGEST])
    return kept


def written(text: str) -> str:
    """Text as it can be stored: half of a character that JSON let through is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
