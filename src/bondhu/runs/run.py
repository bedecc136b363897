"""A run from beginning to end: opened, begun or gone on with, its files kept in order whatever happens."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bondhu.errors import BondhuError, InvalidInput
from bondhu.monitor.tracking import FAILED, FINISHED, STOPPED, Tracker
from bondhu.monitor.tracking.opening import opened as trackers
from bondhu.monitor.tracking.several import Several
from bondhu.runs import about, checkpoints, evaluating, filming, results
from bondhu.runs.loop import CHECKPOINTS, Ask, Run, over
from bondhu.runs.phases import divided
from bondhu.runs.plan import ABOUT, Plan, stored
from bondhu.runs.progress import Progress
from bondhu.runs.scene import Scene, complete, opened


class Done(NamedTuple):
    """How a run ended."""

    folder: Path
    status: str  # "finished" or "stopped"
    why: str
    progress: Progress


@dataclass(frozen=True)
class Silent:
    """A display that shows nothing: a tracker that forgets."""

    def begin(self, _configuration: object, /) -> None: ...
    def record(self, _metrics: object, _step: int, /) -> None: ...
    def file(self, _path: Path, _kind: str = "", /) -> None: ...
    def end(self, _status: str = FINISHED, /) -> None: ...


def free(folder: Path) -> None:
    """Raise InvalidInput where the folder holds a run."""
    if (folder / ABOUT).exists():
        fix = f"Go on with it: bondhu run --resume {folder}. Or name another folder."
        raise InvalidInput(f"{folder} holds a run already.", field="folder", value=str(folder), fix=fix)


def same(folder: Path, plan: Plan, scene: Scene) -> None:
    """Raise InvalidInput, as a checkpoint does, where the folder's run was begun otherwise and has none yet."""
    if (folder / ABOUT).exists():
        facts, described = about.read(folder), about.described(plan, scene.spec)
        there = checkpoints.wanted(facts["learner"], facts["hyperparameters"], about.described_in(facts))
        checkpoints.check(folder / ABOUT, there, checkpoints.wanted(plan.learner, plan.hyperparameters, described))


def never(_: Progress) -> str:
    """Nobody asks the run to stop."""
    return ""


def train(plan: Plan, folder: Path, *, resume: bool = False, display: Tracker | None = None, ask: Ask = never) -> Done:
    """Carry the plan out in this folder; with `resume`, from its newest checkpoint.

    Raises InvalidInput before anything is written where the plan does not fit together, where the folder holds a run
    already, or where a checkpoint is of another run. What goes wrong later names the last checkpoint, which is kept.
    """
    plan = replace(plan, hyperparameters=complete(plan))
    if resume and (folder / ABOUT).exists():
        plan = plan.going_on(stored(folder))
    if plan.video:
        filming.check(plan.environment, plan.options)
    with opened(plan) as scene:
        if plan.shared:
            divided(plan, scene.learner)
        run = Run(plan, folder, scene, Silent(), scene.state)
        scene.simulation.reset(plan.surroundings(0))
        path = checkpoints.newest(folder / CHECKPOINTS) if resume else None
        if path is not None:
            run.restore(path)
        elif resume:
            same(folder, plan, scene)
        else:
            free(folder)
        listening = trackers(plan.track, folder, plan.name, run.progress.steps)
        run.tracker = Several({"the display": display or Silent(), "tracking": listening})
        return _carried_out(run, ask)


def _carried_out(run: Run, ask: Ask) -> Done:
    """The run, and what is left of it on disk."""
    folder, status, started = run.folder, FAILED, time.time()
    if not (folder / ABOUT).exists() or run.progress.phase == 0:
        about.write(folder, about.about(run.plan, run.scene.spec, started=started, folder=Path.cwd()))
    else:
        about.changed(folder, run.plan)
    evaluating.cut(folder, run.progress.steps)
    run.tracker.begin(about.read(folder))
    try:
        why = run.go(ask)
        status = FINISHED if over(run.plan, run.progress) else STOPPED
        _close(run, status)
        results.write(folder, status, why, run.progress)
        return Done(folder, status, why, run.progress)
    except BondhuError as error:
        raise type(error)(error.what, field=error.field, value=error.value, fix=_kept(error, folder)) from error
    finally:
        run.tracker.end(status)


def _close(run: Run, status: str) -> None:
    """The last figures, evaluation and film of a run that is over; a checkpoint in any case."""
    if status == FINISHED:
        if run.progress.pending:
            run.record((time.monotonic(), run.progress.steps))
        if not any(line["step"] == run.progress.steps for line in evaluating.lines(run.folder)):
            run.evaluate()
    run.save()
    if status == FINISHED and run.plan.video:
        policy = run.scene.learner.policy(run.state)
        path = run.folder / "videos" / f"{run.progress.steps}.mp4"
        film = filming.film(policy, run.plan, run.scene.learner, path)
        run.tracker.file(film.path, "video")


def _kept(error: BondhuError, folder: Path) -> str:
    """What to do about the error, and what is left."""
    last = checkpoints.newest(folder / CHECKPOINTS)
    if last is None:
        return f"{error.fix} There is no checkpoint yet.".strip()
    return f"{error.fix} The last checkpoint is {last}: `bondhu run --resume {folder}` goes on from it.".strip()
