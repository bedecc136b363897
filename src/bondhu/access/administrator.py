"""The administrator's key of the settings: which ones a server may start with, and how one is compared."""

from __future__ import annotations

import hmac

from bondhu.errors import SettingsInvalid
from bondhu.ports import PUBLISHED_KEY

SHORTEST_KEY = 16  # characters


def check_admin_key(key: str, environment: str) -> None:
    """Refuse to start outside of development with a key that others know or could guess."""
    if environment == "development":
        return
    fix = "Set BONDHU_SERVER__ADMIN_KEY to a long random text, such as `openssl rand -hex 32` prints."
    if key == PUBLISHED_KEY:
        what = f"The administrator's key is the published default, which is for development only, not {environment!r}."
        raise SettingsInvalid(what, field="server.admin_key", fix=fix)
    if len(key.strip()) < SHORTEST_KEY:
        what = f"The administrator's key has fewer than {SHORTEST_KEY} characters, too few for {environment!r}."
        raise SettingsInvalid(what, field="server.admin_key", fix=fix)


def same_key(given: str | None, key: str) -> bool:
    """Compare in constant time; an empty key opens nothing."""
    return bool(key) and given is not None and hmac.compare_digest(given.encode(errors="replace"), key.encode())
