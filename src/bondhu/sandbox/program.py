"""What goes into the sandbox and what comes out of it.

Nothing in an `Answer` is more than a claim of the program: a value is evidence because it is compared outside with one
that the program has never seen; a line said to be executed, or an error, is a hint and earns nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from bondhu.errors import BondhuError

Ended = Literal["done", "invalid", "cpu", "wall", "memory", "exit", "crash", "flood"]


@dataclass(frozen=True)
class Limits:
    """What one program may use; past it, it is killed."""

    cpu: float = 0.5  # seconds of processor time: fair on a loaded machine
    wall: float = 2.5  # seconds of real time: for those who sleep
    memory: int = 512  # MiB
    threads: int = 64
    scratch: int = 16  # MiB of files, in at most 2,048 of them; 0: nowhere to write
    output: int = 64  # KiB kept of what it prints
    reply: int = 4096  # KiB of answers


@dataclass(frozen=True)
class Call:
    """One call of the entry function, with plain data: None, bool, int, float, complex, str, bytes and tuples, lists,
    sets and dictionaries of them."""

    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A module's source, and what to call in it."""

    source: str
    entry: str  # name of the function
    calls: tuple[Call, ...] = ()
    trace: bool = False  # also say which lines each call executed; several times slower
    limits: Limits = Limits()


class Answer(NamedTuple):
    """What the program said to one call."""

    kind: Literal["value", "raised", "opaque"]  # opaque: it is no plain data
    value: Any = None  # plain data of exact built-in types
    error: str = ""  # "IndexError: list index out of range", cut; one printable line
    lines: frozenset[int] = frozenset()  # executed, if traced
    line: int = 0  # of the source at which it raised; 0 if unknown


@dataclass(frozen=True)
class Outcome:
    """What became of a program. `ended`, `cpu`, `wall` and `memory` are the host's own observations."""

    ended: Ended  # "invalid": it does not parse; "exit": it ended by itself before it had answered all
    answers: tuple[Answer, ...]  # to the calls it came to, in order
    cpu: float = 0.0  # seconds
    wall: float = 0.0  # seconds
    memory: int = 0  # KiB at most
    output: str = ""  # what it printed, cut
    detail: str = ""  # one printable line: what it raised while it was loaded, or the signal that ended it


class SandboxEnded(BondhuError):
    """The program of a session has ended. Its `outcome` says how; open a new session."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        detail = f" ({outcome.detail})" if outcome.detail else ""
        super().__init__(f"The program of this session has ended: {outcome.ended}{detail}.", fix="Open a new session.")


class Session(Protocol):
    """A program that stays, to be called as its answers lead on."""

    def call(self, call: Call) -> Answer:
        """Opaque where the call is too large to be sent. Raises `SandboxEnded` with the outcome once the program has
        ended."""


class Sandbox(Protocol):
    """Where programs run. Safe to use from several threads."""

    def run(self, program: Program) -> Outcome:
        """Raises SandboxUnavailable if the jail itself is broken: never the fault of the program."""

    def run_all(self, programs: Sequence[Program]) -> list[Outcome]:
        """The same side by side, in order."""

    def session(self, program: Program) -> AbstractContextManager[Session]:
        """The program loaded and waiting; its own calls are not made."""
