"""Soft actor–critic, with numbers worked by hand: targets, entropy, when it learns, and what it does with bounds."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu.domains import probes
from bondhu.errors import InvalidInput
from bondhu.learners import _critics, _replay, build, pack
from bondhu.learners._columns import Actions
from bondhu.learners.deep import discrete_sac, sac
from bondhu.policies.gaussian import Anywhere, Certain, Gaussian, Squashed
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch, Spec

# One set of hyper-parameters for all that learns: each is compiled by itself.
SMALL = {"hidden": [4], "minibatch": 4, "learning_starts": 2, "updates_per_step": 0.75, "target_rate": 0.25}
SPEC = Spec(Box(-np.inf, np.inf, (2,), np.float32), Box(np.float32([10.0, -1.0]), np.float32([30.0, 0.0])))
COUNTED = Spec(Box(-np.inf, np.inf, (2,), np.float32), Discrete(3))


def rows(count=6, spec=SPEC, seed=0):
    """Decisions of one session: the last is a true end; the one before the middle is a cut."""
    rng = np.random.default_rng(seed)
    counted = isinstance(spec.action, Discrete)
    width = spec.action.n if counted else 1
    discount, has_next = np.ones(count), np.ones(count, bool)
    discount[-1], has_next[[count // 2 - 1, -1]] = 0.0, False
    seen = rng.standard_normal((count + 1, 2)).astype(np.float32)
    return Batch(
        observation=seen[:-1],
        allowed=np.ones((count, width), bool),
        action=rng.integers(0, width, count) if counted else rng.uniform([10, -1], [30, 0], (count, 2)),
        probability=np.full(count, 0.05),
        reward=rng.standard_normal(count),
        discount=discount,
        has_next=has_next,
        next_observation=seen[1:] * discount[:, None].astype(np.float32),
        next_allowed=np.ones((count, width), bool),
        session=np.zeros(count, np.int64),
        time=np.arange(count, dtype=float),
        memo=np.zeros((count, 0)),
    )


def begun(name="deep.sac", spec=SPEC, **hyper):
    learner = build(name, SMALL | hyper)
    return learner, learner.init(spec, np.random.default_rng(1))


def network(body, head, x):
    """By hand: one hidden layer, ReLU."""
    hidden = np.maximum(x @ np.asarray(body["0"].weight) + np.asarray(body["0"].bias), 0.0)
    return hidden @ np.asarray(head.weight).reshape(hidden.shape[1], -1) + np.asarray(head.bias).ravel()


def critic(twins, number, x):
    body, head = jax.tree.map(lambda each: np.asarray(each)[number], (twins.body, twins.head))
    return network(body, head, x)


def test_the_target_is_the_lower_critic_and_the_entropy_of_a_new_action_and_nothing_after_an_end():
    learner, state = begun(first_temperature=0.5)
    learned, seen = state.learned, np.float32([[0.3, -0.2], [1.0, 0.4]])
    noise = np.float32([[0.5, -1.0], [0.1, 0.2]])
    columns = {
        "next_observation": seen,
        "noise": np.stack([noise, 0 * noise]),
        "reward": np.float32([1.0, 2.0]),
        "continuing": np.float32([0.9, 0.0]),
    }
    target = sac._target(learner, learned, columns, 0.5)
    said = network(learned.actor.body, learned.actor.head, seen).reshape(2, 2, 2)
    mean, log = said[..., 0], np.clip(said[..., 1], -5, 2)
    raw = mean + np.exp(log) * noise
    action = np.tanh(raw)
    density = (-0.5 * noise**2 - log - 0.5 * np.log(2 * np.pi) - np.log(1 - action**2)).sum(axis=1)
    values = [critic(learned.targets, k, np.hstack([seen, action]))[:, 0] for k in range(2)]
    lower = np.minimum(*values)
    np.testing.assert_allclose(target, [1.0 + 0.9 * (lower[0] - 0.5 * density[0]), 2.0], rtol=1e-4)
    assert not np.allclose(*values)  # the critics began differently


def test_a_critic_does_not_depend_on_the_other_one():
    _, state = begun()
    twins = state.learned.critics
    other = jax.tree.map(lambda each: np.concatenate([each[:1] + 1.0, each[1:]]), twins)
    seen, action = np.float32([[0.1, 0.2]]), np.float32([[0.3, -0.4]])
    before, after = (_critics.judged(each, seen, action, "relu") for each in (twins, other))
    assert before.shape == (2, 1)
    assert before[0, 0] != after[0, 0]
    np.testing.assert_array_equal(before[1], after[1])


def test_only_a_true_end_cuts_the_bootstrap_and_actions_are_put_between_minus_one_and_one():
    batch = rows()
    _, state = begun()
    replay = _replay.remembered(state.replay, batch, 100, 1, 0.9)
    columns = _critics.columns(replay, 30, 8, np.asarray(state.bounds), np.random.default_rng(0))
    drawn = _replay.drawn(replay, 30, 8, np.random.default_rng(0))
    np.testing.assert_allclose(columns["continuing"], np.where(drawn == 5, 0.0, 0.9), rtol=1e-6)
    np.testing.assert_array_equal(columns["next_observation"][drawn == 2][0], batch.next_observation[2])  # the cut
    wanted = (batch.action - [20.0, -0.5]) / [10.0, 0.5]
    np.testing.assert_allclose(columns["action"], wanted[drawn], atol=1e-5)
    assert columns["noise"].shape == (30, 2, 8, 2)


def test_more_steps_at_once_discount_as_often_as_they_look_ahead():
    learner, state = begun(n_step=3, discount=0.5, learning_starts=99)
    kept = learner.update(state, rows(), np.random.default_rng(0))[0].replay.rows
    np.testing.assert_allclose(kept.discount, [0.125, 0.25, 0.5, 0.0, 0.0, 0.0])  # row 2 is cut, row 5 ends


def test_the_temperature_rises_where_the_entropy_is_too_low():
    gradient = jax.grad(sac._temperature_loss)
    assert gradient(0.0, jnp.array([1.5, 2.5]), -1.0) == pytest.approx(-1.0)  # entropy -2: α·(2 - 1) is wanted
    assert gradient(0.0, jnp.array([-3.0]), -1.0) == pytest.approx(4.0)


def test_it_begins_anywhere_and_then_draws_as_it_has_learned_to():
    learner, state = begun(learning_starts=6)
    policy = learner.policy(state, explore=True)
    assert isinstance(policy, Anywhere)
    choice = policy.sample(np.zeros((500, 2)), np.ones((500, 1), bool), np.random.default_rng(0))
    assert choice.probability == pytest.approx(1 / 20)
    assert choice.action.min(axis=0) == pytest.approx([10.0, -1.0], abs=0.2)
    assert choice.action.max(axis=0) == pytest.approx([30.0, 0.0], abs=0.2)
    state, metrics = learner.update(state, rows(6), np.random.default_rng(0))
    assert metrics == {"updates": 0.0}
    assert isinstance(learner.policy(state, explore=True), Squashed)
    assert isinstance(learner.policy(state), Certain)


def test_rows_owe_gradient_steps_and_fractions_are_not_lost():
    learner, state = begun()
    made = []
    for count in (4, 3, 3):
        state, metrics = learner.update(state, rows(count), np.random.default_rng(0))
        made.append(metrics["updates"])
    assert made == [1.0, 2.0, 3.0]  # of 2 x 0.75 = 1.5, then 0.5 + 2.25, then 0.75 + 2.25
    assert float(state.owed) == pytest.approx(0.0)
    assert int(state.learned.critic_moments.steps) == 6


def test_the_same_seed_learns_the_same_and_another_one_does_not():
    states = []
    for seed in (3, 3, 4):
        learner, state = begun()
        state, metrics = learner.update(state, rows(), np.random.default_rng(seed))
        states.append(pack(state.learned))
        assert metrics["updates"] == 3.0
        assert all(map(np.isfinite, metrics.values()))
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])
    assert any((array != states[2][name]).any() for name, array in states[0].items())


def test_steps_of_one_call_are_those_of_several():
    learner, state = begun()
    replay = _replay.remembered(state.replay, rows(), 100, 1, 0.9)
    columns = _critics.columns(replay, 3, 4, np.asarray(state.bounds), np.random.default_rng(0))
    together, _ = sac._phase(learner, state.learned, {k: _critics.long(v) for k, v in columns.items()}, 3)
    alone = state.learned
    for step in range(3):
        part = {name: _critics.long(column[step : step + 1]) for name, column in columns.items()}
        alone, _ = sac._phase(learner, alone, part, 1)
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_targets_follow_the_critics_by_their_share():
    learner, state = begun()
    before = state.learned
    after = learner.update(state, rows(4), np.random.default_rng(0))[0].learned
    assert int(after.critic_moments.steps) == 1
    for old, new, target in zip(
        *(jax.tree.leaves(e) for e in (before.critics, after.critics, after.targets)), strict=True
    ):
        np.testing.assert_allclose(target, 0.75 * old + 0.25 * np.asarray(new), atol=1e-6)


def test_a_belief_is_the_lower_value_of_the_action_it_would_take():
    learner, state = begun()
    seen = np.float32([[0.3, -0.2], [1.0, 0.4]])
    belief = learner.beliefs(state)(seen)
    action = _critics.unit(learner.policy(state).mean(seen), np.asarray(state.bounds))
    values = np.stack([critic(state.learned.critics, k, np.hstack([seen, action])) for k in range(2)])
    np.testing.assert_allclose(belief.value, values.min(axis=0), rtol=1e-5)
    np.testing.assert_allclose(belief.error, np.abs(values[0] - values[1]) / 2, rtol=1e-4, atol=1e-6)


def test_the_density_of_a_squashed_action_adds_up_to_one():
    policy = Squashed(
        lambda seen: (np.full((len(seen), 1), 0.3), np.full((len(seen), 1), -0.5)), np.r_[10.0], np.r_[30.0]
    )
    place = np.linspace(10.0, 30.0, 4_001)[1:-1, None]
    density = policy.probability(np.zeros((len(place), 1)), np.ones((len(place), 1), bool), place)
    assert density.sum() * 20 / 4_000 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "spec", "field"),
    [
        ("deep.sac", COUNTED, "action_space"),
        ("deep.sac", Spec(SPEC.observation, Box(-np.inf, np.inf, (1,))), "action_space"),
        ("deep.sac", Spec(Box(0, 255, (64, 64, 3), np.uint8), SPEC.action), "observation_space"),
        ("deep.td3", COUNTED, "action_space"),
        ("deep.discrete_sac", SPEC, "action_space"),
    ],
)
def test_spaces_that_do_not_suit_are_refused(name, spec, field):
    with pytest.raises(InvalidInput) as raised:
        begun(name, spec)
    assert raised.value.field == field


def test_actions_of_another_shape_are_refused():
    learner, state = begun()
    batch = rows()
    with pytest.raises(InvalidInput, match=r"\(6, 2\)") as raised:
        learner.update(state, replace(batch, action=batch.action[:, 0]), np.random.default_rng(0))
    assert raised.value.field == "action"


# --------------------------------------------------------------------------------------------------- counted actions


def test_a_forbidden_action_is_never_bootstrapped_from_and_a_state_without_any_is_worth_nothing():
    learner, state = begun("deep.discrete_sac", COUNTED)
    learned, seen = state.memory.learned, np.float32([[0.3, -0.2]] * 3)
    columns = {
        "next_observation": seen,
        "next_allowed": np.array([[False, True, False], [True, True, False], [False, False, False]]),
        "reward": np.float32([1.0, 1.0, 1.0]),
        "continuing": np.float32([0.9, 0.9, 0.9]),
    }
    target = discrete_sac._target(learner, learned, columns, 0.5)
    lower = np.minimum(*(critic(learned.targets, k, seen) for k in range(2)))[0]
    logits = network(learned.actor.body, learned.actor.head, seen)[0, :2]
    chance = np.exp(logits) / np.exp(logits).sum()
    both = (chance * (lower[:2] - 0.5 * np.log(chance))).sum()
    np.testing.assert_allclose(target, [1 + 0.9 * lower[1], 1 + 0.9 * both, 1.0], rtol=1e-5)


def test_the_entropy_wanted_is_a_share_of_what_the_allowed_actions_permit():
    learner, _ = begun("deep.discrete_sac", COUNTED, target_entropy=0.5)
    allowed = np.array([[True, True, False], [True, False, False]])
    entropy = jnp.array([0.2, 0.0])
    gradient = jax.grad(discrete_sac._temperature_loss, argnums=1)(learner, 0.0, entropy, allowed)
    assert gradient == pytest.approx((0.2 - 0.5 * np.log(2)) / 2, abs=1e-6)


def test_counted_actions_are_drawn_evenly_at_first_then_by_the_actor():
    learner, state = begun("deep.discrete_sac", COUNTED)
    assert isinstance(learner.policy(state, explore=True), Uniform)
    for seed in range(2):
        state, metrics = learner.update(state, rows(6, COUNTED, seed), np.random.default_rng(seed))
    assert metrics["updates"] == 4.0  # of 4 x 0.75 = 3, then 6 x 0.75 = 4.5
    seen, allowed = np.float32([[0.3, -0.2]]), np.array([[True, False, True]])
    logits = network(state.memory.learned.actor.body, state.memory.learned.actor.head, seen)[0, [0, 2]]
    chance = learner.policy(state, explore=True).distribution(seen, allowed)[0]
    np.testing.assert_allclose(chance[[0, 2]], np.exp(logits) / np.exp(logits).sum(), rtol=1e-5)
    assert chance[1] == 0.0
    assert state.tries.sum() == 12


def test_a_replay_of_counted_actions_keeps_what_is_allowed():
    batch = rows(4, COUNTED)
    replay = _replay.remembered(_replay.nothing(COUNTED.observation, Actions((3,), 0), 9), batch, 9, 1, 1.0)
    columns = _replay.columns_of(replay, np.array([[3, 1]]))
    np.testing.assert_array_equal(columns["action"], [batch.action[[3, 1]]])
    assert columns["next_allowed"].shape == (1, 2, 3)


# -------------------------------------------------------------------------------------------------------- the probes


@pytest.mark.parametrize("name", ["steering", "approach"])
def test_nothing_beats_the_best_and_playing_earns_the_worth_of_a_probe(name):
    probe, rng = probes.find(name), np.random.default_rng(0)
    wide = probe.spec.action.shape[0]

    def spread(seen):
        return np.tanh(seen[:, :wide]).astype(float), np.full((len(seen), wide), -0.7)

    ends = -np.ones(wide), np.ones(wide)
    noisy = Certain(lambda seen: spread(seen)[0], *ends, 0.4)
    sure = Certain(lambda seen: spread(seen)[0], *ends)
    for policy in (probe.uniform, Squashed(spread, *ends), Gaussian(spread), noisy, sure):
        uncut = replace(probe, cut=0.0) if name == "approach" else probe
        batch = uncut.play(policy, 20_000, rng)
        earned = batch.reward * (0.95**batch.time if name == "approach" else 1.0)
        total = np.bincount(batch.session, earned)
        assert total.mean() == pytest.approx(probe.worth(policy), abs=5 * total.std() / np.sqrt(len(total)) + 2e-5)
        assert probe.worth(policy) < probe.best
    with pytest.raises(InvalidInput, match="not known"):
        probe.worth(Uniform())


def test_the_best_of_the_two_decisions_is_what_calculus_says():
    probe = probes.find("approach")
    place = 0.8 * 0.95 / 1.95
    best = Certain(lambda seen: np.where(seen[:, :1] > 0, seen[:, 1:], place).astype(float), np.r_[-1.0], np.r_[1.0])
    assert probe.worth(best) == pytest.approx(probe.best, abs=1e-7)
    short = Certain(lambda seen: np.where(seen[:, :1] > 0, seen[:, 1:], 0.07).astype(float), np.r_[-1.0], np.r_[1.0])
    assert probe.worth(short) < probe.best - 0.1 * (probe.best - probe.worth(probe.uniform))  # a cut taken for an end
