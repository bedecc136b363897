"""Starting from what is known already, so that a learner does not begin by acting at random.

From a log of another policy: `learner.update(state, batch, rng)` is all it takes; any learner learns off-policy, and
`bandit.off_policy` also corrects for how that policy chose. From a rule written by people: let it demonstrate.

Demonstrations count as rounds: what explores less as rounds go by, explores as if they had been decisions.

    shown = demonstrations(rule, observation, allowed, worth=0.7, otherwise=0.3)
    state = warm_started(learner, spec, shown, rng)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Array, Batch, Booleans, Learner, Policy, Spec


def demonstrations(
    rule: Policy, observation: Array, allowed: Booleans, *, worth: float = 1.0, otherwise: float = 0.0, tries: int = 1
) -> Batch:
    """Decisions that nobody took, which tell any learner of values to act like `rule` until it knows better.

    In each of the given contexts, `observation` `[T, …]` and `allowed` `[T, A]`, each allowed action is taken `tries`
    times: the rule's likeliest action earns `worth`, an action that it never takes `otherwise`, one between in
    proportion. Give contexts as they will come, and rewards (or returns) as they are likely to be; with more tries it
    takes more feedback to overrule them. As if somebody had chosen evenly, p = 1 / |allowed|, and nothing follows.
    """
    if not (math.isfinite(worth) and math.isfinite(otherwise) and worth > otherwise):
        fix = "Both must be numbers, and the rule's action must be worth more."
        raise InvalidInput(f"Worth is {worth}, otherwise {otherwise}.", field="worth", value=worth, fix=fix)
    if tries < 1:
        raise InvalidInput(f"There are {tries} tries.", field="tries", value=tries, fix="Take at least one.")
    chosen = rule.distribution(observation, allowed)
    likeness = chosen / chosen.max(axis=1, keepdims=True)
    row, action = np.nonzero(allowed)
    row, action = np.tile(row, tries), np.tile(action, tries)
    evenly = 1.0 / allowed.sum(axis=1)
    reward = otherwise + (worth - otherwise) * likeness[row, action]
    return Batch.single(observation[row], allowed[row], action, evenly[row], reward)


def warm_started(learner: Learner[Any], spec: Spec, shown: Batch, rng: np.random.Generator) -> Any:
    """The learner's state after these decisions, in random order: neighbours in a list of contexts are alike."""
    shuffled = shown.take(rng.permutation(len(shown)))
    state, _ = learner.update(learner.init(spec, rng), shuffled, rng)
    return state
