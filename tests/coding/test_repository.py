"""Tests that share the process with the code: honest programs are scored, and tampering shows."""

from __future__ import annotations

import ast
from pathlib import Path
from random import Random

import pytest

from bondhu.domains.coding.repository import Report, Repository, RunLimits, is_fixed, judge
from bondhu.domains.coding.twins import twinned
from bondhu.errors import InvalidInput, SandboxUnavailable

CODE = "stack/__init__.py"
WRONG = "def top(xs):\n    return xs[0]\n\ndef size(xs):\n    return len(xs)\n"
RIGHT = WRONG.replace("[0]", "[-1]")
TESTS = """
import pytest
from unittest import TestCase
from stack import top, size

def test_top(two):
    assert top(two) == 2

@pytest.mark.parametrize("n", [0, 3])
def test_size(n):
    assert size([0] * n) == n

class TestMore(TestCase):
    def test_text(self):
        self.assertEqual(top("ab"), "b")
"""
CONFTEST = "import pytest\n\n@pytest.fixture\ndef two():\n    return [1, 2]\n"
NAMES = ["test_top", "test_size[0]", "test_size[3]", "TestMore::test_text"]
CHEATS = {
    "an answer that equals everything": """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
def top(xs): return Any()
def size(xs): return Any()
""",
    "reports that say passed": """
from _pytest.reports import TestReport
made = TestReport.from_item_and_call.__func__
def passed(kind, item, call):
    call.excinfo = None
    return made(kind, item, call)
TestReport.from_item_and_call = classmethod(passed)
def top(xs): return 0
def size(xs): return 0
""",
    "a runner that skips the tests": """
import _pytest.python
_pytest.python.Function.runtest = lambda self: None
import _pytest.unittest
_pytest.unittest.TestCaseFunction.runtest = lambda self: None
def top(xs): return 0
def size(xs): return 0
""",
    "tests that are rewritten": """
import sys
def top(xs):
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if name.startswith("test_") and hasattr(value, "__code__"):
                value.__code__ = (lambda *_, **__: None).__code__
    return xs[-1]
def size(xs): return 0
""",
    "unittest that finds everything equal": """
import unittest
unittest.TestCase.assertEqual = lambda *_: None
def top(xs): return 0
def size(xs): return len(xs)
""",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "stack").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / CODE).write_text(WRONG)
    (tmp_path / "tests" / "test_stack.py").write_text(TESTS)
    (tmp_path / "tests" / "conftest.py").write_text(CONFTEST)
    return Repository("stack", tmp_path, RunLimits(wall=30.0))


def judged(repository: Repository, source: str) -> Report:
    try:
        return judge(repository, {CODE: source}, Random(7))
    except SandboxUnavailable as problem:
        pytest.skip(str(problem))


def test_honest_programs_are_scored_test_by_test(repository: Repository) -> None:
    found = judged(repository, WRONG)
    assert [found.verdicts[f"tests/test_stack.py::{name}"] for name in NAMES] == [
        "failed",
        "passed",
        "passed",
        "failed",
    ]
    assert (found.share, found.tampered, found.unguarded) == (0.5, (), ())
    assert judged(repository, RIGHT).solved


@pytest.mark.parametrize("cheat", CHEATS)
def test_tampering_shows_and_then_nothing_counts(cheat: str, repository: Repository) -> None:
    found = judged(repository, CHEATS[cheat])
    assert len(found.tampered) >= 1
    assert (found.share, found.solved) == (0.0, False)


@pytest.mark.parametrize("when", ["", "def top(xs):\n    "])
def test_a_clean_exit_is_no_pass(when: str, repository: Repository) -> None:
    found = judged(repository, f"import os\ndef size(xs):\n    return len(xs)\n{when}os._exit(0)\n")
    assert found.verdicts["tests/test_stack.py::test_top"] == "not reached"
    assert (found.solved, found.tampered) == (False, ())


def test_an_exit_at_the_last_parameter_leaves_it_unpassed(repository: Repository) -> None:
    source = RIGHT.replace("return len(xs)", "return len(xs) if len(xs) < 3 else __import__('os')._exit(0)")
    found = judged(repository, source)
    assert found.verdicts["tests/test_stack.py::test_size[3]"] == "not reached"
    assert not found.solved


def test_an_endless_loop_ends(repository: Repository) -> None:
    short = Repository("stack", repository.folder, RunLimits(cpu=60, wall=4.0))
    found = judged(short, RIGHT.replace("return xs[-1]", "while True: pass"))
    assert (found.ended, found.solved) == ("wall", False)


def test_the_network_and_the_host_are_out_of_reach(repository: Repository) -> None:
    secret = repository.folder / "secret.txt"
    secret.write_text("outside")
    seen = f"any(map(os.path.exists, {[str(secret), '/etc/passwd', '/proc/self']!r}))"
    online = "[each for _, each in __import__('socket').if_nameindex() if each != 'lo']"
    assert judged(repository, f"import os\n{RIGHT}\nif {seen} or {online}:\n    1 / 0\n").solved


@pytest.mark.parametrize(
    "path", ["tests/test_stack.py", "conftest.py", "a/test_b.py", "pyproject.toml", "pytest.py", "pluggy/__init__.py"]
)
def test_files_of_the_tests_are_not_the_agents(path: str, repository: Repository) -> None:
    assert is_fixed(path)
    with pytest.raises(InvalidInput, match="belongs to the tests"):
        judge(repository, {path: ""})


@pytest.mark.parametrize("path", ["/etc/passwd", "../other.py", ""])
def test_files_elsewhere_are_refused(path: str, repository: Repository) -> None:
    with pytest.raises(InvalidInput, match="is not in the folder"):
        judge(repository, {path: ""})


@pytest.mark.parametrize("path", ["a\0b.py", "\ud800.py", "x" * 300, "a/" * 200 + "b.py"])
def test_what_is_no_name_of_a_file_is_refused(path: str, repository: Repository) -> None:
    with pytest.raises(InvalidInput, match="cannot be the name of a file"):
        judge(repository, {path: ""})


@pytest.mark.parametrize("changed", [{f"{CODE}/x.py": ""}, {"stack": ""}, {"a": "", "a/b/c.py": ""}])
def test_no_path_is_a_file_and_a_folder(changed: dict[str, str], repository: Repository) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be there: .* is a file"):
        judge(repository, changed)


def test_test_files_are_read_as_they_are_encoded(repository: Repository) -> None:
    file = repository.folder / "tests" / "test_text.py"
    test = "from stack import top\ndef test_accent():\n    assert top('é') == chr(233)\n"
    file.write_bytes(f"# -*- coding: latin-1 -*-\n{test}".encode("latin-1"))
    assert judged(repository, RIGHT).solved
    file.write_bytes(test.encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"tests/test_text\.py cannot be decoded"):
        judge(repository, {})
    file.write_text("def test_accent(:\n")
    with pytest.raises(InvalidInput, match=r"tests/test_text\.py: The test code does not parse"):
        judge(repository, {})


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("async def test_b():\n    assert 1\n", "test_b"),
        ("class TestA:\n    async def test_b(self):\n        assert 1\n", "TestA::test_b"),
        ("if True:\n    def test_b():\n        assert 1\n", "test_b"),
        ("class A:\n    try:\n        class TestB:\n            pass\n    finally:\n        pass\n", "A::TestB"),
    ],
)
def test_tests_that_would_not_be_counted_are_refused(code: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"The test {name} .* is async or defined in a branch"):
        twinned("def test_a():\n    assert 1\n" + code, Random(0))


def test_a_folder_without_tests_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no tests"):
        judge(Repository("none", tmp_path), {})
    with pytest.raises(InvalidInput, match="There is no folder"):
        judge(Repository("none", tmp_path / "none"), {})


def test_every_test_has_twins_that_fail_where_it_passes() -> None:
    code, names = twinned("def test_a():\n    assert 1 + 1 == 2\n\ndef test_b():\n    assert [1]\n", Random(0))
    made: dict[str, object] = {}
    exec(compile(ast.parse(code), "<twins>", "exec"), made)
    passed = list[tuple[str, bool]]()
    for name, named in names.items():
        try:
            made[name]()  # type: ignore[operator]  # a test function
            passed.append((named.test, named.twin))
        except AssertionError:
            pass
    assert sorted(passed) == [("test_a", False), ("test_b", False)]
    assert sorted(named.test for named in names.values() if named.twin) == ["test_a", "test_a", "test_b"]


def test_assertions_in_branches_make_no_twin() -> None:
    _, names = twinned("def test_a():\n    for n in []:\n        assert n\n", Random(0))
    assert [named.twin for named in names.values()] == [False]
