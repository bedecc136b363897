"""The distribution of rewards under a policy: exact on the whole population, and honest of its width."""

from dataclasses import replace

import numpy as np
import pytest

from bondhu import evaluate
from bondhu.equations.distributions import lower_tail_mean, points, quantile
from bondhu.errors import InvalidInput
from bondhu.evaluate.distribution import RewardDistribution
from bondhu.types import Batch
from tests.contract.small_world import ALLOWED, CONTEXTS, LOGGING, REWARDS, TARGET, Tabled, log

VALUES = np.array([-1.0, 0.0, 2.0, 3.0])
CHANCES = np.stack([(1 - REWARDS) / 2, (1 - REWARDS) / 2, REWARDS / 4, REWARDS * 3 / 4], axis=2)  # [x, a, value]
MASS = np.einsum("x,xa,xav->v", CONTEXTS, TARGET, CHANCES)  # of each value under the policy in question
TRUTH = MASS.cumsum()
MEAN = float(MASS @ VALUES)
SPREAD = float(MASS @ (VALUES - MEAN) ** 2)
WORST = float(-MASS[0] / 0.3)  # mean of the worst 30 %: all that lose 1, and some that earn nothing
target = Tabled(TARGET)
methods = pytest.mark.parametrize("method", ["ips", "snips", "dr"])


def everything():
    """Each (context, action, value) exactly as often as expected in 4,000 decisions, shuffled."""
    counts = np.rint(4_000 * CONTEXTS[:, None, None] * LOGGING[:, :, None] * CHANCES).astype(int)
    rows = np.random.default_rng(0).permutation(np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0))
    return log(rows[:, 0], rows[:, 1], VALUES[rows[:, 2]])


def drawn(rng, rows, session=None):
    context = rng.choice(3, rows, p=CONTEXTS)
    action = Tabled(LOGGING).sample(context[:, None], ALLOWED[context], rng).action
    value = (rng.random(rows)[:, None] > CHANCES[context, action].cumsum(1)).sum(1).clip(0, 3)
    return log(context, action, VALUES[value], session=session)


@methods
def test_on_the_whole_population_everything_is_exact(method):
    found = RewardDistribution(method, resamples=20)(target, everything(), np.random.default_rng(0))
    close = 1e-9 if method != "dr" else 5e-3  # its regressions shrink a little
    assert found.refused is None
    assert found.values.tolist() == VALUES.tolist()
    assert found.cdf == pytest.approx(TRUTH, abs=close)
    assert found.mean.value == pytest.approx(MEAN, abs=5 * close)
    assert found.variance.value == pytest.approx(SPREAD, abs=10 * close)
    assert found.cvar(0.3).value == pytest.approx(WORST, abs=10 * close)
    assert [found.quantile(level).value for level in (0.1, 0.3, 0.9)] == [
        VALUES[(level <= TRUTH).argmax()] for level in (0.1, 0.3, 0.9)
    ]


@methods
def test_bands_and_intervals_hold_the_truth_as_often_as_they_say(method):
    """120 logs of 400 decisions, 40 where regressions are made: at 95 %, chance leaves 88 % or 85 % and more."""
    logs, least = (40, 0.85) if method == "dr" else (120, 0.88)
    judge, rng, held = RewardDistribution(method, resamples=200), np.random.default_rng(5), []
    for _ in range(logs):
        found = judge(target, drawn(rng, 400), rng)
        if found.refused:
            continue
        figures = ((found.mean, MEAN), (found.variance, SPREAD), (found.cvar(0.3), WORST), (found.quantile(0.3), 0.0))
        band = ((found.low <= TRUTH + 1e-9) & (found.high >= TRUTH - 1e-9)).all()
        held.append([band, *(each.low <= true <= each.high for each, true in figures)])
    share = np.mean(held, axis=0)
    assert len(held) >= 0.9 * logs
    assert (share >= least).all(), share


def test_the_bernstein_band_always_holds_and_figures_follow_from_it():
    judge, rng = RewardDistribution("ips", band="bernstein", bounds=(-1.0, 3.0)), np.random.default_rng(2)
    for _ in range(50):
        found = judge(target, drawn(rng, 2_000), rng)
        assert ((found.low <= TRUTH + 1e-9) & (found.high >= TRUTH - 1e-9)).all()
        for each, true in ((found.mean, MEAN), (found.cvar(0.3), WORST), (found.quantile(0.3), 0.0)):
            assert each.low <= true <= each.high
        assert np.isnan(found.variance.low)


def test_means_agree_with_the_estimators():
    batch = drawn(np.random.default_rng(3), 1_000)
    weights = TARGET[batch.observation[:, 0], batch.action] / batch.probability
    found = RewardDistribution("snips", resamples=10)(target, batch, np.random.default_rng(0))
    assert found.mean.value == pytest.approx((weights * batch.reward).sum() / weights.sum())


def test_decisions_repeated_inside_a_session_do_not_narrow_the_band():
    once = drawn(np.random.default_rng(4), 400)
    thrice = once.take(np.repeat(np.arange(400), 3))
    bands = [RewardDistribution()(target, each, np.random.default_rng(5)) for each in (once, thrice)]
    assert bands[1].cdf == pytest.approx(bands[0].cdf)
    assert bands[1].high[0] - bands[1].low[0] == pytest.approx(bands[0].high[0] - bands[0].low[0], rel=1e-9)


def test_the_same_seed_gives_the_same_band():
    batch = drawn(np.random.default_rng(6), 300)
    first, second = (RewardDistribution()(target, batch, np.random.default_rng(7)) for _ in range(2))
    assert first.draws.tolist() == second.draws.tolist()


def test_many_values_are_told_at_quantiles_and_bounds_are_kept():
    batch = drawn(np.random.default_rng(8), 1_000)
    noisy = replace(batch, reward=batch.reward + np.random.default_rng(9).random(1_000))
    found = RewardDistribution(points=50, resamples=20, bounds=(-2.0, 5.0))(target, noisy, np.random.default_rng(0))
    assert len(found.values) <= 52
    assert (found.values[0], found.values[-1]) == (-2.0, 5.0)
    assert found.cdf[0] == 0.0
    assert found.cdf[-1] == found.low[-1] == found.high[-1] == 1.0


def test_a_thin_tail_is_told_by_the_band():
    found = RewardDistribution()(target, drawn(np.random.default_rng(10), 300), np.random.default_rng(0))
    thin = 5.0 / found.effective_samples
    assert found.quantile(1 - thin) == (3.0, quantile(points(VALUES), found.high, 1 - thin), 3.0)
    assert found.cvar(thin).high == pytest.approx(lower_tail_mean(points(VALUES), found.low, thin))
    assert found.cvar(thin).low == -1.0


def test_refusals_are_those_of_the_estimators():
    short = RewardDistribution()(target, drawn(np.random.default_rng(11), 30), np.random.default_rng(0))
    assert "effective samples" in short.refused
    assert np.isnan([*short.mean, *short.quantile(0.5), *short.cvar(0.1), *short.variance]).all()
    batch = drawn(np.random.default_rng(12), 300, session=np.arange(300) // 3)
    assert "Use the band by bootstrap" in RewardDistribution(band="bernstein")(target, batch, None).refused
    single = replace(batch, session=np.arange(300))
    assert "no Bernstein band" in RewardDistribution("dr", band="bernstein")(target, single, None).refused
    assert "beyond (0.0, 1.0)" in RewardDistribution(bounds=(0.0, 1.0))(target, single, None).refused


class Even:
    """Any action that is allowed."""

    def distribution(self, observation, allowed):
        return allowed / allowed.sum(1, keepdims=True)

    def probability(self, observation, allowed, action):
        return 1 / allowed.sum(1)


def test_observations_that_are_no_numbers_have_no_doubly_robust_distribution():
    batch = drawn(np.random.default_rng(18), 300)
    floats = replace(batch, observation=np.where(np.arange(300)[:, None] == 4, np.nan, batch.observation * 1.0))
    found = RewardDistribution("dr", resamples=5)(Even(), floats, np.random.default_rng(0))
    assert "not a number" in (found.refused or "")


def test_an_unknown_method_and_a_share_beyond_one_are_errors():
    with pytest.raises(InvalidInput, match=r"No method 'snip'. Did you mean 'snips'\?"):
        RewardDistribution("snip")
    found = RewardDistribution(resamples=10)(target, drawn(np.random.default_rng(13), 300), np.random.default_rng(0))
    with pytest.raises(InvalidInput, match="'alpha' got"):
        found.cvar(1.5)


LAWS = {  # of the reward of action a, and the truth under the policy in question: mean, and the median of all
    "normal": (lambda rng, action: rng.normal(0.5 * action, 1.0), 0.2 * 0.5 + 0.2 * 1.0, None),
    "lognormal": (lambda rng, action: rng.lognormal(0.0, 1.5, len(action)), float(np.exp(1.125)), 1.0),
}
WANTS = Tabled(np.tile([0.6, 0.2, 0.2], (3, 1)))


def rich(law, rng, rows):
    context, action = rng.integers(3, size=(2, rows))
    reward = LAWS[law][0](rng, action)
    return Batch.single(context[:, None], np.ones((rows, 3), bool), action, np.full(rows, 1 / 3), reward)


@methods
@pytest.mark.parametrize("law", LAWS)
def test_rewards_of_many_values_are_told_without_bias(method, law):
    """Normal and lognormal rewards: the mean, the spread and the worst are those of the sample, not of bins."""
    batch = rich(law, np.random.default_rng(14), 4_000)
    judge = evaluate.find(method)()
    found, plain = RewardDistribution(method, resamples=20)(WANTS, batch, np.random.default_rng(0)), judge(WANTS, batch)
    assert tuple(found.mean) == pytest.approx((plain.value, plain.low, plain.high))
    shares = (np.array([1.8, 0.6, 0.6])[batch.action]) / 4_000
    order = np.argsort(batch.reward)
    reward, below = batch.reward[order], (shares / shares.sum())[order].cumsum()
    exact = (
        reward[(below >= 0.5).argmax()],
        (shares @ batch.reward**2 / shares.sum()) - (shares @ batch.reward / shares.sum()) ** 2,
    )
    close = 0.02 if method != "dr" else 0.05
    assert found.quantile(0.5).value == pytest.approx(exact[0], abs=close)
    assert found.variance.value == pytest.approx(exact[1], rel=close)
    worst = float(np.diff(np.minimum(below, 0.2), prepend=0.0) @ reward / 0.2)
    assert found.cvar(0.2).value == pytest.approx(worst, abs=close)


@methods
@pytest.mark.parametrize("law", LAWS)
def test_intervals_of_rewards_of_many_values_hold(method, law):
    """40 logs, 12 with regressions, of 1,000 decisions: at 95 %, chance leaves 87 % or 75 % and more."""
    logs, least = (12, 0.75) if method == "dr" else (40, 0.87)
    rng, held = np.random.default_rng(15), []
    _, mean, median = LAWS[law]
    for _ in range(logs):
        found = RewardDistribution(method, resamples=100)(WANTS, rich(law, rng, 1_000), rng)
        held.append([found.mean.low <= mean <= found.mean.high])
        if median is not None:
            middle = found.quantile(0.5)
            held[-1].append(middle.low <= median <= middle.high)
    assert (np.mean(held, axis=0) >= least).all(), np.mean(held, axis=0)


def test_mass_that_weights_miss_does_not_go_to_the_bound():
    """In this log the weights average 0.96."""
    batch = rich("normal", np.random.default_rng(16), 1_000)
    batch = batch.take(np.argsort(batch.action, kind="stable")[60:])  # sixty decisions fewer of those that weigh most
    found = [
        RewardDistribution(method, bounds=(-10.0, 1_000.0), resamples=20)(WANTS, batch, np.random.default_rng(0))
        for method in ("ips", "snips", "dr")
    ]
    assert np.array([1.8, 0.6, 0.6])[batch.action].mean() == pytest.approx(0.96, abs=0.015)
    assert all(abs(each.mean.value - 0.3) < 0.2 for each in found)
    assert all(each.variance.value < 2.0 for each in found)
    assert all(each.cdf[-2] == pytest.approx(1.0) for each in found)


def test_more_sessions_than_groups_give_the_same_width():
    """Of 6,000 sessions three make a group; the band is as wide as that of 2,000 of them, over the root of three."""
    batch = rich("normal", np.random.default_rng(17), 6_000)
    widths = []
    for rows in (6_000, 2_000):
        found = RewardDistribution(resamples=400)(WANTS, batch.take(np.arange(rows)), np.random.default_rng(0))
        middle = np.searchsorted(found.cdf, 0.5)
        widths.append(found.high[middle] - found.low[middle])
    assert widths[0] == pytest.approx(widths[1] / np.sqrt(3), rel=0.12)
