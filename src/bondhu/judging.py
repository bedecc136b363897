"""What a version may be judged on: decisions that it, and whoever made them, did not learn from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from gymnasium.spaces import MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.evaluate.gate import GateRules, apprentice_gate
from bondhu.log.join import join, only, read_window
from bondhu.ports import Deployment, Event, Registry, Version
from bondhu.registry.lifecycle import BASELINE
from bondhu.train.imitate import agreement, of_application
from bondhu.train.window import Window, held_out, people
from bondhu.types import Acting, Verdict

ACTED = ("promoted", "tried", "rolled_back")


def kept_back(registry: Registry, names: Iterable[str], share: float) -> float:
    """The share of people that none of the versions, nor those they learned on from, was trained on."""
    return min([load.notes.get("holdout", share) for load in _loaded(registry, names)], default=share)


def check_apart(registry: Registry, names: Iterable[str], window: Window) -> None:
    """Raises InvalidInput where a version would be judged on decisions that it learned from."""
    for version in _loaded(registry, names):
        learned = float(version.notes.get("window_end", 0.0))
        if window.start < learned:
            raise InvalidInput(
                f"Version {version.id!r} learned from everybody's decisions until {_day(learned)}, and would be judged "
                f"on those from {_day(window.start)} on.",
                field="window",
                value=max(window.start, 0.0),
                fix="Judge it on later decisions (--days), or train with [training] holdout = 0.2.",
            )


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}" if seconds > 0 else "the first"


def adaptive(registry: Registry, events: Iterable[Event], window: Window) -> bool:
    """Whether versions that acted in the window had learned from it, so that its decisions depend on each other."""
    acted = {each.version for each in events if each.kind in ACTED and each.time < window.end}
    return any(each.notes.get("window_end", 0.0) > window.start for each in _loaded(registry, acted))


def apprentice(deployment: Deployment, acting: Acting, version: Version, rules: GateRules) -> Verdict:
    """Whether a version that imitates the application agrees with it, on people whom it was not shown."""
    start, end = version.notes["window_start"], version.notes["window_end"]
    records = read_window(deployment.domain, deployment.log, start, end)
    records = only(records, held_out(people(records), version.notes["holdout"]))
    records = only(records, of_application(records))
    batch = join(deployment.domain, records, start=start, end=end, observes=MultiDiscrete).batch
    if not len(batch):
        why = "Nobody was kept back whose decisions it could be compared with: [training] holdout = 0.2."
        return Verdict("wait", (why,), {"interactions": float(version.notes["interactions"])})
    found = agreement(acting.policy, batch.seen_by(acting.encoder))
    return apprentice_gate((found.low, found.high), found.share, float(version.notes["interactions"]), rules)


def _loaded(registry: Registry, names: Iterable[str]) -> list[Version]:
    return [registry.load(name) for name in names if name != BASELINE]
