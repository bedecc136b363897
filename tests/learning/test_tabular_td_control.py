"""What sets the temporal-difference and Monte-Carlo learners apart, on problems whose answers are known."""

from dataclasses import dataclass, replace

import gymnasium
import numpy as np
import pytest

from bondhu.domains.probes.markov import corridor, from_table, random_problem
from bondhu.domains.probes.tabular import maximisation_bias, random_walk
from bondhu.learners import build
from bondhu.policies.drawing import evenly
from bondhu.policies.uniform import Uniform

TENTH = {"name": "epsilon_greedy", "epsilon": 0.1}


def rng(seed=0):
    return np.random.default_rng(seed)


def make(name, **hyperparameters):
    return build(f"tabular.{name}", hyperparameters)


def live(learner, probe, rounds, sessions, seed=0):
    source = rng(seed)
    state = learner.init(probe.spec, source)
    for _ in range(rounds):
        state, _ = learner.update(state, probe.play(learner.policy(state, explore=True), sessions, source), source)
    return state


def copies(probe, count):
    """As many of the problem side by side, none leading to another: what one learner does in all is what many do."""
    states, actions = probe.allowed.shape
    blocks = np.einsum("ij,sap->isajp", np.eye(count), probe.transition)
    return replace(
        probe,
        transition=blocks.reshape(count * states, actions, count * states),
        reward=np.tile(probe.reward, (count, 1, count)),
        start=np.tile(probe.start, count) / count,
        ends=np.tile(probe.ends, count),
        allowed=np.tile(probe.allowed, (count, 1)),
    )


def share_of_left(name, rounds=300, many=50):
    """Example 6.7: how often learners go left in their first 300 sessions."""
    probe, source = copies(maximisation_bias(), many), rng(1)
    learner, left = make(name, discount=1.0, exploration=TENTH), []
    state = learner.init(probe.spec, source)
    for _ in range(rounds):
        batch = probe.play(learner.policy(state, explore=True), many, source)
        left.append((batch.action[batch.observation[:, 0] % 4 == 0] == 0).mean())
        state, _ = learner.update(state, batch, source)
    return np.array(left)


def test_double_q_learning_is_not_lured_by_the_largest_of_many_noisy_values():
    single, double = share_of_left("q_learning"), share_of_left("double_q_learning")
    assert single[:100].mean() > 0.6
    assert single.mean() > 0.3
    assert double.mean() < 0.2
    assert double[-50:].mean() < 0.1  # 5 % would be the best at ε = 0.1


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("sarsa", -17, -15), ("expected_sarsa", -17, -15), ("q_learning", -13, -13), ("q_lambda", -13, -13)],
)
def test_beside_the_cliff_those_who_count_their_exploration_walk_the_safe_way(name, low, high):
    env = gymnasium.make("CliffWalking-v1").unwrapped
    probe = from_table(env.P, env.initial_state_distrib, limit=200)
    learner = make(name, discount=1.0, exploration=TENTH)
    policy = learner.policy(live(learner, probe, rounds=120, sessions=20))
    worth = probe.play(policy, 20, rng(9)).reward.sum() / 20
    assert low <= worth <= high


def test_maximisation_bias_and_random_walk_have_the_values_of_the_book():
    assert maximisation_bias().optimum(1.0)[0, :2] == pytest.approx([-0.1, 0.0])
    assert maximisation_bias().best == pytest.approx(0.0)
    assert random_walk().optimum(1.0)[1:6, 0] == pytest.approx(np.arange(1, 6) / 6)
    assert random_walk().worth(Uniform()) == pytest.approx(0.5)


@pytest.mark.parametrize("limit", [1_000, 2])
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("sarsa", {}),
        ("expected_sarsa", {}),
        ("double_q_learning", {}),
        ("n_step_sarsa", {}),
        ("sarsa_lambda", {}),
        ("sarsa_lambda", {"trace": "accumulating"}),
        ("sarsa_lambda", {"trace": "dutch"}),
        ("q_lambda", {}),
        ("monte_carlo", {"first_visit": False, "learning_rate": 0.5, "step_power": 0.6}),
        ("monte_carlo", {"first_visit": True, "learning_rate": 0.5, "step_power": 0.6}),
    ],
)
def test_the_random_walk_gets_its_values_whole_or_cut_to_pieces_of_two_steps(name, more, limit):
    everywhere = np.array([0, 1, 1, 1, 1, 1, 0]) / 5
    probe = replace(random_walk(), limit=limit, start=everywhere)
    learner = make(name, **{"discount": 1.0, "learning_rate": 0.01, **more})
    state = live(learner, probe, rounds=40, sessions=1_500)
    assert state.values[1:6, 0] == pytest.approx(np.arange(1, 6) / 6, abs=0.05)


def soft_optimum(probe, factor, epsilon):
    """Q of the best policy among those that explore with ε, by iteration."""
    values, mean = np.zeros(probe.allowed.shape), np.einsum("sap,sap->sa", probe.transition, probe.reward)
    for _ in range(500):
        ahead = (1 - epsilon) * values.max(axis=1) + epsilon * values.mean(axis=1)
        values = mean + factor * (probe.transition * ~probe.ends) @ np.where(probe.ends, 0.0, ahead)
    return values


def test_expected_sarsa_finds_the_best_exploring_policy_in_a_log_that_others_wrote():
    probe = random_problem(6, 3, rng(3))
    learner = make(
        "expected_sarsa",
        discount=0.8,
        step_power=0.7,
        learning_rate=1.0,
        exploration={"name": "epsilon_greedy", "epsilon": 0.4},
    )
    state, _ = learner.update(learner.init(probe.spec, rng()), probe.play(Uniform(), 20_000, rng(1)), rng())
    assert state.values[:5] == pytest.approx(soft_optimum(probe, 0.8, 0.4)[:5], abs=0.05)
    assert np.abs(soft_optimum(probe, 0.8, 0.4) - probe.optimum(0.8))[:5].max() > 0.1  # another question than Q*


@dataclass(frozen=True)
class Evenly:
    """A rule that does not look."""

    def __call__(self, belief, allowed):
        return evenly(allowed)


def test_expected_sarsa_follows_any_rule_of_exploration():
    probe = random_problem(6, 3, rng(3))
    learner = replace(make("expected_sarsa", discount=0.8, step_power=0.7, learning_rate=1.0), exploration=Evenly())
    state, _ = learner.update(learner.init(probe.spec, rng()), probe.play(Uniform(), 20_000, rng(1)), rng())
    assert state.values[:5] == pytest.approx(soft_optimum(probe, 0.8, 1.0)[:5], abs=0.05)


def test_monte_carlo_finds_the_best_policy_in_a_log_of_chance():
    probe = corridor(4)
    learner = make("monte_carlo", off_policy=True, first_visit=False)
    state, _ = learner.update(learner.init(probe.spec, rng()), probe.play(Uniform(), 5_000, rng(1)), rng())
    assert state.values[:4, 1] == pytest.approx(0.95 ** np.arange(3, -1, -1), abs=0.02)
    assert probe.worth(learner.policy(state)) == pytest.approx(probe.best)


def test_on_policy_monte_carlo_is_exactly_the_mean_of_the_returns():
    probe = replace(random_walk(), noise=0.5)
    batch = probe.play(Uniform(), 200, rng(1))
    learner = make("monte_carlo", discount=1.0)
    state, _ = learner.update(learner.init(probe.spec, rng()), batch, rng())
    returns = [batch.reward[batch.session == session].sum() for session in range(200)]
    assert state.values[3, 0] == pytest.approx(np.mean(returns), abs=1e-12)  # all start in the middle
    assert state.visits[3, 0] == 200
