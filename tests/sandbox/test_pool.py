"""The pool: jails are replaced, threads share them, and what is not there is said rather than done without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from bondhu.errors import SandboxUnavailable, UnknownName
from bondhu.sandbox import isolation, jail, pool, selftest
from bondhu.sandbox.isolation import prepared
from bondhu.sandbox.pool import Pool, open_sandbox
from bondhu.sandbox.program import Call, Limits, Program
from tests.sandbox.attacks import descendants, descriptors, honest, settled
from tests.sandbox.conftest import KINDS, available

SQUARE = "def f(x): return x * x"


def squares(count: int) -> list[Program]:
    return [Program(SQUARE, "f", (Call((each,)),), limits=Limits(cpu=1.0, wall=20.0)) for each in range(count)]


def test_programs_side_by_side_come_back_in_order(sandbox: Pool) -> None:
    assert [each.answers[0].value for each in sandbox.run_all(squares(40))] == [each**2 for each in range(40)]
    assert sandbox.run_all([]) == []


def test_several_threads_may_use_it(sandbox: Pool) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(sandbox.run, squares(40)))
    assert [each.answers[0].value for each in found] == [each**2 for each in range(40)]


def test_sessions_do_not_wait_for_each_other(sandbox: Pool) -> None:
    before = descriptors()
    program = Program("kept = []\ndef f(x):\n    kept.append(x)\n    return kept", "f")
    with sandbox.session(program) as a, sandbox.session(program) as b, sandbox.session(program) as c:
        for turn, session in enumerate((a, b, c, a, b, c)):
            session.call(Call((turn,)))
        assert [each.call(Call((9,))).value for each in (a, b, c)] == [[0, 3, 9], [1, 4, 9], [2, 5, 9]]
        assert honest(sandbox)
    assert honest(sandbox)
    assert descriptors() <= before + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_jail_that_dies_is_replaced_and_its_program_run_again(kind: str) -> None:
    with available(kind, 1) as sandbox:
        count = (descendants(), descriptors())
        for _ in range(2):
            [idle] = sandbox._idle
            idle.process.kill()
            idle.process.wait()
            assert honest(sandbox)
        assert settled(count) == count


def test_a_session_whose_jail_is_killed_is_an_error_and_no_verdict() -> None:
    with available("auto", 1) as sandbox:
        [idle] = sandbox._idle
        with pytest.raises(SandboxUnavailable, match=r"The jail of a session broke"):
            killed_in_a_session(sandbox, idle)
        assert honest(sandbox)


def killed_in_a_session(sandbox: Pool, idle: jail.Jail) -> None:
    with sandbox.session(Program(SQUARE, "f")) as session:
        assert session.call(Call((3,))).value == 9
        idle.process.kill()
        idle.process.wait()
        for _ in range(500):  # what it has started ends a moment later
            session.call(Call((4,)))
            time.sleep(0.01)


def test_machines_that_are_not_known_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(SandboxUnavailable, match=r"no list of system calls for riscv64. Use one of x86_64, aarch64"):
        open_sandbox(1, "landlock")
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxUnavailable, match=r"no jails on darwin. Use Linux"):
        open_sandbox(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_jail_killed_under_a_running_program_does_not_judge_it(kind: str) -> None:
    with available(kind, 1) as sandbox:
        [idle] = sandbox._idle
        slow = Program("import time\ndef f(x):\n    time.sleep(0.5)\n    return x", "f", (Call((3,)),))
        killer = Thread(target=lambda: (time.sleep(0.2), idle.process.kill()))
        killer.start()
        outcome = sandbox.run(slow)
        killer.join()
    assert (outcome.ended, outcome.answers[0].value) == ("done", 3)


def test_two_broken_jails_are_an_error_and_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    with available("auto", 1) as sandbox:
        monkeypatch.setattr(jail.Jail, "begin", lambda self, limits: (_ for _ in ()).throw(jail.JailBroken("gone")))
        with pytest.raises(SandboxUnavailable, match="Two jails broke one after the other: gone"):
            sandbox.run(squares(1)[0])
        monkeypatch.undo()
        assert honest(sandbox)


def test_a_fork_server_that_is_silent_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail, "GRACE", 0.3)
    with available("landlock", 1) as sandbox:
        [idle] = sandbox._idle
        os.kill(idle.process.pid, signal.SIGSTOP)
        outcome = sandbox.run(Program(SQUARE, "f", (Call((5,)),), limits=Limits(wall=0.5)))
    assert (outcome.ended, outcome.answers[0].value) == ("done", 25)


def test_nothing_is_left_when_it_is_closed() -> None:
    available("auto", 1).close()  # what is loaded the first time stays
    before = (descendants(), descriptors())
    with available("auto", 2) as sandbox:
        assert honest(sandbox)
        assert descendants() > before[0]
    assert settled(before) == before
    with pytest.raises(SandboxUnavailable, match=r"is closed. Open another"):
        sandbox.run(squares(1)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_jails_end_when_the_host_is_killed(kind: str) -> None:
    available(kind, 1).close()
    code = f"""
import sys, time
from bondhu.sandbox.pool import open_sandbox
from tests.sandbox.attacks import tree
sandbox = open_sandbox(2, {kind!r})
print(*tree(), flush=True)
time.sleep(60)
"""
    root = Path(__file__).resolve().parents[2]
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    with host:
        assert host.stdout is not None
        started = [int(each) for each in host.stdout.readline().split()]
        host.kill()
    for _ in range(200):
        alive = [each for each in started if running(each)]
        if not alive:
            break
        time.sleep(0.05)
    assert alive == []
    assert len(started) >= 2


def running(pid: int) -> bool:
    """Whether a process is there, and is more than an entry that nobody has read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_another_process_needs_a_sandbox_of_its_own(any_sandbox: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_sandbox, "_owner", 1)
    with pytest.raises(SandboxUnavailable, match=r"opened by another process. Open one in each process"):
        any_sandbox.run(squares(1)[0])


def test_an_isolation_that_is_not_there_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxUnavailable, match=r"no bwrap on the path.*apt install bubblewrap"):
        open_sandbox(1, "namespaces")
    with pytest.raises(UnknownName, match=r"No isolation 'landlok'. Did you mean 'landlock'"):
        open_sandbox(1, "landlok")


def test_where_there_are_no_namespaces_landlock_is_used_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    available("landlock", 1).close()
    monkeypatch.setenv("PATH", "")
    with open_sandbox(1) as sandbox:
        assert sandbox.isolation == "landlock"
        assert honest(sandbox)
    assert "behind landlock, without namespaces: There is no bwrap" in caplog.text


def test_where_there_is_neither_it_is_refused_with_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(sources: bytes) -> bytes:
        return sources.replace(b"LANDLOCK_CREATE = 436, 444", b"LANDLOCK_CREATE = 436, 999").replace(
            b", 444, 445", b", 999, 998"
        )

    monkeypatch.setenv("PATH", "")
    given = isolation._sources()
    monkeypatch.setattr(isolation, "_sources", lambda: broken(given))
    with pytest.raises(
        SandboxUnavailable, match=r"no bwrap on the path.*No jail starts \(landlock\): OSError"
    ) as problem:
        open_sandbox(1)
    assert "apt install bubblewrap" in str(problem.value)
    assert "Linux 5.13" in str(problem.value)


def test_bubblewrap_that_cannot_start_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "bwrap: No permissions to create a new namespace"
    with tempfile.TemporaryDirectory() as folder:  # pytest's own can be read by nobody else
        fake = Path(folder) / "bwrap"
        fake.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        for each in (fake, fake.parent):
            each.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        with pytest.raises(SandboxUnavailable, match=rf"\(namespaces\): {said}") as problem:
            open_sandbox(1, "namespaces")
    assert "unprivileged_userns_clone" in problem.value.fix


@pytest.mark.parametrize(
    ("kind", "weakness", "won"),
    [
        ("namespaces", (b"kernel.filter_calls(", b"(lambda _: 0)("), "sockets"),
        ("landlock", (b"kernel.filter_calls(", b"(lambda _: 0)("), "memory_files"),
        ("landlock", (b"kernel.restrict_files(", b"(lambda *_: 0)("), "host_files"),
        ("namespaces", (b"kernel.close_from(", b"(lambda _: 0)("), "descriptors"),
    ],
)
def test_a_jail_with_a_hole_is_refused(
    kind: str, weakness: tuple[bytes, bytes], won: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    available(kind, 1).close()
    given = isolation._sources()
    assert weakness[0] in given
    monkeypatch.setattr(isolation, "_sources", lambda: given.replace(*weakness))
    with pytest.raises(SandboxUnavailable, match=rf"The jail does not hold \({kind}\): .*{won}"):
        open_sandbox(1, kind)


def test_no_isolation_is_never_chosen_and_says_so() -> None:
    with pytest.warns(UserWarning, match="without any isolation"):
        opened = open_sandbox(1, "none")
    with opened:
        assert honest(opened)
        assert opened.isolation == "none"
    assert "none" not in pool.open_sandbox.__defaults__


def test_the_interpreter_is_found_in_its_folders() -> None:
    start = prepared("landlock")
    assert sys.version.split()[0].rpartition(".")[0] in " ".join(start.command)
    assert len(selftest.NAMES) >= 10
