"""A domain declared as data: the tables of a bondhu.toml, or the description stored with a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from itertools import chain, product
from typing import Any

import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space

from bondhu.domains import reward_tables, tables
from bondhu.domains.candidates import CandidateEncoder, Candidates
from bondhu.domains.encoders import CodeEncoder, Decoder, FeatureEncoder
from bondhu.domains.fields import Category, Field, Number
from bondhu.domains.ranking import Ranked, RankedEncoder
from bondhu.errors import InvalidInput, SettingsInvalid, nearest
from bondhu.policies.first import First
from bondhu.policies.rules import RuleList, When
from bondhu.policies.uniform import Uniform
from bondhu.ports import Reward
from bondhu.types import Columns, Encoder, Floats, Policy

UNIFORM = "uniform"  # the baseline that takes any action with equal probability
DEFAULT_IDLE = 1800.0  # seconds


@dataclass(frozen=True)
class Condition:
    """One rule of the baseline: where every field has one of these values, set these parts of the action."""

    when: Mapping[str, tuple[str, ...] | tuple[float, float]]  # a category's values; a number's lowest and highest
    set: Mapping[str, str]


@dataclass(frozen=True)
class DeclaredDomain:
    """A problem as data; satisfies `types.Domain`."""

    name: str
    fields: tuple[Field, ...]
    parts: Mapping[str, tuple[str, ...]]  # of an action, in order; the last varies fastest
    reward: Reward
    idle: float = DEFAULT_IDLE  # seconds
    default: str = UNIFORM  # action of the baseline
    rules: tuple[Condition, ...] = ()
    objectives: Mapping[str, Any] = field(default_factory=dict)  # of the reward, as written
    described: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # features of the actions, if declared

    @cached_property
    def actions(self) -> tuple[str, ...]:
        return tuple("/".join(values) for values in product(*self.parts.values()))

    @cached_property
    def action_features(self) -> Floats | None:
        """`[A, G]`: which values its parts have, where there are several; then what was declared of it."""
        sizes = [len(values) for values in self.parts.values()]
        hot = [[*chain(*rows)] for rows in product(*map(np.eye, sizes))] if len(sizes) > 1 else [[]] * sizes[0]
        features = [[*row, *self.described.get(name, ())] for name, row in zip(self.actions, hot, strict=True)]
        return np.array(features, np.float64) if features[0] else None

    @cached_property
    def _candidates(self) -> Candidates | Ranked | None:
        """The field that brings the actions along, where one does."""
        fields = (
            each for each in self.fields if isinstance(each, Candidates | Ranked) and each.actions == self.actions
        )
        return next(fields, None)

    def choices(self, context: Mapping[str, Any]) -> tuple[str, ...] | None:
        there = context.get(self._candidates.name) if self._candidates else None
        return None if there is None else self.actions[: 1 + self._candidates.code(there)]  # type: ignore[union-attr]  # there

    def columns(self, contexts: Sequence[bytes]) -> Columns:
        return self._decoder.columns(contexts)

    def encoder(self, observes: type[Space[Any]]) -> Encoder:
        if observes is MultiDiscrete:
            return self._codes
        if observes is Box:
            return self._features
        what = f"There is no encoder for {observes.__name__}."
        raise InvalidInput(what, field="observes", value=observes.__name__, fix="Observe MultiDiscrete or Box.")

    def baseline(self) -> Policy:
        if self.default == UNIFORM:
            return Uniform()
        if isinstance(self._candidates, Ranked) and self.default == self.actions[0]:
            return First()
        sizes = tuple(len(values) for values in self.parts.values())
        return RuleList(sizes, self.actions.index(self.default), [self._compiled(rule) for rule in self.rules])

    def describe(self) -> dict[str, Any]:
        """The tables of bondhu.toml in full, with lists where order matters, since JSON objects may be reordered."""
        return {
            "domain": {"name": self.name, "idle": self.idle},
            "fields": [each.describe() for each in self.fields],
            "actions": [[part, list(values)] for part, values in self.parts.items()],
            **({"candidates": self._candidates.name} if self._candidates else {}),
            "action_features": [[name, list(values)] for name, values in self.described.items()],
            "reward": {
                "default": self.reward.default,
                "wait": self.reward.wait,
                "count_late": self.reward.count_late,
                "delay_horizon": self.reward.delay_horizon,
                "aggregate": self.reward.aggregate,
                "signals": {
                    name: {"weight": signal.weight, "range": [signal.low, signal.high], "error": signal.error}
                    for name, signal in self.reward.signals.items()
                },
                "objectives": dict(self.objectives),
            },
            "baseline": {
                "default": self.default,
                "rules": [
                    {"when": {name: list(values) for name, values in rule.when.items()}, "set": dict(rule.set)}
                    for rule in self.rules
                ],
            },
        }

    def _compiled(self, rule: Condition) -> When:
        names = [each.name for each in self.fields]
        conditions = {
            names.index(name): frozenset(matching(self.fields[names.index(name)], values))
            for name, values in rule.when.items()
        }
        order = list(self.parts)
        return When(conditions, {order.index(part): self.parts[part].index(value) for part, value in rule.set.items()})

    @cached_property
    def _codes(self) -> CodeEncoder:
        return CodeEncoder(self.fields)

    @cached_property
    def _features(self) -> Encoder:
        if isinstance(self._candidates, Ranked):
            return RankedEncoder(self.fields, self._candidates)
        if self._candidates:
            return CandidateEncoder(self.fields, self._candidates)
        return FeatureEncoder(self.fields)

    @cached_property
    def _decoder(self) -> Decoder:
        return Decoder(self.fields)


def matching(field: Field, values: Sequence[Any]) -> list[int]:
    """The codes a condition names: of a category's values, or of the bins whose middle lies in a number's range."""
    if isinstance(field, Number):
        low, high = values
        return [code for code, middle in enumerate(field.middles) if low <= middle <= high]
    return [field.code(value) for value in values]


def from_table(table: Mapping[str, Any]) -> DeclaredDomain:
    """The domain that [domain], [context], [actions], [reward] and [baseline] declare."""
    tables.known(table, ("domain", "context", "actions", "reward", "baseline"), "bondhu.toml")
    head = tables.known(table.get("domain", {}), ("name", "idle"), "domain")
    name = head.get("name")
    if not isinstance(name, str) or not name.strip():
        raise tables.wrong("domain.name", name, "Give the problem a name in quotes.")
    fields = tables.fields(table.get("context"))
    parts = tables.parts(table.get("actions"), fields)
    default, rules = _baseline(table.get("baseline", {}), fields, parts)
    actions = ["/".join(values) for values in product(*parts.values())]
    return DeclaredDomain(
        name=name,
        fields=fields,
        parts=parts,
        reward=reward_tables.reward(table.get("reward", {}), parts),
        idle=tables.number(head.get("idle", DEFAULT_IDLE), "domain.idle", least=0.0),
        default=default,
        rules=rules,
        objectives=table.get("reward", {}).get("objectives", {}),
        described=tables.action_features(table["actions"].get(tables.FEATURES), actions),
    )


def from_description(data: Mapping[str, Any]) -> DeclaredDomain:
    """The domain that `describe` wrote down."""
    try:
        context = {field["name"]: {key: field[key] for key in field if key != "name"} for field in data["fields"]}
        return from_table(
            {
                "domain": data["domain"],
                "context": context,
                "actions": _actions_of(data),
                "reward": data["reward"],
                "baseline": data["baseline"],
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"The description is not one of a domain: {error!r}."
        raise SettingsInvalid(what, fix="Use what Domain.describe() gave.") from error


def _features_of(data: Mapping[str, Any]) -> dict[str, Any]:
    listed = dict(data.get("action_features", []))
    return {tables.FEATURES: listed} if listed else {}


def _actions_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """[actions] as it was written."""
    if "candidates" in data:
        return {"candidates": data["candidates"]}
    return {**dict(data["actions"]), **_features_of(data)}


def template() -> str:
    """A commented bondhu.toml, up to the tables that declare the problem."""
    return resources.files("bondhu.domains").joinpath("template.toml").read_text("utf-8")


def _baseline(
    table: Any, fields: tuple[Field, ...], parts: Mapping[str, tuple[str, ...]]
) -> tuple[str, tuple[Condition, ...]]:
    tables.known(table, ("default", "rules"), "baseline")
    default, rules = table.get("default", UNIFORM), table.get("rules", [])
    chosen = default.split("/") if isinstance(default, str) and len(parts) > 1 else [default]
    if default != UNIFORM:
        if len(chosen) != len(parts):
            example = "/".join(values[0] for values in parts.values())
            raise tables.wrong("baseline.default", default, f"Give one value for each part, such as {example!r}.")
        for value, (_, values) in zip(chosen, parts.items(), strict=True):
            if value not in values:
                raise tables.wrong("baseline.default", default, nearest(str(value), (*values, UNIFORM)))
    if not isinstance(rules, list):
        raise tables.wrong("baseline.rules", rules, "Write each rule as [[baseline.rules]].")
    if rules and default == UNIFORM:
        raise tables.wrong("baseline.default", default, "Name the action that holds where no rule sets a part.")
    return default, tuple(_condition(rule, f"baseline.rules.{n}", fields, parts) for n, rule in enumerate(rules))


def _condition(rule: Any, path: str, fields: tuple[Field, ...], parts: Mapping[str, tuple[str, ...]]) -> Condition:
    tables.known(rule, ("when", "set"), path)
    by_name = {field.name: field for field in fields}
    when = tables.known(rule.get("when", {}), by_name, f"{path}.when")
    sets = tables.known(rule.get("set", {}), parts, f"{path}.set")
    if not sets:
        raise tables.wrong(f"{path}.set", sets, f"Set at least one of {', '.join(parts)}.")
    for part, value in sets.items():
        tables.one_of(value, parts[part], f"{path}.set.{part}")
    return Condition(
        {name: _values(by_name[name], values, f"{path}.when.{name}") for name, values in when.items()}, dict(sets)
    )


def _values(field: Field, values: Any, key: str) -> tuple[str, ...] | tuple[float, float]:
    if isinstance(field, Number):
        return tables.span(values, key)
    if not isinstance(field, Category):
        raise tables.wrong(key, values, "A rule can look at categories and numbers only.")
    listed = tables.names([values] if isinstance(values, str) else values, key)
    for value in listed:
        tables.one_of(value, field.values, key)
    return listed
