"""Two dials to turn to the right places, and one that is turned twice: for learners of actions that are numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from gymnasium.spaces import Box

from bondhu.errors import InvalidInput
from bondhu.policies.gaussian import Anywhere, Certain, Gaussian, Squashed
from bondhu.types import Array, Batch, Floats, Policy, Spec

NORMAL = np.linspace(-8.0, 8.0, 321)  # where a standard normal number is asked; the sum over these is exact to 1e-5
WEIGHTS = np.exp(-0.5 * NORMAL**2) / np.exp(-0.5 * NORMAL**2).sum()
EVENLY = np.polynomial.legendre.leggauss(8)  # exact for polynomials


def turned(policy: Policy, observation: Array) -> tuple[Floats, Floats]:
    """Each number of the action at K places, as an environment from -1 to 1 takes it, and how likely these are:
    `[T, K, D]` and `[K]`. Raises InvalidInput for a policy whose actions cannot be listed like this."""
    if isinstance(policy, Anywhere):
        place = np.broadcast_to(EVENLY[0][:, None], (len(EVENLY[0]), len(policy.low)))
        return np.broadcast_to(place, (len(observation), *place.shape)), EVENLY[1] / 2.0
    if isinstance(policy, Certain) and not np.any(policy.deviation):
        return np.clip(policy.mean(observation), policy.low, policy.high)[:, None], np.ones(1)
    if isinstance(policy, Certain):
        raw = policy.mean(observation)[:, None] + np.asarray(policy.deviation) * NORMAL[:, None]
        return np.clip(raw, policy.low, policy.high), WEIGHTS
    if isinstance(policy, (Gaussian, Squashed)):
        mean, deviation = policy.spread(observation)
        raw = mean[:, None] + np.exp(deviation)[:, None] * NORMAL[:, None]
        return np.tanh(raw) if isinstance(policy, Squashed) else np.clip(raw, -1.0, 1.0), WEIGHTS
    fix = "Use a policy of policies.gaussian."
    raise InvalidInput(f"The worth of {policy!r} is not known.", field="policy", value=policy, fix=fix)


@dataclass(frozen=True)
class Steered:
    """N contexts, equally likely. The mean reward is 1 - |a - place|², a from -1 to 1 in each of D numbers."""

    observation: Array  # [N, F]
    place: Floats  # [N, D] where the mean reward is highest
    noise: float = 0.1  # standard deviation of a reward

    @property
    def spec(self) -> Spec:
        seen = Box(-np.inf, np.inf, self.observation.shape[1:], np.float32)
        return Spec(seen, Box(-1.0, 1.0, self.place.shape[1:], np.float32))

    @property
    def uniform(self) -> Policy:
        return Anywhere(*(np.full(self.place.shape[1], end) for end in (-1.0, 1.0)))

    @property
    def best(self) -> float:
        return 1.0

    def worth(self, policy: Policy) -> float:
        """Mean reward of a decision: the numbers of an action are drawn one by one, so each adds its own loss."""
        action, weight = turned(policy, self.observation)
        lost = ((action - self.place[:, None]) ** 2).sum(axis=2) @ weight
        return float(1.0 - lost.mean())

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log decisions, one a session."""
        context = rng.integers(len(self.place), size=sessions)
        observation, allowed = self.observation[context], np.ones((sessions, 1), np.bool_)
        choice = policy.sample(observation, allowed, rng)
        taken = np.clip(choice.action, -1.0, 1.0)
        reward = 1.0 - ((taken - self.place[context]) ** 2).sum(axis=1) + self.noise * rng.standard_normal(sessions)
        batch = Batch.single(observation, allowed, choice.action, choice.probability, reward)
        return replace(batch, memo=choice.memo)


@dataclass(frozen=True)
class Approached:
    """Two decisions of one number. The first, p, costs p²; the second, a, earns 1 - (p - 0.8)² - (a - p)², where the
    session ends. Most sessions are cut after the first, which is no end: something would have followed."""

    cut: float = 0.9  # share of sessions that are cut
    factor: float = 0.95  # discount of the return by which policies are compared

    @property
    def spec(self) -> Spec:
        return Spec(Box(-1.0, 1.0, (2,), np.float32), Box(-1.0, 1.0, (1,), np.float32))

    @property
    def uniform(self) -> Policy:
        return Anywhere(np.full(1, -1.0), np.full(1, 1.0))

    @property
    def best(self) -> float:
        """p = 0.8·γ / (1 + γ), then a = p."""
        first = 0.8 * self.factor / (1.0 + self.factor)
        return -(first**2) + self.factor * (1.0 - (first - 0.8) ** 2)

    def worth(self, policy: Policy) -> float:
        """Discounted return of a session that is not cut."""
        first, weight = turned(policy, np.zeros((1, 2), np.float32))
        place = first[0, :, 0]
        second, likely = turned(policy, _reached(place))
        lost = (second[:, :, 0] - place[:, None]) ** 2 @ likely
        earned = 1.0 - (place - 0.8) ** 2 - lost
        return float((-(place**2) + self.factor * earned) @ weight)

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log `sessions` sessions, side by side."""
        start = np.zeros((sessions, 2), np.float32)
        first = policy.sample(start, np.ones((sessions, 1), np.bool_), rng)
        place = np.clip(first.action[:, 0], -1.0, 1.0)
        there, going_on = _reached(place), np.flatnonzero(rng.random(sessions) >= self.cut)
        second = policy.sample(there[going_on], np.ones((len(going_on), 1), np.bool_), rng)
        at = place[going_on]
        away = np.clip(second.action[:, 0], -1.0, 1.0) - at
        session = np.concatenate([np.arange(sessions), going_on])
        order, rows = np.argsort(session, kind="stable"), len(session)
        time = np.repeat([0.0, 1.0], [sessions, len(going_on)])
        batch = Batch(
            observation=np.concatenate([start, there[going_on]]),
            allowed=np.ones((rows, 1), np.bool_),
            action=np.concatenate([first.action, second.action]),
            probability=np.concatenate([first.probability, second.probability]),
            reward=np.concatenate([-(place**2), 1.0 - (at - 0.8) ** 2 - away**2]),
            discount=1.0 - time,
            has_next=np.isin(session, going_on) & (time == 0),
            next_observation=np.concatenate([there, np.zeros((len(going_on), 2), np.float32)]),
            next_allowed=np.ones((rows, 1), np.bool_),
            session=session,
            time=time,
            memo=np.concatenate([first.memo, second.memo]),
        )
        return batch.take(order)


def _reached(place: Floats) -> Array:
    """What is seen before the second decision: `[T]` to `[T, 2]`."""
    return np.stack([np.ones_like(place), place], axis=1).astype(np.float32)


def steering() -> Steered:
    """Each number has its own place, a linear function of the context. Catches numbers that are mixed up, and bounds
    that are forgotten."""
    rng = np.random.default_rng(8)
    observation = rng.standard_normal((64, 3)).astype(np.float32)
    place = observation @ rng.standard_normal((3, 2))
    return Steered(observation, 0.9 * place / np.abs(place).max(axis=0))


def approach() -> Approached:
    """The first decision is only worth its cost by what follows it, and it is mostly cut there. Catches a cut that is
    taken for an end."""
    return Approached()
