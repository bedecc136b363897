"""Logs of decisions whose truth is known: clicks whose chances depend on three codes and the action."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from bondhu.policies.by_value import ByValue, Rule
from bondhu.types import Array, Batch, Booleans, Floats

ACTIONS, SIZES = 6, (5, 3, 4)
FOLLOWING = 0.6  # chance that the next decision belongs to the same user, in the log with sessions


def softmax(values: Floats, allowed: Booleans) -> Floats:
    chances = np.where(allowed, np.exp(values), 0.0)
    return np.asarray(chances / chances.sum(1, keepdims=True))


def epsilon_greedy(values: Floats, allowed: Booleans, share: float) -> Floats:
    return np.asarray((1 - share) * best(values, allowed) + share * allowed / allowed.sum(1, keepdims=True))


def best(values: Floats, allowed: Booleans) -> Floats:
    """All on the largest value."""
    return np.asarray(np.eye(values.shape[1])[np.where(allowed, values, -np.inf).argmax(1)])


@dataclass(frozen=True)
class World:
    """A logging policy, a policy that is to be judged, and what actions earn."""

    name: str
    base: float = -0.3  # logit
    rows: int = 1_000  # of a log
    spread: float = 0.4  # standard deviation of the effects
    liking: float = 0.0  # standard deviation of a user's own logit
    dislike: float = 0.0  # how much the logging policy shuns what the judged one favours
    exploring: float | None = None  # share drawn at random by a logging policy that else does the best by one code
    rule: Rule = softmax  # of the judged policy
    holds: bool = True  # whether enough rows speak for the judged policy wherever it goes
    effects: Floats = field(default_factory=lambda: np.empty(0))  # [codes, A] logits by code, summed over the columns

    def drawn(self, seed: int) -> World:
        """The same kind of world with other effects."""
        rng = np.random.default_rng([2031, seed])
        return replace(self, effects=rng.normal(0, self.spread, (sum(SIZES), ACTIONS)))

    def logits(self, observation: Array) -> Floats:
        shifts = np.concatenate([[0], np.cumsum(SIZES)[:-1]])
        return np.asarray(self.effects[observation + shifts].sum(1))

    def logging(self) -> ByValue:
        if self.exploring is not None:
            return ByValue(lambda seen: self.effects[seen[:, 0]], partial(epsilon_greedy, share=self.exploring))
        return ByValue(lambda seen: -self.dislike * self.logits(seen), softmax)

    def target(self) -> ByValue:
        return ByValue(self.logits, self.rule)

    def chances(self, observation: Array, own: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(self.base + self.logits(observation) + own[:, None]))))

    def log(self, rng: np.random.Generator, rows: int | None = None) -> Batch:
        """Decisions of the logging policy; users stay for several decisions where they bring something along."""
        rows = rows or self.rows
        starts = rng.random(rows) >= (FOLLOWING if self.liking else 0.0)
        starts[0] = True
        session = np.cumsum(starts) - 1
        own = rng.normal(0, self.liking, rows)[session]
        observation = np.stack([rng.integers(0, size, rows) for size in SIZES], axis=1)
        allowed = np.ones((rows, ACTIONS), bool)
        choice = self.logging().sample(observation, allowed, rng)
        reward = rng.random(rows) < self.chances(observation, own)[np.arange(rows), choice.action]
        batch = Batch.single(observation, allowed, choice.action, choice.probability, reward.astype(np.float64))
        return replace(batch, session=session)

    def truth(self, policy: ByValue) -> float:
        """Reward of a policy over every context, and over users by Gauss-Hermite quadrature."""
        observation, allowed = _contexts()
        target = policy.distribution(observation, allowed)
        nodes, weights = np.polynomial.hermite_e.hermegauss(41)
        rewards = [
            weight * (target * self.chances(observation, np.full(len(observation), self.liking * node))).sum(1).mean()
            for node, weight in zip(nodes, weights, strict=True)
        ]
        return float(sum(rewards) / weights.sum())

    def heaviest(self) -> float:
        """The largest importance weight there can be."""
        observation, allowed = _contexts()
        target = self.target().distribution(observation, allowed)
        return float((target / self.logging().distribution(observation, allowed)).max())


def _contexts() -> tuple[Array, Booleans]:
    observation = np.stack([each.ravel() for each in np.meshgrid(*map(np.arange, SIZES))], axis=1)
    return observation, np.ones((len(observation), ACTIONS), bool)


WORLDS = (
    World("even"),  # every action as often
    World("skewed", dislike=0.5),
    World("rare clicks", base=-3.5),
    World("sessions", liking=2.0),
    World("one choice", rule=best),  # a sixth of the rows speaks
    World("small log", rule=best, rows=400),  # 67 rows speak, with a weight of 6 each
    World("few heavy rows", rule=best, rows=2_000, exploring=0.2),  # a row in forty speaks, with a weight of 30
    World("near violation", dislike=2.0, spread=0.5, holds=False),
)
