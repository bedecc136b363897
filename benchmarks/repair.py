"""Repair without a language model: bugs that people made (HumanEvalPack), edits of the syntax tree, one budget for all.

Five folds by the hash of the task's name: each bug is repaired by agents that never saw it, nor the solution of its
task. A bug counts as fixed when the tests that the agent may run and those held out from it pass. Every arm is the same
search in another order; what differs is named. Intervals are 95 % bootstrap intervals over tasks. Executions count
every program that was run against the tests, whether the search ended with it or not.

BONDHU_DATA names the folder that holds `humanevalpack_python` and `mbpp`; without it there are no rows. BONDHU_ARMS, a
regular expression, chooses among the arms.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import Row, main, progress
from bondhu.agents import study
from bondhu.agents.budget import Budget
from bondhu.agents.outcomes import brier, calibration, calibration_error
from bondhu.agents.search import ENOUGH
from bondhu.agents.study import FULL, RANDOM, Material, Result
from bondhu.domains.coding.loading import load
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge
from bondhu.sandbox.pool import open_sandbox
from bondhu.sandbox.program import Limits

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILES = DATA / "humanevalpack_python" / "humanevalpack_visible.jsonl", DATA / "mbpp" / "mbpp_visible.jsonl"
ASKED = os.environ.get("BONDHU_ARMS", "")
LIMITS = Limits(cpu=0.25, wall=2.0)  # of a program and all tests of its task
FIXED, SPARED = 0.45, 0.60  # goals: share of bugs, share of the executions of random operators
QUICK, QUICK_ARMS = Budget(executions=30, seconds=3.0), (RANDOM, "without the outcome model")
SEED = 1


def measure(quick: bool) -> Iterator[Row]:
    missing = [str(each) for each in FILES if not each.exists()]
    if missing:
        print(f"Nothing to repair: there is no {missing[0]}. BONDHU_DATA names the folder that holds it.")
        return
    tasks, others = map(load, FILES)
    arms = [arm for arm in study.ARMS if re.search(ASKED, arm)]
    budget = ENOUGH
    if quick:
        tasks, others, arms, budget = tasks[::20], others[::100], list(QUICK_ARMS), QUICK
    with open_sandbox() as sandbox:
        judge = Judge(sandbox, LIMITS)
        material = _gathered(tasks, others, judge)
        steps = study.compared(tasks, material, judge, arms, SEED, budget)
        results = [next(steps) for _ in progress(range(len(tasks) * len(arms)), "Repairing")]
        for arm in arms:
            yield from _of_arm(results, arm, promised=not quick and arm == FULL)
        if not quick:
            yield from _predicted(tasks, material, judge)


def _gathered(tasks: Sequence[Task], others: Sequence[Task], judge: Judge) -> Material:
    steps = study.gathered(tasks, others, judge, np.random.default_rng(SEED))
    for _ in progress(range(2 * len(tasks) + len(others)), "Looking for fixes"):
        next(steps)
    material = next(steps)
    assert material is not None
    return material


def _of_arm(results: Sequence[Result], arm: str, *, promised: bool) -> Iterator[Row]:
    rng = np.random.default_rng(SEED)
    mine, random = study.of_arm(results, arm), study.of_arm(results, RANDOM)
    share = study.mean([each.fixed for each in mine], rng)
    yield Row(
        f"{arm}: fixed of {len(mine)} bugs [{share.low:.2f}, {share.high:.2f}]", share.value, "of 1",
        f">= {FIXED}" if promised else "", share.value >= FIXED if promised else None,
    )  # fmt: skip
    plausible = study.mean([each.solved for each in mine], rng)
    yield Row(f"{arm}: pass the tests the agent may run [{plausible.low:.2f}, {plausible.high:.2f}]",
              plausible.value, "of 1")  # fmt: skip
    runs = study.mean([each.executions for each in mine], rng)
    median = float(np.median([each.executions for each in mine]))
    yield Row(f"{arm}: executions a bug [{runs.low:.0f}, {runs.high:.0f}], median {median:.0f}", runs.value, "programs")
    seconds = [each.seconds for each in mine]
    yield Row(f"{arm}: seconds a bug, the slowest {max(seconds):.1f}", float(np.mean(seconds)), "s")
    if random and arm != RANDOM:
        part = study.ratio([each.executions for each in mine], [each.executions for each in random], rng)
        yield Row(
            f"{arm}: executions / those of {RANDOM} [{part.low:.2f}, {part.high:.2f}]", part.value, "times",
            f"<= {SPARED}" if promised else "", part.value <= SPARED if promised else None, RANDOM, 1.0,
        )  # fmt: skip


def _predicted(tasks: Sequence[Task], material: Material, judge: Judge) -> Iterator[Row]:
    said, came = study.predicted(tasks, material, judge, SEED)
    base = float(np.mean(came == 0))
    yield Row(f"outcome model, {len(came):,} unseen edits: Brier score of 'solved'", brier(said, came), "",
              peer="the mean, always", peer_value=base * (1 - base))  # fmt: skip
    curve = calibration(said, came)
    yield Row("outcome model: calibration error of 'solved'", calibration_error(curve), "")
    for expected, seen, count in curve:
        yield Row(f"outcome model: came where {expected:.3f} was said ({count:,} edits)", seen, "of 1")


if __name__ == "__main__":
    main("repair", measure)
