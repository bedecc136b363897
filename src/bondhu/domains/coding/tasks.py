"""A task: a function to write or to repair, and the tests that say whether it is right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from bondhu.sandbox.program import Call


@dataclass(frozen=True)
class Test:
    """A piece of test code: it runs on our side, and what it calls is answered by the sandbox."""

    name: str  # such as "check[3]"
    code: str  # statements that call the entry function by its name; an AssertionError means that it failed
    call: Call | None = None  # where the code is one assertion about one call: that call, so that many go together


@dataclass(frozen=True)
class Task:
    """One function to get right."""

    id: str
    entry: str  # its name
    statement: str  # what it is to do, for people and language models
    source: str  # the whole module as the agent finds it: with a bug, or with nothing but the signature
    tests: tuple[Test, ...]  # what the agent may run
    held_out: tuple[Test, ...] = ()  # what it never sees
    solution: str | None = None  # a whole module that is right
    preamble: str = ""  # what the test code needs before it: imports, helpers
    kind: str = ""  # of bug, where somebody said it
    origin: str = ""  # of the data


def share(task: Task) -> float:
    """Where the hash of its id puts a task between 0 and 1: the same in every process and release."""
    return int.from_bytes(sha256(task.id.encode()).digest()[:8], "big") / 2**64


def split(tasks: list[Task], held_out: float = 0.3) -> tuple[list[Task], list[Task]]:
    """Tasks to learn from, and tasks to be judged on: by hash, so that more tasks do not move the old ones."""
    return [each for each in tasks if share(each) >= held_out], [each for each in tasks if share(each) < held_out]


def with_source(task: Task, source: str) -> Task:
    """The same task as somebody finds it who has come this far."""
    return replace(task, source=source)
