"""The one-phase policy gradients: their advantages by hand, their gradients by hand, ends, cuts, masks and seeds."""

import jax
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu.errors import InvalidInput
from bondhu.learners import _policy_gradients, build, pack
from bondhu.types import Batch, Spec

SPEC = Spec(Box(-1.0, 1.0, (2,), np.float32), Discrete(3))
NAMES = ["deep.a2c", "deep.a3c", "deep.actor_critic", "deep.reinforce", "deep.v_trace"]
every = pytest.mark.parametrize("name", NAMES)
HALF = np.log(0.5)


def session(reward, *, ended, probability=1 / 3, action=0, allowed=(True, True, True)):
    """One session of three rows at most, seen as 1, 0; then 0, 1; then 1, 1; what comes after is -1, 1."""
    count = len(reward)
    seen = np.array([[1, 0], [0, 1], [1, 1], [-1, 1]], np.float32)
    discount = np.ones(count)
    discount[-1] = 0.0 if ended else 1.0
    following = seen[1 : count + 1].copy()
    following[-1] = 0.0 if ended else seen[3]
    return Batch(
        observation=seen[:count],
        allowed=np.tile(allowed, (count, 1)),
        action=np.full(count, action),
        probability=np.full(count, probability),
        reward=np.array(reward, float),
        discount=discount,
        has_next=np.arange(count) < count - 1,
        next_observation=following,
        next_allowed=np.tile(allowed, (count, 1)),
        session=np.zeros(count, np.int64),
        time=np.arange(count, dtype=float),
        memo=np.zeros((count, 0)),
    )


def rows(reward, value, following, *, ended, discount=0.5, ratio=0.0):
    """Columns of one session as `estimated` gets them."""
    count = len(reward)
    continuing = np.full(count, discount, np.float32)
    continuing[-1] = 0.0 if ended else discount
    columns = {"reward": reward, "continuing": continuing, "linked": np.arange(count) < count - 1, "value": value,
               "next_value": following, "log_ratio": np.full(count, ratio), "weight": np.ones(count)}  # fmt: skip
    return {name: np.asarray(column, np.float32) for name, column in columns.items()}


def started(name, **given):
    """A learner as most tests want it: each other one would be compiled anew."""
    plain = {"hidden": [4], "activation": "tanh", "discount": 0.5, "learning_rate": 0.001, "anneal_steps": 6}
    learner = build(name, {**plain, "entropy_bonus": 0.1, "gradient_limit": 1e6, **given})
    return learner, learner.init(SPEC, np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------------ the equations


def test_one_step_advantage_is_what_came_and_is_expected_less_what_was_expected():
    learner = build("deep.actor_critic", {})
    advantage, target = learner.estimated(rows([1.0, 2.0], [3.0, 4.0], [4.0, 6.0], ended=False))
    assert advantage.tolist() == [1 + 0.5 * 4 - 3, 2 + 0.5 * 6 - 4]  # 0, 1
    assert target.tolist() == [3.0, 5.0]
    ended, _ = learner.estimated(rows([1.0, 2.0], [3.0, 4.0], [4.0, 6.0], ended=True))
    assert ended.tolist() == [0.0, 2 - 4]  # nothing follows an end


def test_one_step_advantages_of_logged_rows_count_by_the_ratio_up_to_its_limit():
    learner = build("deep.actor_critic", {"ratio_limit": 2.0})
    less, target = learner.estimated(rows([2.0], [4.0], [6.0], ended=True, ratio=HALF))
    assert less.tolist() == pytest.approx([0.5 * (2 - 4)])
    assert target.tolist() == pytest.approx([3.0])
    more, _ = learner.estimated(rows([2.0], [4.0], [6.0], ended=True, ratio=5.0))
    assert more.tolist() == [2.0 * (2 - 4)]


def test_reinforce_returns_run_to_the_end_and_take_the_critics_word_beyond_a_cut():
    learner = build("deep.reinforce", {"normalise_advantages": False})
    advantage, target = learner.estimated(rows([1.0, 2.0, 4.0], [1.0, 1.0, 1.0], [1.0, 1.0, 8.0], ended=True))
    assert target.tolist() == [1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4.0]  # 3, 4, 4
    assert advantage.tolist() == [2.0, 3.0, 3.0]
    _, cut = learner.estimated(rows([1.0, 2.0, 4.0], [1.0, 1.0, 1.0], [1.0, 1.0, 8.0], ended=False))
    assert cut.tolist() == [1 + 0.5 * (2 + 0.5 * 8), 2 + 0.5 * 8, 4 + 0.5 * 8.0]  # 4, 6, 8


@pytest.mark.parametrize("name", ["deep.a2c", "deep.a3c"])
def test_advantages_sum_the_errors_that_follow_by_gamma_and_lambda(name):
    columns = rows([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], [2.0, 3.0, 8.0], ended=False)
    errors = [1 + 0.5 * 2 - 1, 2 + 0.5 * 3 - 2, 4 + 0.5 * 8 - 3]  # 1, 1.5, 5
    whole, target = build(name, {"trace_decay": 1.0}).estimated(columns)
    assert whole.tolist() == [1 + 0.5 * (1.5 + 0.5 * 5), 1.5 + 0.5 * 5, 5.0]  # 3, 4, 5
    assert target.tolist() == [4.0, 6.0, 8.0]
    assert build(name, {"trace_decay": 0.0}).estimated(columns)[0].tolist() == errors


def test_v_trace_equals_the_sum_of_errors_where_the_policy_has_not_moved():
    columns = rows([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], [2.0, 3.0, 8.0], ended=False)
    advantage, target = build("deep.v_trace", {"trace_decay": 1.0}).estimated(columns)
    assert advantage.tolist() == [3.0, 4.0, 5.0]
    assert target.tolist() == [4.0, 6.0, 8.0]


def test_v_trace_discounts_rows_that_the_present_policy_makes_half_as_likely():
    columns = rows([1.0, 2.0], [1.0, 2.0], [2.0, 3.0], ended=True, ratio=HALF)
    advantage, target = build("deep.v_trace", {"trace_decay": 1.0}).estimated(columns)
    last = 2 + 0.5 * (2 - 2)  # ρ·δ on top of the value
    first = 1 + 0.5 * (1 + 0.5 * 2 - 1) + 0.5 * 0.5 * (last - 2)
    assert target.tolist() == pytest.approx([first, last])  # 1.5, 2
    assert advantage.tolist() == pytest.approx([0.5 * (1 + 0.5 * last - 1), 0.5 * (2 - 2)])


# ------------------------------------------------------------------------------------------------------- the gradient


def test_the_gradient_of_one_row_is_that_of_softmax_and_of_the_squared_error():
    """The heads' biases: ∂/∂b_a of -A·log π(taken) is -A·(1{a = taken} - π(a)), of the squared error 2·(V - target)."""
    learner, state = started("deep.a3c", entropy_bonus=0.0)
    batch = session([2.0], ended=True, action=1)
    found, told = learner.gradients(state, batch)
    policy = learner.policy(state, explore=True).distribution(batch.observation, batch.allowed)[0]
    value = learner.beliefs(state)(batch.observation).value[0, 0]
    advantage = 2.0 - value
    expected = [-advantage * ((action == 1) - policy[action]) for action in range(3)]
    np.testing.assert_allclose(found.actor.head.bias[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found.critic.head.bias, [0.5 * 2 * (value - 2.0)], rtol=1e-5)
    assert told["policy_loss"] == pytest.approx(-advantage * np.log(policy[1]), rel=1e-5)
    assert told["value_loss"] == pytest.approx(advantage**2, rel=1e-5)
    assert told["loss"] == pytest.approx(told["policy_loss"] + 0.5 * told["value_loss"], rel=1e-5)
    assert told["entropy"] == pytest.approx(-(policy * np.log(policy)).sum(), rel=1e-5)


def test_gradients_sent_and_applied_are_an_update():
    learner, state = started("deep.a3c")
    batch = session([1.0, 0.0, 2.0], ended=False)
    sent, told = learner.gradients(state, batch)
    ours, metrics = learner.applied(state, sent, told, batch)
    theirs, same = learner.update(state, batch, np.random.default_rng(0))
    assert metrics == same
    for name, array in pack(ours).items():
        np.testing.assert_array_equal(array, pack(theirs)[name])


def test_rmsprop_first_moves_every_parameter_by_ten_learning_rates():
    """The mean of squares begins at 0, so g / √(0.01·g²) = ±10 where g is not small beside ε."""
    learner, state = started("deep.a2c")
    after, _ = learner.update(state, session([100.0, 100.0, 100.0], ended=True), np.random.default_rng(0))
    moved = np.asarray(after.parameters.critic.head.bias) - state.parameters.critic.head.bias
    assert moved == pytest.approx([0.01], rel=1e-3)


def test_padding_changes_nothing():
    """Nine rows are padded to 64: the gradient is that of the rows alone, by a mean over nine."""
    learner, state = started("deep.a3c")
    short = session([1.0, 0.0, 2.0], ended=True)
    parts = {name: np.concatenate([getattr(short, name)] * 3) for name in short.__dataclass_fields__
             if name not in ("context", "objectives")}  # fmt: skip
    one, _ = learner.gradients(state, short)
    three, _ = learner.gradients(state, Batch(**parts))
    assert len(_policy_gradients.read(learner, state.known, Batch(**parts))[1]["weight"]) == 64
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(three), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


# -------------------------------------------------------------------------------------------------- ends, cuts, masks


@every
def test_what_follows_an_end_does_not_matter_and_what_follows_a_cut_does(name):
    learner, state = started(name)
    for ended in (True, False):
        batch = session([1.0, 0.0, 2.0], ended=ended)
        other = batch.next_observation.copy()
        other[-1] = [1.0, -1.0]
        moved = Batch(**{**vars(batch), "next_observation": other})
        one, another = (learner.update(state, each, np.random.default_rng(0))[0] for each in (batch, moved))
        same = all(np.array_equal(pack(one)[key], pack(another)[key]) for key in pack(one))
        assert same is ended


@every
def test_an_action_that_is_not_allowed_gets_no_gradient_and_is_never_taken(name):
    learner, state = started(name)
    batch = session([1.0, 0.0, 2.0], ended=True, allowed=(True, False, True))
    after, _ = learner.update(state, batch, np.random.default_rng(0))
    before, now = state.parameters.actor.head, after.parameters.actor.head
    np.testing.assert_array_equal(now.weight[:, 1], before.weight[:, 1])
    assert not np.array_equal(now.weight[:, 0], before.weight[:, 0])
    drawn = learner.policy(after, explore=True).distribution(batch.observation, batch.allowed)
    assert not drawn[:, 1].any()
    assert drawn.sum(axis=1) == pytest.approx(1.0)


@every
def test_the_same_seed_gives_the_same_numbers(name):
    learner, state = started(name)
    batch = session([1.0, 0.0, 2.0], ended=False)
    (one, first), (other, second) = (learner.update(state, batch, np.random.default_rng(4)) for _ in range(2))
    assert first == second
    for key, array in pack(one).items():
        np.testing.assert_array_equal(array, pack(other)[key])


@every
def test_the_learning_rate_falls_with_the_rows_learned_from(name):
    learner, state = started(name)
    batch, told = session([1.0, 0.0, 2.0], ended=False), []
    for _ in range(3):
        state, metrics = learner.update(state, batch, np.random.default_rng(0))
        told.append(metrics["learning_rate"])
    assert told == pytest.approx([0.001, 0.0005, 0.0])


@every
def test_bad_hyper_parameters_are_refused(name):
    for field, wrong in (("learning_rate", -1.0), ("gradient_limit", 0.0), ("entropy_bonus", -0.1)):
        with pytest.raises(InvalidInput) as raised:
            build(name, {field: wrong})
        assert raised.value.field == field
    with pytest.raises(InvalidInput, match="Did you mean 'tanh'"):
        build(name, {"activation": "tahn"}).init(SPEC, np.random.default_rng(0))
