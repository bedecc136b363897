"""A learner of the catalogue plays the environment of coding, and its learning curve as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bondhu.domains.coding.env import NAME
from bondhu.domains.coding.rules import Rules
from bondhu.domains.coding.tasks import Task
from bondhu.envs.make import make
from bondhu.learners.deep.ppo import Ppo
from bondhu.sandbox.program import Sandbox
from bondhu.train.simulate import Simulation
from bondhu.types import Policy

OPERATORS = (
    "comparison_operator", "arithmetic_operator", "constant_changed", "function_name", "attribute_name",
    "operand_inserted",
)  # fmt: skip
RULES = Rules(steps=24, operators=OPERATORS, tests_at_once=True, submits=True, discount=0.95)
LEARNER = Ppo(hidden=(64,), learning_rate=1e-3, discount=RULES.discount, entropy_bonus=0.01)
PHASE = 512  # steps between updates
JUDGED = 2_048  # steps in which a policy is judged


class Point(NamedTuple):
    """Episodes that ended in one phase."""

    steps: int  # so far
    solved: float  # share of them; nan where none ended


def simulation(tasks: Sequence[Task], sandbox: Sandbox) -> Simulation:
    """One environment with these tasks, seen as numbers."""
    options = {"tasks": tasks, "sandbox": sandbox, "rules": RULES, "shows": "features"}
    return Simulation(make(f"bondhu.domains.coding.env:{NAME}", 1, options=options))


def practised(
    tasks: Sequence[Task], sandbox: Sandbox, steps: int, rng: np.random.Generator
) -> tuple[Policy, list[Point]]:
    """The policy after so many steps, and what was solved on the way."""
    played, points = simulation(tasks, sandbox), list[Point]()
    state = LEARNER.init(played.spec, rng)
    for done in range(0, steps, PHASE):
        batch = played.play(LEARNER.policy(state, explore=True), PHASE, rng)
        points.append(Point(done + PHASE, solved(played)))
        state, _ = LEARNER.update(state, batch, rng)
    return LEARNER.policy(state, explore=True), points


def judged(policy: Policy, tasks: Sequence[Task], sandbox: Sandbox, rng: np.random.Generator) -> float:
    """Share of episodes that it solves, without learning."""
    played = simulation(tasks, sandbox)
    played.play(policy, JUDGED, rng)
    return solved(played)


def solved(played: Simulation) -> float:
    """Of the episodes that have ended since somebody asked."""
    ended = [bool(episode.success) for episode in played.finished()]
    return float(np.mean(ended)) if ended else float("nan")


def draw(path: Path, points: Sequence[Point], uniform: float, bugs: int) -> None:
    """The learning curve, beside drawing evenly among what is allowed."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps, shares = zip(*points, strict=True)
    axes.plot(steps, shares, linewidth=1, marker=".", label="PPO as it practises, episodes of one phase")
    axes.axhline(uniform, color="black", linestyle="--", linewidth=1, label="drawn evenly among what is allowed")
    axes.set_xlabel("steps in the environment, menus included")
    axes.set_ylabel("share of episodes solved")
    axes.set_title(f"{bugs} modules with bugs, one each episode", loc="left")
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize="small")
    figure.savefig(path, dpi=120)
