"""The return over the steps of a run, or of its seeds with their mean, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def draw(path: Path, seeds: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Evaluations by seed: each a thin line; the mean over seeds a thick one where they were evaluated alike."""
    curves = {name: _curve(lines) for name, lines in seeds.items()}
    curves = {name: curve for name, curve in curves.items() if curve.size}
    if not curves:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(curve[0], curve[1], linewidth=1, alpha=0.7, marker=".", label=name)
    if len(curves) > 1:
        grid = np.linspace(0, max(curve[0, -1] for curve in curves.values()), 200)
        grid = grid[grid >= max(curve[0, 0] for curve in curves.values())]
        if len(grid):
            mean = np.mean([np.interp(grid, *curve) for curve in curves.values()], axis=0)
            axes.plot(grid, mean, linewidth=2.5, color="black", label="mean")
    axes.set_xlabel("steps in the environment")
    axes.set_ylabel("mean return of an evaluation")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    figure.savefig(path, dpi=120)


def _curve(lines: Sequence[Mapping[str, Any]]) -> Any:
    """Steps and mean returns of the policies as they would serve: `[2, E]`."""
    return np.array([(line["step"], line["mean"]) for line in lines if not line["explore"]], dtype=float).T
