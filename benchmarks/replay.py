"""Whether replaying a log to a learner says what the learner earns when it is really there; and whether intervals hold
on logs whose own policy learned from them.

Replay: logs of a fixed policy are played to learners, exploration included, and compared with the same learners acting
in the world itself. Coverage: experiments whose shares follow what was found, judged by several estimators. Those that
promise nothing there have no goal: they show what goes wrong without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.report import Row, main
from bondhu.domains.probes import Probe, find
from bondhu.equations.adaptive_weights import arm_effect
from bondhu.equations.intervals import student
from bondhu.evaluate import find as estimator
from bondhu.evaluate.replay import Replay
from bondhu.learners import build
from bondhu.policies.by_value import ByValue
from bondhu.policies.drawing import draw, pick
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.exploring.thompson import Thompson
from bondhu.types import (
    Array,
    Batch,
    Belief,
    Booleans,
    Choice,
    Exploration,
    Floats,
    Integers,
    Learner,
    Policy,
    Uniforms,
)

HORIZON, EVERY, LOGGED = 120, 10, 2_000  # decisions of a learner, learned together, and of a log
LEARNERS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "planes": [
        ("bandit.lin_ucb", {}),
        ("bandit.linear_thompson", {}),
        ("bandit.online_regression", {"exploration": {"name": "epsilon_greedy", "epsilon": 0.2}}),
    ],
    "rows_of_arms": [
        ("tabular.q_learning", {"exploration": {"name": "epsilon_greedy", "epsilon": 0.2}}),
        ("bandit.gaussian_thompson", {}),
        ("bandit.ucb1", {}),
    ],
}


def measure(quick: bool) -> list[Row]:
    seeds, lives = (2, 10) if quick else (60, 300)
    rows = [
        row
        for world, each in LEARNERS.items()
        for name, given in each
        for row in replays(world, name, given, seeds, lives)
    ]
    logs, decisions = (12, 300) if quick else (1_000, 1_000)
    return [*rows, *(row for experiment in EXPERIMENTS for row in coverage(experiment, logs, decisions))]


# ------------------------------------------------------------------------------------------------------------ replaying


def replays(world: str, name: str, given: dict[str, Any], seeds: int, lives: int) -> list[Row]:
    """The replayed value of a learner on many logs against what it earns in the world itself."""
    probe, learner = find(world), build(name, given)
    truly = np.array([lived(learner, probe, np.random.default_rng([0, life])) for life in range(lives)])
    logging, found = tilted(len(probe.play(probe.uniform, 1, np.random.default_rng(0)).allowed[0])), []
    for seed in range(seeds):
        rng = np.random.default_rng([1, seed])
        log = probe.play(logging, LOGGED, rng)
        found.append(Replay(horizon=HORIZON, every=EVERY)(learner, probe.spec, log, rng))
    truth, values = float(truly.mean()), np.array([each.value for each in found])
    held = float(np.mean([each.low <= truth <= each.high for each in found]))
    error = float(np.hypot(truly.std() / lives**0.5, values.std() / seeds**0.5))
    off = float(values.mean()) - truth
    half = float(np.mean([(each.high - each.low) / 2 for each in found]))
    what = f"{world}: {name}, {HORIZON} decisions replayed from logs of {LOGGED:,}"
    goal = f"|bias| <= {3 * error:.3f} (3 se)"
    return [
        Row(
            f"{what}, mean of {seeds}",
            float(values.mean()),
            "reward",
            goal,
            abs(off) <= 3 * error,
            "truly there",
            truth,
        ),
        Row(f"{what}, 95 % intervals, ± {half:.3f}", 100 * held, "% covered", ">= 90", held >= 0.9),
    ]


def lived(learner: Learner[Any], probe: Probe, rng: np.random.Generator) -> float:
    """The mean reward of the first decisions of a learner that is really there."""
    state, earned = learner.init(probe.spec, rng), 0.0
    for _ in range(HORIZON // EVERY):
        batch = probe.play(learner.policy(state, explore=True), EVERY, rng)
        state, _ = learner.update(state, batch, rng)
        earned += float(batch.reward.sum())
    return earned / HORIZON


def tilted(actions: int) -> Policy:
    """Takes the last action twice as often as the first."""
    share = np.linspace(1, 2, actions)

    def rule(values: Floats, allowed: Booleans) -> Floats:
        return np.asarray(values * allowed / (values * allowed).sum(1, keepdims=True))

    return ByValue(lambda seen: np.tile(share, (len(seen), 1)), rule)


# ----------------------------------------------------------------------------------------- logs that learned themselves


@dataclass(frozen=True)
class Always:
    """One action, whatever the context."""

    action: int

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        return np.tile(np.arange(allowed.shape[1]) == self.action, (len(observation), 1)).astype(np.float64)

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        return draw(self.distribution(observation, allowed), rng)


@dataclass(frozen=True)
class Experiment:
    """Actions with normal rewards, chosen by a rule from what they earned so far, with a floor under every chance."""

    name: str
    means: tuple[float, ...]
    rule: Exploration
    floor: Callable[[int], float]  # share of decisions drawn evenly, after so many

    def logs(self, count: int, decisions: int, rng: np.random.Generator) -> tuple[Integers, Floats, Floats]:
        """Action, probability and reward of `count` such experiments at once: `[decisions, count]` each."""
        means, every = np.array(self.means), np.arange(count)
        total, tries = np.zeros((2, count, len(means)))
        allowed = np.ones((count, len(means)), np.bool_)
        action = np.empty((decisions, count), np.int64)
        probability, reward = np.empty((2, decisions, count))
        for t in range(decisions):
            belief = Belief(total / (tries + 1), 1 / np.sqrt(tries + 1), tries, float(t))
            share = self.floor(t)
            choice = draw((1 - share) * self.rule(belief, allowed) + share / len(means), rng)
            action[t], probability[t] = choice.action, choice.probability
            reward[t] = means[choice.action] + rng.standard_normal(count)
            total[every, choice.action] += reward[t]
            tries[every, choice.action] += 1
        return action, probability, reward


EXPERIMENTS = (
    Experiment("Thompson, no signal", (0.0, 0.0), Thompson(), lambda t: (1 + t) ** -0.5),
    Experiment("Thompson, signal", (0.0, 0.3), Thompson(), lambda t: (1 + t) ** -0.35),
    Experiment("fading epsilon, no signal", (0.0, 0.0), EpsilonGreedy(1.0, power=0.4), lambda _: 0.0),
    Experiment("fading epsilon, signal", (0.0, 0.0, 0.5), EpsilonGreedy(1.0, power=0.3), lambda _: 0.0),
)
JUDGES = ("adaptive_dr", "dr", "ips", "sample mean")


def coverage(experiment: Experiment, logs: int, decisions: int) -> list[Row]:
    """How often the intervals of the first action's value, and of what the last is better, hold the truth."""
    rows = experiment.logs(logs, decisions, np.random.default_rng(2))
    arms = len(experiment.means)
    seen, allowed = np.zeros((decisions, 1)), np.ones((decisions, arms), np.bool_)
    found: dict[str, list[Floats]] = {name: [] for name in JUDGES}
    gains: list[Floats] = []
    for log in range(logs):
        one = rows[0][:, log], rows[1][:, log], rows[2][:, log]
        batch = Batch.single(seen, allowed, *one)
        for name in JUDGES[:-1]:
            each = estimator(name)(minimum_effective_samples=20.0)(Always(0), batch)  # type: ignore[call-arg]  # a field
            found[name].append(np.array([each.value, each.low, each.high]))
        earned = one[2][one[0] == 0]
        found["sample mean"].append(np.array([earned.mean(), *student(earned, 0.95)]))
        gains.append(np.array(arm_effect(one, (arms - 1, 0), 0.95)))
    table = [
        judged(f"{experiment.name}: {name}", np.array(each), experiment.means[0], promised=name == "adaptive_dr")
        for name, each in found.items()
    ]
    gain = experiment.means[-1] - experiment.means[0]
    return [*table, judged(f"{experiment.name}: effect", np.array(gains), gain, promised=True)]


def judged(name: str, found: Floats, truth: float, *, promised: bool) -> Row:
    """One row of coverage, with bias and width; at 1,000 logs chance alone moves it by 1.4."""
    kept = found[np.isfinite(found[:, 0])]
    covered = float(((kept[:, 1] <= truth) & (kept[:, 2] >= truth)).mean())
    bias, error = float(kept[:, 0].mean()) - truth, float(kept[:, 0].std()) / len(kept) ** 0.5
    width, refused = float((kept[:, 2] - kept[:, 1]).mean()), len(found) - len(kept)
    told = f"{name}, bias {bias:+.4f} ± {2 * error:.4f}, mean width {width:.3f}, refused {refused} of {len(found):,}"
    slack = 2 * (0.95 * 0.05 / len(kept)) ** 0.5 if len(found) < 1_000 else 0.0
    holds = 0.93 - slack <= covered <= 0.97 + slack
    return Row(told, 100 * covered, "% covered", "93 to 97" if promised else "", holds if promised else None)


if __name__ == "__main__":
    main("replay", measure)
