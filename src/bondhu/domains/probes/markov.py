"""Finite Markov decision processes: `optimum` computes the answer, `play` logs any policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from bondhu.policies.uniform import Uniform
from bondhu.types import Array, Batch, Booleans, Floats, Integers, Policy, Spec


@dataclass(frozen=True)
class Markov:
    """A finite problem with N states and A actions. Entering a state that `ends` is a true end."""

    transition: Floats  # [N, A, N] p(s' | s, a)
    reward: Floats  # [N, A, N] mean reward
    start: Floats  # [N] where sessions begin
    ends: Booleans  # [N]
    allowed: Booleans  # [N, A]
    noise: float = 0.0  # standard deviation of a reward
    limit: int = 1_000  # decisions after which a session is cut: not an end, something would have followed
    factor: float = 0.95  # discount of the return by which policies are compared

    @property
    def spec(self) -> Spec:
        states, actions = self.allowed.shape
        return Spec(MultiDiscrete([states]), Discrete(actions))

    @property
    def uniform(self) -> Policy:
        return Uniform()

    @property
    def best(self) -> float:
        """Discounted return of the best policy from the start."""
        going_on = ~self.ends & (self.start > 0)
        return float(self.start[going_on] @ self.optimum(self.factor)[going_on].max(axis=1))

    def worth(self, policy: Policy) -> float:
        """Discounted return of a policy from the start, exactly."""
        return self.value(policy, self.factor)

    def optimum(self, factor: float) -> Floats:
        """Q*(s, a) by value iteration until nothing changes by more than 1e-12; -inf where not allowed: `[N, A]`."""
        mean = np.einsum("sap,sap->sa", self.transition, self.reward)
        going_on = self.transition * ~self.ends
        values = np.where(self.allowed, mean, -np.inf)
        while True:
            best = np.where(self.ends, 0.0, values.max(axis=1))
            following = np.where(self.allowed, mean + factor * going_on @ best, -np.inf)
            if np.allclose(following, values, rtol=0.0, atol=1e-12):
                return following
            values = following

    def value(self, policy: Policy, factor: float) -> float:
        """Exact discounted return of a policy from the start, for factor < 1 or where every session ends."""
        states = len(self.start)
        chosen = policy.distribution(np.arange(states)[:, None], self.allowed) * ~self.ends[:, None]
        reward = np.einsum("sa,sap,sap->s", chosen, self.transition, self.reward)
        moves = np.einsum("sa,sap->sp", chosen, self.transition)
        return float(self.start @ np.linalg.solve(np.eye(states) - factor * moves, reward))

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log `sessions` sessions of a policy, side by side: each until its end or the limit."""
        state: Integers = rng.choice(len(self.start), size=sessions, p=self.start)
        session, steps = np.arange(sessions), []
        for time in range(self.limit):
            choice = policy.sample(state[:, None], self.allowed[state], rng)
            following = self._follow(state, choice.action, rng)
            reward = self.reward[state, choice.action, following] + self.noise * rng.standard_normal(len(state))
            ended = self.ends[following]
            last = ended | (time + 1 == self.limit)
            clock = np.full(len(state), float(time))
            steps.append((session, clock, state, choice.action, choice.probability, reward, following, ended, last))
            state, session = following[~last], session[~last]
            if not len(state):
                break
        return self._batch([np.concatenate(column) for column in zip(*steps, strict=True)])

    def _follow(self, state: Integers, action: Integers, rng: np.random.Generator) -> Integers:
        cumulative = self._cumulative[state, action]
        following: Integers = (cumulative > (rng.random(len(state)) * cumulative[:, -1])[:, None]).argmax(axis=1)
        return following

    @cached_property
    def _cumulative(self) -> Floats:
        """Σ p(s' | s, a) up to each s': `[N, A, N]`."""
        rising: Floats = np.cumsum(self.transition, axis=2)
        return rising

    def _batch(self, columns: list[Array]) -> Batch:
        order = np.lexsort((columns[1], columns[0]))
        session, time, state, action, probability, reward, following, ended, last = (part[order] for part in columns)
        return Batch(
            observation=state[:, None],
            allowed=self.allowed[state],
            action=action,
            probability=probability,
            reward=reward,
            discount=(~ended).astype(np.float64),
            has_next=~last,
            next_observation=np.where(ended, 0, following)[:, None],
            next_allowed=self.allowed[following],
            session=session,
            time=time,
            memo=np.empty((len(state), 0)),
        )


def two_arms() -> Markov:
    """One decision, two actions worth 0.2 and 0.8: Q* = (0.2, 0.8). Catches a reward that reaches the wrong action."""
    reward = np.zeros((2, 2, 2))
    reward[0, :, 1] = 0.2, 0.8
    return _probe(_moves([[1, 1], [1, 1]]), reward, ends=[1])


def noisy() -> Markov:
    """The two arms with rewards of standard deviation 1. Catches a step that never averages."""
    quiet = two_arms()
    return Markov(quiet.transition, quiet.reward, quiet.start, quiet.ends, quiet.allowed, noise=1.0)


def corridor(length: int = 8) -> Markov:
    """Back or forth along a corridor, 1 at its far end: Q*(s, forth) = γ^(length - 1 - s). Catches lost credit."""
    moves = [[max(s - 1, 0), s + 1] for s in range(length)] + [[length, length]]
    reward = np.zeros((length + 1, 2, length + 1))
    reward[length - 1, 1, length] = 1.0
    return _probe(_moves(moves), reward, ends=[length])


def cut() -> Markov:
    """One state, reward 1 for ever, cut after 5 decisions: Q* = 1 / (1 - γ). Catches a cut that is taken for an end."""
    return _probe(_moves([[0]]), np.ones((1, 1, 1)), ends=[], limit=5)


def trap() -> Markov:
    """A tempting action that is forbidden in the next state: Q*(0, ·) = 0.5 γ. Catches a maximum over all actions.

    The forbidden action of state 1 would be worth 10 if one looked at it.
    """
    reward = np.zeros((3, 2, 3))
    reward[1, :, 2] = 0.5, 10.0
    allowed = np.array([[True, True], [True, False], [True, True]])
    return _probe(_moves([[1, 1], [2, 2], [2, 2]]), reward, ends=[2], allowed=allowed)


def random_problem(states: int, actions: int, rng: np.random.Generator) -> Markov:
    """A random problem: the last state ends it, mean rewards are uniform in [0, 1]."""
    transition = rng.dirichlet(np.full(states, 0.5), size=(states, actions))
    return _probe(transition, rng.random((states, actions, states)), ends=[states - 1])


def from_table(table: Mapping[int, Mapping[int, Any]], start: Floats, limit: int) -> Markov:
    """From a Gymnasium toy-text problem: `env.unwrapped.P`, which lists (probability, next state, reward, ended)."""
    states, actions = len(table), len(table[0])
    transition, worth = np.zeros((states, actions, states)), np.zeros((states, actions, states))
    ends = np.zeros(states, np.bool_)
    for state, rows in table.items():
        for action, outcomes in rows.items():
            for probability, following, reward, ended in outcomes:
                transition[state, action, following] += probability
                worth[state, action, following] = reward
                ends[following] |= ended
    return Markov(transition, worth, np.asarray(start), ends, np.ones((states, actions), np.bool_), limit=limit)


def _moves(following: list[list[int]]) -> Floats:
    """Certain moves: `[N][A]` next state to `[N, A, N]`."""
    moves: Floats = np.eye(len(following))[np.array(following)]
    return moves


def _probe(
    transition: Floats, reward: Floats, ends: list[int], allowed: Booleans | None = None, limit: int = 1_000
) -> Markov:
    """A problem that starts in state 0 with all actions allowed, unless said otherwise."""
    states, actions = transition.shape[:2]
    start = np.eye(states)[0]
    permitted = np.ones((states, actions), np.bool_) if allowed is None else allowed
    return Markov(transition, reward, start, np.isin(np.arange(states), ends), permitted, limit=limit)
