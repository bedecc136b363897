"""What the loops are handed: the problem, the stores, the record of the jobs, as ports. Times: UNIX seconds (UTC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from gymnasium.spaces import Space

from bondhu.types import Array, Columns, Decision, Encoder, Feedback, Floats, Policy, Records


@dataclass(frozen=True)
class Signal:
    """What one kind of feedback is worth: reward = weight x value, with value inside [low, high]."""

    weight: float
    low: float = 0.0
    high: float = 1.0
    error: float = 0.0  # standard deviation of what the weight may really be


@dataclass(frozen=True)
class Objective:
    """One part of a vector reward: worth x value of signals, worth of an action as such, and of its being fresh."""

    signals: Mapping[str, float] = field(default_factory=dict)
    actions: Mapping[str, float] = field(default_factory=dict)  # by name; others are worth 0
    fresh: float = 0.0  # of an action that was not taken before in the same session


@dataclass(frozen=True)
class Reward:
    """How feedback becomes a reward."""

    signals: Mapping[str, Signal]
    default: float = 0.0  # reward of a decision nobody said anything about
    wait: float = 86_400.0  # seconds after which missing feedback counts as the default
    count_late: bool = False  # whether feedback after `wait` still changes the reward; it is reported either way
    delay_horizon: float = 0.0  # seconds back over which delays are learned: feedback in time then stands for later one
    objectives: Mapping[str, Objective] = field(default_factory=dict)  # the parts of a vector reward by name


class Domain(Protocol):
    """One problem: what is seen, what can be done, what feedback is worth, and the rule in force before learning."""

    @property
    def name(self) -> str: ...
    @property
    def actions(self) -> tuple[str, ...]: ...
    @property
    def reward(self) -> Reward: ...
    @property
    def action_features(self) -> Floats | None:
        """What is known of the actions themselves: `[A, G]`, or None."""

    @property
    def idle(self) -> float:
        """Seconds without a decision after which a session has ended; 0: each decision stands alone."""

    def choices(self, context: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The actions that exist in this context; None: all of them."""

    def columns(self, contexts: Sequence[bytes]) -> Columns:
        """Decode and validate JSON contexts into typed columns; raises InvalidInput naming row, field and value."""

    def encoder(self, observes: type[Space[Any]]) -> Encoder:
        """The encoder for learners that observe codes (MultiDiscrete) or features (Box)."""

    def describe(self) -> Mapping[str, Any]:
        """Plain data from which the encoders and actions can be rebuilt: stored with each version."""

    def baseline(self) -> Policy:
        """The rule that learning is to beat; observes codes."""


class Log(Protocol):
    """Append-only facts."""

    def append(self, decisions: Sequence[Decision], feedback: Sequence[Feedback] = ()) -> None:
        """Commit all of it or nothing. A row already there with the same content is skipped; with other content it
        raises DuplicateId. Feedback may come before its decision."""

    def read(self, domain: str, start: float, end: float) -> Records:
        """Decisions with start <= time < end and all their feedback so far."""

    def find(self, decision_id: str) -> tuple[Decision, list[Feedback]] | None:
        """One decision and what was said of it (revised and revoked rows included), or None."""


@dataclass(frozen=True)
class Task:
    """One run of a job: a row of `system_tasks`."""

    task_name: str
    executed_at: float  # seconds
    status: str  # "completed", "failed" or "skipped"
    users_processed: int
    records_processed: int
    duration_seconds: float
    metadata: Mapping[str, Any]  # {"training": {"average_reward": ..., "agent_stats": {...}, ...}}
    error: str | None = None


class Tasks(Protocol):
    """The record of what the jobs did."""

    def record(self, task: Task) -> None: ...
    def recent(self, task_name: str, limit: int) -> list[Task]:
        """Newest first."""


@dataclass(frozen=True)
class Version:
    """A learner's state with all that is needed to act with it: arrays and plain data, never code."""

    id: str
    domain: str
    learner: str  # name in the catalogue, such as "tabular.q_learning"
    hyperparameters: Mapping[str, Any]
    state: Mapping[str, Array]  # the fields of the learner's state
    description: Mapping[str, Any]  # Domain.describe() when it was trained
    created: float  # seconds
    parent: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)  # training metrics, window, verdict


class Event(NamedTuple):
    """One step in the life of the versions of a domain."""

    time: float  # seconds
    kind: str  # a row of registry.lifecycle.TRANSITIONS
    version: str  # the version this is about; the one that is live afterwards for "promoted" and "rolled_back"
    reason: str
    figures: Mapping[str, Any]
    by: str = ""  # who or what did it
    share: float | None = None  # of the people who meet the version from now on, for "tried"


class Registry(Protocol):
    """Versions and the append-only history of which of them was live."""

    def add(self, version: Version, reason: str = "") -> None:
        """Store the version and record "added"."""

    def load(self, version_id: str) -> Version:
        """Raises UnknownName, StateCorrupt or StateTooNew."""

    def record(self, domain: str, event: Event, *, seen: int | None = None) -> None:
        """Append one event, if the table of transitions allows it. Raises Conflict where it does not, or where more
        than `seen` events are there already; ClockBehind where the event is older than the last one."""

    def events(self, domain: str) -> Sequence[Event]:
        """Oldest first; cheap to call for every decision."""


@dataclass(frozen=True)
class Deployment:
    """The one argument the loops take."""

    domain: Domain
    log: Log
    registry: Registry
