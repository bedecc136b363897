"""Linear models that learn row after row and end where solving all rows at once would: recursive least squares.

A model of D coefficients is two symmetric matrices with one row and column more. Evidence: E = Σ ω w w', where
w = [z, r] holds the D features z, the first of them 1, and the target r. Posterior: Q = [[P, θ], [θ', -S]], where
P = (Σ ω z z' + ridge·I)⁻¹, θ = P Σ ω z r, and S = Σ ω (r - z'θ)² + ridge·θ'θ; that is E plus the prior, swept
(Goodnight 1979). Shapes: T rows, A models, F = D - 1 features beside the constant.

Learning a row subtracts h h' / (1/ω + z'Pz) from Q, with h = Q [z, 0] - [0, r]: P by Sherman & Morrison (1950), θ and S
come with it. A row costs O(D²), however many came before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from bondhu.compiled import compiled
from bondhu.types import Array, Floats, Integers

FLAT = 1e-12  # share of the squared mean below which a variance is rounding
LEAST_WEIGHT = 1e-9  # of a row in a logistic model: where the curve is flat, a row tells hardly anything


def swept(evidence: Floats, ridge: float) -> Floats:
    """From evidence to posterior, exactly: `[..., D + 1, D + 1]` both. A ridge above 0 leaves nothing singular."""
    size = evidence.shape[-1] - 1
    inverse = np.linalg.inv(evidence[..., :size, :size] + ridge * np.eye(size))
    posterior = np.empty_like(evidence)
    posterior[..., :size, :size] = (inverse + inverse.swapaxes(-1, -2)) / 2
    cross = evidence[..., :size, size]
    coefficients = (posterior[..., :size, :size] @ cross[..., None])[..., 0]
    posterior[..., :size, size] = posterior[..., size, :size] = coefficients
    posterior[..., size, size] = (cross * coefficients).sum(-1) - evidence[..., size, size]
    return posterior


def standard_frame(mean: Floats, variance: Floats, frame: Floats) -> Floats:
    """Centre and scale `[2, W]` that make columns standard which in `frame` have this mean and variance, `[W]` each.

    The scale of a column that never changed is its own size, so that units do not matter either way.
    """
    centre = frame[0] + frame[1] * mean
    varies = variance > FLAT * mean * mean
    size = np.where(centre == 0.0, 1.0, np.abs(centre))
    return np.stack([centre, np.where(varies, frame[1] * np.sqrt(np.maximum(variance, 0.0)), size)])


def moved(evidence: Floats, frame: Floats, new: Floats) -> Floats:
    """The evidence `[..., D + 1, D + 1]` of the same rows in another frame `[2, D]` of their columns, exactly."""
    change = np.diag(np.concatenate([[1.0], frame[1] / new[1]]))
    change[1:, 0] = (frame[0] - new[0]) / new[1]
    found: Floats = change @ evidence @ change.T
    return found


def pooled(posterior: Floats, described: Floats, ridge: float) -> Floats:
    """Posterior `[K + 1, K + 1]` of B `[G, D]`, K = G·D, where θ_a ~ N(Σ_g u_ag B_g, I/ridge) and B ~ N(0, I/ridge).

    This is the shared part of hybrid LinUCB (Li et al. 2010, algorithm 2) for shared features u_a ⊗ z: with them, their
    A₀ is ridge·(I + Σ_a u_a u_a' ⊗ (I - ridge·P_a)), b₀ is ridge·Σ_a u_a ⊗ θ_a, and no matrix B_a need be kept.
    `posterior` `[A, D + 1, D + 1]` is that of each action by itself, `described` `[A, G]` holds u.
    """
    size = posterior.shape[1] - 1
    count = described.shape[1] * size
    known = np.eye(size) - ridge * posterior[:, :size, :size]
    evidence = np.empty((count + 1, count + 1))
    gram = np.einsum("ag,ah,aij->gihj", described, described, known, optimize=True)
    evidence[:count, :count] = ridge * gram.reshape(count, count)
    evidence[count, :count] = evidence[:count, count] = ridge * (described.T @ posterior[:, size, :size]).ravel()
    evidence[count, count] = -posterior[:, size, size].sum()
    return swept(evidence, ridge)


def direction(posterior: Floats, row: Floats, step: Floats) -> float:
    """Write h = Q [z, 0] - [0, r] of the row [z, r] to `step`, `[D + 1]` both; returns z'Pz."""
    last, variance = len(row) - 1, 0.0
    for i in range(last + 1):
        total = 0.0
        for j in range(last):
            total += posterior[i, j] * row[j]
        step[i] = total
    for i in range(last):
        variance += row[i] * step[i]
    step[last] -= row[last]
    return max(variance, 0.0)


def rank_one(matrix: Floats, vector: Floats, factor: float) -> None:
    """matrix += factor·vector vector', in place; what was symmetric stays so to the last bit."""
    for i in range(len(vector)):
        for j in range(len(vector)):
            matrix[i, j] += factor * (vector[i] * vector[j])


def logistic_step(mean: float, variance: float, reward: float) -> tuple[float, float]:
    """Laplace's approximation of one row's part in a logistic model: the weight ω and target r of a row that would move
    a linear one to the same mode and curvature (MacKay 1992; Chapelle & Li 2011, algorithm 3, one row at a time).

    The mode η solves η = mean + variance·(reward - σ(η)), for log-odds ~ N(mean, variance) and a reward in [0, 1].
    """
    low, high = mean - variance * (1.0 - reward), mean + variance * reward
    odds = min(max(mean, low), high)
    for _ in range(60):
        chance = 0.5 * (1.0 + math.tanh(0.5 * odds))
        gap = odds - mean - variance * (reward - chance)
        if gap > 0.0:
            high = odds
        else:
            low = odds
        newton = odds - gap / (1.0 + variance * chance * (1.0 - chance))
        far = not low <= newton <= high or abs(newton - odds) > 0.5 * (high - low)
        following = 0.5 * (low + high) if far else newton
        done = abs(following - odds) <= 1e-13 * (1.0 + abs(odds))
        odds = following
        if done:
            break
    chance = 0.5 * (1.0 + math.tanh(0.5 * odds))
    weight = max(chance * (1.0 - chance), LEAST_WEIGHT)
    return weight, odds + (reward - chance) / weight


def moderated(mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Expected chance, and its standard deviation, where log-odds ~ N(mean, variance): σ(mean / √(1 + π variance / 8))
    (MacKay 1992) and σ' there times the deviation of the log-odds, at most that of a chance with this mean."""
    shrunk = 1.0 / np.sqrt(1.0 + math.pi / 8.0 * variance)
    chance = 0.5 * (1.0 + np.tanh(0.5 * mean * shrunk))
    slope = chance * (1.0 - chance)
    return chance, np.minimum(slope * shrunk * np.sqrt(variance), np.sqrt(slope))


def standardise(observation: Floats, frame: Floats, row: Floats) -> None:
    """Write [1, (x - centre) / scale] to the first entries of `row`."""
    row[0] = 1.0
    for j in range(len(observation)):
        row[j + 1] = (observation[j] - frame[0, j]) / frame[1, j]


def regress(
    observation: Floats, action: Integers, reward: Floats, frame: Floats, evidence: Floats, posterior: Floats
) -> float:
    """Learn T rows, each in the model of its action, in place: the sum of |errors| made before learning.

    `[T, F]`, `[T]`, `[T]`, then centre and scale of features and reward `[2, F + 1]`, and all models
    `[A, F + 2, F + 2]`.
    """
    row, step, missed = np.empty(evidence.shape[1]), np.empty(evidence.shape[1]), 0.0
    for t in range(len(action)):
        standardise(observation[t], frame, row)
        row[-1] = (reward[t] - frame[0, -1]) / frame[1, -1]
        variance = direction(posterior[action[t]], row, step)
        rank_one(evidence[action[t]], row, 1.0)
        rank_one(posterior[action[t]], step, -1.0 / (1.0 + variance))
        missed += abs(step[-1]) * frame[1, -1]
    return missed


def regress_pooled(rows: tuple[Array, ...], models: tuple[Floats, ...], described: Floats, ridge: float) -> float:
    """`regress` where actions share a model, `pooled`: the same rows, then `models` with the shared one last."""
    observation, action, reward = rows
    frame, evidence, posterior, shared = models
    row, step, missed = np.empty(evidence.shape[1]), np.empty(evidence.shape[1]), 0.0
    wide, shared_step = np.empty(len(shared)), np.empty(len(shared))
    for t in range(len(action)):
        standardise(observation[t], frame, row)
        row[-1] = (reward[t] - frame[0, -1]) / frame[1, -1]
        variance = direction(posterior[action[t]], row, step)
        share(described[action[t]], step, ridge, wide)
        wide[-1] = -step[-1]
        shared_variance = direction(shared, wide, shared_step)
        rank_one(evidence[action[t]], row, 1.0)
        rank_one(posterior[action[t]], step, -1.0 / (1.0 + variance))
        rank_one(shared, shared_step, -1.0 / (1.0 + variance + shared_variance))
        missed += abs(shared_step[-1]) * frame[1, -1]
    return missed


def share(described: Floats, step: Floats, ridge: float, wide: Floats) -> None:
    """Write ridge·u ⊗ Pz, what the shared model sees of a row, to the first entries of `wide`."""
    size = len(step) - 1
    for g in range(len(described)):
        for i in range(size):
            wide[g * size + i] = ridge * described[g] * step[i]


def predict(observation: Floats, frame: Floats, coefficients: Floats) -> Floats:
    """Values `[T, A]` of observations `[T, F]` under coefficients `[A, F + 1]` of standard features."""
    actions, features = len(coefficients), observation.shape[1]
    slopes, start = np.empty((features, actions)), np.empty(actions)
    for a in range(actions):
        start[a] = frame[0, -1] + frame[1, -1] * coefficients[a, 0]
        for j in range(features):
            slopes[j, a] = frame[1, -1] * coefficients[a, j + 1] / frame[1, j]
            start[a] -= slopes[j, a] * frame[0, j]
    values = np.empty((len(observation), actions))
    for t in range(len(observation)):
        values[t] = start
        for j in range(features):
            for a in range(actions):
                values[t, a] += observation[t, j] * slopes[j, a]
    return values


def believe(observation: Floats, frame: Floats, evidence: Floats, posterior: Floats, noise: float) -> Floats:
    """Value, error and tries of every action, `[3, T, A]`.

    The error is the deviation of a reward around its mean times √z'Pz; `noise` is that deviation, 0 where it is to be
    estimated from what the models did not explain.
    """
    actions, size = len(posterior), posterior.shape[1]
    found = np.empty((3, len(observation), actions))
    unexplained = 0.0
    for a in range(actions):
        unexplained -= posterior[a, -1, -1]
        found[2, :, a] = evidence[a, 0, 0]
    deviation = noise if noise > 0.0 else frame[1, -1] * deviation_of(unexplained, evidence)
    row, step = np.zeros(size), np.empty(size)
    for t in range(len(observation)):
        standardise(observation[t], frame, row)
        for a in range(actions):
            found[1, t, a] = deviation * math.sqrt(direction(posterior[a], row, step))
            found[0, t, a] = frame[0, -1] + frame[1, -1] * step[-1]
    return found


def believe_pooled(observation: Floats, models: tuple[Floats, ...], described: Floats, ridge: float) -> Floats:
    """`believe` where actions share a model, which comes last of `models`."""
    frame, evidence, posterior, shared = models
    found = np.empty((3, len(observation), len(posterior)))
    deviation = frame[1, -1] * deviation_of(-shared[-1, -1], evidence)
    row, step = np.zeros(posterior.shape[1]), np.empty(posterior.shape[1])
    wide, shared_step = np.zeros(len(shared)), np.empty(len(shared))
    for t in range(len(observation)):
        standardise(observation[t], frame, row)
        for a in range(len(posterior)):
            variance = direction(posterior[a], row, step)
            share(described[a], step, ridge, wide)
            variance += direction(shared, wide, shared_step)
            found[0, t, a] = frame[0, -1] + frame[1, -1] * (step[-1] + shared_step[-1])
            found[1, t, a] = deviation * math.sqrt(variance)
            found[2, t, a] = evidence[a, 0, 0]
    return found


def deviation_of(unexplained: float, evidence: Floats) -> float:
    """Deviation of a reward around its mean, in the frame's unit: √(S / rows); 1 where no two rewards differed."""
    rows = squares = 0.0
    for a in range(len(evidence)):
        rows += evidence[a, 0, 0]
        squares += evidence[a, -1, -1]
    return math.sqrt(max(unexplained, 0.0) / rows) if squares > 0.0 else 1.0


def regress_logistic(
    observation: Floats, action: Integers, reward: Floats, frame: Floats, evidence: Floats, posterior: Floats
) -> float:
    """`regress` for rewards in [0, 1] with linear log-odds, row by row by `logistic_step`: sum of |reward - chance|.

    The frame's last column is about log-odds; its scale stays 1.
    """
    row, step, missed = np.empty(evidence.shape[1]), np.empty(evidence.shape[1]), 0.0
    for t in range(len(action)):
        standardise(observation[t], frame, row)
        row[-1] = 0.0
        variance = direction(posterior[action[t]], row, step)
        mean = frame[0, -1] + step[-1]
        weight, target = logistic_step(mean, variance, reward[t])
        row[-1] = target - frame[0, -1]
        step[-1] -= row[-1]
        rank_one(evidence[action[t]], row, weight)
        rank_one(posterior[action[t]], step, -1.0 / (1.0 / weight + variance))
        missed += abs(reward[t] - 0.5 * (1.0 + math.tanh(0.5 * mean)))
    return missed


def regress_diagonal(
    observation: Floats, action: Integers, reward: Floats, frame: Floats, evidence: Floats, posterior: Floats
) -> float:
    """`regress_logistic` as if coefficients were independent: O(D). `evidence` `[A, 2, D]` holds Σ ω z² and Σ ω z,
    `posterior` `[A, 2, D]` the variance and the mean of each coefficient."""
    row, missed = np.empty(evidence.shape[2]), 0.0
    for t in range(len(action)):
        standardise(observation[t], frame, row)
        known, told = posterior[action[t]], evidence[action[t]]
        mean, variance = frame[0, -1], 0.0
        for j in range(len(row)):
            mean += row[j] * known[1, j]
            variance += row[j] * row[j] * known[0, j]
        weight, target = logistic_step(mean, variance, reward[t])
        pull = (target - mean) / (1.0 / weight + variance)
        for j in range(len(row)):
            told[0, j] += weight * row[j] * row[j]
            told[1, j] += weight * row[j]
            known[1, j] += known[0, j] * row[j] * pull
            known[0, j] /= 1.0 + weight * row[j] * row[j] * known[0, j]
        missed += abs(reward[t] - 0.5 * (1.0 + math.tanh(0.5 * mean)))
    return missed


def believe_diagonal(observation: Floats, frame: Floats, posterior: Floats) -> Floats:
    """Mean and deviation of the log-odds of every action under `regress_diagonal`, `[2, T, A]`."""
    found = np.empty((2, len(observation), len(posterior)))
    row = np.empty(posterior.shape[2])
    for t in range(len(observation)):
        standardise(observation[t], frame, row)
        for a in range(len(posterior)):
            mean, variance = frame[0, -1], 0.0
            for j in range(len(row)):
                mean += row[j] * posterior[a, 1, j]
                variance += row[j] * row[j] * posterior[a, 0, j]
            found[0, t, a], found[1, t, a] = mean, math.sqrt(variance)
    return found


def moved_diagonal(evidence: Floats, coefficients: Floats, frame: Floats, new: Floats) -> tuple[Floats, Floats]:
    """`evidence` `[A, 2, D]` and `coefficients` `[A, D]` of `regress_diagonal` in another frame of features and
    log-odds: both exactly, so that no mean changes."""
    factor = np.append(1.0, frame[1, :-1] / new[1, :-1])
    shift = np.append(0.0, (frame[0, :-1] - new[0, :-1]) / new[1, :-1])
    squares, sums = evidence[:, 0], evidence[:, 1]
    weights = sums[:, :1]
    moved_sums = factor * sums + shift * weights
    moved_squares = factor**2 * squares + 2.0 * factor * shift * sums + shift**2 * weights
    slopes = coefficients / factor
    slopes[:, 0] += frame[0, -1] - new[0, -1] - slopes @ shift
    return np.stack([moved_squares, moved_sums], axis=1), slopes


def ready(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """One of the functions above that go through rows, compiled together with what it calls."""
    _steps()
    return compiled(kernel)


@cache
def _steps() -> None:
    from numba.extending import register_jitable

    register_jitable(fastmath={"reassoc", "contract"})(direction)  # sums in any order: with the processor's whole width
    for function in (rank_one, logistic_step, standardise, share, deviation_of):
        register_jitable(function)
