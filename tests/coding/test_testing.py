"""Test code taken apart, and programs judged by it: in the sandbox, since promises hold for hostile programs too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bondhu.domains.coding import tasks
from bondhu.domains.coding.comparison import ROOM, check, small
from bondhu.domains.coding.testing import Judge, assertions
from bondhu.errors import InvalidInput, SandboxUnavailable
from bondhu.sandbox.pool import open_sandbox
from bondhu.sandbox.program import Call, Limits, Sandbox
from tests.coding.inside import Inside

DOUBLE = "def f(x):\n    if x == 5:\n        return [1][x]\n    return x * 2\n"
CHECK = """
import math

def check(candidate):
    xs = [1, 2]
    assert True, "nothing"
    assert candidate(1) == 2
    assert math.isclose(candidate(2.5), 5.0)
    assert candidate(5) == 3
    assert candidate(candidate(1)) == 4
    for x in xs:
        assert candidate(x) == 2 * x
    try:
        candidate(5)
        assert False
    except IndexError:
        pass
    assert candidate(xs) == xs + xs

check(f)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        opened = open_sandbox(workers=2)
    except SandboxUnavailable as problem:
        pytest.skip(str(problem))
    with opened:
        yield opened


def task(code: str, source: str = DOUBLE, preamble: str = "") -> tasks.Task:
    return tasks.Task("one", "f", "Double it.", source, assertions(code, "f", preamble), preamble=preamble)


def one(assertion: str, answer: str, sandbox: Sandbox) -> str:
    """The problem of a program that answers so."""
    judge = Judge(sandbox, test_limits=Limits(cpu=0.5, wall=3.0))
    return judge.judge(task(assertion), f"def f(*_):\n    return {answer}\n").problems[0]


def test_a_check_falls_into_single_assertions_with_what_they_need() -> None:
    found = assertions(CHECK, "f")
    assert [test.name for test in found] == [f"check[{number}]" for number in range(7)]
    assert [test.code.count("xs =") for test in found] == [0, 0, 0, 0, 1, 0, 1]
    assert found[1].code.splitlines()[0] == "import math"
    assert found[0].code == "assert f(1) == 2"


def test_single_calls_are_known_with_their_arguments() -> None:
    found = assertions(CHECK, "f")
    assert [test.call for test in found] == [
        Call((1,)),
        Call((2.5,)),
        Call((5,)),
        None,
        None,
        Call((5,)),
        Call(([1, 2],)),
    ]


def test_arguments_and_keywords_are_evaluated_with_the_preamble() -> None:
    (test,) = assertions("assert f(*g(2), key={'a': 1 + 1}) == 3", "f", "def g(n):\n    return [n] * n\n")
    assert test.call == Call((2, 2), {"key": {"a": 2}})


def test_objects_are_no_arguments_for_a_sandbox() -> None:
    assert assertions("assert f(int) == 3\nassert f(object()) == 3", "f")[0].call is None


def test_test_functions_are_taken_apart_and_helpers_are_not() -> None:
    code = "def same(a, b):\n    assert a == b\n\ndef test_one():\n    same(f(1), 2)\n    assert f(2) == 4\n"
    found = assertions(code, "f")
    assert [test.name for test in found] == ["test_one[0]", "test_one[1]"]
    assert [("def same" in test.code, test.call) for test in found] == [(True, Call((1,))), (False, Call((2,)))]


def test_what_an_earlier_call_answered_is_part_of_the_test() -> None:
    found = assertions("y = f(1)\nassert y == 2\nassert f(y) == 4", "f")
    assert [test.code for test in found] == ["y = f(1)\nassert y == 2", "y = f(1)\nassert f(y) == 4"]
    assert [test.call for test in found] == [Call((1,)), None]


def test_test_code_that_does_not_parse_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="The test code does not parse"):
        assertions("assert f(1 ==", "f")


def test_a_program_is_judged_test_by_test(sandbox: Sandbox) -> None:
    found = Judge(sandbox).judge(task(CHECK), DOUBLE, trace=True)
    assert found.passed == (True, True, False, True, True, True, True)
    assert found.problems[2] == "raised IndexError: list index out of range (line 3)"
    assert [sorted(lines) for lines in found.lines] == [[2, 4], [2, 4], [2, 3], [2, 4], [2, 4], [2, 3], [2, 4]]
    assert (found.share, found.solved) == (6 / 7, False)


def test_the_stand_in_judges_as_the_sandbox_does(sandbox: Sandbox) -> None:
    for source in (DOUBLE, "def f(x):\n    return 2\n", "def f(", "1 / 0", "def g(): pass"):
        inside, jailed = (Judge(each).judge(task(CHECK), source, trace=True) for each in (Inside(), sandbox))
        assert (inside.passed, inside.lines) == (jailed.passed, jailed.lines), source


@pytest.mark.parametrize(
    ("assertion", "right", "wrong"),
    [
        ("assert f() == [1, (2, 3)]", "[1, (2, 3)]", "[1, [2, 3]]"),
        ("assert f() == 1", "True", "'1'"),
        ("assert f() != 3", "4", "3.0"),
        ("assert f() is None", "None", "0"),
        ("assert f()", "[0]", "[]"),
        ("assert not f()", "''", "' '"),
        ("assert abs(f() - 0.3) < 1e-6", "0.1 + 0.2", "'0.3'"),
        ("assert f() in (1, 2)", "2", "3"),
        ("assert 2 in f()", "{2: 0}", "{3: 2}"),
        ("assert 1 < f() < 3", "2", "3"),
        ("assert sorted(f()) == [1, 2]", "{2, 1}", "[1, 2, 2]"),
        ("import collections\nassert f() == collections.Counter('aab')", "{'a': 2, 'b': 1}", "{'a': 2}"),
        ("assert '%.1f' % f() == '0.5'", "0.5", "0.6"),
    ],
)
def test_assertions_mean_what_they_mean_in_python(assertion: str, right: str, wrong: str, sandbox: Sandbox) -> None:
    assert (one(assertion, right, sandbox), one(assertion, wrong, sandbox)[:6]) == ("", "failed")


def test_an_object_that_equals_everything_equals_nothing(sandbox: Sandbox) -> None:
    source = "class A(int):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x):\n    return A()\n"
    found = Judge(sandbox).judge(task("assert f(1) == 2\nassert f(1) is not None\nassert not f(2)"), source)
    assert found.passed == (False, False, False)
    assert found.problems[0].startswith("failed: it answered what is no plain data")


def test_a_program_that_changes_its_arguments_changes_only_its_own(sandbox: Sandbox) -> None:
    source = "def f(x):\n    x.clear()\n    return []\n"
    found = Judge(sandbox).judge(task("xs = [1, 2]\nassert f(xs) == xs\nassert len(f(xs)) == len(xs)"), source)
    assert found.passed == (False, False)


@pytest.mark.parametrize(
    ("source", "problems"),
    [
        ("def f(x):\n    while x == 2: pass\n    return x", ["", "timed out", "not reached"]),
        ("import os\ndef f(x):\n    return x if x == 1 else os._exit(0)", ["", "ended its process", "not reached"]),
        ("def f(x) return", ["does not parse: SyntaxError: expected ':' (<program>, line 1)"] * 3),
        ("1 / 0", ["raised ZeroDivisionError: division by zero"] * 3),
        ("g = 3", ["raised NameError: name 'f' is not defined"] * 3),
    ],
)
def test_what_ends_a_program_is_said(source: str, problems: list[str], sandbox: Sandbox) -> None:
    judge = Judge(sandbox, Limits(cpu=0.2, wall=2.0))
    assert list(judge.judge(task("".join(f"assert f({n}) == {n}\n" for n in (1, 2, 3))), source).problems) == problems


def test_tests_that_call_as_they_like_have_limits(sandbox: Sandbox) -> None:
    judge = Judge(sandbox, Limits(cpu=0.2, wall=2.0), Limits(cpu=0.2, wall=2.0), most_calls=50)
    endless = task("while f(1) != 3:\n    pass\nassert True\nfor _ in range(2):\n    assert f(1)")
    assert judge.judge(endless, "def f(x): return 2").problems == ("failed: the test made more than 50 calls", "")
    counting = task("for _ in f(1) * 'a':\n    assert f(2)")
    assert judge.judge(counting, "def f(x): return 10 ** 15").problems[0].startswith("failed: the test")
    hanging = judge.judge(endless, "def f(x):\n    while True: pass").problems
    assert hanging == ("timed out", "timed out")


def test_large_answers_are_compared_in_the_time_of_what_is_expected(sandbox: Sandbox) -> None:
    assert one("assert f() == [1]", "[1] * 100_000", sandbox) == "failed"
    assert one("assert 10 ** f() == 1", "10 ** 9", sandbox).startswith("failed: the test")
    assert small([1] * 100) is True
    assert (small("x" * (ROOM + 1)), small([[0] * 100] * 100), small(1 << 2000)) == (False, False, False)


def test_only_cheap_assertions_are_evaluated_here() -> None:
    assert check("assert f(1) == 2", "f") is not None
    assert check("assert abs(f(1) - 2) < 0.1", "f") is not None
    assert check("assert 10 ** f(1) == 2", "f") is None
    assert check("assert list(range(f(1))) == [0]", "f") is None
    assert check("import random\nassert f(1) < random.random()", "f") is None


def test_random_arguments_are_those_that_the_program_was_asked(sandbox: Sandbox) -> None:
    given = task("import random\nn = random.randint(0, 10 ** 9)\nassert f(n) == 2 * n")
    assert given.tests[0].call is not None
    assert Judge(sandbox).judge(given, DOUBLE).solved


def test_held_out_tests_are_judged_only_when_asked_for() -> None:
    inside, given = Inside(), task("assert f(1) == 2\nassert f(7) == 0")
    held = tasks.Task("one", "f", "", DOUBLE, given.tests[:1], given.tests[1:])
    assert Judge(inside).judge(held, DOUBLE).passed == (True,)
    assert [program.calls for program in inside.programs] == [(Call((1,)),)]
    assert Judge(inside).judge(held, DOUBLE, held_out=True).passed == (False,)


def test_what_is_expected_never_meets_the_program() -> None:
    inside = Inside()
    Judge(inside).judge(task("assert f(1) == 271828\nassert f(f(2)) == 314159"), DOUBLE)
    own = [program for program in inside.programs if program.entry == "f"]
    assert len(own) == 2
    assert not any(secret in repr(own) for secret in ("271828", "314159"))


def test_many_programs_are_judged_in_their_order(sandbox: Sandbox) -> None:
    sources = [f"def f(x):\n    return {n}\n" for n in range(5)]
    found = Judge(sandbox).judge_all(task("assert f(0) == 3\nassert f(1) < 2"), sources)
    assert [each.passed for each in found] == [
        (False, True), (False, True), (False, False), (True, False), (False, False),
    ]  # fmt: skip


def test_one_execution_answers_all_single_calls() -> None:
    inside = Inside()
    Judge(inside).judge_all(task("".join(f"assert f({n}) == {2 * n}\n" for n in range(4))), [DOUBLE, DOUBLE])
    assert [len(program.calls) for program in inside.programs] == [4, 4]


def test_calls_that_one_program_was_asked_are_foreseen_for_the_next(sandbox: Sandbox) -> None:
    given = task("for n in range(4):\n    assert f(n) == 2 * n")
    sources = ["def f(x): return x", DOUBLE, DOUBLE, "def f(x): return x * 2 + (x == 3)", "def f(x): return f(x)"]
    inside, judge = Inside(), Judge(sandbox)
    for each in (Judge(inside), judge):
        assert [found.share for found in each.judge_all(given, sources)] == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert [len(program.calls) for program in inside.programs if program.entry == "f"][:2] == [0, 0]
    inside.programs.clear()
    foreseeing = Judge(inside)
    assert [foreseeing.judge(given, DOUBLE).share for _ in range(2)] == [1.0, 1.0]
    assert [len(program.calls) for program in inside.programs if program.entry == "f"] == [0, 0, 4]
    assert judge.judge(given, "def f(x): return 1 / (2 - x)").problems[0] == "failed"


def test_calls_that_depend_on_answers_are_asked_as_they_come(sandbox: Sandbox) -> None:
    judge, given = Judge(sandbox), task("assert f(f(3)) == 12\nassert f(1) == 2")
    sources = [DOUBLE, "def f(x): return 12 if x == 4 else 4", "def f(x): return x", "def f(x): return x + x"]
    assert [found.passed for found in judge.judge_all(given, sources)] == [
        (True, True), (True, False), (False, False), (True, True),
    ]  # fmt: skip


def test_a_task_without_tests_cannot_be_judged() -> None:
    with pytest.raises(InvalidInput, match="The task 'one' has no tests"):
        Judge(Inside()).judge(task(""), DOUBLE)


HALVED = "x = f(4)\nfor _ in range(3):\n    x = f(x)\nassert x == 1\nassert f(2) == 1\nassert f(3) == 2"
COUNTS = "def f(n):\n    steps = 0\n    while n > 1:\n        n, steps = n - 1, steps + 1\n    return max(steps, 1)\n"


@pytest.mark.parametrize("wrong", ["def f(n): return 10 ** 12", "def f(n): return 'x' * 600_000", "def f(n): return n"])
def test_what_one_program_answers_is_never_held_against_the_next(sandbox: Sandbox, wrong: str) -> None:
    judge = Judge(sandbox)
    assert not judge.judge(task(HALVED), wrong).solved
    assert [judge.judge(task(HALVED), COUNTS).solved for _ in range(2)] == [True, True]


DEEP = "def f(n):\n    x = []\n    for _ in range({0}):\n        x = [x]\n    return x if n == 1 else n\n"


@pytest.mark.parametrize("depth", [10, 55, 62, 70, 500, 100_000])
@pytest.mark.parametrize("first", ["assert str(f(1)) == 'x'\n", "y = f(1)\nassert len(str(f(2))) == len(y)\n"])
def test_answers_that_are_nested_too_deeply_fail_their_own_test_alone(sandbox: Sandbox, depth: int, first: str) -> None:
    found = Judge(sandbox).judge(task(first + "assert f(3) == 3\n"), DEEP.format(depth))
    assert found.passed == (first.startswith("y") and depth <= 62, True)


def test_answers_too_large_together_are_examined_one_by_one(sandbox: Sandbox) -> None:
    given = task("".join(f"assert len(set(f({n}))) == 1\n" for n in range(3)))
    judge = Judge(sandbox, test_limits=Limits(cpu=5.0, wall=20.0))
    assert judge.judge(given, "def f(n): return 'x' * 500_000").passed == (True, True, True)
    assert not any(judge.judge(given, "def f(n): return 'x' * 1_100_000").passed)


def test_no_test_says_that_a_program_is_right_where_there_is_none() -> None:
    found = Judge(Inside()).judge(task("assert f(1) == 2"), DOUBLE, held_out=True)
    assert (found.passed, found.solved, found.share) == ((), False, 0.0)


def test_a_test_that_would_end_us_fails(sandbox: Sandbox) -> None:
    given = task("import sys\nassert f(1) == sys.exit(0)\nassert f(1) == 2")
    assert Judge(sandbox).judge(given, DOUBLE).passed == (False, True)
