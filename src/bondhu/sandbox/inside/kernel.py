"""System calls that Python has no name for: new namespaces, no capabilities, seccomp, landlock."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Collection, Iterable

MACHINE = platform.machine()
CALLS = {"x86_64": (56, 126), "aarch64": (220, 91)}  # clone, capset
CLOSE_RANGE, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 436, 444, 445, 446

NEW_NAMESPACES = 0x20000000 | 0x08000000  # CLONE_NEWPID, CLONE_NEWIPC
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
PIDFD = 0x00001000  # CLONE_PIDFD
NOSUID_NODEV_NOEXEC = 2 | 4 | 8
PDEATHSIG, DUMPABLE, SECCOMP, NO_NEW_PRIVILEGES = 1, 4, 22, 38

EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER = 1, 2, 4, 8  # of landlock
FILES, FILES_BY_ABI = (1 << 13) - 1, {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
TCP, SIGNALS_AND_ABSTRACT_SOCKETS = 3, 3

libc = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock: after a clone nobody could give it back
libc.syscall.restype = ctypes.c_long


def checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def call(what: str, number: int, *arguments: object) -> int:
    return checked(libc.syscall(ctypes.c_long(number), *map(_long, arguments)), what)


def _long(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def fork(namespaces: int) -> tuple[int, int]:
    """(number, pidfd) of a child in namespaces of its own; (0, -1) in the child.

    There must be no other thread. Python's own hooks of a fork do not run; with one thread, none is needed.
    """
    pidfd = ctypes.c_int(-1)
    flags = namespaces | PIDFD | signal.SIGCHLD
    pid = call("clone", CALLS[MACHINE][0], flags, 0, ctypes.byref(pidfd), 0, 0)
    return pid, pidfd.value if pid else -1


def mount_scratch(folder: str, mebibytes: int) -> None:
    """An empty file system of a limited size that ends with the namespace."""
    options = f"size={mebibytes}m,nr_inodes=2048,mode=0700".encode()
    flags = ctypes.c_ulong(NOSUID_NODEV_NOEXEC)
    checked(libc.mount(b"scratch", folder.encode(), b"tmpfs", flags, options), "mount")


def close_from(first: int) -> None:
    """Every file descriptor from that number on."""
    try:
        call("close_range", CLOSE_RANGE, first, 0xFFFFFFFF, 0)
    except OSError:  # Linux before 5.9
        os.closerange(first, 4096)


def drop_capabilities() -> None:
    header = struct.pack("<Ii", 0x20080522, 0)
    call("capset", CALLS[MACHINE][1], ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def control(what: int, value: int) -> None:
    checked(libc.prctl(what, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)), "prctl")


def filter_calls(program: bytes) -> None:
    """From here on the process makes only the system calls that a BPF program allows."""
    buffer = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    checked(libc.prctl(SECCOMP, ctypes.c_ulong(2), ctypes.c_char_p(described)), "seccomp")


def restrict_files(readable: Iterable[str], writable: Collection[str]) -> int:
    """Landlock: no files but these, no TCP, no signals to others. Says which version of it there is (Linux 5.13: 1)."""
    version = call("landlock", LANDLOCK_CREATE, None, 0, 1)
    handled = FILES | sum(right for since, right in FILES_BY_ABI.items() if version >= since)
    scoped = SIGNALS_AND_ABSTRACT_SOCKETS if version >= 6 else 0
    network = TCP if version >= 4 else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attribute = ctypes.c_char_p(struct.pack("<QQQ", handled, network, scoped))
    rules = call("landlock", LANDLOCK_CREATE, attribute, size, 0)
    for path in [*readable, *writable]:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        more = READ_FOLDER if os.path.isdir(path) else WRITE_FILE if path in writable else 0
        rights = EXECUTE | READ_FILE | more
        packed = ctypes.c_char_p(struct.pack("<Qi", rights, file))
        call(f"landlock of {path}", LANDLOCK_ADD, rules, 1, packed, 0)
        os.close(file)
    call("landlock", LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)
    return version
