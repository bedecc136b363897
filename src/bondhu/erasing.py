"""Erases a person: from the log, its archives and exports, from memory, and from what goes on to be learned.

A run goes step by step, and notes in the ledger (kind "erasing") what it counted before it deletes anything: whoever
begins again after a crash takes up the same run, and the certificate at the end says what all of it removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from bondhu import archives, exported
from bondhu.app import App
from bondhu.certificates import certify, record, sealer
from bondhu.corpora import tracking
from bondhu.domains.recommendation.agent import QLearningAgent
from bondhu.doors import masks
from bondhu.errors import BondhuError, InvalidInput
from bondhu.log.parquet import holds_facts, pairs_of
from bondhu.marking import Marking, Touched, mark, rows_of
from bondhu.ports import ERASURE
from bondhu.privacy import Pseudonyms
from bondhu.registry import lifecycle
from bondhu.relearning import SCRATCH, lineage, relearned
from bondhu.release import loop
from bondhu.serve.checks import check_text
from bondhu.train.window import parent_ids

STEP = "erasing"  # the kind of an entry of the ledger: one step of a run
EXPORT, BACKUP = "export", "backup"  # kinds of entries that say where copies of rows went
LOG, FEEDBACK, ARCHIVE = "decisions", "feedback", "archive"  # places that rows are counted in

Forget = Callable[[Iterable[str]], None]  # is given the ids of decisions that are no longer there


def nobody(_: Iterable[str]) -> None:
    """Forgets where nobody remembers."""


@dataclass
class Run:
    """One erasure under way."""

    app: App
    names: tuple[str, ...]  # as sent, and as its pseudonym
    by: str
    identity: str
    notes: list[Mapping[str, Any]]  # what its steps have noted so far
    unreached: list[dict[str, str]] = field(default_factory=list)

    def note(self, step: str, **about: Any) -> None:
        """Keep what a step did, so that nobody needs to know it again."""
        body = {"run": self.identity, "subject": self.subject, "step": step, **about}
        self.notes.append(self.app.ledger.note(STEP, self.app.domain.name, body, time=self.app.now()).body)

    def noted(self, step: str) -> list[Mapping[str, Any]]:
        return [each for each in self.notes if each["step"] == step]

    def miss(self, what: str, why: str) -> None:
        """Say what could not be reached."""
        if {"what": what, "why": why} not in self.unreached:
            self.unreached.append({"what": what, "why": why})

    @property
    def subject(self) -> str:
        """Who it is, in records: the same digits for the name and for its pseudonym."""
        return sealer(self.app).subject(self.names[-1])


def erase(app: App, user: str, *, by: str, forget: Forget = nobody) -> Mapping[str, Any]:
    """Take a person out of everything, and return the certificate; of somebody unknown, one with zeros. `user` as the
    application says it, or as it is stored. Raises TrainingInProgress while somebody trains, and what the stores raise;
    to be repeated then, as after a crash."""
    check_text("user", user)
    if not user:
        raise InvalidInput("Nobody is named.", field="user", fix="Name the person to be erased.")
    with app.stores.alone("train"), app.stores.alone("archive"):  # nobody learns from them, or moves them, meanwhile
        run = _begun(app, user, by)
        mark(app, _counted(run).decisions, run.identity, by=by)
        _removed(run, forget)
        renewed = _relearned(run)
        if any(renewed.values()):
            _tabled(run)
    for version in filter(None, renewed.values()):
        _released(run, version)
    return _certified(run, renewed)


def note_export(app: App, path: Path, rows: int) -> None:
    """Keep where rows went, so that an erasure finds them there."""
    app.ledger.note(EXPORT, app.domain.name, {"path": str(path.resolve()), "rows": rows}, time=app.now())


def note_backup(app: App, path: Path) -> None:
    """Keep where a copy of the store went, so that a certificate can say that it was not changed."""
    app.ledger.note(BACKUP, app.domain.name, {"path": str(path.resolve())}, time=app.now())


# ----------------------------------------------------------------------------------------------------------- the steps


def _begun(app: App, user: str, by: str) -> Run:
    """A new run, or one that was cut short."""
    privacy, name = app.settings.privacy, app.domain.name
    masks(app.settings, app.domain)  # raises where the settings cannot be
    salt = privacy.salt.get_secret_value() if privacy.salt else None
    names = tuple(dict.fromkeys([user, Pseudonyms(salt)(user)] if salt else [user]))
    subject = sealer(app).subject(names[-1])
    done = {record(each).get("run") for each in app.ledger.entries(ERASURE, name)}
    steps = [each.body for each in app.ledger.entries(STEP, name) if each.body.get("subject") == subject]
    open_ = [each for each in steps if each["run"] not in done]
    run = Run(app, names, by, open_[-1]["run"] if open_ else uuid4().hex, [])
    run.notes += [each for each in open_ if each["run"] == run.identity]
    if not open_:
        run.note("begun")
    return run


def _counted(run: Run) -> Touched:
    """How many decisions of theirs each place holds, and who learned from them; noted before anything is deleted."""
    app, names = run.app, run.names
    records = app.log.read(app.domain.name, float("-inf"), float("inf"))
    rows = rows_of(records, names)
    times = records.time[rows].tolist()
    places = {LOG: len(times), FEEDBACK: int(rows[records.feedback_decision].sum())}
    found = [time for pair in archives.archive(app) for time in archives.times_of(pair, names)]
    places[ARCHIVE] = len(found)
    times += found
    touched = Marking(app, names, (min(times), max(times))).touched() if times else Touched({}, {})
    run.note("counted", places=places, versions=dict(touched.decisions), unknown=dict(touched.unknown))
    return touched


def _removed(run: Run, forget: Forget) -> None:
    """Delete the rows in every place, and note how many."""
    app, removed = run.app, {LOG: 0, FEEDBACK: 0}
    archive = app.settings.path(app.settings.store.archive)
    _tried(run, removed, ARCHIVE, archive, lambda: archives.erase_from_archive(app, run.names))
    for name in run.names:
        gone = app.log.erase(app.domain.name, name)
        forget(gone.decisions)
        removed[LOG] += len(gone.decisions)
        removed[FEEDBACK] += len(gone.feedback)
    for path in sorted({each.body["path"] for each in app.ledger.entries(EXPORT, app.domain.name)}):
        _tried(run, removed, path, Path(path), partial(_export_without, Path(path), run.names))
    for address in tracking.places(app):
        _tried(run, removed, address, address, partial(tracking.forget, app, address, run.names))
    for entry in app.ledger.entries(BACKUP, app.domain.name):
        run.miss(str(entry.body.get("path", "a backup")), "a backup is not changed: delete it when it is not needed")
    run.note("removed", places=removed)


def _export_without(path: Path, names: Collection[str]) -> int:
    """Take a person out of a table, or of a folder of facts."""
    if holds_facts(path):
        return sum(archives.without(pair, names) for pair in pairs_of(path))
    return exported.without(path, names)


def _tried(run: Run, removed: dict[str, int], place: str, path: Path | str, rewrite: Callable[[], int]) -> None:
    try:
        removed[place] = rewrite()
    except FileNotFoundError:
        run.miss(str(path), "it is no longer there: if it was moved or copied, delete it there")
    except (BondhuError, OSError) as error:
        run.miss(str(path), str(error))


def _relearned(run: Run) -> dict[str, str | None]:
    """Train again, without them, what decides now and what the next training would go on from; that one last."""
    app, events = run.app, run.app.events()
    step = lifecycle.traffic(events).step
    acting = [lifecycle.live(events), step.version if step else None, *parent_ids(events)[:1]]
    marked = {name for each in run.noted("counted") for name in each["versions"]}
    renewed: dict[str, str | None] = {name: new for each in run.noted("relearned") for name, new in each["of"].items()}
    made = {tuple(each.id for each in lineage(app.deployment.registry, name)): renewed[name] for name in renewed}
    for name in list(dict.fromkeys(reversed([each for each in acting if each in marked])))[::-1]:
        if name is None or name in renewed:
            continue
        try:
            key = tuple(each.id for each in lineage(app.deployment.registry, name))
            if key not in made:
                version = relearned(app, name)
                made[key] = version.id if version else None
            if made[key] is None:
                run.miss(f"version {name}", f"without them there is nothing to learn from. {SCRATCH}")
            renewed[name] = made[key]
            run.note("relearned", of={name: made[key]})
        except BondhuError as error:
            run.miss(f"version {name}", str(error))
    return renewed


def _tabled(run: Run) -> None:
    """The readable table of the newest version, where the domain has one, as after a training."""
    app = run.app
    version = app.deployment.registry.load(app.versions()[-1])
    if app.domain.name == "recommendation" and QLearningAgent.reads(version):
        QLearningAgent.of_version(version).save(app.table)


def _released(run: Run, name: str) -> None:
    """Let the gate judge what was learned without them, and begin its release where that is automatic."""
    app, version = run.app, run.app.deployment.registry.load(name)
    if not version.notes["holdout"]:
        return  # nobody was kept back: there is nothing to judge it on
    try:
        verdict = app.verdict(name)
        now = lifecycle.traffic(app.events())
        if app.release_rules.automatic and verdict.decision == "promote" and not now.step and not now.stopped:
            reason = "It passed the gate."
            loop.begin(app.deployment, name, app.release_rules, by="gate", reason=reason, now=app.now())
    except BondhuError as error:
        run.note("not judged", version=name, why=str(error))


def _certified(run: Run, renewed: Mapping[str, str | None]) -> Mapping[str, Any]:
    """The certificate: what the whole run removed, whatever part of it a crash had undone the count of."""
    places: dict[str, int] = {}
    for each in (*run.noted("counted"), *run.noted("removed")):
        places = {name: max(places.get(name, 0), each["places"].get(name, 0)) for name in {**places, **each["places"]}}
    for each in run.noted("counted"):
        for version, why in each["unknown"].items():
            run.miss(f"version {version}", why)
    _look_at_history(run)
    return certify(
        run.app,
        {
            "run": run.identity,
            "subject": run.subject,
            "at": run.app.now(),
            "by": run.by,
            "decisions": places.pop(LOG),
            "feedback": places.pop(FEEDBACK),
            "files": places,
            "marked": sorted({name for each in run.noted("counted") for name in each["versions"]}),
            "relearned": dict(renewed),
            "unreached": run.unreached,
        },
    )


def _look_at_history(run: Run) -> None:
    """Verdicts name the groups that people were judged in; a field that says who it is makes each person one."""
    for event in run.app.events():
        told = f"{event.reason} {msgspec.json.encode(event.figures).decode()}"
        if any(f" = {name}" in told for name in run.names):
            run.miss("history of versions", "a verdict names a group after them: take that field out of [gate] groups")
            return
