"""The simulated users: exact means against draws, exact values against plain sums, Gymnasium's own checks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete
from gymnasium.utils.env_checker import check_env

from bondhu.domains.recommendation import domain
from bondhu.domains.recommendation.env import RecommendationEnv
from bondhu.domains.recommendation.planning import Model, evaluate, model, optimal_values, optimum, value_of
from bondhu.domains.recommendation.simulator import ACTIONS, SITUATIONS, TYPES, Population, levels_of
from bondhu.errors import InvalidInput
from bondhu.policies.greedy import greedy
from bondhu.policies.uniform import Uniform
from bondhu.types import Array, Booleans, Floats

POPULATION = Population()
ALL_TYPES = TYPES.astype(float)


def everyone(rows: int) -> tuple[Floats, Array, Array, np.random.Generator]:
    """Random users, situations and actions."""
    rng = np.random.default_rng(7)
    traits = POPULATION.users(rows, rng)
    return traits, rng.integers(0, SITUATIONS, rows), rng.integers(0, ACTIONS, rows), rng


def test_exact_means_are_the_means_of_what_is_drawn() -> None:
    traits, situation, action, rng = everyone(400_000)
    step = POPULATION.step(traits, situation, action, rng)
    drawn = POPULATION.observed_reward(step.heard, len(action))
    exact = POPULATION.mean_reward(levels_of(traits), situation, action)
    for rows in (slice(None), exact > 0.5, exact < -0.2, situation % 32 < 8, action < 9, action == 26):
        error = drawn[rows] - exact[rows]
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error))


def test_exact_means_count_late_feedback_where_the_domain_does() -> None:
    traits, situation, action, rng = everyone(300_000)
    counting = replace(POPULATION, reward=replace(POPULATION.reward, count_late=True, wait=3_600.0))
    strict = replace(POPULATION, reward=replace(POPULATION.reward, wait=3_600.0))
    heard = counting.step(traits, situation, action, rng).heard
    for population in (counting, strict):
        exact = population.mean_reward(levels_of(traits), situation, action)
        error = population.observed_reward(heard, len(action)) - exact
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error))


def test_one_table_and_single_rows_agree() -> None:
    traits, situation, action, _ = everyone(500)
    table = POPULATION.expected_reward(traits, situation)
    assert table.shape == (500, ACTIONS)
    single = POPULATION.mean_reward(levels_of(traits), situation, action)
    assert table[np.arange(500), action] == pytest.approx(single)


def test_feedback_is_missing_and_late() -> None:
    traits, situation, action, rng = everyone(200_000)
    heard = POPULATION.step(traits, situation, action, rng).heard
    assert len(np.unique(heard.row)) / 200_000 == pytest.approx(POPULATION.respond, abs=0.005)
    late = heard.delay > POPULATION.reward.wait
    assert set(np.array(heard.signal)[late]) == {"share", "mood_improvement"}
    assert 0.005 < late.mean() < 0.03
    signals = POPULATION.reward.signals
    assert all(
        signals[name].low <= value <= signals[name].high for name, value in zip(heard.signal, heard.value, strict=True)
    )


def test_moods_sessions_and_times_move_as_declared() -> None:
    traits, situation, action, rng = everyone(200_000)
    step = POPULATION.step(traits, situation, action, rng)
    assert step.ended.mean() == pytest.approx(POPULATION.quit, abs=0.004)
    assert (step.situation % 4 != situation % 4).mean() == pytest.approx(POPULATION.pass_time, abs=0.004)
    assert (step.situation // 32 != situation // 32).mean() == pytest.approx(POPULATION.switch, abs=0.004)
    expected = POPULATION.next_mood(levels_of(traits), situation, action)
    assert expected.sum(axis=1) == pytest.approx(np.ones(200_000))
    drawn = np.bincount(step.situation // 4 % 8, minlength=8) / 200_000
    assert drawn == pytest.approx(expected.mean(axis=0), abs=0.004)


def test_a_good_action_lifts_a_low_mood() -> None:
    sad_evening = np.array([2 * 4 + 2])
    rewards = POPULATION.expected_reward(ALL_TYPES[:1], sad_evening)[0]
    best, worst = POPULATION.next_mood(
        levels_of(ALL_TYPES[:1]), sad_evening, np.array([rewards.argmax(), rewards.argmin()])
    )
    low = [2, 3, 7]  # sad, anxious, stressed
    assert best[low].sum() < worst[low].sum() - 0.2


def test_value_iteration_equals_sums_over_every_successor() -> None:
    """Two kinds of user, three decisions ahead, one situation, action and successor at a time."""
    levels = levels_of(ALL_TYPES[[1, 6]])
    problem = model(POPULATION, levels)

    def best(kind: int, situation: int, left: int) -> float:
        if left == 0:
            return 0.0
        content, _, time = np.unravel_index(situation, (3, 8, 4))
        returns = []
        ahead = np.zeros((3, 8, 4))
        if left > 1:
            for c, m, t in np.ndindex(3, 8, 4):
                if problem.content[content, c] and problem.time[time, t]:
                    ahead[c, m, t] = known[left - 1][kind, np.ravel_multi_index((c, m, t), (3, 8, 4))]
        for action in range(ACTIONS):
            followed = np.einsum(
                "c,m,t,cmt->",
                problem.content[content],
                problem.mood[kind, situation, action],
                problem.time[time],
                ahead,
            )
            returns.append(problem.reward[kind, situation, action] + 0.9 * problem.going_on * float(followed))
        return max(returns)

    known: dict[int, Floats] = {}
    values = np.zeros((2, SITUATIONS))
    for left in (1, 2, 3):
        known[left] = np.array([[best(kind, s, left) for s in range(SITUATIONS)] for kind in range(2)])
        values = (problem.reward + 0.9 * problem.continuation(values)).max(axis=-1)
        assert values == pytest.approx(known[left])


def test_optimal_values_satisfy_bellman_and_belong_to_their_greedy_policy() -> None:
    values = optimal_values(POPULATION, ALL_TYPES, discount=0.95)
    problem = model(POPULATION, levels_of(ALL_TYPES))
    q_values = problem.reward + 0.95 * problem.continuation(values)
    assert q_values.max(axis=-1) == pytest.approx(values, abs=1e-8)
    acting = greedy(q_values.reshape(-1, ACTIONS), np.ones((len(ALL_TYPES) * SITUATIONS, ACTIONS), bool))
    assert evaluate(problem, acting.reshape(q_values.shape), 0.95) == pytest.approx(values, abs=1e-7)


def test_an_evaluation_worked_by_hand() -> None:
    """Reward 1 for ever, a session that goes on with .8: V = 1 / (1 - .9 x .8) everywhere."""
    uniform = np.full((1, SITUATIONS, ACTIONS), 1 / ACTIONS)
    mood = np.full((1, SITUATIONS, ACTIONS, 8), 1 / 8)
    problem = Model(np.ones((1, SITUATIONS, ACTIONS)), mood, np.full((3, 3), 1 / 3), np.full((4, 4), 0.25), 0.8)
    assert evaluate(problem, uniform, 0.9) == pytest.approx(np.full((1, SITUATIONS), 1 / 0.28))


def test_the_value_of_a_policy_is_the_mean_reward_of_simulated_sessions() -> None:
    rng = np.random.default_rng(3)
    people = POPULATION.users(4_000, rng)
    policy = domain().baseline()
    traits, situation, rewards = people, POPULATION.reset(len(people), rng), []
    person = np.arange(len(people))
    for _ in range(80):
        seen = POPULATION.codes(traits[person], situation)
        action = policy.sample(seen, np.ones((len(seen), ACTIONS), bool), rng).action
        step = POPULATION.step(traits[person], situation, action, rng)
        rewards.append(POPULATION.observed_reward(step.heard, len(action)))
        situation = np.where(step.ended, POPULATION.reset(len(people), rng), step.situation)
    drawn = np.concatenate(rewards)
    assert drawn.mean() == pytest.approx(value_of(POPULATION, policy, people), abs=0.008)


def test_the_rule_is_halfway_between_chance_and_the_optimum() -> None:
    people = POPULATION.users(1_000, np.random.default_rng(0))
    best, rule, chance = (
        optimum(POPULATION, people),
        value_of(POPULATION, domain().baseline(), people),
        value_of(POPULATION, Uniform(), people),
    )
    assert 0.6 < best < 0.8
    assert 0.25 < rule < 0.35
    assert -0.1 < chance < 0.05
    assert 0.4 < (rule - chance) / (best - chance) < 0.6


class Knowing:
    """Acts by the exact values of the user's levels, which five bins tell apart."""

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        levels = np.array([-1, -1, 0, 1, 1])[observation[:, :5]]
        kinds, kind = np.unique(levels, axis=0, return_inverse=True)
        problem = model(POPULATION, kinds)
        values = optimal_values(POPULATION, 50.0 + 30.0 * kinds)
        situation = np.ravel_multi_index(observation[:, 5:].T, (3, 8, 4))
        q_values = problem.reward + problem.continuation(values)
        return greedy(q_values[kind.ravel(), situation], allowed)


def test_five_bins_are_enough_for_no_regret() -> None:
    people = POPULATION.users(300, np.random.default_rng(5))
    assert value_of(POPULATION, Knowing(), people) == pytest.approx(optimum(POPULATION, people), abs=1e-7)  # type: ignore[arg-type]


def test_contexts_are_observed_as_the_codes_say() -> None:
    traits, situation, _, _ = everyone(300)
    encoder = domain().encoder(MultiDiscrete)
    contexts = POPULATION.contexts(traits, situation)
    assert np.array_equal(np.stack([encoder.one(context) for context in contexts]), POPULATION.codes(traits, situation))


def test_the_environment_passes_the_checks_of_gymnasium() -> None:
    env = RecommendationEnv()
    check_env(env, skip_render_check=True)
    assert env.action_space.n == 27


def test_an_environment_replays_its_seed_and_pays_its_exact_mean() -> None:
    def rewards(seed: int) -> list[float]:
        env = RecommendationEnv(traits=ALL_TYPES[1])
        env.reset(seed=seed)
        return [env.step(8)[1] for _ in range(50)]

    assert rewards(1) == rewards(1) != rewards(2)
    env = RecommendationEnv(traits=ALL_TYPES[1])
    env.reset(seed=0)
    errors = []
    for _ in range(4_000):
        _, reward, _, _, info = env.step(8)
        errors.append(reward - info["expected_reward"])
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(len(errors))


def test_a_default_reward_is_refused() -> None:
    with pytest.raises(InvalidInput, match="default of 0 only"):
        Population(reward=replace(POPULATION.reward, default=-0.1))


def test_expected_rewards_of_many_people_are_those_of_each() -> None:
    population, rng = Population(), np.random.default_rng(3)
    traits, situation = population.users(10_000, rng), population.reset(10_000, rng)
    together = population.expected_reward(traits, situation)
    apart = np.concatenate(
        [population.expected_reward(traits[s : s + 100], situation[s : s + 100]) for s in range(0, 10_000, 100)]
    )
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-12)
