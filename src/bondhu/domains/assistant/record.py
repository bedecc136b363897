"""The record of one interaction in seven groups: how it was decided, what was expected, what came of it, and how the
assistant does on the whole. A pure function of what the log and the registry hold, for queries and for trackers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import erf, inf, sqrt
from types import MappingProxyType
from typing import Any, NamedTuple

from bondhu.domains.assistant.totals import Totals, Trend
from bondhu.equations.intervals import Interval
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.ports import Version
from bondhu.types import Belief, Decision, Feedback

GROUPS = (
    "policy_info",
    "exploration_data",
    "value_estimation",
    "reward_signal",
    "rl_metrics",
    "rl_state",
    "learning_feedback",
)
LOSSES = ("loss", "value_loss", "squared_error", "td_error", "error")  # as learners report it, the first that is there
BASELINE = "baseline"


@dataclass(frozen=True)
class PolicyInfo:
    """How it was decided."""

    method: str  # the rule of exploration; "epsilon_greedy" where only the floor explores, "baseline" for the rule
    epsilon: float  # share of decisions drawn at random


@dataclass(frozen=True)
class ExplorationData:
    """How often other ways are tried, and how that changes."""

    exploration_rate: float
    strategy: str  # "adaptive": less as confidence grows, "decaying": less with time, "fixed"


@dataclass(frozen=True)
class RlMetrics:
    """How the assistant did up to this interaction."""

    episode: int  # interactions, this one included
    total_reward: float
    avg_reward: float  # of an interaction
    success_rate: float  # share of them with a reward above 0


@dataclass(frozen=True)
class RlState:
    """What decided."""

    initialized: bool  # whether it learned from anything yet
    learning_enabled: bool
    model_version: str


@dataclass(frozen=True)
class LearningFeedback:
    """How the learning of the version went, and how sure it was of this action."""

    gradient_norm: float | None  # None: the learner has no gradient, or says nothing of it
    loss: float | None
    confidence: (
        float  # probability that the action is the best, as far as is known; without a belief, of the action taken
    )


@dataclass(frozen=True)
class InteractionRecord:
    """One interaction."""

    decision_id: str
    time: float  # seconds
    action: str
    policy_info: PolicyInfo
    exploration_data: ExplorationData
    value_estimation: float | None  # expected reward, or return, of the state; None: nothing is known of it
    reward_signal: float
    rl_metrics: RlMetrics
    rl_state: RlState
    learning_feedback: LearningFeedback
    signals: Mapping[str, float]  # what people said, summed by signal; revisions applied
    trend: Trend  # of the average reward
    interval: Interval  # of the average reward, 95 %

    def as_dict(self) -> dict[str, Any]:
        """The seven groups as plain data."""
        everything = asdict(self)
        return {group: everything[group] for group in GROUPS}

    def figures(self) -> dict[str, float]:
        """All numbers by dotted name, such as "rl_metrics.avg_reward", for a tracker; what is not known is left out."""
        found: dict[str, float] = {}
        for group, value in self.as_dict().items():
            named = (
                {f"{group}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {group: value}
            )
            found |= {name: float(each) for name, each in named.items() if isinstance(each, int | float)}
        low, high = self.interval
        more = {"rl_metrics.trend": self.trend.change, "rl_metrics.avg_low": low, "rl_metrics.avg_high": high}
        return found | {name: each for name, each in more.items() if abs(each) != inf}


class VersionFacts(NamedTuple):
    """What is known of the version that decided."""

    version: str
    actions: tuple[str, ...]  # in the order of its beliefs
    method: str = BASELINE
    epsilon: float = 0.0
    strategy: str = "fixed"
    initialized: bool = False
    learning_enabled: bool = True
    metrics: Mapping[str, Any] = MappingProxyType({})  # of its training


def facts_of(version: Version, actions: Sequence[str], floor: float = 0.0, *, learning: bool = True) -> VersionFacts:
    """The facts of a stored version, acting with an exploration floor."""
    method, own, strategy = "epsilon_greedy", 0.0, "fixed"
    rule = version.hyperparameters.get("exploration")
    if version.notes.get("explore") and isinstance(rule, Mapping) and "name" in rule:
        method = str(rule["name"])
        strategy = "adaptive"
        if method == "epsilon_greedy":
            greedy = EpsilonGreedy(**{name: value for name, value in rule.items() if name != "name"})
            own = greedy.rate(float(version.state.get("rounds", 0)))
            strategy = "decaying" if greedy.decay < 1 or greedy.power > 0 else "fixed"
    learned = bool(version.notes.get("interactions"))
    epsilon = floor + (1 - floor) * own
    return VersionFacts(version.id, tuple(actions), method, epsilon, strategy, learned, learning, version.notes)


def record(
    decision: Decision,
    feedback: Sequence[Feedback],
    reward: float,
    belief: Belief | None,
    totals: Totals,
    facts: VersionFacts,
) -> InteractionRecord:
    """The record of a decision. `belief`: what the version knew then, one row; `totals`: up to this one, included.

    value_estimation is (1 - ε)·max Q + ε·mean Q over the actions allowed: what acting greedily but for ε is worth.
    """
    allowed = [facts.actions.index(action) for action in decision.allowed if action in facts.actions]
    known = belief is not None and bool(allowed) and decision.action in facts.actions
    value, confidence = None, decision.probability
    if known:
        assert belief is not None
        values = [float(belief.value[0, action]) for action in allowed]
        value = (1 - facts.epsilon) * max(values) + facts.epsilon * sum(values) / len(values)
        confidence = confidence_in(belief, facts.actions.index(decision.action), allowed)
    return InteractionRecord(
        decision_id=decision.id,
        time=decision.time,
        action=decision.action,
        policy_info=PolicyInfo(facts.method, facts.epsilon),
        exploration_data=ExplorationData(facts.epsilon, facts.strategy),
        value_estimation=value,
        reward_signal=reward,
        rl_metrics=RlMetrics(totals.episodes, totals.total, totals.average, totals.success_rate),
        rl_state=RlState(facts.initialized, facts.learning_enabled, facts.version),
        learning_feedback=LearningFeedback(
            _first(facts.metrics, ("gradient_norm",)), _first(facts.metrics, LOSSES), confidence
        ),
        signals=said(feedback),
        trend=totals.trend(),
        interval=totals.interval(),
    )


def confidence_in(belief: Belief, action: int, allowed: Sequence[int]) -> float:
    """The probability that an action is better than its closest rival among the allowed ones, their values taken as
    normal and independent with the errors believed; 1 where it has no rival."""
    chances = [1.0]
    for rival in allowed:
        if rival != action:
            gap = float(belief.value[0, action] - belief.value[0, rival])
            error = sqrt(float(belief.error[0, action]) ** 2 + float(belief.error[0, rival]) ** 2)
            chances.append(0.5 + 0.5 * erf(gap / error / sqrt(2)) if error else 0.5 * (1 + (gap > 0) - (gap < 0)))
    return min(chances)


def said(feedback: Iterable[Feedback]) -> dict[str, float]:
    """What people said of one decision, summed by signal: of revisions the last one, nothing of what was revoked."""
    there = {each.id: each for each in sorted(feedback, key=lambda each: each.time)}
    replaced = {each.replaces for each in there.values()}
    signals: dict[str, float] = {}
    for each in there.values():
        if each.id not in replaced and each.value is not None:
            signals[each.signal] = signals.get(each.signal, 0.0) + each.value
    return signals


def _first(metrics: Mapping[str, Any], names: Iterable[str]) -> float | None:
    found = (metrics[name] for name in names if isinstance(metrics.get(name), int | float))
    return next((float(each) for each in found), None)
