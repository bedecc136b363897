"""Reads tasks: HumanEvalPack (Muennighoff et al. 2023, arXiv:2308.07124) and MBPP (Austin et al. 2021,
arXiv:2108.07732) as JSON lines, or a folder with a module and its tests.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from bondhu.domains.coding.assertions import assertions, decoded, only_call, parsed
from bondhu.domains.coding.tasks import Task, Test
from bondhu.errors import InvalidInput, nearest

HUMANEVALPACK = ("task_id", "prompt", "canonical_solution", "buggy_solution", "test", "entry_point")
MBPP = ("task_id", "text", "code", "test_list")
UNBUILT = "pass"  # the body of a function that is to be written


@dataclass(frozen=True)
class HoldOut:
    """Which tests an agent never sees: a share of them by hash, where there are enough."""

    share: float = 0.3
    fewest: int = 6  # tests of a task from which on some are held out

    def of(self, task: Task) -> Task:
        """The task with some of its tests moved to those held out; the order within both stays."""
        if len(task.tests) < self.fewest:
            return task
        count = int(len(task.tests) * self.share)
        ranked = sorted(task.tests, key=lambda test: sha256(f"{task.id}\n{test.name}\n{test.code}".encode()).digest())
        hidden = {test.name for test in ranked[:count]}
        return replace(
            task,
            tests=tuple(test for test in task.tests if test.name not in hidden),
            held_out=tuple(test for test in task.tests if test.name in hidden),
        )


HOLD_OUT = HoldOut()


def load(path: str | Path) -> list[Task]:
    """Tasks from a file or folder, whatever it is: HumanEvalPack or MBPP lines by their fields, or a folder of them, or
    of modules with tests.

    Raises InvalidInput where it is none of these.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.jsonl"))
        return [task for file in files for task in load(file)] if files else folder(path)
    rows = _rows(path)
    _, first = next(rows, (0, None))
    if first is None:
        raise InvalidInput(f"{path} has no rows.", value=str(path), fix="Name a file with one JSON object per line.")
    if "buggy_solution" in first:
        return humanevalpack(path)
    if "test_list" in first:
        return mbpp(path)
    what = f"{path} is neither HumanEvalPack nor MBPP: its fields are {', '.join(map(repr, first))}."
    raise InvalidInput(what, value=str(path), fix=f"One has {_and(HUMANEVALPACK)}; the other {_and(MBPP)}.")


def humanevalpack(path: str | Path, hold_out: HoldOut | None = HOLD_OUT) -> list[Task]:
    """Functions with a bug made by hand. None holds out nothing. Raises InvalidInput with the row and the field."""
    made = list[Task]()
    for number, row in _rows(Path(path)):
        values = _fields(row, HUMANEVALPACK, f"{path}, row {number}")
        prompt, entry = values["prompt"], values["entry_point"]
        with At(f"{path}, row {number}"):
            preamble = _without(prompt + f"    {UNBUILT}\n", entry)
            task = Task(
                id=values["task_id"],
                entry=entry,
                statement=str(row.get("instruction") or row.get("docstring") or prompt),
                source=prompt + values["buggy_solution"],
                tests=_runnable(assertions(values["test"], entry, preamble, "check"), values["task_id"]),
                solution=prompt + values["canonical_solution"],
                preamble=preamble,
                kind=str(row.get("bug_type", "")),
                origin="HumanEvalPack",
            )
        made.append(hold_out.of(task) if hold_out else task)
    return _unique(made, path)


def mbpp(path: str | Path) -> list[Task]:
    """Functions to write: the source is the signature, the challenge tests are held out.

    Tasks that pass objects of classes of the program cannot be judged from outside and are left out. Raises
    InvalidInput with the row and the field.
    """
    made = list[Task]()
    for number, row in _rows(Path(path)):
        where = f"{path}, row {number}"
        values = _fields(row, MBPP, where)
        lists = [_list(row, name, where) for name in ("test_list", "challenge_test_list")]
        with At(where):
            code = values["code"].replace("\r\n", "\n")
            preamble = _imported(code) + str(row.get("test_setup_code", ""))
            entry = _tested(code, lists[0], where)
            seen, hidden = (
                assertions("\n".join(lines), entry, preamble, name)
                for lines, name in zip(lists, ("test", "challenge"), strict=True)
            )
            if not all(_sent(test, entry) for test in (*seen, *hidden)):
                continue
            task = Task(
                id=f"MBPP/{values['task_id']}",
                entry=entry,
                statement=f"{values['text']} For example: {lists[0][0]}",
                source=_signature(code, entry),
                tests=_runnable(seen, values["task_id"]),
                held_out=hidden,
                solution=code,
                preamble=preamble,
                origin="MBPP",
            )
        made.append(task)
    return _unique(made, path)


def folder(path: str | Path) -> list[Task]:
    """For each `name.py` with a `test_name.py` beside it, or in `tests/`: one task. The entry is the function of the
    module that the tests mention most; `solutions/name.py`, where there is one, is the solution.

    Raises InvalidInput where there is none. Tests that need pytest itself are for `repository`.
    """
    path = Path(path)
    if not path.is_dir():
        raise InvalidInput(f"There is no folder {path}.", value=str(path), fix="Name a folder with modules and tests.")
    made = list[Task]()
    for module in sorted(path.glob("*.py")):
        places = (path / f"test_{module.name}", path / "tests" / f"test_{module.name}")
        found = next((each for each in places if each.exists()), None)
        if found is not None:
            made.append(_of_files(module, found, path / "solutions" / module.name))
    if not made:
        what = f"{path} has no module with tests."
        raise InvalidInput(what, value=str(path), fix="Put test_name.py beside name.py, or into tests/.")
    return made


def _of_files(module: Path, tests: Path, solution: Path) -> Task:
    source, said = _text(module), _text(tests)
    with At(str(module)):
        whole = parsed(source, "module")
    with At(str(tests)):
        entry = _tested(source, [said], str(module))
        tree = parsed(said, "test code")
        # The module itself is what the sandbox holds: it is not imported here.
        kept = [each for each in tree.body if not (isinstance(each, ast.ImportFrom) and each.module == module.stem)]
        code = ast.unparse(ast.Module(kept, []))
        function = _function(whole, entry)
        return Task(
            id=module.stem,
            entry=entry,
            statement=(ast.get_docstring(function) if function else None) or f"Repair {entry}.",
            source=source,
            tests=_runnable(assertions(code, entry), module.stem),
            solution=_text(solution) if solution.exists() else None,
            origin=str(module.parent),
        )


def _text(path: Path) -> str:
    return decoded(path.read_bytes(), str(path))


@dataclass(frozen=True)
class At:
    """Says where an error was, unless it does so itself."""

    where: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidInput) and not error.what.startswith(self.where):
            raise InvalidInput(f"{self.where}: {error.what}", field=error.field, value=error.value, fix=error.fix)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row numbers from 1, and objects."""
    if not path.is_file():
        raise InvalidInput(
            f"There is no file {path}.", value=str(path), fix="Name a file with one JSON object per line."
        )
    with path.open("rb") as lines:  # each is decoded by itself, so that an error has a row
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            shown = line[:200].decode("utf-8", "replace")
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                why = "nested too deeply" if isinstance(error, RecursionError) else error
                what = f"{path}, row {number}: not JSON ({why})."
                raise InvalidInput(what, value=shown, fix="Write one object per line, in UTF-8.") from error
            if not isinstance(row, dict):
                what = f"{path}, row {number}: {type(row).__name__}, not an object."
                raise InvalidInput(what, value=shown, fix="Write one object per line.")
            yield number, row


def _fields(row: Mapping[str, Any], names: Sequence[str], where: str) -> dict[str, str]:
    """The fields as text. Raises InvalidInput."""
    for name in names:
        if name not in row:
            raise InvalidInput(f"{where}: no field {name!r}.", field=name, fix=nearest(name, row))
        kinds = (str, int) if name == "task_id" else (str,)
        if type(row[name]) not in kinds and name != "test_list":  # which is looked at by `_list`
            what = f"{where}: the field {name!r} is {type(row[name]).__name__}, not text."
            fix = "Write it as a string or an integer." if int in kinds else "Write it as a string."
            raise InvalidInput(what, field=name, value=row[name], fix=fix)
    return {name: str(row[name]) for name in names}


def _list(row: Mapping[str, Any], name: str, where: str) -> list[str]:
    value = row.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        what = f"{where}: the field {name!r} is no list of texts."
        raise InvalidInput(what, field=name, value=value, fix="Write a list of assertions.")
    return value


def _runnable(tests: tuple[Test, ...], task: str) -> tuple[Test, ...]:
    if not tests:
        what = f"The task {task!r} has no test."
        raise InvalidInput(what, field="test", value=task, fix="Assert something about the entry function.")
    return tests


def _sent(test: Test, entry: str) -> bool:
    """Whether the sandbox can take what the test gives; one with several calls shows it only when it runs."""
    return test.call is not None or only_call(parsed(test.code, "test"), entry) is None


def _tested(source: str, tests: Sequence[str], where: str) -> str:
    """The function of the module that the tests mention most; of equals the last, which uses the others."""
    functions = [each.name for each in parsed(source, "source").body if isinstance(each, ast.FunctionDef)]
    mentioned = [
        node.id for each in tests for node in ast.walk(parsed(each, "test code")) if isinstance(node, ast.Name)
    ]
    counts = {name: mentioned.count(name) for name in functions[::-1]}
    entry = max(counts, key=lambda name: counts[name], default="")
    if not counts.get(entry):
        what = f"{where}: the tests call no function of the source."
        raise InvalidInput(what, field="test_list", value=functions, fix="Call one of them by its name.")
    return entry


def _function(tree: ast.Module, name: str) -> ast.FunctionDef | None:
    found = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name]
    return found[-1] if found else None


def _signature(code: str, entry: str) -> str:
    """The entry with no body."""
    function = _function(parsed(code, "source"), entry)
    return f"def {entry}({ast.unparse(function.args) if function else ''}):\n    {UNBUILT}\n"


def _without(source: str, entry: str) -> str:
    """Everything but the entry: what test code may use beside it."""
    tree = parsed(source, "prompt")
    kept = [each for each in tree.body if not (isinstance(each, ast.FunctionDef) and each.name == entry)]
    return ast.unparse(ast.Module(kept, []))


def _imported(code: str) -> str:
    """The imports and classes of the solution: tests of MBPP use them as if they were their own."""
    kinds = (ast.Import, ast.ImportFrom, ast.ClassDef)
    kept = [each for each in parsed(code, "code").body if isinstance(each, kinds)]
    return ast.unparse(ast.Module([*kept], [])) + "\n" if kept else ""


def _unique(tasks: list[Task], path: str | Path) -> list[Task]:
    seen = set[str]()
    for task in tasks:
        if task.id in seen:
            raise InvalidInput(f"{path}: two rows have the id {task.id!r}.", field="task_id", fix="Give each its own.")
        seen.add(task.id)
    return tasks


def _and(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
