"""A lock between processes, held by the operating system, so that it goes with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bondhu.errors import TrainingInProgress
from bondhu.log.kept import Held


@contextmanager
def only_one(path: Path) -> Iterator[Held]:
    """Hold the lock file while the block runs; raises TrainingInProgress at once if somebody else holds it. What is
    given says whether it is still held: as long as the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise TrainingInProgress(
                f"Process {holder} is at it already.",
                field="lock",
                value=str(path),
                fix="Wait for it to finish.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield lambda: not file.closed


def holder(path: Path) -> int | None:
    """The process that holds the lock file; None where nobody does."""
    try:
        with path.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read())
    except (FileNotFoundError, ValueError):  # nobody ever was here, or one is about to write its number
        return None
    return None
