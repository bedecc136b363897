"""One jail: a fork server behind a wall, and the conversation with the program that it runs just now."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from concurrent.futures import Executor
from time import monotonic
from typing import Any

from bondhu.errors import InvalidInput
from bondhu.sandbox.inside import wire
from bondhu.sandbox.isolation import Start
from bondhu.sandbox.program import Answer, Call, Ended, Limits, Outcome, Program

START = 20.0  # seconds in which a jail must be ready
GRACE = 10.0  # seconds in which the fork server must answer: it does nothing else
SOURCE = 256 << 10  # bytes of a program at most
CHUNK = 1 << 16
CUT = 500  # characters of an error


class JailBroken(Exception):  # it says what has happened
    """The jail is at fault, or gone; never the program."""


class Jail:
    """Runs one program at a time. Not safe to use from several threads at once."""

    def __init__(self, start: Start, spawner: Executor) -> None:
        """Raises JailBroken with what was said. `spawner`: a thread that outlives the jail, which dies with it."""
        self.start = start
        self.job = 0
        self.control, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (self.control, there):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        with there:
            self.process = spawner.submit(_spawn, start, there.fileno()).result()
        try:
            for message in start.messages:
                self.control.send(message)
            answer = self.heard(START)
        except (OSError, JailBroken) as problem:
            raise JailBroken(self.complaint() or str(problem)) from problem
        if "broken" in answer:
            self.close()
            raise JailBroken(answer["broken"])

    def heard(self, seconds: float) -> dict[str, Any]:
        """The next message of the fork server."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        if not poll.poll(seconds * 1000):
            raise JailBroken(f"The fork server has not answered for {seconds:g} s.")
        try:
            message = self.control.recv(CHUNK)
        except OSError:  # it had not read all when it ended
            message = b""
        if not message:
            raise JailBroken("The jail has ended.")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def complaint(self) -> str:
        """What it wrote to standard error before it died."""
        self.control.close()
        self.process.kill()
        _, said = self.process.communicate()
        return said.decode(errors="replace").strip()[-CUT:]

    def begin(self, limits: Limits) -> socket.socket:
        """A child for one program, and the socket to it."""
        self.job += 1
        here, there = socket.socketpair()
        order = {
            "job": self.job,
            "cpu": limits.cpu,
            "memory": limits.memory,
            "threads": limits.threads,
            "scratch": limits.scratch,
            "output": limits.output,
        }
        try:
            with there:
                socket.send_fds(self.control, [json.dumps(order).encode()], [there.fileno()])
        except OSError as problem:
            here.close()
            raise JailBroken(f"The jail has ended: {problem}") from problem
        return here

    def kill(self) -> None:
        """The program of now. One that has just ended does not mind: the job has a number."""
        try:
            self.control.send(json.dumps({"kill": self.job}).encode())
        except OSError as problem:
            raise JailBroken(f"The jail has ended: {problem}") from problem

    def ended(self) -> dict[str, Any]:
        """What became of it, as the fork server saw it."""
        while True:
            answer = self.heard(GRACE)
            if answer.get("job") == self.job:
                return answer

    def close(self) -> None:
        """All of its processes end with it."""
        self.complaint()


class Execution:
    """One program in a jail, and what it has said so far."""

    def __init__(self, jail: Jail, program: Program, *, stays: bool = False) -> None:
        """`stays`: its calls are not made; each `ask` makes one."""
        self.jail, self.program, self.stays = jail, program, stays
        self.answers: list[Answer] = []
        self.output = ""
        self.said: Ended | None = None  # how it says that it has ended, or how we have ended it
        self.detail = ""
        self.buffer = bytearray()
        self.received = 0
        self.waited = 0.0
        self.lines = program.source.count("\n") + 1
        request = asked(program, stays=stays)
        self.channel = jail.begin(program.limits)
        try:
            self.send(request)
        except BaseException:
            self.channel.close()
            raise

    def send(self, data: bytes) -> None:
        """To the program, which has to read it within its time."""
        began, view = monotonic(), memoryview(data)
        while view and self.said is None:
            self.channel.settimeout(max(self.program.limits.wall - self.waited - (monotonic() - began), 0.001))
            try:
                view = view[self.channel.send(view) :]
            except TimeoutError:
                self.stop("wall")
            except OSError:  # it has ended; what it has said is still there
                break
        self.waited += monotonic() - began

    def ask(self, call: Call) -> Answer | None:
        """One more call of a program that stays; None: it has ended. One too large to be sent is no error of the host:
        what it asks may come from a program's answer."""
        try:
            request = wire.frame(plain(call))
        except wire.TooLarge as problem:
            return Answer("opaque", error=f"the call cannot be sent: {problem}")
        except wire.Opaque as problem:
            raise unsendable(call, problem) from problem
        self.send(request)
        return self.answer()

    def answer(self) -> Answer | None:
        """The next one; None: there is no more."""
        while self.said is None:
            body = self.frame()
            if body is None:
                return None
            answer = self.understood(body)
            if answer is not None and not self.stays and len(self.answers) == len(self.program.calls):
                self.stop("crash", "it answered what it was not asked")
            elif answer is not None:
                self.answers.append(answer)
                return answer
        return None

    def frame(self) -> bytes | None:
        """The next one of the child; None: it has ended, or has been ended."""
        while True:
            if len(self.buffer) >= 4:
                (length,) = wire.LENGTH.unpack(self.buffer[:4])
                if length > wire.FRAME:
                    self.stop("flood")
                    return None
                if len(self.buffer) >= 4 + length:
                    body = bytes(self.buffer[4 : 4 + length])
                    del self.buffer[: 4 + length]
                    return body
            part = self.part()
            if not part:
                return None
            self.buffer += part
            self.received += len(part)
            if self.received > self.program.limits.reply << 10:
                self.stop("flood")
                return None

    def part(self) -> bytes:
        began = monotonic()
        left = self.program.limits.wall - self.waited
        try:
            self.channel.settimeout(max(left, 0.001))
            return self.channel.recv(CHUNK)
        except TimeoutError:
            self.stop("wall")
            return b""
        except OSError:
            return b""
        finally:
            self.waited += monotonic() - began

    def understood(self, body: bytes) -> Answer | None:
        """The answer that a frame holds; None where it says something else."""
        try:
            what, data, text, line, lines, printed = wire.read(body)
            if not all(type(each) is str for each in (what, text, printed)) or type(line) is not int:
                raise wire.Opaque("it has an unknown form")
            seen = frozenset(each for each in lines if type(each) is int and 0 < each <= self.lines)
            value = wire.decode(data) if what == "value" else None
        except wire.Opaque as problem:
            what, value, text, line, seen, printed = "opaque", None, str(problem), 0, frozenset(), ""
        except (TypeError, ValueError):
            self.stop("crash", "it wrote what is no answer")
            return None
        room = max((self.program.limits.output << 10) - len(self.output), 0)
        self.output += printed[:room]
        text, line = one_line(text), line if 0 < line <= self.lines else 0
        if what in ("value", "raised", "opaque"):
            return Answer(what, value, text, seen, line)
        self.over(what, text)
        return None

    def over(self, what: str, text: str) -> None:
        ends: dict[str, Ended] = {"invalid": "invalid", "stopped": "exit", "memory": "memory", "done": "done"}
        if what not in ends or (what == "invalid" and self.answers):
            self.stop("crash", "it wrote what is no answer")
        else:
            self.said, self.detail = ends[what], text

    def stop(self, why: Ended, detail: str = "") -> None:
        """Ends it, for that reason."""
        self.said, self.detail = why, detail
        self.jail.kill()

    def outcome(self, *, patience: float = 0.5) -> Outcome:
        """What became of it; ends it, if it has not ended within `patience` seconds of having nothing more to say."""
        poll = select.poll()
        poll.register(self.jail.control, select.POLLIN)
        with self.channel:
            if not poll.poll(patience * 1000):
                self.jail.kill()
            seen = self.jail.ended()
        ended, detail = self.judged(seen["status"], seen["why"])
        return Outcome(ended, tuple(self.answers), seen["cpu"], self.waited, seen["memory"], self.output, detail)

    def judged(self, status: int, why: str) -> tuple[Ended, str]:
        """How it ended: by its own words only where they do it no good."""
        if self.said not in (None, "done", "wall"):
            return self.said, self.detail
        if self.said == "done" and len(self.answers) == len(self.program.calls):
            return "done", ""
        if why == "cpu" or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
            return "cpu", ""
        if self.said == "wall":
            return "wall", ""
        if os.WIFSIGNALED(status) and why != "asked":
            name = signal_name(os.WTERMSIG(status))
            return ("memory" if name == "SIGKILL" else "crash"), name
        return "exit", self.detail


def refusal(source: str) -> str:
    """Why a source cannot be sent; "" if it can."""
    if len(source) > SOURCE or len(source.encode("utf-8", "replace")) > SOURCE:
        return f"the source is longer than {SOURCE >> 10} KiB"
    try:
        wire.frame(source)  # a control character takes six bytes there
    except wire.TooLarge:
        return f"the source is longer than {wire.FRAME >> 20} MiB as it is sent"
    return ""


def asked(program: Program, *, stays: bool) -> bytes:
    """The first two frames. Raises InvalidInput where a call cannot be sent."""
    calls = None if stays else [_sendable(each) for each in program.calls]
    request = {"entry": program.entry, "calls": calls, "trace": program.trace}
    try:
        return wire.frame(program.source) + wire.frame(request)
    except wire.TooLarge as problem:
        raise InvalidInput(
            f"The calls of {program.entry!r} are more than {wire.FRAME >> 20} MiB together.",
            fix="Make fewer at a time.",
        ) from problem


def plain(call: Call) -> list[Any]:
    """A call as JSON has it. Raises wire.Opaque for what is no plain data."""
    return [wire.encode(call.arguments), wire.encode(dict(call.keywords))]


def unsendable(call: Call, problem: wire.Opaque) -> InvalidInput:
    return InvalidInput(
        f"A call cannot be sent into the sandbox: {problem}.",
        value=call,
        fix="Use None, bool, int, float, complex, str, bytes, and tuples, lists, sets and dictionaries of them.",
    )


def one_line(text: str) -> str:
    """What a program says, cut, so that it can be printed anywhere: no escape sequence, nothing that UTF-8 lacks."""
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\N{REPLACEMENT CHARACTER}" for each in text[:CUT]
    )


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def _sendable(call: Call) -> list[Any]:
    try:
        return plain(call)
    except wire.Opaque as problem:
        raise unsendable(call, problem) from problem


def _spawn(start: Start, descriptor: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # the command is ours
        [*start.command, str(descriptor)],
        env=dict(start.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(descriptor,),
        start_new_session=True,
    )
