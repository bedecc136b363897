"""Runs whose workers play and learn at their own pace: kept, judged and gone on with like others, but for exactness."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bondhu.errors import BondhuError, InvalidInput, UnknownName
from bondhu.runs import checkpoints, presets, results
from bondhu.runs.plan import Plan, stored
from bondhu.runs.planning import planned
from bondhu.runs.presets import Preset
from bondhu.runs.run import train
from bondhu.train.asynchronous import LIVES
from tests.runs.test_resume import at, expect_alike
from tests.runs.test_running import refusal, run

SMALL = {"hidden": [8], "rollout": 16}
POLE = Plan(
    "CartPole-v1",
    "deep.a3c",
    800,
    hyperparameters=SMALL,
    environments=2,
    phase=16,
    workers=2,
    record_every=100,
    evaluate_every=200,
    checkpoint_every=250,
    episodes=2,
)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_workers_are_recorded_evaluated_and_kept_as_one_loop_is(tmp_path: Path) -> None:
    done = train(POLE, tmp_path)
    assert (done.status, done.why) == ("finished", "all steps are done")
    assert 800 <= done.progress.steps < 832
    told = rows(tmp_path / "metrics.jsonl")
    stale = [row["staleness"] for row in told if "staleness" in row]
    assert max(stale) > 0
    assert all("worker" not in row for row in told)
    assert {"total_reward", "loss", "evaluation_return", "steps_per_second"} <= set().union(*told)
    judged = rows(tmp_path / "evaluations.jsonl")
    assert [line["step"] // 200 for line in judged if not line["explore"]] == [1, 2, 3, 4]
    assert len(checkpoints.found(tmp_path / "checkpoints")) == 2
    assert len(checkpoints.found(tmp_path / "best")) == 1
    assert results.read(tmp_path)["episodes"] == done.progress.episodes > 0
    assert (tmp_path / "progress.png").exists()


def test_a_run_of_workers_ends_early_is_stopped_and_goes_on_with_others(tmp_path: Path) -> None:
    assert "was asked for" in train(replace(POLE, until=1.0), tmp_path / "good").why
    first = train(POLE, tmp_path / "run", ask=at(7))
    assert (first.status, first.progress.phase) == ("stopped", 7)
    more = replace(stored(tmp_path / "run"), workers=3)
    assert train(more, tmp_path / "run", resume=True).progress.steps >= 800
    assert stored(tmp_path / "run").workers == 3
    one = replace(stored(tmp_path / "run"), workers=1, steps=1000)
    assert train(one, tmp_path / "run", resume=True).progress.steps >= 1000


def test_one_thread_is_the_plain_loop_and_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    plan = replace(POLE, workers=1)
    assert not plan.shared
    train(plan, tmp_path / "whole")
    train(plan, tmp_path / "broken", ask=at(7))
    train(stored(tmp_path / "broken"), tmp_path / "broken", resume=True)
    expect_alike(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize(
    ("change", "what", "fix", "field"),
    [
        ({"kind": "proceses"}, "No workers 'proceses'", "Did you mean 'processes'", "kind"),
        ({"learner": "deep.ppo", "hyperparameters": {}}, "deep.ppo has none to send", "deep.a3c", "workers"),
        ({"phase": 32}, "A phase has 32 steps, and workers of deep.a3c play 16", "rollout=32", "phase"),
        ({"curriculum": {"stages": [{"environment": "CartPole-v1"}]}}, "no curriculum", "one thread", "workers"),
        ({"workers": 0}, "'workers' got 0", "at least 1", "workers"),
    ],
)
def test_what_workers_cannot_do_is_one_error_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], what: str, fix: str, field: str
) -> None:
    with pytest.raises(InvalidInput, match=what) as raised:
        train(replace(POLE, **change), tmp_path / "run")
    assert fix in raised.value.fix
    assert raised.value.field == field
    assert list(tmp_path.iterdir()) == []


def test_ray_that_is_not_there_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bondhu.train.asynchronous.find_spec", lambda _: None)
    with pytest.raises(InvalidInput, match="Ray is not installed"):
        train(replace(POLE, kind="ray"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_workers_that_die_again_and_again_are_one_error_with_the_checkpoint_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        raise OSError("the socket is gone")

    train(POLE, tmp_path, ask=at(3))
    monkeypatch.setattr("bondhu.train.asynchronous.Worker.work", gone)
    with pytest.raises(BondhuError, match=f"{LIVES} workers died .* OSError: the socket is gone") as raised:
        train(stored(tmp_path), tmp_path, resume=True)
    assert f"bondhu run --resume {tmp_path}" in raised.value.fix


# ------------------------------------------------------------------------------------------------------ as it is typed


def test_workers_are_asked_for_on_the_command_line_and_in_presets(tmp_path: Path) -> None:
    words = ("CartPole-v1", "--learner", "deep.a3c", "--steps", 300, "--environments", 2, "--episodes", 2)
    done = run("run", *words, "--workers", 2, "--set", "rollout=8", "--folder", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "300 steps of 2 environments for each of 2 workers (threads)" in done.output
    plan = stored(tmp_path / "run" / "seed-0")
    assert (plan.workers, plan.kind, plan.phase) == (2, "threads", 8)  # a phase is a rollout
    own = tmp_path / "own.toml"
    own.write_text('[run]\nworkers = 3\nkind = "processes"\n')
    found = planned("CartPole-v1", "deep.a3c", presets.named(str(own), "deep.a3c"), {}, {})
    assert (found.workers, found.kind, found.phase) == (3, "processes", 16)
    for wrong, fix in (("workers = 1.5", "whole number"), ("kind = 2", "Write a text")):
        own.write_text(f"[run]\n{wrong}\n")
        with pytest.raises(InvalidInput, match=fix):
            presets.named(str(own), "deep.a3c")
    assert "none to send" in refusal("run", "CartPole-v1", "--workers", 2, "--folder", tmp_path / "no")
    assert "Did you mean 'ray'" in refusal("run", *words, "--kind", "rai", "--folder", tmp_path / "no")


def test_a_phase_that_was_asked_for_is_not_quietly_another() -> None:
    plan = planned("CartPole-v1", "deep.a3c", Preset("none"), {"workers": 2, "phase": 32}, {})
    assert plan.phase == 32  # and refused, since a rollout is 16
    with pytest.raises(UnknownName, match="No workers 'thread'"):
        train(replace(plan, kind="thread"), Path("nowhere"))


def children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    if not path.exists():
        pytest.skip("the children of a process are not known here")
    return [int(each) for each in path.read_text().split()]


def alive(process: int) -> bool:
    path = Path(f"/proc/{process}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_run_that_was_interrupted_or_killed(tmp_path: Path, how: signal.Signals) -> None:
    words = ("run", "CartPole-v1", "--learner", "deep.a3c", "--workers", "1", "--kind", "processes", "--steps", "1e7")
    process = subprocess.Popen(
        [sys.executable, "-m", "bondhu", *words, "--folder", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for _ in range(900):
        if (tmp_path / "run" / "seed-0" / "metrics.jsonl").exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    workers = children(process.pid)
    assert len(workers) >= 1
    os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)  # Ctrl-C goes to all of them
    out, err = process.communicate(timeout=60)
    assert process.returncode == (0 if how == signal.SIGINT else -how)
    assert how == signal.SIGKILL or "Traceback" not in err  # a child that was about to begin says that nobody is there
    assert ("bondhu run --resume" in out) == (how == signal.SIGINT)
    for _ in range(100):
        if not any(map(alive, workers)):
            break
        time.sleep(0.1)
    assert [each for each in workers if alive(each)] == []
