"""Proximal policy optimisation (Schulman et al. 2017): several passes over what the present policy did, each step
limited in how far it changes the probability of an action.

Every update expects what the policy of this very state did, some thousand rows of one or more trajectories; logged
decisions of another policy count by the probability that the log names. Values are bootstrapped at cuts and not at
ends. Details follow Huang et al. 2022, "The 37 implementation details of proximal policy optimization".

With a `memory` of M numbers the policy is recurrent: what it observes has M columns more (`Simulation(env, memory=M)`),
and it learns along sequences of rows, each from the memory that was stored with its first one.

Metrics: `loss`, `policy_loss`, `value_loss`, `entropy`, `kl` (Schulman's third estimator), `clip_fraction`,
`gradient_norm` before it is limited, `explained_variance` and `value_estimation` of the critic before the update,
`reward_signal` mean reward, `confidence` mean probability of the actions taken, `learning_rate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space
from jax.flatten_util import ravel_pytree
from jax.lax import stop_gradient

from bondhu.catalogue import require
from bondhu.equations import losses
from bondhu.equations.advantages import explained_variance, generalized_advantages
from bondhu.learners import _actors, _columns, _optimiser
from bondhu.learners._actors import MEMORY, ActorCritic, Experience
from bondhu.learners._columns import Actions
from bondhu.learners._optimiser import Moments
from bondhu.learners._recurrent import through
from bondhu.learners._scales import discounted, in_deviations, including
from bondhu.types import Array, Batch, Beliefs, Metrics, Policy, Spec


class Trained(eqx.Module):
    """What was learned."""

    parameters: ActorCritic
    moments: Moments[ActorCritic]
    known: Experience


@dataclass(frozen=True)
class Ppo:
    """L = clipped policy loss + value_weight·(V - target)² - entropy_bonus·entropy, in minibatches, `epochs` times."""

    learning_rate: float = 3e-4  # of Adam
    anneal_steps: int = 0  # environment steps over which the learning rate and the clip fall to 0; 0: they stay
    discount: float = 0.99  # γ
    trace_decay: float = 0.95  # λ of the advantages: 0 one step, 1 the whole trajectory
    clip: float = 0.2  # how far a probability may move, as a share
    value_clip: float = 0.0  # how far a value may move in one update; 0: freely
    epochs: int = 10  # passes over each batch
    minibatch: int = 64  # rows
    entropy_bonus: float = 0.0
    value_weight: float = 0.5
    gradient_limit: float = 0.5  # on the norm of all gradients together
    kl_limit: float = 0.0  # an update stops where the policy has moved farther than 1.5 times this; 0: never
    normalise_advantages: bool = True  # to mean 0 and deviation 1 in each minibatch
    recompute_advantages: bool = False  # before each pass, with the critic of then (Andrychowicz et al. 2021)
    normalise_observations: bool = False  # by what was seen so far
    normalise_rewards: bool = False  # by the deviation of discounted returns seen so far
    first_deviation: float = 1.0  # of a continuous action, before anything is learned
    memory: int = 0  # numbers remembered from row to row, as the last of what is observed; 0: none
    sequence_length: int = 16  # rows through which gradients flow back in time, where there is a memory
    hidden: tuple[int, ...] = (64, 64)  # width of each layer, of the actor and of the critic
    activation: str = "tanh"  # or "relu", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Trained]] = Trained
    probes: ClassVar[tuple[str, ...]] = ("one_hot_corridor", "one_hot_cut", "one_hot_trap", "planes")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "trace_decay")
        require(self, 0.0, math.inf, "clip", "value_clip", "entropy_bonus", "value_weight", "kl_limit")
        require(self, 1e-6, math.inf, "gradient_limit", "first_deviation")
        require(self, 1, math.inf, "epochs", "minibatch", "sequence_length")
        require(self, 0, math.inf, "memory", "anneal_steps")

    def init(self, spec: Spec, rng: np.random.Generator) -> Trained:
        shape = _actors.Shape(self.hidden, self.activation, self.first_deviation, self.memory)
        parameters, known = _actors.begun(spec, shape, rng)
        return Trained(parameters, _optimiser.begun(parameters), known)

    def update(self, state: Trained, batch: Batch, rng: np.random.Generator) -> tuple[Trained, Metrics]:
        if not len(batch):
            return state, {}
        actions, features = _actors.actions_known(state.known), np.shape(state.known.scale.mean)
        seen = (features[0] + self.memory,) if features else batch.observation.shape[1:]
        _columns.check(batch, actions, seen)
        known = self._known(state.known, batch)
        rows, size = self._rows(_actors.as_played(state.known, known), batch, actions)
        order = _columns.shuffled(len(rows["weight"]), size, self.epochs, rng)
        steps = np.float32(state.known.rows)
        learned = state.parameters, state.moments
        (parameters, moments), metrics = _phase(self, actions, learned, rows, order, steps)
        told = dict(_columns.reported(metrics))
        known = replace(known, noise=np.asarray(told.pop("squared_error")))
        confidence = np.exp(np.minimum(rows["old_log"][rows["weight"] > 0], 0.0)).mean()
        return Trained(parameters, moments, known), told | {
            "reward_signal": float(batch.reward.mean()),
            "confidence": float(confidence),
        }

    def _known(self, known: Experience, batch: Batch) -> Experience:
        known = _actors.experienced(known, batch, normalise=self.normalise_observations)
        if not self.normalise_rewards:
            return known
        return replace(known, earned=including(known.earned, discounted(batch, self.discount)))

    def _rows(self, known: Experience, batch: Batch, actions: Actions) -> tuple[dict[str, Array], int]:
        """Columns `[S, L, ...]` of S sequences of L rows, and how many sequences a minibatch has."""
        look = _actors.sight(known)
        columns = _columns.columns(batch, self.discount)
        columns["observation"], columns["next_observation"] = look(batch.observation), look(batch.next_observation)
        columns["old_log"] = _actors.behaviour(batch, actions, self.memory)
        if self.normalise_rewards:
            columns["reward"] = in_deviations(batch.reward, known.earned).astype(np.float32)
        del columns["next_allowed"]
        if columns["allowed"].all():
            del columns["allowed"]
        length = self.sequence_length if self.memory else 1
        size = max(self.minibatch // length, 1)
        columns = _columns.padded(columns, _columns.whole(-(-len(batch) // length), size) * length)
        if self.memory:
            columns["opens"] = np.append(True, columns["linked"][:-1] == 0)
            columns["opens"][::length] = True
        return {name: each.reshape(-1, length, *each.shape[1:]) for name, each in columns.items()}, size

    def policy(self, state: Trained, *, explore: bool = False) -> Policy:
        return _actors.policy_of(state.parameters, state.known, self.activation, explore=explore)

    def beliefs(self, state: Trained) -> Beliefs:
        return _actors.beliefs_of(state.parameters, state.known, self.activation)


LEARNED_FROM = ("weight", "action", "allowed", "observation", "old_log", "opens", "value", "advantage", "target")
TOLD = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")
Learned = tuple[ActorCritic, Moments[ActorCritic]]


class Carry(NamedTuple):
    """What goes from one gradient step to the next; all parameters lie in one array, so that one step is one loop."""

    parameters: Any  # [P]
    moments: Moments[Any]  # [P] each
    far: Any  # whether the policy has moved far enough


@partial(jax.jit, static_argnums=(0, 1))
def _phase(
    ppo: Ppo, actions: Actions, learned: Learned, rows: Any, order: Any, steps: Any
) -> tuple[Learned, dict[str, Any]]:
    """One update phase on the device: advantages, then every minibatch of every epoch."""
    (parameters, moments), share = learned, _optimiser.falling(1.0, steps, ppo.anneal_steps)
    flat, shaped = ravel_pytree(parameters)
    first, second = (ravel_pytree(each)[0] for each in (moments.first, moments.second))
    before = _estimated(ppo, parameters, rows)

    def epoch(carry: Carry, indices: Any) -> tuple[Carry, Any]:
        now = rows | (_estimated(ppo, shaped(carry.parameters), rows) if ppo.recompute_advantages else before)
        parts = {name: now[name][indices] for name in LEARNED_FROM if name in now}
        if ppo.normalise_advantages:
            parts["advantage"] = jax.vmap(losses.standardised)(parts["advantage"], parts["weight"])
        return jax.lax.scan(partial(_minibatch, ppo, actions, shaped, share), carry, parts)

    last, told = jax.lax.scan(epoch, Carry(flat, Moments(first, second, moments.steps), jnp.bool_(False)), order)
    counted = told.pop("counted")
    metrics = {name: losses.mean(each, counted) for name, each in told.items()}
    value, target, weight = before["value"], before["target"], rows["weight"]
    after = Moments(shaped(last.moments.first), shaped(last.moments.second), last.moments.steps)
    return (shaped(last.parameters), after), metrics | {
        "explained_variance": explained_variance(value, target, weight),
        "value_estimation": losses.mean(value, weight),
        "squared_error": losses.mean((value - target) ** 2, weight),
        "learning_rate": ppo.learning_rate * share,
    }


def _estimated(ppo: Ppo, parameters: ActorCritic, rows: Any) -> dict[str, Any]:
    """Values, advantages, and what the values should have been: `[S, L]` each."""
    flat = {name: _joined(rows[name]) for name in ("observation", "next_observation", "reward", "continuing", "linked")}
    value, following = (
        _actors.judged(parameters, _actors.recalled(parameters, flat[name]), ppo.activation)
        for name in ("observation", "next_observation")
    )
    advantage = generalized_advantages(
        flat["reward"], flat["continuing"], flat["linked"], value, following, ppo.trace_decay
    )
    found = {"value": value, "advantage": advantage, "target": advantage + value}
    return {name: each.reshape(rows["weight"].shape) for name, each in found.items()}


def _joined(column: Any) -> Any:
    """Sequences as rows, one after the other: `[S, L, ...]` to `[T, ...]`."""
    return column.reshape(-1, *column.shape[2:])


def _minibatch(ppo: Ppo, actions: Actions, shaped: Any, share: Any, carry: Carry, part: Any) -> tuple[Carry, Any]:
    """One gradient step, unless the policy has moved far enough already, or all rows are padding; that it has moved too
    far shows in its divergence, so the metrics count the minibatch that stopped it."""
    real = part["weight"].sum() > 0

    def step(carry: Carry) -> tuple[Carry, Any]:
        parameters = shaped(carry.parameters)
        (_, told), gradients = jax.value_and_grad(_loss, argnums=1, has_aux=True)(ppo, parameters, actions, part, share)
        gradients, norm = _optimiser.limited(ravel_pytree(gradients)[0], ppo.gradient_limit)
        far = real & (told["kl"] > 1.5 * ppo.kl_limit) if ppo.kl_limit else jnp.bool_(False)
        before = carry.parameters, carry.moments
        moved = _optimiser.adam(carry.parameters, gradients, carry.moments, ppo.learning_rate * share, 1e-5)
        moved = jax.tree.map(lambda new, old: jnp.where(real & ~far, new, old), moved, before)
        return Carry(moved[0], moved[1], far), told | {"gradient_norm": norm, "counted": 1.0 * real}

    if not ppo.kl_limit:
        return step(carry)
    nothing = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), jax.eval_shape(step, carry)[1])
    after: tuple[Carry, Any] = jax.lax.cond(carry.far, lambda carry: (carry, nothing), step, carry)
    return after


def _loss(ppo: Ppo, parameters: ActorCritic, actions: Actions, part: Any, share: Any) -> tuple[Any, dict[str, Any]]:
    """Of sequences `[N, L, ...]`."""
    if ppo.memory:
        part = part | {"observation": through(parameters.cell[MEMORY], part["observation"], part["opens"])}
    rows = {name: _joined(column) for name, column in part.items()}
    clip = ppo.clip * share
    log, entropy = _actors.likelihood(parameters, actions, rows, ppo.activation)
    ratio = jnp.where(rows["weight"] > 0, log - rows["old_log"], 0.0)  # padding has no density to compare with
    moved = stop_gradient(ratio)  # what is only reported
    value = _actors.judged(parameters, rows["observation"], ppo.activation)
    if ppo.value_clip:
        error = 2.0 * losses.clipped_value(value, rows["value"], rows["target"], ppo.value_clip)
    else:
        error = (value - rows["target"]) ** 2
    policy_loss = losses.clipped_policy(ratio, rows["advantage"], clip)
    clipped = 1.0 * (jnp.abs(jnp.exp(moved) - 1.0) > clip)
    every = jnp.stack([policy_loss, error, entropy, losses.kl_k3(moved), clipped])
    means = every @ (rows["weight"] / jnp.maximum(rows["weight"].sum(), 1.0))
    told = dict(zip(TOLD, means, strict=True))
    loss = told["policy_loss"] + ppo.value_weight * told["value_loss"] - ppo.entropy_bonus * told["entropy"]
    return loss, told | {"loss": loss}
