"""The recommendation system under its plain names: a face over the deployment, its live loop and its training."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu.app import App, open_app
from bondhu.domains.recommendation.action import RecommendationAction
from bondhu.domains.recommendation.agent import QLearningAgent
from bondhu.log.join import join
from bondhu.serve.decide import Heard, Request, Said
from bondhu.settings import load
from bondhu.train.window import DAY
from bondhu.training import training_metadata


class RecommendationParams(dict[str, Any]):
    """Parameters for a recommendation API, with the id under which feedback on them is to be given."""

    def __init__(self, parameters: Mapping[str, Any], *, decision_id: str, action: RecommendationAction) -> None:
        super().__init__(parameters)
        self.decision_id = decision_id
        self.action = action


class RLTrainingOrchestrator:
    """Coordinates decisions, feedback, training and evaluation of one recommendation deployment."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._decider = app.decider()

    @property
    def agent(self) -> QLearningAgent:
        """The newest trained table, or an empty one before the first training."""
        versions = self.app.versions()
        if not versions:
            return QLearningAgent(bins=int(self.app.domain.describe()["fields"][0]["bins"]))
        return QLearningAgent.of_version(self.app.deployment.registry.load(versions[-1]))

    def get_recommendation_params(
        self,
        user_id: str,
        personality_profile: Mapping[str, float],
        content_type: str = "music",
        mood: str = "neutral",
        time_of_day: str = "evening",
    ) -> RecommendationParams:
        """Decide for a user and log the decision; the result can be passed on as keyword arguments."""
        context = {**personality_profile, "content_type": content_type, "mood": mood, "time_of_day": time_of_day}
        decision = self._decider.decide(Request(context, user=user_id))
        action = RecommendationAction.from_name(decision.action)
        return RecommendationParams(action.to_recommendation_params(), decision_id=decision.id, action=action)

    def record_feedback(self, decision_id: str, interaction_type: str, value: float = 1.0) -> Heard:
        """Log what the user did: like, dislike, complete, skip, share, completion_rate or mood_improvement."""
        return self._decider.hear([Said(decision_id, interaction_type, value)])[0]

    def train(self, days_back: float = 7, min_interactions_per_user: int = 5) -> dict[str, Any]:
        """Train on the last days and leave a row in `system_tasks`; returns what the row says of it."""
        plan = replace(self.app.plan(), days_back=days_back, minimum_interactions=min_interactions_per_user)
        return training_metadata(self.app.train(plan))

    async def evaluate_model(self, test_days: float = 3) -> dict[str, float]:
        """What users said of the decisions of the last days, off the event loop."""
        return await asyncio.to_thread(self._evaluate, test_days)

    def _evaluate(self, test_days: float) -> dict[str, float]:
        domain, now = self.app.domain, self.app.now()
        records = self.app.deployment.log.read(domain.name, now - test_days * DAY, np.inf)
        joined = join(domain, records, start=-np.inf, end=np.inf, observes=MultiDiscrete)  # feedback so far
        said = Counter(records.feedback_signal)
        decided = max(len(records.id), 1)
        return {
            "test_days": float(test_days),
            "interactions": float(len(records.id)),
            "average_reward": joined.report.mean_reward if joined.report.rows else 0.0,
            "like_rate": said["like"] / decided,
            "dislike_rate": said["dislike"] / decided,
        }


def get_rl_orchestrator() -> RLTrainingOrchestrator:
    """The orchestrator of the directory in BONDHU_DIRECTORY, or of this one; made once for each directory."""
    return _orchestrator(Path(os.environ.get("BONDHU_DIRECTORY", ".")).resolve())


@cache
def _orchestrator(directory: Path) -> RLTrainingOrchestrator:
    return RLTrainingOrchestrator(open_app(load(directory, needed=False)))
