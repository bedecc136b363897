"""Opens the sandbox: a jail for each core, replaced when it dies, and refused when it does not hold."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition
from typing import TypeVar

from bondhu.errors import SandboxUnavailable, UnknownName, nearest
from bondhu.sandbox.isolation import Isolation, Start, prepared
from bondhu.sandbox.jail import Execution, Jail, JailBroken, refusal
from bondhu.sandbox.program import Answer, Call, Outcome, Program, SandboxEnded, Session
from bondhu.sandbox.selftest import gained

ISOLATIONS = ("auto", "namespaces", "landlock", "none")
HELP = {
    "namespaces": "Install bubblewrap, and let users make namespaces: sysctl kernel.unprivileged_userns_clone=1 and"
    " user.max_user_namespaces; on Ubuntu 24.04 the AppArmor profile bwrap-userns-restrict; in Docker"
    " --security-opt seccomp=unconfined.",
    "landlock": "Use Linux 5.13 or later with landlock among the security modules (lsm=landlock,...).",
    "none": "Use Linux 5.4 or later on x86_64 or aarch64.",
}
LOG = logging.getLogger("bondhu.sandbox")
Result = TypeVar("Result")


class Pool:
    """Jails of one kind. Safe to use from several threads; a program of one jail never meets that of another."""

    def __init__(self, start: Start, workers: int) -> None:
        """Raises SandboxUnavailable where no jail starts, or where one does not hold."""
        self.isolation: Isolation = start.isolation
        self.workers = workers
        self._start = start
        self._owner = os.getpid()
        self._changed = Condition()
        self._idle: list[Jail] = []
        self._running = 0  # jails that run a program; those of sessions come on top: a session may wait for a run
        self._closed = False
        # Jails die with the thread that has started them, so it must not be one that may end earlier.
        self._spawner = ThreadPoolExecutor(1, "sandbox")
        try:
            self._idle.append(self._tested())
            self._idle += [self._fresh() for _ in range(workers - 1)]
        except BaseException:
            self.close()
            raise

    def run(self, program: Program) -> Outcome:
        """Raises SandboxUnavailable if the jail itself is broken twice: never the fault of the program."""
        if refused := refusal(program.source):
            return Outcome("invalid", (), detail=refused)
        try:
            return self._once(program)
        except JailBroken as problem:
            LOG.warning("A jail broke, and is replaced: %s", problem)
        try:
            return self._once(program)
        except JailBroken as problem:
            raise SandboxUnavailable(
                f"Two jails broke one after the other: {problem}", fix=HELP[self.isolation]
            ) from problem

    def run_all(self, programs: Sequence[Program]) -> list[Outcome]:
        """The same side by side, in order."""
        if len(programs) < 2 or self.workers == 1:
            return [self.run(each) for each in programs]
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(self.run, programs))

    @contextmanager
    def session(self, program: Program) -> Iterator[Session]:
        """The program loaded and waiting, in a jail of its own; its own calls are not made."""
        if refused := refusal(program.source):
            yield Refused(Outcome("invalid", (), detail=refused))
            return
        try:
            with self._leased(counts=False) as jail:
                conversation = Conversation(Execution(jail, program, stays=True))
                try:
                    yield conversation
                finally:
                    conversation.end(patience=0.0)
        except JailBroken as problem:
            raise self._unavailable(f"The jail of a session broke: {problem}") from problem

    def processes(self) -> list[int]:
        """The first process of each idle jail."""
        with self._changed:
            return [jail.process.pid for jail in self._idle]

    def close(self) -> None:
        """Ends all jails. What runs in one just now raises SandboxUnavailable."""
        with self._changed:
            self._closed = True
            jails, self._idle = self._idle, []
            self._changed.notify_all()
        for jail in jails:
            jail.close()
        self._spawner.shutdown()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _once(self, program: Program) -> Outcome:
        with self._leased() as jail:
            execution = Execution(jail, program)
            while execution.answer() is not None:
                pass
            return execution.outcome()

    @contextmanager
    def _leased(self, *, counts: bool = True) -> Iterator[Jail]:
        """A jail for one program; one that breaks, or that somebody interrupts, is not used again."""
        jail = self._taken(counts)
        whole = False
        try:
            jail = jail or self._fresh()
            yield jail
            whole = True
        finally:
            with self._changed:
                self._running -= counts
                kept = whole and not self._closed and len(self._idle) < self.workers
                if kept and jail is not None:
                    self._idle.append(jail)
                self._changed.notify()
            if jail is not None and not kept:
                jail.close()

    def _taken(self, counts: bool) -> Jail | None:
        """An idle jail, or None where another one may be started."""
        if os.getpid() != self._owner:
            raise SandboxUnavailable("This sandbox was opened by another process.", fix="Open one in each process.")
        with self._changed:
            while counts and self._running >= self.workers and not self._closed:
                self._changed.wait()
            if self._closed:
                raise SandboxUnavailable("This sandbox is closed.", fix="Open another with open_sandbox().")
            self._running += counts
            while self._idle:
                jail = self._idle.pop()
                if jail.process.poll() is None:
                    return jail
                jail.close()  # it has died while it had nothing to do
            return None

    def _fresh(self) -> Jail:
        return Jail(self._start, self._spawner)

    def _tested(self) -> Jail:
        """The first jail, in which attacks have been tried that must not succeed."""
        try:
            jail = self._fresh()
        except JailBroken as problem:
            raise self._unavailable(f"No jail starts ({self.isolation}): {problem}") from problem
        try:
            won = gained(jail) if self.isolation != "none" else []
        except JailBroken as problem:
            won = [str(problem)]
        if won:
            jail.close()
            raise self._unavailable(f"The jail does not hold ({self.isolation}): {', '.join(won)}.")
        return jail

    def _unavailable(self, what: str) -> SandboxUnavailable:
        return SandboxUnavailable(what, fix=HELP[self.isolation])


class Refused:
    """A session that had ended before it began."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def call(self, _: Call) -> Answer:
        raise SandboxEnded(self._outcome)


class Conversation:
    """A program that stays, to be called as its answers lead on. For one thread."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._outcome: Outcome | None = None

    def call(self, call: Call) -> Answer:
        """Raises SandboxEnded with the outcome once the program has ended."""
        answer = self._execution.ask(call) if self._outcome is None else None
        if answer is None:
            raise SandboxEnded(self.end(patience=0.5))
        return answer

    def end(self, *, patience: float) -> Outcome:
        if self._outcome is None:
            self._outcome = self._execution.outcome(patience=patience)
        return self._outcome


def open_sandbox(workers: int | None = None, isolation: str = "auto") -> Pool:
    """A sandbox of `workers` jails (as many as cores), to be closed or used in a `with`.

    `isolation`: "namespaces" (bubblewrap), "landlock" (no scratch folder, and a program sees which files exist, though
    not what is in them), "auto" for the first of these that there is, or "none", which protects against nothing.
    Raises SandboxUnavailable with the reason and what to do.
    """
    if isolation not in ISOLATIONS:
        raise UnknownName(f"No isolation {isolation!r}.", value=isolation, fix=nearest(isolation, ISOLATIONS))
    if sys.platform != "linux":
        raise SandboxUnavailable(
            f"There are no jails on {sys.platform}.", fix="Use Linux, or a virtual machine that runs it."
        )
    workers = workers or len(os.sched_getaffinity(0))
    if isolation == "none":
        warnings.warn("Programs run without any isolation: they can do whatever you can.", stacklevel=2)
    if isolation != "auto":
        return _opened(isolation, workers)  # type: ignore[arg-type]  # compared above
    try:
        return _opened("namespaces", workers)
    except SandboxUnavailable as first:
        try:
            pool = _opened("landlock", workers)
        except SandboxUnavailable as second:
            raise SandboxUnavailable(f"{first.what} {second.what}", fix=f"{first.fix} Or: {second.fix}") from second
        LOG.warning("Programs run behind landlock, without namespaces: %s", first)
        return pool


def _opened(isolation: Isolation, workers: int) -> Pool:
    return Pool(prepared(isolation), workers)
