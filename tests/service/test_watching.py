"""The watch over a whole deployment: who is told what, once, and which version is taken back for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from benchmarks.injected_world import MONDAY, Arms, World
from bondhu import learners, settings
from bondhu.app import App, open_app
from bondhu.domains.recommendation import domain
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.log.memory import MemoryLog
from bondhu.monitor.alerts import Alert, LogChannel, Mail, Webhook
from bondhu.ports import Event, Task, Version
from bondhu.registry import BASELINE
from bondhu.serve.decide import Request
from bondhu.settings import Alerts
from bondhu.types import Spec
from bondhu.watch.findings import Finding
from bondhu.watch.observed import observe
from bondhu.watching import JOB, Blame, blame, watch
from bondhu.wiring import channels_of
from tests.service.stand import Clock, log, opened

DAY = 86_400.0


@dataclass
class Recorder:
    """A channel that remembers, and may fail."""

    broken: bool = False
    said: list[Alert] = field(default_factory=list)
    name: str = "recorder"

    def send(self, alert: Alert) -> None:
        if self.broken:
            raise OSError("nobody there")
        self.said.append(alert)


def empty(name: str) -> Version:
    """A version that has learned nothing, and can act."""
    learner = QLearning()
    space = domain().encoder(learner.observes).space
    state = learner.init(Spec(space, Discrete(len(domain().actions))), np.random.default_rng(0))
    notes = {"interactions": 0, "holdout": 0.2}
    return Version(
        name, domain().name, "tabular.q_learning", {}, learners.pack(state), domain().describe(), MONDAY, None, notes
    )


def town(path: Path, fault: str, seed: int, days: int, **release: bool) -> tuple[App, Clock]:
    """A deployment of simulated people; the new version of the world is live from the day the fault begins."""
    world, clock = World(fault, seed), Clock(MONDAY)
    tables = {"domain": {"extends": "recommendation"}, "exploration": {"rate": 0.1}, "release": release}
    app = open_app(settings.from_tables(tables, path), now=clock)
    registry, name = app.deployment.registry, domain().name
    for each in ("v1", "v2"):
        registry.add(empty(each))
    registry.record(name, Event(MONDAY, "promoted", "v1", "the first", {}))
    for number in range(world.begins + days):
        if number == world.begins and fault != "healthy":
            registry.record(name, Event(MONDAY + number * DAY, "promoted", "v2", "the second", {}))
        app.deployment.log.append(*world.day(number, Arms("v2" if number >= world.begins else "v1")).facts())
    clock.now = MONDAY + (world.begins + days) * DAY
    return app, clock


def test_a_live_version_that_hurts_is_taken_back_and_everybody_is_told_once(tmp_path: Path) -> None:
    app, clock = town(tmp_path, "policy", 901, 3, automatic=True)
    recorder = Recorder()
    watched = watch(app, [recorder])
    assert watched.taken_back == "v2"
    assert app.live() == "v1"
    event = app.events()[-1]
    assert (event.kind, event.version, event.by) == ("rolled_back", "v1", "watch")
    assert event.reason.startswith("The reward fell by")
    keys = [each.key for each in recorder.said]
    assert "reward fell: policy" in keys
    assert any(key.startswith("rolled back") for key in keys)
    fall = next(each for each in recorder.said if each.key == "reward fell: policy")
    assert (fall.severity, fall.runbook) == ("critical", "docs/runbook.md#reward-fell-policy")
    clock.now += 600
    again = watch(app, [recorder])  # what was told is known to the next process too: it is kept with the tasks
    assert "reward fell: policy" not in [each.key for each in again.told if each.severity != "resolved"]
    assert again.taken_back is None


def test_without_leave_nothing_is_taken_back(tmp_path: Path) -> None:
    app, _ = town(tmp_path, "policy", 901, 3)
    watched = watch(app, [Recorder()])
    assert any(each.kind == "reward fell: policy" for each in watched.findings)
    assert (watched.taken_back, app.live()) == (None, "v2")


def test_a_healthy_deployment_is_left_alone_and_the_look_is_kept(tmp_path: Path) -> None:
    app, clock = town(tmp_path, "healthy", 901, 2, automatic=True)
    recorder = Recorder()
    watched = watch(app, [recorder])
    assert [each for each in watched.findings if each.kind.startswith("reward")] == []
    assert (watched.taken_back, app.live()) == (None, "v1")
    (look,) = app.tasks.recent(JOB, 5)
    assert (look.status, look.executed_at) == ("completed", pytest.approx(clock.now))


def test_a_channel_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    app = opened(tmp_path)
    app.stop(reason="a fire", by="ann")
    broken, fine = Recorder(broken=True, name="broken"), Recorder()
    watched = watch(app, [broken, fine])
    assert watched.failed == ("broken",)
    (said,) = fine.said
    assert said.title == f"{BASELINE}: a fire"


def test_a_training_that_failed_is_told(tmp_path: Path) -> None:
    app = opened(tmp_path)
    app.tasks.record(Task("rl_training", app.now(), "failed", 0, 0, 1.0, {}, "The disk is full."))
    recorder = Recorder()
    watch(app, [recorder])
    assert [each.title for each in recorder.said] == ["The disk is full."]


def test_a_trial_that_cannot_make_its_decisions_is_told(tmp_path: Path) -> None:
    clock = Clock()
    app = opened(tmp_path, clock, release={"automatic": False})
    log(app, ["ann", "ben"], 3)
    version = app.train().trained.version
    assert version is not None
    app.deployment.registry.record("shop", Event(clock.now, "tried", version.id, "", {}, "", 1.0))
    made = app.decider().decide_many([Request({"mood": "happy", "age": 30}, user=f"u{row}") for row in range(20)])
    failed = [each._replace(id=f"failed-{each.id}", version=BASELINE) for each in made]
    app.deployment.log.append(failed)
    recorder = Recorder()
    watch(app, [recorder])
    assert [each.title for each in recorder.said] == [f"{version.id} could not make 20 of 40 decisions."]


def finding(kind: str, subject: str = "") -> Finding:
    return Finding(kind, subject, "critical", "It fell.", ())


KINDS = ["reward fell: feedback", "reward fell: traffic", "reward fell: season", "context drift"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_a_version_can_be_at_fault_for_is_blamed_on_one(tmp_path: Path, kind: str) -> None:
    app, clock = town(tmp_path, "policy", 901, 3)
    settled = clock.now - DAY
    seen = observe(domain(), app.deployment.log.read(domain().name, 0.0, np.inf), 0.0, np.inf)
    assert blame(app.events(), finding("reward fell: policy"), seen, settled) == Blame("v2", on_trial=False)
    assert blame(app.events(), finding(kind), seen, settled) is None


def test_nobody_pays_for_the_rows_of_another(tmp_path: Path) -> None:
    """v2 is bad and taken back; v1, live again for some hours, is not blamed for what v2 did; nor is a new trial."""
    app, clock = town(tmp_path, "policy", 901, 3, automatic=True)
    assert watch(app, [Recorder()]).taken_back == "v2"
    app.deployment.registry.add(empty("v3"))
    app.deployment.registry.record(domain().name, Event(clock.now, "tried", "v3", "", {}, "", 0.5))
    for _ in range(3):
        clock.now += 3600
        assert watch(app, [Recorder()]).taken_back is None
    assert app.live() == "v1"


def test_a_trial_that_decides_for_everybody_can_still_be_taken_back(tmp_path: Path) -> None:
    app, clock = town(tmp_path, "policy", 901, 0, automatic=True)
    world, registry, log = World("policy", 901), app.deployment.registry, app.deployment.log
    registry.record(domain().name, Event(clock.now, "tried", "v2", "", {}, "", 1.0))
    for number in range(world.begins, world.begins + 4):
        log.append(*world.day(number, Arms("v1", "v2", 0.95)).facts())
        clock.now += DAY
    watched = watch(app, [Recorder()])
    assert (watched.taken_back, app.live()) == ("v2", "v1")
    assert app.events()[-1].kind == "withdrawn"


def test_an_alert_that_could_not_be_told_is_told_later_and_events_are_told_once(tmp_path: Path) -> None:
    clock = Clock()
    app = opened(tmp_path, clock)
    app.stop(reason="a fire", by="ann")
    away = Recorder(broken=True)
    assert watch(app, [away]).failed == ("recorder",)
    clock.now += 3600
    back = Recorder()
    watch(app, [back])
    assert [each.title for each in back.said] == [f"{BASELINE}: a fire"]
    clock.now += 3600
    assert watch(app, [back]).told == ()  # what happened is over when it is told: nothing is resolved


def test_the_baseline_is_never_blamed() -> None:
    nothing = observe(domain(), MemoryLog().read(domain().name, 0.0, 1.0), 0.0, 1.0)
    assert blame([], finding("reward fell: policy"), nothing, DAY) is None


def test_channels_are_those_that_are_set() -> None:
    assert channels_of(Alerts()) == [LogChannel()]
    told = channels_of(
        Alerts(webhook="https://example.org/hook", webhook_key="k", mail_host="mail.example.org", mail_to=["a@b.org"])  # type: ignore[arg-type]
    )
    assert [type(each) for each in told] == [LogChannel, Webhook, Mail]
    assert "example.org/hook" not in repr(told)
