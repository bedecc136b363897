"""Two critics of an action that is numbers, side by side in one record, and the phases in which they learn.

Shapes: K gradient steps, B rows of each, F features, D numbers of an action, each from -1 to 1 between its bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box

from bondhu.errors import InvalidInput
from bondhu.learners import _columns, _networks, _replay
from bondhu.learners._columns import Actions
from bondhu.learners._networks import Value
from bondhu.learners._replay import Replay
from bondhu.learners._table import refused
from bondhu.types import Array, Batch, Belief, Beliefs, Floats, Metrics, Spec

P = TypeVar("P")  # what a learner learns: a record of arrays
PHASE = 64  # gradient steps of one call: always as many columns, so that one length is compiled


def features(spec: Spec, learner: str) -> int:
    """How many. Raises InvalidInput where images are seen: an action cannot be put beside one."""
    space = spec.observation
    if isinstance(space, Box) and len(space.shape) == 1:
        return space.shape[0]
    fix = "Encode what is seen as features, [F]; images are for deep.ppo and deep.discrete_sac."
    raise InvalidInput(f"{learner} sees features, not {space}.", field="observation_space", value=str(space), fix=fix)


def twins(rng: np.random.Generator, inputs: int, hidden: tuple[int, ...]) -> Value:
    """Two critics that begin differently and share nothing; every array has an axis of 2 in front."""
    two = [_networks.value_network(rng, (inputs,), hidden, _networks.uniform) for _ in range(2)]
    stacked: Value = jax.tree.map(lambda *each: np.stack(each), *two)
    return stacked


def judged(twins: Value, seen: Any, action: Any, activation: str) -> Any:
    """What both say of an action, in JAX: `[B, F]`, `[B, D]` to `[2, B]`."""
    both = jnp.concatenate([seen, action], axis=1)
    return jax.vmap(_networks.value, (0, None, None))(twins, both, activation)


# ---------------------------------------------------------------------------------------------------------- the bounds


def within(raw: Any, bounds: Array) -> Any:
    """From -1 … 1 to the bounds `[2, D]`: `[B, D]`."""
    low, high = bounds
    return low + (raw + 1.0) * (0.5 * (high - low))


def unit(action: Any, bounds: Array) -> Any:
    """From the bounds `[2, D]` to -1 … 1; what an environment would clip is clipped: `[..., D]`."""
    low, high = bounds
    return np.clip((action - low) / (0.5 * (high - low)) - 1.0, -1.0, 1.0).astype(np.float32)


def check(batch: Batch, bounds: Array, replay: Replay) -> None:
    """Refuse what would spoil the parameters; nothing has been learned yet."""
    shape = len(batch), bounds.shape[1]
    if batch.action.shape != shape:
        raise refused("action", f"shape {batch.action.shape}", f"Its shape must be {shape}.")
    _columns.check(batch, Actions((), bounds.shape[1]), replay.rows.observation.shape[1:])


# ---------------------------------------------------------------------------------------------------------- the phases


class OffPolicy(Protocol):
    """What the learners that share this file have in common: hyper-parameters, each explained there."""

    @property
    def discount(self) -> float: ...
    @property
    def n_step(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def learning_starts(self) -> int: ...
    @property
    def updates_per_step(self) -> float: ...


class State(eqx.Module, Generic[P]):
    """What was learned, and from what."""

    learned: P  # what gradient steps change; it stays on the device
    replay: Replay
    bounds: Floats  # [2, D] of an action that is numbers
    rows: Array  # [] seen so far
    owed: Array  # [] gradient steps, less than one


def begun(learned: P, replay: Replay, bounds: Floats) -> State[P]:
    """Nothing seen yet."""
    return State(learned, replay, bounds.astype(np.float64), np.zeros((), np.int64), np.zeros(()))


Draw = Callable[[Replay, int], Mapping[str, Array]]  # memory, gradient steps -> columns [steps, B, …]
Phase = Callable[[P, Any, Any], tuple[P, Mapping[str, Any]]]  # learned, columns [PHASE, B, …], steps -> learned, told


def taught(learner: OffPolicy, state: State[P], batch: Batch, draw: Draw, phase: Phase[P]) -> tuple[State[P], Metrics]:
    """Remember the rows, then make the gradient steps that they owe; rows before the learner starts owe none.

    The metrics are means over the gradient steps, and how many there were: `updates`.
    """
    replay = _replay.remembered(state.replay, batch, learner.capacity, learner.n_step, learner.discount)
    rows = int(state.rows) + len(batch)
    owed = float(state.owed) + learner.updates_per_step * min(len(batch), max(0, rows - learner.learning_starts))
    learned, told = firm(state.learned), []
    for done in range(0, int(owed), PHASE):
        steps = min(PHASE, int(owed) - done)
        columns = {name: long(column) for name, column in draw(replay, steps).items()}
        learned, metrics = phase(learned, columns, steps)
        told.append((steps, metrics))
    after = replace(state, learned=learned, replay=replay, rows=np.asarray(rows), owed=np.asarray(owed % 1.0))
    return after, together(told)


def columns(replay: Replay, steps: int, minibatch: int, bounds: Array, rng: np.random.Generator) -> Mapping[str, Array]:
    """What gradient steps look at, drawn from the replay: `[steps, B, …]`; and two standard normal numbers for each one
    of an action: `noise [steps, 2, B, D]`."""
    kept = replay.rows
    drawn = _replay.drawn(replay, steps, minibatch, rng)
    return {
        "observation": kept.observation[drawn],
        "next_observation": kept.next_observation[drawn],
        "action": unit(kept.action[drawn], bounds),
        "reward": kept.reward[drawn],
        "continuing": kept.discount[drawn],
        "noise": rng.standard_normal((steps, 2, minibatch, bounds.shape[1]), np.float32),
    }


def long(column: Array) -> Array:
    """With zeros up to PHASE rows."""
    if len(column) == PHASE:
        return column
    made = np.zeros((PHASE, *column.shape[1:]), column.dtype)
    made[: len(column)] = column
    return made


def repeated(step: Callable[[Any, Any], tuple[Any, Any]], learned: Any, rows: Any, steps: Any) -> tuple[Any, Any]:
    """A gradient step for each of the first `steps` of the columns, and the means of what they report, in JAX."""

    def body(number: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        learned, total = carry
        learned, told = step(learned, {name: column[number] for name, column in rows.items()})
        return learned, jax.tree.map(jnp.add, total, told)

    first = {name: column[0] for name, column in rows.items()}
    nothing = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), jax.eval_shape(step, learned, first)[1])
    learned, total = jax.lax.fori_loop(0, steps, body, (learned, nothing))
    return learned, jax.tree.map(lambda each: each / steps, total)


def together(told: list[tuple[int, Mapping[str, Any]]]) -> Metrics:
    """The means over the gradient steps of several calls, and how many steps there were, as `updates`."""
    total = sum(steps for steps, _ in told)
    each = [(steps / total, _columns.reported(metrics)) for steps, metrics in told]
    names = each[0][1] if each else ()
    return {name: sum(share * metrics[name] for share, metrics in each) for name in names} | {"updates": float(total)}


def firm(tree: Any) -> Any:
    """Plain numbers, as they come out of a store, as arrays of single precision: one type is compiled."""

    def array(leaf: Any) -> Any:
        return (
            np.asarray(leaf, np.int32 if isinstance(leaf, int) else np.float32)
            if isinstance(leaf, (int, float))
            else leaf
        )

    return jax.tree.map(array, tree)


# ------------------------------------------------------------------------------------------------------------ believing


def beliefs_of(twins: Value, activation: str, mean: Callable[[Array], Floats], bounds: Array, rows: float) -> Beliefs:
    """One column: the lower value of the action that would be taken. Its error is how far the critics are apart, and
    `draws` are what each of them says."""
    asks = [_networks.asked(jax.tree.map(lambda each, k=k: np.asarray(each)[k], twins), activation) for k in range(2)]

    def believed(seen: Array) -> Belief:
        both = np.concatenate([seen.astype(np.float32), unit(mean(seen), bounds)], axis=1)
        draws = np.stack([ask(both) for ask in asks]).astype(np.float64)
        error = np.abs(draws[1] - draws[0]) / 2.0
        return Belief(draws.min(axis=0), error, np.full(error.shape, rows), rows, draws)

    return believed
