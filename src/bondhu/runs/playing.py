"""What a trained policy earns: its best state, or its last, played again in the environment it was trained in."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bondhu.errors import InvalidInput
from bondhu.learners import unpack
from bondhu.runs import about, checkpoints, filming, results
from bondhu.runs.evaluating import SEED, Evaluation, evaluate
from bondhu.runs.filming import Film
from bondhu.runs.loop import BEST, CHECKPOINTS, STATE
from bondhu.runs.plan import EVALUATION, Plan, seeds_of, stored
from bondhu.runs.scene import opened


class Played(NamedTuple):
    """What was played, and what it earned."""

    checkpoint: Path
    plan: Plan
    evaluation: Evaluation
    film: Film | None


def play(folder: Path, *, episodes: int = 10, explore: bool = False, last: bool = False, video: bool = False) -> Played:
    """Episodes that no evaluation of the run has seen. Of several seeds, the one whose best evaluation was best.

    Raises InvalidInput where there is nothing to play, or where it was trained on something else than is there now.
    """
    home = _best_seed(folder)
    path = (None if last else checkpoints.newest(home / BEST)) or checkpoints.newest(home / CHECKPOINTS)
    if path is None:
        fix = "Let it run up to its first evaluation or checkpoint."
        raise InvalidInput(f"{home} has stored nothing yet.", field="run", value=str(home), fix=fix)
    plan = replace(stored(home), episodes=episodes, environments=1)
    version = checkpoints.load(path)
    with opened(plan) as scene:
        here = about.described(plan, scene.spec)
        same = {name: here[name] for name in ("environment", "observations", "actions")}
        checkpoints.check(path, checkpoints.told(version), {"learner": plan.learner, **same})
        arrays = {name.removeprefix(STATE): each for name, each in version.state.items() if name.startswith(STATE)}
        state = unpack(scene.learner, arrays)
        policy = scene.learner.policy(state, explore=explore)
        found = evaluate(policy, scene.evaluation, plan.rng(EVALUATION), SEED + 1 + plan.seed)
        film = None
        if video:
            film = filming.film(policy, plan, scene.learner, home / "videos" / f"{version.id}.mp4")
    return Played(path, plan, found, film)


def _best_seed(folder: Path) -> Path:
    there = seeds_of(folder)
    if not there:
        fix = "Name a folder that `bondhu run` has written."
        raise InvalidInput(f"{folder} holds no run.", field="run", value=str(folder), fix=fix)

    def best(home: Path) -> float:
        found = results.read(home).get("best")
        return found["mean"] if found else -math.inf

    return max(there, key=best)
