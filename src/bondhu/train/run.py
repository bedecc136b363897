"""One training: read a window of the log, learn on from the parent version, store the candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bondhu import learners
from bondhu.errors import StateCorrupt
from bondhu.log.join import JoinReport, join, only, read_window
from bondhu.ports import Deployment, Version
from bondhu.registry.names import new_version_id
from bondhu.train.window import Window, held_out, next_window, parent_id, people
from bondhu.types import Batch, Learner, Metrics, Spec


@dataclass(frozen=True)
class Plan:
    """What to train on and how."""

    learner: str = "tabular.q_learning"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    days_back: float = 7.0
    minimum_interactions: int = 5  # users with fewer decisions in the window are left out
    holdout: float = 0.2  # share of people kept back for judging
    from_scratch: bool = False  # forget what earlier versions learned, and read the whole log


@dataclass(frozen=True)
class Trained:
    """What a training did; `version` is None where there was nothing to learn from."""

    version: Version | None
    window: Window
    report: JoinReport
    metrics: Metrics


def train(deployment: Deployment, plan: Plan, *, now: float, rng: np.random.Generator) -> Trained:
    """Learn from the decisions that settled in the window and add the new version to the registry."""
    domain, registry = deployment.domain, deployment.registry
    learner = learners.build(plan.learner, plan.hyperparameters)
    parent = None if plan.from_scratch else compatible_parent(deployment, plan.learner)
    window = Window(-np.inf, now) if plan.from_scratch else next_window(parent, now, plan.days_back)
    batch, report = training_batch(deployment, learner, plan, window)
    if not len(batch):
        return Trained(None, window, report, {})
    state = _starting_state(learner, parent, deployment, rng)
    state, metrics = learner.update(state, batch, rng)
    version = Version(
        id=new_version_id(now, rng),
        domain=domain.name,
        learner=plan.learner,
        hyperparameters=learners.plain(learner),
        state=learners.pack(state),
        description=domain.describe(),
        created=now,
        parent=parent.id if parent else None,
        notes={
            "window_start": max(window.start, 0.0),
            "window_end": window.end,
            "holdout": min(plan.holdout, parent.notes["holdout"])
            if parent
            else plan.holdout,  # of nobody it learned from
            "interactions": len(batch) + (int(parent.notes["interactions"]) if parent else 0),
            **metrics,
        },
    )
    registry.add(version, reason=f"trained on {len(batch)} decisions of {report.users} users")
    return Trained(version, window, report, metrics)


def training_batch(
    deployment: Deployment, learner: Learner[Any], plan: Plan, window: Window
) -> tuple[Batch, JoinReport]:
    """The window's settled decisions of people who are not held out and who have enough of them."""
    records = read_window(deployment.domain, deployment.log, window.start, window.end)
    kept = only(records, ~held_out(people(records), plan.holdout))
    joined = join(
        deployment.domain,
        kept,
        start=window.start,
        end=window.end,
        observes=learner.observes,
        minimum_interactions=plan.minimum_interactions,
    )
    return joined.batch, joined.report


def compatible_parent(deployment: Deployment, learner: str) -> Version | None:
    """The version to learn on from, if it is of the same learner, fields and actions."""
    name = parent_id(deployment.registry.events(deployment.domain.name))
    if name is None:
        return None
    try:
        parent = deployment.registry.load(name)
    except StateCorrupt as error:
        raise type(error)(error.what, fix="Start over without it: `bondhu train --from-scratch`.") from error
    now = deployment.domain.describe()
    same = all(parent.description[part] == now[part] for part in ("fields", "actions"))
    return parent if same and parent.learner == learner else None


def _starting_state(
    learner: Learner[Any], parent: Version | None, deployment: Deployment, rng: np.random.Generator
) -> Any:
    from gymnasium.spaces import Discrete

    spec = Spec(deployment.domain.encoder(learner.observes).space, Discrete(len(deployment.domain.actions)))
    fresh = learner.init(spec, rng)
    return learners.unpack(learner, parent.state) if parent else fresh
