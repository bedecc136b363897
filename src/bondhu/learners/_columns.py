"""Batches as deep learners take them: checked, and of few lengths, since every new one is compiled anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.learners._table import check_size, refused
from bondhu.types import Array, Batch, Integers, Metrics, Spec

FINE = 8  # numbers of minibatches up to this are taken as they are
LEAST_SIDE = 36  # pixels of an image, of which the convolutions leave one
FEWEST = 64  # rows that even the smallest batch is padded to


class Actions(NamedTuple):
    """What can be done, as the compiled code knows it."""

    sizes: tuple[int, ...]  # actions of each slot, one slot where actions are single; empty on intervals
    dimensions: int  # numbers of a continuous action; 0 where actions are counted

    @property
    def outputs(self) -> int:
        """Of a network that speaks of every action."""
        return sum(self.sizes) or self.dimensions


def actions_of(spec: Spec) -> Actions:
    """Raises InvalidInput for actions that no deep learner takes."""
    space = spec.action
    if isinstance(space, Discrete):
        return Actions((int(space.n),), 0)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return Actions(tuple(map(int, space.nvec)), 0)
    if isinstance(space, Box) and len(space.shape) == 1:
        return Actions((), space.shape[0])
    fix = "Take an environment with Discrete, MultiDiscrete or flat Box actions."
    raise InvalidInput(f"Actions {space} cannot be learned.", field="action_space", value=str(space), fix=fix)


def counted(space: Any, learner: str) -> int:
    """The number of single actions. Raises InvalidInput where there are several at once, or continuous ones."""
    if isinstance(space, Discrete):
        return int(space.n)
    fix = "Take deep.ppo, or deep.sac where actions are continuous."
    raise InvalidInput(f"{learner} chooses one of finitely many actions, not {space}.", field="action_space",
                       value=str(space), fix=fix)  # fmt: skip


def continuous(space: Any, learner: str) -> Box:
    """The bounds of a continuous action. Raises InvalidInput where it is none, or has none."""
    if (
        isinstance(space, Box)
        and len(space.shape) == 1
        and np.isfinite(space.low).all()
        and np.isfinite(space.high).all()
    ):
        return space
    fix = "Take deep.ppo or deep.dqn."
    raise InvalidInput(f"{learner} turns dials between finite bounds, not {space}.", field="action_space",
                       value=str(space), fix=fix)  # fmt: skip


def seen_by(spec: Spec) -> tuple[int, ...]:
    """The shape of what is seen: features or an image. Raises InvalidInput for anything else, and too small images."""
    space = spec.observation
    if isinstance(space, Box) and len(space.shape) in (1, 3):
        if len(space.shape) == 3 and min(space.shape[:2]) < LEAST_SIDE:
            what = f"Images {space.shape} are too small for the convolutions: each side needs {LEAST_SIDE} pixels."
            fix = "Observe symbols, as `envs.make` shows MiniGrid, or wrap it in gymnasium's FlattenObservation."
            raise InvalidInput(what, field="observation_space", value=str(space.shape), fix=fix)
        return space.shape
    fix = "Encode what is seen as features, [F], or as an image, [H, W, C]."
    raise InvalidInput(f"Observations {space} cannot be learned from.", field="observation_space", value=str(space),
                       fix=fix)  # fmt: skip


def check(batch: Batch, actions: Actions, shape: tuple[int, ...]) -> None:
    """Refuse what would spoil the parameters; nothing has been learned yet."""
    if batch.observation.shape[1:] != shape:
        raise refused("observation", f"shape {batch.observation.shape}", f"Its shape must be {(len(batch), *shape)}.")
    if actions.sizes:
        chosen = batch.action.reshape(len(batch), -1)
        unknown = (chosen < 0) | (chosen >= np.array(actions.sizes))
        if unknown.any():
            row, slot = np.argwhere(unknown)[0]
            raise refused("action", chosen[row, slot], f"There are the actions 0 to {actions.sizes[slot] - 1}.")
    else:
        check_size("action", batch.action)
    for name in ("observation", "next_observation"):
        column = getattr(batch, name)
        if column.dtype != np.uint8:
            check_size(name, column)
    check_size("reward", batch.reward)


def bucket(count: int) -> int:
    """The least length that holds so many: 1 to 8, then powers of two and the numbers halfway between them."""
    step = 1 << (count - 1).bit_length() - 2 if count > FINE else 1
    return -(-count // step) * step


def whole(rows: int, minibatch: int) -> int:
    """The least length in whole minibatches, of few different numbers, that holds so many rows."""
    return bucket(-(-rows // minibatch)) * minibatch


def padded(columns: Mapping[str, Array], length: int) -> dict[str, Array]:
    """The columns with zeros up to this length, and `weight`: 1 for the rows that are real."""
    rows = len(next(iter(columns.values())))
    made = {"weight": np.zeros(length, np.float32)}
    made["weight"][:rows] = 1.0
    for name, column in columns.items():
        made[name] = np.zeros((length, *column.shape[1:]), column.dtype)
        made[name][:rows] = column
    return made


def columns(batch: Batch, discount: float) -> dict[str, Array]:
    """What losses look at: rewards, `continuing` = γ·discount and `linked` = has_next in single precision, actions and
    masks."""
    allowed, following = (np.ascontiguousarray(each, np.bool_) for each in (batch.allowed, batch.next_allowed))
    action = batch.action.astype(np.int32 if batch.action.dtype.kind in "iu" else np.float32)
    return {
        "action": action,
        "allowed": allowed,
        "next_allowed": following,
        "reward": batch.reward.astype(np.float32),
        "continuing": (discount * batch.discount).astype(np.float32),
        "linked": batch.has_next.astype(np.float32),
    }


def shuffled(rows: int, minibatch: int, epochs: int, rng: np.random.Generator) -> Integers:
    """Which rows each minibatch takes, every row once an epoch: `[epochs, rows / minibatch, minibatch]`."""
    order = np.tile(np.arange(rows, dtype=np.int32), (epochs, 1))
    return rng.permuted(order, axis=1).reshape(epochs, rows // minibatch, minibatch)


def reported(metrics: Mapping[str, Any]) -> Metrics:
    """Numbers that were computed on a device, all fetched at once."""
    import jax

    return {name: float(value) for name, value in jax.device_get(dict(metrics)).items()}
