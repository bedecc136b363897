"""What deep learners reach, with the presets that `bondhu run` takes: seeds 0 to 4, which no setting was chosen on.

Protocol: each seed trains for the steps named and is evaluated twenty times on the way, in environments of its own that
are seeded alike every time, 20 episodes by the policy as it would serve and 20 as it explores. A score is the
interquartile mean over the seeds of the evaluation at the end ("last") or of the best one on the way ("best"), with a
95 % stratified bootstrap interval (Agarwal et al. 2021). What is not trained to the end is not reported.

Finished seeds are kept in `.benchmark-deep/` and not trained again, unless the settings have changed: a long table can
be made in several sittings. BONDHU_TASKS = "CartPole|Pendulum" measures only what matches; the long ones (MuJoCo,
Atari) only when they are named so.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.report import Row, main
from bondhu.runs import planning, results
from bondhu.runs.display import Display
from bondhu.runs.plan import Plan, plain
from bondhu.runs.run import train

SEEDS = 5
KEPT = Path(".benchmark-deep")
ASKED = os.environ.get("BONDHU_TASKS", "")


@dataclass(frozen=True)
class Task:
    """A learner in an environment, and what it is to reach."""

    learner: str
    environment: str
    steps: int
    goal: float | None = None  # on the interquartile mean of the last evaluations
    worst: float | None = None  # on every single seed
    known: tuple[str, float] | None = None  # what others published for as many steps
    long: bool = False
    preset: str | None = None  # where several fit


TASKS = (
    Task("deep.ppo", "CartPole-v1", 100_000, 500.0, known=("rl-zoo3", 500.0)),
    Task("deep.dqn", "CartPole-v1", 50_000, 475.0, worst=400.0, known=("rl-zoo3", 500.0)),
    Task("deep.a2c", "CartPole-v1", 500_000, 500.0, known=("rl-zoo3", 500.0)),
    Task("deep.pqn", "CartPole-v1", 500_000, known=("CleanRL", 495.1)),
    Task("deep.reinforce", "CartPole-v1", 200_000),
    Task("deep.v_trace", "CartPole-v1", 200_000),
    Task("deep.a3c", "CartPole-v1", 200_000),
    Task("deep.actor_critic", "CartPole-v1", 200_000),
    Task("deep.discrete_sac", "CartPole-v1", 50_000),
    Task("deep.sac", "Pendulum-v1", 20_000, -160.0, known=("rl-zoo3", -157.0)),
    Task("deep.td3", "Pendulum-v1", 20_000, -160.0, known=("rl-zoo3", -152.0)),
    Task("deep.ppo", "Acrobot-v1", 500_000, -85.0, known=("CleanRL", -86.4)),
    Task("deep.dqn", "LunarLander-v3", 100_000, 155.0, known=("rl-zoo3, v2", 154.4)),
    Task("deep.ppo", "LunarLander-v3", 1_000_000, 240.0, known=("rl-zoo3, v2", 242.1)),
    Task("deep.ppo", "MiniGrid-DoorKey-5x5-v0", 100_000, 0.95, known=("rl-zoo3", 0.964)),
    Task("motivation.counts", "MiniGrid-MultiRoom-N4-S5-v0", 500_000, 0.5, known=("rl-zoo3, 10M steps", 0.0)),
    Task("deep.ppo", "HalfCheetah-v4", 1_000_000, 5_800.0, known=("rl-zoo3, v3", 5_819.0), long=True),
    Task("deep.ppo", "HalfCheetah-v5", 1_000_000, 5_800.0, known=("rl-zoo3, v3", 5_819.0), long=True),
    Task("deep.ppo", "Hopper-v4", 1_000_000, 2_600.0, known=("Tianshou, v3", 2_609.0), long=True),
    Task("deep.ppo", "Hopper-v5", 1_000_000, 2_600.0, known=("Tianshou, v3", 2_609.0), long=True),
    Task("deep.ppo", "Walker2d-v4", 1_000_000, 3_500.0, known=("Tianshou, v3", 3_588.0), long=True),
    Task("deep.ppo", "Walker2d-v5", 1_000_000, 3_500.0, known=("Tianshou, v3", 3_588.0), long=True),
    Task("deep.ppo", "ALE/Pong-v5", 10_000_000, 20.0, known=("CleanRL", 20.36), long=True),
    Task("deep.dqn", "ALE/Pong-v5", 10_000_000, 20.0, known=("CleanRL", 20.25), long=True),
    Task("deep.pqn", "ALE/Pong-v5", 10_000_000, 20.0, known=("CleanRL, envpool", 20.49), long=True),
    Task("deep.sac", "HalfCheetah-v4", 1_000_000, 10_000.0, known=("CleanRL", 9_635.0), long=True),
    Task("deep.sac", "HalfCheetah-v5", 1_000_000, 10_000.0, known=("CleanRL, v4", 9_635.0), long=True),
)


def measure(quick: bool) -> list[Row]:
    if quick:
        with tempfile.TemporaryDirectory() as folder:
            return list(rows(replace(TASKS[0], steps=4_096, goal=None, known=None), 1, Path(folder)))
    return [row for task in TASKS if asked(task) for row in rows(task, SEEDS, KEPT)]


def asked(task: Task) -> bool:
    """Whether this one is to be measured."""
    name = f"{task.learner} {task.environment}"
    return bool(re.search(ASKED, name)) if ASKED else not task.long


def rows(task: Task, seeds: int, kept: Path) -> Iterator[Row]:
    """Train what is not kept yet, and say what came of it."""
    found = [trained(task, seed, kept) for seed in range(seeds)]
    what = f"{task.learner} in {task.environment}, {task.steps:,} steps"
    name, value = task.known or ("", None)
    for which in ("last", "last_exploring", "best"):
        means = [each[which]["mean"] for each in found]
        score = results.together(means)
        label = which.replace("_", " ")
        if seeds > 1:
            label += f" [{score['low']:.4g}, {score['high']:.4g}], worst seed {min(means):.4g}"
        promised = task.goal is not None and which == "last"
        holds = task.goal is not None and score["iqm"] >= task.goal and (task.worst is None or min(means) >= task.worst)
        yield Row(
            f"{what}: {label}", score["iqm"], "return", f">= {task.goal:g}" if promised else "",
            holds if promised else None, name, value,
        )  # fmt: skip


def trained(task: Task, seed: int, kept: Path) -> dict[str, Any]:
    """The results of one seed, from disk if it was trained before with the same plan."""
    plan = plan_of(task, seed)
    folder = kept / f"{task.learner}-{task.environment}-{task.steps}" / f"seed-{seed}"
    mark = folder / "plan.json"
    content = json.dumps(plain(plan), sort_keys=True)
    if not (mark.exists() and mark.read_text(encoding="utf-8") == content and results.read(folder)):
        for file in sorted(folder.rglob("*"), reverse=True) if folder.exists() else ():
            file.unlink() if file.is_file() else file.rmdir()
        train(plan, folder, display=Display(Console(stderr=True), f"{task.learner} {task.environment} {seed}"))
        mark.write_text(content, encoding="utf-8")
    return results.read(folder)


def plan_of(task: Task, seed: int) -> Plan:
    """What `bondhu run` would do, with more episodes in an evaluation."""
    preset, _ = planning.preset_for(task.environment, task.learner, task.preset)
    wishes = {"steps": task.steps, "seed": seed, "episodes": 20, "patience": 0, "until": None}
    return replace(planning.planned(task.environment, task.learner, preset, wishes, {}), until=None)


if __name__ == "__main__":
    main("deep_quality", measure)
