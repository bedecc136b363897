"""Trainings and the versions that came of them: with what, on how much, how good, and what the gate said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any, NamedTuple

from bondhu.app import App
from bondhu.errors import BondhuError
from bondhu.monitor.tracking import flat
from bondhu.ports import Event, Registry, Task
from bondhu.schedule.jobs import TRAINING_JOB

MOST = 50  # runs that are looked at
ALIASES = ("total_states", "total_state_actions", "max_q_value")  # what `bondhu.training` says twice
ABOUT = ("holdout", "window_start", "window_end", "explore", "imitates", "training")  # notes that are no metrics
GROWTH = ("largest_value", "states", "cells")  # metrics of tables that say how far learning has come


class Recipe(NamedTuple):
    """What a version was made with, as its files say."""

    learner: str = ""
    hyperparameters: Mapping[str, Any] = {}
    notes: Mapping[str, Any] = {}
    problem: str = ""  # why its files cannot be read


class Run(NamedTuple):
    """One training, or one version that came from elsewhere."""

    time: float  # seconds
    status: str  # "completed", "failed", "skipped", or "added": by no training that is recorded
    version: str  # "" where there is none
    learner: str
    hyperparameters: Mapping[str, Any]  # flat: those of a part are "part.name"
    metrics: Mapping[str, float]
    rows: int  # decisions learned from
    users: int
    reward: float  # mean of those decisions; NaN where it is not known
    seconds: float  # it took; NaN where nobody measured
    decision: str  # of the last verdict: "promote", "wait", "refuse", or ""
    reasons: tuple[str, ...]  # of that verdict
    problem: str  # why it failed, or why its files cannot be read

    @property
    def name(self) -> str:
        """How it is chosen in an address."""
        return self.version or f"{self.status}-{self.time:.0f}"


def recipes(registry: Registry, versions: Sequence[str]) -> dict[str, Recipe]:
    """What the files of these versions say; some milliseconds each, a tenth of a second where they are large."""
    found = {}
    for name in versions:
        try:
            version = registry.load(name)
        except BondhuError as error:
            found[name] = Recipe(problem=str(error))
        else:
            found[name] = Recipe(version.learner, version.hyperparameters, version.notes)
    return found


def runs(app: App, known: Mapping[str, Recipe]) -> list[Run]:
    """The last trainings and versions, newest first; `known`: as far as their files were read."""
    events = app.events()
    said = verdicts(events)
    found, made = [], set()
    for task in app.tasks.recent(TRAINING_JOB, MOST):
        run = _of_task(task, known, said)
        found.append(run)
        made.add(run.version)
    for event in events:
        if event.kind == "added" and event.version not in made:
            found.append(_of_event(event, known, said))
    return sorted(found, key=lambda each: -each.time)[:MOST]


def verdicts(events: Sequence[Event]) -> dict[str, Event]:
    """The last verdict on each version."""
    return {event.version: event for event in events if event.kind == "judged"}


def _of_task(task: Task, known: Mapping[str, Recipe], said: Mapping[str, Event]) -> Run:
    body = task.metadata.get("training") or {}
    version = body.get("version") or ""
    recipe = known.get(version, Recipe())
    average = body.get("average_reward")
    return Run(
        task.executed_at,
        task.status,
        version,
        recipe.learner,
        flat(recipe.hyperparameters),
        numbers(body.get("agent_stats") or {}) | numbers(recipe.notes),
        task.records_processed,
        task.users_processed,
        nan if average is None else float(average),
        task.duration_seconds,
        *_verdict(said.get(version)),
        task.error or recipe.problem,
    )


def _of_event(event: Event, known: Mapping[str, Recipe], said: Mapping[str, Event]) -> Run:
    recipe = known.get(event.version, Recipe())
    metrics = numbers(recipe.notes)
    return Run(
        event.time,
        "added",
        event.version,
        recipe.learner,
        flat(recipe.hyperparameters),
        metrics,
        int(metrics.get("interactions", 0)),
        0,
        metrics.get("reward", nan),
        nan,
        *_verdict(said.get(event.version)),
        recipe.problem,
    )


def _verdict(event: Event | None) -> tuple[str, tuple[str, ...]]:
    if event is None:
        return "", ()
    return str(event.figures.get("decision", "")), tuple(event.figures.get("reasons", ()))


def numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """The metrics among notes: finite numbers, and no switches."""
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and name not in (*ABOUT, *ALIASES)
        and isfinite(value)
    }


def metrics_of(found: Sequence[Run]) -> list[str]:
    """Names of all metrics that versions have, those first that say how far learning has come."""
    names = dict.fromkeys(name for run in found if run.version for name in run.metrics)
    return [*(name for name in GROWTH if name in names), *(name for name in names if name not in GROWTH)]


class Difference(NamedTuple):
    """One thing about two runs."""

    about: str
    one: Any  # None: it has none
    other: Any

    @property
    def differs(self) -> bool:
        return bool(self.one != self.other)


def compared(one: Run, other: Run) -> dict[str, list[Difference]]:
    """Two runs side by side: of the training, its hyper-parameters, its metrics."""
    about = [
        Difference(words, getattr(one, name), getattr(other, name))
        for name, words in (
            ("learner", "learner"),
            ("rows", "decisions learned from"),
            ("users", "people"),
            ("reward", "their mean reward"),
            ("seconds", "seconds"),
            ("decision", "verdict"),
        )
    ]
    return {
        "training": about,
        "hyper-parameters": _beside(one.hyperparameters, other.hyperparameters),
        "metrics": _beside(one.metrics, other.metrics),
    }


def _beside(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    return [Difference(name, one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])]
