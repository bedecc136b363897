"""Runs as files: what is recorded, evaluated, kept and drawn, when they end, and what stops them."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv
from rich.console import Console

from bondhu.envs.make import make
from bondhu.errors import BondhuError, InvalidInput, UnknownName
from bondhu.monitor import diagnosis
from bondhu.policies.uniform import Uniform
from bondhu.runs import evaluating, filming, presets, results, seeds
from bondhu.runs.display import Display
from bondhu.runs.evaluating import FirstEpisodes, evaluate
from bondhu.runs.plan import ABOUT, Plan, stored
from bondhu.runs.planning import count, planned, preset_for, settings
from bondhu.runs.playing import play
from bondhu.runs.progress import Progress
from bondhu.runs.run import train
from bondhu.train.simulate import Simulation

LAKE = Plan(
    "FrozenLake-v1",
    "tabular.q_learning",
    900,
    environments=4,
    phase=16,
    options={"is_slippery": False},
    episodes=3,
)


class Counted(gymnasium.Env[Any, Any]):
    """Pays 1 a step and ends after `length`; the second step of an episode shows what `show` says."""

    observation_space = Box(-1, 1, (2,), np.float64)
    action_space = Discrete(2)
    metadata = {"render_modes": []}  # noqa: RUF012  as Gymnasium has it

    def __init__(self, length: int = 5, show: float = 0.0, paid: float = 1.0) -> None:
        self.length, self.show, self.paid, self.steps = length, show, paid, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        seen = np.array([0.0, self.show if self.steps == 2 else 0.0])
        return seen, self.paid, self.steps >= self.length, False, {}


@pytest.fixture
def counted() -> Iterator[str]:
    gymnasium.register("Counted-v0", Counted)
    yield "Counted-v0"
    del gymnasium.registry["Counted-v0"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    console = Console(file=io.StringIO())
    seeds.every(LAKE, [1, 2], folder, console)
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --------------------------------------------------------------------------------------------------------- what is kept


def test_a_run_says_what_it_was_made_of(lake: Path) -> None:
    about = json.loads((lake / "seed-1" / ABOUT).read_text())
    assert (about["environment"], about["learner"], about["seed"], about["steps"]) == (
        "FrozenLake-v1",
        "tabular.q_learning",
        1,
        900,
    )
    assert about["options"] == {"is_slippery": False}
    assert about["hyperparameters"]["discount"] > 0
    assert about["packages"]["numpy"] == np.__version__
    assert about["provider"].startswith("gymnasium ")
    assert (about["actions"], about["episode_limit"]) == (4, 100)
    assert len(about["commit"]) == 40 or about["commit"] is None
    assert stored(lake / "seed-1") == replace(LAKE, seed=1, seeds=(1, 2), hyperparameters=about["hyperparameters"])


def test_evaluations_come_in_two_kinds_at_the_same_steps(lake: Path) -> None:
    found = lines(lake / "seed-1" / "evaluations.jsonl")
    for plain, exploring in zip(found[::2], found[1::2], strict=True):
        assert (plain["explore"], exploring["explore"]) == (False, True)
        assert plain["step"] == exploring["step"]
        assert len(plain["returns"]) == len(plain["lengths"]) == 3
        assert plain["mean"] == np.mean(plain["returns"])
    assert found[-1]["step"] == lines(lake / "seed-1" / "metrics.jsonl")[-1]["step"]


def test_recorded_figures_have_the_names_that_are_documented(lake: Path) -> None:
    rows = lines(lake / "seed-1" / "metrics.jsonl")
    assert {"total_reward", "avg_reward", "episode", "reward_density", "steps_per_second"} <= set().union(*rows)
    assert diagnosis.examine(diagnosis.read(lake)) is not None


def test_results_of_seeds_are_one_figure_with_its_interval(lake: Path) -> None:
    result = results.read(lake)
    each = [results.read(lake / name)["last"]["mean"] for name in ("seed-1", "seed-2")]
    assert result["last"]["iqm"] == np.mean(each)
    assert result["last"]["low"] <= result["last"]["iqm"] <= result["last"]["high"]
    assert result["seeds"]["seed-1"]["last"] == each[0]
    for folder in (lake, lake / "seed-1"):
        assert (folder / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert results.together([5.0]) == {"iqm": 5.0, "low": None, "high": None, "seeds": 1}
    assert results.together([None])["iqm"] is None


def test_what_was_trained_can_be_played(lake: Path) -> None:
    played = play(lake, episodes=4)
    best = max(results.read(lake / name)["best"]["mean"] for name in ("seed-1", "seed-2"))
    assert played.evaluation.returns.tolist() == [best] * 4  # nothing is left to chance on this lake
    assert played.film is None
    assert play(lake / "seed-2", episodes=1, last=True).checkpoint.parent.name == "checkpoints"


def test_a_film_shows_one_episode(lake: Path, tmp_path: Path) -> None:
    film = play(lake, video=True).film
    assert film is not None
    assert film.path.stat().st_size > 1000
    assert film.path.suffix in {".mp4", ".gif"}
    assert film.frames >= 2
    assert os.environ["SDL_VIDEODRIVER"]  # a film needs no screen


def test_what_draws_nothing_is_refused_before_the_run(counted: str, tmp_path: Path) -> None:
    for name in (counted, "envpool:CartPole-v1"):
        with pytest.raises(InvalidInput, match="draws nothing"):
            filming.check(name, {})
    with pytest.raises(InvalidInput, match="draws nothing"):
        train(replace(LAKE, environment=counted, options={}, learner="deep.ppo", video=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_seeds_that_had_not_begun_begin_when_the_others_go_on(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    train(replace(LAKE, seed=2, seeds=(1, 2, 3)), tmp_path / "seed-2")  # the others are killed before they begin
    done = seeds.resumed(tmp_path, lambda plan: replace(plan, patience=90), console)
    assert [each.folder.name for each in done] == ["seed-2", "seed-1", "seed-3"]
    assert [stored(each.folder).patience for each in done] == [90] * 3
    assert results.read(tmp_path)["last"]["seeds"] == 3
    alone = seeds.resumed(tmp_path / "seed-3", lambda plan: plan, console)  # one seed's own folder is that seed
    assert [each.folder.name for each in alone] == ["seed-3"]


# ---------------------------------------------------------------------------------------------------------- evaluations


def test_an_evaluation_plays_one_whole_episode_in_each_environment() -> None:
    lengths = (3, 120, 7)
    env = FirstEpisodes(SyncVectorEnv([lambda length=length: Counted(length) for length in lengths]))
    found = evaluate(Uniform(), Simulation(env), np.random.default_rng(0))
    assert found.lengths.tolist() == list(lengths)  # not the short ones more often
    assert found.returns.tolist() == [3.0, 120.0, 7.0]
    env.close()


def test_evaluations_begin_alike() -> None:
    env = FirstEpisodes(make("FrozenLake-v1", 5))
    simulation = Simulation(env)
    first, second = (evaluate(Uniform(), simulation, np.random.default_rng(1)) for _ in range(2))
    assert (first.returns == second.returns).all()
    assert (first.lengths == second.lengths).all()
    env.close()


def test_an_evaluation_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        evaluating.append(tmp_path, {"step": step})
    with (tmp_path / evaluating.EVALUATIONS).open("a") as file:
        file.write('{"step": 4, "ret')
    assert [line["step"] for line in evaluating.lines(tmp_path)] == [1, 2, 3]
    evaluating.cut(tmp_path, 2)
    assert [line["step"] for line in evaluating.lines(tmp_path)] == [1, 2]


# --------------------------------------------------------------------------------------------------------- when it ends


def test_a_run_ends_when_it_is_good_enough(tmp_path: Path) -> None:
    done = train(replace(LAKE, until=-1.0, evaluate_every=200), tmp_path)
    assert done.progress.steps < 300
    assert "was asked for" in done.why


def test_a_run_ends_when_it_gets_no_better(tmp_path: Path) -> None:
    done = train(replace(LAKE, patience=2, evaluate_every=50), tmp_path)  # never better than its first evaluation
    assert (done.status, done.progress.misses, done.progress.steps < 900) == ("finished", 2, True)
    assert "no better" in done.why


def test_progress_counts_evaluations_since_the_best() -> None:
    progress = Progress(steps=10)
    for mean in (1.0, 3.0, 3.0, float("nan"), 2.0):
        progress = progress.judged(mean)
    assert (progress.best, progress.misses, progress.last, progress.evaluated) == (3.0, 3, 2.0, 5)


@pytest.mark.parametrize(("given", "field"), [({"show": np.nan}, "observation[1]"), ({"paid": np.inf}, "reward")])
def test_what_is_no_number_is_named_with_its_step_and_the_checkpoint_that_is_left(
    tmp_path: Path, counted: str, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], field: str
) -> None:
    options, small = {"length": 5}, {"capacity": 500, "learning_starts": 10_000}
    plan = replace(LAKE, environment=counted, options=options, learner="deep.dqn", hyperparameters=small)
    began, good = Counted.reset, [60]  # episodes

    def reset(self: Counted, **arguments: Any) -> Any:
        good[0] -= 1
        if good[0] < 0:
            vars(self).update(given)
        return began(self, **arguments)

    monkeypatch.setattr(Counted, "reset", reset)
    with pytest.raises(InvalidInput, match=r"of environment \d is (nan|inf) after step \d+") as raised:
        train(replace(plan, evaluate_every=10_000, checkpoint_every=100), tmp_path)
    assert raised.value.field == field
    assert re.search(r"since the environments began anew; it was after step \d+ of the run", raised.value.what)
    left = max((tmp_path / "checkpoints").iterdir(), key=lambda path: int(path.name))
    assert f"The last checkpoint is {left}" in raised.value.fix


@pytest.mark.parametrize("part", ["step", "reset"])
def test_what_an_environment_raises_is_one_error_with_its_cause(
    tmp_path: Path, counted: str, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    small = {"capacity": 500, "learning_starts": 10_000}
    plan = replace(LAKE, environment=counted, options={"length": 5}, learner="deep.dqn", hyperparameters=small)
    works, good = getattr(Counted, part), [100]

    def breaks(self: Counted, *given: Any, **named: Any) -> Any:
        good[0] -= 1
        if good[0] < 0:
            raise RuntimeError("the arm is off")
        return works(self, *given, **named)

    monkeypatch.setattr(Counted, part, breaks)
    with pytest.raises(BondhuError, match=r"Counted-v0 failed: RuntimeError: the arm is off\.") as raised:
        train(replace(plan, evaluate_every=10_000, checkpoint_every=50), tmp_path)
    assert f"bondhu run --resume {tmp_path}" in raised.value.fix
    assert isinstance(raised.value.__cause__, BondhuError)
    assert isinstance(raised.value.__cause__.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"learner": "deep.dqn", "environment": "Pendulum-v1", "options": {}}, "deep.dqn chooses one of finitely many"),
        ({"learner": "deep.pqo"}, "No learner 'deep.pqo'"),
        ({"environment": "FrozenLke-v1"}, "There is no environment"),
        ({"hyperparameters": {"lerning_rate": 1.0}}, "has no 'lerning_rate'"),
        ({"track": ("jsnl",)}, "No tracker 'jsnl'"),
        ({"options": {"slippery": True}}, "does not take these options"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    with pytest.raises(InvalidInput, match=what):
        train(replace(LAKE, **change), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------------- what is asked


def test_seeds_are_read_as_people_write_them() -> None:
    assert [seeds.numbers(text) for text in ("3", "1..5", "1,4,7", "0..1,9")] == [
        [3],
        [1, 2, 3, 4, 5],
        [1, 4, 7],
        [0, 1, 9],
    ]
    for text in ("", "1..", "a", "5..1", "-1", "1,1", "0..100000", "1.5"):
        with pytest.raises(InvalidInput, match="name"):
            seeds.numbers(text)


def test_steps_are_read_as_people_write_them() -> None:
    assert [count(text) for text in ("1e6", "1_000_000", "1000000", "2.5e3")] == [1_000_000] * 3 + [2500]
    for text in ("", "1.5", "0", "-1e3", "inf", "nan", "many"):
        with pytest.raises(InvalidInput, match="no number of steps"):
            count(text)


def test_settings_have_the_type_that_is_written() -> None:
    given = settings(["a=1e-3", "b=[64, 64]", "c=true", "d=relu", "e = 3"])
    assert given == {"a": 0.001, "b": [64, 64], "c": True, "d": "relu", "e": 3}
    with pytest.raises(InvalidInput, match="sets nothing"):
        settings(["learning_rate"])


def test_a_preset_that_fits_is_found_and_wishes_come_first() -> None:
    preset, said = preset_for("CartPole-v1", "deep.ppo", None)
    assert said == "Preset cartpole."
    plan = planned("CartPole-v1", "deep.ppo", preset, {"steps": 5000, "phase": None, "environments": 2}, {"epochs": 3})
    assert (plan.steps, plan.phase, plan.environments) == (5000, 32, 2)
    given = plan.hyperparameters
    assert (given["anneal_steps"], given["epochs"], given["learning_rate"]) == (5000, 3, 1e-3)
    none, said = preset_for("Nowhere-v1", "deep.ppo", None)
    assert (none.run, said) == ({}, "No preset for deep.ppo in Nowhere-v1: defaults.")
    assert preset_for("CartPole-v1", "deep.ppo", None, none=True)[0].learner == {}


def test_every_preset_is_taken_by_its_learner() -> None:
    assert "cartpole" in presets.names()
    for name in presets.names():
        text = presets._parsed(Path(presets.__file__).with_name(f"{name}.toml").read_text(), name)
        assert text["match"]
        for learner in presets._learners(text):
            plan = planned("CartPole-v1", learner, presets.named(name, learner), {"steps": 1000}, {})
            assert plan.steps == 1000


def test_a_preset_of_ones_own_needs_no_names(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[run]\nphase = 4\n[learner]\nlearning_rate = 0.5\n")
    preset = presets.named(str(own), "tabular.q_learning")
    assert (preset.run, preset.learner) == ({"phase": 4}, {"learning_rate": 0.5})
    own.write_text("[run]\nphse = 4\n")
    with pytest.raises(InvalidInput, match="Did you mean 'phase'"):
        presets.named(str(own), "tabular.q_learning")
    for wrong in ('phase = "4"', "steps = 1e5", "episodes = true", 'until = "high"'):
        own.write_text(f"[run]\n{wrong}\n")
        with pytest.raises(InvalidInput, match=f"has {wrong.partition(' ')[0]} = "):
            presets.named(str(own), "tabular.q_learning")
    own.write_text("[run\n")
    with pytest.raises(InvalidInput, match=r"is not TOML: .* Write tables such as \[run\]"):
        presets.named(str(own), "tabular.q_learning")
    with pytest.raises(UnknownName, match="Did you mean 'cartpole'"):
        presets.named("cartpol", "deep.ppo")
    with pytest.raises(InvalidInput, match=r"says nothing of tabular\.sarsa"):
        presets.named("cartpole", "tabular.sarsa")


def test_a_run_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no run"):
        play(tmp_path)
    with pytest.raises(InvalidInput, match="holds no run"):
        seeds.resumed(tmp_path, lambda plan: plan, Console(file=io.StringIO()))
    (tmp_path / ABOUT).write_text("{")
    with pytest.raises(InvalidInput, match="cannot be read"):
        stored(tmp_path)


def test_the_display_says_how_far_and_how_long() -> None:
    now, said = [0.0], io.StringIO()
    display = Display(Console(file=said, width=200), "seed-1", lines=True, clock=lambda: now[0])
    display.begin({"steps": 1000})
    now[0] = 10.0
    display.record({"total_reward": 11.0, "steps_per_second": 1.0}, 200)  # it compiled
    now[0] = 20.0
    display.record({"total_reward": 12.5, "steps_per_second": 10.0, "kl": 0.00123456}, 400)
    display.record({"total_reward": 13.0}, 1024)  # too early to be shown
    display.end()
    begun, first, last = said.getvalue().splitlines()
    assert begun == "seed-1: 200 of 1,000 steps · return 11"
    assert first == "seed-1: 400 of 1,000 steps · return 12.5 · steps/s 10 · KL 0.001235 · ETA 0:01:00"
    assert last == "seed-1: 1,000 of 1,000 steps · return 13 · steps/s 10 · KL 0.001235"


def test_the_display_renews_itself_at_a_terminal() -> None:
    said = io.StringIO()
    display = Display(Console(file=said, width=100, force_terminal=True), "seed-1", lines=False)
    display.begin({"steps": 10})
    display.record({"loss": 0.25}, 5)
    display.end()
    assert "loss" in said.getvalue()
    assert "0.25" in said.getvalue()
