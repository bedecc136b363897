"""What administrators may ask of a running deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bondhu.app import App
from bondhu.erasing import Forget, erase
from bondhu.errors import UnknownName, nearest
from bondhu.registry import lifecycle
from bondhu.schedule import jobs
from bondhu.serve.messages import Order
from bondhu.server.scheduling import make_scheduler
from bondhu.training import training_metadata


class Administration:
    """What the administrators' routes call."""

    def __init__(self, app: App) -> None:
        self.app = app

    def train(self) -> Mapping[str, Any]:
        """Train now; raises TrainingInProgress when somebody is at it."""
        run = self.app.train()
        status = "completed" if run.trained.version else "skipped"
        return {"task": jobs.TRAINING_JOB, "status": status, "training": training_metadata(run)}

    def releases(self) -> Mapping[str, Any]:
        """Who decides for whom, every version, and the history."""
        events = self.app.events()
        now = lifecycle.traffic(events)
        return {
            "traffic": {**now._asdict(), "step": now.step._asdict() if now.step else None},
            "versions": [each._asdict() for each in lifecycle.versions(events)],
            "history": [each._asdict() for each in events if each.kind != "judged"],
        }

    def verdicts(self, version: str | None) -> Mapping[str, Any]:
        """What the gate said of a version, or of all of them."""
        return {"verdicts": [each._asdict() for each in self.app.verdicts(version)]}

    def act(self, action: str, order: Order, by: str) -> Mapping[str, Any]:
        """Move a version; raises Conflict where the versions stand otherwise."""
        app, why = self.app, {"reason": order.reason, "by": by}
        actions: dict[str, Callable[[], Any]] = {
            "release": lambda: app.release(order.version, unproven=order.unproven, **why),
            "promote": lambda: app.promote(order.version, over=order.over, **why),
            "rollback": lambda: app.rollback(**why),
            "withdraw": lambda: app.withdraw(**why),
            "stop": lambda: app.stop(**why),
        }
        if action not in actions:
            fix = nearest(action, actions)
            raise UnknownName(f"There is no action {action!r}.", field="action", value=action, fix=fix)
        actions[action]()
        return self.releases()

    def erase(self, user: str, by: str, forget: Forget) -> Mapping[str, Any]:
        """Take a person out of everything, and return the certificate."""
        return erase(self.app, user, by=by, forget=forget)

    def health(self) -> Mapping[str, Any]:
        """The scheduled jobs, the last training and what the log holds."""
        log = self.app.log.summary(self.app.domain.name)
        recent = self.app.tasks.recent(jobs.TRAINING_JOB, 1)
        return {
            "decisions": log.decisions,
            "feedback": log.feedback,
            "last_training": {"executed_at": _iso(recent[0].executed_at), "status": recent[0].status}
            if recent
            else None,
            "scheduled_jobs": self._jobs(),
        }

    def _jobs(self) -> list[Mapping[str, Any]]:
        """What is scheduled, whichever process does it."""
        return jobs.describe(make_scheduler(self.app)) if self.app.settings.schedule.enabled else []


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
