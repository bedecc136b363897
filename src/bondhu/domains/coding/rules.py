"""How an episode of coding is played: what can be done, what it costs, and how much is shown at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bondhu.catalogue import made, require
from bondhu.domains.coding import reward
from bondhu.domains.coding.edits import OPERATORS
from bondhu.domains.coding.reward import Weights
from bondhu.errors import InvalidInput, SettingsInvalid, UnknownName, nearest

PRICES: Mapping[str, float] = {  # operation to reward for each time: what takes long, or somebody's time, costs more
    "generate": -0.05,
    "edit": -0.01,
    "undo": 0.0,
    "search": -0.01,
    "compile": -0.01,
    "test": -0.02,
    "ask": -0.05,
    "context": -0.01,
    "submit": 0.0,
}
OPERATIONS = tuple(PRICES)


@dataclass(frozen=True)
class Rules:
    """Of all episodes of an environment. `operations` of the weights may name some prices; the rest are `PRICES`."""

    steps: int = 64  # of an episode, choices in menus included
    lines: int = 8  # K: on a page of the menu of lines
    candidates: int = 8  # on a page of the menu of edits
    operators: tuple[str, ...] = OPERATORS  # by which programs are edited
    flat: int = 0  # N > 0: no menus; an action each for the first N edits, most suspicious lines first
    questions: int = 3  # that may be asked
    stages: int = 4  # of the curriculum, from easy to hard; fewer where there are fewer tasks
    discount: float = 0.99  # γ of the learner, for shaping
    tests_at_once: bool = False  # each change is followed by a run of the tests, at its price
    submits: bool = False  # the last step submits what there is; otherwise it cuts the episode
    forgiving: bool = False  # a masked action uses up a step, instead of being refused: for those who see no masks
    reviews: bool = False  # the quality of a solution is paid; a review takes some 50 ms
    examines: bool = False  # solutions are examined for cheating, which runs them several times
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        require(self, 1, 1_000_000, "steps")
        require(self, 1, 1_000, "lines", "candidates", "stages")
        require(self, 0, 100_000, "flat", "questions")
        require(self, 0.0, 1.0, "discount")
        if not self.operators:
            raise InvalidInput("There is no operator to edit with.", field="operators", fix="Name one at least.")
        _named("operators", self.operators, OPERATORS)
        _named("operations", self.weights.operations, OPERATIONS)
        priced = replace(self.weights, operations={**PRICES, **self.weights.operations})
        object.__setattr__(self, "weights", priced)


def from_table(table: Mapping[str, Any]) -> Rules:
    """Rules from a table; `weights` is the table of the rewards. Raises InvalidInput naming the key and the fix."""
    rest = {key: value for key, value in table.items() if key != "weights"}
    rules: Rules = made(Rules, "The rules of coding", rest, {})
    if "weights" not in table:
        return rules
    if not isinstance(table["weights"], Mapping):
        what = f"'weights' is {table['weights']!r}."
        raise SettingsInvalid(what, field="weights", value=table["weights"], fix="Give a table of names and rewards.")
    return replace(rules, weights=reward.from_table(table["weights"]))


def _named(what: str, given: Any, known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise UnknownName(f"{what!r} names {name!r}.", field=what, value=name, fix=nearest(str(name), known))
