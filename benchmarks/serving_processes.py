"""Servers of the benchmarks: started as an operator starts them, watched through /proc, and stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

HOST = "127.0.0.1"
TICK = os.sysconf("SC_CLK_TCK")  # of /proc/PID/stat, a second
STARTING = 60.0  # seconds that a server may take to answer
STOPPING = 20.0  # seconds that it may take to stop
PROC = Path("/proc")


@dataclass(frozen=True)
class Server:
    """A running server: the process that was started, and everything that it started."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def pids(self) -> list[int]:
        return [self.process.pid, *descendants(self.process.pid)]

    def cpu(self) -> float:
        """Seconds of work by all its processes so far."""
        return sum(map(cpu_of, self.pids()))

    def workers(self) -> list[int]:
        """The processes that answer: they listen at the port, and where several do, they are children."""
        found = [pid for pid in self.pids() if listens(pid, self.port)]
        return found if len(found) < 2 else [pid for pid in found if pid != self.process.pid]

    def writers(self) -> list[int]:
        """The processes that write to SQLite and answer nobody."""
        mute = [pid for pid in self.pids() if not listens(pid, self.port) and pid != self.process.pid]
        return [pid for pid in mute if any(name.endswith((".sqlite", "-wal")) for name in opened_by(pid))]

    def kill(self) -> None:
        """kill -9 of all of it at once."""
        for pid in reversed(self.pids()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """As an operator stops it; killed where it does not."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self.kill()


def start(command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None) -> Server:
    """A Python module with its arguments as a server at this port."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
    return Server(process, port, log)


def bondhu(folder: Path, port: int | None = None, environment: Mapping[str, str] | None = None) -> Server:
    """`bondhu serve` of a deployment."""
    port = port or free_port()
    command = ["bondhu", "serve", "-C", str(folder), "--port", str(port)]
    return start(command, port, folder / "server.log", environment)


def aside(what: str, folder: Path) -> Server:
    """A server of the benchmark's own: "echo", or the folder of a deployment to serve without a log."""
    port = free_port()
    return start(["benchmarks.serving_echo", what, str(port)], port, folder / "aside.log")


def ready(server: Server, within: float = STARTING) -> float:
    """Wait until it says that it is ready; returns the seconds that took."""
    begin = perf_counter()
    while perf_counter() - begin < within:
        if server.process.poll() is not None:
            break
        with suppress(OSError, http.client.HTTPException):
            status = get(server.port, "/readyz")
            if status in (200, 405) or (status == 404 and get(server.port, "/health") in (200, 404)):
                return perf_counter() - begin
        sleep(0.005)
    told = server.log.read_text(encoding="utf-8", errors="replace")[-3000:]
    raise RuntimeError(f"The server at port {server.port} did not get ready within {within:g} s:\n{told}")


def staffed(server: Server, workers: int, within: float = 15.0) -> bool:
    """Wait until so many workers listen: the others may come after the first one is ready."""
    begin = perf_counter()
    while len(server.workers()) < workers:
        if perf_counter() - begin > within:
            return False
        sleep(0.02)
    return True


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server once it is ready; stopped at the end."""
    try:
        ready(server)
        yield server
    finally:
        server.stop()


def get(port: int, path: str) -> int:
    """The status of one GET."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def post(port: int, path: str, body: Any, timeout: float = 30.0) -> tuple[int, Any]:
    """The status and the content of one POST."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


# ------------------------------------------------------------------------------------------------------------- /proc


def descendants(pid: int) -> list[int]:
    """Children, and their children, parents first."""
    children: dict[int, list[int]] = {}
    for each in PROC.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            fields = each.read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(each.parent.name))
    found = list(children.get(pid, []))
    for child in found:
        found.extend(children.get(child, []))
    return found


def runs(pid: int) -> bool:
    """Whether there is such a process that is more than an entry for whoever should have waited for it."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cpu_of(pid: int) -> float:
    """Seconds of work by one process so far; 0 where it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_of(pid: int) -> dict[str, float]:
    """MiB by kind: Rss, Pss (shared pages divided among those who share them), Private."""
    sizes = {"Rss": 0.0, "Pss": 0.0, "Private": 0.0}
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
            name, size = line.split()[:2]
            kind = "Private" if name.startswith("Private_") and "Hugetlb" not in name else name.rstrip(":")
            if kind in sizes:
                sizes[kind] += int(size) / 1024
    return sizes


def opened_by(pid: int) -> list[str]:
    """What the descriptors of a process point at."""
    found = []
    with suppress(OSError):
        for each in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                found.append(os.readlink(each))
    return found


def listens(pid: int, port: int) -> bool:
    """Whether a process has a socket that listens at this port."""
    return not listening(port).isdisjoint(opened_by(pid))


def listening(port: int) -> set[str]:
    """The sockets that listen at this port, as descriptors name them."""
    wanted = f":{port:04X}"
    rows = [line.split() for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[1].endswith(wanted) and row[3] == "0A"}


@contextmanager
def hurried(pids: Sequence[int], priority: int) -> Iterator[bool]:
    """All threads of these processes at a real-time priority for the while; False where the system does not let us.

    Only for seconds, and at half the load that the machine could bear: everything else waits for them."""
    changed: list[int] = []
    allowed = priority > 0
    try:
        for pid in pids if allowed else ():
            for task in (PROC / str(pid) / "task").glob("*"):
                with suppress(ProcessLookupError):
                    how = os.SCHED_RR | os.SCHED_RESET_ON_FORK  # what it starts meanwhile does not keep it
                    os.sched_setscheduler(int(task.name), how, os.sched_param(priority))
                    changed.append(int(task.name))
    except PermissionError:
        allowed = False
    try:
        yield allowed
    finally:
        for number in changed:
            with suppress(ProcessLookupError):
                os.sched_setscheduler(number, os.SCHED_OTHER, os.sched_param(0))
