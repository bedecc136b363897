"""Everything that can go wrong, as one tree. A message says what happened, the value, and what to do.

BondhuError
├── InvalidInput            422  a context, feedback, mapping or argument is not what was declared
│   ├── UnknownName         404  a name that is not in its list; the nearest one is offered
│   └── DuplicateId         409  an id that is already there with other content
├── SettingsInvalid         500  bondhu.toml or the environment
├── NotAllowed              403  the caller may not do this
├── StoreError              503  the log or the registry cannot be used now; nothing stored is lost
│   ├── StoreLocked         503  another process holds it
│   ├── StoreFull           507  the disk is full
│   ├── StoreCorrupt        500  the file is damaged
│   └── StoreTooNew         500  written by a newer release
├── StateCorrupt            500  a stored version is damaged
│   └── StateTooNew         500  written by a newer release
├── TrainingInProgress      409  somebody else is training
├── Conflict                409  the versions stand otherwise than this needs
└── ClockBehind             409  the clock was set back
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar


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


class NotAllowed(BondhuError):
    """This needs an administrator's key. Send it as the header X-Admin-Key."""

    status = 403


class StoreError(BondhuError):
    """The store cannot be used now; nothing stored is lost. Try again."""

    status = 503


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


def nearest(name: str, names: Iterable[str]) -> str:
    """'Did you mean …?' with the closest of `names`, or the list of them."""
    names = list(names)
    close = get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    shown = ", ".join(repr(each) for each in names[:12]) + (", …" if len(names) > 12 else "")
    return f"It must be one of {shown}." if names else "There are none."
