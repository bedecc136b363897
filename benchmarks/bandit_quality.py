"""How well the default contextual learner decides, beside Vowpal Wabbit and MABWiser; and the ten-armed testbed.

Tables are played as decisions: the mean number of mistakes over all rows, exploration included, while learning from the
rewards of one's own decisions alone (progressive validation). "Ties" means within two standard errors of the difference
over the same shuffles. Peers have their settings chosen for each table in hindsight; ours has one setting for all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from gymnasium.spaces import Box, Discrete

from benchmarks import testbed
from benchmarks.peers import Best, mabwiser, vowpal_wabbit
from benchmarks.report import Row, main, progress
from benchmarks.tables import Table, tables
from bondhu.learners import build
from bondhu.types import Batch, Floats, Learner, Spec

DEFAULT = "bandit.fourier_ridge"
SMALL = ("iris", "wine", "glass", "ecoli")
ROWS = 1_000  # rows of a table that MABWiser sees, for it takes milliseconds a row


def measure(quick: bool) -> list[Row]:
    chosen = [table for table in tables() if not quick or table.name in SMALL]
    shuffles = 2 if quick else 12
    ours = {table.name: [played(table, shuffle) for shuffle in range(shuffles)] for table in progress(chosen, "ours")}
    rows = [*against_vw(chosen, ours, quick=quick), *against_mabwiser(chosen, ours, quick=quick)]
    return [*rows, *testbed.measure(quick)]


def played(table: Table, shuffle: int, name: str = DEFAULT) -> Floats:
    """Whether each decision was a mistake, `[T]`; one event after the other, through the public verbs."""
    learner: Learner[object] = build(name, {})
    order, rng = table.order(shuffle), np.random.default_rng(shuffle)
    features, label = table.features[order], table.label[order]
    state = learner.init(Spec(Box(-np.inf, np.inf, features.shape[1:]), Discrete(table.actions)), rng)
    allowed, mistaken = np.ones((1, table.actions), np.bool_), np.empty(len(order))
    for t in range(len(order)):
        seen = features[t : t + 1]
        choice = learner.policy(state, explore=True).sample(seen, allowed, rng)
        mistaken[t] = choice.action[0] != label[t]
        event = Batch.single(seen, allowed, choice.action, choice.probability, 1.0 - mistaken[t : t + 1])
        state, _ = learner.update(state, event, rng)
    return mistaken


def against_vw(chosen: Iterable[Table], ours: dict[str, list[Floats]], *, quick: bool) -> list[Row]:
    """A row for each table, and one for all."""
    if not installed("vowpalwabbit"):
        return []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for table in progress(list(chosen), "Vowpal Wabbit"):
            losses = [float(run.mean()) for run in ours[table.name]]
            best = vowpal_wabbit(table, len(losses), Path(folder), quick=quick)
            rows.append(compared(table, losses, best, len(ours[table.name][0]), "VW"))
    return [*rows, together(rows, "VW", 0.7)]


def against_mabwiser(chosen: Iterable[Table], ours: dict[str, list[Floats]], *, quick: bool) -> list[Row]:
    """The same on the first rows of each table."""
    if not installed("mabwiser"):
        return []
    rows = []
    for table in progress(list(chosen), "MABWiser"):
        count = min(60 if quick else ROWS, len(ours[table.name][0]))
        losses = [float(run[:count].mean()) for run in ours[table.name]]
        rows.append(compared(table, losses, mabwiser(table, len(losses), count, quick=quick), count, "MABWiser"))
    return [*rows, together(rows, "MABWiser", 0.9)]


def installed(package: str) -> bool:
    """Whether a peer is there; says so where it is not."""
    there = find_spec(package) is not None
    if not there:
        print(f"{package} is not installed: its rows are left out.")
    return there


def compared(table: Table, ours: list[float], best: Best, rows: int, peer: str) -> Row:
    """Whether our mistakes are no more than the peer's, or within two standard errors of it."""
    difference = np.array(ours) - np.array(best.losses)
    error = float(difference.std(ddof=1)) / len(ours) ** 0.5
    word = "wins" if difference.mean() < -2 * error else "ties" if difference.mean() <= 2 * error else "loses"
    size = f"{table.name} ({rows:,} rows, {table.features.shape[1]} columns, {table.actions} actions)"
    name = f"{size}: {word}, difference {difference.mean():+.4f} ± {2 * error:.4f}"
    holds = word != "loses"
    return Row(name, float(np.mean(ours)), "mistakes", "<= peer", holds, f"{peer} {best.setting}", best.loss)


def together(rows: list[Row], peer: str, goal: float) -> Row:
    share = sum(bool(row.holds) for row in rows) / max(len(rows), 1)
    name = f"share of {len(rows)} tables on which it ties or beats the best of {peer}"
    return Row(name, share, "of tables", f">= {goal}", share >= goal)


if __name__ == "__main__":
    main("bandit_quality", measure)
