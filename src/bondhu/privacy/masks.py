"""What is seen, stored and learned from of what is personal: the policy of `[privacy]`, checked, as a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bondhu.errors import SettingsInvalid, nearest
from bondhu.privacy.pseudonyms import Pseudonyms

LONGEST = 128  # characters of a user or session; what is longer is refused by whoever decides, not hidden by a hash
SHORTEST_SALT = 16  # characters
HASHED = ("text", "person")  # kinds of field that can still be decided on when they are hashed
KEY = "privacy"

Context = Mapping[str, Any]


@dataclass(frozen=True)
class Masks:
    """What is hashed and what is dropped; the rest stays as it is."""

    pseudonym: Pseudonyms | None  # None: nothing is hashed
    user: bool = False  # hashed
    session: bool = False  # hashed
    hashed: tuple[str, ...] = ()  # fields of the context
    dropped: frozenset[str] = frozenset()  # fields of the context

    def name(self, user: str | None) -> str | None:
        """The user as stored."""
        return self._named(user) if self.user else user

    def of_session(self, session: str | None, user: str | None) -> str | None:
        """The session as stored; one that is called like the user is the user."""
        hidden = self.session or (self.user and session == user)
        return self._named(session) if hidden else session

    def context(self, sent: Context) -> Context:
        """The context as seen and stored; what is no text is left for the field to refuse."""
        kept = {name: value for name, value in sent.items() if name not in self.dropped} if self.dropped else dict(sent)
        for name in self.hashed:
            value = kept.get(name)
            if isinstance(value, str) and self.pseudonym is not None:
                kept[name] = self.pseudonym(value)
        return kept

    def _named(self, text: str | None) -> str | None:
        right = isinstance(text, str) and len(text) <= LONGEST and text.isprintable()
        return self.pseudonym(text) if right and text is not None and self.pseudonym is not None else text


def masks_of(
    who: Mapping[str, str], fields: Mapping[str, str], salt: str | None, kinds: Mapping[str, str]
) -> Masks | None:
    """The policy of the settings; None where everything is stored as it is. Raises SettingsInvalid.

    `who`: "store" or "hash" of "user" and "session"; `fields`: "store", "hash" or "drop" by field; `kinds`: of the
    declared fields, by name.
    """
    for name, policy in fields.items():
        _check(name, policy, kinds)
    hashed = tuple(name for name, policy in fields.items() if policy == "hash")
    dropped = frozenset(name for name, policy in fields.items() if policy == "drop")
    asks = [name for name, policy in who.items() if policy == "hash"] + [f"fields.{name}" for name in hashed]
    if asks:
        _check_salt(salt, asks[0])
    if not asks and not dropped:
        return None
    pseudonym = Pseudonyms(salt) if asks and salt else None
    return Masks(pseudonym, who.get("user") == "hash", who.get("session") == "hash", hashed, dropped)


def _check(name: str, policy: str, kinds: Mapping[str, str]) -> None:
    field, kind = f"{KEY}.fields.{name}", kinds.get(name)
    if policy == "drop":
        if kind is not None:
            what = f"Field {name!r} is declared under [context]: decisions need it, so it cannot be dropped."
            raise SettingsInvalid(what, field=field, value=policy, fix="Take it out of [context], or hash it.")
    elif kind is None:
        what = f"Field {name!r} is not declared, so there is nothing to {policy}."
        fix = f'Set it to "drop" if your application sends it. {nearest(name, kinds)}'
        raise SettingsInvalid(what, field=field, value=policy, fix=fix)
    elif policy == "hash" and kind not in HASHED:
        what = f"Field {name!r} is a {kind}: once hashed, nothing could be decided on it."
        fix = "Store it, or take it out of [context] and drop it; text and person can be hashed."
        raise SettingsInvalid(what, field=field, value=policy, fix=fix)


def _check_salt(salt: str | None, asks: str) -> None:
    fix = "Set BONDHU_PRIVACY__SALT to a long random text, such as `openssl rand -hex 32` prints, and keep it."
    if salt is None:
        raise SettingsInvalid(f'{KEY}.{asks} is "hash", but there is no salt.', field=f"{KEY}.salt", fix=fix)
    if len(salt.strip()) < SHORTEST_SALT:
        raise SettingsInvalid(f"The salt has fewer than {SHORTEST_SALT} characters.", field=f"{KEY}.salt", fix=fix)
