"""How many users and days a trial needs, before it begins."""

from __future__ import annotations

from collections.abc import Sequence
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
from bondhu.types import Booleans, Floats

DAY = 86_400.0
LIMIT = 730  # days, beyond which nobody waits


@dataclass(frozen=True)
class Traffic:
    """What comes in a day, and how the metric varies."""

    mean: float  # of the metric, by decision
    variance: float  # of a decision
    correlation: float  # of two decisions of one user
    daily_users: float  # who decide at least once on a day
    decisions: float  # of such a user on such a day
    population: float = inf  # users there are, each as likely to come; inf: nobody comes twice


class Step(NamedTuple):
    """A part of a trial with a constant share; it ends when both minima are reached."""

    share: float
    days: int = 1  # at least
    users: float = 0.0  # treated ones, at least


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
    visits = len(np.unique(np.stack([day, exposures.unit]), axis=1)[0])
    daily = visits / days
    return Traffic(
        float(values.mean()),
        float(values.var()),
        correlation_within(values, exposures.unit),
        daily,
        len(values) / visits,
        _population(len(np.unique(exposures.unit)), daily, days),
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
    shares, lengths = _calendar(traffic, ramp)
    rows = _effective(traffic, shares)
    errors = np.sqrt(4 * traffic.variance / rows)
    found = np.array([chance_found(effect, error, looks.confidence) for error in errors.tolist()])
    ready = _ready(traffic, shares, looks)
    stopped = _stopped(traffic, effect, rows, ready, looks)
    fixed, sequential, median = (_first(chance, least) for chance, least in ((found, power), (stopped, power), (stopped, 0.5)))
    return Forecast(
        effect,
        effect / abs(traffic.mean) if traffic.mean else inf,
        fixed,
        *_seen(traffic, fixed),
        sequential,
        *_seen(traffic, sequential),
        median,
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
    shares = _calendar(traffic, ramp)[0][:days]
    rows = _effective(traffic, shares)
    ready = _ready(traffic, shares, looks)
    error = sqrt(4 * traffic.variance / float(rows[-1]))
    fixed = _least(lambda effect: chance_found(effect, error, looks.confidence), power, error)
    sequential = _least(lambda effect: float(_stopped(traffic, effect, rows, ready, looks)[-1]), power, error)
    return fixed, sequential
