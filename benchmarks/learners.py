"""Every learner of the catalogue on the problems it names; writes docs/learners.md from what it measures.

Each is played on-line, 30 rounds of 100 sessions, and then asked for its greedy policy, over five seeds: 100 % is the
best policy that exists, 0 % acting at random. Time is the processor's, for one decision and learning from it alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

from benchmarks.catalogue import page
from benchmarks.report import Row, main, progress
from bondhu.domains import probes
from bondhu.domains.probes import Probe
from bondhu.learners import build, find, names, pack
from bondhu.types import Batch, Learner

ROUNDS, SESSIONS, SEEDS = 30, 100, 5
ROOT = Path(__file__).parents[1]
FIGURES, PAGE = ROOT / "docs" / "learners.json", ROOT / "docs" / "learners.md"
Figures = dict[str, dict[str, Any]]


def measure(quick: bool) -> list[Row]:
    chosen = one_of_each_family() if quick else names()
    figures = {name: measured(name, seeds=1 if quick else SEEDS) for name in progress(chosen, "learners")}
    if not quick:
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(figures, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return list(rows(figures))


def one_of_each_family() -> list[str]:
    """The first learner of each: the quick run has no more."""
    return list({name.partition(".")[0]: name for name in reversed(names())}.values())


def rows(figures: Mapping[str, Mapping[str, Any]]) -> Iterable[Row]:
    for name, found in figures.items():
        for problem, (mean, error) in found["reached"].items():
            what = f"{name} on {problem}, ± {error:.1f}"
            yield Row(what, mean, "% of the way to the best", ">= 90", mean >= 90)
        yield Row(f"{name}, one decision and learning from it", found["microseconds"], "µs")
        yield Row(f"{name}, its state there", found["kibibytes"], "KiB")


def measured(name: str, seeds: int) -> dict[str, Any]:
    """What a learner reaches on each of its problems, and its cost on the first."""
    learner, problems = build(name, {}), find(name).probes
    reached = {problem: reached_by(learner, probes.find(problem), seeds) for problem in problems}
    first = probes.find(problems[0])
    state = played(learner, first, 0)
    size = sum(array.nbytes for array in pack(state).values()) / 1024
    return {"reached": reached, "microseconds": cost(learner, first, state), "kibibytes": size}


def reached_by(learner: Learner[Any], probe: Probe, seeds: int) -> tuple[float, float]:
    """Percent of the way from acting at random to the best policy: mean and half a 95 % interval over the seeds."""
    nothing = probe.worth(probe.uniform)
    gap = probe.best - nothing
    worth = [probe.worth(learner.policy(played(learner, probe, seed))) for seed in range(seeds)]
    share = [100.0 if gap < 1e-12 else 100.0 * (each - nothing) / gap for each in worth]
    spread = float(np.std(share, ddof=1)) if seeds > 1 else 0.0
    return float(np.mean(share)), 2.776 * spread / seeds**0.5  # Student's t with four degrees of freedom


def played(learner: Learner[Any], probe: Probe, seed: int) -> Any:
    """What a learner knows after playing with its own exploration."""
    rng = np.random.default_rng(seed)
    state = learner.init(probe.spec, rng)
    for _ in range(ROUNDS):
        batch = probe.play(learner.policy(state, explore=True), SESSIONS, rng)
        state, _ = learner.update(state, batch, rng)
    return state


def cost(learner: Learner[Any], probe: Probe, state: Any) -> float:
    """Microseconds of the processor to draw one action with exploration and to learn from one row; the median."""
    rng = np.random.default_rng(0)
    batch = probe.play(probe.uniform, 20, rng)
    single: Batch = batch.take(np.array([0]))
    spent = []
    for _ in range(100):
        start = thread_time()
        learner.policy(state, explore=True).sample(single.observation, single.allowed, rng)
        state, _ = learner.update(state, single, rng)
        spent.append(thread_time() - start)
    return float(np.median(spent)) * 1e6


if __name__ == "__main__":
    main("learners", measure)
