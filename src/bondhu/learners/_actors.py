"""An actor and a critic side by side: what every policy-gradient method is made of.

The actor prefers actions (logits, one for each of A, or of all slots) or leans to numbers (means of D, with a deviation
that does not depend on the context); the critic values the context. They share nothing but a memory, if they have one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from bondhu.equations import categorical, gaussian
from bondhu.errors import InvalidInput
from bondhu.learners import _networks, _recurrent
from bondhu.learners._columns import Actions, actions_of, seen_by
from bondhu.learners._networks import Network, Value
from bondhu.learners._recurrent import Cell
from bondhu.learners._scales import Scale, deviation, including, scaling, unscaled
from bondhu.policies.by_value import ByValue
from bondhu.policies.gaussian import Certain, Gaussian
from bondhu.policies.greedy import greedy
from bondhu.policies.remembering import Remembering
from bondhu.policies.slots import Slots, side_by_side
from bondhu.policies.softmax import softmax
from bondhu.types import Array, Batch, Belief, Beliefs, Declared, Floats, Integers, PerAction, Policy, Spec

LEAST = float(np.finfo(np.float64).tiny)  # probability of which there is a logarithm
MEMORY = "memory"  # what the one entry of a cell is called


class ActorCritic(eqx.Module):
    """The parameters."""

    actor: Network  # [A, 1] logits, or [D, 1] means
    critic: Value
    log_deviation: Array  # [D] of a continuous action; empty where actions are counted
    cell: Mapping[str, Cell] = eqx.field(default_factory=dict)  # MEMORY: what is remembered; empty where nothing is


class Experience(eqx.Module):
    """What is known beside the parameters."""

    scale: Scale  # of what is observed
    earned: Scale  # of discounted returns, [] each
    sizes: Annotated[Integers, Declared(0)]  # [K] actions of each slot; empty on intervals
    bounds: Floats  # [2, D] of a continuous action
    tries: Annotated[Floats, PerAction(0)]  # [A] decisions learned from
    noise: Array  # [] mean squared error of the critic
    rows: Array  # [] environment steps learned from


class Shape(NamedTuple):
    """How networks are to be made: fields of a learner."""

    hidden: tuple[int, ...]
    activation: str
    first_deviation: float = 1.0  # of continuous actions
    memory: int = 0  # M numbers, the last of what is observed


def begun(spec: Spec, shape: Shape, rng: np.random.Generator) -> tuple[ActorCritic, Experience]:
    """Orthogonal weights, small ones in the actor's last layer, so that all actions begin alike (Huang et al. 2022).
    Raises InvalidInput for spaces that cannot be learned from, or that have no columns for the memory."""
    _networks.known_activation(shape.activation)
    actions, seen = actions_of(spec), seen_by(spec)
    if shape.memory and not (len(seen) == 1 and seen[0] > shape.memory):
        fix = f"The memory is the last of what is observed: play `Simulation(env, memory={shape.memory})` of features."
        raise InvalidInput(f"{spec.observation} leaves no room.", field="memory", value=shape.memory, fix=fix)
    actor = _networks.network(rng, seen, shape.hidden, (actions.outputs, 1), gain=0.01)
    critic = _networks.value_network(rng, seen, shape.hidden)
    spread = np.full(actions.dimensions, np.log(shape.first_deviation), np.float32)
    bounds = np.stack([spec.action.low, spec.action.high]) if actions.dimensions else np.zeros((2, 0))  # type: ignore[attr-defined]  # a Box
    features: tuple[int, ...] = (seen[0] - shape.memory,) if len(seen) == 1 else ()
    cell = {MEMORY: _recurrent.cell(rng, features[0], shape.memory)} if shape.memory else {}
    known = Experience(
        unscaled(features), unscaled(()), np.array(actions.sizes, np.int64), bounds.astype(np.float64),
        np.zeros(actions.outputs), np.ones(()), np.zeros((), np.int64),
    )  # fmt: skip
    return ActorCritic(actor, critic, spread, cell), known


def actions_known(known: Experience) -> Actions:
    """What can be done, from the state."""
    return Actions(tuple(np.asarray(known.sizes).tolist()), np.shape(known.bounds)[1])


def experienced(known: Experience, batch: Batch, *, normalise: bool) -> Experience:
    """With the rows of a batch counted, and their observations where `normalise`."""
    counted = normalise and batch.observation.ndim == 2
    scale = including(known.scale, batch.observation[:, : len(known.scale.mean)]) if counted else known.scale
    tries = np.array(known.tries)
    if len(known.sizes):
        starts = np.concatenate([[0], np.cumsum(known.sizes)[:-1]])
        chosen = batch.action.reshape(len(batch), -1) + starts
        tries += np.bincount(chosen.ravel(), minlength=len(tries))
    else:
        tries += len(batch)
    return replace(known, scale=scale, tries=tries, rows=np.asarray(known.rows + len(batch)))


# --------------------------------------------------------------------------------------------------------- for learning


def as_played(before: Experience, now: Experience) -> Experience:
    """What is known `now`, with the batch, but observations in the deviations known `before`, which the policy saw them
    in: in others the probability of an action would change though nothing was learned. The first are in their own."""
    return replace(now, scale=before.scale) if before.scale.rows else now


def spoken(actor: ActorCritic, seen: Any, activation: str) -> Any:
    """Logits or means in JAX: `[T, A]`."""
    return _networks.outputs(actor.actor, seen, activation)[:, :, 0]


def judged(actor: ActorCritic, seen: Any, activation: str) -> Any:
    """Values of contexts in JAX: `[T]`."""
    return _networks.value(actor.critic, seen, activation)


def likelihood(actor: ActorCritic, actions: Actions, rows: dict[str, Any], activation: str) -> tuple[Any, Any]:
    """log π of the actions taken, and the entropy of π, in JAX: `[T]` each. Slots are drawn one by one, so both add.
    Without a column `allowed` all actions are."""
    said = spoken(actor, rows["observation"], activation)
    if actions.dimensions:
        spread = jnp.broadcast_to(actor.log_deviation, said.shape)
        return gaussian.log_density(rows["action"], said, spread), gaussian.entropy(spread)
    taken = rows["action"].reshape(len(said), -1)
    density = entropy = jnp.zeros(len(said))
    for slot, part in enumerate(side_by_side(actions.sizes)):
        allowed = rows["allowed"][:, part] if "allowed" in rows else None
        log = categorical.log_softmax(said[:, part], allowed)
        chosen = taken[:, slot, None] == jnp.arange(log.shape[1])
        density += jnp.sum(jnp.where(chosen, log, 0.0), axis=1)  # a gather's gradient is a scatter, and slow
        entropy += categorical.entropy(log, allowed)
    return density, entropy


def recalled(actor: ActorCritic, observation: Any) -> Any:
    """What is seen, with the memory after each row where there is one, in JAX: `[T, F + M]`."""
    return _recurrent.after(actor.cell[MEMORY], observation) if actor.cell else observation


def behaviour(batch: Batch, actions: Actions, memory: int = 0) -> Floats:
    """log π of the actions under the policy that took them: `[T]`; of continuous ones it is the memo before the M
    numbers of a memory, where the memo is such a one, as a logged density may be too small or too large to be told."""
    if actions.dimensions and batch.memo.shape[1] == 1 + memory:
        return batch.memo[:, 0].astype(np.float32)
    return np.log(np.maximum(batch.probability, LEAST)).astype(np.float32)


# ----------------------------------------------------------------------------------------------------------- for acting


def sight(known: Experience) -> Callable[[Array], Any]:
    """Puts what is seen as the networks take it, in deviations where those were counted; a memory stays as it is."""
    look, features = scaling(known.scale), len(np.atleast_1d(known.scale.mean))

    def scaled(seen: Array) -> Any:
        if not known.scale.rows or seen.shape[1] == features:
            return look(seen)
        return np.concatenate([look(seen[:, :features]), seen[:, features:]], axis=1, dtype=np.float32)

    return scaled


def policy_of(actor: ActorCritic, known: Experience, activation: str, *, explore: bool) -> Policy:
    """Draws as it has learned to, or takes what it prefers."""
    ask, look = _networks.asked(actor.actor, activation), sight(known)
    if not actor.cell:
        return _acting(lambda seen: ask(look(seen))[:, :, 0], actor, known, explore)
    recall, memory = _remembering(actor, look)
    return Remembering(_acting(lambda seen: ask(seen)[:, :, 0], actor, known, explore), recall, memory)


def _remembering(actor: ActorCritic, look: Callable[[Array], Any]) -> tuple[Callable[[Array], Floats], int]:
    recall = _recurrent.remembering(actor.cell[MEMORY])
    return lambda seen: recall(look(seen)), actor.cell[MEMORY].kept.shape[0]


Said = Callable[[Array], Floats]  # observation [T, F] -> logits or means [T, A]


def _acting(say: Said, actor: ActorCritic, known: Experience, explore: bool) -> Policy:
    actions = actions_known(known)
    if actions.dimensions:
        return _dial(say, actor, known, explore)
    rule = softmax if explore else greedy
    if len(actions.sizes) == 1:
        return ByValue(say, rule)
    return Slots(tuple(ByValue(_part(say, part), rule) for part in side_by_side(actions.sizes)), actions.sizes)


def _part(say: Said, part: slice) -> Said:
    return lambda seen: say(seen)[:, part]


def _dial(say: Said, actor: ActorCritic, known: Experience, explore: bool) -> Policy:
    if not explore:
        return Certain(say, *np.asarray(known.bounds))
    spread = np.asarray(actor.log_deviation, np.float64)

    def around(seen: Array) -> tuple[Floats, Floats]:
        mean = say(seen).astype(np.float64)
        return mean, np.broadcast_to(spread, mean.shape)

    return Gaussian(around)


def beliefs_of(actor: ActorCritic, known: Experience, activation: str) -> Beliefs:
    """The critic values contexts, not actions: every action has the value of acting as learned."""
    ask, look = _networks.asked(actor.critic, activation), sight(known)
    recall = _remembering(actor, look)[0] if actor.cell else look
    unit = float(deviation(known.earned)) if known.earned.rows else 1.0
    tries, noise, rows = np.asarray(known.tries), float(known.noise) * unit**2, float(known.rows)

    def believed(seen: Array) -> Belief:
        value = unit * ask(recall(seen)).astype(np.float64)
        shape = (len(value), len(tries))
        error = np.sqrt(noise / np.maximum(tries, 0.5))
        return Belief(np.broadcast_to(value, shape), np.broadcast_to(error, shape), np.broadcast_to(tries, shape), rows)

    return believed
