"""Toy problems whose answers are known: each catches one mistake that a learner can make. A file is a kind of problem,
a function in it without arguments is a problem; learners name those that they solve.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import numpy as np

from bondhu.catalogue import names_in
from bondhu.errors import UnknownName, nearest
from bondhu.types import Batch, Policy, Spec


class Probe(Protocol):
    """A problem that can be played, and in which the worth of every policy is known."""

    @property
    def spec(self) -> Spec: ...
    @property
    def uniform(self) -> Policy:
        """Acting without looking."""

    @property
    def best(self) -> float:
        """The worth of the best policy."""

    def worth(self, policy: Policy) -> float:
        """What a policy earns, exactly: the mean reward of a decision, or the return of a session."""

    def play(self, policy: Policy, sessions: int, rng: np.random.Generator) -> Batch:
        """Log `sessions` sessions of a policy; decisions that stand alone are sessions of one."""


def find(name: str) -> Probe:
    """The problem that a function of this name in one of the files makes."""
    found = {each: getattr(module, each) for module in _modules() for each in vars(module)}
    problems = [each for each, made in found.items() if callable(made) and each.islower() and not each.startswith("_")]
    if name not in problems:
        raise UnknownName(f"No probe {name!r}.", field="probe", value=name, fix=nearest(name, problems))
    probe: Probe = found[name]()
    return probe


def _modules() -> list[Any]:
    return [import_module(f"{__name__}.{each}") for each in names_in(__name__)]
