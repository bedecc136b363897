"""What the command line shows of experiments: effects, and how long they take to find."""

from __future__ import annotations

from math import isfinite

import numpy as np
from rich.markup import escape

from bondhu.evaluate.replay import Replayed
from bondhu.experiments.analysis import Analysis
from bondhu.experiments.effects import Effect
from bondhu.experiments.planner import Forecast, Traffic
from bondhu.report.study import Figure, Study
from bondhu.screen import console, facts, say, table
from bondhu.types import Estimate

COLOURS = {"better": "green", "worse": "red", "undecided": "yellow", "invalid": "red"}


def analysis(found: Analysis) -> None:
    """The answer, the effect with both kinds of interval, and what else was asked."""
    console.print(f"[bold {COLOURS[found.answer]}]{found.answer}[/]: {escape(found.sentences[0])}")
    effects = [("reward", found.primary)]
    effects += [(each.guardrail.metric.name, each.effect) for each in found.guardrails]
    rows = [(name, *_row(each, each.always_low, each.always_high)) for name, each in effects]
    together = (*found.secondary, *found.segments)  # their intervals hold together
    rows += [(each.name, *_row(each.effect, each.always_low, each.always_high)) for each in together]
    columns = ("metric", "treated", "control", "difference", "at every look", "at one planned look")
    table(f"Effects, {found.primary.looks.confidence:.0%} intervals", columns, rows)
    say(found.ratio.sentence)
    for sentence in [*(each.sentence for each in found.guardrails), *(each.sentence for each in together)]:
        say(sentence)


def _row(found: Effect, low: float, high: float) -> tuple[str, ...]:
    if found.refused:
        return ("—", "—", "—", found.refused, "")
    return (
        f"{found.treated.mean:.4f}",
        f"{found.control.mean:.4f}",
        f"{found.value:+.4f}",
        _interval(low, high),
        _interval(found.low, found.high),
    )


def _interval(low: float, high: float) -> str:
    return f"[{low:+.4f}, {high:+.4f}]" if isfinite(low) and isfinite(high) else "nothing yet"


def plan(found: Forecast, traffic: Traffic, within: int, findable: tuple[float, float]) -> None:
    """Days and people, with one look at the end and with a look every day."""
    facts(
        "Traffic",
        {
            "reward of a decision": f"{traffic.mean:.4f}, standard deviation {traffic.variance**0.5:.4f}",
            "people a day": f"{traffic.daily_users:,.0f}, each with {traffic.decisions:.1f} decisions",
            "decisions of one person": f"correlate by {traffic.correlation:.2f}",
        },
    )
    rows = [
        ("one look at the end", _days(found.fixed_days), _count(found.fixed_users), _count(found.fixed_decisions)),
        (
            "a look every day",
            f"{_days(found.sequential_days)}, half of them by {_days(found.median_days)}",
            _count(found.sequential_users),
            _count(found.sequential_decisions),
        ),
    ]
    table(
        f"To find an effect of {found.effect:+.4g} ({found.relative:+.1%})",
        ("how", "days", "people", "decisions"),
        rows,
    )
    fixed, sequential = findable
    say(f"{within} days find effects of {fixed:.4f} with one look at their end, of {sequential:.4f} looking every day.")


def replayed(found: Replayed) -> None:
    """What a learner would have earned while it learned."""
    if found.refused:
        say(f"refused: {found.refused}")
        return
    between = f"{found.low:.4f} to {found.high:.4f}"
    say(f"{found.value:.4f} a decision ({between}) over its first {found.accepted:,.0f} decisions")
    parts = np.array_split(found.curve, min(5, len(found.curve)))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    rows = [(f"up to {end:,}", f"{part.mean():.4f}") for end, part in zip(ends, parts, strict=True)]
    table("As it learned", ("decisions", "mean reward"), rows)
    say(f"{found.acceptance:.1%} of the log was as the learner would have it. Bias: {found.bias}")


def study(found: Study) -> None:
    """Every estimator's view of both policies, which errs the least, and the kinds of interval."""
    columns = ("estimator", "candidate", "against", "advantage")
    for title, rows in (("Of a decision", found.estimates), ("Of a session", found.sessions)):
        if rows:
            compared = [(each.name, *map(_told, (each.candidate, each.against, each.advantage))) for each in rows]
            table(title, columns, compared)
    say(f"Errs the least, as far as the log can tell: {found.chosen.reason}")
    kinds = [(each.name, _figure(each.candidate), _figure(each.advantage), each.assumes) for each in found.kinds]
    table("Kinds of interval", ("kind", "candidate", "advantage", "assumes"), kinds)


def _told(estimate: Estimate) -> str:
    return "refused" if estimate.refused else f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _figure(figure: Figure) -> str:
    return f"[{figure.low:.4f}, {figure.high:.4f}]"


def _days(days: float) -> str:
    return f"{days:.0f}" if isfinite(days) else "more than two years"


def _count(number: float) -> str:
    return f"{number:,.0f}" if isfinite(number) else "—"
