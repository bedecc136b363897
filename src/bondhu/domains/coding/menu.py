"""Numbers of actions: what they mean, and which are allowed. The hierarchy is locate, choose an operator, fill in.

With menus, an episode walks through stages: what to do; for an edit the line, the operator, and the edit itself. Each
slot keeps its number in all stages. Without menus (`flat`), an edit is one action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from bondhu.domains.coding.edits import Edit
from bondhu.domains.coding.rules import OPERATIONS, Rules
from bondhu.types import Booleans

STAGES = ("what", "line", "operator", "edit")
MORE, BACK = "more", "back"
Item = TypeVar("Item")


class Slot(NamedTuple):
    """What one number means."""

    stage: str  # "what", "line", "operator", "edit"; "turn" for more and back
    name: str  # of the operation, the operator, or "more" and "back"
    place: int = 0  # on the page, of a line or an edit


@dataclass(frozen=True)
class Board:
    """The edits of one program in the order in which they are offered: most suspicious lines first."""

    edits: Sequence[Edit]
    suspicion: Mapping[int, float]  # of a line; those that are missing have none

    @cached_property
    def lines(self) -> tuple[int, ...]:
        """Lines with edits; equally suspicious ones in the order of the source."""
        return tuple(
            sorted({each.line for each in self.edits}, key=lambda line: (-self.suspicion.get(line, 0.0), line))
        )

    @cached_property
    def by_line(self) -> Mapping[int, Mapping[str, Sequence[Edit]]]:
        """Line to operator to edits."""
        found: dict[int, dict[str, list[Edit]]] = {line: {} for line in self.lines}
        for each in self.edits:
            found[each.line].setdefault(each.operator, []).append(each)
        return found

    @cached_property
    def ordered(self) -> Sequence[Edit]:
        """All edits, line by line."""
        return [each for line in self.lines for group in self.by_line[line].values() for each in group]


@dataclass(frozen=True)
class Menu:
    """Where in the menus an episode is."""

    stage: str = "what"
    page: int = 0
    line: int = 0  # chosen; 0: none yet
    operator: str = ""  # chosen

    @property
    def back(self) -> Menu:
        """One stage up."""
        return {"operator": Menu("line"), "edit": Menu("operator", line=self.line)}.get(self.stage, Menu())

    @property
    def turned(self) -> Menu:
        """The next page."""
        return replace(self, page=self.page + 1)


@dataclass(frozen=True)
class Layout:
    """The numbers of all actions under some rules."""

    rules: Rules

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """What each number means."""
        rules = self.rules
        if rules.flat:
            operations = tuple(Slot("what", name) for name in OPERATIONS if name != "edit")
            return (*operations, *(Slot("edit", "", place) for place in range(rules.flat)))
        return (
            *(Slot("what", name) for name in OPERATIONS),
            *(Slot("line", "", place) for place in range(rules.lines)),
            *(Slot("operator", name) for name in dict.fromkeys(rules.operators)),
            *(Slot("edit", "", place) for place in range(rules.candidates)),
            Slot("turn", MORE),
            Slot("turn", BACK),
        )

    def lines(self, menu: Menu, board: Board) -> Sequence[int]:
        """On this page."""
        return _page(board.lines, menu.page, self.rules.lines) if menu.stage == "line" else ()

    def edits(self, menu: Menu, board: Board) -> Sequence[Edit]:
        """On this page, or without menus all that are offered."""
        if self.rules.flat:
            return board.ordered[: self.rules.flat]
        if menu.stage != "edit":
            return ()
        return _page(board.by_line[menu.line][menu.operator], menu.page, self.rules.candidates)

    def mask(self, menu: Menu, board: Board, possible: Mapping[str, bool]) -> Booleans:
        """Which actions are allowed: `[A]`. `possible`: operation to whether it may be done now."""
        lines, edits = len(self.lines(menu, board)), len(self.edits(menu, board))
        operators = board.by_line[menu.line] if menu.stage == "operator" else {}
        more = self._more(menu, board)
        allowed: dict[str, Callable[[Slot], bool]] = {
            "what": lambda slot: menu.stage == "what" and possible[slot.name],
            "line": lambda slot: slot.place < lines,
            "operator": lambda slot: slot.name in operators,
            "edit": lambda slot: slot.place < edits,
            "turn": lambda slot: more if slot.name == MORE else menu.stage != "what",
        }
        return np.array([allowed[slot.stage](slot) for slot in self.slots], bool)

    def chosen(self, menu: Menu, board: Board, slot: Slot) -> Menu | Edit | str:
        """Where an allowed action leads: to another place in the menus, an edit, or an operation."""
        if slot.stage == "turn":
            return menu.turned if slot.name == MORE else menu.back
        if slot.stage == "line":
            return Menu("operator", line=self.lines(menu, board)[slot.place])
        if slot.stage == "operator":
            return Menu("edit", line=menu.line, operator=slot.name)
        if slot.stage == "edit":
            return self.edits(menu, board)[slot.place]
        return Menu("line") if slot.name == "edit" else slot.name

    def described(self, menu: Menu, board: Board, slot: Slot) -> str:
        """An allowed action in words."""
        if slot.stage == "line":
            return f"line {self.lines(menu, board)[slot.place]}"
        if slot.stage == "edit":
            edit = self.edits(menu, board)[slot.place]
            return f"line {edit.line}: {edit.before!r} -> {edit.after!r}"
        return slot.name

    def _more(self, menu: Menu, board: Board) -> bool:
        if menu.stage == "line":
            return (menu.page + 1) * self.rules.lines < len(board.lines)
        if menu.stage == "edit":
            return (menu.page + 1) * self.rules.candidates < len(board.by_line[menu.line][menu.operator])
        return False


def _page(every: Sequence[Item], page: int, size: int) -> Sequence[Item]:
    return every[page * size : (page + 1) * size]
