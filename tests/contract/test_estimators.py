"""Every estimator of the catalogue: exact where it must be, honest of its width, silent where it knows nothing."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from bondhu import evaluate
from bondhu.equations.weights import effective_samples
from bondhu.errors import InvalidInput, UnknownName
from bondhu.evaluate.decisions.direct_method import DirectMethod
from bondhu.evaluate.decisions.doubly_robust import DoublyRobust
from bondhu.evaluate.decisions.ips import InversePropensity
from bondhu.evaluate.decisions.snips import SelfNormalised
from bondhu.evaluate.models import Remembered, cross_fitted
from bondhu.types import Batch
from tests.contract.small_world import (
    ALLOWED,
    CONTEXTS,
    LOGGING,
    REWARDS,
    TARGET,
    TRUTH,
    Tabled,
    log,
    population,
    simulated,
)

NAMES = evaluate.names("decision")
ESTIMATORS = [evaluate.find(name) for name in NAMES]
every = pytest.mark.parametrize("estimator", ESTIMATORS, ids=NAMES)
target = Tabled(TARGET)


def test_the_folder_is_the_catalogue():
    ours = {"dm", "dr", "dros", "ips", "mips", "sndr", "snips", "sub_gaussian", "sub_gaussian_dr", "switch_dr"}
    assert set(NAMES) >= ours
    assert evaluate.find("dr") is DoublyRobust


def test_an_unknown_estimator_names_the_nearest():
    with pytest.raises(UnknownName, match=r"No estimator 'snipps'. Did you mean 'snips'\?"):
        evaluate.find("snipps")


@every
def test_value_is_the_truth_on_the_exact_population(estimator):
    batch = population(times=5)
    assert len(batch) == 10_000
    found = estimator()(target, batch)
    assert found.refused is None
    exact = estimator.name in ("ips", "snips", "mips", "balanced")
    assert found.value == pytest.approx(TRUTH, abs=1e-12 if exact else 2e-3)
    assert found.low < TRUTH < found.high


@every
def test_terms_average_the_value_and_the_interval_holds_it(estimator):
    batch = simulated(np.random.default_rng(1), 500)
    found = estimator()(target, batch)
    assert found.terms.shape == (500,)
    assert found.terms.mean() == pytest.approx(found.value, abs=1e-12)
    assert found.low < found.value < found.high
    wider = estimator(confidence=0.99)(target, batch)
    assert (wider.high - wider.low) / (found.high - found.low) == pytest.approx(
        2.585 / 1.965, abs=2e-2
    )  # skewness moves both


@pytest.mark.parametrize("estimator", [InversePropensity, DoublyRobust])
def test_expectation_over_every_possible_log_is_the_truth(estimator):
    """All 8^3 logs of three decisions, each with its probability: nothing is left to chance."""
    contexts, logging = np.array([0.4, 0.6]), np.array([[0.5, 0.5], [0.25, 0.75]])
    near, rewards = np.array([[0.54, 0.46], [0.26, 0.74]]), np.array([[0.2, 0.9], [0.7, 0.1]])
    outcomes = np.array(list(product(range(2), repeat=3)))  # context, action, reward
    x, a, r = outcomes.T
    chance = contexts[x] * logging[x, a] * np.where(r, rewards[x, a], 1 - rewards[x, a])
    judge = estimator(minimum_effective_samples=0)
    expected = 0.0
    for rows in product(range(8), repeat=3):
        batch = log(*outcomes[list(rows)].T, logging=logging, allowed=np.ones((2, 2), bool))
        expected += chance[list(rows)].prod() * judge(Tabled(near), batch).value
    assert expected == pytest.approx(float(contexts @ (near * rewards).sum(1)), abs=1e-12)


@pytest.mark.parametrize("estimator", [InversePropensity, SelfNormalised])
def test_on_policy_value_is_the_sample_mean(estimator):
    batch = simulated(np.random.default_rng(2), 400)
    found = estimator()(Tabled(LOGGING), batch)
    assert found.value == pytest.approx(batch.reward.mean(), abs=1e-12)
    assert found.effective_samples == pytest.approx(400)


def test_on_policy_doubly_robust_is_the_sample_mean_where_its_model_tells_actions_alike():
    batch = simulated(np.random.default_rng(2), 400)
    alike = DoublyRobust(model=lambda rows: np.repeat(np.sin(rows.observation), 3, axis=1))
    assert alike(Tabled(LOGGING), batch).value == pytest.approx(batch.reward.mean(), abs=1e-12)
    own = DoublyRobust()(Tabled(LOGGING), batch)
    assert own.value == pytest.approx(batch.reward.mean(), abs=0.02)
    assert own.high - own.low < 1.9 * 1.97 * batch.reward.std() / 20  # no wider than the sample mean's


@every
def test_a_log_without_exploration_judges_the_policy_that_made_it(estimator):
    always = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    batch = simulated(np.random.default_rng(3), 2_000, logging=always)
    found = estimator()(Tabled(always), batch)
    assert found.refused is None
    assert found.value == pytest.approx(batch.reward.mean(), abs=2e-3)


@every
def test_masked_actions_earn_nothing(estimator):
    """Context 2 forbids action 0, whose reward there would be .9; a policy that wants it must not be paid for it."""
    wants = Tabled(np.array([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1], [0.0, 0.5, 0.5]]))
    batch = population(times=5)
    truth = float(CONTEXTS @ (np.where(ALLOWED, wants.table, 0) * REWARDS).sum(1))
    assert estimator()(wants, batch).value == pytest.approx(truth, abs=3e-3)
    assert not (batch.action[batch.observation[:, 0] == 2] == 0).any()


@every
def test_floats_are_as_good_as_codes(estimator):
    batch = population(times=5)
    features = (np.arange(3) == batch.observation).astype(float)
    floats = replace(batch, observation=np.hstack([batch.observation.astype(float), features]))
    assert estimator()(target, floats).value == pytest.approx(TRUTH, abs=2e-3)


@every
def test_decisions_repeated_inside_a_session_do_not_narrow_the_interval(estimator):
    once = simulated(np.random.default_rng(4), 600)
    thrice = once.take(np.repeat(np.arange(600), 3))
    alone, together = estimator()(target, once), estimator()(target, thrice)
    assert together.value == pytest.approx(alone.value, abs=5e-3)  # three times the rows: ridge shrinks less
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.05)


def changed(**columns):
    batch = simulated(np.random.default_rng(5), 300)
    for name, value in columns.items():
        column = getattr(batch, name).copy()
        column[7] = value
        batch = replace(batch, **{name: column})
    return batch


def certain(batch):
    return replace(batch, probability=np.ones(len(batch)))


BAD = {
    "no decisions": (changed().take(np.zeros(300, bool)), "no settled decisions"),
    "reward is not a number": (changed(reward=np.nan), "Row 7 has reward nan"),
    "reward is infinite": (changed(reward=np.inf), "Row 7 has reward inf"),
    "probability 0": (changed(probability=0.0), r"Row 7 has probability 0.0, which is outside \(0, 1\]"),
    "probability above 1": (changed(probability=1.5), "Row 7 has probability 1.5"),
    "probability is not a number": (changed(probability=np.nan), "Row 7 has probability nan"),
    "an action that does not exist": (changed(action=3), "Row 7 has action 3, which is not an action"),
    "an action that was not allowed": (changed(allowed=False), r"Row 7 took action \d, which was not allowed"),
    "no exploration": (certain(changed()), r"no exploration.*Set \[exploration\] rate"),
    "too few decisions": (changed().take(np.arange(30)), r"30 decisions are worth .* fewer than 50"),
    "wrong probabilities": (replace(population(), probability=population().probability ** 2), "1 is expected"),
}


@every
@pytest.mark.parametrize("fault", BAD)
def test_a_bad_log_is_refused_with_its_reason(estimator, fault):
    batch, reason = BAD[fault]
    found = estimator()(target, batch)
    assert found.refused is not None
    assert np.isnan([found.value, found.low, found.high]).all()
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.refused)


@every
def test_a_policy_that_never_does_what_was_logged_is_refused(estimator):
    batch = simulated(np.random.default_rng(6), 300)
    only = batch.take(batch.action == 2)
    found = estimator()(Tabled(np.array([[0.5, 0.5, 0.0]] * 3)), only)
    assert found.refused.startswith("No overlap")
    assert np.isnan(found.effective_samples)


@every
def test_actions_the_log_never_tries_are_noticed_though_no_row_shows_them(estimator):
    narrow = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    found = estimator()(target, simulated(np.random.default_rng(7), 2_000, logging=narrow))
    assert "takes actions the log never tried" in found.refused


@every
def test_a_policy_that_gives_no_probability_is_refused(estimator):
    found = estimator()(Tabled(np.full((3, 3), np.nan)), changed())
    assert found.refused.startswith("The policy gives probability nan to the action of row 0")


@every
def test_too_few_effective_samples_are_counted_and_the_floor_can_be_set(estimator):
    batch = simulated(np.random.default_rng(8), 60)
    found = estimator()(target, batch)
    weights = TARGET[batch.observation[:, 0], batch.action] / batch.probability
    assert found.effective_samples == pytest.approx(effective_samples(weights))
    assert found.refused is not None
    assert estimator(minimum_effective_samples=10)(target, batch).refused is None


def test_clipping_narrows_and_lowers():
    batch = simulated(np.random.default_rng(9), 1_000)
    free, held = InversePropensity()(target, batch), InversePropensity(clip=1.5)(target, batch)
    weights = np.minimum(TARGET[batch.observation[:, 0], batch.action] / batch.probability, 1.5)
    assert held.value == pytest.approx((weights * batch.reward).mean())
    assert held.value < free.value
    assert held.high - held.low < free.high - free.low
    assert held.effective_samples > free.effective_samples


def test_the_direct_method_is_a_weighted_mean_of_rewards_whose_weights_know_no_logged_probability():
    batch = simulated(np.random.default_rng(11), 1_000)
    judge = DirectMethod(minimum_effective_samples=0)
    found = judge(target, batch)
    assert judge(target, replace(batch, reward=3 * batch.reward)).value == pytest.approx(3 * found.value)
    rescaled = replace(batch, probability=batch.probability * 0.97)
    assert judge(target, rescaled).value == pytest.approx(found.value, abs=1e-12)
    weights = TARGET[batch.observation[:, 0], batch.action] / batch.probability
    assert found.effective_samples == pytest.approx(effective_samples(weights), rel=0.05)  # it finds them by itself


def test_a_given_model_is_taken_at_its_word():
    batch = simulated(np.random.default_rng(12), 500)
    known = DirectMethod(model=lambda rows: REWARDS[rows.observation[:, 0]])
    expected = (TARGET * REWARDS).sum(1)[batch.observation[:, 0]]
    assert known(target, batch).terms == pytest.approx(expected, abs=1e-12)


def studied(judges, logs=300, rows=1_000):
    """Values, lows and highs `[judge, logs]` over simulated logs; the usual model is fitted once for all."""
    rng, shared = np.random.default_rng(10), Remembered()
    judges = [replace(each, model=shared) if getattr(each, "model", None) is cross_fitted else each for each in judges]
    found = []
    for _ in range(logs):
        batch = simulated(rng, rows)
        found.append([(e.value, e.low, e.high) for e in (judge(target, batch) for judge in judges)])
    return np.array(found).transpose(2, 1, 0)


def test_intervals_cover_the_truth_as_often_as_they_say():
    _, low, high = studied([each() for each in ESTIMATORS])
    covered = ((low <= TRUTH) & (high >= TRUTH)).mean(1)
    assert (covered >= 0.91).all(), covered
    assert (covered <= 0.99).all(), covered


def test_doubly_robust_beats_ips_where_its_model_is_good_and_stays_unbiased_where_it_is_bad():
    bad = DoublyRobust(model=lambda batch: 3.0 - 5.0 * np.repeat(batch.observation, 3, axis=1) * np.arange(3))
    fooled = DirectMethod(model=bad.model)
    values, _, _ = studied([InversePropensity(), DoublyRobust(), bad, fooled])
    error = ((values - TRUTH) ** 2).mean(1)
    assert error[1] < 0.7 * error[0]
    bias, noise = values.mean(1) - TRUTH, values.std(1) / np.sqrt(values.shape[1])
    assert (np.abs(bias[:3]) < 3 * noise[:3]).all()
    assert abs(bias[3]) > 0.5


@every
def test_too_few_unusual_rewards_are_refused_since_their_variance_is_unknown(estimator):
    batch = simulated(np.random.default_rng(5), 400)
    rare = replace(batch, reward=(np.arange(400) < 4).astype(float))
    found = estimator()(target, rare)
    assert "Rewards are too rare" in (found.refused or "")
    assert "fewer than 5" in (found.refused or "")
    assert estimator()(target, replace(batch, reward=np.ones(400))).refused is None
    of_action = replace(batch, reward=(batch.action == 1) * 1.0)  # what an action is worth as such is no rare event
    only = Tabled(np.tile([0.0, 1.0, 0.0], (3, 1)))
    assert InversePropensity()(only, of_action).refused is None


# ------------------------------------------------------------------------------------------------- numbers by hand

FOUR = Batch.single(  # weights 3, 1, 0.5, 0.5; one context
    np.zeros((4, 1), np.int64),
    np.ones((4, 2), bool),
    np.array([0, 0, 1, 1]),
    np.array([0.2, 0.6, 0.8, 0.8]),
    np.array([1.0, 0.0, 1.0, 2.0]),
)
EITHER = Tabled(np.array([[0.6, 0.4]]))


def half_of_one(batch):
    """q = 0.5 for action 0, 1 for action 1: the policy earns 0.6 * 0.5 + 0.4 * 1 = 0.7; errors 0.5, -0.5, 0, 1."""
    return np.tile([0.5, 1.0], (len(batch), 1))


BY_HAND = {
    ("ips", ()): (3 + 0 + 0.5 + 1) / 4,
    ("ips", (("clip", 2.0),)): (2 + 0 + 0.5 + 1) / 4,
    ("snips", ()): (3 + 0 + 0.5 + 1) / 5,
    ("mips", ()): (3 + 0 + 0.5 + 1) / 4,
    ("dm", ()): 0.7,
    ("dr", ()): 0.7 + (1.5 - 0.5 + 0 + 0.5) / 4,
    ("sndr", ()): 0.7 + (1.5 - 0.5 + 0 + 0.5) / 5,
    ("switch_dr", (("threshold", 1.0),)): 0.7 + (-0.5 + 0 + 0.5) / 4,
    ("switch_dr", (("threshold", 0.0),)): 0.7,
    ("switch_dr", ()): 0.7 + (-0.5 + 0 + 0.5) / 4,  # the root of 4 rows is below 3
    ("dros", (("shrinkage", 3.0),)): 0.7 + (0.75 * 0.5 - 0.75 * 0.5 + 0 + 1.5 / 3.25) / 4,
    ("dros", (("shrinkage", 0.0),)): 0.7,
    ("dros", (("shrinkage", np.inf),)): 0.7 + (1.5 - 0.5 + 0 + 0.5) / 4,
    ("sub_gaussian", (("correction", 0.5),)): (3 / 2 + 0 + 0.5 / 0.75 + 2 * 0.5 / 0.75) / 4,
    ("sub_gaussian", (("correction", 1.0),)): 1.0,  # the mean reward
    ("sub_gaussian_dr", (("correction", 0.5),)): 0.7 + (0.75 - 0.5 + 0 + 0.5 / 0.75) / 4,
    ("sub_gaussian_dr", (("correction", 0.0),)): 0.7 + (1.5 - 0.5 + 0 + 0.5) / 4,
}


@pytest.mark.parametrize(("name", "settings"), BY_HAND)
def test_four_rows_by_hand(name, settings):
    judge = evaluate.find(name)(minimum_effective_samples=0, **dict(settings))
    if hasattr(judge, "model"):
        judge = replace(judge, model=half_of_one)
    found = judge(EITHER, FOUR)
    assert found.refused is None
    assert found.value == pytest.approx(BY_HAND[name, settings], abs=1e-12)


@every
def test_what_is_tuned_is_a_field_and_begins_where_nothing_is_bent(estimator):
    if not hasattr(estimator, "tunes"):
        assert estimator.name not in ("ips", "switch_dr", "dros", "sub_gaussian", "sub_gaussian_dr")
        return
    field, grid = estimator.tunes
    batch = simulated(np.random.default_rng(13), 500)
    plain = evaluate.find("dr" if hasattr(estimator(), "model") else "ips")()(target, batch)
    found = [replace(estimator(), **{field: each})(target, batch) for each in grid]
    assert found[0].value == pytest.approx(plain.value, abs=1e-12)
    widths = np.array([each.high - each.low for each in found])
    assert (np.diff(widths) < 0.02 * widths[0]).all()  # ever narrower
    assert widths[-1] < 0.9 * widths[0]


def test_kinds_of_actions_by_hand():
    """Actions 0 and 1 are of one kind; logged evenly by half, so the chance of the kind is what counts."""
    logging, wanted = np.tile([0.25, 0.25, 0.5], (3, 1)), np.tile([0.6, 0.0, 0.4], (3, 1))
    batch = Batch.single(
        np.zeros((4, 1), np.int64), np.ones((4, 3), bool), np.array([0, 1, 2, 2]), np.array([0.25, 0.25, 0.5, 0.5]),
        np.array([1.0, 3.0, 0.0, 2.0]),
    )  # fmt: skip
    judge = evaluate.find("mips")
    codes = np.array([[0, 7], [0, 7], [0, 8]])
    found = judge(minimum_effective_samples=0, embeddings=codes, logger=Tabled(logging))(Tabled(wanted), batch)
    assert found.value == pytest.approx((1.2 * 1 + 1.2 * 3 + 0.8 * 2) / 4)  # 0.6 / 0.5 and 0.4 / 0.5
    counted = judge(minimum_effective_samples=0, embeddings=codes)(Tabled(wanted), batch)
    # row 0: of the other rows of its kind all took action 1, so its share is 0; and the other way round
    assert counted.value == pytest.approx(0.8 * 2 / 4)


def test_kinds_vary_less_and_judge_actions_that_were_never_logged():
    """Rewards depend on the kind alone: 40 actions of 2 kinds, evenly logged; the policy favours one of them."""
    rng, kinds = np.random.default_rng(14), np.arange(40) % 2
    logging, wanted = np.full((1, 40), 1 / 40), np.full((1, 40), 0.6 / 39)
    wanted[0, 7] = 0.4
    truth = float(wanted[0] @ np.where(kinds, 0.7, 0.3))
    judge = evaluate.find("mips")
    judges = evaluate.find("ips")(), judge(embeddings=kinds), judge(embeddings=kinds, logger=Tabled(logging))

    def drawn(actions):
        action = rng.choice(actions, 1_000)
        reward = (rng.random(1_000) < np.where(kinds[action], 0.7, 0.3)) * 1.0
        observation, allowed = np.zeros((1_000, 1), np.int64), np.ones((1_000, 40), bool)
        return Batch.single(observation, allowed, action, np.full(1_000, 1 / len(actions)), reward)

    batches = [drawn(np.arange(40)) for _ in range(50)]
    values = np.array([[each(Tabled(wanted), batch).value for batch in batches] for each in judges])
    spread = values.std(1)
    assert spread[2] < spread[1] < 0.4 * spread[0]
    assert (np.abs(values.mean(1) - truth) < 3 * spread / np.sqrt(50)).all()
    without = [drawn(np.delete(np.arange(40), 7)) for _ in range(50)]
    assert "1 is expected" in (judges[0](Tabled(wanted), without[0]).refused or "")
    found = np.array([judges[1](Tabled(wanted), batch).value for batch in without])
    assert abs(found.mean() - truth) < 3 * found.std() / np.sqrt(50)


def test_embeddings_of_other_actions_are_an_error():
    with pytest.raises(InvalidInput, match="Embeddings of 2 actions were given for 3"):
        evaluate.find("mips")(embeddings=np.zeros((2, 1)))(target, simulated(np.random.default_rng(0), 100))


@every
def test_a_logged_probability_that_an_action_cannot_have_is_refused_and_the_action_named(estimator):
    batch = simulated(np.random.default_rng(16), 4_000)
    wrong = replace(batch, probability=np.where(batch.action == 2, batch.probability * 0.6, batch.probability))
    found = estimator()(Tabled(LOGGING), wrong)
    assert (found.refused or "").startswith("The logged probabilities are wrong: decisions with action 2 count")
    assert np.isnan(found.effective_samples)


def tailed(rng, shape, rows):
    """A policy that always takes action 1, whose weights in the log have a tail of this Pareto shape.

    P(w > t) = E[c; c < 1 / t] for the logged chance c = u^s of a uniform u, which is of the order t^-(1 + 1 / s).
    """
    chance = rng.random(rows) ** (shape / (1 - shape))
    taken = (rng.random(rows) < chance).astype(np.int64)
    observation, reward = np.zeros((rows, 1), np.int64), (rng.random(rows) < 0.5) * 1.0
    probability = np.where(taken, chance, 1 - chance)
    return Batch.single(observation, np.ones((rows, 2), bool), taken, probability, reward)


@every
def test_weights_with_a_heavy_tail_are_refused(estimator):
    always = Tabled(np.array([[0.0, 1.0]]))
    heavy = estimator(minimum_effective_samples=10)(always, tailed(np.random.default_rng(0), 0.9, 20_000))
    assert "heavy tail (Pareto shape" in (heavy.refused or "")
    light = estimator(minimum_effective_samples=10)(always, tailed(np.random.default_rng(0), 0.4, 20_000))
    assert light.refused is None


def test_healthy_logs_are_hardly_ever_refused():
    """The small world, and a greedy policy on logs that draw evenly from 27 actions: 400 logs each."""
    rng, judge = np.random.default_rng(19), InversePropensity()
    small = [judge(target, simulated(rng, 300)).refused for _ in range(400)]
    greedy, refused = Tabled(np.eye(27)[rng.integers(0, 27, 50)]), []
    for _ in range(400):
        context, action = rng.integers(0, 50, 3_000), rng.integers(0, 27, 3_000)
        reward = (rng.random(3_000) < 0.4) * 1.0
        even = Batch.single(context[:, None], np.ones((3_000, 27), bool), action, np.full(3_000, 1 / 27), reward)
        refused.append(judge(greedy, even).refused)
    assert sum(each is not None for each in small) <= 4
    assert sum(each is not None for each in refused) <= 4


@every
def test_what_is_not_a_number_in_what_is_observed_is_refused_and_never_an_answer(estimator):
    batch = population(times=5)
    floats = np.hstack([batch.observation.astype(float), np.ones((len(batch), 1))])
    floats[7, 1] = np.nan
    found = estimator()(target, replace(batch, observation=floats))
    assert found.refused is not None or np.isfinite([found.value, found.low, found.high]).all()


def test_weights_beyond_all_bounds_are_counted():
    assert effective_samples(np.array([1e160, 1.0, 1.0])) == pytest.approx(1.0)
    assert effective_samples(np.zeros(3)) == 0.0
