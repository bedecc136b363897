"""Reads what a training run has written so far: its configuration, figures and evaluations; also while it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.monitor.tracking.jsonl import METRICS, read
from bondhu.types import Floats

ABOUT, EVALUATIONS, SEEDS = "run.json", "evaluations.jsonl", "seed-*"


class Series(NamedTuple):
    """One figure over a run."""

    step: Floats  # [N] steps in the environment
    value: Floats  # [N] NaN where it was not finite

    def finite(self) -> Series:
        """Without what is NaN."""
        there = np.isfinite(self.value)
        return Series(self.step[there], self.value[there])


class Evaluation(NamedTuple):
    """Episodes played without learning, after this many steps."""

    step: int
    returns: Floats  # [E]
    lengths: Floats  # [E] steps


NOTHING = Series(np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Records:
    """What one run says of itself; of several seeds, each is a run in `seeds`."""

    name: str
    about: Mapping[str, Any] = field(default_factory=dict)  # run.json
    metrics: Mapping[str, Series] = field(default_factory=dict)
    evaluations: Sequence[Evaluation] = ()  # in order of steps
    seeds: Sequence[Records] = ()

    def series(self, name: str) -> Series:
        """A figure by name; nothing where it was not recorded."""
        return self.metrics.get(name, NOTHING)

    def values(self, name: str) -> Floats:
        """The finite values of a figure: `[N]`."""
        return self.series(name).finite().value

    def hyperparameter(self, *names: str) -> Any:
        """The first of these that the learner has; None where it has none."""
        given = self.about.get("hyperparameters") or {}
        return next((given[name] for name in names if given.get(name) is not None), None)

    @property
    def seen(self) -> float:
        """The last step of which anything is known."""
        ends = [series.step[-1] for series in self.metrics.values() if len(series.step)]
        return float(max([*ends, *(evaluation.step for evaluation in self.evaluations)], default=0))

    @property
    def planned(self) -> float:
        """Steps that the run was to take; of a run that does not say so, those it has taken."""
        return float(self.about.get("steps") or self.seen or 1)


def is_run(folder: Path) -> bool:
    """Whether this is the folder of a run, or of several seeds of one."""
    return any(_is_one(each) for each in (folder, *folder.glob(SEEDS)))


def read_run(folder: Path) -> Records:
    """Everything that the folder says so far. Raises InvalidInput where no run was written to it."""
    if not is_run(folder):
        what = f"{str(folder)!r} is not the folder of a run: it has neither {ABOUT} nor {METRICS}."
        raise InvalidInput(what, field="run", value=str(folder), fix="Name a folder that `bondhu run` has written.")
    seeds = sorted((each for each in folder.glob(SEEDS) if _is_one(each)), key=lambda each: (len(each.name), each.name))
    return Records(
        folder.name,
        _about(folder / ABOUT),
        _metrics(read(folder / METRICS)),
        _evaluations(read(folder / EVALUATIONS)),
        tuple(map(read_run, seeds)),
    )


def _is_one(folder: Path) -> bool:
    return (folder / ABOUT).is_file() or (folder / METRICS).is_file()


def _about(path: Path) -> Mapping[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or half written
        return {}
    return about if isinstance(about, dict) else {}


def _metrics(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Series]:
    points: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for name, value in record.items():
            if name not in {"step", "time"}:
                points.setdefault(name, []).append((float(record["step"]), _number(value)))
    return {name: Series(*np.array(pairs).T) for name, pairs in points.items()}


def _evaluations(records: Sequence[Mapping[str, Any]]) -> Sequence[Evaluation]:
    found = [
        Evaluation(record["step"], _numbers(record.get("returns")), _numbers(record.get("lengths")))
        for record in records
        if not record.get("explore", False)  # what the policy would do when it serves
    ]
    return sorted((each for each in found if len(each.returns)), key=lambda each: each.step)


def _numbers(values: Any) -> Floats:
    return np.array([_number(value) for value in values] if isinstance(values, list) else [], dtype=np.float64)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
