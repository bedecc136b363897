"""Networks that value every action: what learners of the deep Q family share.

Dueling heads and noisy weights are linear in what the layers below say, so both are folded into the weights of one
plain network, and everything that learns or acts asks that network.

Shapes: T rows, F features, A actions, K numbers for each (1 value, or the atoms or quantiles of its distribution).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from functools import partial
from typing import Annotated, Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bondhu.equations.action_values import dueling
from bondhu.equations.noise import factored_noise
from bondhu.learners import _networks
from bondhu.learners._networks import Head, Layer, Network
from bondhu.learners._scales import Scale, including, unscaled
from bondhu.policies.by_value import ByValue
from bondhu.policies.epsilon_greedy import epsilon_greedy
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Belief, Beliefs, Floats, PerAction, Policy

FORGOTTEN = 10_000  # rows that the running mean of squared errors looks back over


class Streams(eqx.Module):
    """Layers, what they say of each action, and where it is dueling, of the context alone."""

    body: Mapping[str, Layer]
    head: Head  # values, or advantages beside a stream of their own
    value: Mapping[str, Layer] = field(default_factory=dict)  # "0": [in, K], where the network is dueling


class ActionValues(eqx.Module):
    """The parameters."""

    mean: Streams
    deviation: Mapping[str, Streams] = field(default_factory=dict)  # "0": of the weights, where they are noisy


class Known(eqx.Module):
    """What is known beside the parameters."""

    scale: Scale  # of what is observed
    tries: Annotated[Floats, PerAction(0)]  # [A] decisions learned from
    noise: Array  # [] running mean of squared errors of the values
    rows: Array  # [] environment steps learned from


# ------------------------------------------------------------------------------------------------- the beginning


def action_values(rng: np.random.Generator, network: Network, *, dueling: bool, deviation: float) -> ActionValues:
    """Around a plain network; every noisy weight begins with a deviation of `deviation` / √inputs (Fortunato et al.
    2018, section 3.2), 0: there are none."""
    inputs, _, numbers = network.head.weight.shape
    value = _networks.orthogonal(rng, (inputs, numbers), 0.1) if dueling else None
    streams = {} if value is None else {"0": Layer(value, np.zeros(numbers, np.float32))}
    mean = Streams(network.body, network.head, streams)
    return ActionValues(mean, {"0": _like(mean, partial(_deviating, deviation))} if deviation else {})


def unknown(seen: tuple[int, ...], actions: int) -> Known:
    """Nothing seen yet; images are not scaled."""
    features = seen if len(seen) == 1 else (0,)
    return Known(unscaled(features), np.zeros(actions), np.ones(()), np.zeros((), np.int64))


def experienced(known: Known, batch: Batch, *, normalise: bool) -> Known:
    """With the rows of a batch counted, and their observations where `normalise`."""
    scale = including(known.scale, batch.observation) if normalise and batch.observation.ndim == 2 else known.scale
    tries = known.tries + np.bincount(batch.action, minlength=len(known.tries))
    return replace(known, scale=scale, tries=tries, rows=np.asarray(known.rows + len(batch)))


def erring(known: Known, squares: float, rows: int) -> Known:
    """With the mean squared error of the values at `rows` more rows."""
    share = rows / (rows + min(int(known.rows), FORGOTTEN))
    return replace(known, noise=np.asarray(known.noise + share * (squares - known.noise)))


# --------------------------------------------------------------------------------------------------------- one network

Part = TypeVar("Part", Layer, Head)


def plain(values: ActionValues, key: Any = None) -> Network:
    """The network that these parameters are, with noise from a key; without one, noisy weights are at their means."""
    streams = values.mean
    if values.deviation and key is not None:
        keys = iter(jax.random.split(key, len(streams.body) + 2))
        streams = _like(streams, lambda mean, spread: _shaken(mean, spread, next(keys)), values.deviation["0"])
    if not streams.value:
        return Network(streams.body, streams.head)
    value: Any = streams.value["0"]
    head: Any = streams.head
    weight: Any = dueling(value.weight[:, None], head.weight)
    bias: Any = dueling(value.bias[None, None], head.bias[None])[0]
    return Network(streams.body, Head(weight, bias))


@jax.jit
def folded(values: ActionValues, seed: Any = None) -> Network:
    """`plain`, for acting: the noise comes from a seed of two whole numbers, or there is none."""
    key = None if seed is None else jax.random.fold_in(jax.random.key(seed[0]), seed[1])
    return plain(values, key)


def _like(streams: Streams, change: Callable[..., Any], *others: Streams) -> Streams:
    """Each layer and head changed, those of other streams beside it."""
    body = {name: change(layer, *(each.body[name] for each in others)) for name, layer in streams.body.items()}
    value = {name: change(layer, *(each.value[name] for each in others)) for name, layer in streams.value.items()}
    return Streams(body, change(streams.head, *(each.head for each in others)), value)


def _deviating(size: float, part: Part) -> Part:
    """Deviations to begin with; convolutions have none."""
    size = size / np.sqrt(part.weight.shape[0]) if part.weight.ndim < 4 else 0.0
    return type(part)(np.full(part.weight.shape, size, np.float32), np.full(part.bias.shape, size, np.float32))


def _shaken(mean: Part, deviation: Part, key: Any) -> Part:
    if mean.weight.ndim == 4:
        return mean
    weight, bias = factored_noise(key, mean.weight.shape[0], mean.bias.size)
    return type(mean)(
        mean.weight + deviation.weight * weight.reshape(mean.weight.shape),
        mean.bias + deviation.bias * bias.reshape(mean.bias.shape),
    )


# -------------------------------------------------------------------------------------------------------- distributions


def expected(said: Any, distribution: str, support: Any, numbers: Any = jnp) -> Any:
    """The values of distributions, by JAX or NumPy: `[T, A, K]` to `[T, A]`; `support [K]` are the atoms of C51."""
    if distribution == "none":
        return said[..., 0]
    if distribution == "quantile":
        return said.mean(axis=-1)
    chance = numbers.exp(said - said.max(axis=-1, keepdims=True))
    return (chance * support).sum(axis=-1) / chance.sum(axis=-1)


# ----------------------------------------------------------------------------------------------------- for acting


def share_of_chance(first: float, last: float, horizon: int, steps: float) -> float:
    """ε after so many environment steps: from the first to the last in a line, then constant."""
    return last + (first - last) * max(0.0, 1.0 - steps / horizon) if horizon else last


def acting(values: Callable[[Array], Floats], epsilon: float) -> Policy:
    """The best allowed action, or with probability ε any allowed one."""
    return ByValue(values, partial(epsilon_greedy, epsilon=epsilon) if epsilon > 0 else greedy)


def beliefs_of(values: Callable[[Array], Floats], known: Known) -> Beliefs:
    """Values with the error σ / √tries, where σ² is the running mean of squared errors."""
    tries, rows = np.asarray(known.tries), float(known.rows)
    deviation = np.sqrt(float(known.noise) / np.maximum(tries, 0.5))

    def believed(seen: Array) -> Belief:
        value = values(seen).astype(np.float64)
        return Belief(value, np.broadcast_to(deviation, value.shape), np.broadcast_to(tries, value.shape), rows)

    return believed
