"""Experiments on a deployment: what a trial, or all releases together, have brought, and how long a trial takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from gymnasium.spaces import Discrete

from bondhu import learners
from bondhu.app import App
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.evaluate.replay import Replay, Replayed
from bondhu.experiments.analysis import Analysis, Plan, analyse
from bondhu.experiments.effects import Looks, Metric
from bondhu.experiments.exposures import Exposures
from bondhu.experiments.guardrails import Guardrail
from bondhu.experiments.planner import Forecast, Step, Traffic, detectable, forecast, traffic_of
from bondhu.log.join import join
from bondhu.ports import Event
from bondhu.registry.lifecycle import traffic
from bondhu.registry.share import HOLDOUT, LIVE, TRIAL
from bondhu.release.exposed import About, exposed
from bondhu.release.facts import BEFORE
from bondhu.train.window import DAY
from bondhu.types import Spec


@dataclass(frozen=True)
class Question:
    """What is asked of an experiment, beside its reward."""

    treated: str = TRIAL
    control: str = LIVE
    metrics: tuple[str, ...] = ()  # signals, or "one/other" for the ratio of two
    by: tuple[str, ...] = ()  # fields of the context, for segments
    days: float | None = None  # None: since the release under way began; of a trial that is over, the last one


def analysis(app: App, asked: Question) -> Analysis:
    """What the decisions of two variants say; of the release under way, or of the last days."""
    exposures = _exposures(app, asked)
    rules = app.release_rules
    rails = tuple(
        Guardrail(Metric(name, higher_is_better=False), most, relative=False) for name, most in rules.guardrails.items()
    )
    secondary = tuple(Metric(top, per=bottom or "decision") for top, _, bottom in map(_parts, asked.metrics))
    return analyse(
        exposures, Plan(guardrails=rails, secondary=secondary, segments=asked.by, looks=Looks(rules.confidence))
    )


def _parts(metric: str) -> tuple[str, str, str]:
    return metric.partition("/")


def planned(app: App, effect: float, *, power: float = 0.8, days: float = 28.0) -> tuple[Forecast, Traffic]:
    """How long the steps of a release take to find an effect on the reward, from the traffic of the last days."""
    seen, steps = _traffic(app, days), _ramp(app)
    return forecast(seen, effect, steps, power, Looks(app.release_rules.confidence)), seen


def findable(app: App, within: int, *, power: float = 0.8, days: float = 28.0) -> tuple[float, float]:
    """The smallest effect that so many days of a release find: at one look at their end, and looking every day."""
    return detectable(_traffic(app, days), within, _ramp(app), power, Looks(app.release_rules.confidence))


def replayed(app: App, name: str | None = None, *, seed: int = 0) -> Replayed:
    """How a learner, with its own exploration, would have done if it had begun with the log's first decision."""
    plan, domain = app.plan(), app.domain
    chosen = plan.learner if name is None else name
    learner = learners.build(chosen, plan.hyperparameters if chosen == plan.learner else {})
    records = app.deployment.log.read(domain.name, -np.inf, np.inf)
    batch = join(domain, records, start=-np.inf, end=app.now(), observes=learner.observes).batch
    if not len(batch):
        what = "There are no settled decisions to play to it."
        raise InvalidInput(what, field="log", fix="Let people use it first, or `bondhu import` a log.")
    spec = Spec(domain.encoder(learner.observes).space, Discrete(len(domain.actions)), domain.action_features)
    return Replay()(learner, spec, batch, np.random.default_rng(seed))


def _ramp(app: App) -> list[Step]:
    rules = app.release_rules
    days = max(1, ceil(rules.minimum_hours / 24))
    steps = [Step(share, days, decisions=rules.minimum_decisions) for share in rules.steps if share < 1]
    return steps or [Step(0.5)]


def _exposures(app: App, asked: Question) -> Exposures:
    now, name, log = app.now(), app.domain.name, app.deployment.log
    began = _began(app.events(), asked, now)
    records = log.read(name, began, np.nextafter(now, np.inf))
    known, rules = app.domain.reward.signals, app.release_rules
    wanted = {part for each in asked.metrics for part in _parts(each)[::2] if part and part != "reward"}
    for name in wanted - set(known):
        fix = nearest(name, known)
        raise UnknownName(f"There is no signal {name!r}.", field="metric", value=name, fix=fix)
    signals = tuple(sorted(wanted | set(rules.guardrails)))
    about = About(asked.treated, asked.control, signals, asked.by, began)
    earlier = log.read(name, began - BEFORE * DAY, began) if np.isfinite(began) else None
    found = exposed(app.deployment, records, about, now, earlier)[1]
    if found is None:
        missing = [each for each in (asked.treated, asked.control) if not records.variant.among(each).any()] or [
            asked.treated
        ]
        what = f"There is no settled decision of the variant {missing[0]!r}."
        fix = f"Begin a trial with `bondhu release`, or compare {LIVE!r} with {HOLDOUT!r} ([release] holdout)."
        raise InvalidInput(what, field="variant", value=missing[0], fix=fix)
    return found


def _began(events: Sequence[Event], asked: Question, now: float) -> float:
    """When what is asked about began. Of a trial one release is asked about: the next one draws its people anew."""
    step = traffic(events).step
    if TRIAL not in (asked.treated, asked.control):
        return now - asked.days * DAY if asked.days is not None else step.began if step else -np.inf
    tried = [number for number, event in enumerate(events) if event.kind == "tried"]
    last = step or (traffic(events[: tried[-1] + 1]).step if tried else None)
    if asked.days is None or last is None:
        return last.began if last else -np.inf
    began = now - asked.days * DAY
    running = traffic([event for event in events if event.time <= began]).step
    versions = [running.version] if running and running.share else []
    versions += [events[number].version for number in tried if events[number].time > began]
    if len(set(versions)) > 1:
        what = f"The last {asked.days:g} days hold more than one release ({', '.join(dict.fromkeys(versions))})."
        since = (now - last.began) / DAY
        fix = f"Leave out the days, or ask for at most {since:.3g}: then {last.version} alone is asked about."
        raise InvalidInput(what, field="days", value=asked.days, fix=fix)
    return began


def _traffic(app: App, days: float) -> Traffic:
    now = app.now()
    records = app.deployment.log.read(app.domain.name, now - days * DAY, np.nextafter(now, np.inf))
    kept = exposed(app.deployment, records, About(LIVE, LIVE), now)[1]
    if kept is None:
        fix = "Let people use it for some days first."
        raise InvalidInput(f"There are no settled decisions in the last {days:g} days.", field="days", fix=fix)
    return traffic_of(kept, "reward")
