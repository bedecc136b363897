"""A workspace as it is seen: texts for readers, numbers for networks, codes for tables."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Text

from bondhu.domains.coding.menu import STAGES, Board, Layout, Menu
from bondhu.domains.coding.reading import lines, outline
from bondhu.domains.coding.workspace import Workspace
from bondhu.types import Floats, Integers

TEXTS: Mapping[str, int] = {  # key to the most characters of it; what is longer is cut, and says so
    "code": 20_000,
    "file_tree": 4_000,
    "error_messages": 4_000,
    "test_results": 6_000,
    "tool_outputs": 4_000,
    "conversation": 10_000,
}
UNPRINTABLE = re.compile(f"[^{re.escape(string.printable)}]")
SHOWN_TESTS = 5  # failing tests whose code is shown
FULL = 8  # of pages, changes or proposals: more looks the same
RANKS = 16  # of a chosen line: codes tell so many apart
RESULTS = 6  # codes: no results, those of another program, no test passed, less than half, at least half, all


def text_spaces() -> dict[str, Text]:
    """Of the texts, by key: printable ASCII; other characters are shown as escapes."""
    return {key: Text(longest, min_length=0, charset=string.printable) for key, longest in TEXTS.items()}


def texts(work: Workspace) -> dict[str, str]:
    """What can be read, in the spaces of `text_spaces`."""
    return {key: cut(UNPRINTABLE.sub(_escaped, text), TEXTS[key]) for key, text in written(work).items()}


def written(work: Workspace) -> dict[str, str]:
    """What can be read. Lines of code bear their numbers in the module."""
    return {
        "code": code(work),
        "file_tree": file_tree(work),
        "error_messages": error_messages(work),
        "test_results": test_results(work),
        "tool_outputs": work.output,
        "conversation": "\n".join(work.conversation),
    }


def cut(text: str, longest: int) -> str:
    """At most so many characters: the beginning, and how much is missing."""
    if len(text) <= longest:
        return text
    note = f"\n... {len(text):,} characters in all"
    return text[: longest - len(note)] + note


def code(work: Workspace) -> str:
    """The lines that are shown, numbered; below them what the tests need, once that was asked for."""
    first, last = work.lines_shown
    rows = lines(work.source)[first - 1 : last]
    numbered = "\n".join(f"{number:4}  {row}" for number, row in enumerate(rows, first))
    if "what the tests need" in work.contexts[: work.shown]:
        return f"{numbered}\n\n# before the tests\n{work.task.preamble.strip()}"
    return numbered


def file_tree(work: Workspace) -> str:
    """The module and its functions, and the tests."""
    functions = [
        f"  {name}  lines {first}-{last}" + ("  <- the task" if name == work.task.entry else "")
        for name, first, last in outline(work.source)
    ]
    head = f"program.py  {len(lines(work.source))} lines"
    return "\n".join([head, *functions, f"tests.py  {len(work.task.tests)} tests"])


def error_messages(work: Workspace) -> str:
    """Why a program was not taken, what the compiler refused, and what was raised in tests; each once."""
    found = [work.refused] if work.refused else []
    if work.compiles is False:
        found.append(work.output)
    if work.known is not None and not work.stale:
        rows = zip(work.task.tests, work.known.problems, strict=True)
        found += [f"{test.name}: {problem}" for test, problem in rows if problem not in ("", "failed")]
    return "\n".join(found)


def test_results(work: Workspace) -> str:
    """How many passed, and of those that did not the first few. Held-out tests are never shown."""
    if work.known is None:
        return "The tests have not been run."
    rows = list(zip(work.task.tests, work.known.problems, strict=True))
    failed = [(test, problem) for test, problem in rows if problem]
    head = f"{len(rows) - len(failed)} of {len(rows)} tests pass" + (" (before the last change)" if work.stale else "")
    shown = [f"{test.name}: {problem}\n{test.code.strip()}" for test, problem in failed[:SHOWN_TESTS]]
    rest = [f"... {len(failed) - SHOWN_TESTS} more fail"] if len(failed) > SHOWN_TESTS else []
    return "\n".join([head, *shown, *rest])


@dataclass(frozen=True)
class Columns:
    """Features and codes under one layout of the actions."""

    layout: Layout

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each feature is, `[F]`; all of them lie in [0, 1].

        `offered`: 1 if the slot may be chosen now. `suspicion`: of the slot's line. `longer`: of an edit, the share of
        the new text in old and new text. `operator`: of an edit, its place in the list of operators.
        """
        slots = self.layout.slots
        places = sum(slot.stage == "line" for slot in slots)
        edits = sum(slot.stage == "edit" for slot in slots)
        return (
            *("steps_left", "page", "suspicion_of_the_chosen_line"),
            *(f"stage_{stage}" for stage in STAGES),
            *("tested", "results_are_current", "passed", "raised", "timed_out"),
            *("changes", "proposals_left", "asked", "shown", "compiles", "does_not_compile", "searched", "refused"),
            *(f"line_{place}_{what}" for what in ("offered", "suspicion") for place in range(places)),
            *(f"{slot.name}_{what}" for what in ("offered", "chosen") for slot in slots if slot.stage == "operator"),
            *(
                f"edit_{place}_{what}"
                for what in ("offered", "suspicion", "longer", "operator")
                for place in range(edits)
            ),
        )

    @property
    def feature_space(self) -> Box:
        """`[F]`, float32."""
        return Box(0.0, 1.0, (len(self.names),), np.float32)

    @property
    def code_space(self) -> MultiDiscrete:
        """Stage, page, rank of the chosen line and the chosen operator (0: none), results, changes, proposals left."""
        sizes = [len(STAGES), FULL, RANKS + 1, len(self._operators) + 1, RESULTS, FULL // 2, FULL // 2]
        return MultiDiscrete(np.array(sizes))

    def features(self, work: Workspace, menu: Menu, board: Board) -> Floats:
        """`[F]`, in the order of `names`."""
        suspected = board.suspicion.get
        rows, edits = self.layout.lines(menu, board), self.layout.edits(menu, board)
        given = board.by_line.get(menu.line, {}) if menu.stage == "operator" else {}
        places = sum(slot.stage == "line" for slot in self.layout.slots)
        width = sum(slot.stage == "edit" for slot in self.layout.slots)
        columns = [
            *(1.0 - work.steps / work.rules.steps, menu.page / FULL, suspected(menu.line, 0.0)),
            *(float(menu.stage == stage) for stage in STAGES),
            *_results(work),
            *(len(work.before) / FULL, len(work.proposals) / FULL, work.asked / max(work.rules.questions, 1)),
            work.shown / max(len(work.contexts), 1),
            *(float(work.compiles is True), float(work.compiles is False)),
            *(float("search" in work.used), float(bool(work.refused))),
            *_padded([1.0] * len(rows), places),
            *_padded([suspected(line, 0.0) for line in rows], places),
            *(float(name in given) for name in self._operators),
            *(float(name == menu.operator) for name in self._operators),
            *_padded([1.0] * len(edits), width),
            *_padded([suspected(each.line, 0.0) for each in edits], width),
            *_padded([len(each.after) / max(len(each.before) + len(each.after), 1) for each in edits], width),
            *_padded([(self._number[each.operator] + 1) / len(self._number) for each in edits], width),
        ]
        return np.clip(np.array(columns, np.float32), 0.0, 1.0)

    def codes(self, work: Workspace, menu: Menu, board: Board) -> Integers:
        """`[7]`, as `code_space` has them."""
        rank = min(board.lines.index(menu.line), RANKS - 1) + 1 if menu.line else 0
        operator = self._operators.index(menu.operator) + 1 if menu.operator else 0
        some = [min(len(each), FULL // 2 - 1) for each in (work.before, work.proposals)]
        found = [STAGES.index(menu.stage), min(menu.page, FULL - 1), rank, operator, _result(work), *some]
        return np.array(found, np.int64)

    @cached_property
    def _operators(self) -> tuple[str, ...]:
        return tuple(slot.name for slot in self.layout.slots if slot.stage == "operator")

    @cached_property
    def _number(self) -> Mapping[str, int]:
        return {name: number for number, name in enumerate(dict.fromkeys(self.layout.rules.operators))}


def _results(work: Workspace) -> list[float]:
    """Whether there are results, whether they are of this program, and shares of the tests."""
    if work.known is None:
        return [0.0] * 5
    problems = work.known.problems
    shares = [sum(each.startswith(how) for each in problems) / len(problems) for how in ("raised", "timed out")]
    return [1.0, float(not work.stale), work.potential, *shares]


def _result(work: Workspace) -> int:
    if work.known is None or work.stale:
        return 0 if work.known is None else 1
    share = work.potential
    return 5 if share == 1.0 else 4 if share >= 0.5 else 3 if share else 2


def _padded(values: list[float], width: int) -> list[float]:
    return values + [0.0] * (width - len(values))


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape", "backslashreplace").decode()
