"""Who wins and who loses: groups of decisions, the worst of them, guardrails and the parts of the reward."""

from __future__ import annotations

from bondhu.report.layout import Drawn, Show, block, framed, refusals, say, section, side_by_side, table
from bondhu.report.markup import Markup, joined
from bondhu.report.pictures import Line, Words, forest, legend
from bondhu.report.shares import curves
from bondhu.report.study import Curve, Figure, Study
from bondhu.report.sure import figure_of, gain, pictures, raw, raw_columns
from bondhu.report.words import Numbers, percent

SIGNS = (("gain", "surely not 0"), ("unsure", "may be 0"))


def who(study: Study, write: Numbers, show: Show = framed) -> Markup:
    """The section."""
    parts = [
        _groups(study, write, show),
        _guardrails(study, write, show),
        _objectives(study, show),
        _curves(study, write, show),
    ]
    return section("who", "Who wins, and who loses?", *parts)


def _groups(study: Study, write: Numbers, show: Show) -> Markup:
    looked = (
        "The gate looked at these groups: it refuses where one of them surely loses more than is tolerated."
        if study.guarded
        else "For information: the gate looks at groups where [gate] groups names fields of the context."
    )
    if not study.groups:
        return block("Groups", say("There is no advantage that could be told apart by groups."))
    if study.all_groups > len(study.groups):
        looked += f" Of {study.all_groups:,} groups, those that gain the most and the least are shown."
    lines = [Line(each.name, (gain(figure_of(each.advantage)),)) for each in study.groups]
    words = Words("Advantage within groups", "The table below has the numbers.", "more reward of a decision")
    said = f"Advantage over {study.against}. The {percent(study.confidence)} intervals hold for all groups at once."
    found = [(each.name, each.rows, *raw(each.advantage)) for each in study.groups]
    told = ("group", "decisions", *raw_columns("advantage"))
    picture = forest(words, lines, reference=0.0, labels=190)
    drawn = show(Drawn("groups", "Advantage by group", picture, said, told, found, legend(SIGNS)))
    rows = [(each.name, f"{each.rows:,}", write.whole(each.advantage, signed=True)) for each in study.groups]
    columns = ("group", "decisions", "advantage")
    return block("Groups", say(looked), side_by_side(drawn, table("Advantage within groups", columns, rows)))


def _guardrails(study: Study, write: Numbers, show: Show) -> Markup:
    if not study.guardrails:
        return joined([])
    lines = [Line(each.name, (gain(figure_of(each.more)),)) for each in study.guardrails]
    words = Words("Guardrails", "The table below has the numbers.", "more of the signal, a decision")
    rows = [(each.name, f"{each.tolerated:+g}", write.whole(each.more, signed=True)) for each in study.guardrails]
    columns = ("signal", "tolerated", "more of it, a decision")
    why = refusals([(each.name, "", each.more.refused) for each in study.guardrails if each.more.refused])
    said, picture = f"How much more of each signal {study.candidate} brings.", forest(words, lines, reference=0.0)
    found = [(each.name, each.tolerated, *raw(each.more)) for each in study.guardrails]
    told = ("signal", "tolerated", *raw_columns("more of it"))
    drawn = show(Drawn("guardrails", words.name, picture, said, told, found, legend(SIGNS)))
    made = table("Signals that must not grow", columns, rows)
    return block("Guardrails", side_by_side(drawn, joined([made, why])))


def _objectives(study: Study, show: Show) -> Markup:
    if not study.objectives:
        return joined([])
    drawn = pictures(study, study.objectives, "worth of a decision", "part")
    return block("Parts of the reward", side_by_side(*map(show, drawn)))


def _curves(study: Study, write: Numbers, show: Show) -> Markup:
    why = refusals([(each.policy, "", each.refused) for each in study.curves if each.refused])
    shown = [each for each in study.curves if not each.refused]
    if not shown:
        return block("Not the mean alone", why or say("There are no decisions whose rewards could be told apart."))
    names = "; ".join(f"{each.policy}: {_told(each.figures, write)}" for each in shown)
    words = Words("Share of decisions that earn at most so much", f"{names}.", "reward of a decision")
    caption = (
        "A line further to the right, and lower, earns more. The bands hold the whole line. Weighed as snips does."
    )
    signs = [(kind, each.policy) for kind, each in zip(("candidate", "against"), study.curves, strict=False)]
    points = [point for each in shown for point in _points(each)]
    at = ("policy", "reward", *raw_columns("share of decisions at most so much"))
    picture, policies_drawn = curves(words, study.curves), legend(signs, shapes=False)
    drawn = show(Drawn("curves", words.name, picture, caption, at, points, policies_drawn))
    policies = [each.policy for each in shown]
    columns = ("of the reward", *policies)
    rows = [_row(at, name, study, write) for at, (name, _) in enumerate(shown[0].figures)]
    made = table(f"The reward of a decision, {percent(study.confidence)} intervals", columns, rows)
    return block("Not the mean alone", side_by_side(drawn, joined([made, why])))


def _points(of: Curve) -> list[tuple[str, float, float, float, float]]:
    """The corners of a distribution function."""
    columns = (each.tolist() for each in (of.values, of.cdf, of.low, of.high))
    return [(of.policy, *point) for point in zip(*columns, strict=True)]


def _row(at: int, name: str, study: Study, write: Numbers) -> tuple[str, ...]:
    return (name, *(write.whole(each.figures[at][1]) for each in study.curves if not each.refused))


def _told(figures: tuple[tuple[str, Figure], ...], write: Numbers) -> str:
    return ", ".join(f"{name} {write.plain(each.value)}" for name, each in figures)
