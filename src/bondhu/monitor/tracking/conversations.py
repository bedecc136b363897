"""What is told of a deployment beside its figures: trainings, verdicts on their versions, conversations. Plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Judged(NamedTuple):
    """What the gate said of a version the last time."""

    time: float  # seconds
    decision: str  # "promote", "wait" or "refuse"
    reasons: Sequence[str]
    against: str  # the version that it would replace
    estimates: Mapping[str, tuple[float, float, float]]  # value, low and high by what is estimated


class Trained(NamedTuple):
    """One training and the version that came of it."""

    version: str
    time: float  # seconds
    learner: str
    hyperparameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    notes: Mapping[str, Any]  # of the training: window, share held out, verdict
    folder: Path  # arrays and plain data, never code
    parent: str | None = None
    judged: Judged | None = None


class Answered(NamedTuple):
    """One turn of a conversation, as it was stored: what privacy took out is not in it."""

    id: str  # of the decision
    start: float  # seconds
    end: float  # seconds
    messages: Sequence[Mapping[str, Any]]
    answer: Any
    attributes: Mapping[str, Any]  # version, action, probability, reward, model ...
    said: Mapping[str, float]  # feedback by signal
    tokens: tuple[int, int] | None = None  # in, out
    failed: bool = False


class Conversation(NamedTuple):
    """One session."""

    domain: str
    session: str
    users: tuple[str, ...]  # who is known in it, each once
    turns: Sequence[Answered]  # oldest first; not empty


class Figures(NamedTuple):
    """What is known after one interaction."""

    step: int  # its number, from 1
    time: float  # seconds
    metrics: Mapping[str, float]
