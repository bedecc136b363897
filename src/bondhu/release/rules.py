"""When a version takes the next step, when it is taken back, and when it waits: rules as data, and a pure decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, log
from typing import Any, NamedTuple

from bondhu.equations.mismatch import count_evidence
from bondhu.registry.lifecycle import Step

FALSE_ALARM = 0.01  # chance that a version is ever taken back for failures that are within the limit


@dataclass(frozen=True)
class ReleaseRules:
    """How a version that passed the gate reaches everybody, and what takes it back."""

    automatic: bool = False  # whether versions are released, advanced and taken back without anybody being asked
    shadow: bool = True  # whether a version first decides for nobody, from the log, to show that it can
    steps: tuple[float, ...] = (0.1, 0.5, 1.0)  # shares of the people, one after the other; none: live at once
    minimum_decisions: float = 1000  # settled decisions of the version at each step
    minimum_hours: float = 24.0  # at each step
    maximum_days: float = 28.0  # after which a trial that is still undecided is withdrawn
    maximum_loss: float = 0.05  # reward of a decision: a version climbs once a larger loss is ruled out
    maximum_error_rate: float = 0.01  # share of its decisions that a version could not make
    maximum_milliseconds: float = 20.0  # that one decision may take it, in shadow
    guardrails: Mapping[str, float] = field(default_factory=dict)  # signal: how much more of it a decision may bring
    groups: tuple[str, ...] = ()  # fields of the context: taken back where a group by one of them surely loses
    confidence: float = 0.99  # of what is said of a trial at every look at once: one in 100 is taken back for nothing
    apprentice: bool = False  # follow the application's own choice, where it says so, until a version is live
    holdout: float = 0.0  # share of people who always meet the rule


class Bounds(NamedTuple):
    """A figure and where it lies, at every look at once."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4g} ({self.low:+.4g} to {self.high:+.4g})"


NOBODY = "There is nobody yet to compare its people with, too few of them, or all earn the same."
NOTHING = Bounds(0.0, -inf, inf)  # known of a difference before there is data


class Shadow(NamedTuple):
    """What is known of a version in shadow."""

    decisions: int  # made a moment later, from the log
    failed: int  # it could not make
    milliseconds: float  # for one decision, 95 % of them take less
    agreement: float  # mean probability it gives to what was really done
    hours: float  # in shadow


class Trial(NamedTuple):
    """What is known of a version on trial."""

    decisions: int  # settled ones by the version at this step
    hours: float  # at this step
    days: float  # since the release began
    made: int  # decisions given to it at this step, settled or not
    failed: int  # of those: the live version had to decide in its place
    reward: Bounds  # reward of a decision, beside the live version
    guardrails: Mapping[str, Bounds]  # by signal: how much more of it a decision brings
    groups: Mapping[str, Bounds] = {}  # reward of a decision beside the live version within groups, "field = value"
    mismatch: str | None = None  # what is wrong with how people were split, if anything surely is


class Move(NamedTuple):
    """What is to be done, and why."""

    kind: str  # "wait", or a row of TRANSITIONS: "tried", "promoted" or "withdrawn"
    share: float | None  # for "tried"
    reasons: tuple[str, ...]
    figures: Mapping[str, Any]


def first_move(rules: ReleaseRules) -> Move:
    """How a release begins."""
    if rules.shadow:
        return Move("shadowed", None, ("It decides for nobody yet.",), {})
    if rules.steps:
        return Move("tried", rules.steps[0], (f"It decides for {rules.steps[0]:.0%} of the people.",), {})
    return Move("promoted", None, ("There are no steps to take: it decides for everybody.",), {})


def after_shadow(shadow: Shadow, rules: ReleaseRules) -> Move:
    """From shadow to the first trial, or back."""
    figures = shadow._asdict()
    if surely_above(shadow.failed, shadow.decisions, rules.maximum_error_rate):
        rate = shadow.failed / shadow.decisions
        why = f"It could not make {shadow.failed:,} of {shadow.decisions:,} decisions ({rate:.1%})."
        return Move("withdrawn", None, (why,), figures)
    waiting = _waiting(shadow.decisions, shadow.hours, rules, "decisions")
    if waiting and shadow.hours / 24 > rules.maximum_days:
        why = (
            f"After {shadow.hours / 24:.0f} days in shadow too little has come, and {rules.maximum_days:g} are allowed."
        )
        return Move("withdrawn", None, (why, *waiting), figures)
    if waiting:
        return Move("wait", None, waiting, figures)
    if shadow.milliseconds > rules.maximum_milliseconds:
        why = f"A decision takes it {shadow.milliseconds:.1f} ms, more than {rules.maximum_milliseconds:g}."
        return Move("withdrawn", None, (why,), figures)
    said = (
        f"In shadow it made {shadow.decisions - shadow.failed:,} of {shadow.decisions:,} decisions, in "
        f"{shadow.milliseconds:.2f} ms each, and agreed with what was done by {shadow.agreement:.0%}."
    )
    if not rules.steps:
        return Move("promoted", None, (said,), figures)
    return Move("tried", rules.steps[0], (said, f"It decides for {rules.steps[0]:.0%} of the people."), figures)


def after_trial(step: Step, trial: Trial, rules: ReleaseRules) -> Move:
    """To the next share, to everybody, back, or wait. What hurts people comes first and waits for nothing."""
    figures = {**trial._asdict(), "reward": trial.reward._asdict(), "share": step.share}
    for name in ("guardrails", "groups"):
        figures[name] = {key: each._asdict() for key, each in figures[name].items()}
    hurt = _hurt(trial, rules)
    if hurt:
        return Move("withdrawn", None, hurt, figures)
    waiting = _waiting(trial.decisions, trial.hours, rules) or _unsure(trial, rules)
    waiting = (trial.mismatch,) if trial.mismatch else waiting
    if waiting and trial.days > rules.maximum_days:
        why = f"After {trial.days:.0f} days it is still undecided, and {rules.maximum_days:g} are allowed."
        return Move("withdrawn", None, (why, *waiting), figures)
    if waiting:
        return Move("wait", None, waiting, figures)
    where = f"At {step.share:.0%}" if step.share < 1 else "While there were others to compare with,"
    said = f"{where} its reward of a decision differs by {trial.reward} from the live version's."
    higher = [share for share in rules.steps if share > step.share]
    if not higher:
        return Move("promoted", None, (said, "It decides for everybody."), figures)
    return Move("tried", higher[0], (said, f"It decides for {higher[0]:.0%} of the people."), figures)


def _hurt(trial: Trial, rules: ReleaseRules) -> tuple[str, ...]:
    found = []
    if surely_above(trial.failed, trial.made, rules.maximum_error_rate):
        found.append(f"It could not make {trial.failed:,} of {trial.made:,} decisions.")
    if trial.reward.high < 0:
        found.append(f"Its reward of a decision differs by {trial.reward} from the live version's: it surely loses.")
    for name, bounds in trial.groups.items():
        if bounds.high < 0:
            found.append(f"Where {name} its reward of a decision differs by {bounds}: they surely lose.")
    for name, bounds in trial.guardrails.items():
        if bounds.low > rules.guardrails[name]:
            allowed = f"more than the {rules.guardrails[name]:+.4g} that are tolerated"
            found.append(f"Guardrail {name!r}: {bounds} a decision, surely {allowed}.")
    return tuple(found)


def _waiting(decisions: int, hours: float, rules: ReleaseRules, what: str = "settled decisions") -> tuple[str, ...]:
    found = []
    if decisions < rules.minimum_decisions:
        found.append(f"{decisions:,} {what} at this step; {rules.minimum_decisions:,.0f} are needed.")
    if hours < rules.minimum_hours:
        found.append(f"{hours:.1f} hours at this step; {rules.minimum_hours:g} are needed.")
    return tuple(found)


def _unsure(trial: Trial, rules: ReleaseRules) -> tuple[str, ...]:
    if trial.reward.low >= -rules.maximum_loss:
        return ()
    if not isfinite(trial.reward.low):
        return (NOBODY,)
    return (
        f"Its reward of a decision differs by {trial.reward} from the live version's: a loss of more than "
        f"{rules.maximum_loss:g} is not ruled out yet.",
    )


def surely_above(failed: int, made: int, limit: float) -> bool:
    """Whether the rate of failures is above the limit, by a confidence sequence: looked at every minute, as it is, a
    version that fails no more often than the limit is called so in at most one of 100 releases."""
    if not failed or failed <= limit * made:
        return False
    return limit <= 0 or count_evidence(failed, made, limit) >= log(1 / FALSE_ALARM)
