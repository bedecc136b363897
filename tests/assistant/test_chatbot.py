"""The debugging chatbot: its figures, as printed and as they add up, and learners that come to prefer answer B."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from bondhu.domains.assistant.chatbot import COURSES, DIRECT, FACTOR, GENERIC, PRINTED, DebuggingChatbot, worth
from bondhu.learners import build
from bondhu.train.simulate import learn, played_in, simulate

FIRST = np.zeros((1, 2), np.int64)  # "My code is giving an error"
BOTH = np.ones((1, 2), bool)
ROUNDED = {  # terms as the example prints them
    GENERIC: (1.3, 1.08, 1.377, 1.097, 1.190),
    DIRECT: (1.7, 1.35, 1.458, 1.241, 1.058),
}


def played(env, *actions):
    env.reset(seed=0)
    return [env.step(action) for action in actions]


def test_the_exact_returns_and_the_printed_ones():
    assert worth(GENERIC) == pytest.approx(6.03148, abs=1e-12)
    assert worth(DIRECT) == pytest.approx(6.79706, abs=1e-12)
    for action, printed in enumerate(PRINTED):
        assert round(sum(ROUNDED[action]), 3) == printed
        exact = [FACTOR**k * turn.reward for k, turn in enumerate(COURSES[action])]
        wrong = [k for k, term in enumerate(exact) if abs(term - ROUNDED[action][k]) > 6e-4]
        assert wrong == [3, 4]
        assert abs(worth(action) - printed) < 0.013
    assert worth(DIRECT) - worth(GENERIC) == pytest.approx(0.76558, abs=1e-12)
    assert PRINTED[DIRECT] > PRINTED[GENERIC]


@pytest.mark.parametrize("later", [GENERIC, DIRECT])
@pytest.mark.parametrize("first", [GENERIC, DIRECT])
def test_the_first_answer_decides_the_course(first, later):
    steps = played(DebuggingChatbot(), first, later, later, later, later)
    rewards = [[1.3, 1.2, 1.7, 1.5, 1.8], [1.7, 1.5, 1.8, 1.7, 1.6]][first]
    assert [step[1] for step in steps] == rewards
    assert [step[2] for step in steps] == [False] * 4 + [True]
    assert not any(step[3] for step in steps)
    said = [["explanation", "question", "trace", "debugging"], ["trace", "debugging", "progress", "resolution"]][first]
    assert [step[4]["message"] for step in steps[:4]] == said


def test_it_is_an_environment_as_gymnasium_wants_them():
    check_env(DebuggingChatbot(), skip_render_check=True)
    assert isinstance(DebuggingChatbot(), gymnasium.Env)


EXPLORES = {"discount": FACTOR, "exploration": {"name": "epsilon_greedy", "epsilon": 0.3}}
TABULAR = {
    "tabular.q_learning": {**EXPLORES, "learning_rate": 0.5},
    "tabular.sarsa": {**EXPLORES, "learning_rate": 0.5},
    "tabular.monte_carlo": EXPLORES,  # a mean of all returns
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", TABULAR)
def test_tables_learn_answer_b_and_what_it_is_worth(name, seed):
    envs = SyncVectorEnv([DebuggingChatbot] * 4)
    learner = build(name, TABULAR[name])
    state, _ = learn(envs, learner, rounds=400, steps=6, rng=np.random.default_rng(seed))
    values = learner.beliefs(state)(FIRST).value[0]
    assert values[DIRECT] - values[GENERIC] == pytest.approx(0.76558, abs=0.01)
    assert learner.policy(state).distribution(FIRST, BOTH)[0, DIRECT] == 1.0
    batch = simulate(envs, learner.policy(state), 5, np.random.default_rng(seed))
    assert batch.reward.reshape(4, 5).tolist() == [[1.7, 1.5, 1.8, 1.7, 1.6]] * 4


@pytest.mark.parametrize("seed", range(5))
def test_an_actor_and_a_critic_learn_answer_b(seed):
    envs = SyncVectorEnv([DebuggingChatbot] * 8)
    learner = build("deep.a2c", {"hidden": [16], "discount": FACTOR, "learning_rate": 0.01})
    state, _ = learn(envs, learner, rounds=60, steps=12, rng=np.random.default_rng(seed))
    simulation = played_in(envs, learner)
    simulation.reset(seed)
    first = simulation.play(learner.policy(state), 1, np.random.default_rng(seed)).observation[:1]
    assert learner.policy(state, explore=True).distribution(first, BOTH)[0, DIRECT] > 0.8
