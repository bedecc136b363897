"""The release under way, drawn: what is known of it now, what it still asks for, and when it will move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np

from bondhu.dashboard import layout
from bondhu.dashboard.charts.lines import Drawn, Mark, Series, lines
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.figures.trials import Missing, Point, Running
from bondhu.dashboard.layout import Card
from bondhu.dashboard.page import Asked, Chart, Table
from bondhu.experiments.ratio import RatioCheck
from bondhu.registry.lifecycle import Step
from bondhu.release.rules import NOBODY, ReleaseRules
from bondhu.report.layout import block, facts, say, table
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.pictures import Line, Words, forest, legend
from bondhu.report.study import Figure
from bondhu.report.sure import gain
from bondhu.report.words import NOTHING, percent

HOUR, DAY = 3600.0, 86_400.0  # seconds
NEXT = {  # what a look would do: the sign of the verdict, the word, the sentence
    "wait": ("wait", "It waits", "This step is not done yet."),
    "tried": ("promote", "It climbs", "The next step may begin: {share} of the people."),
    "promoted": ("promote", "It climbs", "It may go live for everybody."),
    "withdrawn": ("refuse", "It comes back", "It is to be withdrawn."),
}


def under_way(
    asked: Asked, found: Running, looks: Sequence[Point], rules: ReleaseRules, missed: Sequence[Missing]
) -> tuple[list[Markup], dict[str, Chart]]:
    """The parts of the section, and its charts. `looks`: those that moved this release; `missed`: what the step asks
    for."""
    parts = [_next(found, rules), *_open(found, rules, missed)]
    figures = found.move.figures
    charts: dict[str, Chart] = {}
    if "agreement" in figures:
        parts.append(layout.cards(_shadow(figures, rules)))
    if "reward" in figures:
        charts = {each.name: each for each in drawable(found, looks, rules)}
        drawn = layout.row(*(layout.chart(asked, each) for each in charts.values())) if charts else Markup("")
        parts += [layout.cards(_trial(found, rules)), _unknown(found), drawn, _split(found.ratio)]
        parts += [_guardrails(figures["guardrails"], rules), _groups(figures["groups"], rules)]
    return parts, charts


def _next(found: Running, rules: ReleaseRules) -> Markup:
    """What a look would do now, why, and who looks."""
    tone, word, sentence = NEXT[found.move.kind]
    share = percent(found.move.share) if found.move.share is not None else ""
    who = "the next scheduled look does so" if rules.automatic else "[release] automatic is off: `bondhu look` does so"
    moved = f" As soon as somebody looks, that is: {who}." if found.move.kind != "wait" else ""
    said = too_little(found) if NOBODY in found.move.reasons else ""
    reasons = tag("ul", *(tag("li", said if said and each == NOBODY else each) for each in found.move.reasons))
    return layout.verdict_line(tone, f"{sentence.format(share=share)}{moved}", reasons, word=word, name="next")


def _open(found: Running, rules: ReleaseRules, missed: Sequence[Missing]) -> list[Markup]:
    """What this step asks for beside what there is, and how long that takes."""
    if not missed:
        return []
    rows = [(each.about, each.found, each.wanted, _left(each)) for each in missed]
    columns = ("what", "there is", "asked for", "still to come")
    made = table("What this step asks for", columns, rows, stacked=True)
    return [made, tag("p", tag("b", "When? "), *_sentences(found, rules, missed), id="when", class_="said")]


def _left(of: Missing) -> str:
    if of.met:
        return "nothing"
    if of.hours * HOUR < 1:
        return "any time now"
    return f"about {layout.span(of.hours * HOUR)}" if isfinite(of.hours) else "nobody can say yet"


def _sentences(found: Running, rules: ReleaseRules, missed: Sequence[Missing]) -> list[str | Markup]:
    last = found.step.began + rules.maximum_days * DAY
    limit = joined([" If it is still undecided on ", layout.when(last), f" ({rules.maximum_days:g} days), it ends."])
    if found.move.kind != "wait":
        return ["A look moves it now."]
    open_ = [each for each in missed if not each.met]
    if not open_:
        return ["Nothing that can be counted is missing; the reasons above say what it waits for.", limit]
    slowest = max(open_, key=lambda each: each.hours)
    if not isfinite(slowest.hours):
        return [f"No time can be given. {_why(found, slowest)}", limit]
    pace = f"At the pace and the difference so far, in about {layout.span(slowest.hours * HOUR)}"
    if slowest.hours * HOUR < 1:
        pace = "At the pace and the difference so far, any time now"
    return [f"{pace}: {slowest.about} takes longest.{_foreseen(found)}", limit]


def _why(found: Running, slowest: Missing) -> str:
    """Why there is no time."""
    if found.unforeseen:
        return found.unforeseen
    if found.forecast is not None and slowest.about.startswith("lower"):
        return "At the difference that was seen it takes more than two years to be sure."
    return "Nobody has met it at this step yet."


def _foreseen(found: Running) -> str:
    """What the planner says of the interval."""
    of = found.forecast
    if of is None or not isfinite(of.median_days):
        return ""
    most = f", and 80 % within {of.sequential_days:.0f}" if isfinite(of.sequential_days) else ""
    days = f"{of.median_days:.0f} day{'' if of.median_days == 1 else 's'}"
    return f" Half of all releases with such a difference are decided within {days} from their begin{most}."


# ------------------------------------------------------------------------------------------------------------- figures


def _shadow(figures: Mapping[str, Any], rules: ReleaseRules) -> list[Card]:
    made, failed = int(figures["decisions"]), int(figures["failed"])
    fast = f"for 95 % of them; at most {rules.maximum_milliseconds:g} ms"
    return [
        Card("agreement", percent(float(figures["agreement"])), "mean probability of what was really done"),
        Card("failures", f"{failed:,} of {made:,}", f"decisions; at most {percent(rules.maximum_error_rate)}"),
        Card("one decision takes", f"{float(figures['milliseconds']):.3g} ms", fast),
    ]


def _trial(found: Running, rules: ReleaseRules) -> list[Card]:
    figures = found.move.figures
    reward = Figure(*(float(figures["reward"][name]) for name in ("value", "low", "high")))
    said, between = layout.within(reward, signed=True)
    sure = f"{between}, {percent(rules.confidence)} at every look" if between else "no interval yet: too few people"
    shown = [Card("difference in reward", said if between else NOTHING, sure)]
    if found.effect is not None and not found.effect.refused:
        for name, side in (("on trial", found.effect.treated), ("live", found.effect.control)):
            users, decisions = side.compared
            told = f"{layout.counted(users, 'person', 'people')}, {layout.counted(decisions, 'settled decision')}"
            people = f"{told} since the trial began"
            shown.append(Card(f"reward of a decision, {name}", f"{side.mean:.4g}", people))
    made, failed = int(figures["made"]), int(figures["failed"])
    limit = f"decisions at this step; at most {percent(rules.maximum_error_rate)}"
    return [*shown, Card("failures", f"{failed:,} of {made:,}", limit)]


def drawable(found: Running, looks: Sequence[Point], rules: ReleaseRules) -> list[Chart]:
    """The charts of differences that say anything."""
    told = (found.move.figures["reward"], *found.move.figures["groups"].values())
    now = [now_chart(found, rules)] if any(isfinite(_known(each).value) for each in told) else []
    course = any(isfinite(each.difference.low) for each in found.path)
    return [*now, difference_chart(found, looks, rules)] if course else now


def _unknown(found: Running) -> Markup:
    """Why there is no interval of the difference, where there is none."""
    why = too_little(found)
    if not why:
        return Markup("")
    again = "" if NOBODY in found.move.reasons else f" {why}"  # the reasons at the top say so already
    return layout.status("wait", f"There is no interval of the difference in reward yet, nor a course of it.{again}")


def too_little(found: Running) -> str:
    """Why nothing can be said of the difference yet, in figures; nothing where something can be said."""
    reward = found.move.figures["reward"]
    if isfinite(reward["low"]) and isfinite(reward["high"]):
        return ""
    of = found.effect
    if of is None:
        return "No decision is settled yet on one of the two sides."
    if of.refused and min(of.treated.compared[0], of.control.compared[0]) > 0:
        return of.refused
    told = [
        f"{layout.counted(side.compared[0], 'person', 'people')} {name} "
        f"({layout.counted(side.compared[1], 'settled decision')}) "
        f"{'is' if side.compared[0] == 1 else 'are'} worth {side.worth:.3g}"
        for name, side in (("on trial", of.treated), ("of the live version", of.control))
    ]
    return (
        f"It takes {of.looks.minimum_users} equally active people on either side: {told[0]} such, {told[1]}. Who "
        "decides far more than others adds little, since that one person is then most of what is seen."
    )


def now_chart(found: Running, rules: ReleaseRules) -> Chart:
    """The difference with its interval now, for everybody and within the groups that are watched."""
    figures = found.move.figures
    told = {"everybody": figures["reward"], **figures["groups"]}
    known = {name: _known(each) for name, each in told.items()}
    drawn = [Line(name, (gain(each),), name == "everybody") for name, each in known.items()]
    words = Words("Difference in reward now", "The table has the numbers.", "more reward of a decision")
    picture = forest(words, drawn, reference=0.0, labels=130)
    caption = f"{percent(rules.confidence)} intervals that hold at every look at once; refused: too few people yet."
    rows = [(name, *each) for name, each in known.items()]
    signs = legend([("gain", "surely not 0"), ("unsure", "may be 0")])
    made = Table(("among", "difference", "from", "to"), rows)
    return Chart("difference-now", words.name, picture, made, caption, signs)


def _known(of: Mapping[str, float]) -> Figure:
    """Nothing is said of a difference while anything is possible."""
    if not (isfinite(of["low"]) and isfinite(of["high"])):
        return Figure(nan, nan, nan)
    return Figure(float(of["value"]), float(of["low"]), float(of["high"]))


def difference_chart(found: Running, looks: Sequence[Point], rules: ReleaseRules) -> Chart:
    """The difference with its always-valid interval since the release began; where there were too few people, gaps."""
    known = np.array([isfinite(each.difference.low) for each in found.path])
    columns = np.array([each.difference for each in found.path], dtype=np.float64).reshape(-1, 3)
    columns[~known] = np.nan
    at = np.array([each.time for each in found.path])
    series = Series("difference", at, columns[:, 0], columns[:, 1], columns[:, 2])
    caption = (
        f"Reward of a decision beside the live version's. The band is the {percent(rules.confidence)} interval that "
        f"holds at every look at once; the version climbs once all of it lies above {0.0 - rules.maximum_loss:g}."
    )
    about = About("difference", "Difference in reward since the release began", caption)
    marks = [Mark(each.time, "a step") for each in looks]
    window = (found.step.began, found.path[-1].time)
    drawn = Drawn("more reward of a decision", reference=-rules.maximum_loss, window=window)
    return lines(about, [series], marks, drawn)


def _split(ratio: RatioCheck | None) -> Markup:
    """Whether people came to each variant as they were assigned."""
    title = "Are people split as they were assigned?"
    if ratio is None:
        return block(title, say("There are no settled decisions on both sides yet."))
    shown = layout.status("error" if ratio.mismatch else "good", ratio.sentence)
    columns = ("probability of the trial", "people drawn", "of them on trial", "expected")
    rows = [
        (percent(each.chance), f"{each.users:,}", f"{each.treated:,}", f"{each.expected:,.1f}") for each in ratio.splits
    ]
    p = [("p at one look", f"{ratio.p:.3g}"), ("p at every look", f"{ratio.always_valid_p:.3g}")]
    return block(title, shown, table("People by the share at which they were drawn", columns, rows), facts(p))


def _guardrails(found: Mapping[str, Mapping[str, float]], rules: ReleaseRules) -> Markup:
    if not found:
        return block("Guardrails", say("None are declared: [release.guardrails] names signals that must not grow."))
    rows = []
    for name, each in found.items():
        most = rules.guardrails.get(name, float("nan"))
        state = "breached" if each["low"] > most else "surely kept" if each["high"] <= most else "not surely kept yet"
        rows.append((name, between(each), f"{most:+g}", state))
    columns = ("signal", "more of it, a decision", "tolerated", "state")
    return block("Guardrails", table("Signals that must not grow, at every look", columns, rows))


def _groups(found: Mapping[str, Mapping[str, float]], rules: ReleaseRules) -> Markup:
    if not found:
        why = "No field is watched: [release] groups names fields by which no group may surely lose."
        if rules.groups:
            why = f"No group by {', '.join(rules.groups)} has settled decisions on both sides yet."
        return block("Groups", say(why))
    rows = [
        (name, between(each), "surely loses" if each["high"] < 0 else "surely gains" if each["low"] > 0 else "open")
        for name, each in sorted(found.items(), key=lambda item: item[1]["value"])
    ]
    columns = ("group", "difference in reward", "state")
    return block("Groups", table("The difference within groups; all intervals hold at once", columns, rows))


def between(of: Mapping[str, float]) -> str:
    """A difference and its interval, or that nothing is known yet."""
    if not (isfinite(of["low"]) and isfinite(of["high"])):
        return "nothing yet"
    said, interval = layout.within(Figure(of["value"], of["low"], of["high"]), signed=True)
    return f"{said} ({interval})"


def position(step: Step | None, names: Sequence[str], status: str) -> int:
    """The place on the ladder of a version with this status; -1: on none."""
    if step is not None:
        wanted = f"trial at {percent(step.share)}" if step.share else "shadow"
        return names.index(wanted) if wanted in names else 0
    return {"candidate": 0, "live": len(names) - 1}.get(status, -1)
