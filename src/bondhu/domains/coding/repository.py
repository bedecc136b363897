"""A task that is a folder, whose pytest tests must share the process with the code.

They run in a cold jail, with tests and configuration as they were at first. What such a process says of itself cannot
be authenticated; so every test has twins that must fail (`twins`), under names that only this side can read. A test
that passes together with its twin was tampered with, and then nothing counts.

Weaker than `testing`: code that reads the source of the tests and tells twins from tests is not found out, and neither
is code that hides some of the parameters of a test from pytest. Use `testing` where answers are plain data.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from random import Random, SystemRandom
from typing import Literal

from bondhu.domains.coding.assertions import decoded
from bondhu.domains.coding.loading import At
from bondhu.domains.coding.twins import Named, twinned
from bondhu.errors import InvalidInput, SandboxUnavailable
from bondhu.sandbox.isolation import as_nobody, bubblewrap, folders

INSIDE = "/repository"
TESTS = ("test_*.py", "*_test.py")
FIXED = (*TESTS, "conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "*.pth",
         "sitecustomize.py", "usercustomize.py", "pytest.py")  # fmt: skip
FRAMEWORK = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments")  # what pytest needs
LONGEST = 255  # bytes of a path that is changed or added, which every file system takes
SIZE = 1 << 20  # bytes of a file, and of what the run says
REPORT = re.compile(r"::(test_[0-9a-f]{16})(\[.*\])?$")
STARTED = "started"
NEVER = "not reached"
RUNNER = """
import json, os, resource, sys
order = json.loads(sys.argv[1])
file = os.dup(1)
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 0)
os.dup2(null, 1)
for name, value in order["limits"].items():
    resource.setrlimit(getattr(resource, name), (value, value))
sys.path.insert(0, "/packages")
import pytest
os.dup2(null, 2)
os.write(file, b'["started", ""]\\n')
class Reports:
    def pytest_collection_finish(self, session):
        for each in session.items:
            os.write(file, (json.dumps([each.nodeid, "collected"]) + "\\n").encode())
    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            os.write(file, (json.dumps([report.nodeid, report.outcome]) + "\\n").encode())
sys.path.insert(0, "/repository")
pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir=/repository", *order["tests"]], plugins=[Reports()])
"""

Verdict = Literal["passed", "failed", "not reached"]
Ended = Literal["done", "wall", "flood"]


@dataclass(frozen=True)
class RunLimits:
    """What one run of all tests may use."""

    cpu: int = 20  # seconds
    wall: float = 60.0  # seconds
    memory: int = 1024  # MiB
    scratch: int = 64  # MiB of /tmp
    processes: int = 64


@dataclass(frozen=True)
class Repository:
    """A folder with code and tests as the agent finds it."""

    id: str
    folder: Path
    limits: RunLimits = RunLimits()


@dataclass(frozen=True)
class Report:
    """What a run says, by the names that the tests have in the folder."""

    verdicts: Mapping[str, Verdict]  # "tests/test_stack.py::test_pop", with parameters where it has them
    tampered: tuple[str, ...]  # tests that passed together with a twin
    unguarded: tuple[str, ...]  # tests that have no twin, since all they assert stands in branches
    ended: Ended

    @property
    def share(self) -> float:
        """Of the tests that passed; 0 after tampering."""
        passed = sum(verdict == "passed" for verdict in self.verdicts.values())
        return 0.0 if self.tampered or not self.verdicts else passed / len(self.verdicts)

    @property
    def solved(self) -> bool:
        return self.share == 1.0


def is_fixed(path: str) -> bool:
    """Whether the file belongs to the tests, so that no agent changes it."""
    parts = PurePosixPath(path).parts
    inside_tests = any(part in ("tests", "test") for part in parts[:-1])
    shadows = any(part.removesuffix(".py") in FRAMEWORK for part in parts[:1])
    return inside_tests or shadows or any(fnmatch(parts[-1], pattern) for pattern in FIXED)


def judge(repository: Repository, changed: Mapping[str, str], rng: Random | None = None) -> Report:
    """Run all tests over the folder with some of its files changed or added.

    `changed`: the text of files by their paths in the folder. Raises InvalidInput where one of them belongs to the
    tests or lies elsewhere, where there are no tests, and SandboxUnavailable where no jail starts.
    """
    rng = rng or SystemRandom()
    for path in changed:
        _check(path)
    with tempfile.TemporaryDirectory(prefix="bondhu-") as made:
        stage = Path(made)
        stage.chmod(0o755)  # the jail is another user's
        names = _staged(repository.folder, changed, stage, rng)
        said, ended = _run(stage, sorted({path for path, _ in names.values()}), repository.limits)
    return _report(names, said, ended)


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise InvalidInput(f"{path!r} is not in the folder.", field="changed", value=path, fix="Give a relative path.")
    if not path.isprintable() or len(path.encode()) > LONGEST:  # NUL, half characters and the like
        what = f"{path[:80]!r} cannot be the name of a file."
        raise InvalidInput(what, field="changed", value=path, fix=f"Use at most {LONGEST} bytes of printable text.")
    if is_fixed(path):
        what = f"{path!r} belongs to the tests."
        raise InvalidInput(what, field="changed", value=path, fix="Change the code, not what it is judged by.")


def _check_places(paths: Iterable[str]) -> None:
    """Raises InvalidInput where one would have to be a file and a folder at once."""
    files = {PurePosixPath(path) for path in paths}
    for path in files:
        if taken := files.intersection(path.parents):
            what = f"{str(path)!r} cannot be there: {str(taken.pop())!r} is a file."
            raise InvalidInput(what, field="changed", value=str(path), fix="Give one of them another name.")


def _staged(folder: Path, changed: Mapping[str, str], stage: Path, rng: Random) -> dict[str, tuple[str, Named]]:
    """Copy everything, tests with their twins; what each random name stands for, and in which file."""
    names = dict[str, tuple[str, Named]]()
    texts = {path: _text(folder / path) for path in _files(folder)} | {
        path: text.encode("utf-8", "replace") for path, text in changed.items()
    }
    _check_places(texts)
    for path, text in texts.items():
        target = stage / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if any(fnmatch(target.name, pattern) for pattern in TESTS):
            with At(path):
                code, meanings = twinned(decoded(text, path), rng)
            names |= {name: (path, named) for name, named in meanings.items()}
            text = code.encode()  # noqa: PLW2901 (the same file, with twins)
        target.write_bytes(text)
    if not names:
        what = f"{folder} has no tests."
        raise InvalidInput(what, value=str(folder), fix="Put functions test_… into files test_….py.")
    return names


def _files(folder: Path) -> Iterable[str]:
    if not folder.is_dir():
        raise InvalidInput(f"There is no folder {folder}.", value=str(folder), fix="Name a folder with code and tests.")
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".git") or part == "__pycache__" for part in relative.parts)
        # A link may point anywhere on this machine.
        if path.is_file() and not path.is_symlink() and not hidden:
            yield relative.as_posix()


def _text(path: Path) -> bytes:
    if path.stat().st_size > SIZE:
        raise InvalidInput(f"{path} is longer than {SIZE >> 20} MiB.", value=str(path), fix="Leave it out.")
    return path.read_bytes()


def _run(stage: Path, tests: list[str], limits: RunLimits) -> tuple[list[tuple[str, str]], Ended]:
    """What was reported, in order, and how it ended."""
    order = {
        "tests": [f"{INSIDE}/{path}" for path in tests],
        "limits": {
            "RLIMIT_CPU": limits.cpu,
            "RLIMIT_AS": limits.memory << 20,
            "RLIMIT_NPROC": limits.processes,
            "RLIMIT_FSIZE": limits.scratch << 20,
            "RLIMIT_CORE": 0,
        },
    }
    command = [*_jail(stage, limits), "-c", RUNNER, json.dumps(order)]
    ended: Ended = "done"
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        # The output is a file with an end: whoever floods it is stopped by RLIMIT_FSIZE.
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env={}) as process:  # noqa: S603 (a list, of our own)
            try:
                process.wait(limits.wall)
            except subprocess.TimeoutExpired:
                ended = "wall"
                process.kill()
        output.seek(0)
        errors.seek(0)
        said = output.read(SIZE + 1)
        complaint = errors.read(2000).decode(errors="replace").strip()
    if len(said) > SIZE:
        return [], "flood"
    reports = [report for line in said.decode(errors="replace").splitlines() if (report := _read(line))]
    if (STARTED, "") not in reports and ended == "done":
        raise SandboxUnavailable(f"The jail did not start: {complaint}", fix="Install bubblewrap and pytest.")
    return reports, ended


def _read(line: str) -> tuple[str, str] | None:
    """A report; None for what is none. The program may have written it."""
    try:
        value = json.loads(line) if len(line) < 4096 else None
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value):
        return value[0], value[1]
    return None


def _jail(stage: Path, limits: RunLimits) -> list[str]:
    """The command up to the interpreter's own arguments: the folder and pytest read-only, and nothing else of ours."""
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    own = folders(interpreter)
    base = bubblewrap(interpreter, own)
    base = base[: base.index("--dir")]
    at = base.index("--cap-add")  # a fork server needs one, this does not
    command = [*base[:at], *base[at + 2 :]]
    binds = {name: where for name in FRAMEWORK if (where := _installed(name))}
    for name, where in binds.items():
        command += ["--ro-bind", where, f"/packages/{name}{'.py' if where.endswith('.py') else ''}"]
    command += ["--ro-bind", str(stage), INSIDE, "--size", str(limits.scratch << 20), "--tmpfs", "/tmp"]  # noqa: S108 (the jail's)
    command += ["--remount-ro", "/", "--chdir", INSIDE, "--", interpreter, "-s", "-S", "-B", "-P"]
    if os.geteuid() == 0:
        split = command.index("--") + 1
        return [*as_nobody(command[:split], [*own, interpreter, *binds.values(), str(stage)], {}), *command[split:]]
    return command


def _installed(name: str) -> str | None:
    """The folder of a package, or the file of a module."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return None
    return str(Path(spec.origin).parent) if spec.submodule_search_locations else spec.origin


def _report(names: Mapping[str, tuple[str, Named]], said: list[tuple[str, str]], ended: Ended) -> Report:
    outcomes = _outcomes(said)
    verdicts, tampered, unguarded = dict[str, Verdict](), list[str](), list[str]()
    for name, (path, named) in names.items():
        if named.twin:
            continue
        twins = [each for each, other in names.items() if other == (path, Named(named.test, twin=True))]
        title = f"{path}::{named.test}"
        if not twins:
            unguarded.append(title)
        # A parameter that only a twin has met counts as well, and so does a test of which nothing was heard.
        parameters = {have for each in (name, *twins) for have in outcomes.get(each, {})} or {""}
        for each in sorted(parameters):
            own = outcomes.get(name, {}).get(each, NEVER)
            others = [outcomes.get(twin, {}).get(each, NEVER) for twin in twins]
            if own == "passed" and "passed" in others:
                tampered.append(title + each)
            verdicts[title + each] = _verdict(own, others)
    return Report(verdicts, tuple(sorted(tampered)), tuple(sorted(unguarded)), ended)


def _verdict(own: str, twins: list[str]) -> Verdict:
    """A test whose twin was not reached has nobody to vouch for it."""
    if own == NEVER or (own == "passed" and NEVER in twins):
        return "not reached"
    return "passed" if own == "passed" else "failed"


def _outcomes(said: list[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """By random name and parameters; of several reports of one test, the worst."""
    outcomes = dict[str, dict[str, str]]()
    for node, outcome in said:
        match = REPORT.search(node)
        if match is None:
            continue
        of_name, parameters = outcomes.setdefault(match[1], {}), match[2] or ""
        if of_name.get(parameters, NEVER) == NEVER:
            of_name[parameters] = NEVER if outcome == "collected" else outcome
        elif outcome not in ("passed", "collected"):
            of_name[parameters] = "failed"
    return outcomes
