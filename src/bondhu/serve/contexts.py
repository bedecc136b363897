"""Contexts as they come over the wire: one that came lately, byte for byte, is neither decoded nor encoded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bondhu.errors import InvalidInput
from bondhu.log.checks import Written
from bondhu.serve.messages import Malformed, Request, Sent

KEPT = 8_192  # contexts kept at least, and twice as many at most
LONGEST = 1_024  # bytes of a context that is kept
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Contexts:
    """What texts of contexts say."""

    def __init__(self, keeps: Callable[[], bool] = lambda: True) -> None:
        """`keeps`: whether any may be kept; not where something of them is to be hashed or dropped before it stays."""
        self._keeps = keeps
        self._young: dict[bytes, Written] = {}
        self._old: dict[bytes, Written] = {}

    def request(self, sent: Sent) -> Request:
        """The request with its context read; raises InvalidInput."""
        text = bytes(sent.context)
        context = self._young.get(text) or self._read(text)
        return Request(context, sent.id, sent.session, sent.user, sent.allowed, sent.default)

    def requests(self, sent: Sequence[Sent]) -> list[Request]:
        """The same of many; an error says of which."""
        try:
            return [*map(self.request, sent)]
        except InvalidInput:
            return [self._numbered(number, each) for number, each in enumerate(sent)]

    def forget(self) -> None:
        """Keep nothing of what came."""
        self._young, self._old = {}, {}

    def _read(self, text: bytes) -> Written:
        try:
            context = self._old.get(text) or Written(_decode(text))
        except msgspec.ValidationError as error:
            fix = "Compare it with /openapi.json."
            raise InvalidInput(f"{error}.".replace("`", "'"), field="context", fix=fix) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"The body is not JSON that can be read: {error}.", fix="Send one JSON object.") from None
        if len(text) <= LONGEST and self._keeps():
            self._young[text] = context
            if len(self._young) > KEPT:
                self._young, self._old = {}, self._young
        return context

    def _numbered(self, number: int, sent: Sent) -> Request:
        try:
            return self.request(sent)
        except Malformed:
            raise
        except InvalidInput as error:
            error.field = f"requests[{number}].{error.field}"
            raise
