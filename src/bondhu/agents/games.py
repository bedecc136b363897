"""Games between agents that write, break, test and review code, as environments of PettingZoo (Terry et al. 2021).

A game is a set of rules: frozen, with a frozen match that is passed in and returned. `Game` plays any rules by
PettingZoo's agent-environment cycle:

    game = Game(BugGame(tasks, Judge(sandbox)))
    game.reset(seed=1)
    for agent in game.agent_iter():
        seen, reward, terminated, truncated, info = game.last()
        game.step(None if terminated else game.action_space(agent).sample(seen["action_mask"]))

Needs the extra `coding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from pettingzoo import AECEnv  # type: ignore[import-untyped]  # it has no stubs

from bondhu.domains.coding.edits import Edit, edits
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge, Judgement
from bondhu.errors import InvalidInput
from bondhu.types import Booleans, Floats, Integers

LARGEST = 10.0  # of a feature; beyond it is cut
KEPT = 65_536  # programs that are remembered
VIEWS = ("observation", "situation", "codes")
M = TypeVar("M")  # a match: all that is known of a game under way


class Seat(NamedTuple):
    """What a player can do and see, in sizes."""

    actions: int
    features: int  # of each action
    situation: int  # numbers that say the same of all actions
    codes: tuple[int, ...]  # how many codes each column has, for those who learn by table


class View(NamedTuple):
    """What a player sees now."""

    observation: Floats  # [A, F] of each action
    situation: Floats  # [S]
    codes: Integers  # [C]
    allowed: Booleans  # [A]; never empty


class Played(NamedTuple, Generic[M]):
    """What came of one action."""

    match: M
    rewards: Mapping[str, float]  # of those who get one now
    over: bool
    told: Mapping[str, Any]  # what people want to know, for `infos`; no player sees it


class Rules(Protocol[M]):
    """A game, frozen; a match is passed in and returned."""

    @property
    def name(self) -> str: ...
    @property
    def seats(self) -> Mapping[str, Seat]:
        """Of every player, in the order of the table."""

    @property
    def simultaneous(self) -> bool:
        """Whether nobody sees what the others do in the same round, so that all may move at once."""

    def begun(self, rng: np.random.Generator) -> M:
        """A new match."""

    def turn(self, match: M) -> str:
        """Whose it is."""

    def view(self, match: M, player: str) -> View: ...

    def played(self, match: M, action: int, rng: np.random.Generator) -> Played[M]:
        """The match after an action that is allowed, of the player whose turn it is."""

    def told(self, match: M) -> str:
        """The match in words."""


class Game(AECEnv, Generic[M]):  # type: ignore[misc]  # PettingZoo has no stubs
    """Any rules, played by turns. The same seed and actions give the same match.

    A player sees a dictionary: `observation` [A, F] features of every action, `situation` [S] and `codes` [C] the same
    for other kinds of learners, `action_mask` [A]. `infos[player]` tells how the match ended.
    """

    def __init__(self, rules: Rules[M]) -> None:
        self.rules = rules
        self.metadata = {"name": rules.name, "render_modes": ["ansi"], "is_parallelizable": rules.simultaneous}
        self.render_mode = "ansi"
        self.possible_agents = list(rules.seats)
        self.agents: list[str] = []
        self.observation_spaces = {player: _space(seat) for player, seat in rules.seats.items()}
        self.action_spaces = {player: Discrete(seat.actions) for player, seat in rules.seats.items()}
        self._rng = np.random.default_rng()
        self._views: tuple[M | None, dict[str, View]] = (None, {})  # of which match

    def observation_space(self, agent: str) -> Dict:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete:
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:  # noqa: ARG002  # there are none
        """A new match; without a seed, randomness goes on from the last one."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.match = self.rules.begun(self._rng)
        self.agents = self.possible_agents[:]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {player: {} for player in self.agents}
        self.agent_selection = self.rules.turn(self.match)
        self._skip_agent_selection = None

    def observe(self, agent: str) -> dict[str, Any]:
        seen = self._view(agent)
        return {
            "observation": np.clip(seen.observation, -LARGEST, LARGEST).astype(np.float32),
            "situation": np.clip(seen.situation, -LARGEST, LARGEST).astype(np.float32),
            "codes": np.asarray(seen.codes, np.int64),
            "action_mask": seen.allowed.astype(np.int8),
        }

    def step(self, action: int | None) -> None:
        """Raises InvalidInput for an action that the mask does not allow."""
        player = self.agent_selection
        if self.terminations[player]:
            self._was_dead_step(action)
            return
        number = _allowed(action, self._view(player).allowed)
        self._cumulative_rewards[player] = 0.0
        done = self.rules.played(self.match, number, self._rng)
        self.match = done.match
        self.rewards = {each: float(done.rewards.get(each, 0.0)) for each in self.agents}
        self._accumulate_rewards()
        if done.over:
            self.terminations = dict.fromkeys(self.agents, True)
            self.infos = {each: dict(done.told) for each in self.agents}
            self.agent_selection = self.agents[0]
        else:
            self.agent_selection = self.rules.turn(self.match)

    def _view(self, player: str) -> View:
        """What a player sees, made once for each match as it stands."""
        if self._views[0] is not self.match:
            self._views = self.match, {}
        views = self._views[1]
        if player not in views:
            views[player] = self.rules.view(self.match, player)
        return views[player]

    def render(self) -> str:
        """The match in words."""
        return self.rules.told(self.match)

    def close(self) -> None:
        """Nothing is held open: who has opened the sandbox closes it."""


def _space(seat: Seat) -> Dict:
    return Dict(
        {
            "observation": Box(-LARGEST, LARGEST, (seat.actions, seat.features), np.float32),
            "situation": Box(-LARGEST, LARGEST, (seat.situation,), np.float32),
            "codes": MultiDiscrete(np.array(seat.codes)),
            "action_mask": MultiBinary(seat.actions),
        }
    )


def _allowed(action: Any, allowed: Booleans) -> int:
    if action is None or not 0 <= int(action) < len(allowed) or not allowed[int(action)]:
        shown = ", ".join(map(str, np.flatnonzero(allowed)[:12].tolist()))
        raise InvalidInput(f"The action {action} is masked.", field="action", value=action, fix=f"Allowed: {shown}.")
    return int(action)


@dataclass(frozen=True)
class Known:
    """A judge that remembers: in a game the same programs come again and again, and the same program answers alike."""

    judge: Judge
    _seen: dict[tuple[str, str], Judgement] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, task: Task, source: str) -> Judgement:
        """By the tests of the task, traced."""
        if (task.id, source) not in self._seen:
            if len(self._seen) >= KEPT:
                self._seen.clear()
            self._seen[task.id, source] = self.judge.judge(task, source, trace=True)
        return self._seen[task.id, source]

    def right(self, tasks: tuple[Task, ...]) -> None:
        """Raises InvalidInput unless each of the tasks has a solution, and it passes."""
        if not tasks:
            raise InvalidInput("A game without tasks.", field="tasks", value=0, fix="Give at least one.")
        for task in tasks:
            if task.solution is None or not self(task, task.solution).solved:
                what = f"The task {task.id!r} has no solution that passes its tests."
                raise InvalidInput(what, field="tasks", value=task.id, fix="Games begin from a right program.")


def one_hot(size: int) -> Floats:
    """A column for each of so many: `[N, N]`."""
    return np.eye(size)


@lru_cache(maxsize=4096)
def edits_of(source: str, entry: str, operators: tuple[str, ...] | None) -> tuple[Edit, ...]:
    """All single edits by these operators, None: by any; remembered."""
    return tuple(edits(source, entry, operators))
