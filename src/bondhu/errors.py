"""Everything that can go wrong, as one tree. A message says what happened, the value, and what to do.

BondhuError
├── InvalidInput            422  a context, feedback, mapping or argument is not what was declared
│   ├── UnknownName         404  a name that is not in its list; the nearest one is offered
│   └── DuplicateId         409  an id that is already there with other content
├── SettingsInvalid         500  bondhu.toml or the environment
├── Unauthorized            401  no key, or one that is not known
├── NotAllowed              403  the caller may not do this
├── TooManyRequests         429  more than the key may send
├── StoreError              503  the log or the registry cannot be used now; nothing stored is lost
│   ├── Busy                503  too much is waiting to be written, or the writer is away
│   ├── StoreLocked         503  another process holds it
│   ├── StoreFull           507  the disk is full
│   ├── StoreCorrupt        500  the file is damaged
│   └── StoreTooNew         500  written by a newer release
├── StateCorrupt            500  a stored version is damaged
│   └── StateTooNew         500  written by a newer release
├── TrainingInProgress      409  somebody else is training
├── Conflict                409  the versions stand otherwise than this needs
├── ClockBehind             409  the clock was set back
├── SandboxUnavailable      503  programs cannot be run in isolation here
└── SandboxEnded            500  the program of a session has ended; stands beside what it says (`sandbox/program.py`)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any, ClassVar

VERSION = re.compile(r"-v\d+$")  # of an environment, at the end of its name


class BondhuError(Exception):
    """Something went wrong in Bondhu."""

    status: ClassVar[int] = 500  # HTTP

    def __init__(self, what: str = "", *, field: str | None = None, value: Any = None, fix: str = "") -> None:
        self.what = what or (type(self).__doc__ or "")
        self.field = field
        self.value = value
        self.fix = fix
        super().__init__(self.what)

    def __str__(self) -> str:
        return f"{self.what} {self.fix}".strip()


class InvalidInput(BondhuError):
    """A value is not what was declared. Compare it with the declaration in bondhu.toml."""

    status = 422


class UnknownName(InvalidInput):
    """No such name. Compare it with the list it should come from."""

    status = 404


class DuplicateId(InvalidInput):
    """This id is already stored with other content. Use a new id, or `replaces` to revise feedback."""

    status = 409


class SettingsInvalid(BondhuError):
    """The settings cannot be used. Mend bondhu.toml or the environment variable it names."""


class Unauthorized(BondhuError):
    """This needs a key. Send one as the header X-API-Key, or as Authorization: Bearer."""

    status = 401


class NotAllowed(BondhuError):
    """The key is not for this. Use one with the role that this needs."""

    status = 403


class TooManyRequests(BondhuError):
    """The key sends more than it may. Wait as long as Retry-After says."""

    status = 429
    seconds = 1.0  # to wait


class StoreError(BondhuError):
    """The store cannot be used now; nothing stored is lost. Try again."""

    status = 503


class Busy(StoreError):
    """Too much is waiting to be written. Try again in a second."""


class StoreLocked(StoreError):
    """Another process is writing to the store. Try again, or stop the other process."""


class StoreFull(StoreError):
    """The disk is full: this was not stored, everything before it is safe. Free some space and send it again."""

    status = 507


class StoreCorrupt(StoreError):
    """The store is damaged. Restore it from a backup; do not delete it."""

    status = 500


class StoreTooNew(StoreError):
    """The store was written by a newer release of Bondhu. Upgrade, or restore an older backup."""

    status = 500


class StateCorrupt(BondhuError):
    """A stored version is damaged. Roll back to another version, then train again."""


class StateTooNew(StateCorrupt):
    """A stored version was written by a newer release of Bondhu. Upgrade, or roll back to an older version."""


class TrainingInProgress(BondhuError):
    """Another process is training this deployment. Wait for it to finish."""

    status = 409


class Conflict(BondhuError):
    """The versions stand otherwise than this needs. Look at `bondhu status`, then try again."""

    status = 409


class ClockBehind(BondhuError):
    """The clock is behind the history. Set it right, then try again."""

    status = 409


class SandboxUnavailable(BondhuError):
    """Programs cannot be run in isolation here. Install bubblewrap, or use a kernel with landlock."""

    status = 503


LONGEST_NAME = 128  # characters of a name that are compared: whoever sends a megabyte meant none of these
NEAR = 0.6  # likeness from which a name is offered: a typing error, not another word


def nearest(name: str, names: Iterable[str]) -> str:
    """'Did you mean …?' with the closest of `names`, or the list of them, those of the same family first."""
    name, names = str(name)[:LONGEST_NAME], list(names)
    near = [(found, _alike(name, each), each) for each in names if (found := _likeness(name, each)) >= NEAR]
    if near:
        return f"Did you mean {max(near)[-1]!r}?"
    family = f"{name.partition('.')[0]}."
    names.sort(key=lambda each: not each.startswith(family))
    shown = ", ".join(repr(each) for each in names[:12]) + (", …" if len(names) > 12 else "")
    return f"It must be one of {shown}." if names else "There are none."


def _likeness(name: str, other: str) -> float:
    """From 0 to 1. The case, a version at the end and a family before a dot that both have, or that `name` leaves out,
    say nothing: `deep.xyz` is not like `deep.td3`, nor `Foo-v1` like `Acrobot-v1`."""
    one, two = (VERSION.sub("", each.casefold()) for each in (name, other))
    family, dot, last = two.rpartition(".")
    if dot and (one.startswith(family + dot) or "." not in one):
        one, two = one.removeprefix(family + dot), last
    return _alike(one, two)


def _alike(one: str, two: str) -> float:
    """Twice what the two have in common over all their letters; 0 where that is less than `NEAR` (Ratcliff & Metzener
    1988, as `difflib` has it)."""
    matcher = SequenceMatcher(None, two, one)
    if matcher.real_quick_ratio() < NEAR or matcher.quick_ratio() < NEAR:  # upper bounds: many names are told off soon
        return 0.0
    return matcher.ratio()
