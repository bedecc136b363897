"""Is it better than the rule? The answer in one sentence, out of whatever can say it: people of the holdout, else what
the log said of the live version before it went out, else what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import NamedTuple

from bondhu.dashboard.columns.clusters import Mean
from bondhu.monitor.doctor import MINIMUM_DECISIONS
from bondhu.ports import Event
from bondhu.registry.lifecycle import BASELINE, Traffic
from bondhu.report.study import Figure
from bondhu.report.words import digits_of, moment, percent

LIVE_AGAIN = ("promoted", "rolled_back")  # what makes a version live
ADVICE = "Let some people always meet the rule, to know for sure: [release] holdout = 0.05."


class Beside(NamedTuple):
    """What the decisions of two groups of people say of each other."""

    difference: Figure  # reward of a decision: whoever meets what is learned, less those who meet the rule
    learned: int  # people of the first
    rule: int  # and of the second
    since: float  # seconds; when they began to meet different things
    sure: float = float("nan")  # seconds; the look from which on the first surely earn more; NaN: they do not
    end: float = inf  # seconds; when the rule was put back for everybody; infinite while it is not


class Answer(NamedTuple):
    """The answer."""

    decision: str  # "promote": better; "wait": not known; "refuse": worse
    word: str
    sentence: str
    notes: tuple[str, ...]  # what it rests on, and what would make it surer
    since: float  # seconds; NaN where nothing is known


def live_since(events: Sequence[Event], version: str | None) -> float:
    """When the live version went live, the last time; NaN of the rule."""
    kinds = [each.time for each in events if each.kind in LIVE_AGAIN and each.version == version]
    return kinds[-1] if kinds else float("nan")


def in_force_since(events: Sequence[Event]) -> float:
    """When what decides for most, a version or the rule, began to, or all else was stopped; NaN: it always did."""
    acting, since = BASELINE, float("nan")
    for each in events:
        if each.kind == "stopped" or (each.kind in LIVE_AGAIN and each.version != acting):
            acting, since = each.version, each.time
    return since


def rule_left(events: Sequence[Event]) -> float:
    """When versions began to decide in the place of the rule, without it being back since; NaN while it decides."""
    since = float("nan")
    for each in events:
        if each.kind == "stopped" or (each.kind in LIVE_AGAIN and each.version == BASELINE):
            since = float("nan")
        elif each.kind in LIVE_AGAIN and not isfinite(since):
            since = each.time
    return since


def answered(
    events: Sequence[Event], now: Traffic, seen: Beside | None, holdout: float, means: Mapping[str, Mean]
) -> Answer:
    """`seen`: live people beside those of the holdout; None where there are none. `holdout`: share of people who always
    meet the rule, by the settings. `means`: what each version has earned, whenever that was."""
    if now.live is None:
        settled = sum(each.decisions for each in means.values())
        return _of_rule(events, now, (*_meanwhile(seen), *_first(events, settled)))
    if seen is not None and isfinite(seen.difference.low) and isfinite(seen.difference.high):
        return _of_people(seen)
    found = _of_verdict(events, now.live, holdout)
    if found is not None:
        return found
    why = (
        f"{now.live} is live, and nobody meets the rule any more: there is nothing to compare it with."
        if not holdout
        else f"{now.live} is live; too few decisions are settled yet on either side."
    )
    return Answer("wait", "Not known", why, (*_before(now.live, means), *_advice(holdout)), float("nan"))


def _before(live: str, means: Mapping[str, Mean]) -> tuple[str, ...]:
    """What both earned, each in its time."""
    both = [means.get(name) for name in (live, BASELINE)]
    known = [Figure(*each[:3]) for each in both if each is not None and isfinite(each.mean)]
    if len(known) < 2:
        return ()
    write = digits_of(known)
    ours, theirs = (f"{write.plain(each.value)} ({write.between(each)})" for each in known)
    return (f"A decision earned {ours} under it, and {theirs} under the rule; at other times, so that proves nothing.",)


def _of_rule(events: Sequence[Event], now: Traffic, notes: tuple[str, ...]) -> Answer:
    """Nothing that was learned is live."""
    nothing = float("nan")
    if now.stopped:
        last = next(each for each in reversed(events) if each.kind == "stopped")
        said = f"Everything was stopped by {last.by or 'somebody'}: {last.reason}"
        return Answer("refuse", "Stopped", f"The rule decides for everybody. {said}", notes, last.time)
    if now.step is not None and now.step.share:
        sentence = f"The rule is in force; {now.step.version} is on trial for {percent(now.step.share)} of the people."
    elif any(each.kind == "added" for each in events):
        sentence = "The rule decides for everybody; no version is live."
    else:
        sentence = "The rule decides for everybody; nothing has been trained yet."
    return Answer("wait", "Not yet", sentence, notes, nothing)


def _first(events: Sequence[Event], settled: int) -> tuple[str, ...]:
    """What to do where no version was ever live."""
    if any(each.kind in LIVE_AGAIN for each in events):
        return ()
    if any(each.kind == "added" for each in events):
        return ("The releases say what each version still lacks.",)
    if settled >= MINIMUM_DECISIONS:
        return ("Train a first version: `bondhu train`.",)
    there = f"{settled:,} decision{' is' if settled == 1 else 's are'} settled"
    return (f"There is too little to learn from yet: {there}; some {MINIMUM_DECISIONS:,} make a first version.",)


def _meanwhile(seen: Beside | None) -> tuple[str, ...]:
    """What people on trial earn, or what was known when the rule was put back."""
    if seen is None or not isfinite(seen.difference.low) or not isfinite(seen.difference.high):
        return ()
    found, over = seen.difference, isfinite(seen.end)
    write = digits_of([found])
    way = "more" if found.value >= 0 else "less"
    chance = "" if found.low > 0 or found.high < 0 else ", which may be chance"
    until = f"From {moment(seen.since)} to {moment(seen.end)}" if over else f"From {moment(seen.since)} on"
    return (
        f"{until}, a decision earned {write.plain(abs(found.value))} {way} than under the rule for the "
        f"{seen.learned:,} people who met what was learned, beside {seen.rule:,} of the holdout{chance} (95 % interval "
        f"{write.between(found, signed=True)}, at every look).",
    )


def _of_people(seen: Beside) -> Answer:
    found = seen.difference
    write = digits_of([found])
    between = f"95 % interval {write.between(found, signed=True)}, at every look"
    rests = (
        f"It rests on {seen.learned:,} people who meet what was learned and {seen.rule:,} of the holdout, who always "
        f"meet the rule; from {moment(seen.since)} on. Rewards are those of decisions as served, exploration included.",
    )
    amount = write.plain(abs(found.value))
    if found.low > 0:
        surely = f" Surely so since {moment(seen.sure)} at the latest." if isfinite(seen.sure) else ""
        said = f"A decision earns {amount} more ({between}).{surely}"
        return Answer("promote", "Better than the rule", said, rests, seen.sure)
    if found.high < 0:
        said = f"A decision earns {amount} less ({between})."
        return Answer("refuse", "Worse than the rule", said, rests, seen.since)
    way = "more" if found.value >= 0 else "less"
    said = f"A decision earns {amount} {way} than under the rule, which may be chance ({between})."
    return Answer("wait", "Not known yet", said, (f"{rests[0]} More decisions will tell.",), seen.since)


def _of_verdict(events: Sequence[Event], live: str, holdout: float) -> Answer | None:
    """What the log said of the live version beside the rule."""
    said = [each for each in events if each.kind == "judged" and each.version == live]
    against = [each for each in said if each.figures.get("against") == BASELINE and "advantage_value" in each.figures]
    if not against:
        return None
    last = against[-1]
    found = Figure(*(float(last.figures[f"advantage_{name}"]) for name in ("value", "low", "high")))
    write = digits_of([found])
    between = f"95 % interval {write.between(found, signed=True)}"
    way = "more" if found.value >= 0 else "less"
    foreseen = (
        f"judged on the log, a decision earns {write.plain(abs(found.value))} {way} than under the rule ({between})"
    )
    notes = ("That is an estimate from before; nobody is compared while it is live.", *_advice(holdout))
    since = live_since(events, live)
    if found.low > 0:
        return Answer("promote", "Better than the rule, by the log", f"As {foreseen}.", notes, since)
    if found.high < 0:
        return Answer("refuse", "Worse than the rule, by the log", f"As {foreseen}.", notes, since)
    return Answer("wait", "Not known", f"As {foreseen}: that may be chance.", notes, since)


def _advice(holdout: float) -> tuple[str, ...]:
    if holdout:
        return ()
    return (ADVICE,)
