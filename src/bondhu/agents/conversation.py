"""What a language model is told of a task, and the program that its reply contains.

Prompts are functions of the task and of what the tests said: the same twice gives the same bytes. Replies are text that
nobody vouches for: only a fenced block, or a text that parses and defines the entry function, is taken for a program.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bondhu.domains.coding.tasks import Task
from bondhu.errors import UnknownName, nearest

Strategy = Literal["repair", "traceback", "rewrite", "tests_first"]
STRATEGIES: tuple[Strategy, ...] = ("repair", "traceback", "rewrite", "tests_first")
SHOWN_TESTS = 5  # failing tests in a prompt
LONGEST_TEST = 600  # characters of one test, and of one error message
LONGEST_TEXT = 40_000  # characters of a statement or a program in a prompt
LONGEST_REPLY = 60_000  # characters of a reply that are read
FENCE = re.compile(r"[ \t]*(```+|~~~+)[ \t]*([\w+-]*)")  # the line that opens a block
PYTHON = ("", "python", "python3", "py")
ROLE = (
    "You write and repair Python. Answer with one fenced block that holds the whole module, and nothing after it. "
    "Keep the name and the parameters of the function."
)
ROLE_TESTS = "You write tests in Python. Answer with one fenced block of assert statements, one to a line."
WISH: dict[str, str] = {
    "repair": "The program has a bug. Find it and give the repaired module.",
    "traceback": "The program fails the tests below. Find the cause and give the repaired module.",
    "rewrite": "Write the module.",
    "tests_first": "Write up to eight assert statements that a right program passes, with edge cases.",
}


class Judged(Protocol):
    """What tests said of a program, as `domains.coding.testing.Judgement` does."""

    @property
    def passed(self) -> tuple[bool, ...]: ...

    @property
    def problems(self) -> tuple[str, ...]: ...

    @property
    def share(self) -> float: ...

    @property
    def solved(self) -> bool: ...


@dataclass(frozen=True)
class Ask:
    """What is wanted of a model."""

    task: Task
    source: str  # the program as it is now
    strategy: Strategy
    judged: Judged | None = None  # what the tests said of `source`; None: they were not run
    tests: str = ""  # that a model wrote before; nobody checked them
    samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            fix = nearest(self.strategy, STRATEGIES)
            raise UnknownName(f"No strategy {self.strategy!r}.", field="strategy", value=self.strategy, fix=fix)


def messages(ask: Ask) -> list[dict[str, str]]:
    """The conversation that is sent: what the model is, and what it is asked."""
    role = ROLE_TESTS if ask.strategy == "tests_first" else ROLE
    return [{"role": "system", "content": role}, {"role": "user", "content": "\n\n".join(_parts(ask))}]


def _parts(ask: Ask) -> list[str]:
    parts = [f"The function `{ask.task.entry}`:\n{cut(ask.task.statement, LONGEST_TEXT)}"]
    if ask.strategy in ("repair", "traceback"):
        parts.append(fenced(cut(ask.source, LONGEST_TEXT)))
    if ask.strategy == "traceback" and ask.judged is not None:
        parts.append(failures(ask.task, ask.judged))
    if ask.tests and ask.strategy != "tests_first":
        parts.append(f"Tests that may help; nobody has checked them:\n{fenced(cut(ask.tests, LONGEST_TEXT))}")
    return [*parts, WISH[ask.strategy]]


def failures(task: Task, judged: Judged) -> str:
    """The tests that failed and what was said of each; of many the first few. Held-out tests are never among them."""
    rows = zip(task.tests, judged.passed, judged.problems, strict=False)
    failed = [(test, problem) for test, passed, problem in rows if not passed]
    lines = [f"{sum(judged.passed)} of {len(judged.passed)} tests pass. Failing:"]
    for test, problem in failed[:SHOWN_TESTS]:
        lines.append(f"{fenced(cut(test.code, LONGEST_TEST))}\n{cut(problem, LONGEST_TEST)}")
    return "\n".join(lines)


def fenced(text: str) -> str:
    """A block with a fence that is longer than any inside, so that a program cannot end its own block."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}python\n{text.rstrip()}\n{fence}"


def cut(text: str, longest: int) -> str:
    """The beginning, and how much is missing."""
    return text if len(text) <= longest else f"{text[:longest]}\n… {len(text) - longest} characters more"


def program_in(reply: str, entry: str) -> str | None:
    """The program in a reply: the last fenced block that defines `entry`, else the text itself where it is a program
    that does; None where there is neither, such as in prose."""
    reply = reply[:LONGEST_REPLY]
    blocks = _blocks(reply)
    named = [code for code in blocks if re.search(rf"^(?:async\s+)?(?:def|class)\s+{re.escape(entry)}\b", code, re.M)]
    if named:
        return _tidy(named[-1])
    return _tidy(reply) if not blocks and entry in _defined(reply) else None


def tests_in(reply: str) -> str:
    """The assert statements in a reply, one to a line; "" where there are none."""
    reply = reply[:LONGEST_REPLY]
    text = "\n".join(_blocks(reply)) or reply
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line.startswith("assert ") and _parsed(line) is not None)


def _blocks(reply: str) -> list[str]:
    """What stands in the blocks of Python; the last of them may have no end.

    Line by line: one pattern for whole blocks takes time that is quadratic in the length of a hostile reply.
    """
    blocks, lines = list[tuple[str, str]](), reply.split("\n")
    fence, language, start, last = "", "", 0, len(lines) - 1
    for place, line in enumerate(lines):
        if fence and line.strip(" \t") == fence:
            blocks.append((language, "".join(f"{each}\n" for each in lines[start:place])))
            fence = ""
        elif not fence and place < last and (opened := FENCE.match(line)):
            fence, language, start = opened[1], opened[2], place + 1
    if fence:
        blocks.append((language, "\n".join(lines[start:])))
    return [code for language, code in blocks if language.lower() in PYTHON]


def _defined(text: str) -> Sequence[str]:
    module = _parsed(text)
    kinds = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
    return [each.name for each in module.body if isinstance(each, kinds)] if module else []


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a strange escape in somebody else's text
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _tidy(code: str) -> str:
    return code.strip("\n").rstrip() + "\n"
