"""What the log says of a version in shadow or on trial."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu.equations.corrections import bonferroni
from bondhu.experiments.effects import Effect, Looks, Metric, effects_of
from bondhu.experiments.exposures import Exposures, segments_of
from bondhu.experiments.ratio import ratio_check
from bondhu.log.join import fitting, only
from bondhu.ports import Deployment
from bondhu.registry.lifecycle import Step
from bondhu.registry.share import TRIAL
from bondhu.release.exposed import About, exposed
from bondhu.release.rules import NOTHING, Bounds, ReleaseRules, Shadow, Trial
from bondhu.types import Acting, Batch, Floats, Records

HOUR, DAY = 3600.0, 86_400.0  # seconds
BEFORE = 28.0  # days before a release whose rewards adjust what is said of it
LATEST = 20_000  # decisions that a shadow makes again at most: the latest
SINGLY = 200  # of them that are made one by one, as a live request is, to see how long that takes


def trial_facts(deployment: Deployment, step: Step, rules: ReleaseRules, now: float) -> Trial:
    """The trial so far: all of its steps for what people say, the present one for how much there is of it."""
    records = deployment.log.read(deployment.domain.name, step.began, np.nextafter(now, np.inf))
    given = records.variant.among(TRIAL) & (records.time >= step.since)
    earlier = deployment.log.read(deployment.domain.name, step.began - BEFORE * DAY, step.began)
    about = About(signals=tuple(rules.guardrails), fields=rules.groups, began=step.began)
    settled, exposures = exposed(deployment, records, about, now, earlier)
    looks = Looks(confidence=rules.confidence)
    metrics = [Metric("reward"), *(Metric(name, higher_is_better=False) for name in rules.guardrails)]
    found = effects_of(exposures, metrics, looks) if exposures is not None else []
    split = ratio_check(exposures) if exposures is not None else None
    known = {each.metric.name: _bounds(each) for each in found}
    return Trial(
        decisions=int((given & settled).sum()),
        hours=(now - step.since) / HOUR,
        days=(now - step.began) / DAY,
        made=int(given.sum()),
        failed=int((given & ~records.version.among(step.version)).sum()),
        reward=known.get("reward", NOTHING),
        guardrails={name: known.get(name, NOTHING) for name in rules.guardrails},
        groups=_groups(exposures, rules) if exposures is not None else {},
        mismatch=split.sentence if split and split.mismatch else None,
    )


def _groups(exposures: Exposures, rules: ReleaseRules) -> dict[str, Bounds]:
    """The effect within each group; all that is said of them holds together, at every look."""
    parts = segments_of(exposures, rules.groups)
    looks = Looks(confidence=bonferroni(rules.confidence, max(len(parts), 1)))
    return {name: _bounds(effects_of(part, [Metric("reward")], looks)[0]) for name, part in parts.items()}


def _bounds(found: Effect) -> Bounds:
    return NOTHING if found.refused else Bounds(found.value, found.always_low, found.always_high)


def shadow_facts(
    deployment: Deployment, acting: Acting, step: Step, now: float, timer: Callable[[], float] = perf_counter
) -> Shadow:
    """The version decides again what was decided for everybody since its shadow began, and nobody sees it."""
    records = deployment.log.read(deployment.domain.name, step.since, np.nextafter(now, np.inf))
    latest = np.arange(len(records.time)) >= len(records.time) - LATEST
    batch = _contexts(deployment, only(records, latest))
    failed = 0
    agreement: Floats = np.zeros(0)
    try:
        agreement = _agreement(acting, batch)
    except Exception:  # which of them it cannot make is found out one by one
        failed = sum(not _can(acting, batch.take(np.array([row]))) for row in range(len(batch)))
    broken = int((~((agreement >= 0) & (agreement <= 1 + 1e-9))).sum())
    seconds = [_timed(acting, batch.take(np.array([row])), timer) for row in range(min(len(batch), SINGLY))]
    return Shadow(
        decisions=len(batch) if failed + broken else len(batch) + int((~latest).sum()),
        failed=failed + broken,
        milliseconds=1000 * float(np.quantile(seconds, 0.95)) if seconds else 0.0,
        agreement=float(agreement.mean()) if len(agreement) and not broken else 0.0,
        hours=(now - step.since) / HOUR,
    )


def _contexts(deployment: Deployment, records: Records) -> Batch:
    """The decisions with their contexts as columns, settled or not; what the domain no longer knows is left out."""
    domain = deployment.domain
    position = {name: number for number, name in enumerate(domain.actions)}
    fit = np.flatnonzero(fitting(domain, records.context)).tolist()
    known = [row for row in fit if records.action[row] in position]
    columns = domain.columns([records.context[row] for row in known])
    allowed = np.array(
        [
            [name in records.allowed_sets[number] for name in domain.actions]
            for number in records.allowed[known].tolist()
        ]
    ).reshape(len(known), len(domain.actions))
    action = np.array([position[records.action[row]] for row in known], dtype=np.int64)
    seen = domain.encoder(MultiDiscrete).many(columns)
    batch = Batch.single(seen, allowed, action, records.probability[known], np.zeros(len(known)))
    return Batch(**{**{name: getattr(batch, name) for name in Batch.__dataclass_fields__}, "context": columns})


def _agreement(acting: Acting, batch: Batch) -> Floats:
    """Probability that the version gives to what was done: `[T]`; NaN where what it gives is no distribution."""
    if not len(batch):
        return np.zeros(0)
    chances = acting.policy.distribution(batch.seen_by(acting.encoder).observation, batch.allowed)
    sound = np.isclose(chances.sum(axis=1), 1.0) & (chances >= 0).all(axis=1)
    return np.where(sound, chances[np.arange(len(batch)), batch.action], np.nan)


def _can(acting: Acting, one: Batch) -> bool:
    try:
        return bool(np.isfinite(_agreement(acting, one)).all())
    except Exception:  # whatever it is, people would have had no decision
        return False


def _timed(acting: Acting, one: Batch, timer: Callable[[], float]) -> float:
    started = timer()
    _can(acting, one)
    return timer() - started
