"""What one store holds, whichever kind it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from bondhu.ports import Keeping, Ledger, Log, Tasks, Transcripts

Held = Callable[[], bool]  # whether a lock is still held: one in a database goes with the connection to it


class KeptLog(Log, Keeping, Protocol):
    """A log that an operator can look after."""


@dataclass(frozen=True)
class Stores:
    """What one store holds."""

    log: KeptLog
    tasks: Tasks
    ledger: Ledger
    transcripts: Transcripts
    alone: Callable[[str], AbstractContextManager[Held]]  # a lock by name between all processes that use this store;
    # raises TrainingInProgress at once where another process holds it
    close: Callable[[], None]
