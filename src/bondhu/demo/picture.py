"""The demonstration's picture: how the policy learned week by week, and how well it could be judged beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bondhu.train.judge import Judgement
from bondhu.types import Estimate

INK, RULE, LEARNED, BEST = "#333344", "#8a8f98", "#1769aa", "#2e8b57"


@dataclass(frozen=True)
class Week:
    """One week of the story; exact values are those of the simulator."""

    number: int
    live_value: float  # of the version people met this week
    candidate_value: float  # of what was learned from the week
    live_truth: float  # on the contexts that the estimators saw
    candidate_truth: float
    judgement: Judgement


@dataclass(frozen=True)
class Story:
    """All that the picture shows."""

    baseline: float
    optimum: float
    weeks: list[Week]


def draw(story: Story, path: Path) -> Path:
    """Write the picture as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "text.color": INK}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained", width_ratios=(1, 1.15))
        _learning(left, story)
        _judging(right, story.weeks[-1])
        figure.savefig(path, dpi=130)
        plt.close(figure)
    return path


def _learning(axes: Any, story: Story) -> None:
    weeks = [0, *(week.number for week in story.weeks)]
    values = [story.baseline, *(week.candidate_value for week in story.weeks)]
    axes.axhline(story.optimum, color=BEST, linestyle="--", linewidth=1.2)
    axes.axhline(story.baseline, color=RULE, linestyle="--", linewidth=1.2)
    axes.text(weeks[-1], story.optimum, "best possible", color=BEST, ha="right", va="bottom")
    axes.text(weeks[-1], story.baseline, "the rule it replaces", color=RULE, ha="right", va="bottom")
    axes.plot(weeks, values, color=LEARNED, marker="o", linewidth=2)
    for week, value in zip(weeks[1:], values[1:], strict=True):
        axes.annotate(
            f"{value:.3f}", (week, value), textcoords="offset points", xytext=(6, -14), ha="left", color=LEARNED
        )
    axes.set_xticks(weeks, ["start", *(f"week {week}" for week in weeks[1:])])
    axes.set_ylabel("mean reward of a decision (exact)")
    axes.set_title("Learning from feedback", loc="left", fontweight="bold")
    axes.margins(x=0.08, y=0.12)


def _judging(axes: Any, week: Week) -> None:
    names = {"ips": "IPS", "snips": "SNIPS", "dm": "DM", "dr": "DR"}
    shown = {name: each for name, each in week.judgement.candidate.items() if not each.refused}
    live = {name: each for name, each in week.judgement.live.items() if not each.refused}
    axes.axvline(week.candidate_truth, color=LEARNED, linewidth=1, linestyle=":")
    axes.axvline(week.live_truth, color=RULE, linewidth=1, linestyle=":")
    _intervals(axes, shown, LEARNED, 0.14)
    _intervals(axes, live, RULE, -0.14)
    axes.set_yticks(range(len(shown)), [names.get(name, name) for name in shown])
    axes.invert_yaxis()
    axes.set_xlabel("mean reward on held-out people (95 % interval; dotted: the truth)")
    axes.set_title(f"Judged before release (week {week.number})", loc="left", fontweight="bold")
    axes.text(1, 1.02, "candidate", color=LEARNED, transform=axes.transAxes, ha="right", fontweight="bold")
    axes.text(0.8, 1.02, "in force before", color=RULE, transform=axes.transAxes, ha="right", fontweight="bold")
    axes.margins(y=0.15)


def _intervals(axes: Any, estimates: Mapping[str, Estimate], colour: str, shift: float) -> None:
    for position, each in enumerate(estimates.values()):
        axes.plot(
            [each.low, each.high], [position - shift] * 2, color=colour, linewidth=3, alpha=0.55, solid_capstyle="round"
        )
        axes.plot([each.value], [position - shift], color=colour, marker="o")
