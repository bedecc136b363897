"""What an assistant learns: of people with different tastes, and of whole conversations from one log."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains.assistant.conversations import credited
from bondhu.domains.encoders import CodeEncoder
from bondhu.domains.fields import Category
from bondhu.domains.probes.people import tastes
from bondhu.domains.wide_fields import Person
from bondhu.equations.intervals import student
from bondhu.learners import build
from bondhu.types import Batch, Spec

# ------------------------------------------------------------------------------- users with tastes of their own

TOPICS, STYLES, USERS, TALKS = ("code", "writing", "facts"), 4, 40, 15
ENCODER = CodeEncoder((Category("topic", TOPICS), Person("person", buckets=4_096)))
SHARED = np.array(
    [[0.2, 0.5, 0.4, 0.3], [0.5, 0.2, 0.3, 0.4], [0.4, 0.4, 0.3, 0.2]]
)  # what a style is worth for a topic
TASTES = tastes(np.array([[0.3, 0.1, -0.1, -0.3]]), 0.1)  # who likes the first style likes the last one less
POOLS = {
    "pooled": {},
    "one policy for all": {"spread": 0.0},
    "one policy for each": {"shared": False, "adaptive": False, "width": 8, "spread": 0.2},
}


def regret(settings, seed):
    """Mean regret of a decision over the first talks of all users, who take turns."""
    people, rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    own = people.multivariate_normal(np.zeros(STYLES), TASTES, USERS)
    learner, lost = build("bandit.pooled", settings), 0.0
    state = learner.init(Spec(ENCODER.space, Discrete(STYLES)), rng)
    names = np.array([f"user {number}" for number in range(USERS)], object)
    for _ in range(TALKS):
        topic = people.integers(len(TOPICS), size=USERS)
        seen = ENCODER.many({"topic": np.array(TOPICS, object)[topic], "person": names})
        worth, allowed = SHARED[topic] + own, np.ones((USERS, STYLES), bool)
        choice = learner.policy(state, explore=True).sample(seen, allowed, rng)
        reward = worth[np.arange(USERS), choice.action] + 0.3 * people.standard_normal(USERS)
        state, _ = learner.update(state, Batch.single(seen, allowed, choice.action, choice.probability, reward), rng)
        lost += float((worth.max(axis=1) - worth[np.arange(USERS), choice.action]).mean())
    return lost / TALKS


def test_pooling_beats_one_policy_for_all_and_one_for_each_user():
    lost = {name: np.array([regret(settings, seed) for seed in range(8)]) for name, settings in POOLS.items()}
    for other in ("one policy for all", "one policy for each"):
        low, _ = student(lost[other] - lost["pooled"], 0.95)
        assert low > 0.0, other
    assert lost["pooled"].mean() < 0.85 * min(lost["one policy for all"].mean(), lost["one policy for each"].mean())


# -------------------------------------------------------------------------------------------- whole conversations

ANSWER, ASK = 0, 1
CLEAR, VAGUE, CLARIFIED, CONFUSED, PLEASED = range(5)
# What answering at once and asking first are worth in each state on average, and the state that comes next.
WORTH = np.array([[1.0, -0.2], [0.2, -0.2], [1.5, -0.2], [0.1, -0.3], [0.5, 0.3]])
NEXT = np.array(
    [[PLEASED, CLARIFIED], [CONFUSED, CLARIFIED], [PLEASED, CLARIFIED], [CONFUSED, CONFUSED], [PLEASED, PLEASED]]
)
TURNS, FACTOR, SEEDS = 3, 0.9, 6
BEST = 0.5 * (1.0 + 0.9 * 0.5 + 0.81 * 0.5) + 0.5 * (-0.2 + 0.9 * 1.5 + 0.81 * 0.5)  # answer what is clear, else ask
SHORT = 0.5 * (1.0 + 0.9 * 0.5 + 0.81 * 0.5) + 0.5 * (0.2 + 0.9 * 0.1 + 0.81 * 0.1)  # answer whatever it is


def conversations(seed, count=400):
    """A log of whole conversations, in each turn of which a fair coin chose: observations are state and turn."""
    rng = np.random.default_rng(seed)
    state, rows = rng.integers(2, size=count), []
    for turn in range(TURNS):
        action = rng.integers(2, size=count)
        reward = WORTH[state, action] + 0.3 * rng.standard_normal(count)
        rows.append((np.stack([state, np.full(count, turn)], axis=1), action, reward))
        state = NEXT[state, action]
    seen, action, reward = (np.stack(parts, axis=1) for parts in zip(*rows, strict=True))
    following = np.zeros_like(seen)
    following[:, :-1] = seen[:, 1:]
    last = np.tile(np.arange(TURNS) == TURNS - 1, count)
    total, open_to = count * TURNS, np.ones((count * TURNS, 2), bool)
    return Batch(
        observation=seen.reshape(-1, 2), allowed=open_to, action=action.ravel(), probability=np.full(total, 0.5),
        reward=reward.ravel(), discount=1.0 - last, has_next=~last, next_observation=following.reshape(-1, 2),
        next_allowed=open_to, session=np.repeat(np.arange(count), TURNS), time=np.arange(total, dtype=float),
        memo=np.empty((total, 0)),
    )  # fmt: skip


def features(codes):
    return np.eye(5 * TURNS)[codes[:, 0] * TURNS + codes[:, 1]]


def learned(name, settings, batch, seed):
    """The greedy policy after the log, as a table of actions `[state, turn]`."""
    learner, rng = build(name, settings), np.random.default_rng(seed)
    codes = np.stack(np.indices((5, TURNS)), axis=-1).reshape(-1, 2)
    space = MultiDiscrete([5, TURNS])
    if learner.observes is Box:
        space, codes = Box(-np.inf, np.inf, (5 * TURNS,)), features(codes)
        after = features(batch.next_observation) * (batch.discount > 0)[:, None]
        batch = Batch(**{**vars(batch), "observation": features(batch.observation), "next_observation": after})
    state, _ = learner.update(learner.init(Spec(space, Discrete(2)), rng), batch, rng)
    chances = learner.policy(state).distribution(codes, np.ones((len(codes), 2), bool))
    return chances.argmax(axis=1).reshape(5, TURNS)


def returns(table):
    """The discounted return of a conversation with these actions, without noise: both first messages equally likely."""
    total = 0.0
    state = np.array([CLEAR, VAGUE])
    for turn in range(TURNS):
        action = table[state, turn]
        total += FACTOR**turn * WORTH[state, action].mean()
        state = NEXT[state, action]
    return total


FAR = [
    ("tabular.q_learning", {"discount": FACTOR, "passes": 40, "learning_rate": 0.1}),
    ("tabular.fitted_q", {"discount": FACTOR}),
    ("deep.actor_critic", {"discount": FACTOR, "passes": 150, "hidden": ()}),
]
NEAR = [
    ("tabular.q_learning", {"discount": 0.0, "passes": 40, "learning_rate": 0.1}),
    ("bandit.ucb1", {}),
    ("bandit.linear_thompson", {}),
    ("deep.actor_critic", {"discount": 0.0, "passes": 150, "hidden": ()}),
]


def test_what_asking_first_is_worth():
    ask, answer = np.full((5, TURNS), ASK), np.full((5, TURNS), ANSWER)
    far = answer.copy()
    far[VAGUE] = ASK
    assert returns(far) == pytest.approx(BEST)
    assert returns(answer) == pytest.approx(SHORT)
    assert pytest.approx(0.592) == BEST - SHORT
    assert returns(ask) < SHORT


@pytest.mark.parametrize(("name", "settings"), FAR)
def test_who_looks_ahead_learns_to_ask_first_from_a_log_of_whole_conversations(name, settings):
    found = [learned(name, settings, conversations(seed), seed) for seed in range(SEEDS)]
    assert [table[VAGUE, 0] for table in found] == [ASK] * SEEDS
    assert [table[CLEAR, 0] for table in found] == [ANSWER] * SEEDS
    worth = np.array([returns(table) for table in found])
    assert worth.mean() >= 0.98 * BEST
    near = np.array([returns(learned(*NEAR[0], conversations(seed), seed)) for seed in range(SEEDS)])
    assert (worth - near).min() > 0.5


@pytest.mark.parametrize(("name", "settings"), NEAR)
def test_who_looks_at_one_turn_answers_at_once_on_the_same_log(name, settings):
    found = [learned(name, settings, conversations(seed), seed) for seed in range(SEEDS)]
    assert [table[VAGUE, 0] for table in found] == [ANSWER] * SEEDS
    assert max(returns(table) for table in found) <= SHORT + 1e-9


def test_the_credit_of_a_turn_goes_to_the_question_that_paid_later():
    batch = conversations(0, count=4_000)
    credit = credited(batch, FACTOR)
    first = (credit.turn == 0) & (batch.observation[:, 0] == VAGUE)
    asked, answered = first & (batch.action == ASK), first & (batch.action == ANSWER)
    assert batch.reward[asked].mean() < batch.reward[answered].mean() - 0.3  # it costs now
    # Under the log's coin: -0.2 + 0.9·(0.65 + 0.9·(0.4 + 0.65) / 2) and 0.2 + 0.9·(-0.1 - 0.09).
    assert credit.action_value[asked].mean() == pytest.approx(0.81025, abs=0.05)
    assert credit.action_value[answered].mean() == pytest.approx(0.029, abs=0.05)
    assert credit.advantage[asked].mean() > 0.3
    assert credit.advantage[answered].mean() < -0.3
