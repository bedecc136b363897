"""One training: read a window of the log, learn on from the parent version, store the candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from bondhu import learners
from bondhu.errors import StateCorrupt
from bondhu.log.join import JoinReport, join, only, read_window
from bondhu.ports import Deployment, Domain, Version
from bondhu.registry.names import new_version_id
from bondhu.train.imitate import imitation, of_application
from bondhu.train.window import Window, held_out, next_window, parent_ids, people
from bondhu.types import Array, Learner, Metrics, Spec


@dataclass(frozen=True)
class Plan:
    """What to train on and how."""

    learner: str = "tabular.q_learning"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    days_back: float = 7.0
    minimum_interactions: int = 5  # users with fewer decisions in the window are left out
    holdout: float = 0.2  # share of people kept back for judging
    explore: bool = False  # whether the version acts with the learner's own exploration
    from_scratch: bool = False  # forget what earlier versions learned, and read the whole log
    imitate: bool = False  # learn what the application would have done by itself, in place of what was rewarded


@dataclass(frozen=True)
class Trained:
    """What a training did; `version` is None where there was nothing to learn from."""

    version: Version | None
    window: Window
    report: JoinReport
    metrics: Metrics


@dataclass(frozen=True)
class Learned:
    """What came of one batch."""

    parent: Version | None  # what it went on from
    state: Any  # as it was before, where there was nothing to learn from
    rows: int
    read: int  # decisions of people not held out that the training looked at, settled or not
    report: JoinReport
    metrics: Metrics


def train(deployment: Deployment, plan: Plan, *, now: float, rng: np.random.Generator) -> Trained:
    """Learn from the decisions that settled in the window and add the new version to the registry."""
    domain = deployment.domain
    learner, seed = learners.build(plan.learner, plan.hyperparameters), seed_of(rng)
    parent = None if plan.from_scratch or plan.imitate else compatible_parent(deployment, plan.learner)
    parent, state = starting_state(learner, parent, domain, rng)
    window = window_of(plan, parent, now)
    learned = learn(deployment, learner, plan, window, (parent, state), rng)
    if not learned.rows:
        return Trained(None, window, learned.report, {})
    version = Version(
        id=new_version_id(now, rng),
        domain=domain.name,
        learner=plan.learner,
        hyperparameters=learners.plain(learner),
        state=learners.pack(learned.state),
        description=domain.describe(),
        created=now,
        parent=parent.id if parent else None,
        notes={**notes_of(learned, plan, window), "training": recipe(plan, learned.read, seed)},
    )
    deployment.registry.add(version, reason=f"trained on {learned.rows} decisions of {learned.report.users} users")
    return Trained(version, window, learned.report, learned.metrics)


def window_of(plan: Plan, parent: Version | None, now: float) -> Window:
    """What a training at this time reads."""
    return Window(-np.inf, now) if plan.from_scratch else next_window(parent, now, plan.days_back)


def learn(
    deployment: Deployment,
    learner: Learner[Any],
    plan: Plan,
    window: Window,
    start: tuple[Version | None, Any],
    rng: np.random.Generator,
) -> Learned:
    """Learn on from a state, that of a parent or of `init`, with what the window holds; nothing is stored."""
    parent, state = start
    records = read_window(deployment.domain, deployment.log, window.start, window.end)
    kept = only(records, ~held_out(people(records), plan.holdout))
    kept = only(kept, of_application(kept)) if plan.imitate else kept
    joined = join(
        deployment.domain,
        kept,
        start=window.start,
        end=window.end,
        observes=learner.observes,
        minimum_interactions=plan.minimum_interactions,
    )
    batch, report = joined.batch, joined.report
    if not len(batch):
        return Learned(parent, state, 0, len(kept.id), report, {})
    state, metrics = learner.update(state, imitation(batch, rng) if plan.imitate else batch, rng)
    learner.policy(state, explore=plan.explore).distribution(batch.observation[:1], batch.allowed[:1])  # it can act
    return Learned(parent, state, len(batch), len(kept.id), report, metrics)


def notes_of(learned: Learned, plan: Plan, window: Window) -> dict[str, Any]:
    """What a version says of its training, and of those before it."""
    parent = learned.parent
    kept_back = min(plan.holdout, parent.notes["holdout"]) if parent else plan.holdout  # of nobody it learned from
    return {
        "window_start": max(window.start, 0.0),
        "window_end": window.end,
        "explore": plan.explore,
        "imitates": plan.imitate,
        "holdout": kept_back,
        "interactions": learned.rows + (int(parent.notes["interactions"]) if parent else 0),
        **learned.metrics,
    }


def recipe(plan: Plan, read: int, seed: Any) -> dict[str, Any]:
    """What it takes, beside the notes and the log, to train the same again."""
    return {
        "days_back": plan.days_back,
        "minimum_interactions": plan.minimum_interactions,
        "held_out": plan.holdout,
        "from_scratch": plan.from_scratch,
        "read": read,
        "seed": seed,
    }


def seed_of(rng: np.random.Generator) -> Any:
    """What `default_rng` makes the same generator of; None where that cannot be known, as it was used before."""
    entropy = getattr(rng.bit_generator.seed_seq, "entropy", None)
    fresh = entropy is not None and np.random.default_rng(entropy).bit_generator.state == rng.bit_generator.state
    return np.array(entropy, dtype=object).tolist() if fresh else None


def compatible_parent(deployment: Deployment, learner: str) -> Version | None:
    """The version to learn on from, if it is of the same learner and fields; actions may have come and gone. An
    apprentice knows no rewards: what came before it is learned on from."""
    for name in parent_ids(deployment.registry.events(deployment.domain.name)):
        try:
            parent = deployment.registry.load(name)
        except StateCorrupt as error:
            raise type(error)(error.what, fix="Start over without it: `bondhu train --from-scratch`.") from error
        if not parent.notes.get("imitates"):
            same = parent.description["fields"] == deployment.domain.describe()["fields"] and parent.learner == learner
            return parent if same else None
    return None


def actions_of(version: Version) -> list[str]:
    """The names of the actions that a version knows, in its order."""
    return ["/".join(values) for values in product(*(values for _, values in version.description["actions"]))]


def starting_state(
    learner: Learner[Any], parent: Version | None, domain: Domain, rng: np.random.Generator
) -> tuple[Version | None, Any]:
    """What the parent has learned, new actions as `init` knows them, and the parent; without one that fits, `init`."""
    from gymnasium.spaces import Discrete

    space = domain.encoder(learner.observes).space
    fresh = learner.init(Spec(space, Discrete(len(domain.actions)), domain.action_features), rng)
    if parent is None:
        return None, fresh
    learned = carried_over(learner, parent, domain, fresh)
    return (None, fresh) if learned is None else (parent, learned)


def carried_over(learner: Learner[Any], parent: Version, domain: Domain, fresh: Any) -> Any:
    """The parent's state for the actions declared now; None where hyper-parameters made it another kind of state."""
    known = actions_of(parent)
    places = np.array([known.index(name) if name in known else -1 for name in domain.actions])
    if (places < 0).all():
        return None
    try:
        carried = learners.carried(fresh, learners.unpack(learner, parent.state), places)
    except (StateCorrupt, KeyError, AttributeError):  # another learner within, other parts of the reward
        return None
    return carried if carried is not None and alike(learners.pack(fresh), learners.pack(carried)) else None


def alike(fresh: Mapping[str, Array], learned: Mapping[str, Array]) -> bool:
    """Whether two states have the same arrays; what begins without rows may have grown."""
    return fresh.keys() == learned.keys() and all(
        array.ndim == learned[name].ndim
        and array.dtype.kind == learned[name].dtype.kind
        and array.shape[grown:] == learned[name].shape[grown:]
        for name, array in fresh.items()
        for grown in [int(array.ndim > 0 and len(array) == 0)]
    )
