"""What PostgreSQL and the network say when something is wrong, in our own words; never with a password."""

from __future__ import annotations

from typing import NamedTuple

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from bondhu.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked

TO_BE_TRIED_AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
LOST = (
    *(asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError),
    *(asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.TooManyConnectionsError, OSError),
)  # the server is away, or comes and goes
UNFORESEEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class Words(NamedTuple):
    """How one kind of trouble is told: `{name}` is the store's, `{said}` one line of what the server said."""

    kinds: tuple[type[BaseException], ...]
    error: type[StoreError]
    what: str
    fix: str


TABLE = (  # the first that fits
    Words(
        (TimeoutError, asyncpg.QueryCanceledError),
        *(StoreError, "{name} has not answered in time.", "See whether the server is well; try again."),
    ),
    Words(
        (asyncpg.DiskFullError,),
        *(StoreFull, "No room on the disk of {name}: this was not stored, everything before it is safe."),
        "Free some space and send it again.",
    ),
    Words(
        (asyncpg.ReadOnlySQLTransactionError,),
        *(StoreError, "{name} is read-only now.", "Make it writable, or name the primary server."),
    ),
    Words(
        (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError),
        *(StoreError, "{name} refuses this user: {said}."),
        "Set BONDHU_STORE__PASSWORD, or the server's rules for who may do what.",
    ),
    Words((asyncpg.InvalidCatalogNameError,), StoreError, "{name} is not there.", "Make it with `createdb`."),
    Words(
        (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError),
        *(StoreCorrupt, "{name} is damaged ({said}).", "Restore it from a backup; do not delete it."),
    ),
    Words(
        (asyncpg.LockNotAvailableError,),  # see Address.connect; nothing else of ours gives up a lock
        *(StoreLocked, "A backup is being restored to {name}.", "Try again when that is done."),
    ),
    Words(
        TO_BE_TRIED_AGAIN,
        *(StoreLocked, "Other writers are in the way in {name}.", "Try again."),
    ),
    Words(LOST, StoreError, "{name} cannot be reached ({said}).", "See that the server runs; try again."),
    Words((BaseException,), StoreError, "{name} cannot be used ({said}).", "Mend that and try again."),
)


def in_our_words(error: BaseException, name: str) -> StoreError:
    """What happened to the store of this name, and what to do; `error` is one of `UNFORESEEN`."""
    words = next(each for each in TABLE if isinstance(error, each.kinds))
    return words.error(words.what.format(name=name, said=_said(error)), fix=words.fix)


def _said(error: BaseException) -> str:
    """One line of it, without the values of rows, which PostgreSQL puts into the detail."""
    told = str(error.args[0]) if error.args and isinstance(error.args[0], str) else ""
    told = told or getattr(error, "strerror", None) or type(error).__name__
    return told.splitlines()[0].rstrip(".")
