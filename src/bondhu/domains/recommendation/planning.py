"""Exact values of the simulated users: the optimum, and any policy that acts on codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bondhu.domains.recommendation.simulator import (
    ACTIONS,
    SHAPE,
    SITUATIONS,
    Population,
    levels_of,
    situation_moves,
)
from bondhu.types import Floats, Integers, Policy


class Model(NamedTuple):
    """The decision problem of L kinds of user."""

    reward: Floats  # [L, 96, 27] mean
    mood: Floats  # [L, 96, 27, 8] probability of the next mood
    content: Floats  # [3, 3]
    time: Floats  # [4, 4]
    going_on: float  # chance that the session continues

    def continuation(self, values: Floats) -> Floats:
        """Σ_s' p(s' | s, a) V(s') of a session that goes on or ends: `[L, 96]` to `[L, 96, 27]`."""
        ahead = np.einsum("ci,tj,limj->lcmt", self.content, self.time, values.reshape(-1, *SHAPE), optimize=True)
        mood = self.mood.reshape(-1, *SHAPE, ACTIONS, SHAPE[1])
        expected = np.einsum("lcktam,lcmt->lckta", mood, ahead, optimize=True)
        following: Floats = self.going_on * expected.reshape(-1, SITUATIONS, ACTIONS)
        return following


def model(population: Population, levels: Integers) -> Model:
    """The decision problem of each row of levels `[L, 5]`."""
    kinds, situation, action = levels[:, None, None], np.arange(SITUATIONS)[None, :, None], np.arange(ACTIONS)
    content, time = situation_moves(population)
    return Model(
        population.mean_reward(kinds, situation, action),
        population.next_mood(kinds, situation, action),
        content,
        time,
        1.0 - population.quit,
    )


def optimal_values(population: Population, traits: Floats, discount: float = 1.0, tolerance: float = 1e-9) -> Floats:
    """V*(s) = max_a [r + γ E V*(s')] by value iteration (Sutton & Barto 2018, eq. 4.10): `[n, 96]`.

    γ = 1 is meant for the reward of whole sessions, which end with probability one.
    """
    levels, kind = np.unique(levels_of(traits), axis=0, return_inverse=True)
    problem = model(population, levels)
    values = np.zeros((len(levels), SITUATIONS))
    change = np.inf
    while change > tolerance:
        better = (problem.reward + discount * problem.continuation(values)).max(axis=-1)
        values, change = better, float(np.abs(better - values).max())
    return values[kind.ravel()]


def optimum(population: Population, traits: Floats) -> float:
    """Mean reward of a decision under the best policy for each user, over whole sessions."""
    return per_decision(population, optimal_values(population, traits))


def value_of(population: Population, policy: Policy, traits: Floats, bins: int = 5) -> float:
    """Mean reward of a decision under a policy that observes codes, over whole sessions of every user; exact."""
    codes = population.codes(traits, np.zeros(len(traits), np.int64), bins)[:, : traits.shape[1]]
    described = np.concatenate([levels_of(traits), codes], axis=1)  # users alike in these have the same value
    kinds, first, kind = np.unique(described, axis=0, return_index=True, return_inverse=True)
    people = np.repeat(traits[first], SITUATIONS, axis=0)
    seen = population.codes(people, np.tile(np.arange(SITUATIONS), len(kinds)), bins)
    acting = policy.distribution(seen, np.ones((len(seen), ACTIONS), bool))
    values = evaluate(model(population, kinds[:, : traits.shape[1]]), acting.reshape(-1, SITUATIONS, ACTIONS))
    return per_decision(population, values[kind.ravel()])


def evaluate(problem: Model, acting: Floats, discount: float = 1.0) -> Floats:
    """V = r_π + γ P_π V, solved exactly: probabilities `[L, 96, 27]` to values `[L, 96]`."""
    reward = (acting * problem.reward).sum(axis=-1)
    mood = np.einsum("lsa,lsam->lsm", acting, problem.mood).reshape(-1, *SHAPE, SHAPE[1])
    moves = np.einsum("lcktm,ci,tj->lcktimj", mood, problem.content, problem.time, optimize=True)
    moves = problem.going_on * moves.reshape(-1, SITUATIONS, SITUATIONS)
    return np.linalg.solve(np.eye(SITUATIONS) - discount * moves, reward[..., None])[..., 0]


def per_decision(population: Population, values: Floats) -> float:
    """From undiscounted session values `[n, 96]` to a decision's mean reward: sessions last 1 / quit decisions."""
    return float(population.quit * (values @ population.starts).mean())
