"""A run that was interrupted ends with the same numbers as one that was not: to the last bit, but for times."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.errors import InvalidInput, StateCorrupt, StoreFull
from bondhu.runs import checkpoints
from bondhu.runs.loop import BEST, CHECKPOINTS
from bondhu.runs.plan import Plan, plain, stored
from bondhu.runs.progress import Progress
from bondhu.runs.run import train

LAKE = Plan(
    "FrozenLake-v1",
    "tabular.q_learning",
    390,
    seed=3,
    environments=4,
    phase=16,
    record_every=60,
    evaluate_every=130,
    checkpoint_every=120,
    episodes=4,
)
SMALL = {"hidden": [16], "minibatch": 32, "epochs": 2}
POLE = replace(LAKE, environment="CartPole-v1", learner="deep.ppo", hyperparameters=SMALL)
REMEMBERING = {"hidden": [16], "minibatch": 16, "capacity": 300, "learning_starts": 20}
KILLED = """
import json, os, signal, sys
from pathlib import Path
from bondhu.runs.plan import Plan
from bondhu.runs.run import train
plan = json.loads(sys.argv[1])
def ask(progress):
    if progress.phase == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return ""
train(Plan(**{**plan, "track": ("jsonl",)}), Path(sys.argv[2]), ask=ask)
"""


def metrics(folder: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{key: row[key] for key in row if key not in {"time", "steps_per_second"}} for row in rows]


def state(folder: Path) -> dict[str, Any]:
    version = checkpoints.load(checkpoints.found(folder)[-1])
    return {**version.state, "id": np.array(int(version.id)), "progress": np.array(str(version.notes["progress"]))}


def expect_alike(one: Path, other: Path) -> None:
    for part in (CHECKPOINTS, BEST):
        first, second = state(one / part), state(other / part)
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name, strict=True)
    assert metrics(one) == metrics(other)
    assert metrics(one, "evaluations.jsonl") == metrics(other, "evaluations.jsonl")


def at(phase: int) -> Any:
    return lambda progress: "somebody asked" if progress.phase == phase else ""


def test_a_killed_process_is_gone_on_with_from_its_last_checkpoint(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(POLE, whole).progress.phase == 7
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(plain(POLE)), str(broken)], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = checkpoints.load(checkpoints.found(broken / CHECKPOINTS)[-1])
    assert 0 < left.notes["progress"]["phase"] < 5  # some phases must be done again
    assert metrics(broken)[-1]["step"] > int(left.id)  # and what they recorded is told once
    train(stored(broken), broken, resume=True)
    expect_alike(whole, broken)


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_a_run_that_is_stopped_between_checkpoints_does_the_actions_since_again(tmp_path: Path, stop: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(LAKE, whole)
    first = train(LAKE, broken, ask=at(stop))
    assert (first.status, first.progress.phase) == ("stopped", stop)
    assert train(stored(broken), broken, resume=True).status == "finished"
    expect_alike(whole, broken)


@pytest.mark.parametrize(("stop", "stages"), [(2, (0, 0)), (5, (0, 1)), (9, (1, 1)), (14, (1, 2))])
def test_a_curriculum_that_is_stopped_between_checkpoints_does_the_actions_since_again(
    tmp_path: Path, stop: int, stages: tuple[int, int]
) -> None:
    lakes = [{"environment": "FrozenLake-v1", "options": {"is_slippery": slips}} for slips in (False, True, False)]
    course = {"stages": lakes, "threshold": 0.0, "episodes": 30, "kept": 0.4}
    plan = replace(LAKE, steps=900, checkpoint_every=300, curriculum=course)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(plan, whole).progress.stage == 2
    first = train(plan, broken, ask=at(stop))
    assert (first.progress.stage_then, first.progress.stage) == stages  # at the last checkpoint, and now
    assert train(stored(broken), broken, resume=True).status == "finished"
    expect_alike(whole, broken)


def test_a_learner_that_remembers_rows_goes_on_with_its_memory(tmp_path: Path) -> None:
    plan = replace(POLE, learner="deep.dqn", hyperparameters=REMEMBERING)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(plan, whole)
    train(plan, broken, ask=at(4))
    train(stored(broken), broken, resume=True)
    expect_alike(whole, broken)


def test_a_run_without_a_checkpoint_begins_again(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(LAKE, whole)
    with pytest.raises(RuntimeError, match="a bug"):
        train(LAKE, broken, ask=fails)
    train(stored(broken), broken, resume=True)
    expect_alike(whole, broken)


def test_a_finished_run_goes_on_to_more_steps(tmp_path: Path) -> None:
    done = train(LAKE, tmp_path)
    longer = train(replace(stored(tmp_path), steps=600), tmp_path, resume=True)
    assert done.progress.steps < 600 <= longer.progress.steps
    steps = [row["step"] for row in metrics(tmp_path)]
    assert steps == sorted(steps)


def test_an_extended_run_that_is_killed_goes_on_to_its_new_end(tmp_path: Path) -> None:
    train(LAKE, tmp_path)

    def killed(progress: Progress) -> str:
        if progress.steps >= 700:
            raise KeyboardInterrupt
        return ""

    with pytest.raises(KeyboardInterrupt):
        train(replace(stored(tmp_path), steps=1000, patience=90), tmp_path, resume=True, ask=killed)
    assert (stored(tmp_path).steps, stored(tmp_path).patience, stored(tmp_path).evaluate_every) == (1000, 90, 130)
    assert train(stored(tmp_path), tmp_path, resume=True).progress.steps >= 1000


def test_more_steps_do_not_make_evaluations_rarer(tmp_path: Path) -> None:
    train(replace(LAKE, evaluate_every=0, record_every=0), tmp_path, ask=at(3))  # 390 / 20 steps between evaluations
    train(replace(stored(tmp_path), steps=800), tmp_path, resume=True, ask=at(4))
    assert (stored(tmp_path).evaluate_every, stored(tmp_path).record_every) == (19, 1)
    assert stored(tmp_path).checkpoint_every == 120


def fails(_: object) -> str:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("stored_something", [True, False])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"learner": "tabular.sarsa"}, "learner"),
        ({"hyperparameters": {"learning_rate": 0.5}}, "hyperparameters.learning_rate"),
        ({"environment": "FrozenLake8x8-v1"}, "environment"),
        ({"options": {"is_slippery": False}}, "environment's options"),
        ({"seed": 4}, "seed"),
        ({"phase": 8}, "phase"),
    ],
)
def test_another_run_is_not_gone_on_with(
    tmp_path: Path, change: dict[str, Any], field: str, *, stored_something: bool
) -> None:
    if stored_something:
        train(LAKE, tmp_path, ask=at(2))
    else:
        with pytest.raises(RuntimeError):
            train(LAKE, tmp_path, ask=fails)
    assert (tmp_path / CHECKPOINTS).exists() == stored_something
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InvalidInput, match="was written with") as raised:
        train(replace(LAKE, **change), tmp_path, resume=True)
    assert raised.value.field == field
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_version_of_the_environments_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(LAKE, tmp_path, ask=at(2))
    monkeypatch.setattr("bondhu.runs.about.provider", lambda _: "gymnasium 99.0")
    with pytest.raises(InvalidInput, match=r"package gymnasium 1\.\S+, and this run has gymnasium 99\.0"):
        train(stored(tmp_path), tmp_path, resume=True)


def test_a_folder_that_holds_a_run_is_not_begun_in(tmp_path: Path) -> None:
    train(LAKE, tmp_path, ask=at(1))
    with pytest.raises(InvalidInput, match="holds a run already") as raised:
        train(LAKE, tmp_path)
    assert "--resume" in raised.value.fix


# ---------------------------------------------------------------------------------------------------------- checkpoints


def test_a_full_disk_keeps_the_last_checkpoint_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(LAKE, evaluate_every=10_000)
    written: list[Path] = []
    write = checkpoints.write

    def fills(version: Any, folder: Path) -> None:
        write(version, folder)
        written.append(folder)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write", fills)
    with pytest.raises(StoreFull) as raised:
        train(plan, tmp_path / "broken")
    monkeypatch.undo()
    (left,) = (tmp_path / "broken" / CHECKPOINTS).iterdir()
    assert f"The last checkpoint is {left}" in raised.value.fix
    train(stored(tmp_path / "broken"), tmp_path / "broken", resume=True)
    train(plan, tmp_path / "whole")
    expect_alike(tmp_path / "whole", tmp_path / "broken")


def test_what_was_half_written_is_never_read_and_the_newest_two_are_kept(tmp_path: Path) -> None:
    train(LAKE, tmp_path, ask=at(6))
    folder = tmp_path / CHECKPOINTS
    older, newer = checkpoints.found(folder)
    (folder / checkpoints.UNFINISHED).mkdir()
    (folder / checkpoints.UNFINISHED / "header.json").write_text("{")
    assert checkpoints.newest(folder) == newer
    (newer / "header.json").write_text("{}")
    with pytest.raises(StateCorrupt, match=f"Delete {newer} to go on from {older}"):
        train(stored(tmp_path), tmp_path, resume=True)
