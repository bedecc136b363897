"""Twin delayed deterministic policy gradient (Fujimoto, van Hoof & Meger 2018, "Addressing function approximation
error in actor-critic methods", arXiv 1802.09477): one action for each context, between bounds; two critics, of which
the lower counts; targets that look at actions near by; an actor that moves less often than the critics.

Rows go to a replay, whoever acted; each row owes `updates_per_step` gradient steps. The first rows are drawn evenly
between the bounds, and nothing is learned until there are `learning_starts`. Only true ends cut the bootstrap.
Metrics, means over the gradient steps: `loss` of the critics together, `policy_loss` of the steps in which the actor
moves, `gradient_norm` of the critics, `value_estimation` and `reward_signal` of the rows drawn; `exploration_rate` the
noise; `updates` gradient steps made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import critics
from bondhu.learners import _columns, _critics, _networks, _optimiser, _replay
from bondhu.learners._columns import Actions
from bondhu.learners._networks import Network, Value
from bondhu.learners._optimiser import Moments
from bondhu.learners._replay import Replay
from bondhu.policies.gaussian import Anywhere, Certain
from bondhu.types import Array, Batch, Beliefs, Floats, Metrics, Policy, Spec


class Learned(eqx.Module):
    """What gradient steps change; lives on the device."""

    actor: Network  # [D, 1] before tanh
    critics: Value  # two, [2, …]
    target_actor: Network  # that follows slowly
    target_critics: Value
    actor_moments: Moments[Network]
    critic_moments: Moments[Value]  # its `steps` say whose turn it is


Trained = _critics.State[Learned]


@dataclass(frozen=True)
class Td3:
    """Critics learn at each gradient step, the actor and all targets at every `policy_delay`-th."""

    learning_rate: float = 1e-3  # of Adam, for actor and critics
    discount: float = 0.99  # γ
    target_rate: float = 0.005  # τ: share by which targets follow whenever the actor moves
    policy_delay: int = 2  # gradient steps of the critics for each one of the actor
    target_noise: float = 0.2  # deviation of the actions that targets look at, where bounds are -1 and 1
    target_noise_clip: float = 0.5  # how far this may go
    exploration_noise: float = 0.1  # deviation of the actions taken, where bounds are -1 and 1
    updates_per_step: float = 1.0  # gradient steps for each row
    minibatch: int = 64  # rows of a gradient step
    learning_starts: int = 32  # rows before the first gradient step, drawn evenly between the bounds
    capacity: int = 1_000_000  # rows remembered
    n_step: int = 1  # rewards summed before the critics are asked
    hidden: tuple[int, ...] = (64, 64)  # width of each layer, of the actor and of each critic
    activation: str = "relu"  # or "tanh", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Trained]] = Trained
    probes: ClassVar[tuple[str, ...]] = ("steering", "approach")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "target_rate")
        require(self, 0.0, math.inf, "target_noise", "target_noise_clip", "exploration_noise", "updates_per_step",
                "learning_starts")  # fmt: skip
        require(self, 1, math.inf, "policy_delay", "minibatch", "capacity", "n_step")

    def init(self, spec: Spec, rng: np.random.Generator) -> Trained:
        _networks.known_activation(self.activation)
        space, seen = _columns.continuous(spec.action, "deep.td3"), _critics.features(spec, "deep.td3")
        dimensions = space.shape[0]
        replay = _replay.nothing(spec.observation, Actions((), dimensions), self.capacity)
        actor = _networks.network(rng, (seen,), self.hidden, (dimensions, 1), 1.0, _networks.uniform)
        twins = _critics.twins(rng, seen + dimensions, self.hidden)
        learned = Learned(actor, twins, actor, twins, _optimiser.begun(actor), _optimiser.begun(twins))
        return _critics.begun(learned, replay, np.stack([space.low, space.high]))

    def update(self, state: Trained, batch: Batch, rng: np.random.Generator) -> tuple[Trained, Metrics]:
        if not len(batch):
            return state, {}
        bounds = np.asarray(state.bounds)
        _critics.check(batch, bounds, state.replay)

        def draw(replay: Replay, steps: int) -> Mapping[str, Array]:
            return _critics.columns(replay, steps, self.minibatch, bounds, rng)

        return _critics.taught(self, state, batch, draw, partial(_phase, self))

    def policy(self, state: Trained, *, explore: bool = False) -> Policy:
        low, high = np.asarray(state.bounds)
        if explore and int(state.rows) < self.learning_starts:
            return Anywhere(low, high)
        noise = self.exploration_noise * 0.5 * (high - low) if explore else 0.0
        return Certain(_mean(state, self.activation), low, high, noise)

    def beliefs(self, state: Trained) -> Beliefs:
        mean, bounds = _mean(state, self.activation), np.asarray(state.bounds)
        return _critics.beliefs_of(state.learned.critics, self.activation, mean, bounds, float(state.rows))


def _mean(state: Trained, activation: str) -> Any:
    """The action without noise, by NumPy: `[T, F]` to `[T, D]`."""
    ask, bounds = _networks.asked(state.learned.actor, activation), np.asarray(state.bounds)

    def mean(seen: Array) -> Floats:
        taken: Floats = _critics.within(np.tanh(ask(seen)[:, :, 0].astype(np.float64)), bounds)
        return taken

    return mean


# ------------------------------------------------------------------------------------------------------ gradient steps


@partial(jax.jit, static_argnums=0)
def _phase(td3: Td3, learned: Learned, rows: Any, steps: Any) -> tuple[Learned, dict[str, Any]]:
    """Gradient steps on the device, one after the other."""
    learned, told = _critics.repeated(partial(_step, td3), learned, rows, steps)
    turns = told.pop("turns")
    return learned, told | {"policy_loss": told["policy_loss"] / jnp.maximum(turns, 1.0 / _critics.PHASE)}


def _step(td3: Td3, learned: Learned, rows: Any) -> tuple[Learned, dict[str, Any]]:
    """The critics, then, where it is their turn, the actor by what they say now and the targets."""
    target = _target(td3, learned, rows)
    (loss, value), gradients = jax.value_and_grad(_critic_loss, argnums=1, has_aux=True)(
        td3, learned.critics, rows, target
    )
    norm = _optimiser.limited(gradients, math.inf)[1]
    twins, moments = _optimiser.adam(learned.critics, gradients, learned.critic_moments, td3.learning_rate)
    learned = replace(learned, critics=twins, critic_moments=moments)
    turn = moments.steps % td3.policy_delay == 0
    learned, policy_loss = jax.lax.cond(
        turn, lambda learned: _moved(td3, learned, rows), lambda learned: (learned, jnp.float32(0.0)), learned
    )
    return learned, {
        "loss": loss,
        "policy_loss": policy_loss,
        "turns": jnp.float32(turn),
        "gradient_norm": norm,
        "value_estimation": value,
        "reward_signal": jnp.mean(rows["reward"]),
    }


def _moved(td3: Td3, learned: Learned, rows: Any) -> tuple[Learned, Any]:
    """With a step of the actor, and targets that have followed."""
    loss, gradients = jax.value_and_grad(_actor_loss, argnums=1)(td3, learned.actor, learned.critics, rows)
    actor, moments = _optimiser.adam(learned.actor, gradients, learned.actor_moments, td3.learning_rate)
    target_actor = critics.polyak(learned.target_actor, actor, td3.target_rate)
    target_critics = critics.polyak(learned.target_critics, learned.critics, td3.target_rate)
    moved = replace(
        learned, actor=actor, actor_moments=moments, target_actor=target_actor, target_critics=target_critics
    )
    return moved, loss


def _action(td3: Td3, actor: Network, seen: Any) -> Any:
    """From -1 to 1: `[B, F]` to `[B, D]`."""
    return jnp.tanh(_networks.outputs(actor, seen, td3.activation)[:, :, 0])


def _target(td3: Td3, learned: Learned, rows: Any) -> Any:
    """What the critics should say: `[B]`; the actions looked at stay between the bounds."""
    noise = critics.smoothed_noise(rows["noise"][0], td3.target_noise, td3.target_noise_clip)
    action = jnp.clip(_action(td3, learned.target_actor, rows["next_observation"]) + noise, -1.0, 1.0)
    value = _critics.judged(learned.target_critics, rows["next_observation"], action, td3.activation)
    return critics.soft_target(rows["reward"], rows["continuing"], value[0], value[1], jnp.zeros_like(value[0]), 0.0)


def _critic_loss(td3: Td3, twins: Value, rows: Any, target: Any) -> tuple[Any, Any]:
    value = _critics.judged(twins, rows["observation"], rows["action"], td3.activation)
    return jnp.sum(jnp.mean((value - target) ** 2, axis=1)), jnp.mean(value)


def _actor_loss(td3: Td3, actor: Network, twins: Value, rows: Any) -> Any:
    """By the first critic alone (Fujimoto et al. 2018, algorithm 1)."""
    first = jax.tree.map(lambda each: each[0], twins)
    both = jnp.concatenate([rows["observation"], _action(td3, actor, rows["observation"])], axis=1)
    return -jnp.mean(_networks.value(first, both, td3.activation))
