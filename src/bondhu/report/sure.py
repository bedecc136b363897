"""How sure it is: every estimator's view, the one that errs the least, and every kind of interval."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from bondhu.report.layout import block, figure, refusals, say, section, side_by_side, table
from bondhu.report.markup import Markup
from bondhu.report.pictures import Line, Mark, Words, forest, legend
from bondhu.report.study import Choice, Compared, Figure, Kind, Study
from bondhu.report.words import Numbers, numbers, percent, rounded
from bondhu.types import Estimate


def how_sure(study: Study, write: Numbers) -> Markup:
    """The section."""
    parts = [_estimators(study, write), _chosen(study.chosen, study), _kinds(study, write)]
    if study.sessions:
        parts.append(_sessions(study))
    return section("how-sure", "How sure is that?", *parts)


def figure_of(estimate: Estimate) -> Figure:
    """What a picture needs of an estimate."""
    return Figure(estimate.value, estimate.low, estimate.high)


def gain(figure: Figure) -> Mark:
    """The mark of a difference: whole where the interval leaves out 0."""
    return Mark("gain" if figure.low > 0 or figure.high < 0 else "unsure", figure)


def _estimators(study: Study, write: Numbers) -> Markup:
    looked = (
        f"The gate looked at {study.judged_by}. Estimators assume different things: where "
        "they agree, that is worth more than any one of them."
    )
    compared = _compared("estimator", study, study.estimates, write, "mean reward of a decision")
    return block("What each estimator says", say(looked), *compared)


def _sessions(study: Study) -> Markup:
    why = (
        "A decision changes what comes after it. These estimators judge whole sessions: the sum of the rewards from "
        "the first decision on, had the policy made all of them."
    )
    compared = _compared("estimator", study, study.sessions, numbers(study.sessions), "reward of a whole session")
    return block("What a whole session would earn", say(why), *compared)


def _compared(what: str, study: Study, found: Sequence[Compared], write: Numbers, unit: str) -> list[Markup]:
    """Both policies and their difference as two pictures and a table, and why any of them was refused."""
    answered = [each for each in found if not (each.candidate.refused and each.against.refused)]
    parts = [side_by_side(*pictures(study, answered, unit))] if answered else []
    rows = [
        (each.name, write.whole(each.candidate), write.whole(each.against), write.whole(each.advantage, signed=True))
        for each in found
    ]
    columns = (what, study.candidate, study.against, "advantage")
    caption = f"{unit.capitalize()} under both policies, by {what}, with {percent(study.confidence)} intervals"
    return [*parts, table(caption, columns, rows), refusals(_refused(study, found))]


def _refused(study: Study, found: Sequence[Compared]) -> list[tuple[str, str, str]]:
    """Which estimator refused which policy, and why; once where it refused both for one reason."""
    told = []
    for each in found:
        ours, theirs = each.candidate.refused, each.against.refused
        if ours and ours == theirs:
            told.append((each.name, "", ours))
            continue
        told += [(each.name, study.candidate, ours)] if ours else []
        told += [(each.name, study.against, theirs)] if theirs else []
    return told


def pictures(study: Study, found: Sequence[Compared], unit: str) -> list[Markup]:
    """What both policies are worth, and where it can be said, how much more the candidate is."""
    both = [
        Line(
            each.name,
            (Mark("candidate", figure_of(each.candidate)), Mark("against", figure_of(each.against))),
            each.name == study.judged_by,
        )
        for each in found
    ]
    apart = [Line(each.name, (gain(figure_of(each.advantage)),), each.name == study.judged_by) for each in found]
    sure = f"{percent(study.confidence)} intervals"
    worth = Words(f"{unit} under both policies".capitalize(), "The table below has the numbers.", unit)
    more = Words(f"Advantage of {study.candidate}", "The table below has the numbers.", f"more {unit}")
    policies = legend([("candidate", study.candidate), ("against", study.against)])
    signs = legend([("gain", "surely not 0"), ("unsure", "may be 0")])
    shown = [figure(forest(worth, both, labels=130), f"{unit.capitalize()}, {sure}.", policies)]
    if any(not each.advantage.refused for each in found):
        caption = f"Advantage over {study.against}, {sure}."
        shown.append(figure(forest(more, apart, reference=0.0, labels=130), caption, signs))
    return shown


def _chosen(chosen: Choice, study: Study) -> Markup:
    found = f"By what the log itself says of their errors, {chosen.name} errs the least." if chosen.name else ""
    also = "" if chosen.name in ("", study.judged_by) else f" The verdict still rests on {study.judged_by}."
    parts = [say(f"{found}{also}")] if found else []
    parts.append(say(chosen.reason))
    if chosen.table:
        rows = [(each.name, rounded(each.error), rounded(each.noise), rounded(each.bias)) for each in chosen.table]
        columns = ("estimator", "estimated error", "standard error", "bias seen")
        parts.append(table("Estimated errors of the candidate's value, least first", columns, rows))
    return block("Which estimator errs the least here", *parts)


def _kinds(study: Study, write: Numbers) -> Markup:
    if not study.kinds:
        return block("What kind of interval", say("There is no estimate that an interval could be of."))
    values = [Line(each.name, (Mark("candidate", each.candidate),)) for each in study.kinds]
    gains = [Line(each.name, (gain(each.advantage),)) for each in study.kinds]
    says, sure = "The table below has the numbers.", f"{percent(study.confidence)} intervals"
    worth = Words(f"Value of {study.candidate} by kind of interval", says, "mean reward of a decision")
    more = Words("Advantage by kind of interval", says, "more reward of a decision")
    shown = [figure(forest(worth, values, labels=140), f"Value of {study.candidate}, {sure}.")]
    if any(isfinite(each.advantage.value) for each in study.kinds):
        shown.append(figure(forest(more, gains, reference=0.0, labels=140), f"Advantage over {study.against}, {sure}."))
    columns = ("kind", "of", f"value of {study.candidate}", "advantage", "what it assumes")
    rows = [_kind(each, write) for each in study.kinds]
    return block("What kind of interval", side_by_side(*shown), table("Intervals of every kind", columns, rows))


def _kind(each: Kind, write: Numbers) -> tuple[str, ...]:
    intervals = write.between(each.candidate), write.between(each.advantage, signed=True)
    return (each.name, each.estimator, *intervals, each.assumes)
