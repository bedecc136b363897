"""Trains a version again on what the log and its archives hold now: what it would be without who was erased since.

Every training behind the version is run again, the first one first, with its own learner, window, seed and share of
people held out, on what had been said by then. So the state is that of a deployment whose log never held the erased.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf, nextafter
from typing import Any

import numpy as np

from bondhu import learners
from bondhu.app import App
from bondhu.archives import archived
from bondhu.domains import declared
from bondhu.errors import Conflict
from bondhu.log.join import settlement
from bondhu.log.memory import MemoryLog
from bondhu.ports import Deployment, Domain, Facts, Registry, Version
from bondhu.registry.names import new_version_id
from bondhu.train.run import Learned, Plan, learn, notes_of, starting_state, window_of
from bondhu.train.window import Window
from bondhu.types import Array

WITHOUT = "without"  # the note of a version that says which one it takes the place of
MARKED = "marked"  # the event of a version that learned from somebody who was erased
SCRATCH = "Start over without it: `bondhu train --from-scratch`."


def relearned(app: App, name: str) -> Version | None:
    """Add what the version would be had the log never held more than now, as a candidate like any other; None where
    nothing is left to learn from. Raises Conflict where rows are missing that nobody erased, where the version was
    trained in a way that was not noted, or where its learner does not come to the same result twice."""
    trainings = lineage(app.deployment.registry, name)
    last, again = (replayed(app, trainings) for _ in range(2))
    if last is None or again is None:
        return None
    if not same(last.state, again.state):
        what = (
            f"{last.learner!r} does not learn the same from the same: version {name!r} cannot be had without anybody."
        )
        raise Conflict(what, field="version", value=name, fix=SCRATCH)
    now = app.now()
    number = len(app.versions())  # so that two in one second differ
    version = replace(
        last,
        id=new_version_id(now, np.random.default_rng([int(now * 1e6), number])),
        created=now,
        parent=None,
        notes={**last.notes, WITHOUT: name},
    )
    app.deployment.registry.add(version, reason=f"what {name} would be without the people who were erased")
    return version


def lineage(registry: Registry, name: str) -> list[Version]:
    """The versions, as they were trained, whose trainings made this one, the first one first."""
    version = registry.load(name)
    if version.notes.get(WITHOUT):
        return lineage(registry, version.notes[WITHOUT])
    return [*(lineage(registry, version.parent) if version.parent else []), version]


def replayed(app: App, trainings: Sequence[Version]) -> Version | None:
    """The last of these versions, trained again after all before it; those with nothing to learn from are left out, as
    they would have been. Nothing is stored."""
    parent: Version | None = None
    skipped = False
    for each in trainings:
        domain = declared.from_description(each.description)
        plan, rng = plan_of(each), np.random.default_rng(each.notes["training"]["seed"])
        learner = learners.build(each.learner, each.hyperparameters)
        start = starting_state(learner, parent, domain, rng)
        window = window_of(plan, start[0], each.created) if skipped else noted(each)
        deployment = Deployment(domain, past(app, domain, window, each.created), app.deployment.registry)
        learned = learn(deployment, learner, plan, window, start, rng)
        _check_whole(app, each, learned)
        skipped = not learned.rows
        if learned.rows:
            recipe = {**each.notes["training"], "read": learned.read}
            notes = {**notes_of(learned, plan, window), "training": recipe}
            parent = replace(each, state=learners.pack(learned.state), notes=notes)
    return parent


def plan_of(version: Version) -> Plan:
    """How a version was trained; raises Conflict where that was not noted."""
    recipe, notes = version.notes.get("training"), version.notes
    if recipe is None or recipe.get("seed") is None:
        what = f"Version {version.id!r} does not say how it was trained, so that it cannot be trained again."
        raise Conflict(what, field="version", value=version.id, fix=SCRATCH)
    return Plan(
        learner=version.learner,
        hyperparameters=version.hyperparameters,
        days_back=recipe["days_back"],
        minimum_interactions=recipe["minimum_interactions"],
        holdout=recipe["held_out"],
        explore=notes["explore"],
        from_scratch=recipe["from_scratch"],
        imitate=notes["imitates"],
    )


def noted(version: Version) -> Window:
    """The window that a version was trained on."""
    return Window(version.notes["window_start"], version.notes["window_end"])


def past(app: App, domain: Domain, window: Window, moment: float) -> MemoryLog:
    """What log and archives held at a moment, of what a training on this window reads; what was said, changed or taken
    back later is not in it. All of it is in memory: about a kilobyte a decision."""
    log = MemoryLog()
    for piece in pieces(app, reach(domain, window), nextafter(window.end, inf)):
        log.append(piece.decisions, [each for each in piece.feedback if each.time <= moment])
    return log


def reach(domain: Domain, window: Window) -> float:
    """How far back a training on this window reads, or somewhat farther; seconds."""
    return min(window.start - settlement(domain), window.end - domain.reward.delay_horizon) - 2.0


def pieces(app: App, start: float, end: float) -> Iterator[Facts]:
    """The rows of a span of time, those in archives first."""
    yield from archived(app, start, end)
    yield from app.log.facts(app.domain.name, start, end)


def erased(app: App, version: str) -> int:
    """Decisions taken out since, of those that the training of a version read."""
    marks = (each for each in app.events() if each.kind == MARKED and each.version == version)
    return sum(int(each.figures.get("decisions", 0)) for each in marks)


def same(one: Any, other: Any) -> bool:
    """Whether two states are the same arrays, bit for bit."""
    return bool(one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one))


def _same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _check_whole(app: App, version: Version, learned: Learned) -> None:
    missing = version.notes["training"]["read"] - erased(app, version.id) - learned.read
    if missing > 0:
        what = (
            f"{missing} of the decisions that {version.id!r} learned from are neither in the log nor in its archives."
        )
        raise Conflict(what, field="version", value=version.id, fix=f"Bring the archives back. {SCRATCH}")
