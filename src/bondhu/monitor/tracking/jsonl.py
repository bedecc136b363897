"""Figures as lines of JSON, `{"step": …, "time": …, name: value}`: what is left to read when every tool is gone."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from bondhu.monitor.tracking import FINISHED

METRICS = "metrics.jsonl"
FILES = "files.jsonl"


class Jsonl:
    """Appends to `metrics.jsonl`, and to `files.jsonl` where files are worth keeping; each line is handed over at once.

    Going on from `step`, later lines are cut away, so that what is told again stands there once. A line torn by a
    power cut or `kill -9` goes with them. A figure that is not finite is written as null.
    """

    def __init__(self, folder: Path, step: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._from, self._clock = folder, step, clock
        self._step = step
        self._open: TextIO | None = None

    def begin(self, _configuration: Mapping[str, Any], /) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in (METRICS, FILES):
            _cut(self._folder / name, self._from)
        self._open = (self._folder / METRICS).open("a", encoding="utf-8")

    def record(self, metrics: Mapping[str, float], step: int, /) -> None:
        assert self._open is not None
        self._step = step
        told = {"step": int(step), "time": self._clock(), **{name: _finite(value) for name, value in metrics.items()}}
        self._open.write(json.dumps(told) + "\n")
        self._open.flush()

    def file(self, path: Path, kind: str = "", /) -> None:
        told = {"step": self._step, "time": self._clock(), "path": str(path), "kind": kind}
        with (self._folder / FILES).open("a", encoding="utf-8") as files:
            files.write(json.dumps(told) + "\n")

    def end(self, _status: str = FINISHED, /) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file, also while a run writes to it; what is torn is left out, no file is no records."""
    if not path.exists():
        return []
    records = map(_parsed, path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [record for record in records if record is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def _cut(path: Path, step: int) -> None:
    """Leave the records up to `step`; the file is replaced whole, so that a second interruption loses nothing."""
    if not path.exists():
        return
    kept = [record for record in read(path) if record["step"] <= step] if step else []
    mended = path.with_suffix(".mended")
    mended.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    os.replace(mended, path)


def _finite(value: float) -> float | None:
    value = float(value)
    return value if math.isfinite(value) else None
