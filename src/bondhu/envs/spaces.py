"""Observations of any Gymnasium space as columns of features, for N environments at once.

Parts come in the order of `gymnasium.spaces.utils.flatten`: those of a Dict by key as the space lists them, one column
for each value of a Discrete (one-hot), numbers row by row. Images (uint8 of three axes) stay images,
their channels last: [C, H, W], of which the first axis is smaller than the last, becomes [H, W, C].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from bondhu.errors import InvalidInput
from bondhu.types import Array

MASK = "action_mask"  # the part of a Dict that says which actions are allowed: not a feature


class Sight(NamedTuple):
    """How observations of one space are seen."""

    space: Space[Any]  # of one environment, as learners see it
    encode: Callable[[Any], Array]  # N observations as the environment gives them -> [N, F], or N images
    masked: bool = False  # whether observations hold a mask of actions


def is_image(space: Space[Any]) -> bool:
    """Whether this is left as it is for a convolution: uint8 of three axes."""
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) == 3


def seen(space: Space[Any], *, codes: bool = False) -> Sight:
    """How to see observations of this space; with `codes`, Discrete and MultiDiscrete stay numbers, for tables.

    Raises InvalidInput naming a space that has no fixed number of columns (Text, Graph, Sequence, OneOf).
    """
    if isinstance(space, Dict) and MASK in space.spaces:
        rest = {key: part for key, part in space.spaces.items() if key != MASK}
        return _without_mask(seen(next(iter(rest.values())) if len(rest) == 1 else Dict(rest), codes=codes), list(rest))
    if isinstance(space, Box) and is_image(space):
        return _image(space)
    if codes and isinstance(space, Discrete):
        return Sight(space, lambda given: np.reshape(given, (-1, 1)))
    if codes and isinstance(space, MultiDiscrete) and len(space.shape) == 1:
        return Sight(space, np.asarray)
    if isinstance(space, Box) and len(space.shape) == 1 and (codes or space.dtype != np.uint8):
        return Sight(space, np.asarray)
    return Sight(feature_space(space), lambda given: features(space, given))


def _image(space: Box) -> Sight:
    """Channels last, as convolutions take them."""
    if space.shape[0] >= space.shape[-1]:
        return Sight(space, np.asarray)
    low, high = (np.moveaxis(bound, 0, -1) for bound in (space.low, space.high))
    return Sight(Box(low, high, dtype=np.uint8), lambda given: np.moveaxis(np.asarray(given), 1, -1))


def feature_space(space: Space[Any]) -> Box:
    """The Box `[F]`, float32, that `features` of this space lie in; bounds are those of its numbers. Raises
    InvalidInput naming a space that has no fixed number of columns."""
    low, high = _bounds(space)
    return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def features(space: Space[Any], observation: Any) -> Array:
    """N observations of this space as float32 features: `[N, F]`."""
    parts = _parts(space, observation)
    columns = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return columns.astype(np.float32, copy=False)


def _parts(space: Space[Any], given: Any) -> list[Array]:
    if isinstance(space, Dict):
        return [part for key, inner in space.spaces.items() for part in _parts(inner, given[key])]
    if isinstance(space, Tuple):
        return [part for inner, each in zip(space.spaces, given, strict=True) for part in _parts(inner, each)]
    if isinstance(space, Discrete):
        return [_one_hot(np.reshape(given, (-1, 1)) - space.start, np.array([space.n]))]
    if isinstance(space, MultiDiscrete):
        sizes = space.nvec.ravel()
        return [_one_hot(np.reshape(given, (-1, len(sizes))) - space.start.ravel(), sizes)]
    return [np.reshape(given, (len(given), -1))]


def _one_hot(codes: Array, sizes: Array) -> Array:
    """Codes `[N, K]` with these numbers of values `[K]` -> `[N, ΣK]`."""
    columns: Array = np.zeros((len(codes), int(sizes.sum())), np.float32)
    columns[np.arange(len(codes))[:, None], codes + (np.cumsum(sizes) - sizes)] = 1.0
    return columns


def _bounds(space: Space[Any]) -> tuple[Array, Array]:
    if isinstance(space, Dict | Tuple):
        inner = list(space.spaces.values() if isinstance(space, Dict) else space.spaces)
        lows, highs = zip(*map(_bounds, inner), strict=True) if inner else ((np.zeros(0),), (np.zeros(0),))
        return np.concatenate(lows), np.concatenate(highs)
    if isinstance(space, Box):
        return space.low.ravel(), space.high.ravel()
    if isinstance(space, Discrete | MultiDiscrete | MultiBinary):
        size = _columns(space)
        return np.zeros(size), np.ones(size)
    raise InvalidInput(
        f"The environment is observed as {type(space).__name__}, which has no fixed number of columns.",
        field="observation_space",
        value=str(space),
        fix="Wrap it so that it shows Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of them.",
    )


def _columns(space: Discrete | MultiDiscrete | MultiBinary) -> int:
    if isinstance(space, Discrete):
        return int(space.n)
    return int(space.nvec.sum()) if isinstance(space, MultiDiscrete) else int(np.prod(space.shape))


def _without_mask(sight: Sight, keys: list[str]) -> Sight:
    if not keys:
        raise InvalidInput("The environment shows a mask of actions and nothing else.", field="observation_space")
    if len(keys) == 1:
        return Sight(sight.space, lambda given: sight.encode(given[keys[0]]), True)
    return Sight(sight.space, sight.encode, True)
