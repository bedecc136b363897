"""From the log to an experiment: the settled decisions of two variants, with what is known of their people."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu.evaluate.parts import groups_of
from bondhu.experiments.exposures import Assigned, Exposures, between
from bondhu.log.join import join, only
from bondhu.log.rewards import values_of
from bondhu.ports import Deployment
from bondhu.registry.share import LIVE, TRIAL
from bondhu.types import Booleans, Floats, Records


@dataclass(frozen=True)
class About:
    """What is asked of a log."""

    treated: str = TRIAL
    control: str = LIVE
    signals: tuple[str, ...] = ()  # metrics beside the reward
    fields: tuple[str, ...] = ()  # of the context, to tell segments by
    began: float = np.inf  # seconds; what was known of people then adjusts what they say later


def exposed(
    deployment: Deployment, records: Records, about: About, now: float, earlier: Records | None = None
) -> tuple[Booleans, Exposures | None]:
    """Which decisions are settled `[T]`, and the settled ones of the two variants; None where one of them has none.

    `earlier`: decisions before the experiment began. Of a trial, each user's mean of those that the live version made
    adjusts what is said of the user later; rewards count as they were known then: what came after may be an effect.
    """
    joined = join(deployment.domain, records, start=-np.inf, end=now, observes=MultiDiscrete)
    settled = np.zeros(len(records.time), bool)
    settled[joined.rows] = True
    if not all((records.variant.among(each) & settled).any() for each in (about.treated, about.control)):
        return settled, None
    order = np.argsort(joined.rows)  # as the records lie
    kept, batch = only(records, settled), joined.batch
    reward = batch.reward[order]
    said = {name: values_of(deployment.domain.reward, kept, name) for name in about.signals}
    log = Assigned(kept.user, kept.session, kept.variant, kept.assigned, kept.time)
    found, rows = between(log, {"reward": reward, **said}, about.treated, about.control)
    segments = {name: groups_of(batch, name).take(order[rows]) for name in about.fields}
    before = {}
    if earlier is not None and {about.treated, about.control} == {TRIAL, LIVE}:
        untreated = only(earlier, earlier.variant.among(LIVE))  # not what an earlier trial had done to people
        before = {"reward": _before(deployment, untreated, kept, min(about.began, now))[rows]}
    return settled, replace(found, segment=segments, before=before)


def _before(deployment: Deployment, earlier: Records, records: Records, began: float) -> Floats:
    """The mean reward of each row's user in decisions settled by then `[T]`; NaN where there are none."""
    joined = join(deployment.domain, earlier, start=-np.inf, end=began, observes=MultiDiscrete)
    user = earlier.user.take(joined.rows)
    count = np.bincount(user.codes, minlength=len(user.values))
    total = np.bincount(user.codes, joined.batch.reward, len(user.values))
    known = {name: total[code] / count[code] for code, name in enumerate(user.values) if name and count[code]}
    return np.array([known.get(name, np.nan) for name in records.user.values], dtype=np.float64)[records.user.codes]
