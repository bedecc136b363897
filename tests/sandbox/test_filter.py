"""The seccomp program, run by an interpreter of its own kind; its numbers, beside those of libseccomp."""

from __future__ import annotations

import ctypes
import struct
from ctypes.util import find_library

import pytest

from bondhu.sandbox.inside import filter as calls

MACHINES = ("x86_64", "aarch64")
OWN = 77  # number of the process


def verdict(program: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would do: classic BPF over struct seccomp_data, as seccomp(2) describes it."""
    data = struct.pack("<iIQ6Q", number, architecture, 0, *(*arguments, *(0,) * 6)[:6])
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    held = at = 0
    while True:
        what, yes, no, value = code[at]
        at += 1
        if what == calls.LOAD:
            (held,) = struct.unpack_from("<I", data, value)
        elif what == calls.MASK:
            held &= value
        elif what == calls.EQUAL:
            at += yes if held == value else no
        elif what == calls.FAR:
            at += value
        elif what == calls.ABOVE:
            at += yes if held >= value else no
        else:
            assert what == calls.RETURN
            return value


@pytest.fixture(params=[(machine, writing) for machine in MACHINES for writing in (True, False)])
def case(request: pytest.FixtureRequest) -> tuple[bytes, str, bool]:
    machine, writing = request.param
    return calls.own(calls.filter_program(machine, writing=writing), OWN), machine, writing


def test_exactly_the_calls_of_the_tables_are_allowed(case: tuple[bytes, str, bool]) -> None:
    program, machine, writing = case
    architecture, column = calls.MACHINES[machine]
    allowed = {number for number in range(700) if verdict(program, architecture, number, (0, 0, 0)) == calls.ALLOW}
    tables = calls.HARMLESS + ("," + calls.WRITING if writing else "")
    always = set(calls.numbers(tables, column).values())
    examined = calls.numbers(calls.EXAMINED, column)
    assert allowed - always == {examined[name] for name in ("openat", "fcntl", "prlimit64", "sendto")}
    assert always <= allowed
    assert verdict(program, architecture, examined["clone3"]) == calls.ABSENT


@pytest.mark.parametrize(("number", "column"), [(73, 0), (280, 0), (132, 0), (235, 0), (261, 0), (32, 1), (88, 1)])
def test_files_of_the_host_are_neither_locked_nor_touched(number: int, column: int) -> None:
    """flock, utimensat, and what was before it."""
    machine = MACHINES[column]
    for writing in (True, False):
        program = calls.filter_program(machine, writing=writing)
        assert verdict(program, calls.MACHINES[machine][0], number) == calls.REFUSE


@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("clone", (0x3D0F00,), True),  # a thread, as glibc makes it
        ("clone", (17,), False),  # a process
        ("clone", (0x10000000 | 17,), False),
        ("kill", (OWN, 9), True),
        ("kill", (OWN + 1, 9), False),
        ("kill", (0xFFFFFFFFFFFFFFFF, 9), False),
        ("tgkill", (OWN, 5, 9), True),
        ("tgkill", (1, 1, 9), False),
        ("prlimit64", (0, 7), True),
        ("prlimit64", (1 << 32, 7), False),
        ("fcntl", (3, 1030), True),
        ("fcntl", (3, 8), False),  # F_SETOWN
        ("fcntl", (3, 1031), False),  # F_SETPIPE_SZ
        ("ioctl", (3, 0x5401), True),
        ("ioctl", (3, 0x5412), False),  # TIOCSTI
        ("prctl", (15,), True),
        ("prctl", (1,), False),
        ("socketpair", (1,), True),
        ("socketpair", (2,), False),
        ("sendto", (3, 1, 1, 0, 0), True),
        ("sendto", (3, 1, 1, 0, 0x7FFF00000000), False),  # to an address
        ("sendto", (3, 1, 1, 0, 16), False),
    ],
)
def test_arguments_are_examined(
    case: tuple[bytes, str, bool], name: str, arguments: tuple[int, ...], allowed: bool
) -> None:
    program, machine, _ = case
    architecture, column = calls.MACHINES[machine]
    number = calls.numbers(calls.EXAMINED, column)[name]
    assert verdict(program, architecture, number, arguments) == (calls.ALLOW if allowed else calls.REFUSE)


@pytest.mark.parametrize(
    ("flags", "without_scratch"),
    [(0, True), (0o2000000, True), (1, False), (2, False), (0o1000, False), (0o100, False)],
)
def test_files_open_for_writing_only_where_there_is_a_scratch(
    case: tuple[bytes, str, bool], flags: int, without_scratch: bool
) -> None:
    program, machine, writing = case
    architecture, column = calls.MACHINES[machine]
    number = calls.numbers(calls.EXAMINED, column)["openat"]
    found = verdict(program, architecture, number, (0, 0, flags))
    assert found == (calls.ALLOW if writing or without_scratch else calls.REFUSE)


def test_other_architectures_end_the_process(case: tuple[bytes, str, bool]) -> None:
    program, machine, _ = case
    own, _ = calls.MACHINES[machine]
    for architecture in (0x40000003, 0x40000028, *(each for each, _ in calls.MACHINES.values() if each != own)):
        assert verdict(program, architecture, 0) == calls.KILL  # i386, arm
    if machine == "x86_64":
        assert verdict(program, own, 0x40000000 | 39) == calls.REFUSE  # x32


def test_the_program_fits_into_the_kernel(case: tuple[bytes, str, bool]) -> None:
    program, _, _ = case
    assert len(program) % 8 == 0
    assert len(program) // 8 <= 4096  # BPF_MAXINSNS
    assert struct.pack("<I", calls.OWN) not in program


def test_the_numbers_are_those_of_libseccomp() -> None:
    found = find_library("seccomp")
    if found is None:
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(found).seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    rows = [row.split() for table in (calls.HARMLESS, calls.WRITING, calls.EXAMINED) for row in table.split(",")]
    for name, *numbers in rows:
        for (architecture, _), number in zip(calls.MACHINES.values(), numbers, strict=True):
            known = resolve(architecture, name.encode())
            assert (known if known >= 0 else "-") == (int(number) if number != "-" else "-"), name
    assert len({row[0] for row in rows}) == len(rows)
