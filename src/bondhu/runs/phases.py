"""Where the phases of a run come from: its own loop, act and then learn, or workers that do both at their own pace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from gymnasium.vector import VectorEnv

from bondhu.envs.make import make
from bondhu.errors import InvalidInput
from bondhu.runs.outside import Outside
from bondhu.runs.plan import ACTING, Plan
from bondhu.runs.progress import Progress
from bondhu.runs.scene import Scene
from bondhu.runs.stretch import Stretch
from bondhu.train import asynchronous
from bondhu.train.asynchronous import Divided, Owner
from bondhu.train.simulate import Episode
from bondhu.types import Batch, Learner, Metrics


class Phase(NamedTuple):
    """What one phase brought."""

    state: Any  # of the learner, after it
    metrics: Metrics
    batch: Batch
    episodes: Sequence[Episode]  # that ended


Source = Callable[[Any, Progress], Phase]  # from the learner's state and how far the run is: one phase more


@contextmanager
def source(plan: Plan, scene: Scene, stretch: Stretch, progress: Progress) -> Iterator[Source]:
    """The phases after `progress`; workers, where the plan has them, leave at the end."""
    if not plan.shared:
        yield partial(_alone, plan, scene, stretch)
        return
    seed = (plan.seed, ACTING, progress.phase)
    begin = partial(_environments, plan)
    with asynchronous.working(divided(plan, scene.learner), begin, plan.workers, seed, plan.kind) as owner:
        yield partial(_together, owner)


def divided(plan: Plan, learner: Learner[Any]) -> Divided:
    """The learner as workers need it. Raises InvalidInput, or UnknownName, for a plan that workers cannot carry out."""
    asynchronous.check(plan.workers, plan.kind)
    if not isinstance(learner, Divided):
        what = f"Workers send gradients, and {plan.learner} has none to send."
        fix = "Take deep.a3c. To train several seeds beside each other, --jobs."
        raise InvalidInput(what, field="workers", value=plan.workers, fix=fix)
    if plan.phase != learner.rollout:
        what = f"A phase has {plan.phase} steps, and workers of {plan.learner} play {learner.rollout}, its rollout."
        raise InvalidInput(what, field="phase", value=plan.phase, fix=f"Set rollout={plan.phase}, or leave it out.")
    if plan.curriculum:
        fix = "Take one thread, or a preset without a curriculum."
        raise InvalidInput("Workers follow no curriculum.", field="workers", value=plan.workers, fix=fix)
    return learner


def _alone(plan: Plan, scene: Scene, stretch: Stretch, state: Any, progress: Progress) -> Phase:
    """Act, then learn; what was done is noted. The randomness comes from the seed and the number of the phase alone."""
    rng = plan.rng(ACTING, progress.phase)
    policy = stretch.noting(scene.learner.policy(state, explore=True))
    simulation = scene.practised(progress.standing, rng)
    batch = simulation.play(policy, plan.phase, rng)
    after, metrics = scene.learner.update(state, batch, rng)
    return Phase(after, metrics, batch, simulation.finished())


def _together(owner: Owner, state: Any, _: Progress) -> Phase:
    """One rollout of one worker."""
    after, metrics, batch, episodes = owner.learned(state)
    return Phase(after, {name: each for name, each in metrics.items() if name != "worker"}, batch, episodes)


def _environments(plan: Plan) -> VectorEnv[Any, Any, Any]:
    """Those of one worker, which may be in another process."""
    return Outside(make(plan.environment, plan.environments, options=plan.options), plan.environment)
