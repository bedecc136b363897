"""Splits of users on numbers worked by hand and over many looks."""

from math import log

import numpy as np
import pytest

from bondhu.equations.mismatch import count_evidence, split_p, split_path, successes


def test_successes_of_a_fair_coin_are_binomial():
    np.testing.assert_allclose(successes(np.full(4, 0.5)), np.array([1, 4, 6, 4, 1]) / 16)
    np.testing.assert_allclose(successes(np.array([0.1, 0.5])), [0.45, 0.5, 0.05])


def test_exact_p_of_a_split():
    assert split_p(0, np.full(4, 0.5)) == pytest.approx(2 / 16)
    assert split_p(2, np.full(4, 0.5)) == 1.0
    assert split_p(7, np.full(10, 0.25)) == pytest.approx(0.003505706787109375)  # the other tail has nothing as rare


def test_chi_square_of_a_large_split():
    # 50,700 where 50,000 are expected: (700)^2 / 25,000 = 19.6
    assert split_p(50_700, np.full(100_000, 0.5)) == pytest.approx(9.5e-6, rel=0.01)


def test_evidence_by_hand():
    # prior Beta(1, 1) on a fair coin: heads 1/2, then 2/3, then 3/4 of another; tails last
    path = split_path(np.array([True, True, False]), np.full(3, 0.5), concentration=2.0)
    np.testing.assert_allclose(path, np.log([1.0, (2 / 3) / 0.5, (2 / 3) * (1 / 4) / 0.25]))


def test_each_chance_has_its_own_evidence():
    rng = np.random.default_rng(0)
    treated, chance = rng.random(200) < 0.3, rng.choice([0.1, 0.5], 200)
    both = split_path(treated, chance)[-1]
    apart = sum(split_path(treated[chance == each], chance[chance == each])[-1] for each in (0.1, 0.5))
    assert both == pytest.approx(apart)
    assert len(split_path(treated[:0], chance[:0])) == 0


def test_false_alarms_over_all_looks_stay_below_alpha():
    rng = np.random.default_rng(1)
    chance = np.repeat([0.1, 0.5], 500)
    highest = [split_path(rng.random(1000) < chance, chance, 20.0).max() for _ in range(600)]
    assert 0.005 < np.mean(np.array(highest) >= log(1 / 0.05)) <= 0.05


def test_a_loss_of_a_tenth_is_found():
    rng = np.random.default_rng(2)
    treated = rng.random(20_000) < 0.9 / 1.9
    assert split_path(treated, np.full(20_000, 0.5)).max() > log(1e4)


def test_evidence_of_counts_by_hand():
    # prior Beta(1, 1): of three draws each number of hits is as likely, 1 / 4, and each order of one hit 1 / 12
    assert count_evidence(1, 3, 0.5, (1.0, 1.0)) == pytest.approx(log((1 / 12) / (1 / 8)))
    # Beta(1, 9): two of two in (1 / 10)(2 / 11), beside a hundredth squared
    assert count_evidence(2, 2, 0.01) == pytest.approx(log((1 / 10) * (2 / 11) / 1e-4))
    assert count_evidence(0, 0, 0.3) == 0.0


@pytest.mark.parametrize("chance", [0.01, 0.1])
def test_counts_as_declared_are_doubted_as_rarely_as_promised_however_often_one_looks(chance):
    alive, stopped = np.array([1.0]), 0.0  # distribution of the hits of those who were never doubted, exactly
    for draws in range(1, 400):
        alive = np.append(alive * (1 - chance), 0.0) + np.append(0.0, alive * chance)
        doubted = np.array([count_evidence(hits, draws, chance) >= log(20) for hits in range(draws + 1)])
        stopped += float(alive[doubted].sum())
        alive[doubted] = 0.0
    assert 0.005 < stopped <= 0.05
