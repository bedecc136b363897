"""Soft actor–critic where actions are counted (Christodoulou 2019, "Soft actor-critic for discrete action settings",
arXiv 1910.07207): expectations over all allowed actions are exact, so nothing is drawn while learning.

The temperature keeps the entropy at a share of the largest one possible, log of how many actions are allowed. The
paper's share, 0.98, leaves the policy all but even and is known to fail where rewards are rare; less is kinder.
Rows go to a replay, whoever acted; each row owes `updates_per_step` gradient steps. The first rows are drawn evenly,
and nothing is learned until there are `learning_starts`. Only true ends cut the bootstrap.
Metrics, means over the gradient steps: `loss` of the critics together, `policy_loss`, `temperature_loss`,
`gradient_norm` of the critics, `value_estimation` and `reward_signal` of the rows drawn, `entropy` of the policy,
`confidence` its largest probability, `exploration_rate` the temperature; `updates` gradient steps made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import categorical, critics
from bondhu.equations.action_values import taken
from bondhu.learners import _columns, _critics, _networks, _optimiser, _replay
from bondhu.learners._columns import Actions
from bondhu.learners._networks import Layer, Network
from bondhu.learners._optimiser import Moments
from bondhu.learners._replay import Replay
from bondhu.policies.by_value import ByValue
from bondhu.policies.greedy import greedy
from bondhu.policies.softmax import softmax
from bondhu.policies.uniform import Uniform
from bondhu.types import Array, Batch, Belief, Beliefs, Floats, Metrics, PerAction, Policy, Spec


class Heads(eqx.Module):
    """One value for each action, twice."""

    weight: Annotated[Array, PerAction(2)]  # [2, in, A, 1]
    bias: Annotated[Array, PerAction(1)]  # [2, A, 1]


class Twins(eqx.Module):
    """Two networks that share nothing, side by side: every array has an axis of 2 in front."""

    body: Mapping[str, Layer]
    head: Heads


class Learned(eqx.Module):
    """What gradient steps change; lives on the device."""

    actor: Network  # [A, 1] logits
    critics: Twins
    targets: Twins  # that follow them slowly
    log_temperature: Array  # [] log α
    actor_moments: Moments[Network]
    critic_moments: Moments[Twins]
    temperature_moments: Moments[Array]


class Trained(eqx.Module):
    """What was learned, and how often each action was taken."""

    memory: _critics.State[Learned]
    tries: Annotated[Floats, PerAction(0)]  # [A]


@dataclass(frozen=True)
class DiscreteSac:
    """Maximises reward and α·entropy; α is learned so that the entropy is a share of the largest one possible."""

    learning_rate: float = 1e-3  # of Adam, for actor, critics and temperature
    discount: float = 0.99  # γ
    target_rate: float = 0.005  # τ: share by which the target critics follow at each gradient step
    target_entropy: float = 0.3  # share of the largest entropy; 0.98 in the paper
    first_temperature: float = 0.1  # α at the beginning
    learn_temperature: bool = True  # or keep the first one
    updates_per_step: float = 0.25  # gradient steps for each row
    minibatch: int = 64  # rows of a gradient step
    learning_starts: int = 32  # rows before the first gradient step, drawn evenly
    capacity: int = 100_000  # rows remembered
    n_step: int = 1  # rewards summed before the critics are asked
    hidden: tuple[int, ...] = (64, 64)  # width of each layer, of the actor and of each critic
    activation: str = "relu"  # or "tanh", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Trained]] = Trained
    probes: ClassVar[tuple[str, ...]] = ("one_hot_corridor", "one_hot_trap", "planes")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "target_rate", "target_entropy")
        require(self, 0.0, math.inf, "updates_per_step", "learning_starts")
        require(self, 1e-6, math.inf, "first_temperature")
        require(self, 1, math.inf, "minibatch", "capacity", "n_step")

    def init(self, spec: Spec, rng: np.random.Generator) -> Trained:
        _networks.known_activation(self.activation)
        count, seen = _columns.counted(spec.action, "deep.discrete_sac"), _columns.seen_by(spec)
        actor, *two = (
            _networks.network(rng, seen, self.hidden, (count, 1), gain, _networks.uniform) for gain in (0.01, 1.0, 1.0)
        )
        body, head = jax.tree.map(lambda *each: np.stack(each), *((each.body, each.head) for each in two))
        twins = Twins(body, Heads(head.weight, head.bias))
        temperature = np.asarray(math.log(self.first_temperature), np.float32)
        moments = _optimiser.begun(actor), _optimiser.begun(twins), _optimiser.begun(temperature)
        replay = _replay.nothing(spec.observation, Actions((count,), 0), self.capacity)
        learned = Learned(actor, twins, twins, temperature, *moments)
        return Trained(_critics.begun(learned, replay, np.zeros((2, 0))), np.zeros(count))

    def update(self, state: Trained, batch: Batch, rng: np.random.Generator) -> tuple[Trained, Metrics]:
        if not len(batch):
            return state, {}
        count = len(state.tries)
        _columns.check(batch, Actions((count,), 0), state.memory.replay.rows.observation.shape[1:])

        def draw(replay: Replay, steps: int) -> Mapping[str, Array]:
            return _replay.columns_of(replay, _replay.drawn(replay, steps, self.minibatch, rng))

        memory, metrics = _critics.taught(self, state.memory, batch, draw, partial(_phase, self))
        return Trained(memory, state.tries + np.bincount(batch.action, minlength=count)), metrics

    def policy(self, state: Trained, *, explore: bool = False) -> Policy:
        if explore and int(state.memory.rows) < self.learning_starts:
            return Uniform()
        ask = _networks.asked(state.memory.learned.actor, self.activation)
        return ByValue(lambda seen: ask(seen)[:, :, 0], softmax if explore else greedy)

    def beliefs(self, state: Trained) -> Beliefs:
        """Values count the entropy to come; their error is how far the critics are apart."""
        twins = jax.tree.map(np.asarray, state.memory.learned.critics)
        asks = [_networks.asked(jax.tree.map(lambda each, k=k: each[k], twins), self.activation) for k in range(2)]
        tries, rows = np.asarray(state.tries), float(state.memory.rows)

        def believed(seen: Array) -> Belief:
            draws = np.stack([ask(seen)[:, :, 0] for ask in asks]).astype(np.float64)
            error = np.abs(draws[1] - draws[0]) / 2.0
            return Belief(draws.min(axis=0), error, np.broadcast_to(tries, error.shape), rows, draws)

        return believed


# ------------------------------------------------------------------------------------------------------ gradient steps


@partial(jax.jit, static_argnums=0)
def _phase(sac: DiscreteSac, learned: Learned, rows: Any, steps: Any) -> tuple[Learned, dict[str, Any]]:
    """Gradient steps on the device, one after the other."""
    return _critics.repeated(partial(_step, sac), learned, rows, steps)


def _step(sac: DiscreteSac, learned: Learned, rows: Any) -> tuple[Learned, dict[str, Any]]:
    """First the critics, then the actor by what they say now, then the temperature, then the targets."""
    rate, temperature = sac.learning_rate, jnp.exp(learned.log_temperature)
    target = _target(sac, learned, rows, temperature)
    of_critics, of_actor = (jax.value_and_grad(loss, argnums=1, has_aux=True) for loss in (_critic_loss, _actor_loss))
    (loss, value), gradients = of_critics(sac, learned.critics, rows, target)
    norm = _optimiser.limited(gradients, math.inf)[1]
    twins, critic_moments = _optimiser.adam(learned.critics, gradients, learned.critic_moments, rate)
    (policy_loss, log), gradients = of_actor(
        sac, learned.actor, _judged(sac, twins, rows["observation"]), rows, temperature
    )
    actor, actor_moments = _optimiser.adam(learned.actor, gradients, learned.actor_moments, rate)
    entropy = categorical.entropy(log, rows["allowed"])
    of_temperature = jax.value_and_grad(_temperature_loss, argnums=1)
    temperature_loss, gradient = of_temperature(sac, learned.log_temperature, entropy, rows["allowed"])
    log_temperature, moments = learned.log_temperature, learned.temperature_moments
    if sac.learn_temperature:
        log_temperature, moments = _optimiser.adam(log_temperature, gradient, moments, rate)
    targets = critics.polyak(learned.targets, twins, sac.target_rate)
    return Learned(actor, twins, targets, log_temperature, actor_moments, critic_moments, moments), {
        "loss": loss,
        "policy_loss": policy_loss,
        "temperature_loss": temperature_loss,
        "gradient_norm": norm,
        "value_estimation": value,
        "reward_signal": jnp.mean(rows["reward"]),
        "entropy": jnp.mean(entropy),
        "confidence": jnp.mean(jnp.exp(jnp.max(log, axis=1))),
        "exploration_rate": temperature,
    }


def _judged(sac: DiscreteSac, twins: Twins, seen: Any) -> Any:
    """What both critics say of every action: `[2, B, A]`."""
    both = Network(twins.body, twins.head)  # type: ignore[arg-type]  # a Head but for the axis in front
    return jax.vmap(_networks.outputs, (0, None, None))(both, seen, sac.activation)[..., 0]


def _preferred(sac: DiscreteSac, actor: Network, seen: Any, allowed: Any) -> Any:
    """log π: `[B, A]`."""
    return categorical.log_softmax(_networks.outputs(actor, seen, sac.activation)[:, :, 0], allowed)


def _target(sac: DiscreteSac, learned: Learned, rows: Any, temperature: Any) -> Any:
    """What the critics should say of the actions taken: `[B]`; a state that allows nothing is worth 0."""
    allowed = rows["next_allowed"]
    log = _preferred(sac, learned.actor, rows["next_observation"], allowed)
    lower = jnp.min(_judged(sac, learned.targets, rows["next_observation"]), axis=0)
    value = critics.soft_state_value(jnp.exp(log), lower, log, temperature)
    return rows["reward"] + rows["continuing"] * jnp.where(jnp.any(allowed, axis=1), value, 0.0)


def _critic_loss(sac: DiscreteSac, twins: Twins, rows: Any, target: Any) -> tuple[Any, Any]:
    value = jax.vmap(taken, (0, None))(_judged(sac, twins, rows["observation"]), rows["action"])
    return jnp.sum(jnp.mean((value - target) ** 2, axis=1)), jnp.mean(value)


def _actor_loss(sac: DiscreteSac, actor: Network, values: Any, rows: Any, temperature: Any) -> tuple[Any, Any]:
    log = _preferred(sac, actor, rows["observation"], rows["allowed"])
    lower = jnp.min(values, axis=0)
    return -jnp.mean(critics.soft_state_value(jnp.exp(log), lower, log, temperature)), log


def _temperature_loss(sac: DiscreteSac, log_temperature: Any, entropy: Any, allowed: Any) -> Any:
    wanted = sac.target_entropy * jnp.log(jnp.maximum(jnp.sum(allowed, axis=1), 1))
    return jnp.mean(critics.temperature_loss(log_temperature, -entropy, wanted))
