"""What the release under way says at this look and said before, and how long until it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from bondhu import experimenting
from bondhu.app import App
from bondhu.errors import BondhuError
from bondhu.experiments.effects import Effect, Looks, Metric, effects_of
from bondhu.experiments.planner import Forecast
from bondhu.experiments.ratio import RatioCheck, ratio_check
from bondhu.log.join import only, settlement
from bondhu.ports import Event
from bondhu.registry.lifecycle import Step
from bondhu.release.exposed import About, exposed
from bondhu.release.facts import BEFORE, DAY, HOUR
from bondhu.release.loop import next_move
from bondhu.release.rules import Bounds, Move, ReleaseRules
from bondhu.types import Records

SPACINGS = tuple(HOUR * hours for hours in (1, 2, 4, 8, 24, 48, 96, 192, 384))  # seconds between two past looks
MOST = 14  # past looks
INTERVAL = "lower end of the difference"  # what a step asks for, beside time and decisions


class Point(NamedTuple):
    """What was known at one look of how the reward of a decision differs from the live version's."""

    time: float  # seconds
    difference: Bounds


class Running(NamedTuple):
    """One release under way."""

    step: Step
    move: Move  # what is to be done with it, not recorded
    path: tuple[Point, ...]  # oldest first; the last one is this look. None of a shadow
    effect: Effect | None  # on the reward; None of a shadow, and where nobody can be compared
    ratio: RatioCheck | None
    forecast: Forecast | None
    unforeseen: str  # why there is no forecast


def running(app: App, step: Step, before: Running | None = None) -> Running:
    """The release as the rules see it now; nothing is recorded. `before`: an earlier look, whose past is not computed
    again."""
    now, deployment = app.now(), app.deployment
    move = next_move(deployment, app.acting, step, app.release_rules, now)
    if not step.share or "reward" not in move.figures:
        return Running(step, move, (), None, None, None, "")
    records = deployment.log.read(app.domain.name, step.began, np.nextafter(now, np.inf))
    earlier = deployment.log.read(app.domain.name, step.began - BEFORE * DAY, step.began)
    about = About(began=step.began)
    exposures = exposed(deployment, records, about, now, earlier)[1]
    looks = Looks(confidence=app.release_rules.confidence)
    effect = effects_of(exposures, [Metric("reward")], looks)[0] if exposures is not None else None
    ratio = ratio_check(exposures) if exposures is not None else None
    known = {each.time: each for each in before.path[:-1]} if before and before.step.began == step.began else {}
    past = [
        known.get(at) or Point(at, _difference(app, only(records, records.time < at), earlier, at, step.began))
        for at in moments(step.began, now)
    ]
    difference = Bounds(**move.figures["reward"])
    forecast, why = _forecast(app, difference)
    return Running(step, move, (*past, Point(now, difference)), effect, ratio, forecast, why)


def moments(began: float, now: float) -> list[float]:
    """Past looks, evenly spaced and the same ones while time goes on: seconds, all of them before `now`."""
    length = now - began
    spacing = next((each for each in SPACINGS if length <= each * (MOST + 1)), SPACINGS[-1] * 2)
    return [began + spacing * number for number in range(1, int(length / spacing) + 1) if spacing * number < length]


def _difference(app: App, records: Records, earlier: Records, moment: float, began: float) -> Bounds:
    """As a look at that moment would have seen it."""
    exposures = exposed(app.deployment, records, About(began=began), moment, earlier)[1]
    if exposures is None:
        return Bounds(np.nan, -inf, inf)
    found = effects_of(exposures, [Metric("reward")], Looks(confidence=app.release_rules.confidence))[0]
    return Bounds(np.nan, -inf, inf) if found.refused else Bounds(found.value, found.always_low, found.always_high)


def _forecast(app: App, difference: Bounds) -> tuple[Forecast | None, str]:
    """When the interval will say enough for a move, if the difference stays what it is: that a larger loss than is
    tolerated is ruled out, or that it surely loses, whichever is further away from what was seen."""
    if not isfinite(difference.high - difference.low):
        return None, "There is no difference yet that could be foreseen from: too few people were seen on either side."
    away = max(difference.value + app.release_rules.maximum_loss, -difference.value)
    try:
        return experimenting.planned(app, away)[0], ""
    except BondhuError as error:
        return None, str(error)


class Missing(NamedTuple):
    """One thing that a step still asks for."""

    about: str
    found: str
    wanted: str
    met: bool
    hours: float  # until it is there, at the pace so far; 0 where it is, infinite where nobody can say


def missing(found: Running, rules: ReleaseRules, wait: float) -> tuple[Missing, ...]:
    """What the present step asks for beside what there is; `wait`: seconds until a decision is settled."""
    figures = found.move.figures
    if "decisions" not in figures:
        return ()
    counted = "settled decisions at this step" if found.step.share else "decisions made again"
    decisions, hours = int(figures["decisions"]), float(figures["hours"])
    made = int(figures.get("made", decisions))
    told = [
        Missing(
            counted,
            f"{decisions:,}",
            f"at least {rules.minimum_decisions:,.0f}",
            decisions >= rules.minimum_decisions,
            _until(decisions, made, hours, wait / HOUR if found.step.share else 0.0, rules),
        ),
        Missing(
            "hours at this step",
            f"{hours:,.1f}",
            f"at least {rules.minimum_hours:g}",
            hours >= rules.minimum_hours,
            max(rules.minimum_hours - hours, 0.0),
        ),
    ]
    return (*told, _of_interval(found, rules)) if found.step.share else tuple(told)


def _until(decisions: int, made: int, hours: float, wait: float, rules: ReleaseRules) -> float:
    """Hours until as many are settled as are needed: they are made at a steady pace, and settle after the wait."""
    if decisions >= rules.minimum_decisions:
        return 0.0
    pace = made / hours if hours > 0 else 0.0
    return max(rules.minimum_decisions / pace + wait - hours, 0.0) if pace else inf


def _of_interval(found: Running, rules: ReleaseRules) -> Missing:
    low = float(found.move.figures["reward"]["low"])
    met = low >= -rules.maximum_loss
    hours = inf
    if found.forecast is not None:
        hours = max(24 * found.forecast.median_days - 24 * float(found.move.figures["days"]), 0.0)
    return Missing(
        INTERVAL,
        f"{low:+.4g}" if isfinite(low) else "nothing yet",
        f"at least {0.0 - rules.maximum_loss:g}",
        met,
        0.0 if met else hours,
    )


def looks_of(events: Sequence[Event], step: Step) -> tuple[Point, ...]:
    """What was seen at those looks that moved this release, as the history keeps them; oldest first."""
    found = []
    for each in events:
        reward = each.figures.get("reward")
        if each.version == step.version and each.time >= step.began and isinstance(reward, Mapping):
            found.append(Point(each.time, Bounds(*(float(reward[name]) for name in Bounds._fields))))
    return tuple(found)


def wait_of(app: App) -> float:
    """Seconds until a decision is settled."""
    return settlement(app.domain)
