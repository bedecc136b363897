"""Episodes of choosing strategies: played by a policy, logged as decisions, credited, and learned from.

A learner that looks ahead takes every step with what followed. One that takes decisions alone is given the return that
followed each, G_t = R_t + γ·G_{t+1}: it learns what a step leads to if one goes on as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import MultiDiscrete

from bondhu.agents.strategy import Move, Setup, Situation
from bondhu.domains.coding.tasks import Task
from bondhu.equations.returns import returns_to_go
from bondhu.errors import InvalidInput
from bondhu.types import (
    SESSION_END,
    Array,
    Batch,
    Booleans,
    Decision,
    Feedback,
    Floats,
    Learner,
    Policy,
    Uniforms,
)

DOMAIN, SIGNAL = "coding.strategy", "reward"
EVERY = 16  # episodes between two updates


class Step(NamedTuple):
    """One decision, and what it brought."""

    before: Situation
    observation: Array  # [F]
    allowed: Booleans  # [A]
    action: int
    probability: float
    memo: Floats  # [M]
    reward: float


@dataclass(frozen=True)
class Episode:
    """One task, from finding it to handing in an answer."""

    steps: tuple[Step, ...]
    moves: tuple[Move, ...]
    last: Situation
    solved: bool

    @property
    def reward(self) -> float:
        """Of all steps together."""
        return sum(step.reward for step in self.steps)

    @property
    def moved(self) -> tuple[str, ...]:
        """What was done, by name."""
        return tuple(self.moves[step.action].name for step in self.steps)


def play(policy: Policy, setup: Setup, task: Task, rng: Uniforms, *, coded: bool = False) -> Episode:
    """One episode: until it is stopped, by the policy or because nothing else can be done or paid."""
    at, steps, right = Situation(task, task.source), list[Step](), None
    while right is None:
        observation, allowed = setup.observed(at, coded=coded), setup.allowed(at)
        choice = policy.sample(observation[None], allowed[None], rng)
        action = int(choice.action[0])
        move = setup.moves[action]
        following = setup.after(at, move)
        right = setup.right(following) if move.kind == "stop" else None
        reward = setup.reward(at, following, right)
        steps.append(Step(at, observation, allowed, action, float(choice.probability[0]), choice.memo[0], reward))
        at = following
    return Episode(tuple(steps), setup.moves, at, right)


# --------------------------------------------------------------------------------------------------------- as decisions


def decisions(episode: Episode, session: str, time: float, version: str) -> tuple[list[Decision], list[Feedback]]:
    """The episode as a log keeps it: a decision a step, its reward as feedback, and the end of the session.

    Times count steps from `time`, in seconds; ids are made of the session's, so that the same episode is stored once.
    """
    names, made, heard = [move.name for move in episode.moves], list[Decision](), list[Feedback]()
    for number, step in enumerate(episode.steps):
        key, when = f"{session}-{number}", time + number
        can = tuple(name for name, able in zip(names, step.allowed, strict=True) if able)
        made.append(
            Decision(
                key, DOMAIN, session, None, when, _context(step), can, names[step.action], step.probability,
                tuple(step.memo.tolist()), version, "live",
            )
        )  # fmt: skip
        heard.append(Feedback(f"{key}-{SIGNAL}", key, SIGNAL, step.reward, when))
    heard.append(Feedback(f"{session}-{SESSION_END}", made[-1].id, SESSION_END, 1.0, made[-1].time))
    return made, heard


def _context(step: Step) -> dict[str, Any]:
    at = step.before
    kinds = at.judged.problems if at.judged else ()
    return {
        "task": at.task.id,
        "kind": at.task.kind,
        "tested": at.judged is not None,
        "share": at.share,
        "problem": next((each for each in kinds if each), ""),
        "waiting": len(at.waiting),
        "steps": at.steps,
        "dollars": float(at.spent.dollars),
        "tokens": at.spent.tokens,
        "executions": at.spent.executions,
    }


def batch_of(episodes: Sequence[Episode]) -> Batch:
    """The episodes as learners take them; every one has come to a true end."""
    if not episodes:
        raise InvalidInput("No episodes.", field="episodes", value=0, fix="Play at least one.")
    steps = [step for episode in episodes for step in episode.steps]
    lengths = [len(episode.steps) for episode in episodes]
    has_next = np.ones(len(steps), np.bool_)
    has_next[np.cumsum(lengths) - 1] = False
    observation, allowed = np.stack([step.observation for step in steps]), np.stack([step.allowed for step in steps])
    return Batch(
        observation=observation,
        allowed=allowed,
        action=np.array([step.action for step in steps]),
        probability=np.array([step.probability for step in steps]),
        reward=np.array([step.reward for step in steps]),
        discount=has_next.astype(np.float64),
        has_next=has_next,
        next_observation=np.roll(observation, -1, axis=0) * has_next[:, None],
        next_allowed=np.where(has_next[:, None], np.roll(allowed, -1, axis=0), True),
        session=np.repeat(np.arange(len(episodes)), lengths),
        time=np.concatenate([np.arange(length, dtype=np.float64) for length in lengths]),
        memo=np.stack([step.memo for step in steps]),
    )


# -------------------------------------------------------------------------------------------------------------- credit


def credited(batch: Batch, factor: float) -> Batch:
    """The same decisions, each alone with the return that followed it; `factor` is γ."""
    returns = returns_to_go(batch.reward, batch.discount, batch.has_next, factor)
    nothing, alone = np.zeros(len(batch)), np.zeros(len(batch), np.bool_)
    after = np.zeros_like(batch.next_observation)
    return replace(batch, reward=returns, discount=nothing, has_next=alone, next_observation=after,
                   session=np.arange(len(batch)))  # fmt: skip


class Credit(NamedTuple):
    """What one move has brought so far."""

    times: int
    gain: float  # mean return from there on
    advantage: float  # mean of that return less the mean return of all steps of the same number
    cost: float  # mean reward of the step itself


def credits(episodes: Sequence[Episode], factor: float) -> dict[str, Credit]:
    """By move: for people, who ask which step earned what."""
    batch = batch_of(episodes)
    gain = credited(batch, factor).reward
    number = batch.time.astype(int)
    usual = np.bincount(number, weights=gain) / np.bincount(number)
    names, found = [move.name for move in episodes[0].moves], dict[str, Credit]()
    for action in np.unique(batch.action).tolist():
        rows = batch.action == action
        means = (gain[rows].mean(), (gain - usual[number])[rows].mean(), batch.reward[rows].mean())
        found[names[action]] = Credit(int(rows.sum()), *map(float, means))
    return found


# ------------------------------------------------------------------------------------------------------------- learning


@dataclass(frozen=True)
class Agent:
    """A learner with what it has learned of strategies."""

    learner: Learner[Any]
    state: Any

    @property
    def coded(self) -> bool:
        """Whether it sees codes."""
        return issubclass(self.learner.observes, MultiDiscrete)

    @property
    def looks_ahead(self) -> bool:
        """Whether it takes what follows into account itself."""
        return any(each.name == "discount" for each in fields(self.learner))  # type: ignore[arg-type]  # all are dataclasses

    def policy(self, *, explore: bool = False) -> Policy:
        """How it acts."""
        return self.learner.policy(self.state, explore=explore)

    def learned(self, episodes: Sequence[Episode], factor: float, rng: np.random.Generator) -> Agent:
        """The agent after these episodes."""
        batch = batch_of(episodes)
        state, _ = self.learner.update(self.state, batch if self.looks_ahead else credited(batch, factor), rng)
        return Agent(self.learner, state)


def begun(learner: Learner[Any], setup: Setup, task: Task, rng: np.random.Generator) -> Agent:
    """An agent that knows nothing; any task says what tasks look like."""
    coded = issubclass(learner.observes, MultiDiscrete)
    return Agent(learner, learner.init(setup.spec(task, coded=coded), rng))


def practised(
    agent: Agent, setup: Setup, tasks: Sequence[Task], rng: np.random.Generator, every: int = EVERY
) -> tuple[Agent, list[Episode]]:
    """The agent after it has explored these tasks one after another, and what it did."""
    done = list[Episode]()
    for start in range(0, len(tasks), every):
        policy = agent.policy(explore=True)
        some = [play(policy, setup, task, rng, coded=agent.coded) for task in tasks[start : start + every]]
        agent, done = agent.learned(some, setup.discount, rng), done + some
    return agent, done
