"""Rules of exploration over any estimate of values: each file one frozen rule, `(belief, allowed) -> probabilities`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bondhu.catalogue import find_in, made, names_in
from bondhu.types import Exploration


def names() -> list[str]:
    """Every rule, such as "epsilon_greedy"."""
    return names_in(__name__)


def build(name: str, hyperparameters: Mapping[str, Any]) -> Exploration:
    """The rule with these hyper-parameters; the others keep their defaults."""
    rule: Exploration = made(find_in(__name__, name, "exploration"), name, hyperparameters, {})
    return rule
