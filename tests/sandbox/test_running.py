"""What becomes of a program, whatever it is; and of the next one."""

from __future__ import annotations

import math

import pytest

from bondhu.errors import InvalidInput
from bondhu.sandbox.pool import Pool
from bondhu.sandbox.program import Answer, Call, Limits, Outcome, Program, SandboxEnded
from tests.sandbox.attacks import honest
from tests.sandbox.conftest import available

QUICK = Limits(cpu=0.25, wall=30.0, memory=96)


def run(sandbox: Pool, source: str, *arguments: object, limits: Limits = QUICK) -> Outcome:
    """The outcome of `f` called with each of the arguments."""
    return sandbox.run(Program(source, "f", tuple(Call((each,)) for each in arguments), limits=limits))


def value(sandbox: Pool, expression: str) -> Answer:
    return run(sandbox, f"def f(x):\n    return {expression}", 0).answers[0]


@pytest.mark.parametrize(
    ("source", "ended", "detail"),
    [
        ("def f(:", "invalid", "SyntaxError"),
        ("x = '\0'", "invalid", "source code string cannot contain null bytes"),
        ("x = '\ud800'", "invalid", "UnicodeEncodeError"),
        ("x = " + "9" * 5000, "invalid", "SyntaxError"),
        ("x = " + "(" * 300 + ")" * 300, "invalid", "SyntaxError"),
        ("#" * 300_000, "invalid", "the source is longer than 256 KiB"),
        ("#" + "\1" * 200_000, "invalid", "the source is longer than 1 MiB as it is sent"),
        ("while True: pass", "cpu", ""),
        ("import time; time.sleep(60)", "wall", ""),
        ("x = bytearray(10**9)", "memory", "MemoryError"),
        ("import sys; sys.exit(0)", "exit", "SystemExit: 0"),
        ("import os; os._exit(0)", "exit", ""),
        ("raise KeyError(1)", "exit", "KeyError: 1"),
        ("import ctypes; ctypes.string_at(0)", "crash", "SIGSEGV"),
        ("import os; os.write(3, bytes([0, 16, 0, 1]) + bytes(70_000))", "flood", ""),
    ],
)
def test_how_a_program_ends_is_seen_and_the_next_one_is_right(
    sandbox: Pool, source: str, ended: str, detail: str
) -> None:
    limits = Limits(wall=0.4) if ended == "wall" else QUICK
    outcome = run(sandbox, source, 1, limits=limits)
    assert (outcome.ended, outcome.answers) == (ended, ())
    assert detail in outcome.detail
    assert honest(sandbox)


def test_a_program_may_end_itself_by_any_signal() -> None:
    with available("landlock", 1) as sandbox:  # in a namespace it is the first process, which only ends by its faults
        for number, name in ((40, "signal 40"), (10, "SIGUSR1")):
            outcome = run(sandbox, f"import os\ndef f(x): os.kill(os.getpid(), {number})", 1)
            assert (outcome.ended, outcome.answers, outcome.detail) == ("crash", (), name)
        assert honest(sandbox)


@pytest.mark.parametrize("what", ["\nb", "\r\x1b[2Jb", "\x00\x9b\u2028b", "\ud800b"])
def test_errors_are_one_line_that_can_be_printed(any_sandbox: Pool, what: str) -> None:
    problem = f"raise ValueError('a' + {what!r})"
    said = [run(any_sandbox, f"def f(x): {problem}", 1).answers[0].error, run(any_sandbox, problem, 1).detail]
    assert said[0] == said[1]
    assert said[0].startswith("ValueError: a")
    assert said[0].endswith("b")
    assert said[0].isprintable()


def test_what_it_answered_before_it_hung_counts(sandbox: Pool) -> None:
    outcome = run(sandbox, "def f(x):\n    while x == 2: pass\n    return -x", 0, 1, 2, 3)
    assert (outcome.ended, [each.value for each in outcome.answers]) == ("cpu", [0, -1])
    assert outcome.cpu > 0.09


def test_processor_time_is_what_counts_not_time(sandbox: Pool) -> None:
    outcome = run(sandbox, "import time\ndef f(x):\n    time.sleep(x)\n    return 1", 0.2, limits=QUICK)
    assert [each.value for each in outcome.answers] == [1]
    assert outcome.wall >= 0.2


def test_leaving_from_a_call_ends_it(sandbox: Pool) -> None:
    outcome = run(sandbox, "import sys\ndef f(x):\n    return sys.exit(3) if x else 7", 0, 1, 0)
    assert outcome.ended == "exit"
    assert outcome.detail == "SystemExit: 3"
    assert [each.value for each in outcome.answers] == [7]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("[None, True, -5, 2.5, 'ü', b'\\xff']", [None, True, -5, 2.5, "ü", b"\xff"]),
        ("(1, (2, [3]), {4: {5}, (6,): 'x'})", (1, (2, [3]), {4: {5}, (6,): "x"})),
        ("[2**64, -2**64, 10**19, 10**20, 3**9000]", [2**64, -(2**64), 10**19, 10**20, 3**9000]),
        ("[1e400, -1e400, 5e-324, -0.0]", [math.inf, -math.inf, 5e-324, -0.0]),
        ("[1j, complex(1, 1e400)]", [1j, complex(1, math.inf)]),
        ("frozenset([1, frozenset()])", frozenset([1, frozenset()])),
        ("'\\ud800'", "\ud800"),
        ("{}", {}),
    ],
)  # fmt: skip
def test_plain_data_comes_back_as_it_was(sandbox: Pool, expression: str, expected: object) -> None:
    answer = value(sandbox, expression)
    assert (answer.kind, answer.value) == ("value", expected)
    assert repr(answer.value) == repr(expected)
    again = sandbox.run(Program("def f(x): return x", "f", (Call((expected,)),)))
    assert repr(again.answers[0].value) == repr(expected)


def test_no_number_comes_back_as_none(any_sandbox: Pool) -> None:
    assert math.isnan(value(any_sandbox, "float('nan')").value)


@pytest.mark.parametrize(
    "expression",
    [
        "type('Int', (int,), {'__eq__': lambda a, b: True})(3)",
        "[type('Any', (), {'__eq__': lambda a, b: True})()]",
        "f",
        "range(3)",
        "(each for each in [1])",
        "'x' * (1 << 21)",
        "[0] * 300000",
        "list(map(lambda _: 1, range(250000)))",
    ],
)
def test_anything_else_is_opaque(sandbox: Pool, expression: str) -> None:
    answer = value(sandbox, expression)
    assert (answer.kind, answer.value) == ("opaque", None)
    assert answer.error


def test_an_error_comes_back_as_text_with_its_line(sandbox: Pool) -> None:
    source = "import json\n\ndef f(x):\n    if x:\n        return [][x]\n    return json.loads('{')"
    first, second = run(sandbox, source, 1, 0).answers
    assert (first.kind, first.error, first.line) == ("raised", "IndexError: list index out of range", 5)
    assert second.error.startswith("JSONDecodeError: Expecting property name")
    assert second.line == 6


def test_a_name_that_is_missing_is_an_error_of_the_call(sandbox: Pool) -> None:
    assert run(sandbox, "g = 1", 1).answers[0].error == "NameError: name 'f' is not defined"


def test_the_lines_of_each_call_are_traced_and_no_others(sandbox: Pool) -> None:
    source = "import json\ndef f(x):\n    if x:\n        y = [i for i in [3]]\n        return g(y)\n"
    source += "    return json.dumps(x)\ndef g(y):\n    return y"
    program = Program(source, "f", (Call((1,)), Call((0,)), Call((1,))), trace=True)
    outcome = sandbox.run(program)
    assert [set(each.lines) for each in outcome.answers] == [{3, 4, 5, 8}, {3, 6}, {3, 4, 5, 8}]


def test_lines_are_traced_up_to_an_error(sandbox: Pool) -> None:
    program = Program("def f(x):\n    y = 1\n    y = y / x\n    return y", "f", (Call((0,)), Call((1,))), trace=True)
    assert [set(each.lines) for each in sandbox.run(program).answers] == [{2, 3}, {2, 3, 4}]


def test_what_it_prints_is_kept_and_cut(sandbox: Pool) -> None:
    source = "print('loaded')\ndef f(x):\n    print('x' * x)\n    return input"
    outcome = run(sandbox, source, 3, 100_000)
    assert outcome.output.startswith("loaded\nxxx\nxxxx")
    assert len(outcome.output) == 64 << 10


def test_the_same_program_answers_the_same(sandbox: Pool) -> None:
    source = "import random\ndef f(x):\n    return [random.random(), list({'a', 'b', 'c', 'd'}), hash('x')]"
    first, second = (run(sandbox, source, 1).answers[0].value for _ in range(2))
    assert first == second


def test_keywords_are_passed_and_arguments_are_its_own(sandbox: Pool) -> None:
    given = [1, 2]
    program = Program("def f(x, *, y=0):\n    x.append(y)\n    return x", "f", (Call((given,), {"y": 3}),) * 2)
    assert [each.value for each in sandbox.run(program).answers] == [[1, 2, 3], [1, 2, 3]]
    assert given == [1, 2]


def test_what_is_no_plain_data_cannot_be_sent(any_sandbox: Pool) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be sent into the sandbox: a object. Use None, bool"):
        run(any_sandbox, "def f(x): pass", object())
    with pytest.raises(InvalidInput, match=r"are more than 1 MiB together. Make fewer"):
        run(any_sandbox, "def f(x): pass", "x" * (1 << 21))
    assert honest(any_sandbox)


def test_a_source_and_its_calls_have_room_of_their_own(any_sandbox: Pool) -> None:
    source = "#" + "\1" * 170_000 + "\ndef f(x): return len(x)"
    assert run(any_sandbox, source, "x" * 1_000_000).answers[0].value == 1_000_000


def test_scratch_can_be_written_up_to_its_limit() -> None:
    source = "import os\ndef f(x):\n    return open('file', 'wb').write(bytes(x << 20)), os.getcwd()"
    with available("namespaces", 1) as sandbox:
        first, second = run(sandbox, source, 1, 40, limits=Limits(cpu=2.0, wall=30.0)).answers
        none = run(sandbox, source, 1, limits=Limits(scratch=0)).answers[0]
    assert first.value == (1 << 20, "/tmp")
    assert "OSError" in second.error
    assert "OSError: [Errno 30]" in none.error


def test_threads_and_asyncio_work(sandbox: Pool) -> None:
    source = """
import asyncio, threading
def f(x):
    found = []
    threads = [threading.Thread(target=found.append, args=(each,)) for each in range(x)]
    for each in threads: each.start()
    for each in threads: each.join()
    async def later():
        await asyncio.sleep(0.001)
        return len(found)
    return asyncio.run(later())
"""
    assert run(sandbox, source, 8, limits=Limits(cpu=2.0, wall=10.0)).answers[0].value == 8


def test_a_session_remembers_and_answers_as_it_is_asked(sandbox: Pool) -> None:
    source = "total = 0\ndef f(x):\n    global total\n    total += x\n    return total"
    with sandbox.session(Program(source, "f")) as session:
        assert [session.call(Call((each,))).value for each in (1, 2, 3)] == [1, 3, 6]
        assert session.call(Call(("x",))).error.startswith("TypeError")
        assert session.call(Call((4,))).value == 10
        assert honest(sandbox)  # beside it


def test_a_call_of_a_session_that_is_too_large_is_answered_as_opaque(any_sandbox: Pool) -> None:
    """It may pass on what another program has answered, which must be no error of the host."""
    deep: list[object] = []
    for _ in range(63):
        deep = [deep]
    with any_sandbox.session(Program("def f(x): return x", "f", limits=Limits(cpu=1.0))) as session:
        given = session.call(Call((1,))).value
        for large in ("x" * 1_048_570, [0] * 199_999 + [[1]], deep):
            answer = session.call(Call((large, large)))
            assert (answer.kind, answer.value) == ("opaque", None)
            assert "the call cannot be sent: it is " in answer.error
        with pytest.raises(InvalidInput, match="a object"):
            session.call(Call((object(),)))
        assert (given, session.call(Call((2,))).value) == (1, 2)


@pytest.mark.parametrize(
    ("source", "ended"),
    [("#" * 300_000, "invalid"), ("#" + "\1" * 200_000, "invalid"),
     ("def f(:", "invalid"), ("raise ValueError('no')", "exit"), ("def f(x):\n    while x: pass", "cpu"),
     ("import os\ndef f(x): os._exit(1)", "exit"), ("import ctypes\ndef f(x): ctypes.string_at(0)", "crash")],
)  # fmt: skip
def test_a_session_that_has_ended_says_how(sandbox: Pool, source: str, ended: str) -> None:
    with sandbox.session(Program(source, "f", limits=QUICK)) as session:
        for _ in range(2):
            with pytest.raises(SandboxEnded, match=f"has ended: {ended}") as problem:
                session.call(Call((1,)))
            assert problem.value.outcome.ended == ended
    assert honest(sandbox)


def test_a_session_waits_for_its_host_as_long_as_it_takes(any_sandbox: Pool) -> None:
    import time

    with any_sandbox.session(Program("def f(x): return x", "f", limits=Limits(cpu=0.5, wall=0.3))) as session:
        assert session.call(Call((1,))).value == 1
        time.sleep(0.5)
        assert session.call(Call((2,))).value == 2
