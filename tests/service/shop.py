"""A small deployment for tests of the live loop: three actions of which "blue" is best and "red" worst."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu.domains import declared
from bondhu.domains.declared import DeclaredDomain
from bondhu.log.memory import MemoryLog
from bondhu.policies.by_value import ByValue
from bondhu.policies.greedy import greedy
from bondhu.ports import Deployment, Log, Registry, Version
from bondhu.registry.memory import MemoryRegistry
from bondhu.serve.decide import Decider
from bondhu.types import Acting, Array, Belief, Floats

ACTIONS = ("red", "blue", "green")
CONTEXT = {"mood": "happy", "age": 30}


def problem() -> Mapping[str, Any]:
    return {
        "domain": {"name": "shop"},
        "context": {
            "mood": {"kind": "category", "values": ["happy", "sad"]},
            "age": {"kind": "number", "range": [0, 100], "bins": 5},
        },
        "actions": {"names": list(ACTIONS)},
        "reward": {"signals": {"like": 1.0, "watched": {"weight": 0.5, "range": [0, 1]}}},
    }


def shop() -> DeclaredDomain:
    return declared.from_table(problem())


def acting(name: str | None) -> Acting:
    """A version that values blue most, then green, then red; red the less, the older people are."""

    def values(seen: Array) -> Floats:
        return np.array([1.0, 3.0, 2.0]) - np.outer(seen[:, 1] - 1, [0.5, 0.0, 0.0])

    def beliefs(seen: Array) -> Belief:
        return Belief(values(seen), np.full((len(seen), 3), 0.5), np.tile([4.0, 9.0, 16.0], (len(seen), 1)))

    policy = ByValue(values, greedy)
    return Acting(name or "baseline", policy, shop().encoder(MultiDiscrete), ACTIONS, beliefs)


def version(name: str) -> Version:
    return Version(name, "shop", "tabular.q_learning", {}, {"table": np.zeros(1)}, shop().describe(), 1.0)


def decider(
    *,
    log: Log | None = None,
    registry: Registry | None = None,
    restore: Callable[[str | None], Acting] = acting,
    exploration: float = 0.0,
    now: Callable[[], float] = time.time,
) -> Decider:
    deployment = Deployment(shop(), MemoryLog() if log is None else log, registry or MemoryRegistry())
    return Decider(deployment, restore, exploration=exploration, now=now)
