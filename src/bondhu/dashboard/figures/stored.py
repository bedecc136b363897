"""What the store of a deployment holds, what has left it for the archive, and when it was copied last."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bondhu.app import App
from bondhu.archives import archive
from bondhu.erasing import BACKUP
from bondhu.ports import LogSummary


class Stored(NamedTuple):
    """How much is where."""

    log: LogSummary
    archived: int  # pairs of files
    archived_bytes: int
    backup: float | None  # seconds; when the newest copy that was noted was made


def stored(app: App) -> Stored:
    """As it is now. Looks at all feedback: half a second for a million rows."""
    pairs = archive(app)
    noted = app.ledger.entries(BACKUP, app.domain.name)
    return Stored(
        app.log.summary(app.domain.name),
        len(pairs),
        sum(_size(path) for pair in pairs for path in pair),
        noted[-1].time if noted else None,
    )


def _size(path: Path) -> int:
    """Bytes of a file; none where it was moved meanwhile."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
