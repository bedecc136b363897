"""Programs for `benchmarks.sandbox`: small ones with tests of their own, and the visible part of HumanEvalPack."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bondhu.sandbox.program import Answer, Call, Limits, Program, Sandbox

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[2] / "shared" / "data")) / "humanevalpack_python"
LIMITS = Limits(cpu=10.0, wall=60.0)

RIGHT: dict[str, list[tuple[tuple[Any, ...], Any]]] = {
    "def f(x, y):\n    return x + y\n": [((a, a * 7), a * 8) for a in range(5)],
    "def f(text):\n    return text[::-1]\n": [((each,), each[::-1]) for each in ("", "a", "abc", "level", "sandbox")],
    "def f(numbers):\n    return sorted(set(numbers))\n": [
        ((each,), sorted(set(each))) for each in ([], [1], [3, 1, 3], [9, 8, 7, 7], list(range(20)), [5] * 9)
    ],
    "def f(n):\n    found = []\n    for each in range(2, n):\n        if all(each % p for p in found):\n"
    "            found.append(each)\n    return found\n": [
        ((n,), [p for p in range(2, n) if all(p % q for q in range(2, p))]) for n in (0, 3, 10, 30, 100)
    ],
    "from collections import Counter\ndef f(text):\n    return dict(Counter(text.split()))\n": [
        ((each,), {word: each.split().count(word) for word in each.split()})
        for each in ("", "a b", "a a b", "x y x", "q")
    ],
    "import math\ndef f(n):\n    return math.factorial(n)\n": [
        ((0,), 1), ((1,), 1), ((5,), 120), ((10,), 3628800), ((12,), 479001600),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A program, its tests as pairs of arguments and what is right, and whether it passes them."""

    source: str
    tests: tuple[tuple[tuple[Any, ...], Any], ...]
    right: bool

    def program(self) -> Program:
        return Program(self.source, "f", tuple(Call(given) for given, _ in self.tests))

    def passed(self, answers: tuple[Answer, ...]) -> bool:
        """Compared here, and not in the jail."""
        said = [each.value if each.kind == "value" else each for each in answers]
        return said == [wanted for _, wanted in self.tests]


def samples() -> list[Sample]:
    """Half of them right, a quarter wrong, a quarter raising."""
    made = []
    for source, tests in RIGHT.items():
        wrong = source.replace("def f(", "def g(") + "def f(*given):\n    g(*given)\n"
        raising = source.replace("def f(", "def g(") + "def f(*given):\n    return g(*given)[given]\n"
        made += [Sample(each, tuple(tests), each is source) for each in (source, source, wrong, raising)]
    return made


ALWAYS_EQUAL = """
class Any:
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = lambda self: 0
    __bool__ = lambda self: True
    __len__ = lambda self: 1
    __iter__ = lambda self: iter([self])
    __sub__ = __rsub__ = __abs__ = __add__ = __getitem__ = lambda self, *_: self
def {entry}(*_, **__): return Any()
"""
WALKER = """
import sys
def {entry}(*_, **__):
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if hasattr(value, "append"):
                value.append("passed")
        frame = frame.f_back
    sys.exit(0)
"""
HACKS = {"an answer that equals everything": ALWAYS_EQUAL, "one that writes into its callers and leaves": WALKER}


def tasks() -> list[dict[str, Any]]:
    """Rows of HumanEvalPack; none where the data is not there."""
    files = sorted(DATA.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def solves(sandbox: Sandbox, task: Mapping[str, Any], source: str) -> bool:
    """Runs the task's own test code on this side, unmodified; the function that it calls is in the jail."""
    namespace: dict[str, Any] = {}
    exec(task["prompt"] + "    pass\n", namespace)  # helpers of the statement, which is not the program's
    with stub(sandbox, task["entry_point"], source) as function:
        namespace[task["entry_point"]] = function
        try:
            exec(task["test"], namespace)
        except Exception:
            return False
        return True


@contextmanager
def stub(sandbox: Sandbox, entry: str, source: str) -> Iterator[Any]:
    with sandbox.session(Program(source, entry, limits=LIMITS)) as session:

        def call(*arguments: Any, **keywords: Any) -> Any:
            answer = session.call(Call(arguments, keywords))
            if answer.kind == "value":
                return answer.value
            kind = getattr(builtins, answer.error.partition(":")[0], None)
            known = isinstance(kind, type) and issubclass(kind, Exception) and kind is not AssertionError
            raise kind(answer.error) if known else SandboxRefused(answer.error)  # type: ignore[misc]  # checked: known

        yield call


class SandboxRefused(Exception):
    """What came back is no plain data, or an error that is not built in."""
