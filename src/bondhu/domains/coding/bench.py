"""Runs test code on answers of a program. This file's source goes into the sandbox, where no program of others is:
what a test does with an answer, such as counting up to it, is bounded there.

It imports nothing of Bondhu, and is called by its one function, `bench`.
"""

from __future__ import annotations

import builtins
import random
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any


class Gone(BaseException):
    """The test calls otherwise than was foreseen. No `except Exception` of a test may catch it."""


class Live:
    """A test in a thread of its own, which waits at every call for what the program answers."""

    def __init__(self, code: str, preamble: str, entry: str) -> None:
        self.asked: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self.answered: SimpleQueue[tuple[str, Any, str]] = SimpleQueue()
        Thread(target=self.run, args=(code, preamble, entry), daemon=True).start()

    def run(self, code: str, preamble: str, entry: str) -> None:
        self.asked.put(("end", problem(code, preamble, entry, self.call)))

    def call(self, *arguments: Any, **keywords: Any) -> Any:
        self.asked.put(("call", arguments, keywords))
        return given(*self.answered.get())


def given(kind: str, value: Any, error: str) -> Any:
    """The answer, as the function itself would have given it. What was raised is a built-in error, or an Exception."""
    if kind == "value":
        return value
    name, _, text = error.partition(": ")
    raised = getattr(builtins, name, Exception)
    if not (isinstance(raised, type) and issubclass(raised, Exception)):
        raised = Exception
    try:
        problem = raised(text)
    except TypeError:  # UnicodeDecodeError wants more
        problem = Exception(error)
    raise problem


def problem(code: str, preamble: str, entry: str, function: Callable[..., Any]) -> str:
    """ "" if the test passes, else what is wrong."""
    random.seed(0)  # as when its calls were found
    names: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compile(preamble, "<preamble>", "exec", dont_inherit=True), names)  # noqa: S102 (test code is trusted)
        names[entry] = function
        exec(compile(code, "<test>", "exec", dont_inherit=True), names)  # noqa: S102 (test code is trusted)
    except AssertionError:
        return "failed"
    except Gone:
        return "unforeseen"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit in a test would end its thread, and nobody would hear of it
        return f"raised {type(error).__name__}: {error}"[:300]
    return ""


class Replayed:
    """A function that gives answers which are there already, as long as it is asked what was foreseen."""

    def __init__(self, plan: list[Any] | None, answers: list[tuple[str, Any, str]]) -> None:
        self.plan = plan  # arguments and keywords of each call; None: whatever they are
        self.answers = answers
        self.used = 0

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        place = self.used
        if place == len(self.answers) or (self.plan is not None and self.plan[place] != (arguments, keywords)):
            raise Gone
        self.used += 1
        return given(*self.answers[place])


LIVE: list[Live] = []


def bench(what: str, *rest: Any) -> Any:
    """`"exam", code, preamble, entry, plan, answers`: the problem, and how many of the answers it rests on. `"begin",
    code, preamble, entry` and then `"proceed", kind, value, error`: ("call", arguments, keywords) as long as the test
    calls, and at last ("end", problem)."""
    if what == "exam":
        code, preamble, entry, plan, answers = rest
        replayed = Replayed(plan, answers)
        return problem(code, preamble, entry, replayed), replayed.used
    if what == "begin":
        LIVE[:] = [Live(*rest)]
    else:
        LIVE[0].answered.put(rest)
    return LIVE[0].asked.get()
