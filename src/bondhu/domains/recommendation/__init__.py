"""Entertainment recommendations for a personality: the built-in domain, its plain names, and a simulator of users."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import import_module, resources
from typing import Any

from bondhu.domains.declared import DeclaredDomain, from_table

TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")

_HOMES = {  # imported when asked for, so that a decision needs neither learners nor stores
    "RecommendationState": "state",
    "RecommendationAction": "action",
    "RewardFunction": "reward",
    "infer_action": "infer",
    "QLearningAgent": "agent",
    "RLTrainingOrchestrator": "orchestrator",
    "get_rl_orchestrator": "orchestrator",
    "RecommendationEnv": "env",
    "Population": "simulator",
}
__all__ = ["TRAITS", "domain", "table", *_HOMES]  # noqa: PLE0604  the names are strings


def table(bins: int | None = None) -> dict[str, Any]:
    """The tables of this domain's declaration, to read or to extend, where wanted with each trait cut into `bins`."""
    tables = tomllib.loads(resources.files(__name__).joinpath("domain.toml").read_text("utf-8"))
    for trait in TRAITS if bins is not None else ():
        tables["context"][trait]["bins"] = bins
    return tables


@cache
def domain(bins: int = 5) -> DeclaredDomain:
    """The declared domain, with each trait cut into `bins`."""
    return from_table(table(bins))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
