"""Environments by name: each the fastest way that is right, and the same facts at ends and cuts whichever way it is."""

from __future__ import annotations

import builtins
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from bondhu.envs.make import make, spec
from bondhu.envs.pool import Pool
from bondhu.envs.symbols import Symbols
from bondhu.errors import InvalidInput, UnknownName
from bondhu.policies.uniform import Uniform
from bondhu.train.simulate import Simulation
from bondhu.types import Array, Batch, Choice

Vector = VectorEnv[Any, Any, Any]


class Balancing:
    """Keeps the pole of CartPole up for 500 steps, or lets it fall."""

    def __init__(self, *, careless: bool = False) -> None:
        self.careless = careless

    def sample(self, observation: Array, allowed: Array, rng: np.random.Generator) -> Choice:
        lean = observation @ np.array([0.05, 0.2, 1.0, 0.5])
        action = np.zeros(len(lean), int) if self.careless else (lean > 0).astype(int)
        return Choice(action, np.ones(len(lean)), np.empty((len(lean), 0)))


def played(env: Vector, policy: Any, steps: int, seed: int = 0) -> tuple[Batch, Simulation]:
    simulation = Simulation(env)
    simulation.reset(seed)
    return simulation.play(policy, steps, np.random.default_rng(0)), simulation


def check_rows(batch: Batch) -> None:
    """What holds of every batch: rows go on into the next one, ends have nothing after them, cuts something else."""
    on = np.flatnonzero(batch.has_next)
    np.testing.assert_array_equal(batch.next_observation[on], batch.observation[on + 1])
    np.testing.assert_array_equal(batch.session[on], batch.session[on + 1])
    assert not batch.next_observation[batch.discount == 0].any()
    assert not batch.has_next[batch.discount == 0].any()
    over = np.flatnonzero(~batch.has_next)[:-1]
    assert (batch.session[over + 1] == batch.session[over] + 1).all()


CARTS = {
    "native": lambda: make("CartPole-v1", 2),
    "one by one": lambda: make("CartPole-v1", 2, autoreset="SAME_STEP"),
    "disabled": lambda: make("CartPole-v1", 2, autoreset="DISABLED"),
    "envpool": lambda: make("envpool:CartPole-v1", 2),
}


@pytest.mark.parametrize("way", CARTS)
def test_the_time_limit_of_cart_pole_cuts_and_does_not_end(way: str) -> None:
    env = CARTS[way]()
    batch, simulation = played(env, Balancing(), 505)
    env.close()
    begins = env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    check_rows(batch)
    assert len(batch) == 2 * (504 if begins else 505)
    cut = 499
    assert batch.session[cut + 1] == 1
    assert batch.discount[cut] == 1
    assert not batch.has_next[cut]
    assert (np.abs(batch.observation[cut + 1]) <= 0.05).all()  # where an episode begins
    assert not np.array_equal(batch.next_observation[cut], batch.observation[cut + 1])
    following = batch.observation[cut] + 0.02 * batch.observation[cut][[1, 1, 3, 3]] * [1, 0, 1, 0]  # x + τ·ẋ, θ + τ·θ̇
    np.testing.assert_allclose(batch.next_observation[cut, [0, 2]], following[[0, 2]], atol=1e-5)
    first, *_ = simulation.finished()
    assert (first.total_reward, first.length, first.terminated) == (500.0, 500, False)


@pytest.mark.parametrize("way", CARTS)
def test_a_pole_that_falls_ends_and_does_not_cut(way: str) -> None:
    env = CARTS[way]()
    batch, simulation = played(env, Balancing(careless=True), 40)
    env.close()
    check_rows(batch)
    assert all(episode.terminated and 8 <= episode.length <= 11 for episode in simulation.finished())
    assert batch.discount.sum() == len(batch) - (batch.discount == 0).sum()
    assert 6 <= (batch.discount == 0).sum() <= 10
    assert (batch.reward == 1).all()  # the step that only begins anew pays 0 and is no row


def test_the_native_cart_pole_moves_as_the_single_one_does() -> None:
    native: Any = make("CartPole-v1", 3)
    native.reset(seed=0)
    singles = [gymnasium.make("CartPole-v1") for _ in range(3)]
    for number, single in enumerate(singles):
        single.reset(seed=0)
        single.unwrapped.state = tuple(native.state[:, number])  # type: ignore[attr-defined]
    actions = np.random.default_rng(1).integers(2, size=(60, 3))
    alive = np.ones(3, bool)
    for row in actions:
        seen, paid, ended, cut, _ = native.step(row)
        for number in np.flatnonzero(alive):
            one, reward, terminated, truncated, _ = singles[number].step(int(row[number]))
            np.testing.assert_allclose(seen[number], one, rtol=1e-6)
            assert (paid[number], ended[number], cut[number]) == (reward, terminated, truncated)
            alive[number] = not terminated
    assert not alive.any()
    assert type(native).__name__ == "CartPoleVectorEnv"
    assert make("CartPole-v1", 2, options={"max_episode_steps": 7}).unwrapped.max_episode_steps == 7  # type: ignore[attr-defined]


def test_a_seed_gives_the_same_again_and_another_seed_another() -> None:
    for name in ("CartPole-v1", "envpool:CartPole-v1"):
        env = make(name, 2)
        first, again, other = (played(env, Uniform(), 20, seed)[0] for seed in (7, 7, 8))
        env.close()
        np.testing.assert_array_equal(first.observation, again.observation)
        assert not np.array_equal(first.observation[0], other.observation[0]), name


def test_envpools_own_interface_is_played_too_though_its_seed_is_fixed() -> None:
    import envpool

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered")
        raw = envpool.make("CartPole-v1", env_type="gymnasium", num_envs=2, seed=7)
        simulation = Simulation(raw)
        with pytest.warns(UserWarning, match="seeds are fixed"):
            simulation.reset(1)
    batch = simulation.play(Uniform(), 20, np.random.default_rng(0))
    raw.close()
    env = make("envpool:CartPole-v1", 2)
    same, _ = played(env, Uniform(), 20, 7)
    env.close()
    np.testing.assert_array_equal(batch.observation, same.observation)
    check_rows(batch)


def test_a_body_of_mujoco_is_moved_by_numbers() -> None:
    env = make("InvertedPendulum-v5", 2, options={"max_episode_steps": 5})
    assert isinstance(env, SyncVectorEnv)

    class Still:
        def sample(self, observation: Array, allowed: Array, rng: np.random.Generator) -> Choice:
            return Choice(
                np.full((len(observation), 1), 9.0), np.ones(len(observation)), np.empty((len(observation), 0))
            )

    batch, simulation = played(env, Still(), 12)
    check_rows(batch)
    assert batch.action.tolist() == [[9.0]] * len(batch)  # as drawn; the body gets 3, its bound
    assert batch.allowed.shape == (len(batch), 1)
    assert (batch.discount[~batch.has_next] == 1).any() or (batch.discount == 0).any()
    assert all(episode.length <= 5 for episode in simulation.finished())
    env.close()
    fast = make("envpool:HalfCheetah-v4", 2)
    assert isinstance(fast, Pool)
    assert isinstance(fast.single_action_space, Box)
    fast.close()


def test_mini_grid_is_seen_as_symbols() -> None:
    env = make("MiniGrid-DoorKey-5x5-v0", 2, options={"max_steps": 4})
    batch, simulation = played(env, Uniform(), 9)
    check_rows(batch)
    assert batch.observation.shape == (16, 984)  # 7·7 cells of 11 kinds, 6 colours and 3 states, and 4 directions
    assert (batch.observation.sum(axis=1) == 7 * 7 * 3 + 1).all()
    assert [episode.length for episode in simulation.finished()] == [4] * 4
    assert batch.discount.all()  # the limit is MiniGrid's own, and a cut
    env.close()


def test_a_mission_has_a_code_for_each_of_its_places() -> None:
    env = make("MiniGrid-Fetch-5x5-N2-v0", 1)
    space = env.single_observation_space
    assert isinstance(space, MultiDiscrete)
    seen, _ = env.reset(seed=3)
    assert isinstance(env, SyncVectorEnv)
    single: Any = env.envs[0]
    assert isinstance(single, Symbols)
    mission = single.unwrapped.mission
    places = single.unwrapped.observation_space["mission"].ordered_placeholders
    said = single.unwrapped.observation_space["mission"].mission_func(
        *(words[number] for words, number in zip(places, seen[0, 148:], strict=True))
    )
    assert said == mission
    assert seen.shape == (1, 148 + len(places))
    env.close()


def test_parts_of_an_observation_are_joined() -> None:
    env = make("Blackjack-v1", 3)
    batch, simulation = played(env, Uniform(), 30)
    check_rows(batch)
    assert batch.observation.shape[1] == 32 + 11 + 2
    assert (batch.observation.sum(axis=1) == 3).all()
    assert all(episode.total_reward in {-1.0, 0.0, 1.0} for episode in simulation.finished())
    assert spec(env).observation == Simulation(env).spec.observation
    assert spec(env).action == Discrete(2)


def test_pong_shows_four_grey_frames_and_its_limit_cuts() -> None:
    env = make("ALE/Pong-v5", 2, options={"max_num_frames_per_episode": 40, "noop_max": 5})
    batch, _ = played(env, Uniform(), 23)
    env.close()
    check_rows(batch)
    assert batch.observation.shape == (2 * 21, 84, 84, 4)
    assert batch.observation.dtype == np.uint8
    cuts = np.flatnonzero(~batch.has_next)
    assert cuts.tolist() == [9, 19, 20, 30, 40, 41]
    assert (batch.discount == 1).all()
    np.testing.assert_array_equal(
        batch.next_observation[9, ..., :3], batch.observation[9, ..., 1:]
    )  # its own frames go on
    same = make("ALE/Pong-v5", 2, options={"max_num_frames_per_episode": 40}, autoreset="SAME_STEP")
    batch, _ = played(same, Uniform(), 11)
    same.close()
    np.testing.assert_array_equal(batch.next_observation[9, ..., :3], batch.observation[9, ..., 1:])
    assert not np.array_equal(batch.next_observation[9], batch.observation[10])


def test_processes_of_their_own_are_made_on_request() -> None:
    env = make("Acrobot-v1", 2, processes=True)
    try:
        assert isinstance(env, AsyncVectorEnv)
        batch, _ = played(env, Uniform(), 3)
        assert batch.observation.shape == (6, 6)
    finally:
        env.close()


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("CartPole-v9", "CartPole-v1"),
        ("ALE/Pongg-v5", "ALE/Pong-v5"),
        ("MiniGrid-DorKey-5x5-v0", "MiniGrid-DoorKey-5x5-v0"),
        ("envpool:CartPol-v1", "CartPole-v1"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, fix: str) -> None:
    with pytest.raises(UnknownName, match=f"Did you mean '{fix}'"):
        make(name, 2)


@pytest.mark.parametrize(
    ("name", "newest"),
    [("LunarLander-v2", "LunarLander-v3"), ("HalfCheetah-v3", "HalfCheetah-v5"), ("Taxi-v3", "Taxi-v4")],
)
def test_an_outdated_version_is_answered_with_the_newest(name: str, newest: str) -> None:
    with pytest.raises(InvalidInput, match=f"outdated.*Use '{newest}'"):
        make(name, 2)


def test_an_older_version_that_still_runs_is_made_without_a_word() -> None:
    env = make("Pendulum-v1", 1)
    assert spec(env).action == env.single_action_space
    env.close()
    env = make("InvertedPendulum-v4", 1)
    assert env.single_observation_space.shape == (4,)
    env.close()


@pytest.mark.parametrize(
    ("name", "package"),
    [("MiniGrid-Empty-5x5-v0", "minigrid"), ("ALE/Pong-v5", "ale_py"), ("envpool:Pong-v5", "envpool")],
)
def test_a_missing_package_is_one_error_with_the_command(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = builtins.__import__

    def without(module: str, *more: Any, **named: Any) -> Any:
        if module.split(".", maxsplit=1)[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}")
        return known(module, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidInput, match=r"not installed.*pip install 'bondhu\[envs\]'"):
        make(name, 2)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one environment"):
        make("CartPole-v1", 0)
    with pytest.raises(InvalidInput, match=r"does not take these options.*wings"):
        make("Acrobot-v1", 1, options={"wings": 2})
    with pytest.raises(InvalidInput, match=r"EnvPool cannot make CartPole-v1.*wings"):
        make("envpool:CartPole-v1", 1, options={"wings": 2})
    with pytest.raises(InvalidInput, match="EnvPool begins anew on the step after"):
        make("envpool:CartPole-v1", 1, autoreset="SAME_STEP")
    with pytest.raises(InvalidInput, match="Did you mean 'DISABLED'"):
        make("CartPole-v1", 1, autoreset="disable")
    with pytest.raises(InvalidInput, match="'a pole' cannot be made"):
        make("a pole", 1)
