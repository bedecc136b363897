"""One small port through which a run tells its configuration, figures and files; `opening` picks who listens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"  # how a run ends


class Tracker(Protocol):
    """Somebody who keeps what a run tells. Nothing is touched before `begin`, and nothing is left open after `end`."""

    def begin(self, configuration: Mapping[str, Any], /) -> None:
        """The run starts, or goes on: everything that was decided before, flat or nested plain data."""

    def record(self, metrics: Mapping[str, float], step: int, /) -> None:
        """Figures by name (see `names`) after this many steps in the environment; steps never fall."""

    def file(self, path: Path, kind: str = "", /) -> None:
        """A picture, video or checkpoint worth keeping; `kind` says which of these it is."""

    def end(self, status: str = FINISHED, /) -> None:
        """No more is told: the run finished, was stopped, or failed. Saying it twice is saying it once."""


def flat(configuration: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested data as one table with dotted names: `{"a": {"b": 1}}` is `{"a.b": 1}`."""
    table: dict[str, Any] = {}
    for name, value in configuration.items():
        if isinstance(value, Mapping):
            table |= flat(value, f"{above}{name}.")
        else:
            table[f"{above}{name}"] = value
    return table
