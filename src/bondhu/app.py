"""The wiring: opens the stores that the settings name and puts the loops on them. The only module that knows both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu import evaluate, learners
from bondhu.domains import declared
from bondhu.errors import BondhuError, InvalidInput, StateCorrupt, UnknownName, nearest
from bondhu.evaluate.gate import GateRules
from bondhu.log.sqlite import SqliteLog, SqliteTasks
from bondhu.monitor.doctor import Facts
from bondhu.policies.renamed import Renamed, renamed_beliefs
from bondhu.ports import Deployment, Domain, Event, Task, Tasks, Version
from bondhu.registry import lifecycle
from bondhu.registry.disk import DiskRegistry
from bondhu.registry.lifecycle import BASELINE
from bondhu.schedule.lock import only_one
from bondhu.serve.decide import Decider
from bondhu.settings import Settings
from bondhu.train.judge import Judgement, judge
from bondhu.train.run import Plan, Trained, train
from bondhu.train.window import DAY, Window
from bondhu.types import Acting, Metrics
from bondhu.wiring import GROUPED, checked_learner, gate_rules, open_domain

ESTIMATORS = ("ips", "snips", "dm", "dr")  # the gate looks at the last


@dataclass(frozen=True)
class TrainingRun:
    """A training with its verdict; `promoted` where the candidate went live by itself."""

    trained: Trained
    judgement: Judgement | None
    promoted: bool


@dataclass(frozen=True)
class App:
    """One deployment with its settings and everything that can be done to it."""

    settings: Settings
    deployment: Deployment
    tasks: Tasks
    rules: GateRules
    now: Callable[[], float] = time.time

    # ------------------------------------------------------------------------------------------------------- versions

    @property
    def domain(self) -> Domain:
        return self.deployment.domain

    def live(self) -> str | None:
        """The version in force; None is the baseline rule."""
        return lifecycle.live(self.deployment.registry.events(self.domain.name))

    def versions(self) -> list[str]:
        """Every version, oldest first."""
        return [event.version for event in self.deployment.registry.events(self.domain.name) if event.kind == "added"]

    def candidate(self, name: str | None = None) -> str:
        """The named version, or the newest; raises UnknownName."""
        versions = self.versions()
        if not versions:
            raise UnknownName("There is no version yet.", field="version", fix="Train one: `bondhu train`.")
        if name is None:
            return versions[-1]
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

    def promote(self, name: str | None = None, *, reason: str, figures: Mapping[str, Any] | None = None) -> str:
        """Put a version in force; its state is loaded first, so a damaged one is refused."""
        version = self.candidate(name)
        self.acting(version)
        event = Event(self.now(), "promoted", version, reason, dict(figures or {}))
        self.deployment.registry.record(self.domain.name, event)
        return version

    def rollback(self, *, reason: str) -> str:
        """Put the version before the live one in force again; returns it ("baseline" at the start of the line)."""
        previous = lifecycle.previous(self.deployment.registry.events(self.domain.name))
        if previous is None:
            raise InvalidInput(
                "The baseline is in force: there is nothing to roll back.",
                field="version",
                fix="`bondhu status` shows it.",
            )
        self.deployment.registry.record(self.domain.name, Event(self.now(), "rolled_back", previous, reason, {}))
        return previous

    def opponent(self, version: str) -> str:
        """What a version is compared with: the one in force, or for that one itself what it replaced."""
        live = self.live() or BASELINE
        previous = lifecycle.previous(self.deployment.registry.events(self.domain.name))
        return live if version != live or previous is None else previous

    def decider(self) -> Decider:
        """The live loop on this deployment."""
        rate = self.settings.exploration.rate
        return Decider(self.deployment, self.acting, exploration=rate, now=self.now, as_trained=self.as_trained)

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
        with only_one(self.settings.path(self.settings.store.log).parent / "train.lock"):
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
            return TrainingRun(trained, None, promoted=False)
        judgement = self.evaluate(trained.version.id, window=trained.window)
        promote = self.settings.training.auto_promote and judgement.verdict.decision == "promote"
        if promote:
            self.promote(trained.version.id, reason="passed the gate", figures=judgement.verdict.figures)
        return TrainingRun(trained, judgement, promoted=promote)

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
    ) -> Judgement:
        """Estimate a version and the one it would replace on held-out decisions."""
        version = BASELINE if name == BASELINE else self.candidate(name)
        against = self.opponent(version) if against is None else against
        notes = {} if version == BASELINE else self.deployment.registry.load(version).notes
        return judge(
            self.deployment,
            self.acting(version),
            self.acting(against),
            window=window or Window(self.now() - self.settings.training.days_back * DAY, self.now()),
            holdout=self._kept_back((version, against)) if holdout is None else holdout,
            estimators=[evaluate.find(each)() for each in ESTIMATORS],
            rules=self.rules,
            facts={"interactions": notes.get("interactions", 0.0), "exploration": self.settings.exploration.rate},
        )

    def _kept_back(self, versions: Iterable[str]) -> float:
        """The share of people that none of the versions, nor those they learned on from, was trained on."""
        load, share = self.deployment.registry.load, self.settings.training.holdout
        return min([load(each).notes.get("holdout", share) for each in versions if each != BASELINE], default=share)

    # ---------------------------------------------------------------------------------------------------------- health

    def facts(self) -> Facts:
        """What the doctor looks at."""
        log = self.deployment.log.summary(self.domain.name)  # type: ignore[attr-defined]  # beyond the port
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


def restore(version: Version) -> Acting:
    """A stored version made ready to act, with the fields and actions it was trained for."""
    domain = declared.from_description(version.description)
    learner = learners.build(version.learner, version.hyperparameters)
    try:
        state = learners.unpack(learner, version.state)
        policy, beliefs = learner.policy(state, explore=bool(version.notes.get("explore"))), learner.beliefs(state)
    except (KeyError, TypeError, ValueError) as error:
        raise StateCorrupt(f"Version {version.id!r} does not hold a state of {version.learner!r}: {error}.") from error
    return Acting(version.id, policy, domain.encoder(learner.observes), tuple(domain.actions), beliefs)


def declared_now(acting: Acting, actions: tuple[str, ...]) -> Acting:
    """The version acting among the actions that are declared now, if those are others than it was trained for."""
    if acting.actions == actions:
        return acting
    known = {name: place for place, name in enumerate(acting.actions)}
    places = np.array([known.get(name, -1) for name in actions])
    beliefs = renamed_beliefs(acting.beliefs, places) if acting.beliefs else None
    return acting._replace(policy=Renamed(acting.policy, places, len(known)), actions=actions, beliefs=beliefs)


def training_metadata(run: TrainingRun) -> dict[str, Any]:
    """What `system_tasks.metadata` says of a training."""
    trained = run.trained
    body: dict[str, Any] = {
        "average_reward": trained.report.mean_reward if trained.report.rows else None,
        "users_trained": trained.report.users,
        "agent_stats": agent_stats(trained.metrics),
        "report": asdict(trained.report),
        "version": trained.version.id if trained.version else None,
        "promoted": run.promoted,
    }
    if run.judgement:
        body["verdict"] = asdict(run.judgement.verdict)
    return body


def agent_stats(metrics: Metrics) -> dict[str, float]:
    """A learner's metrics, with coverage under the names that the recommendation system's reports use."""
    names = {"states": "total_states", "cells": "total_state_actions", "largest_value": "max_q_value"}
    return {**metrics, **{name: metrics[metric] for metric, name in names.items() if metric in metrics}}


# ------------------------------------------------------------------------------------------------------------- opening


def open_app(settings: Settings, *, now: Callable[[], float] = time.time) -> App:
    """Open the stores named in the settings; they are made where they do not exist yet."""
    domain = open_domain(settings)
    settings = settings.model_copy(update={"learner": checked_learner(settings.learner, domain)})
    path = settings.path(settings.store.log)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = SqliteLog(path)
    registry = DiskRegistry(settings.path(settings.store.registry))
    kinds = {each["name"]: each["kind"] for each in domain.describe()["fields"]}
    rules = gate_rules(settings.gate, [name for name, kind in kinds.items() if kind in GROUPED])
    return App(settings, Deployment(domain, log, registry), SqliteTasks(path), rules, now)
