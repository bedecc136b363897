"""Drives a policy through Gymnasium environments and returns what happened as a Batch, right at every cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, VectorEnv

from bondhu.errors import InvalidInput
from bondhu.types import Array, Batch, Booleans, Learner, Metrics, Policy, Spec

_Trace = dict[str, list[Array]]


def simulate(env: VectorEnv[Any, Any, Any], policy: Policy, steps: int, rng: np.random.Generator) -> Batch:
    """Act for `steps` steps in each of N environments; the Batch has at most steps x N rows, trajectory by trajectory.

    An environment may restrict the actions through `info["action_mask"]`, [N, A]. The environment must reset itself on
    the step after an end (Gymnasium's NEXT_STEP): that step ignores the action, so it becomes no row.
    """
    if env.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
        raise InvalidInput(
            "This environment does not reset on the step after an end.",
            field="autoreset_mode",
            value=env.metadata.get("autoreset_mode"),
            fix="Make it with autoreset_mode=AutoresetMode.NEXT_STEP.",
        )
    actions = env.single_action_space
    if not isinstance(actions, Discrete):
        raise InvalidInput(f"The actions are {actions}.", field="action_space", fix="Simulate a Discrete action space.")
    observation, info = env.reset(seed=int(rng.integers(2**31)))
    observation, allowed = _two_dimensional(observation), _mask(info, env.num_envs, int(actions.n))
    live = np.ones(env.num_envs, bool)  # False on the step that only resets
    trace: _Trace = {}
    for _ in range(steps):
        choice = policy.sample(observation, allowed, rng)
        following, reward, terminated, truncated, info = env.step(choice.action + actions.start)
        following, next_allowed = _two_dimensional(following), _mask(info, env.num_envs, int(actions.n))
        next_allowed[terminated] = True  # nothing to choose from
        _keep(
            trace,
            observation=observation,
            allowed=allowed,
            action=choice.action,
            probability=choice.probability,
            memo=choice.memo,
            reward=reward,
            discount=1.0 - terminated,
            next_observation=following,
            next_allowed=next_allowed,
            live=live,
            ended=terminated | truncated,
        )
        live = ~(terminated | truncated)
        observation, allowed = following, next_allowed
    return _batch(trace)


def learn(
    env: VectorEnv[Any, Any, Any], learner: Learner[Any], *, rounds: int, steps: int, rng: np.random.Generator
) -> tuple[Any, list[Metrics]]:
    """Learn on-line: act for `steps` steps in each environment as the learner explores, update, and again.

    Returns the learner's state and the metrics of each round. A round begins with a reset: an episode that it cuts is
    cut, not ended.
    """
    state = learner.init(Spec(env.single_observation_space, env.single_action_space), rng)
    history = []
    for _ in range(rounds):
        batch = simulate(env, learner.policy(state, explore=True), steps, rng)
        state, metrics = learner.update(state, batch, rng)
        history.append(metrics)
    return state, history


def _mask(info: dict[str, Any], environments: int, actions: int) -> Booleans:
    mask = info.get("action_mask")
    if mask is None:
        return np.ones((environments, actions), bool)
    given = info.get("_action_mask", np.ones(environments, bool))  # Gymnasium's note of which environments sent one
    allowed: Booleans = np.asarray(mask, bool) | ~np.asarray(given, bool)[:, None]
    return allowed


def _keep(trace: _Trace, **columns: Array) -> None:
    for name, column in columns.items():
        trace.setdefault(name, []).append(np.array(column))


def _batch(trace: _Trace) -> Batch:
    """From [steps][N] to rows that hold one trajectory after the other."""
    columns = {name: np.stack(parts, axis=1) for name, parts in trace.items()}  # [N, steps, ...]
    live, ended = columns.pop("live"), columns.pop("ended")
    starts = np.zeros_like(live)
    starts[:, 0] = True
    starts[:, 1:] = ~live[:, :-1]  # the step after the resetting one opens a trajectory
    cut = ended.copy()
    cut[:, -1] = True
    rows = {name: column[live] for name, column in columns.items()}
    rows["next_observation"][rows["discount"] == 0] = 0
    session = np.cumsum(starts[live]) - 1
    return Batch(
        observation=rows["observation"],
        allowed=rows["allowed"],
        action=rows["action"],
        probability=rows["probability"],
        reward=rows["reward"].astype(float),
        discount=rows["discount"].astype(float),
        has_next=~cut[live],
        next_observation=rows["next_observation"],
        next_allowed=rows["next_allowed"],
        session=session,
        time=np.arange(len(session), dtype=float),
        memo=rows["memo"],
    )


def _two_dimensional(observation: Array) -> Array:
    return observation[:, None] if observation.ndim == 1 else observation
