"""Reviewer against author: the author hands in an edit, the reviewer accepts or rejects it from what it looks like, and
only then the tests tell.

An accepted edit is tested, at a cost, and both earn 1 if it is right and -1 if it is not: a wrong edit that gets in
hurts everybody. A rejected one is not tested; the reviewer earns `caught` where it was wrong and -1 where it was right,
the author `delay`, and hands in another one, as often as there are rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np

from bondhu.agents.games import Known, Played, Seat, View, edits_of
from bondhu.domains.coding import features
from bondhu.domains.coding.edits import Edit, applied
from bondhu.domains.coding.localisation import suspicion
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput
from bondhu.types import Floats

AUTHOR, REVIEWER = "author_0", "reviewer_0"
ACCEPT, REJECT = 0, 1
KINDS = 3  # of suspicion of the edited line, for those who learn by table: none, some, most


@dataclass(frozen=True)
class ReviewMatch:
    """A broken program, the edits that the author thinks of, and the one that lies before the reviewer."""

    task: Task
    numbers: tuple[int, ...]  # of the edits in the menu, among all of the program
    right: tuple[bool, ...]  # of each: whether the tests pass with it
    handed: int | None = None  # which of the menu lies before the reviewer
    rejected: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReviewGame:
    """A menu of edits, of which at least one is right; the author hands in one after another."""

    tasks: tuple[Task, ...]  # with a bug that a single edit mends
    judge: Judge
    menu: int = 8
    rounds: int = 3  # edits that may be handed in
    operators: tuple[str, ...] | None = None  # that the author uses; None: all
    cost: float = 0.1  # of running the tests
    caught: float = 0.1  # for rejecting a wrong edit: less than a right one earns, or all would be rejected
    delay: float = -0.1  # for the author, of a rejection
    name: str = "reviews"
    simultaneous: bool = False
    known: Known = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", Known(self.judge))
        if not self.tasks:
            raise InvalidInput("A game without tasks.", field="tasks", value=0, fix="Give at least one.")
        if not 1 <= self.rounds <= self.menu:
            what = f"{self.rounds} rounds with a menu of {self.menu}."
            raise InvalidInput(what, field="rounds", value=self.rounds, fix="Play 1 round to as many as the menu has.")
        for task in self.tasks:
            right = self._right(task)
            if not any(right) or len(right) < self.menu:
                what = f"{task.id!r} has {len(right)} edits, of which {sum(right)} are right."
                raise InvalidInput(what, field="tasks", value=task.id, fix="Allow more operators, or a smaller menu.")

    @cached_property
    def seats(self) -> Mapping[str, Seat]:
        width = len(features.NAMES)
        return {
            AUTHOR: Seat(self.menu, width + 1, width, (self.rounds,)),
            REVIEWER: Seat(2, width + 2, width, (KINDS, self.rounds)),
        }

    def begun(self, rng: np.random.Generator) -> ReviewMatch:
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        right = np.array(self._right(task))
        first = rng.permutation(np.flatnonzero(right))[:1]
        others = np.setdiff1d(rng.permutation(len(right)), first, assume_unique=True)[: self.menu - 1]
        numbers = rng.permutation(np.concatenate([first, others]))
        return ReviewMatch(task, tuple(numbers.tolist()), tuple(right[numbers].tolist()))

    def turn(self, match: ReviewMatch) -> str:
        return AUTHOR if match.handed is None else REVIEWER

    def view(self, match: ReviewMatch, player: str) -> View:
        table = self._table(match.task)[list(match.numbers)]
        gone = len(match.rejected)
        if player == AUTHOR:
            allowed = np.ones(self.menu, np.bool_)
            allowed[list(match.rejected)] = False
            seen = np.hstack([np.ones((self.menu, 1)), table])
            return View(seen, table[allowed].mean(axis=0), np.array([min(gone, self.rounds - 1)]), allowed)
        row = table[match.handed or 0]
        # Accepting is described by the edit, and rejecting by nothing: its worth is that of not knowing more.
        seen = np.vstack([[1.0, 0.0, *row], [0.0, 1.0, *np.zeros(len(row))]])
        suspected = row[features.NAMES.index("suspicion")], row[features.NAMES.index("most suspicious")]
        kind = 2 if suspected[1] > 0 else int(suspected[0] > 0)
        return View(seen, row, np.array([kind, min(gone, self.rounds - 1)]), np.ones(2, np.bool_))

    def played(self, match: ReviewMatch, action: int, rng: np.random.Generator) -> Played[ReviewMatch]:  # noqa: ARG002  # nothing is drawn
        if match.handed is None:
            return Played(replace(match, handed=action), {}, False, {})
        right, handed = match.right[match.handed], match.handed
        if action == ACCEPT:
            worth = (1.0 if right else -1.0) - self.cost
            return Played(match, {AUTHOR: worth, REVIEWER: worth}, True, self._ending(match, "accepted", right))
        after = replace(match, handed=None, rejected=(*match.rejected, handed))
        rewards = {AUTHOR: self.delay, REVIEWER: -1.0 if right else self.caught}
        over = len(after.rejected) == self.rounds
        return Played(after, rewards, over, self._ending(after, "rejected", right) if over else {})

    def told(self, match: ReviewMatch) -> str:
        if match.handed is None:
            return f"{match.task.id}: {len(match.rejected)} of {self.rounds} edits rejected."
        edit = self._edits(match.task)[match.numbers[match.handed]]
        return f"{match.task.id}, line {edit.line}: `{edit.before}` to become `{edit.after}`?"

    def _ending(self, match: ReviewMatch, how: str, right: bool) -> dict[str, object]:
        """What became of the last edit, whether it was right, and how many were rejected."""
        return {"ended": how, "right": right, "rejected": len(match.rejected)}

    def _edits(self, task: Task) -> tuple[Edit, ...]:
        return edits_of(task.source, task.entry, self.operators)

    def _right(self, task: Task) -> tuple[bool, ...]:
        return tuple(self.known(task, applied(task.source, edit)).solved for edit in self._edits(task))

    def _table(self, task: Task) -> Floats:
        """Features of all edits of the program as it is found: `[N, F]`."""
        judged = self.known(task, task.source)
        blame = tuple(suspicion(judged.lines, judged.passed).items())
        return _features(task.source, task.entry, self._edits(task), blame, judged.problems)


@lru_cache(maxsize=256)
def _features(
    source: str, entry: str, found: tuple[Edit, ...], blame: tuple[tuple[int, float], ...], problems: tuple[str, ...]
) -> Floats:
    return features.features(source, entry, found, "", dict(blame), problems)
