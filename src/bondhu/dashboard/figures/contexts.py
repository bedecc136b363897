"""A context out of a page's address: each field read and checked by itself, so that one mistake stays one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, nextafter
from typing import Any, NamedTuple

import msgspec
from gymnasium.spaces import MultiDiscrete

from bondhu.app import App
from bondhu.errors import BondhuError, InvalidInput
from bondhu.ports import Domain
from bondhu.types import Encoder

PREFIX = "context."  # before a field's name in an address
PLAIN = ("category", "text", "person")  # kinds whose values are what was typed; those of others are JSON
Context = dict[str, Any]
decode = msgspec.json.Decoder().decode


class Filled(NamedTuple):
    """One field of the form, as it stands there."""

    name: str
    declared: Mapping[str, Any]  # its table, as `Domain.describe` has it
    text: str
    wrong: str = ""  # what is wrong with the text, and what to do

    @property
    def kind(self) -> str:
        return str(self.declared["kind"])


class Wanted(NamedTuple):
    """The form, and the context it stands for; None where a field is wrong."""

    fields: tuple[Filled, ...]
    context: Context | None


def declared_fields(domain: Domain) -> list[Mapping[str, Any]]:
    """The tables of the domain's fields, in order."""
    return [*domain.describe()["fields"]]


def defaults(domain: Domain) -> Context:
    """A context that the domain takes: of each field the first value, or one in the middle."""
    return {each["name"]: _default(each) for each in declared_fields(domain)}


def _default(declared: Mapping[str, Any]) -> Any:
    kind = declared["kind"]
    if kind == "category":
        return declared["values"][0]
    if kind == "number":
        low, high = declared["range"]
        middle = (low + high) / 2
        return int(middle) if middle == int(middle) else middle
    if kind == "vector":
        return [0.0] * declared["size"]
    if kind == "candidates":
        return [[0.0] * declared["size"]] * min(2, declared["most"])
    if kind == "ranked":
        return [{"id": name, "features": []} for name in ("first", "second")[: declared["most"]]]
    return [] if kind == "features" else ""


def example(declared: Mapping[str, Any]) -> str:
    """What may be typed into a field, for people."""
    kind = declared["kind"]
    if kind == "number":
        low, high = declared["range"]
        return f"a number from {low:g} to {high:g}"
    if kind == "vector":
        return f"{declared['size']:,} numbers, such as [0.1, −0.2, …]".replace("−", "-")
    if kind == "candidates":
        size, most = declared["size"], declared["most"]
        return f"1 to {most:,} lists of {size:,} numbers each, such as [[0.1, …], [0.3, …]]"
    known = {
        "category": "one of the list",
        "text": "any text, such as: How do I reset my password?",
        "person": "the name by which you send a person; nothing where nobody is known",
        "features": 'JSON objects about the context, such as [{"device": "phone"}]',
        "ranked": 'the actions, such as [{"id": "pasta", "features": [{"taste": "savory"}]}]',
    }
    return known.get(kind, "JSON")


def written(declared: Mapping[str, Any], value: Any) -> str:
    """A value as it stands in a form."""
    if declared["kind"] in PLAIN and isinstance(value, str):
        return value
    return f"{value:.10g}" if isinstance(value, float) else msgspec.json.encode(value).decode()


def wanted(domain: Domain, query: Mapping[str, str], start: Mapping[str, Any]) -> Wanted:
    """The form of an address, where it says nothing as in the context `start`, which the domain takes."""
    encoder, sound = domain.encoder(MultiDiscrete), {**start}
    fields = []
    for declared in declared_fields(domain):
        name = declared["name"]
        typed = query.get(PREFIX + name)
        if typed is None:
            fields.append(Filled(name, declared, written(declared, start[name])))
            continue
        try:
            value = parsed(declared, typed)
            encoder.one({**start, name: value})
            sound[name] = value
            fields.append(Filled(name, declared, typed))
        except InvalidInput as error:
            fields.append(Filled(name, declared, typed, str(error)))
    return Wanted(tuple(fields), None if any(each.wrong for each in fields) else sound)


def parsed(declared: Mapping[str, Any], typed: str) -> Any:
    """What the text of a field stands for; raises InvalidInput where it cannot be read."""
    name, kind = declared["name"], declared["kind"]
    if kind in PLAIN:
        return typed
    if kind == "number":
        try:
            number = float(typed)
        except ValueError:
            what = f"Field {name!r} got {typed[:80]!r}, which is no number."
            raise InvalidInput(what, field=name, value=typed, fix=f"Type {example(declared)}.") from None
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    try:
        return decode(typed)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        what = f"Field {name!r} got {typed[:80]!r}, which is not JSON."
        raise InvalidInput(what, field=name, value=typed, fix=f"Type {example(declared)}.") from None


def fitted(domain: Domain, found: Mapping[str, Any]) -> Context:
    """A context of another time as the domain takes it now: fields that it does not know, or whose value it does not
    take, are as in `defaults`."""
    encoder, sound = domain.encoder(MultiDiscrete), defaults(domain)
    for name in list(sound):
        if name in found:
            tried = {**sound, name: found[name]}
            try:
                encoder.one(tried)
            except InvalidInput:
                continue
            sound = tried
    return sound


def start(app: App, identity: str | None, newest: float | None) -> tuple[Context, str]:
    """The context that a form begins with, and whose it is in words: that of a decision, of the decision at the time
    `newest`, or of nobody. Raises InvalidInput where there is no such decision."""
    domain = app.domain
    if identity:
        found = app.log.find(identity) if identity.isprintable() else None
        if found is None or found[0].domain != domain.name:
            fix = "Take its id from the search of decisions."
            raise InvalidInput(f"There is no decision {identity[:128]!r}.", field="decision", value=identity, fix=fix)
        return fitted(domain, found[0].context), f"the context of decision {identity}"
    if newest is not None:
        for context in _contexts_at(app, newest):
            return fitted(domain, context), "the context of the newest decision"
    return defaults(domain), "values in the middle of each field, since there is no decision yet"


def _contexts_at(app: App, time: float) -> Iterator[Mapping[str, Any]]:
    """Contexts of the decisions of one moment."""
    try:
        records = app.log.read(app.domain.name, time, nextafter(time, inf))
    except BondhuError:  # the store is away: the form can begin with something else
        return
    for text in records.context[:1]:
        yield decode(text)


def labels(domain: Domain, context: Mapping[str, Any]) -> dict[str, str]:
    """What each action is called for people, where the context brings the actions along: by its name in the domain."""
    field = domain.describe().get("candidates")
    brought = context.get(field) if field else None
    if not isinstance(brought, list):
        return {}
    return {
        action: f"{each['id']} ({action})"
        for action, each in zip(domain.actions, brought, strict=False)
        if isinstance(each, Mapping) and isinstance(each.get("id"), str)
    }


def bins(domain: Domain, context: Mapping[str, Any]) -> dict[str, int]:
    """The code of each field in a context, as tables see it; raises InvalidInput."""
    encoder: Encoder = domain.encoder(MultiDiscrete)
    names = [each["name"] for each in declared_fields(domain)]
    return dict(zip(names, encoder.one(context).tolist(), strict=True))
