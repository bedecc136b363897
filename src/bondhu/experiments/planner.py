"""How many users and days a trial needs, before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import NamedTuple

import numpy as np

from bondhu.equations.power import (
    chance_found,
    correlation_within,
    design_effect,
    stopped_by,
)
from bondhu.equations.sequences import radius
from bondhu.errors import InvalidInput
from bondhu.experiments.effects import Looks
from bondhu.experiments.exposures import Exposures
from bondhu.types import Floats

DAY = 86_400.0
LIMIT = 730  # days, beyond which nobody waits
PATIENCE = 6  # times the days of the fixed-horizon test after which a sequential one is given up


@dataclass(frozen=True)
class Traffic:
    """What comes in a day, and how the metric varies."""

    mean: float  # of the metric, by decision
    variance: float  # of a decision
    correlation: float  # of two decisions of one user
    daily_users: float  # who decide at least once on a day
    decisions: float  # of such a user on such a day
    population: float = inf  # users there are, each as likely to come; inf: nobody comes twice
    unevenness: float = 1.0  # mean square of the decisions of a user's day over the square of their mean


class Step(NamedTuple):
    """A part of a trial with a constant share; it ends when all minima are reached."""

    share: float
    days: int = 1  # at least
    users: float = 0.0  # treated ones, at least
    decisions: float = 0.0  # treated ones of this step, at least


@dataclass(frozen=True)
class Forecast:
    """When an effect will be found. Days are whole, with one look at the end of each; infinite beyond two years."""

    effect: float  # in units of the metric
    relative: float  # in parts of its mean
    fixed_days: float  # one look, planned for the power asked for
    fixed_users: float
    fixed_decisions: float
    sequential_days: float  # a look every day: the days after which it has stopped with the power asked for
    sequential_users: float
    sequential_decisions: float
    median_days: float  # half of all trials stop earlier
    mean_days: float  # of trials that end with `sequential_days` if they have not stopped before
    step_days: tuple[int, ...]  # how long each step but the last takes by its minima


def traffic_of(exposures: Exposures, metric: str) -> Traffic:
    """What a log says of future days. Both variants together: an effect hardly changes a variance."""
    values = exposures.metric(metric)
    if not len(values):
        raise InvalidInput("There are no decisions to learn the traffic from.", fix="Wait for some, or declare it.")
    day = ((exposures.time - exposures.time.min()) // DAY).astype(np.int64)
    days = int(day.max()) + 1
    each = np.unique(day * (int(exposures.unit.max()) + 1) + exposures.unit, return_counts=True)[1]
    visits, daily = len(each), len(each) / days
    return Traffic(
        float(values.mean()),
        float(values.var()),
        correlation_within(values, exposures.unit),
        daily,
        len(values) / visits,
        _population(len(np.unique(exposures.unit)), daily, days),
        float((each.astype(np.float64) ** 2).mean()) / float(each.mean()) ** 2,
    )


def forecast(
    traffic: Traffic,
    effect: float,
    ramp: Sequence[Step] = (Step(0.5),),
    power: float = 0.8,
    looks: Looks | None = None,
) -> Forecast:
    """Days, users and decisions until an effect is found with this power, over the steps of a release.

    The last step with a share below 1 goes on until the effect is found: `(Step(0.1, days=3), Step(0.5))` forecasts a
    release of 10, 50 and then 100 %. The effect is the same for all users, and days are alike.
    """
    looks = looks or Looks()
    shares, lengths = _calendar(traffic, ramp, LIMIT)
    errors = np.sqrt(4 * traffic.variance / _effective(traffic, shares))
    fixed = _first(np.array([chance_found(effect, error, looks.confidence) for error in errors.tolist()]), power)
    wait = int(min(PATIENCE * fixed + 20, LIMIT)) if fixed < inf else 1
    stopped = _stopped(traffic, effect, shares[:wait], looks)
    sequential = _first(stopped, power)
    return Forecast(
        effect,
        effect / abs(traffic.mean) if traffic.mean else inf,
        fixed,
        *_seen(traffic, fixed),
        sequential,
        *_seen(traffic, sequential),
        _first(stopped, 0.5),
        float(1 + (1 - stopped[: int(sequential) - 1]).sum()) if sequential < inf else inf,
        lengths,
    )


def detectable(
    traffic: Traffic,
    days: int,
    ramp: Sequence[Step] = (Step(0.5),),
    power: float = 0.8,
    looks: Looks | None = None,
) -> tuple[float, float]:
    """The smallest effect that so many days find with this power: at one look at their end, and looking every day."""
    looks = looks or Looks()
    shares = _calendar(traffic, ramp, days)[0]
    error = sqrt(4 * traffic.variance / float(_effective(traffic, shares)[-1]))
    fixed = _least(lambda effect: chance_found(effect, error, looks.confidence), power, error)
    sequential = _least(lambda effect: float(_stopped(traffic, effect, shares, looks)[-1]), power, error)
    return fixed, sequential


def distinct(traffic: Traffic, days: Floats) -> Floats:
    """Users who have come at least once in so many days: `N (1 - (1 - a / N)^days)`."""
    if traffic.population == inf:
        return traffic.daily_users * days
    return np.asarray(
        -traffic.population * np.expm1(days * np.log1p(-min(traffic.daily_users / traffic.population, 1 - 1e-12)))
    )


def _calendar(traffic: Traffic, ramp: Sequence[Step], days: int) -> tuple[Floats, tuple[int, ...]]:
    """The share on each day, and how many days each step but the last takes."""
    compared = [step for step in ramp if 0 < step.share < 1]
    if not compared:
        raise InvalidInput("No step of the ramp has a share between 0 and 1.", field="ramp", fix="Add Step(0.5).")
    came = distinct(traffic, np.arange(1.0, days + 1))
    shares, lengths = np.empty(0), []
    for step in compared[:-1]:
        enough = int(np.searchsorted(came * step.share, step.users)) + 1
        many = ceil(step.decisions / (traffic.daily_users * traffic.decisions * step.share))
        lengths.append(max(step.days, enough - len(shares), many))
        shares = np.append(shares, np.full(min(lengths[-1], days), step.share))
    rest = np.full(max(days - len(shares), 0), compared[-1].share)
    return np.append(shares, rest)[:days], tuple(lengths)


def _effective(traffic: Traffic, shares: Floats) -> Floats:
    """Independent decisions at an even split that would know as much after each day: `[D]`."""
    size = _size(traffic, len(shares))
    told = np.cumsum(traffic.daily_users * traffic.decisions * 4 * shares * (1 - shares))
    return np.asarray(told / design_effect(size, traffic.correlation))


def _size(traffic: Traffic, days: int) -> Floats:
    """How many decisions the user of a random one has taken after each day, `sum m^2 / sum m`: `[D]`.

    Who decides today comes on each other day with the chance a / N: `decisions (unevenness + (days - 1) a / N)`.
    """
    before = np.arange(days)
    return np.asarray(traffic.decisions * (traffic.unevenness + before * traffic.daily_users / traffic.population))


def _stopped(traffic: Traffic, effect: float, shares: Floats, looks: Looks) -> Floats:
    """Chance that the always-valid test has stopped by the end of each day: `[D]`."""
    rows = _effective(traffic, shares)
    decided = np.cumsum(traffic.daily_users * traffic.decisions * np.minimum(shares, 1 - shares))
    users = decided / _size(traffic, len(shares))  # as many as equally active ones would be
    reach = np.where(users >= looks.minimum_users, radius(rows, looks.confidence, looks.tuned), inf)
    return stopped_by(rows, reach, effect / (2 * sqrt(traffic.variance)))


def _first(chance: Floats, least: float) -> float:
    """The first day on which the chance is large enough; infinite where there is none."""
    days = np.flatnonzero(chance >= least)
    return float(days[0] + 1) if len(days) else inf


def _seen(traffic: Traffic, days: float) -> tuple[float, float]:
    """Users and decisions in so many days."""
    if days == inf:
        return inf, inf
    return float(distinct(traffic, np.array(days))), days * traffic.daily_users * traffic.decisions


def _least(chance: Callable[[float], float], least: float, unit: float) -> float:
    """The smallest effect whose chance is large enough, by halving; in steps of `unit` until there is one."""
    high = unit
    while chance(high) < least:
        high *= 2
        if high > 1e6 * unit:
            return inf
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if chance(middle) >= least else (middle, high)
    return high


def _population(users: int, daily: float, days: int) -> float:
    """The population of which `daily` users a day have made so many different ones; what solves `distinct`."""
    if users >= daily * days * 0.999:
        return inf
    low, high = float(users), 1e12
    for _ in range(200):
        middle = sqrt(low * high)
        came = -middle * np.expm1(days * np.log1p(-min(daily / middle, 1 - 1e-12)))
        low, high = (low, middle) if came >= users else (middle, high)
    return high
