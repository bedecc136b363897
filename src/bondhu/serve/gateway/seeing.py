"""What a policy sees of a request: declared fields that a conversation shows, and the application's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bondhu.domains.assistant.feedback import REPHRASED, rephrased
from bondhu.domains.assistant.observing import FIELDS, LONGEST, Past, observe
from bondhu.domains.assistant.redaction import masked
from bondhu.errors import InvalidInput
from bondhu.serve.gateway.history import Before
from bondhu.serve.gateway.messages import Asked, of_users
from bondhu.serve.gateway.parts import Gateway

OTHER = "other"
Field = Mapping[str, Any]  # as a domain describes it


class Seen(NamedTuple):
    """What there is to see."""

    context: dict[str, Any]
    again: bool  # whether the user says the same once more


class Sight:
    """The eyes of one deployment."""

    def __init__(self, fields: Sequence[Field], gateway: Gateway) -> None:
        self._fields, self._gateway = fields, gateway

    def seen(self, asked: Asked, now: float, before: Before, user: str | None) -> Seen:
        """The context as it is decided on and logged; `user`: as it is stored. Raises InvalidInput where a field is
        missing."""
        gateway, messages = self._gateway, asked.body["messages"]
        said = of_users(messages)
        previous, latest = self._twice(said, before)
        spoken = messages[-1].get("role") == "user" or len(said) > before.spoken  # not where a tool has answered
        again = spoken and before.decision_id is not None and bool(previous)
        again = again and rephrased(previous, latest) >= REPHRASED
        turns, worth = before.totals
        past = Past(turns, worth / turns if turns else 0.0, previous or None, before.feedback)
        observed = observe(messages, now, past, user, gateway.embed)
        if again:  # of hashed words, nobody else can tell
            observed["retry"] = "yes"
        if gateway.prompt != "store":  # it is redacted already
            observed["text"] = masked(str(observed["text"]), gateway.prompt, gateway.salt)
        if asked.chat.tools:
            observed["has_tools"] = "yes"
        metadata = asked.chat.metadata or {}
        return Seen({each["name"]: _value(each, observed, metadata) for each in self._fields}, again)

    def _twice(self, said: Sequence[str], before: Before) -> tuple[str, str]:
        """What the user wrote last time and now, both as they are kept or both as they came."""
        latest = said[-1][:LONGEST] if said else ""
        if before.said:
            return before.said, masked(latest, self._gateway.prompt, self._gateway.salt)
        return (said[-2][:LONGEST] if len(said) > 1 else ""), latest


def _value(field: Field, observed: Mapping[str, Any], metadata: Mapping[str, Any]) -> Any:
    """One field of the context: nothing that somebody writes in a chat is outside of what is declared."""
    name, kind = field["name"], field["kind"]
    if name not in FIELDS or name not in observed:
        return _given(name, kind, metadata)
    value = observed[name]
    if kind == "number":
        low, high = field["range"]
        return min(max(float(value), low), high)
    if kind == "category" and value not in field["values"]:
        return OTHER if OTHER in field["values"] else field["values"][-1]
    return value


def _given(name: str, kind: str, metadata: Mapping[str, Any]) -> Any:
    """What the application says of a field that no conversation shows; metadata is text, of numbers as well."""
    if name not in metadata:
        what = f"The field {name!r} is declared under [context], and nothing in a conversation shows it."
        raise InvalidInput(what, field=f"metadata.{name}", fix=f"Send it in the request's metadata: {{{name!r}: …}}.")
    value = metadata[name]
    if kind == "number" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value
