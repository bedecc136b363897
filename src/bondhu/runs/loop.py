"""The loop of a run: act, learn, record, evaluate, keep. A run that was stopped goes on with the same numbers.

The randomness of a phase comes from the seed and the number of the phase alone. At every checkpoint the environments
begin anew with a seed of that phase, whether the run is interrupted or not: episodes under way are cut there, which is
not an end. A checkpoint between those, where somebody stops the run, keeps the actions since; they are done again.
Only workers beside each other, whose gradients come when they come, never give the same numbers twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, time
from typing import Any

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.learners import unpack, views  # views: without copying a replay memory
from bondhu.monitor.tracking import Tracker
from bondhu.ports import Version
from bondhu.runs import about, checkpoints, evaluating
from bondhu.runs import progress as progressing
from bondhu.runs.phases import source
from bondhu.runs.plan import EVALUATION, Plan
from bondhu.runs.progress import Progress
from bondhu.runs.scene import Scene
from bondhu.runs.stretch import Stretch, again
from bondhu.types import Array

CHECKPOINTS, BEST = "checkpoints", "best"
STATE = "state/"  # before the names of the learner's own arrays
Ask = Callable[[Progress], str]  # after every phase: why to stop, or "" to go on


@dataclass
class Run:
    """A run under way. What must outlive the process is in `progress`, `state` and `stretch`."""

    plan: Plan
    folder: Path
    scene: Scene
    tracker: Tracker
    state: Any
    progress: Progress = field(default_factory=Progress)
    stretch: Stretch = field(default_factory=Stretch)

    def go(self, ask: Ask) -> str:
        """Until there is a reason to stop."""
        began = monotonic(), self.progress.steps
        with source(self.plan, self.scene, self.stretch, self.progress) as phase:
            while not (why := over(self.plan, self.progress) or ask(self.progress)):
                before = self.progress
                with placed(f"step {before.steps:,} of the run"):
                    self.state, metrics, batch, episodes = phase(self.state, before)
                self.progress = before.after(batch, metrics, episodes).standing_at(self.scene.told(episodes))
                if before.phase == 0:
                    about.write(self.folder, about.with_observations(about.read(self.folder), batch.observation))
                if self.due("record", before):
                    began = self.record(began)
                if self.due("evaluate", before):
                    self.evaluate()
                if self.due("checkpoint", before):
                    self.begin_anew()
        return why

    def due(self, what: str, before: Progress) -> bool:
        """Whether the phase that is over went past a multiple of the steps between."""
        every = self.plan.every(what)
        return self.progress.steps // every > before.steps // every

    def record(self, began: tuple[float, int]) -> tuple[float, int]:
        """Tell the figures since the last record; returns when and at which step this one was."""
        now, steps = monotonic(), self.progress.steps
        speed = {"steps_per_second": (steps - began[1]) / max(now - began[0], 1e-9)} if steps > began[1] else {}
        self.tracker.record({**self.progress.figures(), **speed}, steps)
        self.progress = replace(self.progress, pending={})
        return now, steps

    def evaluate(self) -> None:
        """Play the policy as it would serve, and as it explores; keep the state if it is the best yet."""
        told = {}
        for explore in (False, True):
            rng = self.plan.rng(EVALUATION, self.progress.evaluated)
            policy = self.scene.learner.policy(self.state, explore=explore)
            with placed(f"the evaluation at step {self.progress.steps:,} of the run"):
                found = evaluating.evaluate(policy, self.scene.evaluation, rng)
            evaluating.append(self.folder, found.told(self.progress.steps, explore=explore))
            told["evaluation_return_exploring" if explore else "evaluation_return"] = found.mean
        self.progress = self.progress.judged(told["evaluation_return"])
        self.tracker.record(told, self.progress.steps)
        if self.progress.misses == 0:
            checkpoints.save(self.folder / BEST, self.version(), keep=1)

    def begin_anew(self) -> None:
        """Store everything; go on from just what was stored, in environments that begin anew."""
        self.progress = self.progress.begun_anew()
        self.stretch.choices.clear()
        self.save()
        self.state = unpack(self.scene.learner, {name: _own(array) for name, array in views(self.state).items()})
        self.scene.begin_anew(self.plan.surroundings(self.progress.phase))

    def save(self) -> Path:
        """A checkpoint of now."""
        return checkpoints.save(self.folder / CHECKPOINTS, self.version())

    def version(self) -> Version:
        """The state and the progress, with all that must be the same for a run to go on."""
        plan, state = self.plan, {f"{STATE}{name}": array for name, array in views(self.state).items()}
        return Version(
            id=str(self.progress.steps),
            domain=plan.environment,
            learner=plan.learner,
            hyperparameters=plan.hyperparameters,
            state={**state, **self.stretch.arrays()},
            description=about.described(plan, self.scene.spec),
            created=time(),
            notes={"progress": vars(self.progress), "packages": about.packages()},
        )

    def restore(self, path: Path) -> None:
        """Go back to a checkpoint. Raises InvalidInput naming what does not match; nothing has been written then."""
        plan, learner = self.plan, self.scene.learner
        version = checkpoints.load(path)
        here = checkpoints.wanted(plan.learner, plan.hyperparameters, about.described(plan, self.scene.spec))
        checkpoints.check(path, checkpoints.told(version), here)
        arrays = {
            name.removeprefix(STATE): np.array(each) for name, each in version.state.items() if name.startswith(STATE)
        }
        self.state = unpack(learner, arrays)
        self.progress = progressing.read(version.notes["progress"])
        self.scene.simulation.reset(plan.surroundings(self.progress.began))
        if not plan.shared:
            again(plan, self.scene, self.stretch, self.progress, version.state)


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Environments count their steps from where they began anew; an error of theirs is told with where the run was."""
    try:
        yield
    except InvalidInput as error:
        what = f"{error.what.rstrip('.')}, since the environments began anew; it was after {where}."
        what = what if "after step" in error.what else error.what
        raise type(error)(what, field=error.field, value=error.value, fix=error.fix) from error


def over(plan: Plan, progress: Progress) -> str:
    """Why the run has reached its end; "" where it has not."""
    if progress.steps >= plan.steps:
        return "all steps are done"
    if plan.until is not None and progress.last is not None and progress.last >= plan.until:
        return f"an evaluation returned {progress.last:.6g}, and {plan.until:.6g} was asked for"
    if plan.patience and progress.misses >= plan.patience:
        return f"{progress.misses} evaluations in a row were no better than {progress.best:.6g}"
    return ""


def _own(array: Array) -> Array:
    """The array, if it may be written to; a device's, which may not, as a copy."""
    try:
        array.flags.writeable = True
    except ValueError:
        return array.copy()
    return array
