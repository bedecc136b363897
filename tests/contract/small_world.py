"""A world of three contexts and three actions whose every probability is known, for judging estimators."""

from dataclasses import dataclass

import numpy as np

from bondhu.types import Batch, Choice

CONTEXTS = np.array([0.5, 0.3, 0.2])  # how often each context comes
ALLOWED = np.array([[True, True, True], [True, True, True], [False, True, True]])
LOGGING = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.0, 0.5, 0.5]])  # [context, action]
TARGET = np.array([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1], [0.0, 0.9, 0.1]])
REWARDS = np.array([[0.1, 0.5, 0.8], [0.7, 0.4, 0.2], [0.9, 0.6, 0.1]])  # chance of a reward of 1
TRUTH = float(CONTEXTS @ (TARGET * REWARDS).sum(1))  # what TARGET earns a decision


@dataclass(frozen=True)
class Tabled:
    """A policy that reads its probabilities from a table by the first code, or the first float rounded."""

    table: np.ndarray  # [context, action]

    def distribution(self, observation, allowed):
        return np.where(allowed, self.table[observation[:, 0].astype(int)], 0.0)

    def probability(self, observation, allowed, action):
        return self.distribution(observation, allowed)[np.arange(len(action)), action]

    def sample(self, observation, allowed, rng):
        chances = self.distribution(observation, allowed)
        action = (rng.random(len(chances))[:, None] > chances.cumsum(1)).sum(1)
        return Choice(action, chances[np.arange(len(action)), action], np.zeros((len(action), 0)))


def log(context, action, reward, logging=LOGGING, session=None, allowed=ALLOWED):
    """These decisions as a batch of single decisions."""
    rows = len(context)
    observation = np.asarray(context, np.int64)[:, None]
    return Batch(
        observation=observation,
        allowed=allowed[context],
        action=np.asarray(action, np.int64),
        probability=logging[context, action],
        reward=np.asarray(reward, np.float64),
        discount=np.zeros(rows),
        has_next=np.zeros(rows, bool),
        next_observation=np.zeros_like(observation),
        next_allowed=np.ones((rows, 3), bool),
        session=np.arange(rows) if session is None else session,
        time=np.arange(rows, dtype=float),
        memo=np.zeros((rows, 0)),
    )


def simulated(rng, rows, logging=LOGGING):
    """Decisions drawn from the world under a logging policy."""
    context = rng.choice(3, rows, p=CONTEXTS)
    action = Tabled(logging).sample(context[:, None], ALLOWED[context], rng).action
    return log(context, action, rng.random(rows) < REWARDS[context, action], logging)


def population(times=1):
    """Each (context, action, reward) exactly as often as it is expected in 2,000 decisions, `times` over, shuffled."""
    chances = (CONTEXTS[:, None] * LOGGING)[:, :, None] * np.stack([1 - REWARDS, REWARDS], 2)
    counts = np.rint(2_000 * times * chances).astype(int)
    rows = np.random.default_rng(0).permutation(np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0))
    return log(*rows.T)
