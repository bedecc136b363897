"""Seals on what was done: keyed hashes that tell later whether a record is as it was written, and of whom it speaks."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

SEAL = "seal"  # the part of a record that is its seal


@dataclass(frozen=True)
class Sealer:
    """Seals and subjects under one secret."""

    secret: bytes
    origin: str  # which setting the secret is, such as "privacy.salt"; the secret itself is never told

    @property
    def mark(self) -> str:
        """Eight digits by which one secret is told from another."""
        return self._hash(b"mark", b"", 4)

    def subject(self, name: str) -> str:
        """A person in a record: the same digits for the same name; only whoever has the secret can tell whose."""
        return self._hash(b"subject", name.encode("utf-8", "surrogatepass"), 16)

    def sealed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with the secret's origin and mark, and its seal."""
        whole = {**record, "sealed_with": self.origin, "key": self.mark}
        return {**whole, SEAL: self._seal(whole)}

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Whether the record is as it was when it was sealed under this secret."""
        rest = {name: value for name, value in record.items() if name != SEAL}
        given = str(record.get(SEAL, "")).encode(errors="replace")  # whoever changed it may have written anything
        return hmac.compare_digest(self._seal(rest).encode(), given)

    def _seal(self, record: Mapping[str, Any]) -> str:
        return self._hash(b"seal", json.dumps(record, sort_keys=True).encode(), 32)

    def _hash(self, purpose: bytes, content: bytes, size: int) -> str:
        key = blake2b(self.secret, digest_size=32, person=b"seals").digest()
        return blake2b(content, digest_size=size, key=key, person=purpose).hexdigest()
