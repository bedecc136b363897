"""What a simulation makes of ends, cuts and resets: every column worked by hand, in each autoreset mode."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from bondhu.errors import InvalidInput
from bondhu.policies.uniform import Uniform
from bondhu.train.simulate import Episode, Simulation
from bondhu.types import Array, Batch, Choice, Policy
from tests.envs.counter import MODES, Counters, Steady

COLUMNS = [name for name in Batch.__dataclass_fields__ if name not in {"context", "objectives"}]
NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED


def played(mode: AutoresetMode | str, policy: Any = None, memory: int = 0, **more: Any) -> Batch:
    """Two whole episodes of each environment: 6 rows each, and where a step goes by beginning anew, 8 steps."""
    simulation = Simulation(Counters(mode, **more), memory=memory)
    simulation.reset(3)
    steps = 8 if AutoresetMode(mode) is NEXT_STEP else 6
    return simulation.play(policy or Steady(), steps, np.random.default_rng(0))


@pytest.mark.parametrize("mode", MODES)
def test_every_column_is_as_worked_by_hand(mode: AutoresetMode) -> None:
    batch = played(mode)
    # environments 0 and 1: two episodes of three steps; environment 2: one of two, one of four
    environment = [1] * 6 + [11] * 6 + [21] * 6
    episode = [0, 0, 0, 1, 1, 1] * 2 + [0, 0, 1, 1, 1, 1]
    step = [0, 1, 2, 0, 1, 2] * 2 + [0, 1, 0, 1, 2, 3]
    ends = {2, 11, 13}  # the last rows of episodes that terminated; 5, 8 and 17 are cut
    after = [[a, b, c + 1] for a, b, c in zip(environment, episode, step, strict=True)]
    assert batch.observation.tolist() == [list(row) for row in zip(environment, episode, step, strict=True)]
    assert batch.next_observation.tolist() == [[0, 0, 0] if row in ends else after[row] for row in range(18)]
    assert batch.reward.tolist() == [1, 2, 3, 1, 2, 3] * 2 + [1, 2, 1, 2, 3, 4]
    assert batch.discount.tolist() == [0.0 if row in ends else 1.0 for row in range(18)]
    assert batch.has_next.tolist() == [row not in {2, 5, 8, 11, 13, 17} for row in range(18)]
    assert batch.session.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 2 + [5] * 4
    assert batch.action.tolist() == [0] * 18
    assert batch.probability.tolist() == [0.25] * 18
    assert batch.memo.tolist() == [[5.0]] * 18
    assert batch.time.tolist() == list(range(18))
    assert batch.allowed.all()
    assert batch.next_allowed.all()
    assert batch.allowed.shape == batch.next_allowed.shape == (18, 3)


@pytest.mark.parametrize("mask", ["", "info", "observed"])
@pytest.mark.parametrize("memory", [0, 2])
def test_the_three_ways_of_beginning_anew_give_the_same_batch(mask: str, memory: int) -> None:
    first, *others = (played(mode, Steady(memory), memory, mask=mask) for mode in MODES)
    for other in others:
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(first, name), getattr(other, name), err_msg=name)
    assert len(first) == 18


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_an_environment_alone_gives_the_rows_it_gives_among_others(mode: AutoresetMode, number: int) -> None:
    among, turns = played(mode, mask="info"), [Counters(mode).turns[number]]
    alone, rows = played(mode, mask="info", turns=turns), among.observation[:, 0] == 10 * number + 1
    shift = [10.0 * number, 0, 0]  # alone it is environment 0
    np.testing.assert_array_equal(alone.observation + shift, among.observation[rows])
    after = among.next_observation[rows]
    np.testing.assert_array_equal(alone.next_observation + shift * (after[:, :1] > 0), after)
    for name in ("allowed", "next_allowed", "action", "reward", "discount", "has_next"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(among, name)[rows], err_msg=name)


@pytest.mark.parametrize("mask", ["info", "observed"])
@pytest.mark.parametrize("mode", MODES)
def test_masks_are_those_of_the_state_and_of_the_one_that_follows(mode: AutoresetMode, mask: str) -> None:
    batch = played(mode, mask=mask)
    assert batch.observation.shape == (18, 3)  # the mask is no feature
    forbidden = np.arange(3) == (batch.observation[:, 2] % 3)[:, None]
    np.testing.assert_array_equal(batch.allowed, ~forbidden)
    assert batch.action[:3].tolist() == [1, 0, 0]  # the first that is allowed
    over = ~batch.has_next
    assert batch.next_allowed[over].all()  # nothing was allowed after the last step, of ends and of cuts
    np.testing.assert_array_equal(batch.next_allowed[~over], batch.allowed[np.flatnonzero(~over) + 1])


@pytest.mark.parametrize("mode", MODES)
def test_a_play_goes_on_where_the_last_one_stopped(mode: AutoresetMode) -> None:
    whole, simulation = played(mode), Simulation(Counters(mode))
    simulation.reset(3)
    pieces = [simulation.play(Steady(), 1, np.random.default_rng(0)) for _ in range(8 if mode is NEXT_STEP else 6)]
    for name in ("observation", "next_observation", "reward", "discount", "next_allowed", "action"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        order = np.lexsort(np.concatenate([piece.observation for piece in pieces]).T[::-1])  # by environment
        np.testing.assert_array_equal(joined[order], getattr(whole, name), err_msg=name)
    assert not any(piece.has_next.any() for piece in pieces)
    assert [len(piece) for piece in pieces] == ([3, 3, 2, 1, 3, 3, 3, 0] if mode is NEXT_STEP else [3] * 6)
    firsts = [piece.time[0] for piece in pieces if len(piece)]
    assert firsts == np.cumsum([0] + [len(piece) for piece in pieces if len(piece)])[:-1].tolist()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steps", [1, 3, 24])
def test_finished_episodes_have_their_own_totals_whatever_the_plays(mode: AutoresetMode, steps: int) -> None:
    simulation = Simulation(Counters(mode))
    simulation.reset(0)
    for _ in range(24 // steps):
        simulation.play(Steady(), steps, np.random.default_rng(0))
    finished = simulation.finished()
    short = Episode(3.0, 2, terminated=True, success=True)
    ended, cut = Episode(6.0, 3, terminated=True, success=True), Episode(6.0, 3, terminated=False, success=False)
    long = Episode(10.0, 4, terminated=False, success=False)
    # by the step they ended in, environments in order
    assert finished[:6] == [short, ended, cut, cut, ended, long]
    assert len(finished) == (18 if mode is NEXT_STEP else 24)
    assert simulation.finished() == []


def test_a_reset_forgets_the_episodes_under_way_and_takes_its_seed() -> None:
    env = Counters(SAME_STEP)
    simulation = Simulation(env)
    simulation.reset(5)
    simulation.play(Steady(), 1, np.random.default_rng(0))
    simulation.reset(6)
    simulation.play(Steady(), 3, np.random.default_rng(0))
    assert env.seeds == [5, 6]
    assert simulation.finished() == [
        Episode(3.0, 2, terminated=True, success=True),
        Episode(6.0, 3, terminated=True, success=True),
        Episode(6.0, 3, terminated=False, success=False),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_memory_comes_back_within_an_episode_and_is_zero_at_its_start(mode: AutoresetMode) -> None:
    batch = played(mode, Steady(2), 2)
    step = batch.observation[:, 2]
    np.testing.assert_array_equal(batch.observation[:, 3:], np.stack([step, step], axis=1))  # one more each step
    assert batch.memo[:, 0].tolist() == [5.0] * 18  # only the last columns come back
    np.testing.assert_array_equal(batch.memo[:, 1], step + 1)
    goes_on = batch.discount == 1
    np.testing.assert_array_equal(batch.next_observation[goes_on, 3], step[goes_on] + 1)  # at cuts as well
    assert (batch.next_observation[~goes_on] == 0).all()


def test_memory_widens_what_is_observed() -> None:
    space = Simulation(Counters(SAME_STEP), memory=2).spec.observation
    assert isinstance(space, Box)
    assert (space.shape, space.dtype) == ((5,), np.float64)
    assert space.high.tolist() == [1e9] * 3 + [np.inf] * 2
    with pytest.raises(InvalidInput, match="memory cannot stand beside"):
        Simulation(images(), memory=2)


@pytest.mark.parametrize("given", ["NextStep", "SameStep", "Disabled"])
def test_the_way_of_beginning_anew_may_be_given_by_its_name(given: str) -> None:
    assert len(played(given)) == 18


def test_gymnasiums_misspelt_key_is_read_too_and_a_missing_one_is_named() -> None:
    env = Counters(SAME_STEP)
    env.metadata = {"autoreseet-mode": SAME_STEP}
    assert len(Simulation(env).play(Steady(), 6, np.random.default_rng(0))) == 18
    env.metadata = {}
    with pytest.raises(InvalidInput, match="does not say how it begins anew"):
        Simulation(env)
    env.metadata = {"autoreset_mode": "SAME_STP"}
    with pytest.raises(InvalidInput, match="Did you mean 'SAME_STEP'"):
        Simulation(env)


def test_same_step_without_the_last_observation_is_refused() -> None:
    env = Counters(SAME_STEP)
    step = env.step
    env.step = lambda action: (*step(action)[:4], {})  # type: ignore[method-assign]
    with pytest.raises(InvalidInput, match=r"does not give the last observation.*NEXT_STEP"):
        Simulation(env).play(Steady(), 6, np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------- what breaks a play


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_reward_that_is_no_number_names_the_step_and_the_environment(mode: AutoresetMode, wrong: float) -> None:
    env = Counters(mode)
    step = env.step

    def broken(action: Array) -> Any:
        observation, reward, *rest = step(action)
        reward[(env.episode == 0) & (env.step_ == 2) & (np.arange(3) == 1)] = wrong
        return observation, reward, *rest

    env.step = broken  # type: ignore[method-assign]
    simulation = Simulation(env)
    simulation.reset(0)
    simulation.play(Steady(), 1, np.random.default_rng(0))
    with pytest.raises(InvalidInput, match=rf"reward of environment 1 is {wrong} after step 2") as refused:
        simulation.play(Steady(), 4, np.random.default_rng(0))
    assert refused.value.field == "reward"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [0, 2])  # in environment 2 it is the last of its episode
def test_an_observation_that_is_no_number_names_its_column(mode: AutoresetMode, number: int) -> None:
    env = Counters(mode, turns=[((9, False),)] * 2 + [((2, False),)])
    seen = env.seen

    def broken() -> Array:
        observation: Array = seen()
        observation[number, 1] = np.nan if env.episode[number] == 0 and env.step_[number] == 2 else 0.0
        return observation

    env.seen = broken  # type: ignore[method-assign]
    match = rf"observation\[1\] of environment {number} is nan after step 2"
    with pytest.raises(InvalidInput, match=match) as refused:
        Simulation(env).play(Steady(), 5, np.random.default_rng(0))
    assert refused.value.field == "observation[1]"


def test_a_policy_that_falls_over_a_missing_number_is_not_blamed_for_it() -> None:
    class Strict:
        def sample(self, observation: Array, allowed: Array, rng: np.random.Generator) -> Choice:
            if np.isnan(observation).any():
                raise ZeroDivisionError
            return Steady().sample(observation, allowed, rng)

    env = Counters(SAME_STEP)
    seen = env.seen
    env.seen = lambda: seen() + np.where(env.step_ == 1, np.nan, 0)[:, None]  # type: ignore[method-assign]
    simulation = Simulation(env)
    with pytest.raises(InvalidInput, match="of environment 0 is nan after step 1"):
        simulation.play(as_policy(Strict()), 5, np.random.default_rng(0))
    env.seen = seen  # type: ignore[method-assign]
    assert simulation.play(Steady(), 6, np.random.default_rng(0)).observation[0].tolist() == [1, 0, 0]  # begins anew


def test_a_play_has_at_least_one_step() -> None:
    with pytest.raises(InvalidInput, match="at least one step"):
        Simulation(Counters(SAME_STEP)).play(Steady(), 0, np.random.default_rng(0))


def test_an_error_of_the_environment_stays_what_it_is() -> None:
    env = Counters(SAME_STEP)
    env.step = lambda action: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(ZeroDivisionError):
        Simulation(env).play(Steady(), 5, np.random.default_rng(0))


@pytest.mark.parametrize("mode", MODES)
def test_a_state_in_which_nothing_is_allowed_is_refused(mode: AutoresetMode) -> None:
    env = Counters(mode, mask="info")
    allowed = env.allowed
    env.allowed = lambda: allowed() & (env.step_ != 1)[:, None]  # type: ignore[method-assign]
    with pytest.raises(InvalidInput, match="mask of environment 0 allows no action after step 1"):
        Simulation(env).play(Steady(), 5, np.random.default_rng(0))


def test_a_mask_that_the_reset_did_not_send_is_refused() -> None:
    env = Counters(SAME_STEP)
    Simulation(env).reset(0)
    simulation = Simulation(env)
    simulation.reset(0)
    env.mask = "info"
    with pytest.raises(InvalidInput, match="sent none with the reset"):
        simulation.play(Steady(), 1, np.random.default_rng(0))


# --------------------------------------------------------------------------------------------------- kinds of actions


class Taking(gymnasium.Env[Any, Any]):
    """Keeps the actions it was given; three steps, then it is cut."""

    observation_space = Box(-1, 1, (2,), np.float32)

    def __init__(self, actions: gymnasium.Space[Any], observed: gymnasium.Space[Any] | None = None) -> None:
        self.action_space = actions
        self.observation_space = deepcopy(observed or self.observation_space)  # type: ignore[assignment]  # draws its own
        self.taken: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(0)
        self.step_ = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.taken.append(np.array(action))
        assert self.action_space.contains(action), action
        self.step_ += 1
        return self.observation_space.sample(), 1.0, False, self.step_ == 3, {}


def taking(actions: gymnasium.Space[Any], observed: gymnasium.Space[Any] | None = None) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: Taking(actions, observed)] * 2, autoreset_mode=SAME_STEP)


def images() -> SyncVectorEnv:
    return taking(Discrete(2), Box(0, 255, (3, 4, 5), np.uint8))


def as_policy(sampling: Any) -> Policy:
    policy: Policy = sampling
    return policy


class Always:
    def __init__(self, action: Any) -> None:
        self.action = np.array(action)

    def sample(self, observation: Array, allowed: Array, rng: np.random.Generator) -> Choice:
        return Choice(self.action, np.full(len(observation), 0.5), np.empty((len(observation), 0)))


def always(env: VectorEnv[Any, Any, Any], action: Any) -> Batch:
    return Simulation(env).play(as_policy(Always(action)), 2, np.random.default_rng(0))


def test_a_number_on_an_interval_is_logged_as_drawn_and_given_clipped() -> None:
    env = taking(Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 0.5], np.float32)))
    batch = always(env, [[-3.0, 0.25], [0.5, 2.0]])
    np.testing.assert_allclose([one.taken for one in env.envs], [[[-1.0, 0.25]] * 2, [[0.5, 0.5]] * 2])  # type: ignore[attr-defined]
    assert batch.action.tolist() == [[-3.0, 0.25]] * 2 + [[0.5, 2.0]] * 2
    assert batch.allowed.tolist() == [[True]] * 4
    assert Simulation(env).spec.action.shape == (2,)


def test_a_box_of_two_axes_is_one_row_to_the_policy() -> None:
    env = taking(Box(-1, 1, (2, 2), np.float32))
    batch = always(env, [[0.0, 0.1, 0.2, 0.3], [2.0, 0.0, 0.0, 0.0]])
    assert env.envs[1].taken[0].tolist() == [[1.0, 0.0], [0.0, 0.0]]  # type: ignore[attr-defined]
    assert batch.action.shape == (4, 4)
    assert Simulation(env).spec.action.shape == (4,)


def test_slots_have_one_column_of_the_mask_for_each_of_their_actions() -> None:
    env = taking(MultiDiscrete([3, 2], start=[4, 0]))
    batch = always(env, [[2, 1], [0, 0]])
    assert [one.taken[0].tolist() for one in env.envs] == [[6, 1], [4, 0]]  # type: ignore[attr-defined]
    assert batch.action.tolist() == [[2, 1]] * 2 + [[0, 0]] * 2
    assert batch.allowed.tolist() == [[True] * 5] * 4
    env = taking(MultiBinary(3))
    assert Simulation(env).spec.action == MultiDiscrete([2, 2, 2])
    assert always(env, [[0, 1, 1], [1, 0, 0]]).action[0].tolist() == [0, 1, 1]
    assert env.envs[0].taken[0].tolist() == [0, 1, 1]  # type: ignore[attr-defined]


def test_actions_numbered_from_elsewhere_are_logged_from_zero() -> None:
    env = taking(Discrete(3, start=-1))
    assert always(env, [0, 2]).action.tolist() == [0, 0, 2, 2]
    assert [one.taken[0].tolist() for one in env.envs] == [-1, 1]  # type: ignore[attr-defined]
    assert Simulation(env).spec.action == Discrete(3)


def test_spaces_that_cannot_be_played_are_named() -> None:
    with pytest.raises(InvalidInput, match="Text"):
        Simulation(taking(Discrete(2), Dict(words=Text(5), number=Discrete(2))))
    with pytest.raises(InvalidInput, match="actions are Dict"):
        Simulation(taking(Dict(left=Discrete(2))))


def test_images_stay_images_with_their_channels_last() -> None:
    simulation = Simulation(images())
    batch = simulation.play(Uniform(), 4, np.random.default_rng(0))  # over an end: the last observations too
    assert simulation.spec.observation.shape == (4, 5, 3)
    assert batch.observation.shape == batch.next_observation.shape == (8, 4, 5, 3)
    assert batch.observation.dtype == batch.next_observation.dtype == np.uint8


def test_codes_are_one_hot_unless_a_table_observes_them() -> None:
    env = taking(Discrete(2), MultiDiscrete([2, 3]))
    batch = Simulation(env).play(Uniform(), 3, np.random.default_rng(0))
    assert batch.observation.shape == (6, 5)
    assert (batch.observation.sum(axis=1) == 2).all()
    codes = Simulation(env, observes=MultiDiscrete)
    assert codes.spec.observation == MultiDiscrete([2, 3])
    assert codes.play(Uniform(), 3, np.random.default_rng(0)).observation.shape == (6, 2)


@pytest.mark.parametrize("mode", MODES)
def test_parts_of_a_dict_are_the_same_in_processes_of_their_own(mode: AutoresetMode) -> None:
    observed = Dict(place=Box(-1, 1, (2,), np.float32), kind=Discrete(3))
    makers = [lambda: Taking(Discrete(2), observed)] * 2
    alone, apart = (
        SyncVectorEnv(makers, autoreset_mode=mode),
        AsyncVectorEnv(makers, autoreset_mode=mode, context="spawn"),
    )
    try:
        batches = [Simulation(env).play(Uniform(), 8, np.random.default_rng(0)) for env in (alone, apart)]
    finally:
        apart.close()
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(batches[0], name), getattr(batches[1], name), err_msg=name)
    assert batches[0].observation.shape[1] == 5
    cut = np.flatnonzero(~batches[0].has_next)[0]
    assert cut == 2
    assert not np.array_equal(batches[0].next_observation[cut], batches[0].observation[cut + 1])
