"""Models of what sessions still return under a policy: a table where codes are few, else a regression."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bondhu.equations import regression
from bondhu.equations.chains import Chain, Falls, Rows, ahead, blind, chain, chain_values, chain_visits, moves
from bondhu.evaluate import linear_values
from bondhu.evaluate.fitted import Fitted, Values
from bondhu.types import Array, Batch, Booleans, Floats, Integers, Policy

LARGEST = 4_000_000  # states x actions of a table
ROWS_EACH = 3.0  # of the log for each state and action seen, below which a regression shares what they have in common

Model = Callable[[Policy, Batch, float], Values]  # made without the row's own session


def fitted(policy: Policy, batch: Batch, factor: float) -> Fitted:
    """Fitted Q evaluation (Le et al. 2019) at its fixed point, on all sessions."""
    table = tabled(policy, batch)
    if table is None:
        return linear_values.fitted(policy, batch, factor)
    rows, falls = table
    return solved(rows, falls, np.ones(len(batch)), factor)


def cross_fitted(policy: Policy, batch: Batch, factor: float) -> Values:
    """The same, each session's values from the model of the other folds' sessions."""
    table = tabled(policy, batch)
    if table is None:
        return linear_values.cross_fitted(policy, batch, factor)
    rows, falls = table
    fold = regression.folds(batch.session)
    seen_moves = moves(rows, falls.views)
    parts = Values(*(np.empty(len(batch)) for _ in Values._fields))
    for each in range(regression.FOLDS):
        inside = fold == each
        if inside.any():
            model = chain(rows, falls, seen_moves, (~inside).astype(np.float64))
            for part, said in zip(parts, said_of(rows, model, *chain_values(model, factor)), strict=True):
                part[inside] = said[inside]
    return parts


def solved(rows: Rows, falls: Falls, weight: Floats, factor: float) -> Fitted:
    """Values, and how often the policy comes where each row was, as the weight of that row."""
    model = chain(rows, falls, moves(rows, falls.views), weight)
    dark = blind(model)
    known, of_cell = chain_values(model, factor)
    values = said_of(rows, model, known, of_cell)
    lost = (rows.following >= 0) & dark[rows.following]  # these say nothing of what follows; the others of the cell do
    values.following[lost] = ahead(model, known)[rows.cell[lost]]
    begins = np.bincount(rows.first, minlength=len(weight)).astype(np.float64)
    share = weight / np.where(model.weight > 0, model.weight, 1.0)[rows.cell]

    def visits_from(start: Floats) -> tuple[Floats, Floats]:
        views = np.bincount(rows.view, start, falls.views)
        return chain_visits(model, np.where(dark, 0.0, views), factor)

    views, cells = visits_from(begins)
    unseen = float(dark[rows.view[rows.first]].sum())
    missed = float(views @ (1 - model.seen) + factor * (cells @ model.lost)) + unseen
    visits = float(views.sum()) + unseen
    return Fitted(
        values,
        ratio=share * cells[rows.cell],
        ratio_from=lambda start: share * visits_from(start)[1][rows.cell],
        # a row pulls its cell's mean towards itself: without it, its error is 1 / (1 - share) as large
        left_out=1.0 / (1.0 - np.minimum(share, 0.5)),
        missing=missed / visits if visits else 1.0,
        visits=visits / len(rows.first),
    )


def said_of(rows: Rows, model: Chain, views: Floats, cells: Floats) -> Values:
    """What the model says of each row; of what it has never seen, the mean of what it has."""
    dark = blind(model)
    clear = ~dark[rows.view]
    usual = float(views[rows.view[clear]].mean()) if clear.any() else 0.0
    known = np.where(dark, usual, views)
    value = known[rows.view]
    chosen = np.where(model.weight[rows.cell] > 0, cells[rows.cell], value)
    return Values(chosen, value, np.where(rows.following >= 0, known[rows.following], 0.0))


# ---------------------------------------------------------------------------------------------------- logs as numbers


class States(NamedTuple):
    """Observations as numbers: the states of the rows, then those that cut sessions would have gone on from."""

    state: Integers  # [T + cuts]
    number: int
    cut: Integers  # rows of the batch that were cut, in order


def states(batch: Batch) -> States | None:
    """None where observations are no codes."""
    if not np.issubdtype(batch.observation.dtype, np.integer):
        return None
    cut = cut_rows(batch)
    seen = np.concatenate([batch.observation, batch.next_observation[cut]]).reshape(len(batch) + len(cut), -1)
    number, count = numbered(list(seen.T))
    return States(number, count, cut)


def cut_rows(batch: Batch) -> Integers:
    """Rows after which a session went on unseen."""
    return np.flatnonzero((batch.discount > 0) & ~batch.has_next)


def numbered(columns: list[Array]) -> tuple[Integers, int]:
    """A number for each different row of these columns: `[T]`, and how many there are."""
    number, count = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        low = int(column.min(initial=0))
        size = int(column.max(initial=0)) - low + 1
        number, count = number * size + (column - low), count * size
        if count > 4 * len(number):
            found, number = np.unique(number, return_inverse=True)
            count = len(found)
    return number, count


def following_views(view: Integers, batch: Batch, cut: Integers) -> Integers:
    """The view after each row `[T]`: the next row's, the one beyond a cut, or -1 at an end."""
    following = np.append(view[1 : len(batch)], -1)
    following[~batch.has_next] = -1
    following[cut] = view[len(batch) :]
    return following


def tabled(policy: Policy, batch: Batch) -> tuple[Rows, Falls] | None:
    """The log as a chain of states and actions; None where they are too many for their rows."""
    found = states(batch)
    if found is None:
        return None
    actions = batch.allowed.shape[1]
    if found.number * actions > LARGEST:
        return None
    of_cell = np.full((found.number, actions), -1)
    of_cell[found.state[: len(batch)], batch.action] = 0
    cells = int((of_cell == 0).sum())
    if cells * ROWS_EACH > len(batch):
        return None
    of_cell[of_cell == 0] = np.arange(cells)
    observation = np.concatenate([batch.observation, batch.next_observation[found.cut]])
    allowed = np.concatenate([batch.allowed, batch.next_allowed[found.cut]])
    mask, masks = numbered(_packed(allowed))
    view, row = _views(found.state * masks + mask)
    target = policy.distribution(observation[row], allowed[row])
    which, action = np.nonzero(target > 0)
    cell = of_cell[found.state[row][which], action]
    tried = cell >= 0
    falls = Falls(which[tried], cell[tried], target[which, action][tried], len(row), cells)
    where = np.flatnonzero(np.append(True, batch.session[1:] != batch.session[:-1]))
    following = following_views(view, batch, found.cut)
    own = of_cell[found.state[: len(batch)], batch.action]
    return Rows(view[: len(batch)], own, following, batch.reward, where), falls


def _packed(allowed: Booleans) -> list[Array]:
    """Masks as few columns of numbers."""
    if allowed.all():
        return [np.zeros(len(allowed), np.int64)]
    return list(np.packbits(allowed, axis=1).astype(np.int64).T)


def _views(key: Integers) -> tuple[Integers, Integers]:
    """A number for each different key `[T]`, and the first row of each `[U]`."""
    _, row, view = np.unique(key, return_index=True, return_inverse=True)
    return view, row
