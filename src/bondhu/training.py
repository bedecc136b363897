"""One training with what came of it, and what `system_tasks` says of that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bondhu.release.loop import Look
from bondhu.train.judge import Judgement
from bondhu.train.run import Trained
from bondhu.types import Metrics, Verdict


@dataclass(frozen=True)
class TrainingRun:
    """A training with its verdict, and how its candidate was released, if it was."""

    trained: Trained
    judgement: Judgement | None  # None for an apprentice, and where nobody was kept back
    verdict: Verdict | None
    release: Look | None


def training_metadata(run: TrainingRun) -> dict[str, Any]:
    """What `system_tasks.metadata` says of a training."""
    trained = run.trained
    body: dict[str, Any] = {
        "average_reward": trained.report.mean_reward if trained.report.rows else None,
        "users_trained": trained.report.users,
        "agent_stats": agent_stats(trained.metrics),
        "report": asdict(trained.report),
        "version": trained.version.id if trained.version else None,
        "released": run.release.move.kind if run.release else None,
    }
    if run.verdict:
        body["verdict"] = asdict(run.verdict)
    return body


def agent_stats(metrics: Metrics) -> dict[str, float]:
    """A learner's metrics, with coverage under the names that the recommendation system's reports use."""
    names = {"states": "total_states", "cells": "total_state_actions", "largest_value": "max_q_value"}
    return {**metrics, **{name: metrics[metric] for metric, name in names.items() if metric in metrics}}
