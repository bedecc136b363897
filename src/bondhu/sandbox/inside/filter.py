"""Which system calls a program may make, as a classic BPF program for seccomp(2).

Everything is refused with EPERM that is not in the tables: processes, sockets, files of other processes, mounts, keys,
memory that no limit counts. Calls that are dangerous with some arguments only are looked at argument by argument.
Numbers are those of the kernel (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack
from typing import NamedTuple

# Name, number on x86_64, number on aarch64; "-": there is none.
HARMLESS = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, close 3 57, close_range 436
436, lseek 8 62, fstat 5 80, newfstatat 262 79, stat 4 -, lstat 6 -, statx 332 291, access 21 -, faccessat 269
48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getcwd 79 17, chdir 80 49, fchdir 81 50, getdents64
217 61, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73, select 23 -,
pselect6 270 72, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, eventfd2 290 19,
umask 95 166, ftruncate 77 46, fsync 74 82, fdatasync 75 83, fadvise64 221 223, fstatfs 138 44,
recvfrom 45 207, shutdown 48 210, mmap 9 222, munmap 11 215, mremap 25 216, mprotect 10 226, madvise 28 233, brk
12 214, membarrier 324 283, getpid 39 172, gettid 186 178, getppid 110 173, getuid 102 174, geteuid 107 175,
getgid 104 176, getegid 108 177, getgroups 115 158, getresuid 118 148, getresgid 120 150, getpgrp 111 -, getpgid
121 155, getsid 124 156, exit 60 93, exit_group 231 94, futex 202 98, set_robust_list 273 99, rseq 334 293,
set_tid_address 218 96, arch_prctl 158 -, sched_yield 24 124, sched_getaffinity 204 123, getrandom 318 278,
uname 63 160, sysinfo 99 179, times 100 153, getrusage 98 165, getrlimit 97 163, clock_gettime 228 113,
clock_getres 229 114, clock_nanosleep 230 115, nanosleep 35 101, gettimeofday 96 169, time 201 -,
restart_syscall 219 128, getitimer 36 102, setitimer 38 103, alarm 37 -, pause 34 -, rt_sigaction 13 134,
rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130
133, sigaltstack 131 132, getcpu 309 168, wait4 61 260, waitid 247 95
"""
# Where the only thing that can be written is the program's own scratch. Landlock does not know of all of them. Without
# utimensat: the devices are the host's, and anybody may touch them; shutil.copy2 needs it, and fails.
WRITING = """
mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38, renameat2
316 276, link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, chmod 90 -, fchmod 91 52, fchmodat 268 53,
truncate 76 45, fallocate 285 47
"""
EXAMINED = """
openat 257 56, clone 56 220, clone3 435 435, fcntl 72 25, ioctl 16 29, kill 62 129, tgkill 234 131, prlimit64
302 261, prctl 157 167, socketpair 53 199, sendto 44 206
"""
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_*, column

ALLOW, KILL, REFUSE, ABSENT = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026  # EPERM; ENOSYS: glibc asks clone instead
LOAD, EQUAL, ABOVE, FAR, MASK, RETURN = 0x20, 0x15, 0x35, 0x05, 0x54, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
OWN = 0x5EC0_3B91  # stands for the number of the process, which `own` puts in its place


class Check(NamedTuple):
    """One argument, masked, has one of some values. Its upper half has to be 0 where `whole` is so."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    whole: bool = False


CHECKS = {
    "clone": Check(0, (0x10000,), 0x10000),  # CLONE_THREAD: no processes
    "fcntl": Check(1, (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)),  # no F_SETOWN (signals), no F_SETPIPE_SZ (memory)
    "ioctl": Check(1, (0x5401, 0x5421, 0x5450, 0x5451)),  # TCGETS, FIONBIO, FIONCLEX, FIOCLEX
    "kill": Check(0, (OWN,)),
    "tgkill": Check(0, (OWN,)),
    "prlimit64": Check(0, (0,), whole=True),  # its own
    "prctl": Check(0, (15, 16)),  # the name of a thread
    "socketpair": Check(0, (1,)),  # AF_UNIX
    "sendto": Check(4, (0,), whole=True),  # to nobody else than the other end
}
READING = Check(2, (0,), 0o1103)  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC


def filter_program(machine: str, *, writing: bool) -> bytes:
    """The program for a kind of machine (`platform.machine()`); `writing`: there is a scratch to write to.

    Raises KeyError for a machine that is not known.
    """
    architecture, column = MACHINES[machine]
    harmless, examined = numbers(HARMLESS + ("," + WRITING if writing else ""), column), numbers(EXAMINED, column)
    checks = CHECKS if writing else {**CHECKS, "openat": READING}
    wanted: dict[int, tuple[bytes, ...]] = {number: (_end(ALLOW),) for number in harmless.values()}
    wanted |= {number: tuple(_examined(checks[name])) for name, number in examined.items() if name in checks}
    wanted |= {examined["clone3"]: (_end(ABSENT),), examined["openat"]: wanted.get(examined["openat"], (_end(ALLOW),))}
    ranges: list[tuple[int, tuple[bytes, ...]]] = [(0, REFUSED)]  # from that number on, to the next
    for number in range(max(wanted) + 2):
        block = wanted.get(number, REFUSED)
        if block != ranges[-1][1]:
            ranges.append((number, block))
    code = [_word(ARCHITECTURE), _jump(EQUAL, architecture, 1, 0), _end(KILL), _word(NUMBER), *_tree(ranges)]
    return b"".join(code)


def _tree(ranges: list[tuple[int, tuple[bytes, ...]]]) -> list[bytes]:
    """A search by halves: the kernel runs the whole program for each number when it is installed (`seccomp_cache`)."""
    if len(ranges) == 1:
        return list(ranges[0][1])
    half = len(ranges) // 2
    low, high = _tree(ranges[:half]), _tree(ranges[half:])
    if len(low) < 256:
        return [_jump(ABOVE, ranges[half][0], len(low), 0), *low, *high]
    return [_jump(ABOVE, ranges[half][0], 0, 1), pack("<HBBI", FAR, 0, 0, len(low)), *low, *high]


def own(program: bytes, pid: int) -> bytes:
    """The same for one process, which may send signals to itself alone."""
    return program.replace(pack("<I", OWN), pack("<I", pid))


def numbers(table: str, column: int) -> dict[str, int]:
    """{name: number} of one kind of machine."""
    rows = (row.split() for row in table.split(","))
    return {row[0]: int(row[1 + column]) for row in rows if row[1 + column] != "-"}


def _examined(check: Check) -> Iterator[bytes]:
    offset = ARGUMENTS + 8 * check.argument  # the lower half first: both machines are little-endian
    if check.whole:
        yield from (_word(offset + 4), _jump(EQUAL, 0, 1, 0), _end(REFUSE))
    yield from (_word(offset), pack("<HBBI", MASK, 0, 0, check.mask))
    for value in check.values:
        yield from (_jump(EQUAL, value, 0, 1), _end(ALLOW))
    yield _end(REFUSE)


def _word(offset: int) -> bytes:
    return pack("<HBBI", LOAD, 0, 0, offset)


def _jump(how: int, value: int, yes: int, no: int) -> bytes:
    return pack("<HBBI", how, yes, no, value)


def _end(action: int) -> bytes:
    return pack("<HBBI", RETURN, 0, 0, action)


REFUSED = (_end(REFUSE),)
