"""Tasks from files: the fields, the errors, and what the real data hold."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bondhu.domains.coding import tasks
from bondhu.domains.coding.loading import HoldOut, folder, humanevalpack, load, mbpp
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput, SandboxUnavailable
from bondhu.sandbox.pool import open_sandbox
from bondhu.sandbox.program import Limits
from tests.coding.inside import Inside

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[3] / "shared" / "data"))
PACK = DATA / "humanevalpack_python" / "humanevalpack_visible.jsonl"
BASIC = DATA / "mbpp" / "mbpp_visible.jsonl"
BUG = {
    "task_id": "Python/900",
    "prompt": 'import math\n\ndef half(x):\n    return x / 2\n\ndef area(r: float) -> float:\n    """Of a circle."""\n',
    "canonical_solution": "    return math.pi * r * r\n",
    "buggy_solution": "    return math.pi * r\n",
    "test": "def check(area):\n"
    + "".join(f"    assert abs(area({n}) - {n * n} * math.pi) < half(1e-6)\n" for n in range(7)),
    "entry_point": "area",
    "bug_type": "missing logic",
    "instruction": "Write area.",
}
BUILD = {
    "task_id": 900,
    "text": "Write a function to add.",
    "code": "import sys\r\ndef one():\r\n  return 1\r\ndef add(a, b=2):\r\n  return a + b * one()\r\n",
    "test_list": ["assert add(1, 2) == 3", "assert add(1) == 3"],
    "challenge_test_list": ["assert add(sys.maxsize, 1) == sys.maxsize + 1"],
}


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_bug_becomes_a_task(tmp_path: Path) -> None:
    (task,) = humanevalpack(written(tmp_path / "a.jsonl", BUG), hold_out=None)
    assert (task.id, task.entry, task.kind, task.statement) == ("Python/900", "area", "missing logic", "Write area.")
    assert task.source.endswith("return math.pi * r\n")
    assert task.preamble == "import math\n\ndef half(x):\n    return x / 2"
    assert len(task.tests) == 7
    judge = Judge(Inside())
    assert judge.judge(task, task.solution or "").share == 1.0
    assert judge.judge(task, task.source).share == 2 / 7  # of the radii 0 and 1


def test_some_tests_are_held_out_by_hash_where_there_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", BUG)
    (task,) = humanevalpack(path)
    assert (len(task.tests), len(task.held_out)) == (5, 2)
    assert humanevalpack(path)[0] == task
    assert not {test.code for test in task.tests} & {test.code for test in task.held_out}
    assert humanevalpack(path, HoldOut(fewest=8))[0].held_out == ()
    assert len(humanevalpack(path, HoldOut(share=0.5))[0].held_out) == 3


def test_a_function_to_build_becomes_a_task(tmp_path: Path) -> None:
    (task,) = mbpp(written(tmp_path / "a.jsonl", BUILD))
    assert (task.id, task.entry, task.source) == ("MBPP/900", "add", "def add(a, b=2):\n    pass\n")
    assert [test.name for test in (*task.tests, *task.held_out)] == ["test[0]", "test[1]", "challenge[0]"]
    assert task.statement == "Write a function to add. For example: assert add(1, 2) == 3"
    judge = Judge(Inside())
    assert judge.judge(task, task.solution or "").solved
    assert judge.judge(task, task.solution or "", held_out=True).solved
    assert judge.judge(task, task.source).share == 0.0


def test_tasks_that_pass_objects_of_the_program_are_left_out(tmp_path: Path) -> None:
    row = BUILD | {"code": "class P:\n  pass\ndef add(p):\n  return 1\n", "test_list": ["assert add(P()) == 1"]}
    assert mbpp(written(tmp_path / "a.jsonl", row | {"challenge_test_list": []})) == []


def test_a_folder_holds_modules_with_tests(tmp_path: Path) -> None:
    (tmp_path / "stack.py").write_text('def top(xs):\n    """The last."""\n    return xs[0]\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_stack.py").write_text(
        "from stack import top\n\ndef test_top():\n    assert top([1, 2]) == 2\n"
    )
    (task,) = load(tmp_path)
    assert (task.id, task.entry, task.statement, task.solution) == ("stack", "top", "The last.", None)
    judge = Judge(Inside())
    assert [judge.judge(task, source).share for source in (task.source, task.source.replace("[0]", "[-1]"))] == [
        0.0,
        1.0,
    ]


def test_load_knows_which_is_which(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", BUG)
    written(tmp_path / "b.jsonl", BUILD)
    assert [task.origin for task in load(tmp_path)] == ["HumanEvalPack", "MBPP"]
    assert [task.origin for task in load(tmp_path / "b.jsonl")] == ["MBPP"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({key: value for key, value in BUG.items() if key != "prompt"}, r"row 1: no field 'prompt'"),
        (BUG | {"test": 3}, r"row 1: the field 'test' is int, not text"),
        (BUG | {"test": "def check(:"}, r"row 1: The test code does not parse"),
        (BUG | {"test": "pass"}, r"row 1: The task 'Python/900' has no test"),
        (BUILD | {"test_list": "assert add(1)"}, r"row 1: the field 'test_list' is no list of texts"),
        (BUILD | {"test_list": ["assert sub(1) == 2"]}, r"row 1: .*call no function of the source"),
        ({"question": 1}, r"neither HumanEvalPack nor MBPP: its fields are 'question'"),
        ([1], r"row 1: list, not an object"),
        (BUG | {"task_id": ["a"]}, r"row 1: the field 'task_id' is list, not text"),
        (BUG | {"task_id": float("nan")}, r"row 1: the field 'task_id' is float, not text"),
        (BUILD | {"task_id": True}, r"row 1: the field 'task_id' is bool, not text"),
    ],
)
def test_what_is_wrong_is_said_with_row_and_field(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(written(tmp_path / "a.jsonl", row))


def test_missing_and_broken_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no file"):
        load(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInput, match="has no module with tests"):
        folder(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps(BUG) + "\n{\n")
    with pytest.raises(InvalidInput, match="row 2: not JSON"):
        load(tmp_path / "a.jsonl")
    with pytest.raises(InvalidInput, match="two rows have the id 'Python/900'"):
        load(written(tmp_path / "a.jsonl", BUG, BUG))


def test_lines_that_are_no_text_or_nested_too_deeply_have_a_row(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    for line, why in ((b'{"text": "\xe9"}', "can't decode byte 0xe9"), (b"[" * 100_000, "nested too deeply")):
        file.write_bytes(json.dumps(BUG).encode() + b"\n" + line + b"\n")
        with pytest.raises(InvalidInput, match=rf"a\.jsonl, row 2: not JSON \(.*{why}"):
            load(file)
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(BUG).encode())  # as some editors write UTF-8
    assert [task.id for task in load(file)] == ["Python/900"]


def test_modules_are_read_as_they_are_encoded(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_bytes(b"# -*- coding: latin-1 -*-\ndef f():\n    return '\xe9'\n")
    (tmp_path / "test_m.py").write_bytes(b"\xef\xbb\xbfassert f() == '\xc3\xa9'\n")
    (task,) = folder(tmp_path)
    assert shares([task], [task.source], Limits()) == [1.0]
    for name in ("m.py", "test_m.py"):
        (tmp_path / name).write_bytes(b"def f():\n    return '\xe9'\n")
        with pytest.raises(InvalidInput, match=rf"{name} cannot be decoded: "):
            folder(tmp_path)
        (tmp_path / name).write_text("def f():\n    return 1\n")


def test_what_does_not_parse_is_named(tmp_path: Path) -> None:
    for name in ("m.py", "test_m.py"):
        (tmp_path / "m.py").write_text("def f():\n    return 1\n")
        (tmp_path / "test_m.py").write_text("assert f() == 1\n")
        (tmp_path / name).write_text("def f(:\n")
        with pytest.raises(InvalidInput, match=rf"/{name}: The \S+( code)? does not parse") as raised:
            folder(tmp_path)
        assert raised.value.what.count(".py") == 1


def test_tests_of_a_folder_that_cannot_be_taken_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def f(x):\n    return x + 2\n")
    (tmp_path / "test_m.py").write_text("def test_a(one):\n    assert f(one) == 2\nassert f(0) == 2\n")
    with pytest.raises(InvalidInput, match=r"test_m\.py: These tests cannot be taken apart .*: test_a\."):
        folder(tmp_path)


def shares(found: list[tasks.Task], sources: list[str], limits: Limits) -> list[float]:
    """Of the tests, held-out ones too, that the programs pass."""
    try:
        opened = open_sandbox(workers=2)
    except SandboxUnavailable as problem:
        pytest.skip(str(problem))
    with opened as sandbox:
        judge = Judge(sandbox, limits)
        judged = [
            [*judge.judge(task, source).passed, *judge.judge(task, source, held_out=True).passed]
            for task, source in zip(found, sources, strict=True)
        ]
    return [sum(each) / len(each) for each in judged]


@pytest.mark.skipif(not PACK.exists(), reason="no HumanEvalPack: set BONDHU_DATA")
def test_solutions_of_humanevalpack_pass_and_bugs_fail() -> None:
    found = load(PACK)
    assert sum(test.call is not None for task in found for test in (*task.tests, *task.held_out)) >= 0.98 * 726
    assert shares(found, [task.solution or "" for task in found], Limits(cpu=5.0, wall=30.0)) == [1.0] * len(found)
    assert max(shares(found, [task.source for task in found], Limits())) < 1.0


@pytest.mark.skipif(not BASIC.exists(), reason="no MBPP: set BONDHU_DATA")
def test_solutions_of_mbpp_pass_and_signatures_fail() -> None:
    found = load(BASIC)
    sample = found[::8]
    plain = [task for task in sample if "Counter" not in (task.solution or "")]
    assert len(plain) >= 0.95 * len(sample)
    solved = shares(plain, [task.solution or "" for task in plain], Limits(cpu=5.0, wall=30.0))
    assert solved == [1.0] * len(plain)
    assert max(shares(plain, [task.source for task in plain], Limits())) < 1.0
