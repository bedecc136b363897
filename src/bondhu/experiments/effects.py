"""What a treatment changes in a metric: by how much, how surely, and in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import NamedTuple

import numpy as np

from bondhu.equations import effects
from bondhu.equations.effects import Contrast
from bondhu.equations.intervals import Interval, t_quantile
from bondhu.equations.sequences import always_valid_p, radius
from bondhu.equations.tails import normal_of_t, student_tail, t_of_normal
from bondhu.experiments.exposures import Exposures, steps_of
from bondhu.types import Booleans, Floats, Integers

# Equally active users on either side before a confidence sequence says anything: it is asymptotic. What makes it hold
# so early is the larger of two standard errors (`Measured.inflation`): with that of the users alone, 31 % of A/A trials
# with a tenth of the users treated and clicks of 2 % raised a false alarm under continuous looks
# (benchmarks.sequential). Users are not simply counted: where one takes half of all decisions, what that one earns is
# taken for an effect, at whichever look.
MINIMUM_USERS = 20
LEAST = 0.05  # of the plain standard error; below, an adjustment has explained chance away


@dataclass(frozen=True)
class Metric:
    """What is measured: the mean of a column over decisions, over users, or a ratio of two columns."""

    name: str
    per: str = "decision"  # "decision", "user" (of each user's total), or the metric it is divided by
    higher_is_better: bool = True
    adjusted: bool = True  # by what was known of the users before, where that is given (CUPED)

    @property
    def label(self) -> str:
        """What it is called in a sentence."""
        return self.name if self.per == "decision" else f"{self.name} per {self.per}"


@dataclass(frozen=True)
class Looks:
    """How the data are looked at."""

    confidence: float = 0.95  # of every interval
    tuned: float = 1000.0  # effective decisions at which the always-valid interval is narrowest
    minimum_users: int = (
        MINIMUM_USERS  # on either side, equally active; with fewer the always-valid interval is infinite
    )


class Side(NamedTuple):
    """How much was seen of one of the two variants."""

    users: int
    decisions: int
    mean: float  # of the metric, over the steps that can be compared
    worth: float = 0.0  # equally active users that would tell as much, over the same steps
    compared: tuple[int, int] = (0, 0)  # users and decisions of those steps: what the mean rests on


class Measured(NamedTuple):
    """What intervals of any confidence are made of."""

    means: tuple[float, float]  # treated, control
    covariance: Floats  # [2, 2] of these
    degrees: float  # of freedom of the standard error
    inflation: float  # of the standard error for always-valid intervals: one from the design may be larger
    effective: float  # independent decisions, half of them treated, that would know the difference as well
    ready: bool  # whether there are enough users, by what they are worth, to look before the end

    @property
    def value(self) -> float:
        return self.means[0] - self.means[1]

    @property
    def error(self) -> float:
        return float(np.sqrt(self.covariance[0, 0] - 2 * self.covariance[0, 1] + self.covariance[1, 1]))


class Bounds(NamedTuple):
    """Intervals of one confidence: of the difference, and of the lift in parts of the control mean."""

    fixed: Interval
    always: Interval
    lift: Interval
    always_lift: Interval


@dataclass(frozen=True)
class Effect:
    """The difference treated - control in the mean of a metric, with both kinds of interval.

    `low`, `high` and `p` are the fixed-horizon ones: for one look, at a time that was planned before. The `always_`
    ones hold at every look at once: one may look every day, and stop when one likes.
    """

    metric: Metric
    treated: Side
    control: Side
    value: float  # treated - control
    error: float  # standard error, users taken to be independent
    low: float
    high: float
    p: float
    always_low: float
    always_high: float
    always_valid_p: float
    relative: float  # value / |control mean|
    relative_low: float
    relative_high: float
    relative_always_low: float
    relative_always_high: float
    variance_removed: float  # the share of it that was explained by what was known before; 0 where nothing was
    measured: Measured
    looks: Looks
    refused: str | None = None  # why nothing can be said: figures are NaN, and intervals hold everything


class Layout(NamedTuple):
    """Rows put together by user and step: what all metrics share."""

    cell: Integers  # [T] step * U + user
    size: tuple[int, int]  # K, U
    share: Floats  # [K]
    treated: Booleans  # [K, U] at the user's first decision in the step
    first: Integers  # [C] first row of each user in each step
    sides: tuple[Side, Side]  # treated, control; means are not known yet


def effect(exposures: Exposures, metric: Metric | str, looks: Looks | None = None) -> Effect:
    """The effect on one metric."""
    return effects_of(exposures, [Metric(metric) if isinstance(metric, str) else metric], looks)[0]


def effects_of(exposures: Exposures, metrics: Sequence[Metric], looks: Looks | None = None) -> list[Effect]:
    """The effects on several metrics of the same decisions."""
    layout = lay_out(exposures)
    return [_effect(exposures, layout, metric, looks or Looks()) for metric in metrics]


def lay_out(exposures: Exposures) -> Layout:
    """Rows by user and step. A user who was in both variants at one share counts where the first decision was."""
    share, step = steps_of(exposures.share)
    users, unit = np.unique(exposures.unit, return_inverse=True)
    size = (len(share), len(users))
    cell = step * size[1] + unit
    order = np.argsort(exposures.time, kind="stable")
    cells, first = np.unique(cell[order], return_index=True)
    first = order[first]
    treated = np.zeros(size, bool)
    treated.ravel()[cells] = exposures.treated[first]
    one = np.ones(len(cell))
    contrast = effects.ratio_contrast(effects.add_up(cell, size, treated, one, one), share)
    weighed = contrast.weight[step] > 0  # rows of steps in which both sides were seen
    sides = []
    for rows, worth in zip((exposures.treated, ~exposures.treated), contrast.users.tolist(), strict=True):
        behind = rows & weighed
        compared = len(np.unique(unit[behind])), int(behind.sum())
        sides.append(Side(len(np.unique(unit[rows])), int(rows.sum()), nan, worth, compared))
    return Layout(cell, size, share, treated, first, (sides[0], sides[1]))


def bounds(measured: Measured, confidence: float, tuned: float) -> Bounds:
    """The intervals at this confidence; of what was refused they hold everything."""
    if not np.isfinite(measured.degrees):
        return Bounds(*4 * ((-inf, inf),))
    degrees = max(int(measured.degrees), 1)
    fixed, always = t_quantile((1 + confidence) / 2, degrees), inf
    if measured.ready:
        always = float(t_of_normal(radius(measured.effective, confidence, tuned), float(degrees))) * measured.inflation
    value, error = measured.value, measured.error
    return Bounds(
        (value - fixed * error, value + fixed * error),
        (value - always * error, value + always * error),
        effects.lift(measured.means, measured.covariance, fixed),
        effects.lift(measured.means, measured.covariance, always),
    )


def _effect(exposures: Exposures, layout: Layout, metric: Metric, looks: Looks) -> Effect:
    plain = _contrast(exposures, layout, metric)
    error = float(effects.error_of(plain))
    ready = min(side.worth for side in layout.sides) >= looks.minimum_users
    if not error:
        measured = _each_the_same(plain, ready=ready)
        if not measured.error > 0:
            return _refusal(metric, layout, looks, _why(layout, metric, bool(plain.weight.any())))
        return _told(metric, layout, measured, looks, 0.0)
    # with few users what was known before explains all of them, and an error of nothing would be left
    contrast = _adjusted(exposures, layout, metric, plain) if metric.adjusted and ready else plain
    measured = _measured(contrast, layout, ready=ready)
    if not measured.error > LEAST * error:
        contrast, measured = plain, _measured(plain, layout, ready=ready)
    if not measured.error > 0:
        return _refusal(metric, layout, looks, _why(layout, metric, bool(plain.weight.any())))
    removed = 0.0 if contrast is plain else 1 - (measured.error / error) ** 2
    return _told(metric, layout, measured, looks, removed)


def _each_the_same(contrast: Contrast, *, ready: bool) -> Measured:
    """Where nothing varies on either side, the users vary as both sides together do: `spread (1 / u_t + 1 / u_c)`."""
    users = np.maximum(contrast.users, 1e-300)
    covariance = np.diag(contrast.spread / users)
    means = float(contrast.treated), float(contrast.control)
    effective = float(effects.effective_rows(contrast.spread, np.sqrt(np.trace(covariance))))
    return Measured(means, covariance, max(float(users.sum()) - 2, 1.0), 1.0, effective, ready)


def _measured(contrast: Contrast, layout: Layout, *, ready: bool) -> Measured:
    own, design = effects.error_of(contrast), effects.design_error(contrast, layout.share)
    return Measured(
        (float(contrast.treated), float(contrast.control)),
        effects.covariance_of(contrast),
        min(float(contrast.degrees), max(sum(side.worth for side in layout.sides) - 2, 1.0)),
        max(float(design / own), 1.0) if own > 0 else 1.0,
        float(effects.effective_rows(contrast.spread, np.maximum(own, design))),
        ready,
    )


def _told(metric: Metric, layout: Layout, measured: Measured, looks: Looks, removed: float) -> Effect:
    found = bounds(measured, looks.confidence, looks.tuned)
    degrees = float(max(int(measured.degrees), 1))
    statistic = measured.value / measured.error
    careful = float(normal_of_t(statistic / measured.inflation, degrees))
    return Effect(
        metric,
        layout.sides[0]._replace(mean=measured.means[0]),
        layout.sides[1]._replace(mean=measured.means[1]),
        measured.value,
        measured.error,
        *found.fixed,
        student_tail(statistic, degrees),
        *found.always,
        float(always_valid_p(careful, measured.effective, looks.tuned)) if measured.ready else 1.0,
        effects.lift_of(*measured.means),
        *found.lift,
        *found.always_lift,
        removed,
        measured,
        looks,
    )


def _contrast(exposures: Exposures, layout: Layout, metric: Metric) -> Contrast:
    """The metric as a ratio of sums over the rows of users, or over users where it is one of their totals."""
    top = exposures.metric(metric.name)
    if metric.per == "user":
        return _over_users(layout, np.bincount(layout.cell, top, layout.size[0] * layout.size[1]).astype(float))
    bottom = np.ones(len(top)) if metric.per == "decision" else exposures.metric(metric.per)
    return effects.ratio_contrast(effects.add_up(layout.cell, layout.size, layout.treated, top, bottom), layout.share)


def _over_users(layout: Layout, values: Floats, weight: Floats | None = None) -> Contrast:
    """The mean over the users of each step of a value of theirs, `[K * U]`."""
    cell = np.sort(layout.cell[layout.first])
    sums = effects.add_up(cell, layout.size, layout.treated, values[cell], np.ones(len(cell)))
    return effects.ratio_contrast(sums, layout.share, weight)


def _adjusted(exposures: Exposures, layout: Layout, metric: Metric, plain: Contrast) -> Contrast:
    """Adjusted by the users' own means before, and by whether they have one: newcomers may differ from others.

    What is known of users is averaged over users, not over decisions: how many of these there are may be an effect.
    """
    before = exposures.before.get(metric.name)
    if before is None or not np.isfinite(before).any():
        return plain
    cell = layout.cell[layout.first]
    own = before[layout.first]
    known = np.isfinite(own)
    centred = np.where(known, own, 0.0) - known * own[known].mean()
    columns = [centred, known.astype(np.float64)] if not known.all() else [centred]
    covariates = []
    for column in columns:
        values = np.zeros(layout.size[0] * layout.size[1])
        values[cell] = column
        covariates.append(_over_users(layout, values, plain.weight))
    return effects.covariate_adjusted(plain, covariates)


def _why(layout: Layout, metric: Metric, comparable: bool) -> str:
    if comparable:
        return f"The metric {metric.name!r} does not vary: every user has the same. Wait, or choose another metric."
    treated, control = layout.sides
    return (
        f"Nothing can be compared: {treated.users:,} users were treated and {control.users:,} were not, and at no "
        "share were there two of each. Keep the share between 0 and 1 and wait for more users."
    )


def _refusal(metric: Metric, layout: Layout, looks: Looks, reason: str) -> Effect:
    nothing = Measured((nan, nan), np.full((2, 2), nan), nan, nan, 0.0, False)
    everything = (-inf, inf)
    figures = (nan, nan, *everything, nan, *everything, 1.0, nan, *everything, *everything, 0.0)
    return Effect(metric, *layout.sides, *figures, nothing, looks, reason)
