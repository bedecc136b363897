"""What the log can say: how much each decision counts, where it is silent, and what it held."""

from __future__ import annotations

from math import isfinite

from bondhu.report.layout import Drawn, Show, block, facts, framed, refusals, say, section, side_by_side, table
from bondhu.report.markup import Markup
from bondhu.report.pictures import Words
from bondhu.report.shares import histogram
from bondhu.report.study import Study, Support, Weights
from bondhu.report.words import NOTHING, percent, rounded

HEAVY = 0.7


def the_log(study: Study, show: Show = framed) -> Markup:
    """The section."""
    parts = [_weights(study, show), *(_support(each) for each in study.support), _held(study)]
    return section("the-log", "What can the log say?", *parts)


def _weights(study: Study, show: Show) -> Markup:
    if not study.weights:
        return block("How much each decision counts", say("There are no decisions that both policies could see."))
    why = (
        "A logged decision counts for as often as a policy would have taken it, for once that it was taken: a weight "
        "of 1 is as often. Where few decisions carry most of the weight, luck does."
    )
    shown = [show(_drawn(each, number)) for number, each in enumerate(study.weights) if len(each.counts)]
    rows = [
        (
            each.policy,
            rounded(each.effective_samples),
            percent(each.zeros / max(each.zeros + int(each.counts.sum()), 1)),
            f"{each.half:,}",
            rounded(each.largest),
            percent(each.largest / max(float(each.sums.sum()), 1e-300)),
            rounded(each.tail, 2) if isfinite(each.tail) else NOTHING,
        )
        for each in study.weights
    ]
    columns = (
        "policy",
        "effective samples",
        "do not count",
        "half of it lies on",
        "largest weight",
        "its part of all",
        "tail (Pareto shape)",
    )
    told = say(
        f"Above a Pareto shape of {HEAVY:g}, means of weighted rewards do not settle; —: there is no tail.", "note"
    )
    why_not = refusals([(each.policy, "", each.refused) for each in study.weights if each.refused])
    made = table("Importance weights of the decisions", columns, rows)
    return block("How much each decision counts", say(why), side_by_side(*shown), made, told, why_not)


def _drawn(of: Weights, number: int) -> Drawn:
    """How much the decisions count for one policy."""
    name, words = ("weights", "weights-against")[number], _words(of)
    ends = zip(of.edges[:-1].tolist(), of.edges[1:].tolist(), strict=True)
    bins = zip(ends, of.counts.tolist(), of.sums.tolist(), strict=True)
    rows = [(0.0, 0.0, of.zeros, 0.0), *((low, high, count, total) for (low, high), count, total in bins)]
    columns = ("weight, from", "to", "decisions", "sum of their weights")
    return Drawn(name, words.name, histogram(words, of), _caption(of), columns, rows)


def _words(of: Weights) -> Words:
    says = (
        f"{of.zeros:,} of {of.zeros + int(of.counts.sum()):,} decisions have weight 0; the largest weight is "
        f"{rounded(of.largest)}."
    )
    return Words(f"Weights of the decisions for {of.policy}", says, "weight (logarithmic)")


def _caption(of: Weights) -> str:
    return (
        f"{of.policy}: bars are decisions, the outline is the part of all weight that they carry; the line is weight 1."
    )


def _support(of: Support) -> Markup:
    parts = [say(of.sentence)]
    if of.cells:
        columns = ("action", "where", "of all decisions", "of the policy's choices", "times in the log")
        rows = [
            (each.action, each.where or "everywhere", percent(each.share), percent(each.mass), f"{each.tries:,}")
            for each in of.cells
        ]
        parts.append(table(f"Actions that {of.policy} takes and the log hardly tries, worst first", columns, rows))
    return block(f"Where the log is silent about {of.policy}", *parts)


def _held(study: Study) -> Markup:
    return block("What the log held", facts([tuple(each) for each in study.log]))
