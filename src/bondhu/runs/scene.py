"""A learner and its environments, opened together: what does not fit is refused before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bondhu.envs.make import make
from bondhu.errors import InvalidInput
from bondhu.learners import build
from bondhu.learners import plain as hyperparameters_of
from bondhu.runs.evaluating import FirstEpisodes
from bondhu.runs.outside import Outside
from bondhu.runs.plan import BEGINNING, Plan
from bondhu.train.curriculum import Course, Standing, stages_of
from bondhu.train.simulate import Episode, Simulation, played_in
from bondhu.types import Learner, Spec


@dataclass(frozen=True)
class Scene:
    """Everything that acts in a run."""

    learner: Learner[Any]
    simulation: Simulation  # to learn in
    evaluation: Simulation  # to be judged in, of `FirstEpisodes`
    state: Any  # of the learner, before any feedback
    course: Course | None = None  # what to learn in on the way, where there is a curriculum

    @property
    def spec(self) -> Spec:
        return self.simulation.spec

    def practised(self, standing: Standing, rng: np.random.Generator) -> Simulation:
        """Where the next phase is played."""
        if self.course is None:
            return self.simulation
        self.course.standing = standing
        return self.course.simulation(rng)

    def told(self, episodes: Sequence[Episode]) -> Standing:
        """How far a phase with these episodes has brought the learner; nowhere without a curriculum."""
        if self.course is None:
            return Standing()
        self.course.tell(episodes)
        return self.course.standing

    def begin_anew(self, seed: int) -> None:
        """All environments begin anew."""
        self.simulation.reset(seed)
        if self.course is not None:
            self.course.close()


@contextmanager
def opened(plan: Plan) -> Iterator[Scene]:
    """Raises UnknownName or InvalidInput where the environment, the learner or its hyper-parameters are not known,
    where a package is missing, or where this learner does not take these spaces."""
    learner = learner_of(plan.learner, plan.hyperparameters)
    with ExitStack() as stack:
        env = Outside(make(plan.environment, plan.environments, options=plan.options), plan.environment)
        stack.callback(env.close)
        simulation = played_in(env, learner)
        state = learner.init(simulation.spec, plan.rng(BEGINNING))
        played = make(plan.environment, plan.episodes, options=plan.options)
        judged = FirstEpisodes(Outside(played, plan.environment))
        stack.callback(judged.close)
        course = (
            Course(
                stages_of(plan.curriculum),
                plan.environments,
                opened=lambda env: played_in(Outside(env, plan.environment), learner),
            )
            if plan.curriculum
            else None
        )
        if course is not None:
            stack.callback(course.close)
        yield Scene(learner, simulation, played_in(judged, learner), state, course)


def learner_of(name: str, hyperparameters: Mapping[str, Any]) -> Learner[Any]:
    """The learner of the catalogue. Raises InvalidInput where a package that it needs is missing."""
    try:
        return build(name, hyperparameters)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bondhu"):
            raise
        what = f"{name} needs the package {error.name!r}, which is not installed."
        fix = "Install it: pip install 'bondhu[deep]'."
        raise InvalidInput(what, field="learner", value=name, fix=fix) from error


def complete(plan: Plan) -> dict[str, Any]:
    """All hyper-parameters of the plan's learner, those left to their defaults as well."""
    return hyperparameters_of(learner_of(plan.learner, plan.hyperparameters))
