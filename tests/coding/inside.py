"""A stand-in for the sandbox that runs programs in this process: for harmless programs of unit tests, and for nothing
else.

It keeps the promises of `bondhu.sandbox.program` but one: it isolates nothing. What ends too late is ended by a limit
on the lines it executes, so that endless loops end after the same number of steps on every machine.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from types import FrameType, TracebackType
from typing import Any

from bondhu.sandbox.program import Answer, Call, Ended, Outcome, Program, SandboxEnded

FILE = "<program>"
STEPS = 200_000  # lines a program may execute in all
DEPTH = 64  # of plain data
SIMPLE = (type(None), bool, int, float, complex, str, bytes)


class NotPlain(Exception):
    """What a program answered is no plain data."""


class TooLong(BaseException):
    """A program executed more lines than it may; past `except Exception`, as a signal would be."""


def plain(value: Any, depth: int = DEPTH) -> Any:
    """A copy of exact built-in types. Raises `NotPlain`."""
    if depth == 0:
        raise NotPlain
    if type(value) in SIMPLE:
        return value
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(plain(each, depth - 1) for each in value)
    if type(value) is dict:
        return {plain(key, depth - 1): plain(each, depth - 1) for key, each in value.items()}
    for base in (bool, int, float, complex, str, bytes):
        if isinstance(value, base):
            return base(value)
    for container in (list, tuple, set, frozenset, dict):
        if isinstance(value, container):
            return plain(container(value), depth)
    raise NotPlain


class Loaded:
    """A program that was executed once and answers calls."""

    def __init__(self, program: Program, steps: int = STEPS) -> None:
        self.program = program
        self.names: dict[str, Any] = {"__name__": "program"}
        self.left = steps
        self.lines: set[int] = set()
        self.ended: Ended = "done"
        self.detail = ""
        self.printed = StringIO()
        self.load()

    def load(self) -> None:
        random.seed(0)
        try:
            code = compile(self.program.source, FILE, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            self.ended, self.detail = "invalid", f"{type(error).__name__}: {error}"
            return
        try:
            self.watched(lambda: exec(code, self.names))
        except Exception as error:
            # As in the jail: a module that cannot be loaded answers nothing.
            self.ended, self.detail = "exit", f"{type(error).__name__}: {error}"[:300]

    def watched(self, what: Callable[[], Any]) -> Any:
        """The result of `what` within the steps that are left."""
        before = sys.gettrace()
        sys.settrace(self.step)
        try:
            with redirect_stdout(self.printed):
                return what()
        except TooLong:
            self.ended = "cpu"
        except RecursionError:
            raise
        except SystemExit as error:
            self.ended, self.detail = "exit", f"SystemExit: {error}"
        finally:
            sys.settrace(before)

    def step(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != FILE:
            return None
        if event == "line":
            self.lines.add(frame.f_lineno)
            self.left -= 1
            if self.left < 0:
                raise TooLong
        return self.step

    def call(self, call: Call) -> Answer:
        if self.ended != "done":
            raise SandboxEnded(self.outcome(()))
        self.lines = set()
        given = [plain(each) for each in call.arguments], {key: plain(each) for key, each in call.keywords.items()}
        try:
            function = self.names[self.program.entry]
            answer = self.watched(lambda: Answer("value", plain(function(*given[0], **given[1]))))
        except NotPlain:
            answer = Answer("opaque")
        except Exception as error:
            answer = Answer("raised", error=f"{type(error).__name__}: {error}"[:300], line=line_of(error.__traceback__))
        if self.ended != "done":
            raise SandboxEnded(self.outcome(()))
        return answer._replace(lines=frozenset(self.lines)) if self.program.trace else answer

    def outcome(self, answers: tuple[Answer, ...]) -> Outcome:
        printed = self.printed.getvalue()[: self.program.limits.output * 1024]
        return Outcome(self.ended, answers, output=printed, detail=self.detail)


def line_of(traceback: TracebackType | None) -> int:
    """The innermost line of the program itself; 0 where there is none."""
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == FILE:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


class Inside:
    """The `Sandbox` protocol without a sandbox."""

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps
        self.programs: list[Program] = []  # that were run, so that a test can see what went in

    def run(self, program: Program) -> Outcome:
        self.programs.append(program)
        loaded, answers = Loaded(program, self.steps), list[Answer]()
        for call in program.calls:
            try:
                answers.append(loaded.call(call))
            except SandboxEnded:
                break
        return loaded.outcome(tuple(answers))

    def run_all(self, programs: Sequence[Program]) -> list[Outcome]:
        return [self.run(program) for program in programs]

    @contextmanager
    def session(self, program: Program) -> Iterator[Loaded]:
        self.programs.append(program)
        yield Loaded(program, self.steps)
