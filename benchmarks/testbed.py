"""The ten-armed testbed (Sutton & Barto 2018, section 2.3): what learners earn while they learn.

Each run is a bandit of its own, with mean rewards drawn from N(0, 1) and rewards from N(mean, 1); all runs are played
side by side, as the rows of one table. The goals are what the book's figures 2.2 to 2.4 come to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from benchmarks.report import Row, main
from bondhu.learners import build
from bondhu.types import Batch, Floats, Learner, Spec

ARMS, STEPS = 10, 1_000
SAMPLE_MEANS = {"learning_rate": 1.0, "step_power": 1.0}


def greedy(epsilon: float) -> dict[str, Any]:
    return {"exploration": {"name": "epsilon_greedy", "epsilon": epsilon}}


LEARNERS: dict[str, tuple[str, dict[str, Any], float | None]] = {
    "greedy": ("tabular.q_learning", {**SAMPLE_MEANS, **greedy(0.0)}, 1.04),
    "epsilon 0.01": ("tabular.q_learning", {**SAMPLE_MEANS, **greedy(0.01)}, 1.32),
    "epsilon 0.1": ("tabular.q_learning", {**SAMPLE_MEANS, **greedy(0.1)}, 1.37),
    "optimistic, Q0 = 5, constant step": (
        "tabular.q_learning",
        {"learning_rate": 0.1, "initial_value": 5.0, **greedy(0.0)},
        1.50,
    ),
    "upper confidence, c = 2": ("bandit.ucb1", {"exploration": {"name": "ucb", "confidence": 2.0}}, 1.48),
    "softmax, 0.25": ("bandit.ucb1", {"exploration": {"name": "softmax", "temperature": 0.25}}, None),
    "Thompson, noise estimated": ("bandit.gaussian_thompson", {}, None),
    "Thompson, noise known": ("bandit.gaussian_thompson", {"noise": 1.0}, None),
}


def learner_named(name: str) -> Learner[Any]:
    """One of LEARNERS, with its hyper-parameters."""
    kind, hyperparameters, _ = LEARNERS[name]
    return build(kind, hyperparameters)


def mean_reward(learner: Learner[Any], runs: int, steps: int, rng: np.random.Generator) -> Floats:
    """The reward of each step, averaged over runs that learn from their own decisions only: `[steps]`."""
    state = learner.init(Spec(MultiDiscrete([runs]), Discrete(ARMS)), rng)
    means = rng.standard_normal((runs, ARMS))
    run, allowed = np.arange(runs), np.ones((runs, ARMS), np.bool_)
    earned = np.empty(steps)
    for step in range(steps):
        choice = learner.policy(state, explore=True).sample(run[:, None], allowed, rng)
        reward = means[run, choice.action] + rng.standard_normal(runs)
        batch = Batch.single(run[:, None], allowed, choice.action, choice.probability, reward)
        state, _ = learner.update(state, batch, rng)
        earned[step] = reward.mean()
    return earned


def measure(quick: bool) -> list[Row]:
    runs, rows = 40 if quick else 2_000, []
    for name, (_, _, goal) in LEARNERS.items():
        value = float(mean_reward(learner_named(name), runs, STEPS, np.random.default_rng(0))[-100:].mean())
        holds = None if goal is None else abs(value - goal) <= (0.2 if quick else 0.03)
        rows.append(Row(name, value, "reward in steps 901 to 1,000", "" if goal is None else f"{goal:.2f}", holds))
    return rows


if __name__ == "__main__":
    main("testbed", measure)
