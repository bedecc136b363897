"""The values of Open Bandit Pipeline on the same arrays, to 1e-9.

The reference numbers were computed by obp 0.5.7 (Saito et al., "Open Bandit Dataset and Pipeline", 2021) itself, on the
arrays of `arrays`, seeded; it does not run here.
"""

from dataclasses import replace

import numpy as np
import pytest

from bondhu import evaluate
from bondhu.types import Batch
from tests.contract.small_world import Tabled

EMBEDDINGS = np.array([[0, 1], [1, 0], [0, 1], [1, 1], [1, 0], [0, 1]])
VALUES = {
    ("ips", ()): 2.874365630722423,  # InverseProbabilityWeighting
    ("ips", (("clip", 2.5),)): 2.415790001022599,  # InverseProbabilityWeighting(lambda_=2.5)
    ("snips", ()): 2.7902676923971557,  # SelfNormalizedInverseProbabilityWeighting
    ("dm", ()): -0.015605103220758119,  # DirectMethod
    ("dr", ()): 2.8699918066976258,  # DoublyRobust
    ("sndr", ()): 2.7855652645875653,  # SelfNormalizedDoublyRobust
    ("switch_dr", (("threshold", 2.5),)): 1.3654965457477635,  # SwitchDoublyRobust(lambda_=2.5)
    ("dros", (("shrinkage", 3.0),)): 1.3918361412958942,  # DoublyRobustWithShrinkage(lambda_=3.0)
    ("sub_gaussian", (("correction", 0.2),)): 2.414923238095075,  # SubGaussianInverseProbabilityWeighting(lambda_=0.2)
    ("sub_gaussian_dr", (("correction", 0.2),)): 2.4119820732511497,  # SubGaussianDoublyRobust(lambda_=0.2)
}
MARGINALISED = 2.7743849425729685  # MarginalizedInverseProbabilityWeighting, with p(e | a) given
BALANCED = 2.6637627612832344  # MultiLoggersBalancedInverseProbabilityWeighting, on `mixed` actions


def arrays():
    """Four contexts, six actions, 500 decisions; a model of the reward that knows nothing."""
    rng = np.random.default_rng(7)
    context = rng.integers(0, 4, 500)
    logging = rng.dirichlet(np.full(6, 2.0), 4)
    target = rng.dirichlet(np.full(6, 2.0), 4)
    action = np.array([rng.choice(6, p=logging[x]) for x in context])
    reward = rng.normal(size=500) + action
    model = rng.normal(size=(500, 6))
    allowed = np.ones((500, 6), bool)
    batch = Batch.single(context[:, None], allowed, action, logging[context, action], reward)
    return Tabled(logging), Tabled(target), batch, model


@pytest.mark.parametrize(("name", "settings"), VALUES, ids=lambda each: each if isinstance(each, str) else "")
def test_the_value_is_that_of_open_bandit_pipeline(name, settings):
    _, target, batch, model = arrays()
    estimator = evaluate.find(name)(**dict(settings))
    if hasattr(estimator, "model"):
        estimator = replace(estimator, model=lambda rows: model)
    found = estimator(target, batch)
    assert found.refused is None
    assert found.value == pytest.approx(VALUES[name, settings], abs=1e-9)
    assert found.terms.mean() == pytest.approx(found.value, abs=1e-12)


def test_the_marginalised_value_is_that_of_open_bandit_pipeline():
    logger, target, batch, _ = arrays()
    found = evaluate.find("mips")(embeddings=EMBEDDINGS, logger=logger)(target, batch)
    assert found.value == pytest.approx(MARGINALISED, abs=1e-9)


def test_the_balanced_value_is_that_of_open_bandit_pipeline():
    """Two policies logged it, the first four rows in ten; the same contexts and rewards, other actions."""
    logger, target, batch, _ = arrays()
    mixed, rng = 0.4 * logger.table + 0.6 * target.table, np.random.default_rng(8)
    action = np.array([rng.choice(6, p=mixed[x]) for x in batch.observation[:, 0]])
    judge = evaluate.find("balanced")(loggers=(logger, target), shares=(0.4, 0.6))
    found = judge(target, replace(batch, action=action))
    assert found.refused is None
    assert found.value == pytest.approx(BALANCED, abs=1e-9)
