"""What learners share that reward another one for what is new to it.

The inner learner is given one stream of rewards, r + weight·i, so that both have its discount factor and its critic.
Row t earns the novelty of its next observation. After a true end nothing is seen: such a row earns none.

One stream makes novelty episodic: an end forgoes all novelty that would have followed, and whoever seeks it learns to
stay alive, or never to finish. Where novelty is not to end with the episode (Burda et al. 2018, section 2.3), an end is
paid what the next episode is expected to bring: γ·ī / (1 - γ), ī the mean novelty of a row that goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np

from bondhu import learners
from bondhu.equations.returns import returns_to_go
from bondhu.learners import _columns, _networks
from bondhu.learners._networks import Layer
from bondhu.learners._scales import Scale, deviation, including
from bondhu.types import Array, Batch, Booleans, Floats, Integers, Learner, Metrics

PPO = {"learning_rate": 1e-3, "epochs": 4, "minibatch": 256, "entropy_bonus": 0.01}  # for rewards that are seldom paid


def proximal() -> Learner[Any]:
    """The learner that is rewarded for novelty unless another is given."""
    return learners.build("deep.ppo", PPO)


class Embedding(eqx.Module):
    """A network whose K outputs belong to no action."""

    body: Mapping[str, Layer]
    head: Layer


def embedding(rng: np.random.Generator, seen: tuple[int, ...], hidden: tuple[int, ...], width: int) -> Embedding:
    """A network with this many outputs and orthogonal weights."""
    body, inputs = _networks.layers(rng, seen, hidden, _networks.orthogonal)
    return Embedding(body, Layer(_networks.orthogonal(rng, (inputs, width), 1.0), np.zeros(width, np.float32)))


def embedded(network: Embedding, seen: Any, activation: str) -> Any:
    """The outputs in JAX: `[T, K]`."""
    return _networks.through(network.body, seen, activation) @ network.head.weight + network.head.bias


def goes_on(batch: Batch) -> Booleans:
    """Which rows have seen something afterwards: `[T]`."""
    going: Booleans = batch.discount > 0
    return going


def paid(batch: Batch, extra: Floats, metrics: Metrics) -> tuple[Batch, Metrics]:
    """The batch with `extra` [T] in its rewards; and metrics in which `reward_signal` is what the environment paid."""
    told = {**metrics, "intrinsic_reward": float(extra.mean()), "reward_signal": float(batch.reward.mean())}
    return replace(batch, reward=batch.reward + extra), told


def scaled(scale: Scale, novelty: Floats, batch: Batch, discount: float) -> tuple[Floats, Scale]:
    """Novelty `[T]` in running deviations of its discounted return, and what they are now."""
    returns = returns_to_go(novelty, batch.discount, batch.has_next, discount)
    scale = including(scale, returns)
    return novelty / deviation(scale), scale


def beyond_ends(novelty: Floats, batch: Batch, discount: float) -> Floats:
    """Novelty `[T]`, with what follows an end paid at the end."""
    going = goes_on(batch)
    if not going.any():
        return novelty
    following = novelty[going].mean() * discount / (1.0 - discount)
    return np.where(going, novelty, novelty + following)


def arranged(
    columns: Mapping[str, Array], minibatch: int, epochs: int, rng: np.random.Generator
) -> tuple[dict[str, Array], Integers]:
    """The columns padded to one of few lengths, and which rows each step takes: `[steps, minibatch]`."""
    rows = len(next(iter(columns.values())))
    padded = _columns.padded(columns, _columns.whole(rows, minibatch))
    order = _columns.shuffled(len(padded["weight"]), minibatch, epochs, rng)
    return padded, order.reshape(-1, minibatch)
