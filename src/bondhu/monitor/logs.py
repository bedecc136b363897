"""What a server writes to standard error: lines for people or JSON objects for tools, with the id of the request."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

NO_REQUEST = "-"


class _Lines(logging.Formatter):
    """`2026-11-21T12:00:00.000Z WARNING bondhu.serve [request id] message`."""

    def __init__(self, request: Callable[[], str]) -> None:
        super().__init__()
        self._request = request

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {record.name} [{self._request()}] {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Objects(_Lines):
    """The same as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": self._request(),
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def write_logs(
    kind: str, level: str, request: Callable[[], str] = lambda: NO_REQUEST, stream: TextIO | None = None
) -> None:
    """Send everything that is logged to standard error; `request` gives the id of the request under way."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Objects(request) if kind == "json" else _Lines(request))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for loud in ("apscheduler", "uvicorn.access", "httpx"):
        logging.getLogger(loud).setLevel(logging.WARNING)


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
