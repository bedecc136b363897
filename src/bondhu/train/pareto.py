"""What can be had of several objectives at once: the policies of many weightings, judged on logged decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bondhu.equations.objectives import pareto_front
from bondhu.evaluate.parts import Seen, of_objectives
from bondhu.learners.objectives.vector_reward import VectorReward
from bondhu.types import Batch, Estimate, Estimator, Policy


@dataclass(frozen=True)
class Point:
    """One weighting, its policy, and what it earns of each objective."""

    weights: Mapping[str, float]
    policy: Policy
    values: Mapping[str, Estimate]


def front(
    learner: VectorReward, state: Any, held_out: Batch, weightings: Sequence[Mapping[str, float]], estimator: Estimator
) -> list[Point]:
    """The points that no other beats in every objective, by their estimates on rows the learner has not seen."""
    points = []
    for weights in weightings:
        policy = learner.with_weights(weights).policy(state)
        values = of_objectives(estimator, Seen(policy, held_out))
        if not any(each.refused for each in values.values()):
            points.append(Point(weights, policy, values))
    if not points:
        return []
    table = np.array([[each.value for each in point.values.values()] for point in points])
    apart = np.unique(table, axis=0, return_index=True)[1]  # several weightings may give one policy
    return [points[row] for row in np.sort(apart[pareto_front(table[apart])])]


def between(first: str, second: str, steps: int) -> list[dict[str, float]]:
    """Weightings from all of one objective to all of another, both ends included."""
    return [{first: 1.0 - share, second: share} for share in np.linspace(0.0, 1.0, steps).tolist()]
