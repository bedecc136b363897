"""How sure it is: every estimator's view, the one that errs the least, and every kind of interval."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from bondhu.report.layout import Drawn, Show, block, framed, refusals, say, section, side_by_side, table
from bondhu.report.markup import Markup
from bondhu.report.pictures import Line, Mark, Words, forest, legend
from bondhu.report.study import Choice, Compared, Figure, Kind, Study
from bondhu.report.words import Numbers, numbers, percent, rounded
from bondhu.types import Estimate


def how_sure(study: Study, write: Numbers, show: Show = framed) -> Markup:
    """The section."""
    parts = [_estimators(study, write, show), _chosen(study.chosen, study), _kinds(study, write, show)]
    if study.sessions:
        parts.append(_sessions(study, show))
    return section("how-sure", "How sure is that?", *parts)


def figure_of(estimate: Estimate) -> Figure:
    """What a picture needs of an estimate."""
    return Figure(estimate.value, estimate.low, estimate.high)


def gain(figure: Figure) -> Mark:
    """The mark of a difference: whole where the interval leaves out 0."""
    return Mark("gain" if figure.low > 0 or figure.high < 0 else "unsure", figure)


def raw(*figures: Figure | Estimate) -> tuple[float, ...]:
    """Values and the ends of their intervals, as a table of plain numbers has them."""
    return tuple(number for each in figures for number in (each.value, each.low, each.high))


def raw_columns(*names: str) -> tuple[str, ...]:
    """What `raw` is called."""
    return tuple(said for name in names for said in (name, f"{name}, from", f"{name}, to"))


def _estimators(study: Study, write: Numbers, show: Show) -> Markup:
    looked = (
        f"{len(study.estimates)} ways to estimate the same from the log, by their usual names. They assume different "
        f"things, which is told at the end of the page: where they agree, that is worth more than any one of them. The "
        f"gate looked at {study.judged_by}."
    )
    drawn = [show(each) for each in pictures(study, _answered(study.estimates), "mean reward of a decision")]
    compared = _compared(study, study.estimates, write, "mean reward of a decision", drawn)
    return block("What each estimator says", say(looked), *compared)


def _sessions(study: Study, show: Show) -> Markup:
    why = (
        "A decision changes what comes after it. These estimators judge whole sessions: the sum of the rewards from "
        "the first decision on, had the policy made all of them."
    )
    unit = "reward of a whole session"
    drawn = [show(each) for each in pictures(study, _answered(study.sessions), unit, "session")]
    compared = _compared(study, study.sessions, numbers(study.sessions), unit, drawn)
    return block("What a whole session would earn", say(why), *compared)


def _answered(found: Sequence[Compared]) -> list[Compared]:
    return [each for each in found if not (each.candidate.refused and each.against.refused)]


def _compared(
    study: Study, found: Sequence[Compared], write: Numbers, unit: str, drawn: Sequence[Markup]
) -> list[Markup]:
    """Both policies and their difference as two pictures and a table, and why any of them was refused."""
    parts = [side_by_side(*drawn)] if drawn else []
    rows = [
        (each.name, write.whole(each.candidate), write.whole(each.against), write.whole(each.advantage, signed=True))
        for each in found
    ]
    columns = ("estimator", study.candidate, study.against, "advantage")
    caption = f"{unit.capitalize()} under both policies, by estimator, with {percent(study.confidence)} intervals"
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


def pictures(study: Study, found: Sequence[Compared], unit: str, name: str = "decision") -> list[Drawn]:
    """What both policies are worth, and where it can be said, how much more the candidate is; none where none of them
    says anything. `name`: in the names of the pictures."""
    if not found:
        return []
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
    values = [(each.name, *raw(each.candidate, each.against)) for each in found]
    columns = ("by", *raw_columns(study.candidate, study.against))
    said = f"{unit.capitalize()}, {sure}."
    drawn = [Drawn(f"{name}-values", worth.name, forest(worth, both, labels=130), said, columns, values, policies)]
    if any(not each.advantage.refused for each in found):
        said, gains = f"Advantage over {study.against}, {sure}.", [(each.name, *raw(each.advantage)) for each in found]
        columns, picture = ("by", *raw_columns("advantage")), forest(more, apart, reference=0.0, labels=130)
        drawn.append(Drawn(f"{name}-advantages", more.name, picture, said, columns, gains, signs))
    return drawn


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


def _kinds(study: Study, write: Numbers, show: Show) -> Markup:
    if not study.kinds:
        return block("What kind of interval", say("There is no estimate that an interval could be of."))
    values = [Line(each.name, (Mark("candidate", each.candidate),)) for each in study.kinds]
    gains = [Line(each.name, (gain(each.advantage),)) for each in study.kinds]
    says, sure = "The table below has the numbers.", f"{percent(study.confidence)} intervals"
    worth = Words(f"Value of {study.candidate} by kind of interval", says, "mean reward of a decision")
    more = Words("Advantage by kind of interval", says, "more reward of a decision")
    of_value = [(each.name, *raw(each.candidate)) for each in study.kinds]
    said, picture = f"Value of {study.candidate}, {sure}.", forest(worth, values, labels=140)
    shown = [show(Drawn("kinds-of-value", worth.name, picture, said, ("kind", *raw_columns("value")), of_value))]
    if any(isfinite(each.advantage.value) for each in study.kinds):
        of_gain = [(each.name, *raw(each.advantage)) for each in study.kinds]
        said, picture = f"Advantage over {study.against}, {sure}.", forest(more, gains, reference=0.0, labels=140)
        told = ("kind", *raw_columns("advantage"))
        shown.append(show(Drawn("kinds-of-advantage", more.name, picture, said, told, of_gain)))
    columns = ("kind", "of", f"value of {study.candidate}", "advantage", "what it assumes")
    rows = [_kind(each, write) for each in study.kinds]
    return block("What kind of interval", side_by_side(*shown), table("Intervals of every kind", columns, rows))


def _kind(each: Kind, write: Numbers) -> tuple[str, ...]:
    intervals = write.between(each.candidate), write.between(each.advantage, signed=True)
    return (each.name, each.estimator, *intervals, each.assumes)
