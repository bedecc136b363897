"""Networks as records of arrays. What a network is shows in the shapes of its arrays, so that it can be stored, carried
over to other actions, and asked by NumPy alone, where a single decision costs microseconds.

Shapes: T rows, F features, A actions (or dimensions of one), K numbers for each. A layer whose weight has four axes is
a convolution, [height, width, in, out], that steps by half its width (a kernel of 3 steps by 1): 8, 4 and 3 are those
of Mnih et al. 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bondhu.equations.convolutions import convolved
from bondhu.equations.rows import product
from bondhu.errors import UnknownName, nearest
from bondhu.learners import _compilation
from bondhu.types import Array, Floats, PerAction

_compilation.keep()  # every deep learner comes through this file
ACTIVATIONS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {  # of JAX, of NumPy
    "tanh": (jnp.tanh, np.tanh),
    "relu": (jax.nn.relu, lambda x: np.maximum(x, 0.0)),
    "silu": (jax.nn.silu, lambda x: x / (1.0 + np.exp(-x))),
}
NATURE = ((8, 32), (4, 64), (3, 64))  # width and number of the kernels that images are seen through
PIXEL = 255.0  # the brightest
TINY = 1e-6  # variance below which a layer's sums are all taken for one number


class Layer(eqx.Module):
    """x·W + b, or a convolution."""

    weight: Array  # [in, out]; [height, width, in, out]
    bias: Array  # [out]


class Head(eqx.Module):
    """K numbers for each action."""

    weight: Annotated[Array, PerAction(1)]  # [in, A, K]
    bias: Annotated[Array, PerAction(0)]  # [A, K]


class Network(eqx.Module):
    """Layers, by their number, and what comes out."""

    body: Mapping[str, Layer]
    head: Head


class Value(eqx.Module):
    """A network with one output that belongs to no action."""

    body: Mapping[str, Layer]
    head: Layer  # one output


def known_activation(name: str) -> None:
    """Raise UnknownName where there is no such activation."""
    if name not in ACTIVATIONS:
        fix = nearest(name, list(ACTIVATIONS))
        raise UnknownName(f"No activation {name!r}.", field="activation", value=name, fix=fix)


# -------------------------------------------------------------------------------------------------------- the beginning

Start = Callable[[np.random.Generator, tuple[int, ...], float], Floats]  # generator, shape, gain


def orthogonal(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> Floats:
    """Orthonormal columns or rows, times the gain (Saxe, McClelland & Ganguli 2014)."""
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    matrix = q if rows >= columns else q.T
    return (gain * matrix[:rows, :columns]).reshape(shape).astype(np.float32)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> Floats:
    """U(-g/√in, g/√in) with g = gain/√2, as wide for ReLU as is usual (LeCun et al. 1998)."""
    reach = gain / np.sqrt(2.0 * np.prod(shape[:-1]))
    return rng.uniform(-reach, reach, shape).astype(np.float32)


def layers(
    rng: np.random.Generator, seen: tuple[int, ...], hidden: tuple[int, ...], start: Start
) -> tuple[dict[str, Layer], int]:
    """The layers before the head, and how many numbers come out of them. Images `[H, W, C]` are seen through NATURE."""
    made: list[Layer] = []
    if len(seen) == 3:
        height, width, channels = seen
        for kernel, count in NATURE:
            made.append(_layer(rng, (kernel, kernel, channels, count), start))
            height, width = (1 + (side - kernel) // step_of(kernel) for side in (height, width))
            channels = count
        inputs = height * width * channels
    else:
        inputs = int(np.prod(seen))
    for outputs in hidden:
        made.append(_layer(rng, (inputs, outputs), start))
        inputs = outputs
    return {str(number): layer for number, layer in enumerate(made)}, inputs


def _layer(rng: np.random.Generator, shape: tuple[int, ...], start: Start) -> Layer:
    return Layer(start(rng, shape, np.sqrt(2.0)), np.zeros(shape[-1], np.float32))


def network(
    rng: np.random.Generator,
    seen: tuple[int, ...],
    hidden: tuple[int, ...],
    outputs: tuple[int, int],
    gain: float = 1.0,
    start: Start = orthogonal,
) -> Network:
    """A network with A x K outputs, their weights as small as `gain`."""
    body, inputs = layers(rng, seen, hidden, start)
    weight = start(rng, (inputs, outputs[0] * outputs[1]), gain).reshape(inputs, *outputs)
    return Network(body, Head(weight, np.zeros(outputs, np.float32)))


def value_network(
    rng: np.random.Generator, seen: tuple[int, ...], hidden: tuple[int, ...], start: Start = orthogonal
) -> Value:
    """A network with one output."""
    body, inputs = layers(rng, seen, hidden, start)
    return Value(body, Layer(start(rng, (inputs, 1), 1.0), np.zeros(1, np.float32)))


# --------------------------------------------------------------------------------------------------------------- asking


def step_of(kernel: int) -> int:
    """By how many pixels a kernel of this width moves on."""
    return max(kernel // 2, 1)


def normalised(x: Any, numbers: Any = jnp) -> Any:
    """Mean 0 and variance 1 along the last axis, without scale or shift to be learned, by JAX or NumPy (Ba, Kiros &
    Hinton 2016; arXiv 1607.06450)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / numbers.sqrt((centred * centred).mean(axis=-1, keepdims=True) + TINY)


def through(body: Mapping[str, Layer], seen: Any, activation: str, normalise: bool = False) -> Any:
    """What the layers make of what is seen, in JAX: `[T, F]` or images `[T, H, W, C]` to `[T, W]`. Where `normalise`,
    each layer's sums are `normalised` before the activation; those of a convolution at every pixel."""
    bend = _bending(activation, normalise, jnp)
    x = seen / PIXEL if seen.dtype == jnp.uint8 and seen.ndim > 2 else seen  # features stay as `asked` reads them
    for layer in in_order(body):
        if layer.weight.ndim == 4:
            x = convolved(jnp.asarray(x, jnp.float32), jnp.asarray(layer.weight), step_of(layer.weight.shape[0]))
            x = bend(x + layer.bias)
        else:
            x = bend(x.reshape(len(x), -1) @ layer.weight + layer.bias)
    return x.reshape(len(x), -1)


def outputs(network: Network, seen: Any, activation: str, normalise: bool = False) -> Any:
    """The network's outputs in JAX: `[T, A, K]`."""
    x, head = through(network.body, seen, activation, normalise), network.head
    flat = x @ head.weight.reshape(head.weight.shape[0], -1)
    return flat.reshape(len(x), *head.bias.shape) + head.bias


def value(network: Value, seen: Any, activation: str, normalise: bool = False) -> Any:
    """The value network's output in JAX: `[T]`."""
    return (through(network.body, seen, activation, normalise) @ network.head.weight + network.head.bias)[:, 0]


def in_order(body: Mapping[str, Layer]) -> list[Layer]:
    """The layers by their number."""
    return [body[str(number)] for number in range(len(body))]


def _bending(activation: str, normalise: bool, numbers: Any) -> Callable[[Any], Any]:
    """From a layer's sums to what the next one sees, by JAX or NumPy."""
    bend = ACTIVATIONS[activation][numbers is np]
    return (lambda x: bend(normalised(x, numbers))) if normalise else bend


def asked(network: Network | Value, activation: str, normalise: bool = False) -> Callable[[Array], Floats]:
    """The outputs by NumPy, each row by itself to the last bit: `[T, F]` to `[T, A, K]`, or `[T, 1]` of a value."""
    if any(np.ndim(layer.weight) == 4 for layer in network.body.values()):
        return _seeing(network, activation, normalise)
    bend = _bending(activation, normalise, np)
    body = [(_plain(layer.weight), _plain(layer.bias)) for layer in in_order(network.body)]
    shape = network.head.bias.shape
    weight, bias = _plain(network.head.weight), _plain(network.head.bias).ravel()
    weight = weight.reshape(len(weight), -1)

    def answer(seen: Array) -> Floats:
        x = seen.reshape(len(seen), int(np.prod(seen.shape[1:]))).astype(np.float32, copy=False)
        for matrix, shift in body:
            x = bend(product(x, matrix) + shift)
        last: Floats = (product(x, weight) + bias).reshape(len(x), *shape)
        return last

    return answer


def _plain(array: Array) -> Floats:
    return np.ascontiguousarray(array, np.float32)


def _seeing(network: Network | Value, activation: str, normalise: bool) -> Callable[[Array], Floats]:
    """Images are seen by JAX, and where it computes."""

    def answer(seen: Array) -> Floats:
        return np.asarray(_seen(network, seen, activation, normalise))

    return answer


@eqx.filter_jit
def _seen(network: Network | Value, seen: Any, activation: str, normalise: bool) -> Any:
    if isinstance(network, Network):
        return outputs(network, seen, activation, normalise)
    return value(network, seen, activation, normalise)[:, None]
