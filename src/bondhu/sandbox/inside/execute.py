"""One program in a process of its own: reads what to do, does it, and says what it answered. All it says is a claim."""

from __future__ import annotations

import io
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bondhu.sandbox.inside import wire

NAME = "program"  # of the module
FILE = "<program>"  # that its lines belong to
CUT = 500  # characters of an error
OVER = (MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit)  # after these no further call is made


class Printed(io.RawIOBase):
    """Keeps the beginning of what is written to it."""

    def __init__(self, most: int) -> None:
        self.room = most
        self.kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.kept += data[: self.room]
        self.room -= min(len(data), self.room)
        return len(data)


class Channel:
    """Frames to and from the host."""

    def __init__(self, file: int, printed: Printed) -> None:
        self.file = file
        self.printed = printed

    def receive(self) -> Any:
        (length,) = wire.LENGTH.unpack(self.exactly(4))
        return wire.read(self.exactly(length))

    def exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = os.read(self.file, min(count, 1 << 20))
            if not part:
                os._exit(0)  # the host has closed it: the session is over
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def say(self, what: str, value: Any = None, text: str = "", line: int = 0, lines: Any = ()) -> None:
        """One thing, and what was printed since the last one."""
        sys.stdout.flush()
        printed = self.printed.kept.decode("utf-8", "replace")
        self.printed.kept.clear()
        try:
            data = wire.frame([what, value, text, line, sorted(lines), printed])
        except wire.Opaque as problem:
            data = wire.frame(["opaque", None, str(problem), line, [], ""])
        while data:
            data = data[os.write(self.file, data) :]


def execute(file: int, output: int) -> None:
    """Does what two frames ask: a source, and {entry, calls, trace}; without calls, one for each frame that follows."""
    printed = Printed(output)
    sys.stdout = sys.stderr = io.TextIOWrapper(io.BufferedWriter(printed), "utf-8", "replace")
    sys.stdin = io.StringIO()
    channel = Channel(file, printed)
    source, request = channel.receive(), channel.receive()
    try:
        code = compile(source, FILE, "exec", dont_inherit=True)
    except BaseException as problem:
        channel.say("invalid", text=described(problem), line=getattr(problem, "lineno", None) or 0)
        return
    module = types.ModuleType(NAME)
    sys.modules[NAME] = module
    try:
        exec(code, module.__dict__)  # noqa: S102  # this is what the sandbox is for
    except BaseException as problem:
        channel.say("memory" if isinstance(problem, MemoryError) else "stopped", None, described(problem), at(problem))
        return
    calls = iter(channel.receive, None) if request["calls"] is None else request["calls"]
    lines = Lines() if request["trace"] else None
    for arguments, keywords in calls:
        if not answered(channel, module, request["entry"], (arguments, keywords), lines):
            return
    channel.say("done")


def answered(channel: Channel, module: Any, entry: str, call: tuple[Any, Any], lines: Lines | None) -> bool:
    """Makes one call and says what came of it; whether another may follow."""
    try:
        arguments, keywords = map(wire.decode, call)
        function = vars(module)[entry] if entry in vars(module) else missing(entry)
        value = lines.during(function, arguments, keywords) if lines else function(*arguments, **keywords)
    except BaseException as problem:
        what = "memory" if isinstance(problem, MemoryError) else "stopped" if isinstance(problem, OVER) else "raised"
        channel.say(what, None, described(problem), at(problem), lines.seen if lines else ())
        return what == "raised"
    try:
        what, data, text = "value", wire.encode(value), ""
    except wire.Opaque as problem:
        what, data, text = "opaque", None, str(problem)
    channel.say(what, data, text, 0, lines.seen if lines else ())
    return True


def missing(entry: str) -> Any:
    raise NameError(f"name {entry!r} is not defined")


def described(problem: BaseException) -> str:
    """ "IndexError: list index out of range", cut."""
    try:
        text = str(problem)
    except BaseException:  # an error's text is the program's too
        text = ""
    return f"{type(problem).__name__}: {text}"[:CUT].removesuffix(": ")


def at(problem: BaseException) -> int:
    """The last line of the program's source on the way to where it was raised; 0 if there is none."""
    line, trace = 0, problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


class Lines:
    """Which lines of the program's source a call executes: `sys.monitoring` where there is one, else `sys.settrace`."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.monitoring: Any = getattr(sys, "monitoring", None)
        if self.monitoring is not None:
            self.tool = self.monitoring.COVERAGE_ID
            self.monitoring.use_tool_id(self.tool, "bondhu")
            self.monitoring.register_callback(self.tool, self.monitoring.events.LINE, self.reached)

    def during(self, function: Callable[..., Any], arguments: Any, keywords: Any) -> Any:
        self.seen = set()
        with self.watching():
            return function(*arguments, **keywords)

    @contextmanager
    def watching(self) -> Iterator[None]:
        if self.monitoring is not None:
            self.monitoring.restart_events()  # each line is told once, until here
            self.monitoring.set_events(self.tool, self.monitoring.events.LINE)
        else:
            threading.settrace(self.entered)
            sys.settrace(self.entered)
        try:
            yield
        finally:
            if self.monitoring is not None:
                self.monitoring.set_events(self.tool, 0)
            else:
                sys.settrace(None)

    def reached(self, code: types.CodeType, line: int) -> Any:
        if code.co_filename == FILE:
            self.seen.add(line)
        return self.monitoring.DISABLE

    def entered(self, frame: types.FrameType, event: str, argument: Any) -> Any:  # noqa: ARG002  # what settrace gives
        return self.line if frame.f_code.co_filename == FILE else None

    def line(self, frame: types.FrameType, event: str, argument: Any) -> Any:  # noqa: ARG002  # what settrace gives
        if event == "line":
            self.seen.add(frame.f_lineno)
        return self.line
