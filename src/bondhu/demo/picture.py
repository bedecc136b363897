"""The demonstration's picture: two releases day by day, and how well they could be judged beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from bondhu.release.loop import Look
from bondhu.train.judge import Judgement
from bondhu.types import Estimate

INK, RULE, LEARNED, BAD = "#333344", "#8a8f98", "#1769aa", "#b03a2e"
DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class Judged:
    """One candidate before its release; exact values are those of the simulator, on the contexts of the estimators."""

    name: str
    judgement: Judgement
    candidate_truth: float
    live_truth: float


@dataclass(frozen=True)
class Seen:
    """One look at a release."""

    time: float  # seconds
    name: str
    kind: str  # what was done
    share: float  # of the people who met it on the days before
    reward: tuple[float, float, float] | None  # beside the live version: value, low, high

    @classmethod
    def of(cls, time: float, name: str, look: Look) -> Seen:
        """From what the release loop found."""
        figures = look.move.figures
        reward = figures.get("reward")
        bounds = (reward["value"], reward["low"], reward["high"]) if reward else None
        return cls(time, name, look.move.kind, float(figures.get("share", 0.0)), bounds)


@dataclass(frozen=True)
class Story:
    """All that the picture shows."""

    baseline: float
    optimum: float
    judged: list[Judged]
    seen: list[Seen]


def draw(story: Story, path: Path) -> Path:
    """Write the picture as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "text.color": INK}):
        figure, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained", width_ratios=(1, 1, 1.15))
        for each, judged, colour in zip(axes, story.judged, (BAD, LEARNED), strict=False):
            _release(each, [seen for seen in story.seen if seen.name == judged.name], judged.name, colour)
        _judging(axes[-1], story.judged[-1])
        figure.savefig(path, dpi=120)
        plt.close(figure)
    return path


def _release(axes: Any, seen: list[Seen], name: str, colour: str) -> None:
    """What the people on trial gave, beside the others, day by day, with the interval that holds at every look."""
    days = [(each.time - seen[0].time) / DAY + 1 for each in seen]
    axes.axhline(0, color=RULE, linewidth=1.2)
    known = [
        (day, each.reward) for day, each in zip(days, seen, strict=True) if each.reward and isfinite(each.reward[1])
    ]
    if known:
        at, bounds = zip(*known, strict=True)
        value, low, high = zip(*bounds, strict=True)
        axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(at, value, color=colour, marker="o", linewidth=2)
    words = {"tried": "on trial", "promoted": "live", "withdrawn": "taken back"}
    bottom, top = axes.get_ylim()
    for day, each, after in zip(days, seen, [*seen[1:], None], strict=True):
        if each.kind in words:
            share = f" {after.share:.0%}" if each.kind == "tried" and after else ""
            axes.axvline(day, color=INK, linewidth=0.8, linestyle=":")
            axes.text(day, top, f"{words[each.kind]}{share} ", rotation=90, ha="right", va="top", fontsize=9)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("days since the release began")
    axes.set_ylabel("reward of a decision beside the live version")
    axes.set_title(name, loc="left", fontweight="bold")


def _judging(axes: Any, judged: Judged) -> None:
    names = {"ips": "IPS", "snips": "SNIPS", "dm": "DM", "dr": "DR"}
    shown = {name: each for name, each in judged.judgement.candidate.items() if not each.refused}
    live = {name: each for name, each in judged.judgement.live.items() if not each.refused}
    axes.axvline(judged.candidate_truth, color=LEARNED, linewidth=1, linestyle=":")
    axes.axvline(judged.live_truth, color=RULE, linewidth=1, linestyle=":")
    _intervals(axes, shown, LEARNED, 0.14)
    _intervals(axes, live, RULE, -0.14)
    axes.set_yticks(range(len(shown)), [names.get(name, name) for name in shown])
    axes.invert_yaxis()
    axes.set_xlabel("mean reward on held-out people (95 % interval; dotted: the truth)")
    axes.set_title("Judged before release", loc="left", fontweight="bold")
    axes.text(1, 1.02, judged.name.lower(), color=LEARNED, transform=axes.transAxes, ha="right", fontweight="bold")
    axes.text(0.62, 1.02, "the rule", color=RULE, transform=axes.transAxes, ha="right", fontweight="bold")
    axes.margins(y=0.15)


def _intervals(axes: Any, estimates: Mapping[str, Estimate], colour: str, shift: float) -> None:
    for position, each in enumerate(estimates.values()):
        axes.plot(
            [each.low, each.high], [position - shift] * 2, color=colour, linewidth=3, alpha=0.55, solid_capstyle="round"
        )
        axes.plot([each.value], [position - shift], color=colour, marker="o")
