"""The catalogue of learners, "family.file" each; and their states as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bondhu.catalogue import find_in, made, names_in, plain
from bondhu.learners._states import carried, pack, unpack, views
from bondhu.policies import exploring
from bondhu.types import Exploration, Learner

__all__ = ["build", "carried", "find", "names", "pack", "plain", "unpack", "views"]


def names() -> list[str]:
    """Every learner as "family.file", such as "tabular.q_learning"."""
    return [name for name in names_in(__name__) if "." in name]


def find(name: str) -> type[Learner[Any]]:
    """The learner's class, named like its file; imports that file and no other learner's."""
    return find_in(__name__, name, "learner")


def build(name: str, hyperparameters: Mapping[str, Any]) -> Learner[Any]:
    """The learner with these hyper-parameters; the others keep their defaults."""
    parts = {Exploration: exploring.build, Learner: build}
    learner: Learner[Any] = made(find(name), name, hyperparameters, parts)
    return learner
