"""Coding as a Gymnasium environment: one task an episode, `gymnasium.make("bondhu/Coding-v0", tasks=...)`.

Importing this module enters it into Gymnasium's list, so `"bondhu.domains.coding.env:bondhu/Coding-v0"` is a name that
needs no import before. Every action that the mask allows leads to a program that parses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, Discrete, Space

from bondhu.domains.coding import difficulty
from bondhu.domains.coding.edits import Edit, applied, edits
from bondhu.domains.coding.loading import load
from bondhu.domains.coding.localisation import suspicion
from bondhu.domains.coding.menu import Board, Layout, Menu
from bondhu.domains.coding.observation import Columns, text_spaces, texts
from bondhu.domains.coding.reading import lines, named, unfit
from bondhu.domains.coding.rules import OPERATIONS, Rules, from_table
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge, Judgement
from bondhu.domains.coding.workspace import Answers, Done, Referee, Workspace
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.sandbox.pool import open_sandbox
from bondhu.sandbox.program import Sandbox
from bondhu.types import Booleans

NAME = "bondhu/Coding-v0"
Proposer = Callable[
    [Task, np.random.Generator], Sequence[str]
]  # whole programs, best first; asked as an episode begins
Shows = Literal["everything", "features", "codes"]
SHOWS: tuple[str, ...] = get_args(Shows)
KEPT = 1024  # programs whose edits are remembered
QUESTION = "What should it do, for example?"  # of those who act by numbers


class CodingEnv(gymnasium.Env[Any, Any]):
    """An episode is one task, until it is solved, submitted, or cut at the step limit.

    `info["action_mask"]` [A] says which actions are allowed; another one raises InvalidInput naming what is allowed.
    `info["components"]` are those of the reward, `info["is_success"]` stands at the end.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  Gymnasium's own convention

    def __init__(
        self,
        tasks: Sequence[Task] | str | Path,
        sandbox: Sandbox | None = None,
        *,
        proposer: Proposer | None = None,
        answers: Answers | None = None,
        rules: Rules | Mapping[str, Any] | None = None,
        shows: Shows = "everything",
    ) -> None:
        """`tasks`: or a file or folder of them. `sandbox`: None opens one, which `close` closes. `rules`: or a table of
        them. Raises InvalidInput for tasks that cannot be worked on, SandboxUnavailable where nothing runs."""
        self.tasks = tuple(load(tasks) if isinstance(tasks, str | Path) else tasks)
        self.rules = rules if isinstance(rules, Rules) else from_table(rules or {})
        self.layout = Layout(self.rules)
        self.columns = Columns(self.layout)
        self._spaces: dict[str, Space[Any]] = {
            "everything": Dict({**text_spaces(), "features": self.columns.feature_space}),
            "features": self.columns.feature_space,
            "codes": self.columns.code_space,
        }
        if shows not in self._spaces:
            raise UnknownName(f"Nothing is shown as {shows!r}.", field="shows", value=shows, fix=nearest(shows, SHOWS))
        _check(self.tasks)
        self.shows, self._proposer, self._answers = shows, proposer, answers
        self.observation_space = self._spaces[shows]
        self.action_space = Discrete(len(self.layout.slots))
        self._open = ExitStack()
        judge = Judge(sandbox if sandbox is not None else self._open.enter_context(open_sandbox(workers=1)))
        self.referee = Referee(judge, self.rules)
        self._work: Workspace | None = None
        self._of: tuple[str, Judgement | None] | None = None  # what the board was made of
        self._menu = Menu()
        self._mask: Booleans | None = None  # until somebody asks
        self._over = True

    @cached_property
    def stages(self) -> list[list[Task]]:
        """The tasks from easy to hard."""
        return difficulty.stages(self.tasks, min(self.rules.stages, len(self.tasks)))

    @property
    def work(self) -> Workspace:
        """What the episode is about. Raises InvalidInput before the first reset."""
        if self._work is None:
            raise InvalidInput("No episode has begun.", fix="Call reset first.")
        return self._work

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin another task: drawn from all of them, or with `options` from those of a stage ({"stage": 0} has the
        easiest), or the one that is named ({"task": id})."""
        super().reset(seed=seed)
        task = self._chosen(options or {})
        proposed = self._proposer(task, self.np_random) if self._proposer else ()
        fit = tuple(each for each in dict.fromkeys(proposed) if each != task.source and not unfit(each, task.entry))
        self._work = Workspace(task, self.referee, fit, self._answers)
        self._board, self._of = Board((), {}), None
        self._over = False
        self._menu, self._mask = Menu(), None
        return self._seen(), {"action_mask": self.action_mask, "task": task.id}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One choice. Raises InvalidInput for an action that is masked, and after the end of an episode."""
        self._goes_on()
        number, allowed = int(action), self.action_mask
        if 0 <= number < len(allowed) and allowed[number]:
            done = self._do(number)
        elif self.rules.forgiving:
            done = self.work.wait()
        else:
            raise self._masked(number)
        reward, terminated, truncated, info = self._settled(done)
        return self._seen(), reward, terminated, truncated, {**info, "action_mask": self.action_mask}

    def carry_out(self, what: Callable[[Workspace], Done]) -> tuple[Done, bool, dict[str, Any]]:
        """A step by other means than numbers: what came of it, truncated, and info without a mask (see `action_mask`).
        Raises InvalidInput after the end."""
        self._goes_on()
        done = what(self.work)
        self._menu, self._mask = Menu(), None
        _, _, truncated, info = self._settled(done)
        return done, truncated, info

    def _goes_on(self) -> None:
        if self._over:
            raise InvalidInput("No episode is under way.", fix="Call reset.")

    def _settled(self, done: Done) -> tuple[float, bool, bool, dict[str, Any]]:
        """Reward, terminated, truncated and info."""
        truncated = not done.terminated and self.work.steps >= self.rules.steps
        self._over = done.terminated or truncated
        info: dict[str, Any] = {"task": self.work.task.id, "components": dict(done.reward.components)}
        if self._over:
            info["is_success"] = done.solved
        return done.reward.total, done.terminated, truncated, info

    @property
    def action_mask(self) -> Booleans:
        """Which actions are allowed now: `[A]`."""
        if self._mask is None:
            self._mask = self._look()
        return self._mask.copy()

    def meaning(self, action: int) -> str:
        """What an action that is allowed now does, in words. Raises InvalidInput for another one."""
        if not self.action_mask[action]:
            raise self._masked(action)
        return self.layout.described(self._menu, self._board, self.layout.slots[action])

    def close(self) -> None:
        """Closes the sandbox, if this environment has opened it."""
        self._open.close()

    def _do(self, number: int) -> Done:
        """Carry out an allowed action, and go where it leads."""
        chosen = self.layout.chosen(self._menu, self._board, self.layout.slots[number])
        if isinstance(chosen, Menu):
            done, menu = self.work.wait(), chosen
        elif isinstance(chosen, Edit):
            done, menu = self.work.change("edit", applied(self.work.source, chosen)), Menu()
        else:
            done, menu = self._operate(chosen), Menu()
        self._menu, self._mask = menu, None
        return done

    def _operate(self, operation: str) -> Done:
        work = self.work
        if operation == "search":
            return work.search(*self._names())
        if operation == "ask":
            return work.ask(QUESTION)
        plain: dict[str, Callable[[], Done]] = {
            "generate": work.generate, "undo": work.undo, "compile": work.compile, "test": work.test,
            "context": work.context, "submit": work.submit,
        }  # fmt: skip
        return plain[operation]()

    def _names(self) -> tuple[str, ...]:
        """What is searched by those who act by numbers: the names in the most suspicious line."""
        rows = lines(self.work.source)
        return named(rows[self._board.lines[0] - 1]) if self._board.lines else ()

    def _look(self) -> Booleans:
        """What is allowed now."""
        work = self.work
        if self._of is None or self._of[0] != work.source or self._of[1] is not work.known:
            self._of = work.source, work.known
            self._board = Board(_edits(work.source, work.task.entry, self.rules.operators), _suspicion(work))
        possible = {name: work.possible(name) for name in OPERATIONS}
        possible["edit"] = bool(self._board.lines)
        possible["search"] &= bool(self._names())
        return self.layout.mask(self._menu, self._board, possible)

    def _seen(self) -> Any:
        if self._mask is None:
            self._mask = self._look()
        here = self.work, self._menu, self._board
        if self.shows == "codes":
            return self.columns.codes(*here)
        if self.shows == "features":
            return self.columns.features(*here)
        return {**texts(self.work), "features": self.columns.features(*here)}

    def _chosen(self, options: Mapping[str, Any]) -> Task:
        for key in options:
            if key not in ("stage", "task"):
                raise UnknownName(
                    f"No option {key!r}.", field="options", value=key, fix=nearest(key, ["stage", "task"])
                )
        if "task" in options:
            by_id = {each.id: each for each in self.tasks}
            if options["task"] not in by_id:
                what, fix = f"No task {options['task']!r}.", nearest(str(options["task"]), by_id)
                raise UnknownName(what, field="task", value=options["task"], fix=fix)
            return by_id[options["task"]]
        among: Sequence[Task] = self.tasks
        if "stage" in options:
            stage = options["stage"]
            if stage not in range(len(self.stages)):
                fix = f"There are {len(self.stages)}, from 0."
                raise InvalidInput(f"No stage {stage!r}.", field="stage", value=stage, fix=fix)
            among = self.stages[stage]
        return among[int(self.np_random.integers(len(among)))]

    def _masked(self, action: int) -> InvalidInput:
        allowed = ", ".join(
            f"{number} ({self.meaning(number)})" for number in np.flatnonzero(self.action_mask)[:12].tolist()
        )
        what = f"The action {action} is masked."
        return InvalidInput(what, field="action", value=action, fix=f"Allowed now: {allowed}.")


def _check(tasks: Sequence[Task]) -> None:
    if not tasks:
        raise InvalidInput("There is no task.", field="tasks", fix="Give one at least.")
    for task in tasks:
        problem = unfit(task.source, task.entry)
        if problem:
            fix = "Give a source that parses and has the function."
            raise InvalidInput(
                f"The task {task.id!r} cannot be worked on: {problem}", field="tasks", value=task.id, fix=fix
            )


def _suspicion(work: Workspace) -> Mapping[int, float]:
    """Of each line, by the last run of the tests, for as long as the lines are counted as they were then."""
    known = work.known
    if known is None or work.tested.count("\n") != work.source.count("\n"):
        return {}
    raised = [answer.line if answer else 0 for answer in known.answers]
    return suspicion(known.lines, known.passed, raised=raised)


@lru_cache(KEPT)
def _edits(source: str, entry: str, operators: tuple[str, ...]) -> tuple[Edit, ...]:
    try:
        return tuple(edits(source, entry, operators))
    except RecursionError:  # such as a sum of a thousand terms: it runs, but its tree is too deep to walk
        return ()


if NAME not in gymnasium.registry:
    gymnasium.register(NAME, entry_point=f"{__name__}:CodingEnv")
