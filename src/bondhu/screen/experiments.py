"""What the command line shows of experiments: effects, and how long they take to find."""

from __future__ import annotations

from math import isfinite

from rich.markup import escape

from bondhu.experiments.analysis import Analysis
from bondhu.experiments.effects import Effect
from bondhu.experiments.planner import Forecast, Traffic
from bondhu.screen import console, facts, say, table

COLOURS = {"better": "green", "worse": "red", "undecided": "yellow", "invalid": "red"}


def analysis(found: Analysis) -> None:
    """The answer, the effect with both kinds of interval, and what else was asked."""
    console.print(f"[bold {COLOURS[found.answer]}]{found.answer}[/]: {escape(found.sentences[0])}")
    effects = [("reward", found.primary)]
    effects += [(each.guardrail.metric.name, each.effect) for each in found.guardrails]
    effects += [(each.name, each.effect) for each in (*found.secondary, *found.segments)]
    rows = [(name, *_row(each)) for name, each in effects]
    columns = ("metric", "treated", "control", "difference", "at every look", "at one planned look")
    table(f"Effects, {found.primary.looks.confidence:.0%} intervals", columns, rows)
    for sentence in (found.ratio.sentence, *(each.sentence for each in found.guardrails)):
        say(sentence)


def _row(found: Effect) -> tuple[str, ...]:
    if found.refused:
        return ("—", "—", "—", found.refused, "")
    return (
        f"{found.treated.mean:.4f}",
        f"{found.control.mean:.4f}",
        f"{found.value:+.4f}",
        _interval(found.always_low, found.always_high),
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


def _days(days: float) -> str:
    return f"{days:.0f}" if isfinite(days) else "more than two years"


def _count(number: float) -> str:
    return f"{number:,.0f}" if isfinite(number) else "—"
