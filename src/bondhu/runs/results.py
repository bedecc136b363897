"""What came of a run, and of several seeds of one: `result.json` and a picture of the returns."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bondhu.equations.scores import interquartile_mean, stratified_bootstrap
from bondhu.runs import evaluating, picture
from bondhu.runs.plan import seeds_of
from bondhu.runs.progress import Progress

RESULT, PICTURE = "result.json", "progress.png"


def write(folder: Path, status: str, why: str, progress: Progress) -> None:
    """Of one seed: the last evaluation of either kind and the best one."""
    found = evaluating.lines(folder)
    result = {
        "status": status,
        "why": why,
        "steps": progress.steps,
        "episodes": progress.episodes,
        "training_return": float(np.mean(progress.returns)) if progress.returns else None,
        "last": _last(found, explore=False),
        "last_exploring": _last(found, explore=True),
        "best": {"mean": progress.best, "step": progress.best_step} if progress.best is not None else None,
    }
    _put(folder / RESULT, result)
    picture.draw(folder / PICTURE, {folder.name: found})


def gather(folder: Path) -> dict[str, Any]:
    """Of all seeds below the folder: each one's figures, the interquartile mean of them, and its 95 % interval."""
    parts = {each.name: read(each) for each in seeds_of(folder) if (each / RESULT).exists()}
    result = {
        "seeds": {name: {"last": _mean(each, "last"), "best": _mean(each, "best")} for name, each in parts.items()},
        "last": together([_mean(each, "last") for each in parts.values()]),
        "last_exploring": together([_mean(each, "last_exploring") for each in parts.values()]),
        "best": together([_mean(each, "best") for each in parts.values()]),
    }
    _put(folder / RESULT, result)
    picture.draw(folder / PICTURE, {each.name: evaluating.lines(each) for each in seeds_of(folder)})
    return result


def read(folder: Path) -> dict[str, Any]:
    """What `result.json` says; nothing where there is none yet."""
    path = folder / RESULT
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def together(means: Sequence[float | None]) -> dict[str, Any]:
    """The interquartile mean with its bootstrap interval (Agarwal et al. 2021); of one seed, no interval."""
    known = np.array([each for each in means if each is not None and math.isfinite(each)])
    if not len(known):
        return {"iqm": None, "low": None, "high": None, "seeds": 0}
    low, high = stratified_bootstrap(known, np.random.default_rng(0))
    sure = math.isfinite(low)
    return {
        "iqm": interquartile_mean(known),
        "low": low if sure else None,
        "high": high if sure else None,
        "seeds": len(known),
    }


def _last(lines: Sequence[Mapping[str, Any]], *, explore: bool) -> dict[str, Any] | None:
    of = [line for line in lines if line["explore"] == explore]
    return {"mean": of[-1]["mean"], "step": of[-1]["step"]} if of else None


def _mean(result: Mapping[str, Any], which: str) -> float | None:
    found = result.get(which)
    return found["mean"] if found else None


def _put(path: Path, content: Mapping[str, Any]) -> None:
    aside = path.with_name(f"{path.name}.writing")
    aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(aside, path)
