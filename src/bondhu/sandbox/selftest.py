"""Attacks that a fresh jail must withstand before it is used, made by the same way as any other program."""

from __future__ import annotations

from secrets import token_hex

from bondhu.sandbox.jail import Execution, Jail
from bondhu.sandbox.program import Call, Limits, Program

ATTACKS = """
import os, socket, ctypes, mmap

libc = ctypes.CDLL(None)

def sockets(_):
    return [socket.socket(family, kind) for family, kind in ((2, 1), (1, 1))]

def processes(_):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return True

def commands(_):
    return os.execve("/bin/true", ["true"], {})

def host_files(_):
    return open("/etc/passwd").read()

def processes_of_the_host(_):
    return open("/proc/1/environ", "rb").read()

def system_folders(_):
    return open("/usr/lib/written", "w")

def signals(_):
    os.kill(os.getppid() or 2, 0)
    return True

def namespaces(_):
    return libc.unshare(0x10000000) == 0 or [][0]

def mounts(_):
    return libc.mount(b"x", b"/tmp", b"tmpfs", 0, None) == 0 or [][0]

def tracing(_):
    return libc.ptrace(16, 1, 0, 0) == 0 or [][0]

def memory_files(_):
    return os.memfd_create("x")

def environment(_):
    return [name for name in os.environ if name not in
            ("PYTHONHASHSEED", "TMPDIR", "HOME", "LC_ALL", "LC_CTYPE", "PWD", "OLDPWD")][0]

def descriptors(_):
    for number in range(4, 256):
        try:
            return os.fstat(number)
        except OSError:
            pass
    raise OSError

def memory(_):
    return len(bytearray(3 << 30))

def persistence(name):
    return open("/tmp/" + name).read()

def leave(name):
    open("/tmp/" + name, "w").write("x")

def attempt(attack, name):
    try:
        globals()[attack](name)
    except BaseException as problem:
        return False
    return attack != "leave"
"""
NAMES = (
    *("sockets", "processes", "commands", "host_files", "processes_of_the_host", "system_folders", "signals"),
    *(
        "namespaces",
        "mounts",
        "tracing",
        "memory_files",
        "environment",
        "descriptors",
        "memory",
        "persistence",
        "leave",
    ),
)
LIMITS = Limits(cpu=5.0, wall=20.0)


def gained(jail: Jail) -> list[str]:
    """What the attacks got. Raises JailBroken."""
    name = token_hex(8)
    program = Program(ATTACKS, "attempt", tuple(Call((attack, name)) for attack in NAMES), limits=LIMITS)
    won: dict[str, None] = {}
    for _ in range(2):  # what the first one leaves, the second must not find
        execution = Execution(jail, program)
        while execution.answer() is not None:
            pass
        outcome = execution.outcome()
        if outcome.ended != "done":
            return [f"the attacks ended as {outcome.ended}: {outcome.detail}"]
        won |= {attack: None for attack, each in zip(NAMES, outcome.answers, strict=True) if each.value is not False}
    return list(won)
