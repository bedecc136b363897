"""Scores of several runs: the interquartile mean and its stratified bootstrap, against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bondhu.equations.scores import interquartile_mean, interquartile_means, stratified_bootstrap


def test_the_interquartile_mean_is_that_of_the_middle_half() -> None:
    assert interquartile_mean(np.array([900.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -900.0])) == (2 + 3 + 4 + 5) / 4
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == 3.0  # too few to cut
    assert interquartile_mean(np.array([[1.0, 100.0], [2.0, 4.0]])) == 3.0  # all tasks together


def test_five_runs_lose_one_at_either_end() -> None:
    assert interquartile_mean(np.array([500.0, 0.0, 490.0, 480.0, 470.0])) == 480.0


def test_several_tables_are_each_taken_by_itself() -> None:
    tables = np.arange(24.0).reshape(2, 4, 3)
    np.testing.assert_allclose(interquartile_means(tables), [interquartile_mean(each) for each in tables])


def test_the_bootstrap_of_two_runs_has_the_quantiles_of_all_that_can_be_drawn() -> None:
    low, high = stratified_bootstrap(np.array([0.0, 1.0]), np.random.default_rng(0), confidence=0.4, draws=20_000)
    assert (low, high) == (0.5, 0.5)  # of the means 0, 1/2, 1/2 and 1, the middle half
    assert stratified_bootstrap(np.array([0.0, 1.0]), np.random.default_rng(0), draws=20_000) == (0.0, 1.0)


def test_runs_are_drawn_within_their_own_task() -> None:
    scores = np.array([[0.0, 10.0], [0.0, 10.0], [0.0, 10.0], [0.0, 10.0]])  # no run differs within a task
    assert stratified_bootstrap(scores, np.random.default_rng(1), draws=500) == (5.0, 5.0)


def test_the_interval_of_normal_scores_is_as_wide_as_theory_says() -> None:
    rng = np.random.default_rng(2)
    scores = rng.standard_normal(400)
    low, high = stratified_bootstrap(scores, rng, statistics=lambda tables: tables.mean(axis=(1, 2)))
    assert low < scores.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.06)


def test_one_run_says_nothing_of_chance() -> None:
    assert stratified_bootstrap(np.array([3.0]), np.random.default_rng(0)) == (-np.inf, np.inf)


def test_the_same_draws_give_the_same_interval() -> None:
    scores = np.random.default_rng(3).random((5, 3))
    first, second = (stratified_bootstrap(scores, np.random.default_rng(4), draws=100) for _ in range(2))
    assert first == second
