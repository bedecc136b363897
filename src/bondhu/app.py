"""The wiring: opens the stores that the settings name and puts the loops on them. The only module that knows both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu import evaluate, judging, learners
from bondhu.domains.assistant.feedback import MEASURED
from bondhu.doors import door, masks
from bondhu.errors import BondhuError, Conflict, InvalidInput, UnknownName, nearest
from bondhu.evaluate.gate import GateRules
from bondhu.judging import check_apart, kept_back
from bondhu.log.stores import KeptLog, Stores, open_stores
from bondhu.monitor.doctor import Facts
from bondhu.ports import Deployment, Domain, Event, Ledger, Task, Tasks, Transcripts, Version
from bondhu.registry import lifecycle
from bondhu.registry.disk import DiskRegistry
from bondhu.registry.lifecycle import APPLICATION, BASELINE
from bondhu.registry.names import plain
from bondhu.release import loop
from bondhu.release.loop import Look
from bondhu.release.rules import ReleaseRules
from bondhu.restoring import declared_now, restore
from bondhu.ruling import gate_rules, release_rules
from bondhu.serve.decide import Decider
from bondhu.settings import Settings
from bondhu.train.judge import Judgement, judge
from bondhu.train.run import Plan, train
from bondhu.train.window import DAY, Window
from bondhu.training import TrainingRun, training_metadata
from bondhu.types import Acting, Verdict
from bondhu.wiring import GROUPED, channels_of, checked_learner, open_domain

ESTIMATORS = ("ips", "snips", "dm", "dr")  # the gate looks at the last
ADAPTIVE = "adaptive_dr"  # and at this one where the log was made by versions that learned from it


@dataclass(frozen=True)
class App:
    """One deployment with its settings and everything that can be done to it."""

    settings: Settings
    deployment: Deployment
    stores: Stores
    rules: GateRules
    release_rules: ReleaseRules
    now: Callable[[], float] = time.time

    # ------------------------------------------------------------------------------------------------------- versions

    @property
    def domain(self) -> Domain:
        return self.deployment.domain

    @property
    def log(self) -> KeptLog:
        return self.stores.log

    @property
    def tasks(self) -> Tasks:
        return self.stores.tasks

    @property
    def ledger(self) -> Ledger:
        return self.stores.ledger

    @property
    def transcripts(self) -> Transcripts:
        return self.stores.transcripts

    def live(self) -> str | None:
        """The version in force; None is the baseline rule."""
        return lifecycle.live(self.events())

    def versions(self) -> list[str]:
        """Every version, oldest first."""
        return [event.version for event in self.events() if event.kind == "added"]

    def candidate(self, name: str | None = None) -> str:
        """The named version, or the newest; raises UnknownName."""
        versions = self.versions()
        if not versions:
            raise UnknownName("There is no version yet.", field="version", fix="Train one: `bondhu train`.")
        if name is None:
            return versions[-1]
        if name == BASELINE:
            fix = "`bondhu stop` puts it in force for everybody."
            raise UnknownName("The baseline is no version.", field="version", value=name, fix=fix)
        if name not in versions:
            raise UnknownName(
                f"There is no version {name!r}.", field="version", value=name, fix=nearest(name, versions)
            )
        return name

    def acting(self, name: str | None) -> Acting:
        """A version ready to act; None or "baseline" is the rule."""
        return declared_now(self.as_trained(name), tuple(self.domain.actions))

    def as_trained(self, name: str | None) -> Acting:
        """A version as it was trained, with the actions it knew then: how its decisions are replayed."""
        if name is None or name == BASELINE:
            rule = self.domain.baseline()
            return Acting(BASELINE, rule, self.domain.encoder(MultiDiscrete), tuple(self.domain.actions))
        return restore(self.deployment.registry.load(name))

    def promote(self, name: str | None = None, *, reason: str, by: str = "", over: str | None = None) -> str:
        """Put any version in force at once; its state is loaded first, so a damaged one is refused. Raises Conflict
        where another one than `over` is live, or where somebody else changed the versions meanwhile."""
        events = self.events()
        version = self.candidate(name)
        live = lifecycle.live(events) or BASELINE
        if over is not None and over != live:
            what = f"{live!r} is live, not {over!r}."
            raise Conflict(what, field="over", value=over, fix="Look at `bondhu status`, then try again.")
        self.acting(version)
        self._note("promoted", version, reason, by, seen=len(events))
        return version

    def rollback(self, *, reason: str, by: str = "") -> str:
        """Put the version before the live one in force again, or the next below it that can act; returns it, in the end
        "baseline"."""
        events = self.events()
        for below in lifecycle.below(events):
            try:
                self.acting(below)
            except BondhuError as error:
                reason = f"{reason} ({below} cannot act: {error.what})"
                continue
            self._note("rolled_back", below, reason, by, seen=len(events))
            return below
        what = "The baseline is in force: there is nothing to roll back."
        raise InvalidInput(what, field="version", fix="`bondhu status` shows it.")

    def stop(self, *, reason: str, by: str = "") -> None:
        """The kill switch: the rule decides for everybody, and nothing is released by itself until somebody acts."""
        self._note("stopped", BASELINE, reason, by)

    def withdraw(self, *, reason: str, by: str = "") -> str:
        """End the release under way; returns its version."""
        events = self.events()
        step = lifecycle.traffic(events).step
        if step is None:
            raise InvalidInput("No version is in shadow or on trial.", field="version", fix="`bondhu status` shows it.")
        self._note("withdrawn", step.version, reason, by, seen=len(events))
        return step.version

    def release(self, name: str | None = None, *, reason: str, by: str = "", unproven: bool = False) -> Look:
        """Begin the release of a version that the gate lets pass; `unproven`: whatever the gate says."""
        version = self.candidate(name)
        verdict = None if unproven else self.verdict(version)
        if verdict is not None and verdict.decision != "promote":
            what = f"The gate says {verdict.decision} of {version!r}: {' '.join(verdict.reasons)}"
            raise Conflict(what, field="version", value=version, fix="Collect more decisions, or say --unproven.")
        self.acting(version)
        return loop.begin(self.deployment, version, self.release_rules, by=by, reason=reason, now=self.now())

    def look(self) -> Look | None:
        """Take the next step of the release under way, if its rules say so."""
        return loop.look(self.deployment, self.acting, self.release_rules, now=self.now())

    def events(self) -> Sequence[Event]:
        """The history of this domain's versions, oldest first."""
        return self.deployment.registry.events(self.domain.name)

    def verdicts(self, name: str | None = None) -> list[Event]:
        """What the gate said of a version, or of all of them, oldest first."""
        version = None if name is None else self.candidate(name)
        return [event for event in self.events() if event.kind == "judged" and version in (None, event.version)]

    def _note(
        self,
        kind: str,
        version: str,
        reason: str,
        by: str,
        *,
        seen: int | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        self.deployment.registry.record(
            self.domain.name, Event(self.now(), kind, version, reason, figures or {}, by), seen=seen
        )

    def opponent(self, version: str) -> str:
        """What a version is compared with: the one in force, or for that one itself what it replaced."""
        live = self.live() or BASELINE
        previous = lifecycle.previous(self.events())
        return live if version != live or previous is None else previous

    def decider(self) -> Decider:
        """The live loop on this deployment."""
        rules = self.release_rules
        return Decider(
            self.deployment,
            self.acting,
            exploration=self.settings.exploration.rate,
            holdout=rules.holdout,
            apprentice=rules.apprentice,
            now=self.now,
            as_trained=self.as_trained,
            door=door(masks(self.settings, self.domain)),
            personal=self.settings.gateway is not None,
            own=() if self.settings.gateway is None else MEASURED,
        )

    # ------------------------------------------------------------------------------------------------ train and judge

    def plan(self) -> Plan:
        """What `bondhu train` does when nothing else is asked for."""
        chosen, training = self.settings.learner, self.settings.training
        return Plan(
            learner=chosen.name,
            hyperparameters=chosen.hyperparameters,
            explore=self.settings.exploration.learner,
            days_back=training.days_back,
            minimum_interactions=training.min_interactions_per_user,
            holdout=training.holdout,
        )

    def train(self, plan: Plan | None = None) -> TrainingRun:
        """Train, judge, promote if so set, and leave a row in `system_tasks`; one process at a time."""
        plan = plan or self.plan()
        with self.stores.alone("train"):
            now, started = self.now(), time.perf_counter()
            try:
                run = self._train(plan, now)
            except Exception as error:
                self._record(now, started, None, error=str(error))
                raise
            self._record(now, started, run)
            return run

    def _train(self, plan: Plan, now: float) -> TrainingRun:
        rng = np.random.default_rng([self.settings.training.seed, int(now * 1e6)])
        trained = train(self.deployment, plan, now=now, rng=rng)
        for name in self.versions()[-1:]:
            self._write_table(trained.version or self.deployment.registry.load(name))
        if trained.version is None:
            return TrainingRun(trained, None, None, None)
        version = trained.version
        if plan.imitate:
            verdict = self.verdict(version.id)
            return TrainingRun(trained, None, verdict, self._released(version.id, verdict))
        if not version.notes["holdout"]:
            return TrainingRun(trained, None, None, None)  # nobody was kept back: there is nothing yet to judge it on
        judgement = self.evaluate(version.id, window=trained.window)
        return TrainingRun(trained, judgement, judgement.verdict, self._released(version.id, judgement.verdict))

    def _released(self, version: str, verdict: Verdict) -> Look | None:
        """Begin the release of a candidate that passed, unless another one is under way or all was stopped."""
        now = lifecycle.traffic(self.events())
        if not self.release_rules.automatic or verdict.decision != "promote" or now.step or now.stopped:
            return None
        reason = "It passed the gate."
        return loop.begin(self.deployment, version, self.release_rules, by="gate", reason=reason, now=self.now())

    def _record(self, now: float, started: float, run: TrainingRun | None, error: str | None = None) -> None:
        """The row of `system_tasks`; without a run, of a training that failed."""
        status, users, rows, training = "failed", 0, 0, {}
        if run:
            status = "completed" if run.trained.version else "skipped"
            users, rows, training = run.trained.report.users, run.trained.report.rows, training_metadata(run)
        duration = time.perf_counter() - started
        self.tasks.record(Task("rl_training", now, status, users, rows, duration, {"training": training}, error))

    @property
    def table(self) -> Path:
        """Where the readable table of the newest version stands."""
        return self.settings.path(self.settings.store.models) / "q_table.json"

    def _write_table(self, version: Version) -> None:
        """The readable table beside the fast state, where the domain has one."""
        if self.domain.name == "recommendation":
            from bondhu.domains.recommendation.agent import QLearningAgent

            if QLearningAgent.reads(version):
                QLearningAgent.of_version(version).save(self.table)

    def evaluate(
        self,
        name: str | None = None,
        *,
        against: str | None = None,
        window: Window | None = None,
        holdout: float | None = None,
        note: bool = True,
    ) -> Judgement:
        """Estimate a version and the one it would replace on held-out decisions; the verdict is kept in the history,
        unless somebody only looks (`note`)."""
        version = BASELINE if name == BASELINE else self.candidate(name)
        against = self.opponent(version) if against is None else against
        registry, both = self.deployment.registry, (version, against)
        window = window or Window(self.now() - self.settings.training.days_back * DAY, self.now())
        kept = kept_back(registry, both, self.settings.training.holdout)
        holdout = kept if holdout is None else holdout
        if not 0 < holdout <= kept:
            check_apart(registry, both, window)
        adaptive = not holdout and judging.adaptive(registry, self.events(), window)
        asked = (*ESTIMATORS, ADAPTIVE) if adaptive else ESTIMATORS
        fewest, sure = self.rules.minimum_effective_samples, self.rules.confidence
        asks = {"confidence": sure, "minimum_effective_samples": fewest}
        judgement = judge(
            self.deployment,
            self.acting(version),
            self.acting(against),
            window=window,
            holdout=holdout,
            estimators=[evaluate.find(each)(**asks) for each in asked],
            rules=self.rules,
            facts={"interactions": self._interactions(version), "exploration": self.settings.exploration.rate},
            adaptive=adaptive,
        )
        if note:
            self._judged(version, judgement.verdict, against)
        return judgement

    def verdict(self, version: str) -> Verdict:
        """What the gate says of a version: of its rewards, or of an apprentice's agreement with the application."""
        stored = self.deployment.registry.load(version)
        if not stored.notes.get("imitates"):
            return self.evaluate(version, window=Window(-np.inf, self.now())).verdict
        said = judging.apprentice(self.deployment, self.acting(version), stored, self.rules)
        self._judged(version, said, APPLICATION)
        return said

    def _judged(self, version: str, said: Verdict, against: str) -> None:
        """Keep a verdict with every figure, so that it can be asked for later."""
        about = {"decision": said.decision, "reasons": said.reasons, "against": against, **said.figures}
        self._note("judged", version, f"{said.decision}: {' '.join(said.reasons)}", "gate", figures=about)

    def _interactions(self, version: str) -> float:
        """Decisions that a version was trained on."""
        return 0.0 if version == BASELINE else self.deployment.registry.load(version).notes.get("interactions", 0.0)

    # ---------------------------------------------------------------------------------------------------------- health

    def facts(self) -> Facts:
        """What the doctor looks at."""
        log = self.log.summary(self.domain.name)
        signals, chosen = self.domain.reward.signals.values(), self.settings.learner
        return Facts(
            trainings=self.tasks.recent("rl_training", 10),
            decisions=log.decisions,
            feedback=log.feedback,
            discount=float(learners.plain(learners.build(chosen.name, chosen.hyperparameters)).get("discount", 0.0)),
            largest_reward=sum(max(abs(each.weight * each.low), abs(each.weight * each.high)) for each in signals),
            good_reward=self.rules.minimum_average_reward,
            model_problem=self.model_problem(),
            exploration=self.settings.exploration.rate,
        )

    def model_problem(self) -> str | None:
        """What is wrong with the live version, the newest one or the readable table; None when all of them load."""
        try:
            for name in {self.live(), *self.versions()[-1:]}:
                self.acting(name)
            for name in self.versions()[-1:] if self.domain.name == "recommendation" else []:
                self._check_table(self.deployment.registry.load(name))
        except BondhuError as error:
            return str(error)
        return None

    def _check_table(self, version: Version) -> None:
        """Raises StateCorrupt where the readable table that belongs beside the version is not there or damaged."""
        from bondhu.domains.recommendation.agent import QLearningAgent

        if QLearningAgent.reads(version):
            QLearningAgent(bins=version.description["fields"][0]["bins"]).load(self.table)


# ------------------------------------------------------------------------------------------------------------- opening


def open_app(settings: Settings, *, now: Callable[[], float] = time.time) -> App:
    """Open the stores named in the settings; they are made where they do not exist yet."""
    domain = open_domain(settings)
    plain("domain", domain.name)  # raises where the registry could have no folder of this name
    settings = settings.model_copy(update={"learner": checked_learner(settings.learner, domain)})
    channels_of(settings.alerts)  # raises where they cannot be
    masks(settings, domain)  # raises for a hash without a salt
    password = settings.store.password.get_secret_value() if settings.store.password else None
    stores = open_stores(settings.store.log, settings.directory, password)
    registry = DiskRegistry(settings.path(settings.store.registry))
    kinds = {each["name"]: each["kind"] for each in domain.describe()["fields"]}
    signals = tuple(domain.reward.signals)
    groups = [name for name, kind in kinds.items() if kind in GROUPED]
    rules = gate_rules(settings.gate, groups, signals)
    release = release_rules(settings.release, signals, groups)
    return App(settings, Deployment(domain, stores.log, registry), stores, rules, release, now)
