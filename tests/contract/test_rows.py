"""What a policy does in one context depends on that context alone: not on which others are asked of it at once.

So a decision that was made among others is decided again alone, bit for bit. Every learner of the catalogue is found by
walking the folders, and asked on the problems that it names and on a wider one, where sums have many terms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains import probes
from bondhu.learners import build, find, names
from bondhu.policies.floor import WithFloor
from bondhu.types import Array, Batch, Beliefs, Booleans, Policy, Spec

TOGETHER = (1, 2, 3, 7, 64)  # rows of one call
ROWS = 64
ACTIONS = 9
WIDTH = 37  # features of the wider problem


@dataclass(frozen=True)
class Wide:
    """Contexts and actions enough for sums to be split in several ways."""

    spec: Spec
    seen: Array
    allowed: Booleans
    batch: Batch
    problem: Any = field(default=None)


def wide(name: str) -> Wide | None:
    """The wider problem as this learner observes it; None where it acts in slots or on an interval."""
    named = probes.find(find(name).probes[0]).spec
    if not isinstance(named.action, Discrete):
        return None
    shape = (ACTIONS, WIDTH) if len(named.observation.shape or ()) == 2 else (WIDTH,)  # of all candidates, or of one
    rng = np.random.default_rng(7)
    if build(name, {}).observes is MultiDiscrete:
        space: Any = MultiDiscrete([16, 3, 4])
        seen = rng.integers(0, [16, 3, 4], (400, 3))
    else:
        space = Box(-np.inf, np.inf, shape, np.float32)
        seen = rng.normal(size=(400, *shape)).astype(np.float32)
    allowed = rng.random((400, ACTIONS)) < 0.8
    allowed[np.arange(400), rng.integers(0, ACTIONS, 400)] = True
    action = np.array([rng.choice(np.flatnonzero(row)) for row in allowed])
    chance, reward = 1.0 / allowed.sum(axis=1), rng.random(400).round(2)
    return Wide(Spec(space, Discrete(ACTIONS)), seen, allowed, Batch.single(seen, allowed, action, chance, reward))


def assert_alone_as_together(asked: Callable[[slice], Array]) -> None:
    """What is asked of some rows is what each says alone: `[..., rows, A]`."""
    alone = np.concatenate([asked(slice(row, row + 1)) for row in range(ROWS)], axis=-2)
    for rows in TOGETHER:
        for start in {0, ROWS - rows}:
            part = slice(start, start + rows)
            np.testing.assert_array_equal(asked(part), alone[..., part, :])


class Alike:
    """Randomness that gives every row the same numbers."""

    def random(self, size: int, /) -> Array:
        return np.full(size, 0.4)


def assert_decided_alone_as_together(policy: Policy, seen: Array, allowed: Booleans) -> None:
    assert_alone_as_together(lambda part: policy.distribution(seen[part], allowed[part]))


def assert_drawn_alone_as_together(policy: Policy, seen: Array, allowed: Booleans) -> None:
    """Where actions are several numbers there is no probability for each of finitely many: what is drawn is compared,
    and how likely one and the same action is."""
    assert_alone_as_together(lambda part: policy.sample(seen[part], allowed[part], Alike()).action)
    action = policy.sample(seen, allowed, Alike()).action
    assert_alone_as_together(lambda part: policy.probability(seen[part], allowed[part], action[part])[:, None])


def assert_believed_alone_as_together(beliefs: Beliefs, seen: Array) -> None:
    """Value, error and tries: a rule may only look at which is the largest, and hide that they differ."""
    assert_alone_as_together(lambda part: np.stack(np.broadcast_arrays(*beliefs(seen[part])[:3])))


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize(("name", "problem"), [(n, p) for n in names() for p in find(n).probes])
def test_a_row_is_decided_alone_as_among_others_on_the_problems_a_learner_names(
    name: str, problem: str, explore: bool
) -> None:
    learner, probe = build(name, {}), probes.find(problem)
    rng = np.random.default_rng(0)
    batch = probe.play(probe.uniform, 80, rng)
    state, _ = learner.update(learner.init(probe.spec, rng), batch, rng)
    look = probe.play(probe.uniform, ROWS, np.random.default_rng(1))
    policy = learner.policy(state, explore=explore)
    several = look.action.ndim == 2 and look.action.dtype.kind == "f"
    compare = assert_drawn_alone_as_together if several else assert_decided_alone_as_together
    compare(policy, look.observation, np.array(look.allowed))
    if not explore:
        assert_believed_alone_as_together(learner.beliefs(state), look.observation)


@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize("name", [each for each in names() if wide(each)])
def test_a_row_is_decided_alone_as_among_others_where_sums_have_many_terms(name: str, explore: bool) -> None:
    problem = wide(name)
    assert problem is not None
    learner, rng = build(name, {"person": 0} if name == "bandit.pooled" else {}), np.random.default_rng(0)
    state, _ = learner.update(learner.init(problem.spec, rng), problem.batch, rng)
    policy = learner.policy(state, explore=explore)
    for each in (policy, WithFloor(policy, 0.05)):
        assert_decided_alone_as_together(each, problem.seen, problem.allowed)
    if not explore:
        assert_believed_alone_as_together(learner.beliefs(state), problem.seen)
