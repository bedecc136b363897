"""What answers may cost on average: a limit that is learned to be kept, whatever people like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bondhu import settings
from bondhu.app import App, open_app
from bondhu.domains.assistant import template
from bondhu.serve.messages import Request, Said
from bondhu.types import Feedback

CONTEXT = {
    "text": "", "words": 5, "complexity": 0.2, "topic": "chat", "language": "en", "mood": "neutral", "has_code": "no",
    "has_tools": "no", "turn": 1, "length": 5, "retry": "no", "feedback": "none", "user_turns": 0, "user_reward": 0.0,
    "hour": 12.0, "weekday": "mon",
}  # fmt: skip
LIKED = {"small": 0.4, "large": 0.9}
COST = {"small": 0.001, "large": 0.02}  # dollars
LEARNER = """
[learner]
name = "objectives.vector_reward"
weights = {liked = 1.0}
limits = {dollars = LIMIT}
multiplier_rate = 100.0
multiplier_steps = 300

[learner.inner]
name = "bandit.online_regression"
"""


def learned(folder: Path, limit: float) -> float:
    """The share of the large model after a training under this limit of the mean cost."""
    text = template().replace("[learner]                 #", "[unused]                  #")
    before, _, after = text.partition("[unused]")
    tail = after[after.index("[training]") :]
    (folder / "bondhu.toml").write_text(before + LEARNER.replace("LIMIT", str(-limit)) + tail, encoding="utf-8")
    clock = [1_800_000_000.0]
    app: App = open_app(settings.load(folder), now=lambda: clock[0])
    decider, rng = app.decider(), np.random.default_rng(0)
    for number in range(600):
        action = app.domain.actions[number % len(app.domain.actions)]
        model = action.split("/")[1]
        made = decider.decide(Request(CONTEXT, user=f"u{number % 60}", allowed=(action,)))
        if rng.random() < LIKED[model]:
            decider.hear([Said(made.id, "accept", user=made.user)])
        app.log.append([], [Feedback(f"cost-{made.id}", made.id, "cost", COST[model], clock[0])])
    clock[0] += 3 * 86_400
    version = app.train().trained.version
    assert version is not None
    acting = app.acting(version.id)
    one = acting.encoder.one(CONTEXT)
    chances = acting.policy.distribution(one[None], np.ones((1, len(acting.actions)), bool))[0]
    return float(sum(chance for name, chance in zip(acting.actions, chances, strict=True) if name.endswith("large")))


@pytest.mark.parametrize(("limit", "large"), [(0.05, 1.0), (0.005, 0.0)])
def test_a_limit_of_the_cost_decides_which_model_is_asked(tmp_path: Path, limit: float, large: float) -> None:
    assert learned(tmp_path, limit) == large
