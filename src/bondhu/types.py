"""The nouns and ports everybody speaks in. Everything else in the house is a function between these.

Shapes: T decisions, A actions, F observation columns, M memo columns. Times are UNIX seconds (UTC). A trailing
`_next` or a leading `next_` belongs to the following decision of the same session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from gymnasium.spaces import Space
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Booleans = NDArray[np.bool_]
Columns = Mapping[str, Array]  # one array of length T for each context field
Metrics = Mapping[str, float]


# ------------------------------------------------------------------------------------------------ what is seen and done


@dataclass(frozen=True)
class Spec:
    """What is seen and what can be done, in Gymnasium's language."""

    observation: Space[Any]  # codes, features `[F]`, or features of each action in this context `[A, F]`
    action: Space[Any]  # Discrete, MultiDiscrete (one action for each slot), or an interval (Box)
    action_features: Floats | None = None  # [A, G] what is known of the actions themselves


class PerAction(NamedTuple):
    """Marks a field of a learner's state, `Annotated[Floats, PerAction(1)]`: the axis with one entry for each action,
    so that actions can come and go."""

    axis: int = 0


class Declared(NamedTuple):
    """Marks a field of a learner's state that repeats what the domain declares of each action: the axis of actions.
    When actions come and go, or are described anew, the present declaration counts and not the one learned with."""

    axis: int = 0


class ActionNumbers(NamedTuple):
    """Marks a field of a learner's state that holds numbers of actions; -1 where an action is gone."""


class Derived(NamedTuple):
    """Marks a field of a learner's state that is a function of another: computed anew when actions come and go."""

    source: str
    function: Callable[[Any], Any]


class Encoder(Protocol):
    """Turns a context as the app sent it into an observation, one at a time or as columns; both agree."""

    @property
    def space(self) -> Space[Any]: ...

    def one(self, context: Mapping[str, Any]) -> Array:
        """Validate one context and encode it: `[F]`. Raises InvalidInput naming the field, the value and the fix."""

    def many(self, columns: Columns) -> Array:
        """Encode validated columns: `[T, F]`."""

    def variations(self, context: Mapping[str, Any]) -> Mapping[str, Array]:
        """By field, the same context as it would be observed with other typical values of that field: `[V, F]` each."""


# --------------------------------------------------------------------------------------------------------- logged facts


class Decision(NamedTuple):
    """One action taken for one context; written before the answer is sent."""

    id: str
    domain: str
    session: str  # decisions of one session, in time order, form one trajectory
    user: str | None
    time: float  # seconds
    context: Mapping[str, Any]  # as the app sent it, so that features can be recomputed with other bins
    allowed: tuple[str, ...]  # the actions the policy could choose from
    action: str
    probability: float  # of `action` under the policy that acted, in (0, 1]
    memo: tuple[float, ...]  # what the policy wants back when it learns from this row
    version: str  # of the policy that acted; "baseline" is the rule
    variant: str  # which arm of a trial; "live" outside of one
    assigned: float = 1.0  # with what probability this user is given this variant, in (0, 1]


class Feedback(NamedTuple):
    """One thing somebody said about one decision. Idempotent by `id`."""

    id: str
    decision_id: str
    signal: str
    value: float | None  # None revokes the feedback named by `replaces`
    time: float  # seconds
    replaces: str | None = None  # id of an earlier feedback that this one revises or revokes


# Two signals every domain understands: they carry no reward but say how a session stopped.
SESSION_END = "session_end"  # a true end: nothing follows, the value of what comes next is 0
SESSION_CUT = "session_cut"  # a time limit: something would have followed, but nobody saw it


@dataclass(frozen=True, eq=False)
class Names(Sequence[Any]):
    """A column of names, few of them different: a number for each row and what the numbers mean."""

    codes: Integers  # [T] index into `values`
    values: Sequence[Any]  # each once; of a column of users, None may be one

    @classmethod
    def of(cls, names: Sequence[Any]) -> Names:
        """The column of these names."""
        codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
        return cls(np.array([codes[name] for name in names], dtype=np.int64), list(codes))

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.codes.tolist())

    def __getitem__(self, row: Any) -> Any:
        return self.values[self.codes[row]]

    def take(self, rows: Integers) -> Names:
        """The column of these rows only."""
        return Names(self.codes[rows], self.values)

    def among(self, *wanted: str | None) -> Booleans:
        """Whether each row is one of these: `[T]`."""
        return np.array([value in wanted for value in self.values], dtype=bool)[self.codes]


@dataclass(frozen=True)
class Records:
    """Decisions and their feedback as columns, as a log reads them back; rows in order of arrival."""

    id: Sequence[str]  # [T]
    session: Names  # [T]
    user: Names  # [T] None where nobody is known
    time: Floats  # [T] seconds
    context: Sequence[bytes]  # [T] JSON objects as sent
    allowed: Integers  # [T] index into `allowed_sets`
    allowed_sets: Sequence[tuple[str, ...]]
    action: Names  # [T]
    probability: Floats  # [T]
    memo: Floats  # [T, M]
    version: Names  # [T]
    variant: Names  # [T]
    assigned: Floats  # [T] probability that the user is given the variant
    feedback_decision: Integers  # [K] row of the decision in these columns
    feedback_signal: Names  # [K]
    feedback_value: Floats  # [K]; revisions applied, revoked rows gone
    feedback_time: Floats  # [K] seconds


@dataclass(frozen=True)
class Batch:
    """Decisions joined with their rewards; sessions whole and in time order."""

    observation: Array  # [T, F]
    allowed: Booleans  # [T, A]; those of several slots side by side; [T, 1] on an interval
    action: Array  # [T] number of the action; [T, K] in slots; the action itself on an interval
    probability: Floats  # [T] of the logged action under the policy that acted
    reward: Floats  # [T]
    discount: Floats  # [T] 0 at a true end, else 1; the learner multiplies its own discount factor
    has_next: Booleans  # [T] row t + 1 is the same session's next decision; False at ends and cuts
    next_observation: Array  # [T, F] what to bootstrap from where discount is 1; zeros where it is 0
    next_allowed: Booleans  # [T, A]
    session: Integers  # [T] number of the session, ascending
    time: Floats  # [T] seconds
    memo: Floats  # [T, M]
    context: Columns = field(default_factory=dict)  # the typed columns behind `observation`, for another encoder
    objectives: Columns = field(default_factory=dict)  # the parts of a vector reward by name, `[T]` each

    @classmethod
    def single(cls, observation: Array, allowed: Booleans, action: Array, probability: Floats, reward: Floats) -> Batch:
        """Decisions that stand alone: nothing follows any of them."""
        after = _remembered if len(action) <= SMALL else _nothing_after
        ends, alone, session, time, memo = after(len(action))
        nothing = _zeros(observation.shape, observation.dtype)
        logged = observation, allowed, action, probability, reward
        return cls(*logged, ends, alone, nothing, allowed, session, time, memo)

    def __len__(self) -> int:
        return len(self.action)

    def take(self, rows: Booleans | Integers) -> Batch:
        """The batch of these rows only. Rows must keep sessions whole, or `has_next` would lie."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Batch(**{name: _rows_of(part, rows) for name, part in parts.items()})

    def seen_by(self, encoder: Encoder) -> Batch:
        """The same decisions as another encoder observes them (single decisions only: next rows are not re-encoded)."""
        return replace(self, observation=encoder.many(self.context))


def _nothing_after(rows: int) -> tuple[Array, ...]:
    """`discount`, `has_next`, `session`, `time` and `memo` of decisions that stand alone; not to be written to."""
    numbers = np.arange(rows)
    parts = np.zeros(rows), np.zeros(rows, np.bool_), numbers, numbers.astype(np.float64), np.empty((rows, 0))
    for part in parts:
        part.flags.writeable = False
    return parts


SMALL = 64  # rows up to which these are remembered
_remembered = lru_cache(maxsize=16)(_nothing_after)


@lru_cache(maxsize=16)
def _zeros(shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    return np.broadcast_to(np.zeros((), kind), shape)


def _rows_of(part: Array | Columns, rows: Booleans | Integers) -> Any:
    return {name: column[rows] for name, column in part.items()} if isinstance(part, Mapping) else part[rows]


# ------------------------------------------------------------------------------------------------- acting and learning


class Uniforms(Protocol):
    """Where randomness comes from: a NumPy Generator, or numbers derived from decision ids so they can be replayed."""

    def random(self, size: int, /) -> Floats:
        """`size` numbers in [0, 1)."""


class Choice(NamedTuple):
    """What a policy did for T observations."""

    action: Array  # [T]; `[T, K]` in slots; numbers on an interval
    probability: Floats  # [T]
    memo: Floats  # [T, M]


class Policy(Protocol):
    """A way of acting. Frozen; one propensity serves acting, logging and evaluation."""

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        """Probability of every action: `[T, A]`; rows sum to 1, disallowed actions have 0.

        In several slots: side by side, `[T, ΣA_k]`, and each slot's part sums to 1. On an interval: of each piece
        between the policy's `edges`, on which the density is constant.
        """

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:
        """Probability of one action a row, or of all slots of a row together: `[T]`; on an interval its density."""

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        """Draw one action a row, using one uniform number a row, or one for each slot."""


class Belief(NamedTuple):
    """What is known of the value of every action, for T observations."""

    value: Floats  # [T, A] expected reward, or return
    error: Floats  # [T, A] standard deviation of what the value may really be
    tries: Floats  # [T, A] decisions that stand behind it; fractions where evidence is shared or fades
    rounds: float = 0.0  # what schedules count: decisions learned from, or sessions where they are longer than one
    draws: Floats | None = None  # [K, T, A] joint draws of the values, such as the members of an ensemble
    scale: float = 1.0  # what a gap between values is large or small beside: the deviation of the rewards, if known


Beliefs = Callable[[Array], Belief]  # observation [T, F] -> Belief


class Exploration(Protocol):
    """A frozen rule of exploration over any estimate of values."""

    def __call__(self, belief: Belief, allowed: Booleans) -> Floats:
        """Exact probability of every action: `[T, A]`; rows sum to 1, disallowed actions have 0."""


class Acting(NamedTuple):
    """A version ready to act: its policy, the encoder it was trained with, and the actions it knows."""

    version: str  # "baseline" is the rule
    policy: Policy
    encoder: Encoder
    actions: tuple[str, ...]
    beliefs: Beliefs | None = None  # what it knows of the value of each action, where it acts by values


S = TypeVar("S")  # the state of a learner


class Learner(Protocol, Generic[S]):
    """A frozen dataclass whose fields are its hyper-parameters; state is passed in and returned, never kept."""

    observes: ClassVar[type[Space[Any]]]  # MultiDiscrete: codes; Box: features
    State: ClassVar[type[Any]]  # a frozen dataclass of arrays and numbers
    probes: ClassVar[tuple[str, ...]]  # problems in `domains.probes` whose known values it reaches

    def init(self, spec: Spec, rng: np.random.Generator) -> S:
        """The state before any feedback."""

    def update(self, state: S, batch: Batch, rng: np.random.Generator) -> tuple[S, Metrics]:
        """Learn from one batch. The given state is not to be used again: its arrays may have been reused."""

    def policy(self, state: S, *, explore: bool = False) -> Policy:
        """How to act: the best known action, or with the learner's own exploration."""

    def beliefs(self, state: S) -> Beliefs:
        """What is known of the value of every action: for exploring, and for explaining a decision."""


# ------------------------------------------------------------------------------------------------------------- judging


@dataclass(frozen=True)
class Estimate:
    """The value of a policy on logged decisions, with an interval; or a refusal, which is a result as well."""

    value: float  # mean reward of a decision
    low: float
    high: float
    effective_samples: float
    terms: Floats  # [T] contributions whose mean is `value`: two estimates on one batch compare row by row
    refused: str | None = None  # why the log does not support the question; value and bounds are NaN then


class Estimator(Protocol):
    """`(policy, batch) -> Estimate`."""

    name: ClassVar[str]
    # What one term of the estimate stands for: a "decision", a "session", a "slate" (one decision in several slots) or
    # a "dial" (one decision on an interval).
    scope: ClassVar[str]
    adaptive: ClassVar[bool]  # whether it holds on a log made by policies that learned from that very log

    def __call__(self, policy: Policy, batch: Batch) -> Estimate:
        """Estimate, or refuse with the reason."""


@dataclass(frozen=True)
class Verdict:
    """What the gate said of a candidate, and every figure it looked at."""

    decision: str  # "promote", "wait" or "refuse"
    reasons: tuple[str, ...]
    figures: Mapping[str, float]
