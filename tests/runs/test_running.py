"""`bondhu run`, `play`, `doctor RUN` and `sweep` as they are typed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from typer.testing import CliRunner

from bondhu.cli import app
from bondhu.cli.running import interruptible
from bondhu.errors import BondhuError, InvalidInput
from bondhu.runs import results, sweep
from bondhu.runs.plan import Plan, stored

LAKE = ("FrozenLake-v1", "--learner", "tabular.q_learning", "--option", "is_slippery=false", "--episodes", "2")


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def refusal(*words: Any) -> str:
    done = run(*words)
    assert isinstance(done.exception, BondhuError), done.output
    return str(done.exception)


def test_a_run_is_trained_gone_on_with_examined_and_played(tmp_path: Path) -> None:
    home = tmp_path / "lake"
    done = run("run", *LAKE, "--steps", "1_000", "--seed", "1,3", "--folder", home, "--set", "learning_rate=0.5")
    assert done.exit_code == 0, done.output
    assert "No preset for tabular.q_learning in FrozenLake-v1: defaults." in done.output
    assert "Interquartile mean of the last evaluations of 2 seeds" in done.output
    assert stored(home / "seed-3").hyperparameters["learning_rate"] == 0.5
    assert "holds a run already" in refusal("run", *LAKE, "--seed", "3", "--folder", home)
    assert "learning_rate 0.5, and this run has 0.1" in refusal("run", "--resume", home, "--set", "learning_rate=0.1")
    more = run("run", "--resume", home, "--steps", "2e3")
    assert more.exit_code == 0, more.output
    assert stored(home / "seed-1").steps == 2000
    assert results.read(home / "seed-1")["steps"] >= 2000
    played = run("play", home, "--episodes", "3")
    assert re.search(r"mean \S+, from \S+ to \S+", played.output)
    examined = run("doctor", home)
    assert examined.exit_code in {0, 1}, examined.output
    assert run("doctor", tmp_path).exit_code == 1


def test_what_a_run_that_goes_on_cannot_change_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "lake"
    assert run("run", *LAKE, "--steps", "100", "--folder", home).exit_code == 0
    for words in (("--seed", 3), ("--preset", "cartpole"), ("--no-preset",), ("--folder", tmp_path)):
        assert f"{words[0]} cannot be changed by --resume" in refusal("run", "--resume", home, *words)
    said = refusal("run", "--resume", home, "--learner", "tabular.sarsa")
    assert "begun with tabular.q_learning, not with tabular.sarsa" in said
    assert "Did you mean 'tensorboard'" in refusal("run", "--resume", home, "--track", "tensorbord")
    assert run("run", "--resume", home, "--learner", "tabular.q_learning", "--track", "jsonl").exit_code == 0


def test_two_seeds_are_trained_side_by_side(tmp_path: Path) -> None:
    done = run("run", *LAKE, "--steps", "300", "--seed", "0..1", "--jobs", "2", "--folder", tmp_path)
    assert done.exit_code == 0, done.output
    assert results.read(tmp_path)["last"]["seeds"] == 2


def test_an_interrupt_finishes_the_phase_and_says_how_to_go_on(tmp_path: Path) -> None:
    words = ["run", *LAKE, "--steps", "1e7", "--folder", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "bondhu", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(600):
        if (tmp_path / "run" / "seed-0" / "metrics.jsonl").exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"bondhu run --resume {tmp_path / 'run'}" in out
    assert len(list((tmp_path / "run" / "seed-0" / "checkpoints").iterdir())) >= 1


IMPORTING = """
import gc, signal, sys
from bondhu.cli.running import interruptible
gc.callbacks.append(lambda *_: signal.raise_signal(signal.SIGINT))
with interruptible():
    gc.collect()
print("went on")
"""


def test_an_interrupt_while_packages_are_imported_is_one_line() -> None:
    """As JAX's own callback has it, in which Python would ignore an exception."""
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted before anything began.\n")
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("learner", "more", "told"),
    [
        ("bandit.ucb1", (), 1),
        ("adaptive.windowed", ("--set", 'inner={name="bandit.ucb1"}', "--set", "window=100"), 1),
        ("adaptive.windowed", ("--set", 'inner={name="tabular.q_learning"}', "--set", "window=100"), 0),
        ("tabular.q_learning", (), 0),
    ],
)
def test_a_bandit_is_told_once_not_to_look_ahead(
    tmp_path: Path, learner: str, more: tuple[str, ...], told: int
) -> None:
    words = (
        "FrozenLake-v1",
        "--learner",
        learner,
        *more,
        "--steps",
        100,
        "--episodes",
        2,
        "--folder",
        tmp_path / "run",
    )
    done = run("run", *words)
    assert done.exit_code == 0, done.output
    assert (
        done.output.count("Warning: bandit.ucb1 learns what each action pays at once and does not look ahead") == told
    )


def begun(home: Path, *words: str) -> subprocess.Popen[str]:
    """Three long seeds, two at a time, and both under way."""
    words = ("run", *LAKE, "--steps", "1e7", "--seed", "0..2", "--jobs", "2", "--folder", str(home), *words)
    process = subprocess.Popen(
        [sys.executable, "-m", "bondhu", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(900):
        if len(list(home.glob("seed-*/metrics.jsonl"))) == 2 or process.poll() is not None:
            break
        time.sleep(0.1)
    return process


def test_a_polite_kill_stops_all_processes_and_no_other_seed_begins(tmp_path: Path) -> None:
    process = begun(tmp_path)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.count("since somebody asked it to stop") == 2
    assert sorted(each.parent.name for each in tmp_path.glob("seed-*/result.json")) == ["seed-0", "seed-1"]
    more = run("run", "--resume", tmp_path, "--steps", 100)  # the third one begins now
    assert more.exit_code == 0, more.output
    plans = [stored(tmp_path / f"seed-{seed}") for seed in range(3)]
    assert [replace(each, seed=0) for each in plans] == [plans[0]] * 3
    assert plans[2].seed == 2
    assert results.read(tmp_path / "seed-2")["status"] == "finished"
    assert results.read(tmp_path)["last"]["seeds"] == 3


def test_a_process_that_is_killed_is_one_error_with_its_folder(tmp_path: Path) -> None:
    process = begun(tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.terminate()
        process.communicate(timeout=60)
        pytest.skip("the children of a process are not known here")
    os.kill(max(map(int, children.read_text().split())), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    said = " ".join(err.split())
    assert re.search(r"was killed while it trained \S+seed-[01], perhaps for lack of memory", said), err
    assert "fewer --jobs" in said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("run",), "Which environment?"),
        (("run", "CartPole-v1", "--steps", "some"), "'some' is no number of steps"),
        (("run", "CartPole-v1", "--seed", "one"), "does not name seeds"),
        (("run", "CartPole-v1", "--set", "lerning_rate=1"), "Did you mean 'learning_rate'"),
        (("run", "CartPole-v1", "--set", "epochs=ten"), "not of type int"),
        (("run", "CartPole-v1", "--until", "nan"), "'until' got nan"),
        (("run", "CartPole-v1", "--set", "epochs"), "sets nothing"),
        (("run", "CartPole-v1", "--preset", "cartpol"), "Did you mean 'cartpole'"),
        (("run", "CartPole-v1", "--preset", "none.toml"), "There is no file"),
        (("run", "CartPole-v1", "--track", "mlfow"), "Did you mean 'mlflow'"),
        (("run", "CartPol-v1", "--steps", "10"), "Did you mean 'CartPole-v1'"),
        (("run", "CartPole-v1", "--learner", "deep.pop"), "Did you mean 'deep.ppo'"),
        (("run", "CartPole-v1", "--learner", "ppo"), "Did you mean 'deep.ppo'"),
        (("run", "CartPole-v1", "--learner", "deep.trpo"), "It must be one of 'deep.a2c', 'deep.a3c'"),
        (("run", "Foo-v1", "--learner", "tabular.sarsa"), "There is no environment 'Foo-v1'. It must be one of '"),
        (("run", "--resume", "nowhere"), "holds no run"),
        (("run", "Pendulum-v1", "--learner", "deep.dqn"), "one of finitely many actions"),
        (("play", "nowhere"), "holds no run"),
        (("doctor", "nowhere"), "is not the folder of a run"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert what in refusal(*words)
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------------- sweeps


@pytest.mark.skipif(find_spec("optuna") is None, reason="optuna is not installed")
def test_a_sweep_finds_goes_on_and_leaves_a_preset(tmp_path: Path) -> None:
    space, home = tmp_path / "space.toml", tmp_path / "sweep"
    space.write_text("[learning_rate]\nlow = 0.01\nhigh = 1.0\nlog = true\n[discount]\nchoices = [0.9, 0.99]\n")
    words = ("sweep", *LAKE, "--space", space, "--steps", 200, "--folder", home)
    done = run(*words, "--trials", 1)
    assert done.exit_code == 0, done.output
    assert "1 trial, 0 of them pruned" in done.output
    again = run(*words, "--trials", 2)
    assert "trial 1:" in again.output
    assert re.search(r'"discount": 0\.9', again.output)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for more in (("--set", "pessimism=0.5"), ("--option", "map_name=8x8"), ("--steps", 300), ("--episodes", 3)):
        assert "holds a sweep with" in refusal(*words, "--trials", 3, *more)
    other = tmp_path / "other.toml"
    other.write_text("[discount]\nchoices = [0.9, 0.99]\n")
    assert "holds a sweep with space" in refusal(*words, "--trials", 3, "--space", other)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    assert "trial 0:" not in again.output
    assert {path.name for path in (home / "trials").iterdir()} == {"0", "1"}
    best = tomllib.loads((home / "best.toml").read_text())
    assert 0.01 <= best["learner"]["learning_rate"] <= 1.0
    assert best["learner"]["discount"] in {0.9, 0.99}
    assert best["environment"] == {"is_slippery": False}
    assert (home / "trials.png").read_bytes().startswith(b"\x89PNG")
    used = run("run", *LAKE, "--preset", home / "best.toml", "--folder", tmp_path / "run")
    assert used.exit_code == 0, used.output
    assert stored(tmp_path / "run" / "seed-0").hyperparameters == best["learner"]


class Hopeless:
    """A trial that is to be pruned at its first look."""

    number, params = 0, MappingProxyType({})

    def __init__(self) -> None:
        self.user_attrs: dict[str, Any] = {}
        self.reported: list[tuple[float, int]] = []

    def set_user_attr(self, name: str, value: float) -> None:
        self.user_attrs[name] = value

    def report(self, value: float, step: int) -> None:
        self.reported.append((value, step))

    def should_prune(self) -> bool:
        return True


@pytest.mark.skipif(find_spec("optuna") is None, reason="optuna is not installed")
def test_a_hopeless_trial_ends_at_an_evaluation(tmp_path: Path) -> None:
    plan = Plan("FrozenLake-v1", "tabular.q_learning", 1000, environments=2, phase=20, evaluate_every=200, episodes=2)
    trial = Hopeless()
    (value, state), said = sweep._tried(trial, plan, {}, tmp_path, lambda _: "") or ((), "")
    assert (value, state.name) == (None, "PRUNED")
    assert len(trial.reported) == 1
    assert 200 <= trial.reported[0][1] < 400
    assert "pruned" in said


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[lerning_rate]\nlow = 1\nhigh = 2\n", "Did you mean 'learning_rate'"),
        ("learning_rate = 1\n", "is no range"),
        ("[learning_rate]\nlow = 1\nhigh = 1\n", "goes from 1 to 1"),
        ("[learning_rate]\nlow = 0.0\nhigh = 1.0\nlog = true\n", "cannot be logarithmic from 0.0"),
        ("[learning_rate]\nlow = 0.1\nhgh = 1.0\n", "Did you mean 'high'"),
        ("[", "is no space"),
    ],
)
def test_a_space_that_is_none_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as raised:
        sweep.space_in(path, "tabular.q_learning")
    assert what in str(raised.value)


def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sweep, "find_spec", lambda _: None)
    space = tmp_path / "space.toml"
    space.write_text("[learning_rate]\nlow = 0.1\nhigh = 1.0\n")
    assert "pip install 'bondhu[tracking]'" in refusal("sweep", *LAKE, "--space", space, "--folder", tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


def test_tables_are_written_as_they_are_read() -> None:
    values = {
        "rate": 1e-05,
        "hidden": [64, 64],
        "on": True,
        "kind": 'a "b"',
        "inner": {"name": "deep.ppo", "epochs": 3},
    }
    assert tomllib.loads(sweep.table("learner", values)) == {"learner": values}
    stages = {"stages": [{"environment": "A-v1", "options": {"size": 3}}, {"environment": "B-v1"}], "threshold": 0.7}
    assert tomllib.loads(sweep.table("curriculum", stages)) == {"curriculum": stages}
