"""Names that stand for names: the same for the same person, and of no use to whoever does not know the key.

A pseudonym is 40 hexadecimal digits: 32 of a keyed hash (BLAKE2b) of the text, and 8 of a keyed hash of those. By the
last ones a pseudonym is known for what it is, so that making one of a pseudonym gives the pseudonym itself: what was
exported can be imported again.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest

HASHED, CHECKED = 16, 4  # bytes
LENGTH = 2 * (HASHED + CHECKED)  # hexadecimal digits


class Pseudonyms:
    """Pseudonyms under one salt. Two salts make two worlds that cannot be told to be the same people."""

    def __init__(self, salt: str) -> None:
        key = blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32, person=b"pseudonyms").digest()
        self._hash = blake2b(digest_size=HASHED, key=key, person=b"name")
        self._check = blake2b(digest_size=CHECKED, key=key, person=b"check")

    def __call__(self, text: str) -> str:
        """The pseudonym of a text; "" stays "": it names nobody."""
        if not text or self.made(text):
            return text
        hashed = self._hash.copy()
        hashed.update(text.encode("utf-8", "surrogatepass"))
        digest = hashed.digest()
        return (digest + self._checked(digest)).hex()

    def made(self, text: str) -> bool:
        """Whether this is a pseudonym under this salt."""
        if len(text) != LENGTH:
            return False
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            return False
        whole = len(digest) == HASHED + CHECKED and digest.hex() == text  # fromhex takes capitals and blanks as well
        return whole and compare_digest(digest[HASHED:], self._checked(digest[:HASHED]))

    def _checked(self, digest: bytes) -> bytes:
        check = self._check.copy()
        check.update(digest)
        return check.digest()
