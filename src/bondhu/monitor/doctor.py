"""Recognises the usual troubles of a deployment from what its stores say, and names the fix for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from bondhu.ports import Task


class Finding(NamedTuple):
    """One trouble: which case, what shows it, and what to do."""

    case: str
    evidence: str
    fixes: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What the doctor looks at; `app` collects it."""

    trainings: Sequence[Task]  # newest first
    decisions: int  # in the log
    feedback: int
    discount: float  # of the learner
    largest_reward: float  # the most that one decision can earn
    good_reward: float  # average reward of a decision that the operator asks for
    model_problem: str | None  # what went wrong when the live version or q_table.json was read
    exploration: float


MINIMUM_DECISIONS = 1000  # before a policy should go live
MINIMUM_VISITS = 2.0  # decisions for each tried state-action pair
RUNS = 3  # trainings that make a trend
NOISE = 0.01  # reward of a decision; smaller changes are none


def examine(facts: Facts) -> list[Finding]:
    """Every trouble that the facts show, worst first; an empty list is good health."""
    found = [
        model_missing(facts),
        diverging(facts),
        no_improvement(facts),
        too_little_data(facts),
        no_exploration(facts),
    ]
    return [finding for finding in found if finding]


def model_missing(facts: Facts) -> Finding | None:
    """The live version or its readable table is missing or damaged."""
    if not facts.model_problem:
        return None
    fixes = ("Remove the damaged q_table.json and train again: `bondhu train`.", "Or go back: `bondhu rollback`.")
    return Finding("model not loading", facts.model_problem, fixes)


def diverging(facts: Facts) -> Finding | None:
    """Q-values above what any policy could earn, r_max / (1 - γ), or doubling from run to run."""
    sizes = [size for size in map(_largest_value, reversed(facts.trainings)) if size is not None][-RUNS:]
    bound = facts.largest_reward / max(1 - facts.discount, 1e-9) if facts.discount < 1 else np.inf
    if not sizes:
        return None
    doubling = len(sizes) == RUNS and all(later > 2 * earlier > 0 for earlier, later in pairwise(sizes))
    if np.isfinite(sizes[-1]) and sizes[-1] <= bound and not doubling:
        return None
    evidence = (
        f"The largest |Q| was {', '.join(f'{size:.3g}' for size in sizes)}; no policy can earn more than {bound:.3g}."
    )
    return Finding(
        "Q-values diverging",
        evidence,
        (
            "Reduce the step: [learner] learning_rate = 0.05.",
            "Look less far ahead: [learner] discount = 0.9.",
            "Check that the weights in [reward.signals] are of the order of 1.",
            "Then start over: `bondhu train --from-scratch`.",
        ),
    )


def no_improvement(facts: Facts) -> Finding | None:
    """The average reward of the last trainings did not rise, and is not as high as the operator asks, or it fell."""
    rewards = [float(_training(task).get("average_reward") or 0.0) for task in reversed(_completed(facts))][-RUNS:]
    if len(rewards) < RUNS or rewards[-1] > rewards[0] + NOISE:
        return None
    if rewards[-1] >= facts.good_reward and rewards[-1] >= rewards[0] - NOISE:
        return None  # good, and steady: it has learned what there is to learn
    evidence = f"The average reward of the last {RUNS} trainings was {', '.join(f'{r:.3f}' for r in rewards)}."
    return Finding(
        "no training improvement",
        evidence,
        (
            f"Check how sparse rewards are: {facts.feedback} feedback for {facts.decisions} decisions.",
            "Learn faster: [learner] learning_rate = 0.2.",
            "Explore longer: [exploration] rate = 0.05 or more, so that better actions can be found.",
            "Check that there is enough positive feedback.",
        ),
    )


def too_little_data(facts: Facts) -> Finding | None:
    """Few decisions, or few visits to each state-action pair that was tried."""
    stats = _training(_completed(facts)[0]).get("agent_stats", {}) if _completed(facts) else {}
    pairs = float(stats.get("total_state_actions", 0))
    thin = pairs > 0 and facts.decisions / pairs < MINIMUM_VISITS
    if facts.decisions >= MINIMUM_DECISIONS and not thin:
        return None
    there = "There is 1 decision" if facts.decisions == 1 else f"There are {facts.decisions} decisions"
    evidence = f"{there} in the log" + (
        f"; {pairs:,.0f} state-action pairs were tried, {facts.decisions / pairs:.1f} times each." if pairs else "."
    )
    return Finding(
        "insufficient data",
        evidence,
        (
            "Let users with less in: [training] min_interactions_per_user = 3.",
            "Read more days: [training] days_back = 14.",
            "Have fewer states: bins = 3 in the number fields of [context].",
            "Start from simulated users: `bondhu demo` shows how.",
        ),
    )


def no_exploration(facts: Facts) -> Finding | None:
    """Without exploration nothing new can be learned, and no candidate can be evaluated."""
    if facts.exploration > 0:
        return None
    return Finding(
        "no exploration",
        "[exploration] rate is 0: the log will hold only what the policy in force already prefers.",
        ("Set [exploration] rate = 0.05 in bondhu.toml so that candidates can be evaluated.",),
    )


def _completed(facts: Facts) -> list[Task]:
    return [task for task in facts.trainings if task.status == "completed"]


def _training(task: Task) -> Mapping[str, Any]:
    training: Mapping[str, Any] = task.metadata.get("training", {})
    return training


def _largest_value(task: Task) -> float | None:
    value = _training(task).get("agent_stats", {}).get("max_q_value")
    return None if value is None else float(value)
