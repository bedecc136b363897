"""A load generator in a process of its own: closed and open loops over keep-alive connections to this machine.

Raw sockets, epoll and requests made beforehand, so that it costs little beside what it measures. `wrk`, where it is
installed, drives the saturated closed loop, since it costs less still. Latency of an open loop counts from the moment
at which a request was due, not from the one at which it could be sent: a server that stalls is charged for all the
requests that wait meanwhile. Every run is bounded in time and in requests.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from array import array
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

HOST = "127.0.0.1"  # load goes nowhere else
MOST_REQUESTS = 5_000_000  # of one run
LONGEST = 600.0  # seconds of one run
PATIENCE = 10.0  # seconds that an open loop waits for its last answers
READ = 1 << 14  # bytes at a time: a larger buffer is made anew for each answer, which costs more than the answer
TIMER_SLACK = 29  # PR_SET_TIMERSLACK: a sleeping open loop wakes when it wants to, not 50 µs later

LUA = """
local requests = {}
for line in io.lines("%s") do
  requests[#requests + 1] = wrk.format("POST", "%s", {["Content-Type"] = "application/json"}, line)
end
local next = 0
request = function() next = next + 1; return requests[next %% #requests + 1] end
done = function(summary, latency, _)
  local e = summary.errors
  print(string.format("RESULT %%d %%f %%d %%f %%f", summary.requests, summary.duration / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Job:
    """What is to be sent, and how."""

    port: int
    path: str
    bodies: str  # a file with one body a line
    kind: str = "closed"  # "closed", "open" (Poisson arrivals), or "mixed" (a decision, then feedback on it)
    connections: int = 64
    seconds: float = 2.0
    rate: float = 0.0  # requests a second of an open loop
    warm: float = 0.0  # seconds at the beginning that do not count
    seed: int = 0
    most: int = MOST_REQUESTS


@dataclass(frozen=True)
class Result:
    """What came of it."""

    answered: int  # with status 200
    seconds: float
    rate: float  # answers with status 200 a second
    p50: float  # ms
    p99: float  # ms
    refused: Mapping[str, int] = field(default_factory=dict)  # answers by any other status; "broken" connections
    p999: float = float("nan")  # ms
    longest: float = float("nan")  # ms
    cpu: float = float("nan")  # µs of the generator's own work a request
    unanswered: int = 0
    ticks: Sequence[int] = ()  # answers in each second
    by: str = "epoll"  # or "wrk"


def drive(job: Job, *, priority: int = 0) -> Result:
    """Run the job in a process of its own; with a real-time priority above 0 where the system lets us."""
    command = [sys.executable, "-m", "benchmarks.load"]
    limit = job.seconds + job.warm + PATIENCE + 60
    done = subprocess.run(
        command,
        input=json.dumps([asdict(job), priority]),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The load generator failed:\n{done.stderr[-2000:]}")
    return Result(**json.loads(done.stdout))


def saturate(job: Job) -> Result:
    """The closed loop by `wrk` where it is installed, else by our own generator."""
    program = shutil.which("wrk")
    if program is None:
        return drive(job)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % (job.bodies, job.path))
        script.flush()
        address = f"http://{HOST}:{job.port}{job.path}"
        before = os.times()
        duration = f"{max(round(job.seconds), 1)}s"
        command = [program, "-t1", f"-c{job.connections}", f"-d{duration}", "--timeout", "10s", "-s", script.name]
        done = subprocess.run([*command, address], capture_output=True, text=True, check=True, timeout=LONGEST)
        after = os.times()
    found = re.search(r"RESULT (\d+) ([\d.]+) (\d+) ([\d.]+) ([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk said nothing that can be read:\n{done.stdout}\n{done.stderr}")
    count, seconds, bad, p50, p99 = (float(each) for each in found.groups())
    own = after.children_user + after.children_system - before.children_user - before.children_system
    good = count - bad
    refused = {"any": int(bad)} if bad else {}
    cpu = own * 1e6 / max(count, 1)
    return Result(int(good), seconds, good / seconds, p50, p99, refused, cpu=cpu, by="wrk")


# --------------------------------------------------------------------------------------------------- in that process


class Line:
    """One connection and what it waits for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.receive = self.socket.recv
        self.received = b""
        self.since = 0.0  # when the request was due
        self.about = b""  # mixed: the decision that the feedback under way is about

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        sent = self.socket.send(request)
        if sent < len(request):  # larger than the socket's buffer
            self.socket.sendall(request[sent:])

    def answer(self) -> bytes | None:
        """A whole answer, or None while there is more to come; raises ConnectionError where it ended."""
        data = self.receive(READ)
        if not data:
            raise ConnectionError
        if self.received:
            data = self.received + data
        end = data.find(b"\r\n\r\n", 16)
        at = data.find(b"content-length: ", 0, end)
        if end < 0 or len(data) < end + 4 + int(data[at + 16 : data.find(b"\r\n", at)]):
            self.received = data
            return None
        self.received = b""
        return data


class Count:
    """Answers, latencies and failures of one run."""

    def __init__(self, start: float) -> None:
        self.start = start  # answers before this do not count
        self.due, self.done = array("d"), array("d")  # of answers with status 200: when due, when there
        self.refused: Counter[str] = Counter()

    def add(self, answer: bytes, since: float, now: float) -> None:
        if answer[9:12] == b"200":
            self.due.append(since)
            self.done.append(now)
        elif now >= self.start:
            self.refused[answer[9:12].decode()] += 1

    def result(self, seconds: float, cpu: float, unanswered: int = 0) -> Result:
        done = np.asarray(self.done)
        counted = done >= self.start
        latencies = (done - np.asarray(self.due))[counted] * 1e3
        many = len(latencies)
        p50, p99, p999, longest = np.quantile(latencies, (0.5, 0.99, 0.999, 1.0)).tolist() if many else [np.nan] * 4
        second = (done[counted] - self.start).astype(int)
        ticks = np.bincount(second, minlength=int(seconds))[: int(seconds)].tolist()
        each = cpu * 1e6 / max(len(done) + self.refused.total(), 1)
        rate = many / seconds
        return Result(many, seconds, rate, p50, p99, dict(self.refused), p999, longest, each, unanswered, ticks)


def framed(path: str, body: bytes) -> bytes:
    """One whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def closed(job: Job, requests: Sequence[bytes]) -> Result:
    """As many requests under way as there are connections: each answer is followed by the next request."""
    lines, poll = _connected(job)
    begin = perf_counter()
    count = Count(begin + job.warm)
    end, number = count.start + job.seconds, 0
    for line in lines.values():
        line.send(requests[number % len(requests)], perf_counter())
        number += 1
    cpu, now, following = process_time(), begin, b""
    while now < end and number < job.most:
        for descriptor, _ in poll.poll(0.1):
            line = lines[descriptor]
            try:
                answer = line.answer()
            except OSError:
                count.refused["broken"] += 1
                _reconnect(line, lines, poll)
                answer = b""
            if answer is None:
                continue
            now = perf_counter()
            if answer:
                count.add(answer, line.since, now)
            following = _feedback(line, answer) if job.kind == "mixed" else b""
            line.send(following or requests[number % len(requests)], now)
            number += 1
        now = perf_counter()
    return count.result(now - count.start, process_time() - cpu)


def _feedback(line: Line, answer: bytes) -> bytes:
    """Feedback on the decision just answered; empty where it was no decision."""
    at = answer.find(b'"id":"') + 6
    if line.about or at < 6 or not answer.startswith(b"HTTP/1.1 200"):
        line.about = b""
        return b""
    line.about = answer[at : answer.index(b'"', at)]
    return framed("/v1/feedback", b'{"decision_id":"%b","signal":"like"}' % line.about)


def opened(job: Job, requests: Sequence[bytes]) -> Result:
    """Requests at moments that do not depend on the answers. What finds no free connection waits, and is charged."""
    lines, poll = _connected(job)
    rng = np.random.default_rng(job.seed)
    total = min(int(job.rate * (job.seconds + job.warm)), job.most)
    begin = perf_counter() + 0.05
    due = (begin + np.cumsum(rng.exponential(1 / job.rate, total))).tolist()
    count, free = Count(begin + job.warm), deque(lines.values())
    number, answered, now, cpu = 0, 0, begin, process_time()
    give_up = due[-1] + PATIENCE
    while answered < total and now < give_up:
        now = perf_counter()
        while number < total and free and due[number] <= now:
            free.popleft().send(requests[number % len(requests)], due[number])
            number += 1
        ready = poll.poll(0)
        if not ready:
            wait = due[number] - perf_counter() if free and number < total else 0.1
            if wait > 0:
                select.select((poll,), (), (), wait)
            continue
        for descriptor, _ in ready:
            line = lines[descriptor]
            try:
                answer = line.answer()
            except OSError:
                count.refused["broken"] += 1
                _reconnect(line, lines, poll)
                answer = b""
            if answer is not None:
                count.add(answer, line.since, perf_counter())
                answered += 1
                free.append(line)
    seconds = max(due[-1] - count.start, 1e-9)
    return count.result(seconds, process_time() - cpu, total - answered)


def _connected(job: Job) -> tuple[dict[int, Line], select.epoll]:
    lines, poll = {}, select.epoll()
    for _ in range(job.connections):
        line = Line(job.port)
        lines[line.socket.fileno()] = line
        poll.register(line.socket.fileno(), select.EPOLLIN)
    return lines, poll


def _reconnect(line: Line, lines: dict[int, Line], poll: select.epoll) -> None:
    del lines[line.socket.fileno()]
    poll.unregister(line.socket.fileno())
    line.socket.close()
    line.__init__(line.port)  # type: ignore[misc]  # the same line with another socket
    lines[line.socket.fileno()] = line
    poll.register(line.socket.fileno(), select.EPOLLIN)


def run(job: Job, priority: int) -> Result:
    """The job in this process."""
    if job.seconds + job.warm > LONGEST:
        raise ValueError(f"At most {LONGEST:g} s.")
    requests = [framed(job.path, body) for body in Path(job.bodies).read_bytes().splitlines()]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(TIMER_SLACK, 1, 0, 0, 0)
        if priority:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    return (opened if job.kind == "open" else closed)(job, requests)


def write(bodies: Sequence[Mapping[str, Any]], path: Path) -> str:
    """Bodies as a file, one a line; returns its name."""
    path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in bodies), encoding="utf-8")
    return str(path)


if __name__ == "__main__":
    told, at = json.load(sys.stdin)
    print(json.dumps(asdict(run(Job(**told), at))))
