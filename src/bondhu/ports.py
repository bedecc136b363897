"""What the loops are handed: the problem, the stores, the record of the jobs, as ports. Times: UNIX seconds (UTC)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gymnasium.spaces import Space

from bondhu.types import Array, Columns, Decision, Encoder, Feedback, Floats, Policy, Records

PUBLISHED_KEY = "admin-dev-key-change-in-production"  # the administrator's, as documentation prints it: for development
ERASURE = "erasure"  # the kind of the ledger's entries that certify that a person was erased


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
    aggregate: str = "sum"  # of several feedbacks of one signal on one decision: "sum" of them, or only the "first"


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


@dataclass(frozen=True)
class LogSummary:
    """How much a log holds of one domain."""

    decisions: int
    feedback: int  # rows as they arrived, revised and revoked ones included
    first: float | None  # seconds; time of the earliest decision
    last: float | None
    unmatched: int  # feedback, of any domain, whose decision has not arrived
    bytes: int  # of the whole store


class Log(Protocol):
    """Append-only facts."""

    def append(self, decisions: Sequence[Decision], feedback: Sequence[Feedback] = ()) -> None:
        """Commit all of it or nothing. A row already there with the same content is skipped; with other content it
        raises DuplicateId. Feedback may come before its decision."""

    def read(self, domain: str, start: float, end: float) -> Records:
        """Decisions with start <= time < end and all their feedback so far."""

    def find(self, decision_id: str) -> tuple[Decision, list[Feedback]] | None:
        """One decision and what was said of it (revised and revoked rows included), or None."""

    def said(self, feedback_id: str) -> Feedback | None:
        """One feedback as it arrived, whether its decision is there or not, or None."""

    def summary(self, domain: str) -> LogSummary:
        """How much is there."""


class Facts(NamedTuple):
    """A piece of a log as it arrived: revised and revoked feedback included. Feedback follows its decision, but that
    whose decision is not there comes in a piece of its own, the last one."""

    decisions: list[Decision]
    feedback: list[Feedback]


class Erased(NamedTuple):
    """What was taken out of a log."""

    decisions: tuple[str, ...]  # ids
    feedback: tuple[str, ...]  # ids


class Keeping(Protocol):
    """What an operator does with a log that keeps its rows: move them, let old ones go, take a person out."""

    def facts(self, domain: str, start: float, end: float) -> Iterator[Facts]:
        """Decisions with start <= time < end in order of arrival, with all their feedback, a piece at a time; with
        end = ∞, also the feedback that waits for a decision."""

    def let_go(self, domain: str, before: float) -> Erased:
        """Delete decisions older than this and their feedback, whole sessions or not at all."""

    def forget(self, decisions: Collection[str], feedback: Collection[str]) -> None:
        """Delete exactly the rows with these ids, as many as are there; other feedback of those decisions waits."""

    def erase(self, domain: str, user: str) -> Erased:
        """Delete the decisions of a person and all that was said of them, so that the bytes are gone from the files."""

    def backup(self, path: Path) -> None:
        """A consistent copy of the whole store at this path, made while others write."""

    def reach(self, domain: str, before: float, count: int) -> tuple[float, int] | None:
        """The time of the `count`-th newest decision before a time, of the earliest one where there are fewer, and how
        many that are; None where there is none. Looks at so many entries of an index."""


class Transcript(NamedTuple):
    """What was said around one decision."""

    decision_id: str
    time: float  # seconds; when the answer ended
    body: Mapping[str, Any]  # plain data: "messages", "answer", "usage", "upstream", "model", "status", "cost" ...


class Transcripts(Protocol):
    """What was said around decisions. It goes where its decision goes: erased, let go, forgotten with it."""

    def keep(self, transcripts: Sequence[Transcript], feedback: Sequence[Feedback] = ()) -> None:
        """Commit all of them; one that is there already stays as it is. One whose decision is not there is left out:
        it may be that of somebody who was erased meanwhile, and nobody could find it by their name any more. `feedback`
        under ids that are new is committed with them: all of it or nothing, but for that of decisions that are not
        there."""

    def transcripts(self, decision_ids: Collection[str]) -> list[Transcript]:
        """Those of these decisions that are there, in the order in which they were kept."""

    def latest(self, domain: str, session: str, user: str | None) -> tuple[Decision, Transcript | None] | None:
        """The newest decision of a user's session around which something was said, and that; None where there is none.
        What others said under the same name is not theirs. Cheap to call for every request."""


class Entry(NamedTuple):
    """One thing noted beside the facts."""

    seq: int  # ascending
    time: float  # seconds
    kind: str  # "key", "act", "export", "erasure" ...
    domain: str
    body: Mapping[str, Any]  # plain data


class Ledger(Protocol):
    """What is noted beside the facts, by kind: keys, administrative acts, exports, erasures. Append-only."""

    def note(self, kind: str, domain: str, body: Mapping[str, Any], *, time: float) -> Entry:
        """Append; on disk when it returns."""

    def entries(self, kind: str, domain: str | None = None, *, after: int = 0) -> list[Entry]:
        """Oldest first, with seq > `after`; None: of every domain."""

    def kinds(self) -> list[str]:
        """Kinds of which something was noted, sorted."""


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

    def names(self) -> list[str]:
        """Names of the tasks that were recorded, sorted."""


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
