"""What learners with linear models of features share: the state, what a batch must hold, and how models stay standard.

Features may come in any units. Models see them, and rewards, standardised by a frame: centres and scales of the rows
so far. After 1, 2, 4, … rows, and at least every 16,384, the frame is taken anew, what was learned is moved to it
exactly, and posteriors are computed afresh from their evidence. So rounding has no time to build up, and the prior (a
coefficient has the variance of noise / ridge) speaks of the units of the rows so far. Forgetting sets in then as well:
evidence fades, the prior does not, so that nothing becomes singular however much is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, TypeVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from bondhu.compiled import compiled
from bondhu.equations.recursive import moved, predict, ready, standard_frame, swept
from bondhu.learners._table import LARGEST, refused
from bondhu.types import Array, Batch, Floats, Integers, Metrics, PerAction, Spec

LONGEST = 16_384  # rows between two renewals
FADE = 0.9  # share of evidence that a renewal keeps where the learner forgets


@dataclass(frozen=True)
class Ridge:
    """For each action a linear model of D = F + 1 coefficients, the first its intercept, as `equations.recursive`.

    Memory: 16·A·(F + 2)² bytes.
    """

    evidence: Annotated[Floats, PerAction()]  # [A, D + 1, D + 1] sum of w w' over its rows w = [1, features, reward]
    posterior: Annotated[Floats, PerAction()]  # [A, D + 1, D + 1] covariance and coefficients
    frame: Floats  # [2, F + 1] centre and scale of the features and the reward
    clock: Integers  # [3] decisions learned from, and how many they were at the last renewal and will be at the next


R = TypeVar("R", bound=Any)  # a state with the fields `evidence`, `posterior`, `frame` and `clock` of `Ridge`
Learn = Callable[[Array, Integers, Floats], float]  # rows to the sum of their errors, changing a state's arrays


def ridge_of(spec: Spec, ridge: float) -> Ridge:
    """The state before any feedback."""
    actions, features = shape_of(spec)
    evidence = np.zeros((actions, features + 2, features + 2))
    frame = np.stack([np.zeros(features + 1), np.ones(features + 1)])
    return Ridge(evidence, swept(evidence, ridge), frame, np.array([0, 0, 1]))


def shape_of(spec: Spec) -> tuple[int, int]:
    """How many actions and features there are; refuses what linear models cannot take."""
    if not isinstance(spec.observation, Box) or len(spec.observation.shape) != 1:
        raise refused("observation", spec.observation, "A linear model needs features: a Box of one dimension.")
    if not isinstance(spec.action, Discrete):
        raise refused("action", spec.action, "A linear model for each action needs a Discrete action space.")
    return int(spec.action.n), spec.observation.shape[0]


def advanced(state: R, batch: Batch, learn: Callable[[R], Learn], renew: Callable[[R], R]) -> tuple[R, Metrics]:
    """The state after the rows of the batch, in order, with a renewal wherever one is due.

    Metrics: `error` mean |reward - prediction| before learning; `reward` mean reward; `rounds` decisions so far.
    """
    observation, action, reward = checked(batch, state.frame.shape[1] - 1, len(state.evidence))
    state, start, missed = own(state), 0, 0.0
    rows, due = state.clock.item(0), state.clock.item(2)
    if rows == 0 and len(action) > 0:
        state = begun(state, observation[0])
    while start < len(action):
        stop = min(start + due - rows, len(action))
        missed += learn(state)(observation[start:stop], action[start:stop], reward[start:stop])
        state.clock[0] = rows = rows + stop - start
        if rows == due:
            state = renew(state)
            due = state.clock.item(2)
        start = stop
    count = max(start, 1)
    return state, {"error": missed / count, "reward": float(np.add.reduce(reward)) / count, "rounds": float(rows)}


def begun(state: R, first: Array) -> R:
    """The state in the units of its first row; nothing was learned that would have to move."""
    features = np.append(first, 0.0)
    return replace(state, frame=frame_of(features, features * features, state.frame))


def own(state: R) -> R:
    """The state itself, or a copy where its arrays must not be written to: a stored version stays as it is."""
    if state.evidence.flags.writeable and state.posterior.flags.writeable and state.clock.flags.writeable:
        return state
    return replace(state, **{each.name: _copied(getattr(state, each.name)) for each in fields(state)})


def renewed(state: R, ridge: float, forgetting: float) -> R:
    """The `Ridge` with faded evidence, in the frame of its rows so far."""
    evidence = state.evidence * faded(state, forgetting)
    total = evidence.sum(axis=0)
    frame = frame_of(total[0, 1:] / total[0, 0], total.diagonal()[1:] / total[0, 0], state.frame)
    evidence = moved(evidence, state.frame, frame)
    return scheduled(replace(state, evidence=evidence, posterior=swept(evidence, ridge), frame=frame), forgetting)


def frame_of(mean: Floats, square: Floats, frame: Floats) -> Floats:
    """The standard frame of columns that have in `frame` these means and mean squares."""
    return standard_frame(mean, square - mean * mean, frame)


def faded(state: Any, forgetting: float) -> float:
    """The factor on evidence for the rows since the last renewal."""
    factor: float = forgetting ** int(state.clock[0] - state.clock[1])
    return factor


def scheduled(state: R, forgetting: float) -> R:
    """The state, just renewed: the next time is when rows have doubled, or before more than a tenth was forgotten."""
    longest = LONGEST if forgetting == 1.0 else min(max(int(math.log(FADE) / math.log(forgetting)), 1), LONGEST)
    rows = state.clock.item(0)
    return replace(state, clock=np.array([rows, rows, rows + min(rows, longest)]))


def values_of(frame: Floats, coefficients: Floats) -> Callable[[Array], Floats]:
    """What a greedy policy looks at, `[T, F]` to `[T, A]`: the values under coefficients `[A, D]`."""
    return lambda observation: ready(predict)(seen(observation, frame.shape[1] - 1), frame, coefficients)


def seen(observation: Array, features: int) -> Array:
    """The observation as compiled functions read it; they would read beyond the end of one that is too narrow."""
    if observation.ndim != 2 or observation.shape[1] != features:
        raise refused("observation", observation.shape, f"It needs the shape [T, {features}].")
    return np.ascontiguousarray(observation)


def checked(batch: Batch, features: int, actions: int) -> tuple[Array, Integers, Floats]:
    """Observation, action and reward of a batch; refuses what would spoil a model. Nothing has been written yet."""
    observation = seen(batch.observation, features)
    action, reward = np.ascontiguousarray(batch.action, np.int64), np.ascontiguousarray(batch.reward, np.float64)
    row = compiled(spoiling)(observation, action, reward, actions)
    if row < 0:
        return observation, action, reward
    if not 0 <= action[row] < actions:
        raise refused("action", action[row], f"There are the actions 0 to {actions - 1}.")
    if not abs(reward[row]) < LARGEST:
        raise refused("reward", reward[row], f"Row {row} needs a number below {LARGEST:g}.")
    wrong = observation[row][~(np.abs(observation[row]) < LARGEST)][0]
    raise refused("observation", wrong, f"Row {row} needs numbers below {LARGEST:g}.")


def spoiling(observation: Array, action: Integers, reward: Floats, actions: int) -> int:
    """The first row with an unknown action, or with a feature or reward that is no number of sane size; -1: none."""
    for t in range(len(action)):
        fine = 0 <= action[t] < actions and abs(reward[t]) < LARGEST
        for j in range(observation.shape[1]):
            fine &= abs(observation[t, j]) < LARGEST
        if not fine:
            return t
    return -1


def _copied(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value
