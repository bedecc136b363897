"""docs/learners.md: which learner to choose, what each one is, what it reached, and every hyper-parameter.

The guide at its head is written by hand; the rest is read from the sources and from docs/learners.json, so that it
cannot fall behind them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from gymnasium.spaces import Box

from bondhu.catalogue import find_in
from bondhu.learners import build, find, names
from bondhu.policies import exploring

FAMILIES = {
    "bandit": "Decisions that stand alone",
    "tabular": "Sessions of decisions, few enough states to list",
    "deep": "Networks",
    "imitation": "From those who know",
    "inverse": "What those who know want",
    "motivation": "Curiosity, around any learner",
    "adaptive": "A world that changes",
    "objectives": "Several objectives",
}
MARK = (
    "<!-- What follows is written by `python -m benchmarks.learners`: edit above, or the sources it is read from. -->\n"
)


def page(figures: Mapping[str, Mapping[str, Any]], before: str) -> str:
    """The document as it was `before`, with all that follows the mark written anew."""
    parts = [before.partition(MARK)[0] + MARK, measured(figures)]
    for family, title in FAMILIES.items():
        parts += [f"## {title}: `{family}`\n", *(entry(name) for name in names() if name.startswith(f"{family}."))]
    parts += ["## Rules of exploration\n", *(rule(name) for name in exploring.names())]
    return "\n".join(parts)


def measured(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of what every learner reached."""
    lines = [
        "## What they reach\n",
        "Percent of the way from acting at random (0) to the best policy that exists (100), which is known, after",
        "3,000 sessions of learning on-line; mean of five seeds ± half a 95 % interval. Time is the processor's, for",
        "drawing one action and learning from it alone, and the state is as large as on the first problem named.\n",
        "| learner | problem: % | µs | KiB |\n|---|---|--:|--:|",
    ]
    for name, found in figures.items():
        reached = ", ".join(
            f"{problem} {mean:.1f} ± {error:.1f}" for problem, (mean, error) in found["reached"].items()
        )
        lines.append(f"| `{name}` | {reached} | {found['microseconds']:.0f} | {found['kibibytes']:,.1f} |")
    return "\n".join([*lines, ""])


def entry(name: str) -> str:
    """One learner: what it is, and its hyper-parameters."""
    kind = find(name)
    module = inspect.getdoc(import_module(kind.__module__)) or ""
    observes = "features" if build(name, {}).observes is Box else "codes"
    lines = [f"### `{name}`\n", wrapped(module), f"\nObserves {observes}.\n", *settings(kind)]
    return "\n".join([*lines, ""])


def rule(name: str) -> str:
    kind = find_in(exploring.__name__, name, "exploration")
    return "\n".join([f"### `{name}`\n", wrapped(inspect.getdoc(kind) or ""), "", *settings(kind), ""])


def settings(kind: type[Any]) -> list[str]:
    """Every hyper-parameter with its default and the comment on its line."""
    source = inspect.getsource(kind)
    said = dict(re.findall(r"^    (\w+): .*?#\s*(.*)$", source, flags=re.MULTILINE))
    lines = ["| setting | default | |", "|---|---|---|"]
    for each, value in ((each.name, getattr(kind(), each.name)) for each in fields(kind)):
        default = f"`{type(value).__name__}`" if hasattr(value, "__dataclass_fields__") else f"`{value!r}`"
        lines.append(f"| `{each}` | {default} | {said.get(each, 'rule of exploration')} |")
    return lines if len(lines) > 2 else []


def wrapped(text: str) -> str:
    """A docstring as Markdown: outside of code, what would be read as markup is left as it is written."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*|<>_])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
