"""The Q-learning agent under its plain name: a face over the learner `tabular.q_learning`, for use in a notebook."""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from bondhu import learners
from bondhu.domains.recommendation import domain
from bondhu.domains.recommendation.action import RecommendationAction
from bondhu.domains.recommendation.state import RecommendationState
from bondhu.errors import InvalidInput, StateCorrupt, StateTooNew
from bondhu.learners.tabular.q_learning import QLearning, Table
from bondhu.policies.exploring.epsilon_greedy import EpsilonGreedy
from bondhu.ports import Version
from bondhu.types import Array, Batch, Spec

Cells = dict[tuple[Any, ...], dict[tuple[str, ...], Any]]  # {state: {action: number}}
FORMAT = 1  # of q_table.json
MOST_BINS = 6  # of each trait: with more of them the learner hashes states, and rows have no single name


class QLearningAgent:
    """Holds one table, its exploration rate and its randomness; every step is the learner's own."""

    def __init__(  # noqa: PLR0913  the published constructor
        self,
        learning_rate: float = 0.1,
        discount_factor: float = 0.95,
        exploration_rate: float = 0.3,
        exploration_decay: float = 0.995,
        min_exploration_rate: float = 0.05,
        *,
        bins: int = 5,
        seed: int | None = None,
    ) -> None:
        self.learner = QLearning(
            learning_rate=learning_rate,
            discount=discount_factor,
            exploration=EpsilonGreedy(exploration_rate, exploration_decay, min_exploration_rate),
        )
        self.bins = bins
        if bins > MOST_BINS:
            raise InvalidInput(
                f"bins got {bins}.", field="bins", value=bins, fix=f"A readable table has at most {MOST_BINS}."
            )
        self._encoder = domain(bins=bins).encoder(MultiDiscrete)
        self._sizes = _sizes(bins)
        self._rng = np.random.default_rng(seed)
        self._allowed = np.ones((1, len(RecommendationAction.all())), bool)
        self._spec = Spec(self._encoder.space, Discrete(self._allowed.shape[1]))
        self.state = self.learner.init(self._spec, self._rng)

    @staticmethod
    def reads(version: Version) -> bool:
        """Whether the version is a table with one row for each state of the built-in domain."""
        bins = version.description["fields"][0].get("bins")
        if version.learner != "tabular.q_learning" or bins not in range(1, MOST_BINS + 1):
            return False
        described = domain(bins).describe()
        same = all(version.description[part] == described[part] for part in ("fields", "actions"))
        return same and len(version.state["values"]) == math.prod(_sizes(bins))

    @classmethod
    def of_version(cls, version: Version) -> QLearningAgent:
        """The agent that holds a stored version's table."""
        if not cls.reads(version):
            fix = f"Only the built-in fields and actions with at most {MOST_BINS} bins a trait have one."
            raise InvalidInput(
                f"Version {version.id!r} is no readable table.", field="version", value=version.id, fix=fix
            )
        agent = cls(bins=version.description["fields"][0]["bins"])
        learner = learners.build(version.learner, version.hyperparameters)
        assert isinstance(learner, QLearning)
        agent.learner = learner
        agent.state = learners.unpack(agent.learner, version.state)
        return agent

    # ------------------------------------------------------------------------------------------------ act and learn

    def get_action(self, state: RecommendationState, explore: bool = True) -> RecommendationAction:
        """The action with the highest value, or with probability `epsilon` a random one while exploring."""
        policy = self.learner.policy(self.state, explore=explore)
        choice = policy.sample(self._observe(state), self._allowed, self._rng)
        return RecommendationAction.all()[int(choice.action[0])]

    def update(
        self,
        state: RecommendationState,
        action: RecommendationAction,
        reward: float,
        next_state: RecommendationState | None = None,
    ) -> float:
        """Q(s,a) ← Q(s,a) + α[r + γ·max_a' Q(s',a') − Q(s,a)]; no next state: the session ends. Returns |error|."""
        observation = self._observe(state)
        following = None if next_state is None else self._observe(next_state)
        batch = Batch(
            observation=observation,
            allowed=self._allowed,
            action=np.array([RecommendationAction.all().index(action)]),
            probability=np.ones(1),
            reward=np.array([reward], float),
            discount=np.array([0.0 if following is None else 1.0]),
            has_next=np.zeros(1, bool),
            next_observation=np.zeros_like(observation) if following is None else following,
            next_allowed=self._allowed,
            session=np.zeros(1, np.int64),
            time=np.zeros(1),
            memo=np.zeros((1, 0)),
        )
        self.state, metrics = self.learner.update(self.state, batch, self._rng)
        return float(metrics["td_error"])

    def _observe(self, state: RecommendationState) -> Array:
        return self._encoder.one(state.to_context())[None]

    # ---------------------------------------------------------------------------------------------------- look inside

    @property
    def epsilon(self) -> float:
        """The present exploration rate."""
        return self._exploration.rate(self.state.rounds)

    @property
    def _exploration(self) -> EpsilonGreedy:
        """The learner's rule: the published agent knows this one only."""
        assert isinstance(self.learner.exploration, EpsilonGreedy)
        return self.learner.exploration

    @property
    def q_table(self) -> Cells:
        """{state: {action: Q-value}} of the cells that were tried."""
        return self._cells(self.state.values)

    @property
    def visit_counts(self) -> Cells:
        """{state: {action: how often it was tried}}."""
        return self._cells(self.state.visits)

    def get_stats(self) -> dict[str, float]:
        """Coverage and size of the table."""
        visits, values = self.state.visits, self.state.values
        tried = visits > 0
        q_values = values[tried]
        return {
            "total_states": int(tried.any(axis=1).sum()),
            "total_state_actions": int(tried.sum()),
            "total_updates": int(visits.sum()),
            "avg_q_value": float(q_values.mean()) if q_values.size else 0.0,
            "max_q_value": float(q_values.max()) if q_values.size else 0.0,
            "min_q_value": float(q_values.min()) if q_values.size else 0.0,
            "exploration_rate": self.epsilon,
        }

    def _cells(self, table: Array) -> Cells:
        """The tried cells of a table, by state and action; what was never tried reads as 0."""
        visits = self.state.visits
        actions = [action.to_tuple() for action in RecommendationAction.all()]
        tried = np.flatnonzero(visits.any(axis=1))
        codes = np.stack(np.unravel_index(tried, self._sizes), axis=1)
        cells: Cells = defaultdict(lambda: defaultdict(int))
        for row, code in zip(tried.tolist(), codes, strict=True):
            of_state = cells[RecommendationState.tuple_of_codes(code)]
            of_state.update({actions[column]: table[row, column].item() for column in np.flatnonzero(visits[row])})
        return cells

    # --------------------------------------------------------------------------------------------------- save and load

    def save(self, path: str | Path = "models/q_table.json") -> Path:
        """Write the readable table; written beside and then renamed, so that a crash leaves the old one whole."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        visits = self.visit_counts
        body = {
            "format": FORMAT,
            "bins": self.bins,
            "exploration_rate": self.epsilon,
            "q_table": {
                _key(state): {_key(action): [value, visits[state][action]] for action, value in row.items()}
                for state, row in self.q_table.items()
            },
        }
        beside = path.with_suffix(".tmp")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        return path

    def load(self, path: str | Path = "models/q_table.json") -> None:
        """Take over a saved table; raises StateCorrupt or StateTooNew and leaves this agent as it was."""
        path = Path(path)
        body = read_table(path)
        if body["bins"] != self.bins:
            raise InvalidInput(
                f"{path} was learned with bins={body['bins']}, this agent has bins={self.bins}.",
                field="bins",
                value=body["bins"],
                fix=f"Make the agent with QLearningAgent(bins={body['bins']}).",
            )
        try:
            state, exploration = self._table(body), replace(self._exploration, epsilon=float(body["exploration_rate"]))
        except (AttributeError, InvalidInput, KeyError, TypeError, ValueError) as error:
            raise StateCorrupt(f"{path} holds an entry that is no state or action: {error}.", fix=RETRAIN) from error
        self.state, self.learner = state, replace(self.learner, exploration=exploration)

    def _table(self, body: Mapping[str, Any]) -> Table:
        """The learner's state that a q_table.json holds."""
        empty = self.learner.init(self._spec, self._rng)
        values, visits = empty.values, empty.visits
        actions = {_key(action.to_tuple()): index for index, action in enumerate(RecommendationAction.all())}
        for key, row in body["q_table"].items():
            position = np.ravel_multi_index(RecommendationState.codes_of_tuple(key.split("|")), self._sizes)
            for action, (value, count) in row.items():
                values[position, actions[action]], visits[position, actions[action]] = value, count
        if not np.isfinite(values).all() or (visits < 0).any():
            raise ValueError("a value is not a number, or a count is below 0")
        return Table.of(values, visits, empty.sizes)


RETRAIN = "Remove the file and train again: `bondhu train`."


def read_table(path: Path) -> dict[str, Any]:
    """The contents of a q_table.json, checked; raises StateCorrupt or StateTooNew."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StateCorrupt(f"There is no {path}.", fix="Train first: `bondhu train`.") from error
    except (ValueError, OSError) as error:
        raise StateCorrupt(f"{path} is not whole: {error}.", fix=RETRAIN) from error
    if not isinstance(body, dict) or not isinstance(body.get("format"), int):
        raise StateCorrupt(f"{path} is not a Q-table.", fix=RETRAIN)
    if body["format"] > FORMAT:
        raise StateTooNew(
            f"{path} has format {body['format']}, this release reads up to {FORMAT}.", fix="Upgrade Bondhu."
        )
    if not isinstance(body.get("q_table"), dict) or not {"bins", "exploration_rate"} <= body.keys():
        raise StateCorrupt(f"{path} is not a Q-table.", fix=RETRAIN)
    return body


def _sizes(bins: int) -> tuple[int, ...]:
    """Codes of each column of an observation."""
    return tuple(domain(bins).encoder(MultiDiscrete).space.nvec.tolist())  # type: ignore[attr-defined]  # MultiDiscrete


def _key(parts: tuple[Any, ...]) -> str:
    return "|".join(str(part) for part in parts)
