"""What an estimate is made of: the parts of a vector reward, groups of people, and what uncertain weights add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import hypot
from typing import NamedTuple

import numpy as np

from bondhu.equations.intervals import skewness_corrected, t_quantile
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.types import Batch, Estimate, Estimator, Integers, Names, Policy

FEWEST = 30  # rows of a group below which nothing is said of it


class Seen(NamedTuple):
    """A policy, and logged decisions as it observes them."""

    policy: Policy
    batch: Batch


def of_objectives(estimator: Estimator, seen: Seen) -> dict[str, Estimate]:
    """The value of a policy in each part of the vector reward."""
    parts = seen.batch.objectives.items()
    return {name: estimator(seen.policy, replace(seen.batch, reward=part)) for name, part in parts}


def by_group(
    advantage: Estimate, fields: Mapping[str, Names], confidence: float, session: Integers | None = None
) -> dict[str, Estimate]:
    """The advantage within each group of rows, "field = value", by each of the fields.

    The intervals hold for all groups of all fields at once (Bonferroni). Groups of fewer than 30 rows are left out. The
    mean of a field's groups, weighted by their rows, is the advantage of all.
    """
    if advantage.refused:
        return {}
    rows = {
        f"{field} = {name}": np.flatnonzero(group.codes == code)
        for field, group in fields.items()
        for code, name in enumerate(group.values)
    }
    rows = {name: of_group for name, of_group in rows.items() if len(of_group) >= FEWEST}
    each = 1 - (1 - confidence) / max(len(rows), 1)
    found = {}
    for name, of_group in rows.items():
        terms = advantage.terms[of_group]
        low, high = skewness_corrected(terms, each, None if session is None else session[of_group])
        found[name] = Estimate(float(terms.mean()), low, high, float(len(terms)), terms)
    return found


def groups_of(batch: Batch, name: str) -> Names:
    """Which value, or range of a number, each row has in a field of the context: `[T]`."""
    if name not in batch.context:
        raise UnknownName(f"No field {name!r}.", field="groups", value=name, fix=nearest(name, batch.context))
    column = batch.context[name]
    if column.dtype == object:
        return Names.of(column.tolist())
    if column.ndim > 1:
        raise InvalidInput(f"Field {name!r} is a vector.", field="groups", value=name, fix="Group by another field.")
    codes = batch.observation[:, list(batch.context).index(name)]
    values, number = np.unique(codes, return_inverse=True)
    ends = [(column[codes == code].min(), column[codes == code].max()) for code in values]
    return Names(number.ravel(), [f"{low!s} to {high!s}" for low, high in ends])


def weight_error(estimator: Estimator, pair: tuple[Seen, Seen], errors: Mapping[str, float]) -> float:
    """Standard deviation of the first's advantage through weights of signals that are uncertain.

    √Σ (error_s · advantage_s)², where advantage_s is the advantage in the values of signal s, a part of the vector
    reward. A signal in which the log does not support the question is left out.
    """
    total = 0.0
    for name, error in errors.items():
        ours, theirs = (estimator(policy, replace(seen, reward=seen.objectives[name])) for policy, seen in pair)
        if not (ours.refused or theirs.refused):
            total = hypot(total, error * (ours.value - theirs.value))
    return total


def widened(estimate: Estimate, error: float, confidence: float, groups: int) -> Estimate:
    """The interval with an independent error of this standard deviation added to the mean's own."""
    if estimate.refused or error == 0:
        return estimate
    half = hypot(estimate.high - estimate.value, t_quantile((1 + confidence) / 2, max(groups - 1, 1)) * error)
    return replace(estimate, low=estimate.value - half, high=estimate.value + half)
