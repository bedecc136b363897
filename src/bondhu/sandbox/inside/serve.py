"""The fork server of a jail: a child for each program, in namespaces of its own, with limits, watched by its clock.

It never reads what a program is asked or answers: that goes through a socket of its own to the child.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

from bondhu.sandbox.inside import kernel
from bondhu.sandbox.inside.execute import execute
from bondhu.sandbox.inside.filter import filter_program, own

# What programs import most: loaded once. More of them would make each fork slower.
PRELOADED = """abc array bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum
fractions functools heapq io itertools json math numbers operator random re statistics string struct time
traceback types typing"""
CHANNEL = 3  # where the child finds it
INTERPRETER = 64  # MiB of address space that the interpreter itself takes
MESSAGE = 4096
TICK = 0.002  # seconds between looks at the clock at least


def serve(control: socket.socket, settings: dict[str, Any]) -> None:
    """Answers {"job", limits…} and a socket by {"job", "status", "why", "cpu", "memory"} until the host is gone."""
    prepare(settings)
    control.send(json.dumps({"ready": os.getpid()}).encode())
    while True:
        message, files, _, _ = socket.recv_fds(control, MESSAGE, 1)
        if not message:
            return
        job = json.loads(message)
        if "kill" not in job:  # else it is about one that has ended by itself
            control.send(json.dumps(executed(control, settings, job, files[0])).encode())


def prepare(settings: dict[str, Any]) -> None:
    for name in PRELOADED.split():
        __import__(name)
    renew_standard()
    if settings["isolation"] != "none":
        settings["filter"] = filter_program(kernel.MACHINE, writing=settings["isolation"] == "namespaces")
        kernel.control(kernel.NO_NEW_PRIVILEGES, 1)
    if settings["isolation"] == "landlock":
        kernel.control(kernel.PDEATHSIG, signal.SIGKILL)
        kernel.control(kernel.DUMPABLE, 0)
        os.chdir("/")
        kernel.restrict_files([*settings["readable"], "/dev/zero", "/dev/urandom"], ("/dev/null",))
    gc.collect()
    gc.freeze()


def renew_standard() -> None:
    """Opens /dev/null anew as standard input and output: what shares an open file shares its flags and locks."""
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


def executed(control: socket.socket, settings: dict[str, Any], job: dict[str, Any], file: int) -> dict[str, Any]:
    namespaces = kernel.NEW_NAMESPACES if settings["isolation"] == "namespaces" else 0
    scratch = job["scratch"] if namespaces else 0
    pid, pidfd = kernel.fork(namespaces | (kernel.NEW_MOUNTS if scratch else 0))
    if pid == 0:
        child(settings, {**job, "scratch": scratch}, file)
    os.close(file)
    why = watched(control, job, pid, pidfd)
    _, status, usage = os.wait4(pid, 0)
    os.close(pidfd)
    cpu = usage.ru_utime + usage.ru_stime
    return {"job": job["job"], "status": status, "why": why, "cpu": cpu, "memory": usage.ru_maxrss}


def watched(control: socket.socket, job: dict[str, Any], pid: int, pidfd: int) -> str:
    """Waits for the end of a child; kills it when it has used its processor time, or the host says so."""
    clock, why = (~pid << 3) | 2, ""  # the process's own clock, as clock_getcpuclockid(3) makes it
    cores = len(os.sched_getaffinity(0))
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(control, select.POLLIN)
    while True:
        left = job["cpu"] - used(clock)
        if left <= 0 and not why:
            why = "cpu"
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        ready = [each for each, _ in poll.poll(None if why else max(left / cores, TICK) * 1000)]
        if pidfd in ready:
            return why
        if control.fileno() in ready:
            message = control.recv(MESSAGE)
            if not message:  # nobody is there to hear the end of it
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os._exit(0)
            if json.loads(message).get("kill") == job["job"]:
                why = why or "asked"
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def used(clock: int) -> float:
    """Seconds of processor time; none once it has ended."""
    try:
        return time.clock_gettime(clock)
    except OSError:
        return 0.0


def child(settings: dict[str, Any], job: dict[str, Any], file: int) -> None:
    """Never returns."""
    try:
        os.dup2(file, CHANNEL)
        kernel.close_from(CHANNEL + 1)
        renew_standard()
        if job["scratch"]:
            kernel.mount_scratch("/tmp", job["scratch"])  # noqa: S108  # it is mounted there, for this process alone
            os.chdir("/tmp")  # noqa: S108  # the same
        confine(settings, job)
        random.seed(0)  # the same program answers the same
        execute(CHANNEL, job["output"] << 10)
    except BaseException:  # nothing of the server may run on in a child
        os._exit(1)
    os._exit(0)


def confine(settings: dict[str, Any], job: dict[str, Any]) -> None:
    mebibyte = 1 << 20
    limits = {
        resource.RLIMIT_AS: (job["memory"] + INTERPRETER) * mebibyte,
        resource.RLIMIT_CPU: int(job["cpu"]) + 2,  # should the server itself be stopped
        resource.RLIMIT_FSIZE: job["scratch"] * mebibyte,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_STACK: 64 * mebibyte,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_NPROC: job["threads"] + settings["processes"],
    }
    for limit, wanted in limits.items():
        hard = resource.getrlimit(limit)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (value, value))
    if settings["isolation"] == "namespaces":
        kernel.drop_capabilities()
    if settings["isolation"] != "none":
        kernel.filter_calls(own(settings["filter"], os.getpid()))


def main(descriptor: int) -> None:
    """What the bootstrap calls, with the socket to the host."""
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    settings = json.loads(control.recv(1 << 20))
    try:
        serve(control, settings)
    except Exception as problem:
        control.send(json.dumps({"broken": f"{type(problem).__name__}: {problem}"}).encode())
        sys.exit(1)
