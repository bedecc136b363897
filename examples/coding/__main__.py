"""Repair small modules on a laptop, without a language model: search, learn from fixes, reward, catch a program that
cheats, play the environment, and learn whom to ask. Run with `python -m examples.coding`."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from bondhu import screen
from bondhu.agents.budget import Budget, Use
from bondhu.agents.conversation import Ask
from bondhu.agents.episodes import begun, play
from bondhu.agents.episodes import practised as practised_asking
from bondhu.agents.proposing import Scripted
from bondhu.agents.strategy import Setup, Worth, moves
from bondhu.domains.coding import cheating, reward
from bondhu.domains.coding.loading import HoldOut, load
from bondhu.domains.coding.tasks import Task, split
from bondhu.domains.coding.testing import Judge
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.policies.uniform import Uniform
from bondhu.sandbox.pool import Pool, open_sandbox
from bondhu.sandbox.program import Limits
from examples.coding.playing import draw, judged, practised
from examples.commands import command

MODULES = Path(__file__).parent / "modules"
LIMITS = Limits(cpu=0.1, wall=1.0)
BY_HEART = """\
def cuts(length, stock):
    return {known}.get(length)
"""  # the answers to the tests that it has seen


def repair(known: list[Task], folder: Path, executions: int, practise: int, bugs: int) -> None:
    """Search for repairs; learn from those that are known, and from bugs put into their solutions; repair what was not
    learned from."""
    for task in load(MODULES):
        place = folder / ("known" if task in known else "new")
        (place / "solutions").mkdir(parents=True, exist_ok=True)
        for name in (f"{task.id}.py", f"test_{task.id}.py", f"solutions/{task.id}.py"):
            shutil.copy(MODULES / name, place / name)
    within = ("--executions", str(executions), "--cpu", "0.1")
    command("code", "run", "known", *within, folder=folder)
    command("code", "run", "new", *within, folder=folder)
    learn = ("--bugs", str(bugs), "--practise", str(practise), "--cpu", "0.1")
    command("code", "train", "known", "--out", "agent", *learn, folder=folder)
    command("code", "run", "new", "--agent", "agent", *within, folder=folder)


def rewards(judge: Judge, task: Task) -> None:
    """What three programs for one task earn, and what speaks against each."""
    rows, reports = [], list[str]()
    answers = judge.judge(task, task.solution or "").answers
    seen = {test.call.arguments[0]: each.value for test, each in zip(task.tests, answers, strict=True)
            if test.call and each}  # fmt: skip
    by_heart = BY_HEART.format(known=seen)
    before = judge.judge(task, task.source, held_out=True).share
    for name, source in (("as it was found", task.source), ("by heart", by_heart), ("right", task.solution or "")):
        report = cheating.examine(judge, task, source)
        found = judge.judge(task, source), judge.judge(task, source, held_out=True)
        earned = reward.reward(replace(reward.attempt(*found, report), before=before))
        parts = [f"{earned.components[each]:g}" for each in ("tests", "completion", "cheating")]
        rows.append((name, *parts, f"{earned.total:g}"))
        reports += [f"{name}, proven: {each.trick}; {each.detail}" for each in report.proven]
        reports += [f"{name}, suspected, line {each.line}: {each.trick}; {each.detail}" for each in report.suspected]
    title = f"Rewards of {task.id}: {len(task.tests)} tests seen, {len(task.held_out)} held out"
    screen.table(title, ("program", "tests", "completion", "cheating", "total"), rows)
    for line in reports:
        screen.say(f"  {line}")


def environment(known: list[Task], new: list[Task], sandbox: Pool, steps: int, picture: Path) -> None:
    """PPO, with masks, practises on some modules; it is judged on them and on the others."""
    rng = np.random.default_rng(0)
    policy, points = practised(known, sandbox, steps, rng)
    shares = {name: [judged(each, tasks, sandbox, rng) for each in (Uniform(), policy)] for name, tasks in
              (("those it practised on", known), ("others", new))}  # fmt: skip
    rows = [(name, f"{before:.0%}", f"{after:.0%}") for name, (before, after) in shares.items()]
    screen.table(f"Episodes solved, after {points[-1].steps:,} steps", ("modules", "drawn evenly", "PPO"), rows)
    draw(picture, points, shares["those it practised on"][0], len(known))
    screen.say(f"Picture: {picture}")


def asking(tasks: list[Task], judge: Judge, episodes: int) -> None:
    """Learn whom to ask where a cheap proposer mends half of the modules and gives the others back as they are, and a
    dear one mends all of them."""

    def fenced(source: str | None) -> str:
        return f"```python\n{source}```"

    def guesses(ask: Ask) -> list[str]:
        return [fenced(ask.task.solution if ask.task in tasks[::2] else ask.task.source)]

    cheap = Scripted("cheap", guesses, Use(Decimal("0.01"), 300))
    dear = Scripted("dear", lambda ask: [fenced(ask.task.solution)], Use(Decimal("0.30"), 300))
    setup = Setup((cheap, dear), judge, moves(("cheap", "dear"), ("rewrite",)), Worth(solved=1.0), Budget(Decimal(1)))
    rng = np.random.default_rng(0)
    learner = QLearning(learning_rate=0.1, discount=1.0, exploration=EpsilonGreedy(0.3))
    chosen = [tasks[number] for number in rng.integers(len(tasks), size=episodes)]
    agent, done = practised_asking(begun(learner, setup, tasks[0], rng), setup, chosen, rng)
    last = [play(agent.policy(), setup, task, rng, coded=True) for task in tasks]
    first = done[: len(tasks)]
    for name, some in ((f"first {len(first)} episodes", first), (f"after {episodes}", last)):
        paid = float(np.mean([float(each.last.spent.dollars) for each in some]))
        right = float(np.mean([each.solved for each in some]))
        earned = float(np.mean([each.reward for each in some]))
        screen.say(f"Whom to ask, {name}: {right:.0%} right, {paid:.2f} dollars, reward {earned:.2f} an episode")
    for way in dict.fromkeys(", ".join(each.moved) for each in last):
        screen.say(f"  {way}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=300, help="of programs, for each search")
    parser.add_argument("--bugs", type=int, default=30, help="put into each right program, to learn from")
    parser.add_argument("--practise", type=int, default=30, help="searches that the model of outcomes learns from")
    parser.add_argument("--steps", type=int, default=40_000, help="in the environment")
    parser.add_argument("--episodes", type=int, default=400, help="of asking")
    parser.add_argument("--picture", type=Path, default=Path("coding.png"))
    chosen = parser.parse_args()
    tasks = load(MODULES)
    known, new = split(tasks)
    with tempfile.TemporaryDirectory() as folder:
        repair(known, Path(folder), chosen.executions, chosen.practise, chosen.bugs)
    with open_sandbox() as sandbox:
        judge = Judge(sandbox, LIMITS)
        rewards(judge, HoldOut(share=0.4, fewest=1).of(next(task for task in tasks if task.id == "cuts")))
        environment(known, new, sandbox, chosen.steps, chosen.picture)
        asking(tasks, judge, chosen.episodes)


if __name__ == "__main__":
    main()
