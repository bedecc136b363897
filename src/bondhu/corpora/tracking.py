"""Tells MLflow, TensorBoard or W&B of a deployment: its interactions, trainings, versions and conversations.

What was told is noted in the ledger, so that telling again adds only what is new. The figures of an interaction are
told once it is settled: nothing that is said later changes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from bondhu.app import App
from bondhu.corpora.turns import BROKEN, NO_ANSWER, Turn, turns_of
from bondhu.domains.assistant.totals import Moments, Totals
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.log.join import only, settlement
from bondhu.monitor.tracking import Tracker
from bondhu.monitor.tracking.conversations import Answered, Conversation, Figures, Judged, Trained
from bondhu.monitor.tracking.mlflow_deployment import MlflowDeployment, bare
from bondhu.monitor.tracking.opening import check
from bondhu.monitor.tracking.tensorboard import TensorBoard
from bondhu.monitor.tracking.wandb import Wandb
from bondhu.ports import Event, Version
from bondhu.recording import Reading, in_time
from bondhu.types import Records

TRACKED = "tracked"  # the kind of the ledger's entries that say what was told to whom
MLFLOW = "mlflow"
PLACES = {MLFLOW: "an address, such as http://127.0.0.1:5000", "tensorboard": "a folder", "wandb": "a folder"}
ESTIMATES = {
    "reward": "candidate_{}",
    "live reward": "live_{}",
    "advantage": "advantage_{}",
    "agreement": "agreement_{}",
}  # of a verdict's figures, and how each is called there with "value", "low" and "high"
SHOWN = ("upstream", "model", "status", "seconds", "first_seconds", "cost")  # of a transcript, with its turn


class Target(NamedTuple):
    """Whom to tell."""

    kind: str  # of PLACES
    place: str  # an address, or a folder

    @property
    def name(self) -> str:
        """As the ledger knows it: without a password."""
        return f"{self.kind}:{bare(self.place) if self.kind == MLFLOW else Path(self.place).resolve()}"


class Mark(NamedTuple):
    """How far somebody was told."""

    until: float = float("-inf")  # seconds: all that was decided until then was settled
    totals: Totals = Totals()


class Told(NamedTuple):
    """How much was new."""

    interactions: int
    trainings: int
    conversations: int


def target_of(text: str) -> Target:
    """From KIND:PLACE; raises UnknownName or InvalidInput."""
    kind, _, place = text.partition(":")
    if kind not in PLACES:
        raise UnknownName(f"Nobody can be told by {kind!r}.", field="to", value=text, fix=nearest(kind, PLACES))
    if not place:
        fix = f"Say {kind}:PLACE, where PLACE is {PLACES[kind]}."
        raise InvalidInput(f"--to {text} does not say where.", field="to", value=text, fix=fix)
    check(kind)
    return Target(kind, place)


def track(app: App, target: Target, since: float = float("-inf")) -> Told:
    """Tell what happened since the last time, or since `since` where that is later."""
    mark = marked(app, target)
    start, cut = max(mark.until, since), app.now() - settlement(app.domain)
    records = app.log.read(app.domain.name, float("-inf"), float("inf"))
    figures, totals = _figures(app, records, (start, cut), mark.totals)
    versions = [app.deployment.registry.load(name) for name in app.versions()]
    said = {event.version: judged(event) for event in app.verdicts()}  # the last one of each
    if target.kind == MLFLOW:
        deployment = MlflowDeployment(target.place, app.domain.name)
        told = Told(
            deployment.figures(figures),
            deployment.trainings([trained(app, each, said.get(each.id)) for each in versions], app.live()),
            deployment.conversations(conversations(app, records, start)),
        )
    else:
        new = [each for each in versions if start < each.created <= cut]
        told = _recorded(app, target, (figures, new), mark.totals.episodes)
    _note(app, target, Mark(max(mark.until, cut), totals), told)
    return told


# ---------------------------------------------------------------------------------------------------------------- marks


def marked(app: App, target: Target) -> Mark:
    """What was told last; nothing where nobody was told."""
    noted = [each.body for each in app.ledger.entries(TRACKED, app.domain.name) if each.body["to"] == target.name]
    if not noted:
        return Mark()
    return Mark(noted[-1]["until"], totals_of(noted[-1]["totals"]))


def _note(app: App, target: Target, mark: Mark, told: Told) -> None:
    body = {"to": target.name, "until": mark.until, "totals": asdict(mark.totals), "told": told._asdict()}
    app.ledger.note(TRACKED, app.domain.name, body, time=app.now())


def totals_of(plain: Mapping[str, Any]) -> Totals:
    """Totals as the ledger holds them."""
    moments = {name: Moments(*plain[name]) for name in ("all", "before")}
    return Totals(**{**plain, **moments, "recent": tuple(plain["recent"])})


# -------------------------------------------------------------------------------------------------------------- figures


def _figures(app: App, records: Records, span: tuple[float, float], totals: Totals) -> tuple[list[Figures], Totals]:
    """What is known after each interaction that was decided in (start, end], oldest first, and after all of them."""
    order, rewards = in_time(app, records)
    start, end = span
    wanted = []
    for row in order:
        if not start < records.time[row] <= end:
            continue
        totals = totals.after(rewards[row])
        wanted.append((row, totals))
    made = Reading(app, records, rewards).records(wanted)
    return [Figures(each.rl_metrics.episode, each.time, each.figures()) for each in made], totals


def judged(event: Event) -> Judged:
    """What the gate said, of the history's event of it."""
    figures = {"agreement_value": event.figures.get("agreement"), **event.figures}
    estimates = {}
    for name, spelled in ESTIMATES.items():
        value, low, high = (figures.get(spelled.format(each)) for each in ("value", "low", "high"))
        if _is_number(value) and _is_number(low) and _is_number(high):
            estimates[name] = (float(value), float(low), float(high))
    decision, against = (str(figures.get(name, "")) for name in ("decision", "against"))
    return Judged(event.time, decision, tuple(map(str, figures.get("reasons", ()))), against, estimates)


def trained(app: App, version: Version, said: Judged | None = None) -> Trained:
    """The training that made a version, and what the gate said of that."""
    numbers = {name: float(value) for name, value in version.notes.items() if _is_number(value)}
    others = {name: value for name, value in version.notes.items() if not _is_number(value)}
    return Trained(
        version=version.id,
        time=version.created,
        learner=version.learner,
        hyperparameters=version.hyperparameters,
        metrics=numbers,
        notes=others,
        folder=app.settings.path(app.settings.store.registry) / app.domain.name / version.id,
        parent=version.parent,
        judged=said,
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _recorded(app: App, target: Target, new: tuple[Sequence[Figures], Sequence[Version]], step: int) -> Told:
    """Tell a tracker of runs: figures in the order of time, those of a training after what was decided before it."""
    figures, versions = new
    if not figures and not versions:
        return Told(0, 0, 0)
    folder, name = Path(target.place), app.domain.name
    tracker: Tracker = TensorBoard(folder, step) if target.kind == "tensorboard" else Wandb(folder, name, step)
    points = [(each.time, each.step, each.metrics) for each in figures]
    known = [(-np.inf, step), *((each.time, each.step) for each in figures)]
    for version in versions:
        at = max(number for time, number in known if time <= version.created)
        told = {f"training.{metric}": value for metric, value in trained(app, version).metrics.items()}
        points.append((version.created, at, told))
    settings = app.settings
    chosen = {"learner": settings.learner.name, **settings.learner.hyperparameters}
    tracker.begin({"domain": name, "actions": list(app.domain.actions), **chosen})
    try:
        for _, at, metrics in sorted(points, key=lambda point: (point[0], point[1])):
            tracker.record(metrics, at)
    finally:
        tracker.end()
    return Told(len(figures), len(versions), 0)


# -------------------------------------------------------------------------------------------------------- conversations


def conversations(app: App, records: Records, since: float) -> Iterator[Conversation]:
    """The sessions that something was decided in since then, whole; those around which anything was kept."""
    names = list(dict.fromkeys(records.session[row] for row in np.flatnonzero(records.time > since).tolist()))
    rows = only(records, records.session.among(*names)) if names else None
    sessions: dict[str, list[Turn]] = {name: [] for name in names}
    for turn in turns_of(rows, app.transcripts, app.domain.reward) if rows is not None else ():
        sessions[turn.session].append(turn)
    for session, turns in sessions.items():
        if any(each.body is not None for each in turns):
            ordered = sorted(turns, key=lambda each: each.time)
            users = tuple(sorted({each.user for each in turns if each.user}))
            yield Conversation(app.domain.name, session, users, [answered(app, each) for each in ordered])


def answered(app: App, turn: Turn) -> Answered:
    """A turn for a trace: texts as they were stored."""
    body = turn.body or {}
    weights = app.domain.reward.signals
    attributes = {"version": turn.version, "action": turn.action, "probability": turn.probability}
    attributes |= {"reward": turn.reward, **{name: body[name] for name in SHOWN if body.get(name) is not None}}
    attributes |= {name: value for name, value in turn.said.items() if not weights[name].weight}
    broken = turn.problem == NO_ANSWER or any(turn.said.get(name, 0.0) > 0 for name in BROKEN)
    return Answered(
        id=turn.id,
        start=turn.time,
        end=max(turn.ended or turn.time, turn.time),
        messages=[each for each in body.get("messages") or () if isinstance(each, Mapping)],
        answer=body.get("answer"),
        attributes=attributes,
        said={name: value for name, value in turn.said.items() if weights[name].weight},
        tokens=_tokens(body.get("usage")),
        failed=broken,
    )


def _tokens(usage: Any) -> tuple[int, int] | None:
    """In and out, as OpenAI's protocol names them."""
    if not isinstance(usage, Mapping):
        return None
    for names in (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")):
        counts = [usage.get(name) for name in names]
        if all(isinstance(each, int) for each in counts):
            return int(counts[0] or 0), int(counts[1] or 0)
    return None


# -------------------------------------------------------------------------------------------------------------- erasing


def places(app: App) -> list[str]:
    """The addresses of MLflow that conversations went to."""
    found = {str(each.body["to"]) for each in app.ledger.entries(TRACKED, app.domain.name)}
    return sorted(each.removeprefix(f"{MLFLOW}:") for each in found if each.startswith(f"{MLFLOW}:"))


def forget(app: App, address: str, users: Sequence[str]) -> int:
    """Delete the conversations of the person with these names; how many those were. Raises StoreError."""
    check(MLFLOW)
    return MlflowDeployment(address, app.domain.name).forget(users)
