"""The values and visits of a policy in the model that a log is: Bellman's equation of what was seen, both ways.

A view is what a policy decides on, a cell is what a model tells apart (a state and an action, or a state alone). In a
view the policy falls into cells by chance; from a cell each logged row went on to a view or ended. γ is `factor`; γ = 1
wants sessions that end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bondhu.types import Booleans, Floats, Integers


class Rows(NamedTuple):
    """The log in numbers."""

    view: Integers  # [T]
    cell: Integers  # [T]
    following: Integers  # [T] the next view; -1: the session ended
    reward: Floats  # [T]
    first: Integers  # [N] the row with which each session begins


class Falls(NamedTuple):
    """With which chance the policy falls from each view into which cells."""

    view: Integers  # [E]
    cell: Integers  # [E]
    chance: Floats  # [E]
    views: int
    cells: int


class Chain(NamedTuple):
    """What the rows, weighted, say of rewards and of what follows."""

    falls: Falls  # into cells that were seen, chances of a view summing to 1
    seen: Floats  # [U] chance of the policy in each view that falls into cells that were seen
    weight: Floats  # [C] of the rows of a cell
    lost: Floats  # [C] share of them that went to a view of which nothing is known
    reward: Floats  # [C] mean
    cell: Integers  # [K] moves: from a cell
    following: Integers  # [K] to a view
    chance: Floats  # [K] among the rows that are not lost; what is missing to 1 ended


def summed(number: Integers, values: Floats, size: int) -> Floats:
    """The sum of the values of each number: `[T], [T] -> [size]`."""
    return np.asarray(np.bincount(number, values, size), np.float64)


def moves(rows: Rows, views: int) -> tuple[Integers, Integers]:
    """The moves that were seen, `cell * U + view` once each, ascending `[K]`, and which of them each row made `[T]`.

    Rows that ended made none: K.
    """
    going = rows.following >= 0
    keys, made = np.unique(rows.cell[going] * views + rows.following[going], return_inverse=True)
    which = np.full(len(rows.cell), len(keys))
    which[going] = made
    return keys, which


def chain(rows: Rows, falls: Falls, seen_moves: tuple[Integers, Integers], weight: Floats) -> Chain:
    """The chain of rows that count `weight [T]` each.

    What the policy does in cells never seen is shared out among its other cells; rows that went to a view where none of
    its cells was seen do not count for what follows.
    """
    keys, which = seen_moves
    total = summed(rows.cell, weight, falls.cells)
    kept = total[falls.cell] > 0
    seen = summed(falls.view[kept], falls.chance[kept], falls.views)
    known = seen > 1e-12
    kept &= known[falls.view]
    shared = Falls(
        falls.view[kept],
        falls.cell[kept],
        falls.chance[kept] / seen[falls.view[kept]],
        falls.views,
        falls.cells,
    )
    cell, following = np.divmod(keys, falls.views)
    times = summed(which, weight, len(keys) + 1)[:-1]
    gone = summed(cell, np.where(known[following], 0.0, times), falls.cells)
    left = total - gone
    chance = np.where(known[following], times, 0.0) / np.where(left > 0, left, 1.0)[cell]
    per_cell = np.where(total > 0, total, 1.0)
    reward = summed(rows.cell, weight * rows.reward, falls.cells) / per_cell
    some = chance > 0
    return Chain(shared, seen, total, gone / per_cell, reward, cell[some], following[some], chance[some])


def ahead(model: Chain, values: Floats) -> Floats:
    """`Σ_u p(u | c) v(u)` of each cell: `[U] -> [C]`."""
    return summed(model.cell, model.chance * values[model.following], model.falls.cells)


def falling(model: Chain, cells: Floats) -> Floats:
    """`Σ_c π(c | u) q(c)` of each view: `[C] -> [U]`."""
    return summed(model.falls.view, model.falls.chance * cells[model.falls.cell], model.falls.views)


def chain_values(model: Chain, factor: float) -> tuple[Floats, Floats]:
    """`v = Π (r + γ P v)` and `q = r + γ P v`: `[U]`, `[C]`. Fitted Q evaluation's fixed point (Le et al. 2019)."""
    values = gmres(lambda v: v - factor * falling(model, ahead(model, v)), falling(model, model.reward))
    return values, model.reward + factor * ahead(model, values)


def chain_visits(model: Chain, start: Floats, factor: float) -> tuple[Floats, Floats]:
    """Discounted visits of a session to views and cells, `d = start + γ P' Π' d` and `Π' d`: `[U] -> [U], [C]`."""

    def back(visits: Floats) -> Floats:
        cells = into_cells(visits)
        return summed(model.following, model.chance * cells[model.cell], model.falls.views)

    def into_cells(visits: Floats) -> Floats:
        return summed(model.falls.cell, model.falls.chance * visits[model.falls.view], model.falls.cells)

    visits = gmres(lambda d: d - factor * back(d), start)
    return visits, into_cells(visits)


def gmres(apply: Callable[[Floats], Floats], right: Floats, limit: int = 1_000, tolerance: float = 1e-12) -> Floats:
    """x with `apply(x) = right`, for a linear `apply` known only by what it does: `[n]`.

    Generalised minimal residuals, started anew every 50 steps (Saad & Schultz 1986). NaN where `limit` steps leave a
    residual above `tolerance` of the right side.
    """
    found, norm = np.zeros(len(right)), float(np.linalg.norm(right))
    if norm == 0:
        return found
    for _ in range(limit // RESTART + 1):
        residual = right - apply(found)
        if np.linalg.norm(residual) <= tolerance * norm:
            return found
        found = found + _correction(apply, residual, tolerance * norm / 2)
    close = np.linalg.norm(right - apply(found)) <= 1e4 * tolerance * norm  # what rounding leaves of large systems
    return found if close else np.full(len(right), np.nan)


RESTART = 50


def _correction(apply: Callable[[Floats], Floats], residual: Floats, small: float) -> Floats:
    """The combination of `residual, apply(residual), …` that takes most of the residual away."""
    length = float(np.linalg.norm(residual))
    basis, upper = [residual / length], np.zeros((RESTART + 1, RESTART))
    for k in range(RESTART):
        vector = apply(basis[k])
        for _ in range(2):  # twice is enough to stay orthogonal
            for j, other in enumerate(basis):
                part = float(other @ vector)
                upper[j, k] += part
                vector = vector - part * other
        upper[k + 1, k] = np.linalg.norm(vector)
        aim = np.zeros(k + 2)
        aim[0] = length
        shares, left = np.linalg.lstsq(upper[: k + 2, : k + 1], aim, rcond=None)[:2]
        if upper[k + 1, k] <= 1e-14 * np.abs(upper[: k + 1, k]).max() or (len(left) and left[0] ** 0.5 <= small):
            break
        basis.append(vector / upper[k + 1, k])
    return np.asarray(np.column_stack(basis[: len(shares)]) @ shares)


def blind(model: Chain) -> Booleans:
    """Views where nothing is known of what the policy does: `[U]`."""
    return np.asarray(model.seen <= 1e-12)
