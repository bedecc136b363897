"""A memory of what happened, drawn from at random while learning goes on (Lin 1992; Mnih et al. 2015).

Rows are kept as a Batch, so that they are stored, and renumbered where actions come and go, like any other. Their
`reward` is the sum of the rewards of n steps, discounted; `discount` what the value after them counts, 0 at a true end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from bondhu.equations.n_step import n_step
from bondhu.errors import InvalidInput
from bondhu.learners._columns import Actions
from bondhu.types import Array, Batch, Floats, Integers

LARGEST = 0.5  # share of the machine's free memory that a replay may ask for
SCALARS = 33  # bytes of a row: six numbers of four, a yes or no, and a priority of eight
SMALLEST = 1e-6  # error in a priority, so that what is already right may be drawn again
KEPT = ("observation", "allowed", "action", "probability", "reward", "discount", "has_next", "next_observation",
        "next_allowed", "session", "time", "memo")  # fmt: skip  # the columns of a Batch


@dataclass(frozen=True)
class Replay:
    """The last rows, up to the learner's capacity; the oldest is overwritten first."""

    rows: Batch
    priority: Floats  # [T] how likely a row is drawn, up to a factor, by a learner that looks at it; never 0
    place: int  # of the row to be overwritten next, once there is no more room


def nothing(space: Space[Any], actions: Actions, capacity: int) -> Replay:
    """An empty memory. Raises InvalidInput where `capacity` rows would not fit into this machine's memory."""
    seen, kind = (space.shape or ()), np.uint8 if space.dtype == np.uint8 else np.float32
    check_size(capacity, int(np.prod(seen)) * np.dtype(kind).itemsize, actions)
    masks = np.zeros((0, sum(actions.sizes) or 1), np.bool_)
    action = (
        np.zeros(0, np.int32) if len(actions.sizes) == 1 else np.zeros((0, len(actions.sizes) or actions.dimensions))
    )
    observation, number = np.zeros((0, *seen), kind), np.zeros(0, np.float32)
    return Replay(
        Batch(
            observation, masks, action if actions.sizes else action.astype(np.float32), number, number, number,
            np.zeros(0, np.bool_), observation, masks, np.zeros(0, np.int32), number, np.zeros((0, 0)),
        ),
        np.zeros(0),
        0,
    )  # fmt: skip


def check_size(capacity: int, observation: int, actions: Actions) -> None:
    """Raise InvalidInput where a replay of so many rows, `observation` bytes each, cannot be had; allocates nothing."""
    needed = capacity * (2 * observation + 2 * sum(actions.sizes) + 4 * actions.dimensions + SCALARS)
    free = free_memory()
    if needed > LARGEST * free:
        fitting = int(capacity * LARGEST * free / needed)
        raise InvalidInput(
            f"A replay of {capacity} rows needs {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free.",
            field="capacity",
            value=capacity,
            fix=f"Set capacity = {fitting} at most, or see smaller observations.",
        )


def free_memory() -> int:
    """Bytes that can still be had; a very large number where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 2**62


def remembered(replay: Replay, batch: Batch, capacity: int, steps: int, factor: float) -> Replay:
    """With the rows of a batch, each looking `steps` ahead, over the oldest ones; arrays are written to in place."""
    reward, discount, last = n_step(batch.reward, batch.discount, batch.has_next, steps, factor)
    ahead = replace(
        batch, reward=reward, discount=discount, next_observation=batch.next_observation[last],
        next_allowed=batch.next_allowed[last], memo=np.zeros((len(batch), 0)), context={}, objectives={},
    ).take(np.arange(len(batch))[-capacity:])  # fmt: skip
    new, full = len(ahead), len(replay.rows)
    grown = min(full + new, capacity)
    start = full if full < capacity else replay.place
    places = (start + np.arange(new)) % capacity
    columns: dict[str, Any] = {
        name: _written(getattr(replay.rows, name), getattr(ahead, name), places, grown, capacity) for name in KEPT
    }
    known = replay.priority if len(replay.priority) == full else np.ones(full)  # actions have gone, and rows with them
    priority = _written(known, np.full(new, known.max(initial=0.0) or 1.0), places, grown, capacity)
    return Replay(Batch(**columns), priority, (start + new) % capacity)


def _written(column: Array, new: Array, places: Integers, length: int, most: int) -> Array:
    """The column with these rows at these places. A column is the beginning of a longer array, twice as long whenever
    it is full but never longer than `most`, so that writing a row costs the same however many there are. A read-only
    one is stored: it is copied."""
    if length > len(column) or not column.flags.writeable:
        room = column.base
        if not (isinstance(room, np.ndarray) and column.flags.writeable and room.shape[1:] == column.shape[1:]
                and len(room) >= length and room.ctypes.data == column.ctypes.data):  # fmt: skip
            room = np.empty((min(max(length, 2 * len(column), 1024), most), *column.shape[1:]), column.dtype)
            room[: len(column)] = column
        column = room[:length]
    column[places] = new
    return column


def drawn(replay: Replay, updates: int, rows: int, rng: np.random.Generator) -> Integers:
    """Which rows each of several updates learns from, all equally likely: `[updates, rows]`."""
    return rng.integers(0, len(replay.rows), (updates, rows))


def drawn_by_priority(replay: Replay, updates: int, rows: int, rng: np.random.Generator) -> tuple[Integers, Floats]:
    """Which rows, p ∝ priority, and 1 / (T·p): `[updates, rows]` each (Schaul et al. 2016, "Prioritized experience
    replay"). The importance is not yet raised to β nor divided by its largest."""
    sums = np.cumsum(replay.priority)
    spread = (np.arange(rows) + rng.random((updates, rows))) / rows  # one of each stretch of equal probability
    chosen = np.minimum(np.searchsorted(sums, spread * sums[-1], side="right"), len(sums) - 1)
    return chosen, sums[-1] / (len(sums) * replay.priority[chosen])


def reprioritised(replay: Replay, chosen: Integers, error: Floats, power: float) -> Replay:
    """With (|error| + a little)^power as the priority of these rows, `[updates, rows]` each; the last counts where one
    was drawn several times. The array is written to in place."""
    replay.priority[chosen.ravel()] = (np.abs(error.ravel()) + SMALLEST) ** power
    return replay


def columns_of(replay: Replay, chosen: Integers) -> Mapping[str, Array]:
    """What losses look at, of these rows: `[updates, rows, …]` each."""
    rows = replay.rows
    return {
        "observation": rows.observation[chosen],
        "next_observation": rows.next_observation[chosen],
        "next_allowed": rows.next_allowed[chosen],
        "allowed": rows.allowed[chosen],
        "action": rows.action[chosen],
        "reward": rows.reward[chosen],
        "continuing": rows.discount[chosen],
    }
