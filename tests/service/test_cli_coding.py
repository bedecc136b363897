"""`bondhu code`: repairs, learns and compares on a folder of small modules, in the real sandbox."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bondhu.cli import app as commands
from bondhu.domains.coding.loading import load
from bondhu.errors import BondhuError, InvalidInput, SandboxUnavailable, UnknownName
from bondhu.sandbox.pool import open_sandbox
from tests.agents.repairs import FUNCTIONS
from tests.documents import ROOT

QUICK = ("--executions", "60", "--seconds", "20", "--cpu", "0.5")


@pytest.fixture(scope="module", autouse=True)
def sandbox() -> None:
    try:
        with open_sandbox(workers=1):
            pass
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox here: {error}")


def module(folder: Path, name: str, source: str, tests: str, solution: str = "") -> None:
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    (folder / f"test_{name}.py").write_text(tests, encoding="utf-8")
    if solution:
        (folder / "solutions").mkdir(exist_ok=True)
        (folder / "solutions" / f"{name}.py").write_text(solution, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six modules with a bug, tests and a solution."""
    made = tmp_path / "modules"
    made.mkdir()
    for name, (right, before, after, test) in FUNCTIONS.items():
        module(made, name, right.replace(before, after), "\n".join(map(test.format, (1, 2, 3, 4))), right)
    return made


def run(*words: object) -> Any:
    return CliRunner().invoke(commands, ["code", *map(str, words)], env={"COLUMNS": "200"})


def expect_done(*words: object) -> str:
    """What a command that ends well prints."""
    found = run(*words)
    assert found.exit_code == 0, (found.output, found.exception)
    output: str = found.output
    return output


def expect_refused(kind: type[BondhuError], message: str, *words: object) -> BondhuError:
    found = run(*words)
    assert type(found.exception) is kind, (found.output, found.exception)
    assert re.search(message, str(found.exception)), found.exception
    assert found.exception.fix
    return found.exception


def test_run_repairs_every_module_and_writes_what_came_of_it(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "came.json"
    printed = expect_done("run", folder, *QUICK, "--json", file)
    came = json.loads(file.read_text(encoding="utf-8"))
    assert (came["agent"], came["seed"]) == ("localised", 0)
    assert came["budget"] == {"executions": 60, "seconds": 20.0}
    tasks = {each["task"]: each for each in came["tasks"]}
    assert set(tasks) == set(FUNCTIONS)
    fixed = [each for each in tasks.values() if each["fixed"]]
    assert len(fixed) >= 4
    assert f"{len(fixed)} of 6 fixed" in printed
    for each in tasks.values():
        assert each["executions"] <= 60
        assert each["solved"] == each["fixed"]  # nothing is held out from folders
        assert bool(each["edits"]) or not each["solved"]
        assert each["problem"] == ""
        assert each["task"] in printed
    assert all(each["source"] != FUNCTIONS[each["task"]][0].replace(*FUNCTIONS[each["task"]][1:3]) for each in fixed)


def test_only_some_tasks_are_repaired_each_once(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "came.json"
    expect_done("run", folder, *QUICK, "--only", "last", "--only", "count", "--only", "last", "--json", file)
    assert [each["task"] for each in json.loads(file.read_text())["tasks"]] == ["last", "count"]
    error = expect_refused(UnknownName, "No task 'lats'", "run", folder, "--only", "lats")
    assert "last" in error.fix


def test_the_same_seed_runs_the_same_programs(folder: Path, tmp_path: Path) -> None:
    words = ("run", folder, *QUICK, "--agent", "random", "--only", "total", "--only", "larger", "--json")
    for name, seed in (("one", 4), ("again", 4), ("other", 5)):
        expect_done(*words, tmp_path / name, "--seed", seed)
    one, again, other = (
        [(each["executions"], each["source"]) for each in json.loads((tmp_path / name).read_text())["tasks"]]
        for name in ("one", "again", "other")
    )
    assert one == again != other


def test_what_cannot_be_repaired_is_told_and_the_others_are_tried(tmp_path: Path) -> None:
    module(tmp_path, "a_right", "def f(x):\n    return x\n", "assert f(1) == 1\n")
    module(tmp_path, "b_bare", "def f():\n    ...\n", "assert f() == 1\n")
    module(tmp_path, "c_wrong", "def f(x):\n    return x * 3\n", "assert f(1) == 2\nassert f(3) == 6\n")
    printed = expect_done("run", tmp_path, *QUICK, "--json", tmp_path / "came.json").splitlines()
    right, bare, wrong = json.loads((tmp_path / "came.json").read_text())["tasks"]
    assert (right["solved"], right["fixed"], right["executions"]) == (True, False, 1)
    assert re.search("a_right .*passes what it saw .*nothing was changed", printed[0])
    assert (bare["solved"], bare["problem"]) == (False, "There is nothing to edit.")
    assert "There is nothing to edit." in printed[1]
    assert wrong["fixed"]
    assert re.search(r"c_wrong +fixed .*line 2: '3' → '2'", printed[2])
    assert printed[-1].startswith("1 of 3 fixed")


def test_half_a_surrogate_pair_in_a_program_loses_no_results(tmp_path: Path) -> None:
    tests = "".join(f"    assert f({n}) == {n}\n" for n in range(3))
    row = {
        "task_id": "Python/0", "prompt": "def f(x):\n", "buggy_solution": "    return x # \ud800\n",
        "canonical_solution": "    return x\n", "entry_point": "f", "test": f"def check(f):\n{tests}",
    }  # fmt: skip
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    expect_done("run", tmp_path / "rows.jsonl", *QUICK, "--json", tmp_path / "came.json")
    (came,) = json.loads((tmp_path / "came.json").read_text(encoding="utf-8"))["tasks"]
    assert came["source"] == "def f(x):\n    return x # \ud800\n"


def test_tests_that_leave_end_no_run(tmp_path: Path) -> None:
    module(tmp_path, "m", "def f(x):\n    return x\n", "import sys\ny = sys.exit(0)\nassert f(y) == 2\n")
    assert "0 of 1 fixed" in expect_done("run", tmp_path, *QUICK)


def test_a_bug_that_held_out_tests_alone_see_is_not_called_fixed(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"

    def written(odd: str) -> None:
        tests = [f"    assert f({n}) == {n} - {n + 1} * ({n} == {odd})\n" for n in range(10)]
        row = {
            "task_id": "Python/0", "prompt": "def f(x):\n", "buggy_solution": "    return x\n", "entry_point": "f",
            "canonical_solution": f"    return x if x != {odd} else -1\n",
            "test": "def check(f):\n" + "".join(tests),
        }  # fmt: skip
        file.write_text(json.dumps(row) + "\n", encoding="utf-8")

    # Which tests are held out is said by a hash of their text, so one is looked for that hides the bug.
    for odd in range(10):
        written(str(odd))
        (task,) = load(file)
        if any(f"{odd} - {odd + 1} * ({odd} == {odd})" in test.code for test in task.held_out):
            break
    printed = expect_done("run", file, *QUICK, "--json", tmp_path / "came.json")
    (came,) = json.loads((tmp_path / "came.json").read_text())["tasks"]
    assert (came["solved"], came["fixed"], came["executions"], came["edits"]) == (True, False, 1, [])
    assert "passes what it saw" in printed
    assert "0 of 1 fixed" in printed


def test_train_makes_an_agent_that_run_takes(folder: Path, tmp_path: Path) -> None:
    printed = expect_done("train", folder, "--out", tmp_path / "agent", "--practise", 3, "--cpu", 0.5)
    assert re.search(r"Learned from \d+ fixes, 6 of people's bugs", printed)
    assert {each.name for each in (tmp_path / "agent").iterdir()} == {"edit", "outcomes"}
    expect_done("run", folder, *QUICK, "--agent", tmp_path / "agent", "--json", tmp_path / "came.json")
    tasks = json.loads((tmp_path / "came.json").read_text())["tasks"]
    assert all(each["fixed"] for each in tasks)
    assert sum(each["executions"] for each in tasks) < 60
    expect_refused(InvalidInput, "is not empty", "train", folder, "--out", tmp_path / "agent")


def test_tasks_without_solutions_are_counted_and_alone_they_teach_nothing(folder: Path, tmp_path: Path) -> None:
    for each in (folder / "solutions").iterdir():
        each.unlink()
    found = run("train", folder, "--out", tmp_path / "agent")
    assert "6 of 6 tasks have no solution" in found.output
    assert isinstance(found.exception, InvalidInput)
    assert "nothing to learn from" in str(found.exception)
    assert "--others" in found.exception.fix
    assert not (tmp_path / "agent").exists()
    assert isinstance(run("bench", folder, "--arm", "without cloning").exception, InvalidInput)


def test_bench_compares_the_arms_that_are_asked_for(folder: Path, tmp_path: Path) -> None:
    words = ("--arm", "random operators", "--arm", "localisation alone", "--json", tmp_path / "came.json")
    printed = expect_done("bench", folder, *QUICK, *words)
    assert "6 bugs" in printed
    came = json.loads((tmp_path / "came.json").read_text())
    assert len(came["results"]) == 12
    assert [each["arm"] for each in came["summary"]] == ["random operators", "localisation alone"]
    random = [each for each in came["results"] if each["arm"] == "random operators"]
    assert came["summary"][0]["executions"][0] == pytest.approx(sum(each["executions"] for each in random) / 6)
    assert came["summary"][0]["ratio"] == [1.0, 1.0, 1.0]
    alone = expect_done("bench", folder, *QUICK, "--arm", "localisation alone")
    assert "—" in alone
    assert "random operators" in expect_refused(UnknownName, "No arm 'random'", "bench", folder, "--arm", "random").fix


@pytest.mark.parametrize("command", ["run", "train", "bench"])
def test_files_that_are_not_there_are_one_error_before_anything_is_run(command: str, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "agent") if command == "train" else ()
    expect_refused(InvalidInput, "no file .*nowhere.jsonl", command, tmp_path / "nowhere.jsonl", *out)
    (tmp_path / "empty").mkdir()
    expect_refused(InvalidInput, "has no module with tests", command, tmp_path / "empty", *out)


def test_options_that_lead_nowhere_are_refused(folder: Path, tmp_path: Path) -> None:
    expect_refused(InvalidInput, "holds no agent", "run", folder, "--agent", tmp_path / "nowhere")
    expect_refused(UnknownName, "No isolation 'chroot'", "run", folder, "--isolation", "chroot")
    for command in ("run", "bench"):
        expect_refused(
            InvalidInput, "There is no folder .*nowhere", command, folder, "--json", tmp_path / "nowhere" / "a.json"
        )
    expect_refused(
        InvalidInput, "no file", "train", folder, "--others", tmp_path / "nowhere.jsonl", "--out", tmp_path / "a"
    )
    for words in (("--executions", 0), ("--seconds", 0), ("--cpu", 0)):
        assert run("run", folder, *words).exit_code == 2


def test_help_says_what_each_command_and_option_is_for() -> None:
    assert "Repair programs, learn to, and see what learning brings." in expect_done("--help")
    for command, words in {
        "run": ("--agent", "--only", "--executions", "--seconds", "--cpu", "--isolation", "--seed", "--json"),
        "train": ("--out", "--others", "--bugs", "--stages", "--practise", "--cpu", "--isolation", "--seed"),
        "bench": ("--others", "--arm", "--executions", "--seconds", "--cpu", "--isolation", "--seed", "--json"),
    }.items():
        printed = expect_done(command, "--help")
        assert all(word in printed for word in words), command
        assert "HumanEvalPack or MBPP" in printed


def test_ctrl_c_leaves_what_was_done(tmp_path: Path) -> None:
    module(tmp_path, "a_quick", "def f(x):\n    return x * 3\n", "assert f(1) == 2\nassert f(3) == 6\n")
    impossible = "assert f(1) == 2\nassert f(1) == 3\n"
    module(tmp_path, "b_endless", "def f(x):\n    while x:\n        x = x + 1\n    return x\n", impossible)
    file = tmp_path / "came.json"
    words = [str(tmp_path), "--executions", "100000", "--seconds", "600", "--cpu", "2", "--json", str(file)]
    with subprocess.Popen(
        [sys.executable, "-m", "bondhu", "code", "run", *words], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert "a_quick" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "1 of 1 fixed" in out
    assert "Interrupted: 1 tasks were not tried." in out
    assert "Traceback" not in err
    came = json.loads(file.read_text(encoding="utf-8"))
    assert [(each["task"], each["fixed"]) for each in came["tasks"]] == [("a_quick", True)]
