"""Rules written by people, as data: the policy in force before anything is learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.policies.drawing import drawn, evenly, pick
from bondhu.types import Array, Booleans, Floats, Integers


@dataclass(frozen=True)
class When:
    """One rule: where every condition holds, these parts of the action are set."""

    conditions: Mapping[int, frozenset[int]]  # column of the observation -> codes it may have; empty: always
    sets: Mapping[int, int]  # part of the action -> its value


@dataclass(frozen=True)
class RuleList:
    """For each part of the action, the first rule that matches and sets it; a part no rule sets keeps the default's.

    Observes codes `[T, F]`. Where the ruled action is not allowed, any allowed one is taken with equal probability.
    """

    sizes: Sequence[int]  # how many values each part of the action has; the last part varies fastest
    default: int  # action
    rules: Sequence[When] = field(default=())

    def __post_init__(self) -> None:
        actions = math.prod(self.sizes)
        if not 0 <= self.default < actions:
            raise InvalidInput(
                f"The default action is {self.default}.", field="default", fix=f"There are {actions}, from 0."
            )
        for number, rule in enumerate(self.rules):
            for part, value in rule.sets.items():
                if not (0 <= part < len(self.sizes) and 0 <= value < self.sizes[part]):
                    raise InvalidInput(
                        f"Rule {number} sets part {part} to {value}.", field="rules", fix=f"Sizes are {self.sizes}."
                    )

    def actions(self, observation: Array) -> Integers:
        """The ruled action of each row, allowed or not: `[T]`."""
        if len(observation) == 1:  # the live request: reading the rules costs less than indexing the table
            return np.array([self._one(observation[0].tolist())])
        matched = self._matched(observation)
        action = np.zeros(len(observation), np.int64)
        for size, (rules, values) in zip(self.sizes, self._parts, strict=True):
            action = action * size + values[matched[:, rules].argmax(axis=-1)]
        return action

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        rows = np.arange(len(observation))
        ruled = np.zeros(allowed.shape, np.bool_)
        ruled[rows, self.actions(observation)] = True
        ruled &= allowed
        if np.count_nonzero(ruled) < len(rows):
            ruled = np.where(ruled.any(axis=-1, keepdims=True), ruled, allowed)
        return evenly(ruled)

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    sample = drawn

    def _one(self, codes: list[int]) -> int:
        """The ruled action of one observation."""
        parts: dict[int, int] = {}
        for rule in self.rules:
            if all(codes[column] in wanted for column, wanted in rule.conditions.items()):
                parts = {**rule.sets, **parts}
        action = 0
        for part, (size, value) in enumerate(zip(self.sizes, self._defaults, strict=True)):
            action = action * size + parts.get(part, value)
        return action

    def _matched(self, observation: Array) -> Booleans:
        """Which rules match: `[T, rules + 1]`; the last one, the default, always does."""
        columns, table = self._table
        codes = np.minimum(observation[:, columns], table.shape[1] - 1)
        matched: Booleans = np.logical_and.reduce(table[np.arange(len(columns)), codes], axis=1)
        return matched

    @cached_property
    def _table(self) -> tuple[Integers, Booleans]:
        """The columns that rules look at, and `[columns, codes, rules + 1]`: may the rule match with this code?

        The last code stands for all codes that no rule names.
        """
        columns = sorted({column for rule in self.rules for column in rule.conditions})
        named = [code for rule in self.rules for codes in rule.conditions.values() for code in codes]
        table = np.ones((len(columns), max(named, default=-1) + 2, len(self.rules) + 1), np.bool_)
        for number, rule in enumerate(self.rules):
            for column, codes in rule.conditions.items():
                table[columns.index(column), :, number] = False
                table[columns.index(column), sorted(codes), number] = True
        return np.array(columns, np.int64), table

    @cached_property
    def _defaults(self) -> list[int]:
        """The default action's value of each part."""
        return [int(value) for value in np.unravel_index(self.default, tuple(self.sizes))]

    @cached_property
    def _parts(self) -> list[tuple[Integers, Integers]]:
        """For each part of the action: the rules that set it, the default last, and the value that each sets."""
        parts = []
        for part, value in enumerate(self._defaults):
            setting = [(number, rule.sets[part]) for number, rule in enumerate(self.rules) if part in rule.sets]
            numbers, values = np.array([*setting, (len(self.rules), value)], np.int64).T
            parts.append((numbers, values))
        return parts
