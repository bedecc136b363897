"""Actions as learners number them, and as an environment wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from bondhu.errors import InvalidInput
from bondhu.types import Array


class Hand(NamedTuple):
    """How one action space is acted in."""

    space: Space[Any]  # as learners see it: numbered from 0, of one axis
    width: int  # columns of a mask: the number of actions, of several slots together, 1 on an interval
    given: Callable[[Array], Array]  # N actions of a policy -> as the environment wants them


def acting(space: Space[Any]) -> Hand:
    """How to act in this space. Raises InvalidInput naming a space that is none of Discrete, MultiDiscrete,
    MultiBinary and Box."""
    if isinstance(space, Discrete):
        start = int(space.start)
        return Hand(Discrete(space.n), int(space.n), lambda action: _whole(action) + start if start else _whole(action))
    if isinstance(space, MultiDiscrete | MultiBinary):
        return _slots(space)
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        return _box(space)
    raise InvalidInput(
        f"The actions are {space}, which no learner takes.",
        field="action_space",
        value=str(space),
        fix="Wrap the environment so that it takes Discrete, MultiDiscrete, MultiBinary or Box actions.",
    )


def _whole(action: Array) -> Array:
    return np.asarray(action, np.int64)


def _slots(space: MultiDiscrete | MultiBinary) -> Hand:
    sizes = space.nvec if isinstance(space, MultiDiscrete) else np.full(space.shape, 2)
    starts = space.start if isinstance(space, MultiDiscrete) else np.zeros(space.shape, np.int64)
    shape, kind = sizes.shape, space.dtype
    flat = MultiDiscrete(sizes.ravel())

    def given(action: Array) -> Array:
        moved: Array = np.reshape(action, (-1, *shape)) + starts
        return moved.astype(kind, copy=False)

    return Hand(flat, int(sizes.sum()), given)


def _box(space: Box) -> Hand:
    """The environment gets an action clipped to its bounds; the batch keeps what the policy drew, of which it told the
    density."""
    low, high, shape, kind = space.low, space.high, space.shape, space.dtype
    flat = space if len(shape) == 1 else Box(low.ravel(), high.ravel(), dtype=kind.type)

    def given(action: Array) -> Array:
        clipped: Array = np.minimum(np.maximum(np.reshape(action, (-1, *shape)), low), high)
        return clipped.astype(kind, copy=False)

    return Hand(flat, 1, given)
