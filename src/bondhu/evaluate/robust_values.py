"""Models of the return chosen for the estimate they serve: those that leave a doubly robust estimate least variance."""

from __future__ import annotations

import numpy as np

from bondhu.equations import regression
from bondhu.equations.chains import Falls, Rows
from bondhu.equations.trajectories import corrected_returns, temporal_errors
from bondhu.evaluate.action_values import cross_fitted, tabled
from bondhu.evaluate.fitted import Values
from bondhu.evaluate.linear_values import Design, of_actions, said
from bondhu.evaluate.trajectories import Trajectories
from bondhu.types import Batch, Floats, Policy

PSEUDO = 20.0  # effective rows in which the fitted model was right, for each state and action


def steadied(policy: Policy, batch: Batch, factor: float, found: Trajectories) -> Values:
    """Fitted Q values moved by `Δ(x, a) = argmin Σ_t κ_t (E_t - Δ)²`, from the other folds' sessions.

    E is by how much the corrected return exceeds the fitted value, and `κ_t = γ^2k ρ_t² (1 - μ_t)`: Farajtabar, Chow &
    Ghavamzadeh (2018), exact where the policy draws nothing; else without the products of different actions' errors.
    """
    start = cross_fitted(policy, batch, factor)
    errors = temporal_errors(batch.reward, start.following, start.chosen, factor)
    excess = corrected_returns(errors, found.weights, found.where, factor)
    matters = (factor**found.where.step * found.cumulative) ** 2 * (1 - batch.probability)
    typical = float(matters.mean())
    if typical == 0:
        return start
    kappa = matters / typical
    table = tabled(policy, batch)
    moved = _of_cells(*table, batch, kappa, excess) if table else _of_features(policy, batch, kappa, excess)
    return Values(*(old + new for old, new in zip(start, moved, strict=True)))


def _of_cells(rows: Rows, falls: Falls, batch: Batch, kappa: Floats, excess: Floats) -> Values:
    fold = regression.folds(batch.session)
    moved = Values(*(np.empty(len(batch)) for _ in Values._fields))
    for each in range(regression.FOLDS):
        inside = fold == each
        weight = np.where(inside, 0.0, kappa)
        total, squares = (np.bincount(rows.cell, each, falls.cells) for each in (weight, weight**2))
        effective = np.divide(total**2, squares, out=np.zeros(falls.cells), where=squares > 0)
        mean = np.bincount(rows.cell, weight * excess, falls.cells) / np.where(total > 0, total, 1.0)
        cells = mean * effective / (effective + PSEUDO)
        views = np.bincount(falls.view, falls.chance * cells[falls.cell], falls.views)
        following = np.where(rows.following >= 0, views[rows.following], 0.0)
        for part, new in zip(moved, (cells[rows.cell], views[rows.view], following), strict=True):
            part[inside] = new[inside]
    return moved


def _of_features(policy: Policy, batch: Batch, kappa: Floats, excess: Floats) -> Values:
    log: Design = of_actions(policy, batch)
    actions, fold = log.target.shape[1], regression.folds(batch.session)
    root = np.sqrt(kappa)
    design = root[:, None] * log.features[: len(batch)]
    parts = regression.by_fold(design, batch.action, root * excess, fold, actions)
    moved = Values(*(np.empty(len(batch)) for _ in Values._fields))
    for each in range(regression.FOLDS):
        rows = np.flatnonzero(fold == each)
        coefficients = regression.solve(regression.total(parts, each), PSEUDO)
        for part, new in zip(moved, said(log, batch, coefficients.ravel(), rows), strict=True):
            part[rows] = new
    return moved
