"""Event files for TensorBoard (`tensorboard --logdir RUN`), written by its own writer; no deep-learning framework."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from bondhu.monitor.tracking import FINISHED, flat

FOLDER = "tensorboard"
EVENT, SUMMARY = "compat.proto.event_pb2", "compat.proto.summary_pb2"
FLUSH = 10.0  # seconds after which what was recorded is on disk


class TensorBoard:
    """Curves, the configuration as a table, and pictures (PNG, GIF), in `folder/tensorboard`.

    Every session says from which step it goes on; TensorBoard then leaves out what an earlier one recorded after it.
    """

    def __init__(self, folder: Path, step: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._from, self._clock = folder / FOLDER, step, clock
        self._step = step
        self._writer: Any = None

    def begin(self, configuration: Mapping[str, Any], /) -> None:
        self._writer = _part("summary.writer.event_file_writer").EventFileWriter(str(self._folder), flush_secs=FLUSH)
        first = self._from + 1 if self._from else 0
        log = _part(EVENT).SessionLog
        self._event(first, session_log=log(status=log.START))
        self._text("configuration", _table(flat(configuration)))
        self._writer.flush()

    def record(self, metrics: Mapping[str, float], step: int, /) -> None:
        self._step = int(step)
        summary = _part(SUMMARY).Summary
        values = [summary.Value(tag=name, simple_value=float(value)) for name, value in metrics.items()]
        self._event(self._step, summary=summary(value=values))

    def file(self, path: Path, kind: str = "", /) -> None:
        content = path.read_bytes() if path.suffix in {".png", ".gif"} else b""
        size = picture_size(content)
        if size is None:
            self._text(f"files/{path.name}", f"{kind} `{path}`".strip())
            return
        height, width = size
        summary = _part(SUMMARY).Summary
        picture = summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)
        self._event(self._step, summary=summary(value=[summary.Value(tag=kind or path.stem, image=picture)]))

    def end(self, _status: str = FINISHED, /) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _event(self, step: int, **content: Any) -> None:
        self._writer.add_event(_part(EVENT).Event(wall_time=self._clock(), step=step, **content))

    def _text(self, tag: str, text: str) -> None:
        summary = _part(SUMMARY).Summary
        about = _part("plugins.text.metadata").create_summary_metadata(display_name=tag, description="")
        content = _part("util.tensor_util").make_tensor_proto([text.encode()])
        value = summary.Value(tag=tag, metadata=about, tensor=content)
        self._event(self._step, summary=summary(value=[value]))


def _part(name: str) -> Any:
    """A module of TensorBoard: untyped, and loaded only when a run begins."""
    return import_module(f"tensorboard.{name}")


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Height and width as the header of a PNG or GIF says them; None for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return int.from_bytes(content[20:24], "big"), int.from_bytes(content[16:20], "big")
    if content[:4] == b"GIF8":
        return int.from_bytes(content[8:10], "little"), int.from_bytes(content[6:8], "little")
    return None


def _table(configuration: Mapping[str, Any]) -> str:
    """A table in Markdown, as TensorBoard shows it."""
    rows = [f"| {name} | {json.dumps(value, default=str)} |" for name, value in configuration.items()]
    return "\n".join(["| name | value |", "|---|---|", *rows])
