"""A deployment of an assistant, filled with conversations by hand: what the gateway would have kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bondhu.app import App, open_app
from bondhu.ports import Transcript
from bondhu.settings import from_tables
from bondhu.types import Decision, Feedback

START = 1_800_000_000.0  # seconds
STYLES, MODELS = ("plain", "steps"), ("small", "large")
ACTIONS = tuple(f"{style}/{model}" for style in STYLES for model in MODELS)
TABLES: Mapping[str, Any] = {
    "domain": {"name": "chat", "idle": 1800},
    "context": {"topic": {"kind": "category", "values": ["code", "other"]}},
    "actions": {"style": list(STYLES), "model": list(MODELS)},
    "reward": {
        "wait": 3600,
        "signals": {
            "accept": 1.0,
            "clarification": 0.5,
            "reject": -0.5,
            "thumbs_up": 1.0,
            "copy": 0.3,
            "failed": 0.0,
            "cost": {"weight": 0.0, "range": [0, 1000]},
        },
    },
    "learner": {"name": "bandit.bernoulli_thompson"},
    "training": {"min_interactions_per_user": 1},
}


@dataclass
class Clock:
    """The time of a deployment."""

    time: float = START

    def __call__(self) -> float:
        return self.time


def deployment(folder: Path, clock: Clock | None = None, **tables: Any) -> App:
    """An assistant without conversations; `tables` beside those above."""
    settings = from_tables({**TABLES, **tables}, folder)
    return open_app(settings, now=clock or Clock(START + 86_400.0))


@dataclass
class Talk:
    """One turn."""

    asked: str | Sequence[Any] = "How do I sort a list?"
    answer: Any = "With sorted()."
    said: Mapping[str, float] = field(default_factory=dict)
    user: str | None = "ann"
    session: str = "s1"
    before: Sequence[Mapping[str, Any]] = ()
    more: Mapping[str, Any] = field(default_factory=dict)  # of the transcript's body
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the decision
    kept: bool = True


def fill(app: App, talks: Sequence[Talk]) -> list[str]:
    """Log them, a minute apart; ids of the decisions."""
    ids = []
    for number, talk in enumerate(talks):
        id_, time = f"d{number:04}", START + 60.0 * number
        context = {"topic": "code" if number % 2 else "other"}
        action = ACTIONS[number % len(ACTIONS)]
        made = Decision(
            *(id_, "chat", talk.session, talk.user, time, context, ACTIONS, action, 0.25, (1.0,), "baseline", "live")
        )
        heard = [Feedback(f"{id_}-{name}", id_, name, value, time + 30) for name, value in talk.said.items()]
        app.log.append([made._replace(**talk.changes)], heard)
        body = {
            "messages": [*talk.before, {"role": "user", "content": talk.asked}],
            "answer": {"role": "assistant", "content": talk.answer},
            "usage": {"prompt_tokens": 7, "completion_tokens": 5},
            "finish_reason": "stop",
            "status": "answered",
            **talk.more,
        }
        if talk.kept:
            app.transcripts.keep([Transcript(id_, time + 2, body)])
        ids.append(id_)
    return ids


def goes_on(*texts: str) -> list[dict[str, str]]:
    """A conversation so far: user, assistant, user ..."""
    return [{"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)]
