"""The estimators on real logged clicks, against a few independent lines of plain arithmetic."""

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bondhu.equations import regression
from bondhu.equations.intervals import skewness_corrected
from bondhu.evaluate.decisions.direct_method import DirectMethod
from bondhu.evaluate.decisions.doubly_robust import DoublyRobust
from bondhu.evaluate.decisions.ips import InversePropensity
from bondhu.evaluate.decisions.snips import SelfNormalised
from bondhu.evaluate.models import cross_fitted
from bondhu.policies.by_value import ByValue
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[3] / "shared" / "data")) / "obd"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no Open Bandit data: set BONDHU_DATA to a folder with obd/")


@cache
def clicks(behaviour):
    """10,000 fashion impressions: 80 items, click as reward, four hashed user features and the position as codes."""
    with (DATA / behaviour / "all" / "all.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    fields = ["position", *(f"user_feature_{number}" for number in range(4))]
    columns = [np.unique([row[field] for row in rows], return_inverse=True)[1] for field in fields]
    observation = np.stack(columns, axis=1)
    count = len(rows)
    return Batch(
        observation=observation,
        allowed=np.ones((count, 80), bool),
        action=np.array([int(row["item_id"]) for row in rows]),
        probability=np.array([float(row["propensity_score"]) for row in rows]),
        reward=np.array([float(row["click"]) for row in rows]),
        discount=np.zeros(count),
        has_next=np.zeros(count, bool),
        next_observation=np.zeros_like(observation),
        next_allowed=np.ones((count, 80), bool),
        session=np.arange(count),
        time=np.arange(count, dtype=float),
        memo=np.zeros((count, 0)),
    )


def softmax(values, allowed):
    chances = np.where(allowed, np.exp(values), 0)
    return chances / chances.sum(1, keepdims=True)


LIKES = np.random.default_rng(0).normal(0, 0.7, (400, 80))
TASTE = ByValue(lambda observation: LIKES[observation.sum(1)], softmax)


@pytest.mark.parametrize("estimator", [InversePropensity(), SelfNormalised()], ids=["ips", "snips"])
def test_the_uniform_policy_earns_the_clicks_that_were_logged_uniformly(estimator):
    found = estimator(Uniform(), clicks("random"))
    assert found.value == pytest.approx(0.0038, abs=1e-12)  # 38 clicks
    assert found.effective_samples == pytest.approx(10_000)
    terms = (np.arange(10_000) < 38).astype(float)
    assert (found.low, found.high) == pytest.approx(skewness_corrected(terms, 0.95), rel=1e-9)


@pytest.mark.parametrize("estimator", [DirectMethod(), DoublyRobust()], ids=["dm", "dr"])
def test_models_agree_with_the_clicks_of_the_uniform_policy(estimator):
    found = estimator(Uniform(), clicks("random"))
    assert found.value == pytest.approx(0.0038, abs=6e-4)  # the standard error of 38 clicks in 10,000
    assert found.low < 0.0038 < found.high


@pytest.mark.parametrize("behaviour", ["random", "bts"])
def test_any_policy_agrees_with_plain_arithmetic(behaviour):
    batch = clicks(behaviour)
    predicted = cross_fitted(batch)
    weighted = squares = total = robust = 0.0
    for t in range(len(batch)):
        chances = np.exp(LIKES[batch.observation[t].sum()])
        chances /= chances.sum()
        weight = chances[batch.action[t]] / batch.probability[t]
        total += weight
        squares += weight**2
        weighted += weight * batch.reward[t]
        robust += chances @ predicted[t] + weight * (batch.reward[t] - predicted[t, batch.action[t]])
    ips, snips, robustly = (each(TASTE, batch) for each in (InversePropensity(), SelfNormalised(), DoublyRobust()))
    assert [ips.refused, snips.refused, robustly.refused] == [None, None, None]
    assert ips.value == pytest.approx(weighted / len(batch), abs=1e-12)
    assert snips.value == pytest.approx(weighted / total, abs=1e-12)
    assert robustly.value == pytest.approx(robust / len(batch), abs=1e-12)
    assert ips.effective_samples == pytest.approx(total**2 / squares, rel=1e-12)


def test_rewards_of_rare_clicks_are_shrunk_to_what_all_items_share():
    batch = clicks("random")
    predicted = cross_fitted(batch)
    assert predicted.shape == (10_000, 80)
    assert predicted.mean() == pytest.approx(0.0038, abs=3e-4)
    assert predicted.std(1).mean() < 0.01  # 125 impressions an item: its own rate is noise of .0055
    assert regression.features(batch.observation, 80).shape[1] <= 161
