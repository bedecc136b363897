"""Settings and estimators chosen by the log itself, in worlds where the best choice is known."""

from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

import numpy as np
import pytest

from bondhu import evaluate
from bondhu.errors import InvalidInput
from bondhu.evaluate.decisions.direct_method import DirectMethod
from bondhu.evaluate.decisions.doubly_robust import DoublyRobust
from bondhu.evaluate.decisions.ips import InversePropensity
from bondhu.evaluate.decisions.snips import SelfNormalised
from bondhu.evaluate.decisions.switch_dr import SwitchDoublyRobust
from bondhu.evaluate.selection import choose, tuned
from bondhu.types import Batch, Choice
from tests.contract.small_world import LOGGING, TARGET, TRUTH, Tabled, simulated


@dataclass(frozen=True)
class Clipped:
    """IPS whose clipping is to be tuned."""

    name: ClassVar[str] = "clipped"
    scope: ClassVar[str] = "decision"
    adaptive: ClassVar[bool] = False
    tunes: ClassVar[tuple[str, tuple[float, ...]]] = ("clip", (inf, 100.0, 30.0, 10.0, 3.0, 1.0))

    confidence: float = 0.95
    minimum_effective_samples: float = 50
    clip: float = inf

    def __call__(self, policy, batch):
        found = InversePropensity(clip=self.clip, minimum_effective_samples=self.minimum_effective_samples)
        return found(policy, batch)


@dataclass(frozen=True)
class Spoken:
    """A policy by a function of the observation."""

    chances: object

    def distribution(self, observation, allowed):
        return np.where(allowed, self.chances(observation), 0.0)

    def probability(self, observation, allowed, action):
        return self.distribution(observation, allowed)[np.arange(len(action)), action]

    def sample(self, observation, allowed, rng):
        chances = self.distribution(observation, allowed)
        action = (rng.random(len(chances))[:, None] > chances.cumsum(1)).sum(1).clip(0, chances.shape[1] - 1)
        return Choice(action, chances[np.arange(len(action)), action], np.zeros((len(action), 0)))


def soft(values):
    weights = np.exp(values - values.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def greedy(values, rate):
    return (1 - rate) * np.eye(values.shape[1])[values.argmax(1)] + rate / values.shape[1]


@dataclass(frozen=True)
class World:
    """Features or codes, mean rewards, the policy that logs and the one in question."""

    observe: object
    mean: object
    logging: Spoken
    target: Spoken
    clicks: bool

    def play(self, rows, rng):
        observation = self.observe(rng, rows)
        mean = self.mean(observation)
        choice = self.logging.sample(observation, np.ones(mean.shape, bool), rng)
        chosen = mean[np.arange(rows), choice.action]
        reward = (rng.random(rows) < chosen) * 1.0 if self.clicks else chosen + 0.5 * rng.standard_normal(rows)
        return Batch.single(observation, np.ones(mean.shape, bool), choice.action, choice.probability, reward)

    @property
    def truth(self):
        observation = self.observe(np.random.default_rng(99), 40_000)
        mean = self.mean(observation)
        return float((self.target.distribution(observation, np.ones(mean.shape, bool)) * mean).sum(1).mean())


def worlds():
    rng = np.random.default_rng(7)
    slopes, habits = rng.normal(0, 0.5, (5, 6)), rng.normal(0, 0.5, (5, 6))
    rates, whims, table = rng.beta(1, 12, (60, 6)), rng.normal(0, 1, (60, 6)), rng.random((4, 4, 4, 4))

    def features(rng, rows):
        return np.hstack([rng.standard_normal((rows, 4)), np.ones((rows, 1))])

    def waves(seen):
        return 0.5 * np.sin(4 * seen @ slopes) + 0.5 * seen[:, :1] * seen[:, 1:2]

    def of(*codes):
        return lambda seen: codes[0][tuple(seen.T)]

    return {
        "a model that is right": World(
            features,
            lambda seen: seen @ slopes,
            Spoken(lambda seen: soft(seen @ habits)),
            Spoken(lambda seen: soft(1.5 * seen @ slopes)),
            False,
        ),
        "a model that is wrong": World(
            features,
            waves,
            Spoken(lambda seen: soft(1.4 * waves(seen))),
            Spoken(lambda seen: soft(4 * waves(seen))),
            False,
        ),
        "rare clicks, a greedy policy": World(
            lambda rng, rows: rng.integers(60, size=(rows, 1)),
            of(rates),
            Spoken(lambda seen: greedy(of(whims)(seen), 0.4)),
            Spoken(lambda seen: greedy(of(rates)(seen), 0.0)),
            True,
        ),
        "codes that interact": World(
            lambda rng, rows: rng.integers(4, size=(rows, 3)),
            of(table),
            Spoken(lambda seen: soft(np.random.default_rng(0).normal(0, 0.7, table.shape)[tuple(seen.T)])),
            Spoken(lambda seen: greedy(of(table)(seen), 0.3)),
            True,
        ),
        "close to the log": World(
            features,
            lambda seen: seen @ slopes + 3,
            Spoken(lambda seen: soft(seen @ habits)),
            Spoken(lambda seen: soft(1.2 * seen @ habits)),
            False,
        ),
    }


CANDIDATES = (InversePropensity(), InversePropensity(clip=1.0), SelfNormalised(), DirectMethod(), DoublyRobust())
WORLDS = worlds()


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())
def test_the_chosen_estimator_errs_hardly_more_than_the_best_and_less_than_most(world):
    """12 logs of 2,000 decisions: squared errors of the chosen one, of each that answers, and of these on average."""
    truth, errors, chosen = world.truth, {}, []
    for seed in range(12):
        found = choose(CANDIDATES, world.target, world.play(2_000, np.random.default_rng(seed)))
        chosen.append((found.estimate.value - truth) ** 2)
        for row in found.table:
            errors.setdefault(row.name, []).append((row.estimate.value - truth) ** 2)
    each = np.array([np.mean(of) for of in errors.values() if np.isfinite(of).all()])
    assert len(each) >= 4
    assert np.mean(chosen) <= min(1.5 * each.min(), 0.8 * each.mean())


def test_the_choice_is_explained_with_figures():
    batch = simulated(np.random.default_rng(1), 2_000)
    found = choose(CANDIDATES, Tabled(TARGET), batch)
    best, second = found.table[:2]
    assert found.name == best.name
    assert found.reason.startswith(f"{best.name}: estimated error {best.error:.3g} (standard error {best.noise:.3g}, ")
    assert f"next {second.name} {second.error:.3g}." in found.reason
    assert [row.error for row in found.table] == sorted(row.error for row in found.table)
    assert {"ips", "ips (clip = 1)", "snips", "dm", "dr"} == {row.name for row in found.table}


def test_noise_and_bias_by_hand():
    batch = simulated(np.random.default_rng(2), 1_000)
    found = {
        row.name: row for row in choose((InversePropensity(), InversePropensity(clip=1.5)), Tabled(TARGET), batch).table
    }
    weights = TARGET[batch.observation[:, 0], batch.action] / batch.probability
    whole, held = weights * batch.reward, np.minimum(weights, 1.5) * batch.reward
    row = found["ips (clip = 1.5)"]
    assert row.noise == pytest.approx(held.std(ddof=1) / np.sqrt(1_000))
    assert row.unsure == pytest.approx((held - whole).std(ddof=1) / np.sqrt(1_000))
    assert row.bias == pytest.approx(np.sqrt((held.mean() - whole.mean()) ** 2 - row.unsure**2))
    assert row.error == pytest.approx(np.hypot(row.noise, row.bias))
    assert found["ips"].bias == 0.0


def test_a_bias_that_the_log_shows_is_not_chosen_however_narrow():
    batch = simulated(np.random.default_rng(3), 20_000)
    found = choose((InversePropensity(), InversePropensity(clip=0.5)), Tabled(TARGET), batch)
    assert found.name == "ips"
    assert "(standard error " in found.reason
    assert ", no bias)" in found.reason


def test_without_an_unbiased_estimator_nothing_is_said():
    batch = simulated(np.random.default_rng(4), 1_000)
    found = choose((SelfNormalised(), InversePropensity(clip=2.0)), Tabled(TARGET), batch)
    assert found.name == ""
    assert found.reason.startswith("Bias can only be measured against an unbiased estimator")
    assert np.isnan(found.estimate.value)


def test_a_log_that_no_estimator_answers_on_is_refused_with_their_reason():
    batch = simulated(np.random.default_rng(5), 20)
    found = choose(CANDIDATES, Tabled(TARGET), batch)
    assert found.name == ""
    assert found.estimate.refused == found.reason
    assert "effective samples" in found.reason


def test_a_setting_is_chosen_where_bias_is_small_and_noise_is_large():
    """Two rare, heavy rows in a hundred: clipping them helps in a short log, and shows as bias in a long one."""
    logging = np.array([[0.98, 0.01, 0.01]] * 3)
    target = Tabled(np.array([[0.75, 0.2, 0.05]] * 3))
    open_to = np.ones((3, 3), bool)
    rng, settings = np.random.default_rng(6), []
    for rows in (1_500, 150_000):
        context = rng.integers(3, size=rows)
        action = Tabled(logging).sample(context[:, None], open_to[context], rng).action
        reward = (rng.random(rows) < np.array([0.5, 0.5, 0.5])[action]) * 1.0
        batch = Batch.single(context[:, None], open_to[context], action, logging[context, action], reward)
        settings.append(tuned(Clipped(minimum_effective_samples=10), target, batch).setting)
    assert settings[0] <= 30.0
    assert settings[1] >= 30.0
    assert settings[1] >= settings[0]


def test_the_reason_names_the_setting_and_the_next():
    found = tuned(Clipped, Tabled(TARGET), simulated(np.random.default_rng(7), 5_000))
    assert found.setting in Clipped.tunes[1]
    assert [row.value for row in found.table] == list(Clipped.tunes[1])
    assert found.reason.startswith(f"clip = {found.setting:g}: {found.estimate.value:.4g} (")
    assert "agrees with all less biased settings; the next, clip = " in found.reason


def test_a_setting_that_agrees_exactly_is_taken_as_far_as_it_goes():
    found = tuned(Clipped, Tabled(TARGET), simulated(np.random.default_rng(8), 2_000))
    largest = (TARGET / np.where(TARGET > 0, np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [1, 0.5, 0.5]]), 1)).max()
    assert largest < 10.0
    assert found.setting <= 3.0 or found.table[3].estimate.value == found.table[0].estimate.value
    assert found.setting <= 10.0


def test_the_interval_allows_for_the_bias_that_goes_unseen():
    """A model alone looks surer than it can know: 60 logs of 400 decisions."""
    held, alone = [], []
    for seed in range(60):
        found = tuned(SwitchDoublyRobust, Tabled(TARGET), simulated(np.random.default_rng(seed), 400))
        if found.estimate.refused:
            continue
        last = found.table[-1].estimate
        held.append(found.estimate.low <= TRUTH <= found.estimate.high)
        alone.append(last.low <= TRUTH <= last.high)
    assert np.mean(alone) < 0.6
    assert np.mean(held) >= 0.88


def test_where_all_settings_refuse_the_reason_is_theirs():
    found = tuned(Clipped, Tabled(TARGET), simulated(np.random.default_rng(9), 20))
    assert np.isnan(found.setting)
    assert found.estimate.refused == found.reason
    assert "effective samples" in found.reason


def test_an_estimator_without_settings_cannot_be_tuned():
    with pytest.raises(InvalidInput, match="'snips' has no setting to tune"):
        tuned(SelfNormalised, Tabled(TARGET), simulated(np.random.default_rng(10), 200))


TUNED = [name for name in evaluate.names("decision") if hasattr(evaluate.find(name), "tunes")]


@pytest.mark.parametrize("name", TUNED)
def test_every_estimator_that_says_what_is_tuned_can_be(name):
    found = tuned(evaluate.find(name), Tabled(TARGET), simulated(np.random.default_rng(11), 4_000))
    assert found.setting in evaluate.find(name).tunes[1]
    assert found.estimate.value == pytest.approx(TRUTH, abs=3 * (found.estimate.high - found.estimate.low) / 3.92)
    assert f"{evaluate.find(name).tunes[0]} = {found.setting:g}: " in found.reason


def test_one_session_keeps_the_least_biased_setting():
    batch = simulated(np.random.default_rng(21), 400)
    found = tuned(Clipped(minimum_effective_samples=0), Tabled(TARGET), replace(batch, session=np.zeros(400, int)))
    assert found.setting == inf
    assert found.reason == "clip = inf: one session cannot tell settings apart."


def test_where_no_weight_is_in_use_the_log_still_speaks_for_the_policy():
    """A threshold of 0 leaves the model alone, which errs by nothing where it is right."""
    batch = simulated(np.random.default_rng(22), 3_000)
    found, plain = tuned(SwitchDoublyRobust, Tabled(TARGET), batch), InversePropensity()(Tabled(TARGET), batch)
    assert found.setting == 0.0
    assert found.estimate.effective_samples == pytest.approx(plain.effective_samples)


def test_decisions_and_sessions_are_not_compared():
    batch = simulated(np.random.default_rng(23), 300)
    both = [evaluate.find(name)() for name in ("ips", "fqe")]
    with pytest.raises(InvalidInput, match="ips of a decision, fqe of a session"):
        choose(both, Tabled(TARGET), batch)


def test_estimators_of_sessions_are_compared_by_sessions():
    session = np.arange(600) // 3
    batch = replace(simulated(np.random.default_rng(24), 600), session=session, has_next=np.arange(600) % 3 < 2)
    batch = replace(batch, discount=batch.has_next * 1.0, next_observation=np.roll(batch.observation, -1, axis=0))
    names = ("session_dr", "per_decision", "weighted_dr", "fqe")
    found = choose([evaluate.find(name)() for name in names], Tabled(0.5 * (TARGET + LOGGING)), batch)
    assert found.name in names
    assert len(found.estimate.terms) == 200
    assert {row.name for row in found.table if row.bias == 0} >= {"session_dr"}


def test_a_chosen_estimator_that_may_be_biased_is_given_room_for_the_bias_that_goes_unseen():
    logging = Tabled(np.array([[0.98, 0.01, 0.01], [0.98, 0.01, 0.01], [0.0, 0.98, 0.02]]))
    wanted = Tabled(np.array([[0.3, 0.1, 0.6], [0.3, 0.1, 0.6], [0.0, 0.3, 0.7]]))
    batch = simulated(np.random.default_rng(3), 5_000, logging=logging.table)
    judges = [DoublyRobust(), SwitchDoublyRobust(threshold=5.0)]
    found = choose(judges, wanted, batch)
    own = {each.name: each(wanted, batch) for each in judges}
    unsure = next(row.unsure for row in found.table if row.name.startswith("switch_dr"))
    assert found.name.startswith("switch_dr")
    half = found.estimate.high - found.estimate.value
    assert half == pytest.approx(np.hypot(own["switch_dr"].high - own["switch_dr"].value, 2 * unsure), rel=1e-9)
    assert half > 2 * (own["switch_dr"].high - own["switch_dr"].value)
