"""What learners over a table share: rows for codes, what a batch must hold, and what the cells tell.

A row is a state, or where the table is hashed, all states that share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete, Space

from bondhu.errors import InvalidInput
from bondhu.types import Array, Batch, Belief, Beliefs, Booleans, Floats, Integers, Spec

DENSE_LIMIT = 1_000_000  # states above which a table is hashed
HASHED_ROWS = 2**20  # rows of a hashed table
LARGEST = 1e100  # size of a feature or reward whose square is still a number
UNTRIED = 0.5  # how many tries "never tried" counts as, where something is divided by them


def shape_of(spec: Spec, dense_limit: int = DENSE_LIMIT, hashed_rows: int = HASHED_ROWS) -> tuple[Integers, int, int]:
    """How many codes each observation column has, `[F]`, and the rows and actions of a table for them."""
    sizes = sizes_of(spec.observation)
    if not isinstance(spec.action, Discrete):
        raise refused("action", spec.action, "A table needs a Discrete action space.")
    states = math.prod(sizes.tolist())
    return sizes, states if states <= dense_limit else hashed_rows, int(spec.action.n)


def beliefs_of(values: Floats, visits: Array, sizes: Integers, noise: float, rounds: float) -> Beliefs:
    """Values `[rows, A]` with the error σ / √tries, where σ² = `noise` is the mean squared error of a prediction."""
    row_of, deviation = row_finder(sizes, len(values)), math.sqrt(noise)

    def believed(observation: Array) -> Belief:
        row = row_of(observation)
        tries = visits.take(row, 0).astype(np.float64)
        return Belief(values.take(row, 0), deviation / np.sqrt(np.maximum(tries, UNTRIED)), tries, rounds)

    return believed


def blended(noise: float, squares: float, rows: int, updates: int) -> float:
    """The mean squared error after `rows` more predictions; what lies over 10,000 predictions back fades."""
    return noise if rows == 0 else noise + (squares / rows - noise) * rows / (rows + min(updates, 10_000))


def writable(array: Array) -> Array:
    """The array itself, or a copy where it must not be written to: a stored version is read-only and stays as it is."""
    flags = array.flags
    return array if flags.writeable and flags.c_contiguous else np.require(array, None, ["C", "W"])


def row_finder(sizes: Integers, rows: int) -> Callable[[Array], Integers]:
    """From codes `[T, F]` or `[T]` to rows of the table `[T]`: mixed radix where each state has its row, else hashed.

    Hashing is multilinear with odd multipliers, then the finaliser of splitmix64 (Steele et al. 2014), modulo `rows`:
    S states tried in R rows share theirs with about S/R others each.
    """
    if math.prod(sizes.tolist()) == rows:
        strides = np.cumprod([1, *sizes[:0:-1]])[::-1].astype(np.int64)

        def ranked(observation: Array) -> Integers:
            row: Integers = observation.reshape(-1, len(sizes)).dot(strides)
            return row

        return ranked
    multipliers = np.random.Generator(np.random.PCG64(0)).integers(2**63, size=len(sizes), dtype=np.uint64) * 2 + 1

    def hashed(observation: Array) -> Integers:
        codes = observation.reshape(-1, len(sizes)).astype(np.uint64)
        mixed: Array = codes @ multipliers
        mixed = (mixed ^ (mixed >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> 27)) * np.uint64(0x94D049BB133111EB)
        row: Integers = ((mixed ^ (mixed >> 31)) % np.uint64(rows)).astype(np.int64)
        return row

    return hashed


def sizes_of(space: Space[Any]) -> Integers:
    """How many codes each observation column has: `[F]`."""
    if isinstance(space, Discrete) and space.start == 0:
        return np.array([space.n], np.int64)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        return space.nvec.astype(np.int64)
    raise refused("observation", space, "A table needs codes from 0: a Discrete or a flat MultiDiscrete space.")


def check(batch: Batch, sizes: Integers, actions: int) -> None:
    """Refuse what would write outside the table or spoil it; nothing has been written yet."""
    going_on = batch.discount > 0
    for name, codes in (("observation", batch.observation), ("next_observation", batch.next_observation)):
        flat = codes.reshape(-1, len(sizes))
        outside = (flat < 0) | (flat >= sizes)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            fix = f"Column {column} has the codes 0 to {sizes[column] - 1}."
            raise refused(name, flat[row, column], fix)
    unknown = (batch.action < 0) | (batch.action >= actions)
    if unknown.any():
        raise refused("action", batch.action[unknown][0], f"There are the actions 0 to {actions - 1}.")
    check_size("reward", batch.reward)
    if not np.isfinite(batch.discount).all():
        row = int(np.isfinite(batch.discount).argmin())
        raise refused("discount", batch.discount[row], f"Row {row} needs a number.")
    _check_next(batch.next_allowed, going_on)


def check_size(name: str, column: Array) -> None:
    """Refuse features or rewards that are no numbers, or so large that their squares are none."""
    sane = np.abs(column) < np.float64(LARGEST)  # as a plain number it would overflow beside single precision
    if not sane.all():
        row = int(np.argwhere(~sane)[0, 0])
        raise refused(name, column[~sane][0], f"Row {row} needs a number below {LARGEST:g}: scale the {name}s down.")


def _check_next(allowed: Booleans, going_on: Booleans) -> None:
    possible = allowed[:1].any(axis=1) if allowed.strides[0] == 0 else allowed.any(axis=1)
    stuck = going_on & ~possible
    if stuck.any():
        raise refused("next_allowed", None, f"Row {int(stuck.argmax())} goes on but allows no next action.")


def refused(field: str, value: Any, fix: str) -> InvalidInput:
    """The error for something that a learner cannot learn from."""
    return InvalidInput(f"The learner got {field} = {value}.", field=field, value=value, fix=fix)
