"""A lock between processes, held by the operating system, so that it goes with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bondhu.errors import TrainingInProgress


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file while the block runs; raises TrainingInProgress at once if somebody else holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise TrainingInProgress(
                f"Process {holder} is training this deployment.",
                field="lock",
                value=str(path),
                fix="Wait for it to finish.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
