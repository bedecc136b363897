"""Injector against repairer: one puts a bug into a right program, the other mends it within a budget.

The injector earns most for bugs that are mended with about half of the budget: neither trivial nor impossible, as goals
of intermediate difficulty (Florensa et al. 2018, "Automatic goal generation for reinforcement learning agents") and as
in asymmetric self-play (Sukhbaatar et al. 2018), where the one is paid for what the other finds hard but can do. As the
repairer learns, what was hard becomes easy, and the injector has to move on.

With u = programs tried / budget: the repairer earns 1 - u for a bug that it mends, and -1 for one that stays; the
injector 4·u·(1 - u), 0 for one that stays, and `penalty` for a change that the tests do not notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from bondhu.agents.games import Known, Played, Seat, View, edits_of, one_hot
from bondhu.domains.coding.edits import OPERATORS as EVERY
from bondhu.domains.coding.edits import Edit, applied
from bondhu.domains.coding.localisation import suspicion
from bondhu.domains.coding.mutation import OPERATORS
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge, Judgement
from bondhu.errors import InvalidInput, UnknownName, nearest

INJECTOR, REPAIRER = "injector_0", "repairer_0"
PROBLEMS = 4  # kinds for those who learn by table: most failing tests raised, answered wrongly, timed out, other


@dataclass(frozen=True)
class BugMatch:
    """One bug, from the right program on."""

    task: Task
    source: str  # with the bug, and with what the repairer has kept; the solution before
    judgement: Judgement | None = None  # of `source`, once there is a bug
    bug: Edit | None = None
    waiting: tuple[tuple[Edit, ...], ...] = ()  # of each operator: edits of `source` not tried, most suspected first
    seen: frozenset[str] = frozenset()  # programs tried
    tried: tuple[int, ...] = ()  # with each operator

    @property
    def tries(self) -> int:
        return sum(self.tried)


def interest(tries: int, budget: int, mended: bool) -> float:
    """4·u·(1 - u) with u = tries / budget: what a bug is worth to the injector, in [0, 1]; 0 unless mended."""
    used = min(tries / budget, 1.0)
    return 4.0 * used * (1.0 - used) if mended else 0.0


@dataclass(frozen=True)
class BugGame:
    """The injector chooses an operator and a line, once; the repairer again and again an operator, whose most suspected
    edit is tried. An edit that makes more tests pass is kept, and mending goes on from there."""

    tasks: tuple[Task, ...]  # with solutions that pass their tests
    judge: Judge
    operators: tuple[str, ...] = OPERATORS  # of both; what they cannot undo cannot be mended
    lines: int = 8  # that the injector tells apart; in longer functions neighbours share one
    budget: int = 12  # programs that the repairer may try
    penalty: float = -1.0  # for a change that the tests do not notice, or that does not parse
    name: str = "bugs"
    simultaneous: bool = False
    known: Known = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for operator in self.operators:
            if operator not in EVERY:
                fix = nearest(operator, EVERY)
                raise UnknownName(f"No operator {operator!r}.", field="operators", value=operator, fix=fix)
        if self.budget < 2 or self.lines < 1:
            what = f"A budget of {self.budget} programs and {self.lines} lines."
            raise InvalidInput(what, field="budget", value=self.budget, fix="Allow 2 programs and 1 line at least.")
        object.__setattr__(self, "known", Known(self.judge))
        self.known.right(self.tasks)
        for task in self.tasks:
            if not edits_of(str(task.solution), task.entry, self.operators):
                what = f"Nothing in {task.id!r} can be changed by these operators."
                raise InvalidInput(what, field="operators", value=self.operators, fix="Allow more of them.")

    @cached_property
    def seats(self) -> Mapping[str, Seat]:
        many = len(self.operators)
        return {
            INJECTOR: Seat(many * self.lines, many + self.lines + 2, 3, (len(self.tasks),)),
            REPAIRER: Seat(many, 2 * many + 4, 4 + 2 * many, (PROBLEMS, self.budget + 1)),
        }

    def begun(self, rng: np.random.Generator) -> BugMatch:
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        return BugMatch(task, str(task.solution))

    def turn(self, match: BugMatch) -> str:
        return INJECTOR if match.bug is None else REPAIRER

    def view(self, match: BugMatch, player: str) -> View:
        return self._before(match) if player == INJECTOR else self._after(match)

    def played(self, match: BugMatch, action: int, rng: np.random.Generator) -> Played[BugMatch]:
        return self._injected(match, action, rng) if match.bug is None else self._tried(match, action)

    def told(self, match: BugMatch) -> str:
        if match.bug is None:
            return f"{match.task.id}: the injector chooses a bug."
        bug, said = match.bug, match.judgement
        passed = f"{sum(said.passed)} of {len(said.passed)} tests pass" if said else "the tests have not run"
        change = f"`{bug.before}` became `{bug.after}`"
        return f"{match.task.id}, line {bug.line}: {change}; {match.tries} of {self.budget} tried, {passed}."

    # ------------------------------------------------------------------------------------------------------- injector

    def menu(self, task: Task) -> tuple[tuple[Edit, ...], ...]:
        """The edits of a solution by action: those of an operator in a line. [operators · lines]"""
        return _menu(str(task.solution), task.entry, self.operators, self.lines)

    def _before(self, match: BugMatch) -> View:
        menu, many = self.menu(match.task), len(self.operators)
        counts = np.array([len(each) for each in menu], np.float64)
        place = np.tile(np.arange(self.lines), many)
        table = [one_hot(many)[np.arange(len(menu)) // self.lines], one_hot(self.lines)[place],
                 np.log1p(counts)[:, None] / 4, place[:, None] / self.lines]  # fmt: skip
        numbers = (len(match.source.splitlines()) / 20, np.log1p(counts.sum()) / 6, len(match.task.tests) / 20)
        allowed = counts > 0 if match.bug is None else np.ones(len(menu), np.bool_)
        return View(np.hstack(table), np.array(numbers), np.array([self.tasks.index(match.task)]), allowed)

    def _injected(self, match: BugMatch, action: int, rng: np.random.Generator) -> Played[BugMatch]:
        among = self.menu(match.task)[action]
        bug = among[int(rng.integers(len(among)))]
        source = applied(match.source, bug)
        judgement = self.known(match.task, source)
        after = self._open(replace(match, bug=bug, seen=frozenset({source})), source, judgement)
        if judgement.solved or judgement.outcome.ended == "invalid":
            return Played(after, {INJECTOR: self.penalty}, True, self._ending(after, "unnoticed"))
        if not any(after.waiting):
            return Played(after, {REPAIRER: -1.0}, True, self._ending(after, "stayed"))
        return Played(after, {}, False, {})

    def _open(self, match: BugMatch, source: str, judgement: Judgement) -> BugMatch:
        """Mending goes on from this program."""
        blame = suspicion(judgement.lines, judgement.passed)
        found = sorted(edits_of(source, match.task.entry, self.operators), key=lambda edit: -blame.get(edit.line, 0.0))
        waiting = tuple(tuple(edit for edit in found if edit.operator == name) for name in self.operators)
        tried = match.tried or (0,) * len(self.operators)
        return self._fresh(replace(match, source=source, judgement=judgement, waiting=waiting, tried=tried))

    def _fresh(self, match: BugMatch) -> BugMatch:
        """Without edits at the head of a row that lead to a program which was tried."""
        rows = [
            next((row[at:] for at, edit in enumerate(row) if applied(match.source, edit) not in match.seen), ())
            for row in match.waiting
        ]
        return replace(match, waiting=tuple(rows))

    # ------------------------------------------------------------------------------------------------------- repairer

    def _after(self, match: BugMatch) -> View:
        many, problems = len(self.operators), match.judgement.problems if match.judgement else ()
        failing = [each for each in problems if each]
        kinds = np.bincount([_kind(each) for each in failing], minlength=PROBLEMS)
        shares = kinds / max(len(failing), 1)
        left = np.array([len(row) for row in match.waiting] or [0] * many)
        blame = suspicion(match.judgement.lines, match.judgement.passed) if match.judgement else {}
        suspected = np.array([blame.get(row[0].line, 0.0) if row else 0.0 for row in match.waiting] or [0.0] * many)
        tried = np.array(match.tried or [0] * many)
        table = [one_hot(many), one_hot(many) * shares[0], suspected[:, None], np.log1p(left)[:, None] / 4,
                 tried[:, None] / self.budget, np.full((many, 1), match.tries / self.budget)]  # fmt: skip
        situation = np.concatenate([shares[:3], [match.tries / self.budget], suspected, np.log1p(left) / 4])
        codes = np.array([int(kinds.argmax()), min(match.tries, self.budget)])
        allowed = left > 0
        return View(np.hstack(table), situation, codes, allowed if allowed.any() else np.ones(many, np.bool_))

    def _tried(self, match: BugMatch, action: int) -> Played[BugMatch]:
        edit, *others = match.waiting[action]
        source = applied(match.source, edit)
        judgement = self.known(match.task, source)
        tried = tuple(count + (number == action) for number, count in enumerate(match.tried))
        waiting = (*match.waiting[:action], tuple(others), *match.waiting[action + 1 :])
        after = replace(match, tried=tried, waiting=waiting, seen=match.seen | {source})
        cost = {REPAIRER: -1.0 / self.budget}
        if judgement.solved:
            after = replace(after, source=source, judgement=judgement)
            worth = interest(after.tries, self.budget, mended=True)
            return Played(after, {REPAIRER: 1.0 + cost[REPAIRER], INJECTOR: worth}, True, self._ending(after, "mended"))
        if match.judgement is not None and judgement.share > match.judgement.share:
            after = self._open(after, source, judgement)
        else:
            after = self._fresh(after)
        if after.tries >= self.budget or not any(after.waiting):
            lost = -1.0 + after.tries / self.budget  # so that all tries together come to -1
            return Played(after, {REPAIRER: cost[REPAIRER] + lost}, True, self._ending(after, "stayed"))
        return Played(after, cost, False, {})

    def _ending(self, match: BugMatch, how: str) -> dict[str, object]:
        """How it ended: "mended", "stayed" or "unnoticed"; programs tried, and their share of the budget."""
        operator = match.bug.operator if match.bug else ""
        return {"ended": how, "tries": match.tries, "used": match.tries / self.budget, "operator": operator}


def _kind(problem: str) -> int:
    """Of a failing test: raised, answered wrongly, timed out, other."""
    starts = ("raised", "failed", "timed out")
    return next((number for number, start in enumerate(starts) if problem.startswith(start)), len(starts))


@lru_cache(maxsize=256)
def _menu(source: str, entry: str, operators: tuple[str, ...], lines: int) -> tuple[tuple[Edit, ...], ...]:
    found = edits_of(source, entry, operators)
    numbers = sorted({edit.line for edit in found})
    places = {line: at * lines // max(len(numbers), lines) for at, line in enumerate(numbers)}
    return tuple(
        tuple(edit for edit in found if edit.operator == operator and places[edit.line] == place)
        for operator in operators
        for place in range(lines)
    )
