"""Signed messages from other services, as Standard Webhooks writes them (https://www.standardwebhooks.com).

The headers are `webhook-id`, `webhook-timestamp` and `webhook-signature`: `v1,` and the Base64 of an HMAC-SHA256 over
`id.timestamp.body`, several of them while a key is changed.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256

from bondhu.errors import SettingsInvalid, Unauthorized

SHORTEST = 16  # bytes of a key: fewer could be guessed
SECRET = "whsec_"  # noqa: S105  the mark before a key in Base64, not a key


def key_of(text: str) -> bytes:
    """The bytes of a key as it is written down: `whsec_` and Base64, or the text itself. Raises SettingsInvalid where
    it is no Base64, or too short to sign with."""
    try:
        key = b64decode(text.removeprefix(SECRET), validate=True) if text.startswith(SECRET) else text.encode()
    except ValueError:
        fix = f"Write {SECRET} and Base64, or a plain text."
        raise SettingsInvalid("The key of the webhooks is not Base64.", field="webhooks.key", fix=fix) from None
    if len(key) < SHORTEST:
        what = f"The key of the webhooks has {len(key)} bytes, and needs {SHORTEST}."
        raise SettingsInvalid(what, field="webhooks.key", fix="Take what `openssl rand -hex 32` prints.")
    return key


def signature(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the seal of one message."""
    seal = hmac.new(key, f"{identity}.{timestamp}.".encode() + body, sha256).digest()
    return f"v1,{b64encode(seal).decode()}"


def verified(headers: Mapping[str, str], body: bytes, key: bytes, *, now: float, tolerance: float) -> str:
    """The id of a message that whoever holds the key has signed at most `tolerance` seconds ago; raises Unauthorized,
    with one and the same text whatever is wrong with the signature."""
    identity, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split(" ")
    expected = signature(key, identity, timestamp, body).encode()
    matches = [hmac.compare_digest(each.encode("utf-8", "replace"), expected) for each in given[:8]]
    if not identity or not timestamp.isascii() or not timestamp.isdigit() or not any(matches):
        raise Unauthorized("The webhook's signature is not right.", fix="Sign it as Standard Webhooks says.")
    if abs(now - int(timestamp)) > tolerance:
        what = "The webhook was signed too long ago, or in the future."
        raise Unauthorized(what, fix="Set the clocks right; sign each attempt anew.")
    return identity
