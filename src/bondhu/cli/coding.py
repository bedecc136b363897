"""To repair programs: agents that search, what they learn from, and what learning brings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from bondhu import screen
from bondhu.cli.shared import app
from bondhu.errors import InvalidInput

if TYPE_CHECKING:
    from bondhu.agents import study
    from bondhu.agents.search import Ranker, Repair
    from bondhu.domains.coding.tasks import Task
    from bondhu.domains.coding.testing import Judge

code = typer.Typer(help="Repair programs, learn to, and see what learning brings.", no_args_is_help=True)
app.add_typer(code, name="code")

Tasks = Annotated[Path, typer.Argument(help="HumanEvalPack or MBPP as JSON lines, or a folder of modules with tests.")]
Others = Annotated[list[Path] | None, typer.Option("--others", help="More tasks with solutions, to inject bugs into.")]
Seed = Annotated[int, typer.Option(help="Of all that is drawn.")]
Executions = Annotated[int, typer.Option(help="Of programs, for each task.", min=1)]
Seconds = Annotated[float, typer.Option(help="For each task.", min=0.1)]
Cpu = Annotated[float, typer.Option(help="Seconds of processor time for a program and all its tests.", min=0.01)]
Jail = Annotated[str, typer.Option(help="auto, namespaces or landlock.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write what came of each task.")]
RANDOM, LOCALISED = "random", "localised"
INTERRUPTED = 130  # as shells have it: 128 and the number of the signal


@code.command()
def run(  # noqa: PLR0913, PLR0917  each is an option
    tasks: Tasks,
    agent: Annotated[str, typer.Option(help="random, localised, or a folder of `bondhu code train`.")] = LOCALISED,
    only: Annotated[list[str] | None, typer.Option(help="The task with this id.")] = None,
    executions: Executions = 500,
    seconds: Seconds = 60.0,
    cpu: Cpu = 0.25,
    isolation: Jail = "auto",
    seed: Seed = 0,
    json_: Json = None,
) -> None:
    """Repair every task of a file, each within a budget; what is right is said by tests in a sandbox."""
    from bondhu.agents.budget import Budget
    from bondhu.agents.search import repair

    chosen = _only(_loaded(tasks), only)
    ranker, localised = _ranker(agent, seed)
    budget, told = Budget(executions=executions, seconds=seconds), list[dict[str, Any]]()
    came = {"agent": agent, "seed": seed, "budget": {"executions": executions, "seconds": seconds}, "tasks": told}
    with _judging(cpu, isolation) as judge, _written(json_, lambda: came), _interruptible(), screen.progress() as bar:
        for task in bar.track(chosen, description="Repairing"):
            told.append(_told(task, judge, repair(task, judge, ranker, budget, localised=localised)))
            bar.console.print(_line(told[-1]), markup=False, highlight=False, soft_wrap=True)
    fixed = sum(each["fixed"] for each in told)
    runs = sum(each["executions"] for each in told)
    screen.say(f"{fixed} of {len(told)} fixed, {runs:,} programs run, {runs / max(len(told), 1):.0f} a task.")
    if len(told) < len(chosen):
        screen.say(f"Interrupted: {len(chosen) - len(told)} tasks were not tried.")
        raise typer.Exit(INTERRUPTED)


@code.command()
def train(  # noqa: PLR0913, PLR0917  each is an option
    tasks: Tasks,
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    others: Others = None,
    bugs: Annotated[int, typer.Option(help="Injected into each right program.", min=1)] = 2,
    stages: Annotated[bool, typer.Option("--stages", help="Locate, choose an operator, fill in: one by one.")] = False,
    practise: Annotated[int, typer.Option(help="Searches that the model of outcomes learns from.", min=0)] = 60,
    cpu: Cpu = 0.25,
    isolation: Jail = "auto",
    seed: Seed = 0,
) -> None:
    """Learn to repair: from bugs with known fixes, and from bugs injected into right programs."""
    from bondhu.agents import keeping, learning, study

    keeping.empty(out)
    chosen, more = _material(tasks, others)
    rng = np.random.default_rng(seed)
    with _judging(cpu, isolation) as judge:
        shown = _gathered(chosen, more, judge, rng, bugs).without([])
        with screen.console.status("Learning …"):
            agent = learning.taught(shown, rng, stages=stages)
            if practise:
                agent = learning.practised(agent, study.some(shown, practise, rng), judge, rng)
    keeping.save(agent, out, time.time())
    people = sum(each.human for each in shown)
    screen.say(f"Learned from {len(shown)} fixes, {people} of people's bugs; stored in {out}.")


@code.command()
def bench(  # noqa: PLR0913, PLR0917  each is an option
    tasks: Tasks,
    others: Others = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these; default: all.")] = None,
    executions: Executions = 500,
    seconds: Seconds = 60.0,
    cpu: Cpu = 0.25,
    isolation: Jail = "auto",
    seed: Seed = 1,
    json_: Json = None,
) -> None:
    """Compare agents that differ in one thing each, on bugs that none of them learned from."""
    from bondhu.agents import study
    from bondhu.agents.budget import Budget

    arms, results = study.named(arm or list(study.ARMS)), list[study.Result]()
    chosen, more = _material(tasks, others)
    with _judging(cpu, isolation) as judge, _written(json_, lambda: _compared(results, arms, seed)), _interruptible():
        material = _gathered(chosen, more, judge, np.random.default_rng(seed), study.BUGS)
        steps = study.compared(chosen, material, judge, arms, seed, Budget(executions=executions, seconds=seconds))
        with screen.progress() as bar:
            for result in bar.track(steps, total=len(chosen) * len(arms), description="Learning and repairing"):
                results.append(result)
    rows, tried = _summary(results, arms, seed), len(study.whole(results, arms)) // len(arms)
    screen.table(
        f"{tried} bugs, 95 % bootstrap intervals over bugs",
        ("agent", "fixed", "executions a bug", "of those of random"),
        [(row.arm, _interval(row.fixed), _interval(row.executions, 0), _interval(row.ratio)) for row in rows],
    )
    if tried < len(chosen):
        screen.say(f"Interrupted: {len(chosen) - tried} bugs were not tried by every agent.")
        raise typer.Exit(INTERRUPTED)


def _summary(results: Sequence[study.Result], arms: Sequence[str], seed: int) -> list[study.Summary]:
    from bondhu.agents import study

    whole = study.whole(results, arms)
    return study.summary(whole, arms, np.random.default_rng(seed)) if whole else []


def _compared(results: Sequence[study.Result], arms: Sequence[str], seed: int) -> dict[str, Any]:
    """What a comparison says, as plain data."""
    summary = [each._asdict() for each in _summary(results, arms, seed)]
    return {"seed": seed, "results": [each._asdict() for each in results], "summary": summary}


def _loaded(path: Path) -> list[Task]:
    from bondhu.domains.coding.loading import load

    if found := load(path):
        return found
    raise InvalidInput(f"{path} has no task that can be judged.", field="tasks", value=str(path), fix="Give another.")


def _material(tasks: Path, others: list[Path] | None) -> tuple[list[Task], list[Task]]:
    """Tasks, and more to learn from. Says how many have no solution."""
    chosen, more = _loaded(tasks), [task for path in others or [] for task in _loaded(path)]
    count = len(chosen) + len(more)
    if without := sum(each.solution is None for each in (*chosen, *more)):
        screen.say(f"{without} of {count} tasks have no solution: nothing is learned from them.")
    return chosen, more


def _only(tasks: list[Task], names: list[str] | None) -> list[Task]:
    from bondhu.errors import UnknownName, nearest

    known = {task.id: task for task in tasks}
    for name in names or ():
        if name not in known:
            raise UnknownName(f"No task {name!r}.", field="only", value=name, fix=nearest(name, list(known)))
    return [known[name] for name in dict.fromkeys(names)] if names else tasks


def _ranker(agent: str, seed: int) -> tuple[Ranker, bool]:
    """In which order it tries edits, and whether it is told which lines are suspected."""
    from bondhu.agents import keeping
    from bondhu.agents.ranking import Unlearned

    if agent in (RANDOM, LOCALISED):
        return Unlearned(np.random.default_rng(seed), localised=agent == LOCALISED), agent == LOCALISED
    learned = keeping.load(Path(agent))
    return learned.ranker(), learned.localised


@contextmanager
def _judging(cpu: float, isolation: str) -> Iterator[Judge]:
    from bondhu.domains.coding.testing import Judge
    from bondhu.sandbox.pool import open_sandbox
    from bondhu.sandbox.program import Limits

    with open_sandbox(isolation=isolation) as sandbox:
        yield Judge(sandbox, Limits(cpu=cpu, wall=8 * cpu))


def _gathered(tasks: list[Task], others: list[Task], judge: Judge, rng: np.random.Generator, bugs: int) -> Any:
    from bondhu.agents import study

    steps = study.gathered(tasks, others, judge, rng, bugs)
    with screen.progress() as bar:
        for _ in bar.track(range(2 * len(tasks) + len(others)), description="Looking for fixes"):
            next(steps)
    return next(steps)


def _told(task: Task, judge: Judge, found: Repair) -> dict[str, Any]:
    """What came of one task, as plain data."""
    from bondhu.agents.search import fixed

    return {
        "task": task.id,
        "solved": found.solved,
        "fixed": fixed(task, judge, found),
        "problem": found.problem,
        "share": found.best.judgement.share,
        "executions": found.use.executions,
        "seconds": round(found.use.seconds, 3),
        "edits": [
            {"operator": edit.operator, "line": edit.line, "before": edit.before, "after": edit.after}
            for edit in found.best.edits
        ],
        "source": found.best.source,
    }


def _line(told: dict[str, Any]) -> str:
    """One task on one line."""
    came = "fixed" if told["fixed"] else "passes what it saw" if told["solved"] else f"{told['share']:.0%} of the tests"
    what = "; ".join(
        f"line {each['line']}: {_short(each['before'])} → {_short(each['after'])}" for each in told["edits"]
    )
    why = "nothing was changed" if told["solved"] else told["problem"]
    return f"{told['task']:<14} {came:<18} {told['executions']:>4} programs {told['seconds']:>6.1f} s  {what or why}"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 32 else flat[:31] + "…")


def _interval(figure: tuple[float, float, float] | None, digits: int = 2) -> str:
    return "—" if figure is None else "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*figure, d=digits)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends what is within, and what was done until then is told."""
    with suppress(KeyboardInterrupt):
        yield


@contextmanager
def _written(path: Path | None, content: Callable[[], Any]) -> Iterator[None]:
    """Write what came of it, however it ends: nobody shall lose hours of work."""
    if path is not None and not path.parent.is_dir():
        raise InvalidInput(f"There is no folder {path.parent}.", field="json", value=str(path), fix="Make it first.")
    try:
        yield
    finally:
        if path is not None:
            text = json.dumps(content(), indent=1, ensure_ascii=False) + "\n"
            # Half a surrogate pair in a program has no bytes in UTF-8; its escape is right in JSON.
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            screen.say(f"Written to {path}.")
