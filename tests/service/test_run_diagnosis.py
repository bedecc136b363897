"""Hand-made runs, each sick in one known way: its trouble is named with its figures and its fix; health is silent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.errors import InvalidInput
from bondhu.monitor.diagnosis import examine, is_run, read

N = 60  # records of a run
STEPS = 60_000
TIME = np.linspace(0, 1, N)  # how much of the run is over
RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal(N)
HYPER = {
    "learning_rate": 3e-4,
    "discount": 0.99,
    "entropy_bonus": 0.0,
    "gradient_limit": 0.5,
    "kl_limit": 0.0,
    "epochs": 10,
}
ABOUT = {"environment": "CartPole-v1", "learner": "deep.ppo", "hyperparameters": HYPER, "steps": STEPS, "seed": 1}
Curve = Any  # [N] numbers, None where there is none


def healthy() -> dict[str, Curve]:
    """PPO on CartPole-v1, solved after a quarter of the run."""
    reached = np.clip(TIME * 4, 0, 1)
    return {
        "total_reward": 20 + 480 * reached - np.abs(NOISE) * 12,
        "reward_signal": np.ones(N),
        "entropy": 0.69 - 0.62 * TIME,
        "kl": 0.008 + 0.004 * np.abs(NOISE),
        "explained_variance": np.where(TIME < 0.1, -0.2, 0.9) + 0.02 * NOISE,
        "value_estimation": 5 + 60 * reached + NOISE,
        "loss": 40 + 200 * reached + 5 * NOISE,
        "gradient_norm": 2 + np.abs(NOISE),
    }


def written(
    folder: Path,
    curves: Mapping[str, Curve],
    about: Mapping[str, Any] = ABOUT,
    evaluations: Sequence[tuple[Sequence[float], Sequence[float]]] = (),
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(about))
    told = {name: [None if value is None else float(value) for value in curve] for name, curve in curves.items()}
    steps = [int((row + 1) * STEPS / N) for row in range(max(map(len, told.values()), default=0))]
    rows = [{"step": step, "time": 0.0, **{name: told[name][row] for name in told}} for row, step in enumerate(steps)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    played = [
        {"step": int((number + 1) * STEPS / len(evaluations)), "returns": list(returns), "lengths": list(lengths)}
        for number, (returns, lengths) in enumerate(evaluations)
    ]
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in played))
    return folder


def cases(folder: Path) -> list[str]:
    return [finding.case for finding in examine(read(folder))]


def hyper(**changed: Any) -> dict[str, Any]:
    return {**ABOUT, "hyperparameters": {**HYPER, **changed}}


# -------------------------------------------------------------------------------------------------------------- health


def off_policy() -> dict[str, Curve]:
    """SAC on Pendulum-v1: an entropy of a density below 0, values and returns below 0, no KL."""
    reached = np.clip(TIME * 5, 0, 1)
    return {
        "total_reward": -1300 + 1140 * reached + 40 * NOISE,
        "reward_signal": -6 + 5 * reached,
        "entropy": 0.6 - 1.6 * reached,
        "value_estimation": -10 - 90 * np.sin(3 * TIME) + NOISE,
        "loss": 1 + 30 * TIME + 0.1 * NOISE,
        "td_error": 1 + np.abs(NOISE),
        "gradient_norm": 20 + NOISE,  # far above the limit, and it learns
    }


def deterministic_at_the_end() -> dict[str, Curve]:
    """Solved early and sure of itself: no entropy is left, and none is needed."""
    return {**healthy(), "entropy": 0.69 * np.exp(-20 * TIME)}


def large_returns() -> dict[str, Curve]:
    """PPO on HalfCheetah: the loss grows ten thousand times, as returns do, and settles."""
    reached = np.clip(TIME * 1.5, 0, 1)
    return {
        **healthy(),
        "total_reward": -200 + 6000 * reached + 50 * NOISE,
        "loss": 0.1 + 3000 * np.clip(TIME * 4, 0, 1),
    }


def late() -> dict[str, Curve]:
    """Nothing for half of the run, then the goal is found: an exploration that worked."""
    return {**healthy(), "total_reward": np.where(TIME < 0.5, 0.0, np.minimum((TIME - 0.5) * 3, 0.95))}


def nothing_to_explain() -> dict[str, Curve]:
    """Solved, and as good from everywhere: what is left of the variance of returns is chance."""
    return {**healthy(), "explained_variance": -0.008 + 0.01 * NOISE}


def without_warm_up() -> dict[str, Curve]:
    """A loss that is not there before learning starts, and a variance that is nothing where returns are the same."""
    loss = [None] * 8 + [1.0] * (N - 8)
    return {**off_policy(), "loss": loss, "explained_variance": [None] * N}


@pytest.mark.parametrize(
    "curves", [healthy, off_policy, deterministic_at_the_end, large_returns, late, nothing_to_explain, without_warm_up]
)
def test_a_healthy_run_has_no_findings(curves: Callable[[], dict[str, Curve]], tmp_path: Path) -> None:
    played = [([reward] * 5, [reward] * 5) for reward in (30.0, 200.0, 500.0, 500.0)]
    assert cases(written(tmp_path, curves(), evaluations=played)) == []


def test_a_run_that_was_good_from_the_start_has_no_findings(tmp_path: Path) -> None:
    curves = {**healthy(), "total_reward": np.full(N, 500.0)}
    played = [([500.0] * 5, [500.0] * 5)] * 4
    about = {**hyper(), "reward_threshold": 475.0, "episode_limit": 500}
    assert cases(written(tmp_path, curves, about, played)) == []


@pytest.mark.parametrize("records", [0, 1, 3, 12])
def test_a_run_that_has_just_begun_is_too_short_to_judge(records: int, tmp_path: Path) -> None:
    curves = {name: curve[:records] for name, curve in healthy().items()}
    assert cases(written(tmp_path, curves)) == ([] if records == 12 else ["too short to judge"])


# -------------------------------------------------------------------------------------------------------------- sick


def flat(level: float = 25.0) -> Curve:
    return level + NOISE


SICK: Mapping[str, tuple[dict[str, Curve], str, str]] = {  # curves, evidence, hyper-parameter of a fix
    "loss is not a number": (
        {"loss": [1.0] * 50 + [None] * 10, "total_reward": flat()},
        "loss is not a number since step 51,000.",
        "learning_rate (now 0.0003)",
    ),
    "loss diverging": (
        {"value_estimation": 10 ** (6 * TIME), "total_reward": flat()},
        "value_estimation is 1e+06; no return seen was worth more than 27.",
        "learning_rate",
    ),
    "exploding KL": (
        {**healthy(), "kl": np.where(np.arange(N) % 3 == 0, 0.5, 0.01)},
        "kl was above 0.1 in 33% of the updates, at most 0.5.",
        "kl_limit = 0.02 (now 0.0)",
    ),
    "entropy collapse": (
        {**healthy(), "entropy": 0.69 * np.exp(-60 * TIME), "total_reward": flat()},
        "entropy fell from",
        "entropy_bonus = 0.01 or more (now 0.0)",
    ),
    "dead value function": (
        {**healthy(), "explained_variance": -0.1 - np.abs(NOISE), "total_reward": flat()},
        "explained_variance was 0 or less in 100% of the updates.",
        "normalise_rewards = true",
    ),
    "learning rate too large": (
        {"gradient_norm": 50 + NOISE, "total_reward": flat()},
        "where it is limited to 0.5, while the return went from",
        "learning_rate (now 0.0003)",
    ),
    "reward too sparse": (
        {"total_reward": np.zeros(N), "reward_signal": np.zeros(N), "entropy": np.full(N, 1.9)},
        "100% of the records show the same return, 0, the least of all; reward_signal is 0.",
        "intrinsic motivation",
    ),
    "no learning": (
        {"total_reward": flat(), "reward_signal": np.ones(N), "entropy": np.full(N, 0.69)},
        "The return was 2",
        "learning_rate",
    ),
}


@pytest.mark.parametrize("case", SICK)
def test_a_sick_run_is_named_with_its_figures_and_its_fix(case: str, tmp_path: Path) -> None:
    curves, evidence, fix = SICK[case]
    (finding,) = examine(read(written(tmp_path, curves, hyper() | {"reward_threshold": 475.0})))
    assert finding.case == case
    assert evidence in finding.evidence
    assert any(fix in each for each in finding.fixes)


def test_a_penalty_a_step_that_never_ends_is_too_sparse_as_well(tmp_path: Path) -> None:
    curves = {"total_reward": np.full(N, -200.0), "reward_signal": np.full(N, -1.0)}  # MountainCar-v0, untouched
    curves["explained_variance"] = np.full(N, -0.001)  # of which the values are not to blame
    played = [([-200.0] * 5, [200.0] * 5)] * 4
    assert cases(written(tmp_path, curves, evaluations=played)) == ["reward too sparse"]


def test_a_goal_that_exploration_finds_is_not_too_sparse(tmp_path: Path) -> None:
    curves = {"total_reward": np.where(np.arange(N) % 4 == 0, 0.1, 0.0)}
    played = [([0.0] * 5, [100.0] * 5)] * 4  # without exploration it is never reached
    assert "reward too sparse" not in cases(written(tmp_path, curves, evaluations=played))


def test_values_that_are_the_same_everywhere_are_dead(tmp_path: Path) -> None:
    curves = {**healthy(), "value_estimation": np.full(N, 3.0)}
    (finding,) = examine(read(written(tmp_path, curves)))
    assert finding.case == "dead value function"
    assert "value_estimation stays at 3 while returns vary" in finding.evidence


def test_values_in_another_unit_are_not_diverging(tmp_path: Path) -> None:
    curves = {**healthy(), "value_estimation": 1e6 + NOISE * 1e5}
    assert cases(written(tmp_path, curves)) == ["loss diverging"]
    assert cases(written(tmp_path, curves, hyper(normalise_rewards=True))) == []


def test_a_loss_that_still_grows_is_diverging(tmp_path: Path) -> None:
    curves = {**healthy(), "loss": 10 ** (12 * TIME - 2)}
    (finding,) = examine(read(written(tmp_path, curves)))
    assert finding.evidence == "loss grew from 0.01 to 1e+10, and still grows."


def test_the_deviation_of_a_gaussian_that_vanishes_is_entropy_collapse(tmp_path: Path) -> None:
    fallen = np.maximum(1.42 - 30 * TIME, -4.0)  # σ from 1 to 0.004
    curves = {**off_policy(), "gradient_norm": np.ones(N), "entropy": fallen, "total_reward": flat(-1300)}
    assert cases(written(tmp_path, curves)) == ["entropy collapse"]
    halved = np.maximum(1.42 - 30 * TIME, 0.0) - 0.01  # σ from 1 to 0.24, as healthy runs do
    assert cases(written(tmp_path, {**curves, "entropy": halved})) == ["no learning"]


def test_a_policy_that_was_sure_from_the_start_is_entropy_collapse(tmp_path: Path) -> None:
    curves = {"entropy": np.zeros(N), "total_reward": flat()}
    (finding,) = examine(read(written(tmp_path, curves, hyper() | {"actions": 2})))
    assert finding.case == "entropy collapse"
    assert "entropy is 0 nats from the first record on, of 0.693 that 2 actions allow" in finding.evidence


def test_a_single_update_by_more_than_one_nat_is_exploding(tmp_path: Path) -> None:
    kl = np.full(N, 0.01)
    kl[30] = 1.5
    assert cases(written(tmp_path, {**healthy(), "kl": kl})) == ["exploding KL"]
    kl[30] = 0.9
    assert cases(written(tmp_path, {**healthy(), "kl": kl})) == []


def test_evaluations_that_lose_what_they_had_gained_fell_back(tmp_path: Path) -> None:
    played = [([reward] * 5, [reward] * 5) for reward in (20.0, 200.0, 400.0, 390.0, 100.0)]
    (finding,) = examine(read(written(tmp_path, healthy(), evaluations=played)))
    assert finding.case == "fell back"
    assert finding.evidence == "Evaluations rose from 20 to 400 at step 36,000, and are 100 in the end."
    kept = [*played[:-1], ([250.0] * 5, [250.0] * 5)]
    assert cases(written(tmp_path, healthy(), evaluations=kept)) == []


def test_what_is_set_already_is_not_advised(tmp_path: Path) -> None:
    curves = {"entropy": 0.69 * np.exp(-60 * TIME), "total_reward": flat()}
    (finding,) = examine(read(written(tmp_path, curves, hyper(entropy_bonus=0.05, normalise_rewards=True))))
    assert [fix.partition(":")[0] for fix in finding.fixes] == ["Change the policy more slowly"]


# ---------------------------------------------------------------------------------------------------------- conditions


def seen(mean: Sequence[float], deviation: Sequence[float], high: float = 1e4, **more: Any) -> dict[str, Any]:
    about = {"low": [0.0] * len(mean), "high": [high] * len(mean), "mean": list(mean), "deviation": list(deviation)}
    return {**hyper(**more), "observation": about}


@pytest.mark.parametrize(
    ("about", "evidence"),
    [
        (seen([0, 0, 0], [0.01, 0.0, 50.0]), "Feature 2 has a deviation of 50, feature 0 one of 0.01."),
        (seen([0, -150], [1, 1]), "Feature 1 has a mean of -150."),
    ],
)
def test_features_of_very_different_size_are_named(about: dict[str, Any], evidence: str, tmp_path: Path) -> None:
    (finding,) = examine(read(written(tmp_path, healthy(), about)))
    assert (finding.case, finding.evidence) == ("observation scale", evidence)
    assert "normalise_observations = true" in finding.fixes[0]


@pytest.mark.parametrize(
    "about",
    [
        seen([0, 0], [0.1, 50.0]),
        seen([0, 0], [0.01, 50.0], normalise_observations=True),
        seen([130, 120], [40, 60], high=255),  # a picture
        {**hyper(), "observation": {"low": None, "high": "inf"}},
    ],
)
def test_features_that_the_learner_can_use_are_no_finding(about: dict[str, Any], tmp_path: Path) -> None:
    assert cases(written(tmp_path, healthy(), about)) == []


ENDS = [([0.0, 1.0, 0.0, 1.0], [700.0 + number, 810.0, 905.0, 640.0]) for number in range(6)]  # a goal, a long way off


def test_a_discount_that_does_not_reach_the_reward_is_wrong(tmp_path: Path) -> None:
    curves = {"total_reward": 0.5 + 0.1 * NOISE}
    (finding,) = examine(read(written(tmp_path, curves, evaluations=ENDS)))
    assert (finding.case, finding.fixes[0]) == ("wrong discount", "Look as far as an episode: discount = 0.9987.")
    assert finding.evidence == "discount 0.99 looks 100 steps ahead; episodes take 764, rewarded at their end."
    assert cases(written(tmp_path, curves, hyper(discount=0.999), ENDS)) == ["no learning"]


def test_rewards_on_the_way_need_no_longer_discount(tmp_path: Path) -> None:
    curves = {**healthy(), "total_reward": flat(), "reward_density": np.full(N, 0.2)}
    assert "wrong discount" not in cases(written(tmp_path, curves, evaluations=ENDS))
    rare = {**curves, "reward_density": np.full(N, 1 / 800)}
    assert "wrong discount" in cases(written(tmp_path, rare, evaluations=ENDS))


def test_a_discount_that_sees_hardly_any_step_is_wrong_wherever_the_reward_is(tmp_path: Path) -> None:
    curves = {"total_reward": flat(), "reward_density": np.ones(N)}
    played = [([20.0] * 5, [40.0] * 5)] * 4
    (finding,) = examine(read(written(tmp_path, curves, hyper(discount=0.5), played)))
    assert (finding.case, finding.evidence) == ("wrong discount", "discount 0.5 looks 2 steps ahead; episodes take 40.")
    assert cases(written(tmp_path, curves, hyper(discount=0.9), played)) == ["no learning"]  # 10 steps: a quarter
    long = [([20.0] * 5, [300.0] * 5)] * 4
    assert cases(written(tmp_path, curves, hyper(discount=0.9), long)) == ["wrong discount"]  # 10 of 300 steps
    single = [([1.0] * 5, [1.0] * 5)] * 4
    assert cases(written(tmp_path, curves, hyper(discount=0.0), single)) == ["no learning"]


def test_no_discount_where_episodes_never_end_is_wrong(tmp_path: Path) -> None:
    played = [([-900.0 + 50 * number] * 5, [200.0] * 5) for number in range(4)]
    about = {**hyper(discount=1.0), "episode_limit": 200}
    (finding,) = examine(read(written(tmp_path, off_policy(), about, played)))
    assert finding.case == "wrong discount"
    assert "100% of the episodes ran into the limit of 200 steps" in finding.evidence
    ends = [(returns, [120.0] * 5) for returns, _ in played]
    assert cases(written(tmp_path, off_policy(), about, ends)) == []


# --------------------------------------------------------------------------------------------------------------- seeds


def several(folder: Path, ends: Sequence[float]) -> Path:
    """Seeds whose return rises from 20 to each of these."""
    for number, end in enumerate(ends, 1):
        curve = 20 + (end - 20) * np.clip(TIME * 2, 0, 1)
        written(folder / f"seed-{number}", {**healthy(), "total_reward": curve})
    return folder


def test_seeds_that_end_far_apart_are_named(tmp_path: Path) -> None:
    (finding,) = examine(read(several(tmp_path, [500, 480, 120, 60, 490])))
    assert (
        finding.case == "variance across seeds"
    )  # quartiles 120 and 490, mean gain 310 · (1 - 2 · mean of the first six TIME)
    assert "500, 480, 120, 60, 490: the middle half spans 370, where they gained 284 on average." in finding.evidence


def test_seeds_that_agree_have_no_findings(tmp_path: Path) -> None:
    assert cases(several(tmp_path, [500, 480, 470, 60, 490])) == []  # one failed of five: the middle half agrees


def test_a_trouble_of_several_seeds_is_said_once(tmp_path: Path) -> None:
    folder = several(tmp_path, [500, 500, 500])
    for number in (2, 3):
        written(folder / f"seed-{number}", {**healthy(), "explained_variance": np.full(N, -0.5)})
    (finding,) = examine(read(folder))
    assert finding.case == "dead value function"
    assert finding.evidence == "seed-2: explained_variance was -0.1 or less in 100% of the updates. The same in seed-3."


def test_seeds_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    run = read(several(tmp_path, [500] * 11))
    assert [seed.name for seed in run.seeds] == [f"seed-{number}" for number in range(1, 12)]


# ------------------------------------------------------------------------------------------------------------- reading


def test_a_run_that_is_still_written_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = written(tmp_path, healthy(), evaluations=[([1.0, 3.0], [10.0, 10.0])])
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        with (folder / name).open("a") as file:
            file.write('{"step": 61000, "los')
    run = read(folder)
    assert (run.seen, run.planned, len(run.series("loss").step)) == (60_000, 60_000, N)
    assert run.evaluations[0].returns.tolist() == [1.0, 3.0]
    (folder / "run.json").write_text('{"environment": ')
    assert read(folder).about == {}
    assert cases(folder) == []


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match=r"is not the folder of a run: it has neither run\.json nor metrics\.jsonl"):
        read(tmp_path)
    assert is_run(several(tmp_path / "several", [500]))
    assert is_run(tmp_path / "several" / "seed-1")
