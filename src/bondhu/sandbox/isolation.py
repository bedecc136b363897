"""How a jail is started: the command line of bubblewrap, or of an interpreter that locks itself in with landlock."""

from __future__ import annotations

import json
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bondhu.errors import SandboxUnavailable
from bondhu.sandbox import inside
from bondhu.sandbox.inside.filter import MACHINES

Isolation = Literal["namespaces", "landlock", "none"]
MODULES = ("wire", "filter", "kernel", "execute", "serve")  # in the order in which they need each other
FLAGS = ("-s", "-S", "-B", "-P", "-X", "utf8")  # not -I: it would ignore PYTHONHASHSEED
ENVIRONMENT = {"PYTHONHASHSEED": "0", "TMPDIR": "/tmp", "HOME": "/tmp", "LC_ALL": "C.UTF-8"}  # noqa: S108  # its own
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
INSIDE = 65534  # user and group in the jail
SPARE = 512  # threads beyond those that the user runs already, where they are counted together

BOOTSTRAP = """
import sys, types, socket, json
control = socket.socket(fileno=int(sys.argv[1]))
sources = json.loads(control.recv(1 << 20))
for name in ("bondhu", "bondhu.sandbox", "bondhu.sandbox.inside"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, source in sources.items():
    module = types.ModuleType("bondhu.sandbox.inside." + name)
    sys.modules[module.__name__] = module
    setattr(sys.modules["bondhu.sandbox.inside"], name, module)
    exec(compile(source, "<" + name + ">", "exec"), module.__dict__)
for name in [each for each in sys.modules if each.startswith("bondhu")]:
    del sys.modules[name]
module.main(control.detach())
"""


@dataclass(frozen=True)
class Start:
    """Everything that a jail is started with."""

    isolation: Isolation
    command: tuple[str, ...]  # to which the number of the socket is added
    environment: Mapping[str, str]
    messages: tuple[bytes, bytes]  # what the bootstrap reads: sources, settings


def prepared(isolation: Isolation) -> Start:
    """Raises SandboxUnavailable where what it needs is missing; the rest shows when a jail starts."""
    if platform.machine() not in MACHINES:
        raise SandboxUnavailable(
            f"There is no list of system calls for {platform.machine()}.", fix=f"Use one of {', '.join(MACHINES)}."
        )
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    own = folders(interpreter)
    inner = [interpreter, *FLAGS, "-c", BOOTSTRAP]
    settings: dict[str, Any] = {"isolation": isolation, "processes": 0 if counted_apart(isolation) else others()}
    if isolation == "namespaces":
        command, environment = [*bubblewrap(interpreter, own), *inner], {}
    else:
        command, environment = inner, dict(ENVIRONMENT)
        settings["readable"] = [*own, interpreter, *(each for each in SYSTEM if os.path.exists(each))]
    if isolation != "none" and os.geteuid() == 0:
        command, environment = as_nobody(command, [*own, interpreter], environment), {}
    return Start(isolation, tuple(command), environment, (_sources(), json.dumps(settings).encode()))


def folders(interpreter: str) -> list[str]:
    """Where the standard library and the interpreter's own shared library are."""
    stdlib = os.path.realpath(sysconfig.get_paths()["stdlib"])
    library = sysconfig.get_config_var("LIBDIR") or ""
    beside = os.path.realpath(os.path.join(os.path.dirname(interpreter), "..", "lib"))
    found = [stdlib]
    for each in (beside, os.path.realpath(library)):
        if os.path.isdir(each) and each not in found and Path(each) in (Path(stdlib), *Path(stdlib).parents):
            found = [each]  # the standard library is in it
    return found


def bubblewrap(interpreter: str, own: Sequence[str]) -> list[str]:
    """The command line up to the command: nothing but libraries, read-only, and no capability but for the fork server.

    --clearenv alone would leave the environment readable at /proc/1/environ: there is no /proc, and bubblewrap itself
    is started with an empty one. As root it keeps every capability unless they are dropped.
    """
    path = shutil.which("bwrap")
    if path is None:
        raise SandboxUnavailable(
            "There is no bwrap on the path, so programs cannot be run in namespaces.",
            fix="Install bubblewrap (apt install bubblewrap).",
        )
    command = [os.path.realpath(path)]
    for what in ("user", "pid", "ipc", "net", "uts", "cgroup-try"):
        command.append(f"--unshare-{what}")
    command += _disable_userns(command[0])
    command += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "jail"]
    command += ["--uid", str(INSIDE), "--gid", str(INSIDE), "--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"]
    for name, value in ENVIRONMENT.items():
        command += ["--setenv", name, value]
    for each in dict.fromkeys((*SYSTEM, *own, interpreter)):
        if os.path.islink(each) and each in SYSTEM:
            command += ["--symlink", os.readlink(each), each]
        elif os.path.exists(each):
            command += ["--ro-bind", each, each]
    packages = os.path.join(sysconfig.get_paths()["stdlib"], "site-packages")
    if os.path.isdir(packages):
        command += ["--tmpfs", os.path.realpath(packages), "--remount-ro", os.path.realpath(packages)]
    for each in DEVICES:
        command += ["--dev-bind", each, each]
    return [*command, "--dir", "/tmp", "--remount-ro", "/", "--chdir", "/", "--"]  # noqa: S108  # of the jail


def as_nobody(command: Sequence[str], readable: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The same by a user who owns nothing, and who can read the interpreter wherever it is."""
    launcher = (Path(__file__).parent / "launch.py").read_text(encoding="utf-8")
    places = [each if os.path.isdir(each) else os.path.dirname(each) for each in readable]
    order = {"uid": unused_user(), "folders": list(dict.fromkeys(places)), "command": list(command)}
    return [sys.executable, "-I", "-S", "-c", launcher, json.dumps({**order, "environment": dict(environment)})]


def unused_user() -> int:
    """The highest number without an account below `nobody`."""
    taken = {each.pw_uid for each in pwd.getpwall()}
    return next(each for each in range(INSIDE - 1, 1, -1) if each not in taken)


def counted_apart(isolation: Isolation) -> bool:
    """Whether RLIMIT_NPROC counts the threads of a jail alone: in a user namespace, since Linux 5.14."""
    version = tuple(int(each) for each in re.findall(r"\d+", platform.release())[:2])
    return isolation == "namespaces" and version >= (5, 14)


def others() -> int:
    """Threads that belong to whoever a jail runs as, and some to spare."""
    user, count = os.geteuid(), 0
    for each in Path("/proc").glob("[0-9]*/task"):
        try:
            count += len(os.listdir(each)) if each.stat().st_uid == user else 0
        except OSError:  # it has just ended
            continue
    return count + SPARE


@cache
def _disable_userns(path: str) -> tuple[str, ...]:
    shown = subprocess.run([path, "--help"], capture_output=True, text=True, check=False).stdout  # noqa: S603  # found
    return ("--disable-userns",) if "--disable-userns" in shown else ()


@cache
def _sources() -> bytes:
    here = Path(inside.__file__).parent
    return json.dumps({name: (here / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}).encode()
