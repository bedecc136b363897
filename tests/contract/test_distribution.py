"""The distribution of rewards under a policy: exact on the whole population, and honest of its width."""

from dataclasses import replace

import numpy as np
import pytest

from bondhu.equations.distributions import lower_tail_mean, quantile
from bondhu.errors import InvalidInput
from bondhu.evaluate.distribution import RewardDistribution
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
    assert found.quantile(1 - thin) == (3.0, quantile(VALUES, found.high, 1 - thin), 3.0)
    assert found.cvar(thin).high == pytest.approx(lower_tail_mean(VALUES, found.low, thin))
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


def test_an_unknown_method_and_a_share_beyond_one_are_errors():
    with pytest.raises(InvalidInput, match=r"No method 'snip'. Did you mean 'snips'\?"):
        RewardDistribution("snip")
    found = RewardDistribution(resamples=10)(target, drawn(np.random.default_rng(13), 300), np.random.default_rng(0))
    with pytest.raises(InvalidInput, match="'alpha' got"):
        found.cvar(1.5)
