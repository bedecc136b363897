"""Soft actor–critic (Haarnoja et al. 2018, "Soft actor-critic algorithms and applications", arXiv 1812.05905): actions
that are numbers between bounds, drawn by a normal distribution bent by tanh; two critics, of which the lower counts; a
temperature that keeps the entropy at a target.

Rows go to a replay, whoever acted; each row owes `updates_per_step` gradient steps. The first rows are drawn evenly
between the bounds, and nothing is learned until there are `learning_starts`. Only true ends cut the bootstrap.
Metrics, means over the gradient steps: `loss` of the critics together, `policy_loss`, `temperature_loss`,
`gradient_norm` of the critics, `value_estimation` and `reward_signal` of the rows drawn, `entropy` of the policy,
`exploration_rate` the temperature; `updates` gradient steps made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import critics, gaussian
from bondhu.learners import _columns, _critics, _networks, _optimiser, _replay
from bondhu.learners._columns import Actions
from bondhu.learners._networks import Network, Value
from bondhu.learners._optimiser import Moments
from bondhu.learners._replay import Replay
from bondhu.policies.gaussian import Anywhere, Certain, Squashed
from bondhu.types import Array, Batch, Beliefs, Floats, Metrics, Policy, Spec

NARROWEST, WIDEST = -5.0, 2.0  # log of the deviation before it is bent


class Learned(eqx.Module):
    """What gradient steps change; lives on the device."""

    actor: Network  # [D, 2] mean and log of the deviation
    critics: Value  # two, [2, …]
    targets: Value  # that follow them slowly
    log_temperature: Array  # [] log α
    actor_moments: Moments[Network]
    critic_moments: Moments[Value]
    temperature_moments: Moments[Array]


Trained = _critics.State[Learned]


@dataclass(frozen=True)
class Sac:
    """Maximises reward and α·entropy; α is learned so that the entropy is `target_entropy` for each number."""

    learning_rate: float = 1e-3  # of Adam, for actor, critics and temperature
    discount: float = 0.99  # γ
    target_rate: float = 0.005  # τ: share by which the target critics follow at each gradient step
    target_entropy: float = -1.0  # nats for each number of the action, counted from -1 to 1
    first_temperature: float = 1.0  # α at the beginning
    learn_temperature: bool = True  # or keep the first one
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
        require(self, 0.0, math.inf, "updates_per_step", "learning_starts")
        require(self, 1e-6, math.inf, "first_temperature")
        require(self, 1, math.inf, "minibatch", "capacity", "n_step")

    def init(self, spec: Spec, rng: np.random.Generator) -> Trained:
        _networks.known_activation(self.activation)
        space, seen = _columns.continuous(spec.action, "deep.sac"), _critics.features(spec, "deep.sac")
        dimensions = space.shape[0]
        replay = _replay.nothing(spec.observation, Actions((), dimensions), self.capacity)
        actor = _networks.network(rng, (seen,), self.hidden, (dimensions, 2), 1.0, _networks.uniform)
        twins = _critics.twins(rng, seen + dimensions, self.hidden)
        temperature = np.asarray(math.log(self.first_temperature), np.float32)
        moments = _optimiser.begun(actor), _optimiser.begun(twins), _optimiser.begun(temperature)
        learned = Learned(actor, twins, twins, temperature, *moments)
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
        spread = _spread(state.learned.actor, self.activation)
        if explore:
            return Squashed(spread, low, high)
        return Certain(partial(_taken, spread, np.asarray(state.bounds)), low, high)

    def beliefs(self, state: Trained) -> Beliefs:
        mean = partial(_taken, _spread(state.learned.actor, self.activation), np.asarray(state.bounds))
        return _critics.beliefs_of(
            state.learned.critics, self.activation, mean, np.asarray(state.bounds), float(state.rows)
        )


def _spread(actor: Network, activation: str) -> Any:
    """Mean and log of the deviation before they are bent, by NumPy: `[T, F]` to `[T, D]` twice."""
    ask = _networks.asked(actor, activation)

    def spread(seen: Array) -> tuple[Floats, Floats]:
        said = ask(seen).astype(np.float64)
        return said[:, :, 0], np.clip(said[:, :, 1], NARROWEST, WIDEST)

    return spread


def _taken(spread: Any, bounds: Array, seen: Array) -> Floats:
    """The action without noise: `[T, D]`."""
    taken: Floats = _critics.within(np.tanh(spread(seen)[0]), bounds)
    return taken


# ------------------------------------------------------------------------------------------------------ gradient steps


@partial(jax.jit, static_argnums=0)
def _phase(sac: Sac, learned: Learned, rows: Any, steps: Any) -> tuple[Learned, dict[str, Any]]:
    """Gradient steps on the device, one after the other."""
    return _critics.repeated(partial(_step, sac), learned, rows, steps)


def _step(sac: Sac, learned: Learned, rows: Any) -> tuple[Learned, dict[str, Any]]:
    """First the critics, then the actor by what they say now, then the temperature, then the targets."""
    temperature = jnp.exp(learned.log_temperature)
    target = _target(sac, learned, rows, temperature)
    (loss, value), gradients = jax.value_and_grad(_critic_loss, argnums=1, has_aux=True)(
        sac, learned.critics, rows, target
    )
    norm = _optimiser.limited(gradients, math.inf)[1]
    twins, critic_moments = _optimiser.adam(learned.critics, gradients, learned.critic_moments, sac.learning_rate)
    (policy_loss, density), gradients = jax.value_and_grad(_actor_loss, argnums=1, has_aux=True)(
        sac, learned.actor, twins, rows, temperature
    )
    actor, actor_moments = _optimiser.adam(learned.actor, gradients, learned.actor_moments, sac.learning_rate)
    wanted = sac.target_entropy * rows["action"].shape[1]
    temperature_loss, gradient = jax.value_and_grad(_temperature_loss)(learned.log_temperature, density, wanted)
    log_temperature, temperature_moments = learned.log_temperature, learned.temperature_moments
    if sac.learn_temperature:
        log_temperature, temperature_moments = _optimiser.adam(
            log_temperature, gradient, temperature_moments, sac.learning_rate
        )
    targets = critics.polyak(learned.targets, twins, sac.target_rate)
    return Learned(actor, twins, targets, log_temperature, actor_moments, critic_moments, temperature_moments), {
        "loss": loss,
        "policy_loss": policy_loss,
        "temperature_loss": temperature_loss,
        "gradient_norm": norm,
        "value_estimation": value,
        "reward_signal": jnp.mean(rows["reward"]),
        "entropy": -jnp.mean(density),
        "exploration_rate": temperature,
    }


def _drawn(sac: Sac, actor: Network, seen: Any, noise: Any) -> tuple[Any, Any]:
    """An action from -1 to 1 of the policy as it is, and the log of its density: `[B, D]` and `[B]`."""
    said = _networks.outputs(actor, seen, sac.activation)
    mean, deviation = said[:, :, 0], jnp.clip(said[:, :, 1], NARROWEST, WIDEST)
    raw = mean + jnp.exp(deviation) * noise
    return jnp.tanh(raw), gaussian.squashed_log_density(raw, mean, deviation)


def _target(sac: Sac, learned: Learned, rows: Any, temperature: Any) -> Any:
    """What the critics should say: `[B]`."""
    action, density = _drawn(sac, learned.actor, rows["next_observation"], rows["noise"][0])
    value = _critics.judged(learned.targets, rows["next_observation"], action, sac.activation)
    return critics.soft_target(rows["reward"], rows["continuing"], value[0], value[1], density, temperature)


def _critic_loss(sac: Sac, twins: Value, rows: Any, target: Any) -> tuple[Any, Any]:
    value = _critics.judged(twins, rows["observation"], rows["action"], sac.activation)
    return jnp.sum(jnp.mean((value - target) ** 2, axis=1)), jnp.mean(value)


def _actor_loss(sac: Sac, actor: Network, twins: Value, rows: Any, temperature: Any) -> tuple[Any, Any]:
    action, density = _drawn(sac, actor, rows["observation"], rows["noise"][1])
    value = _critics.judged(twins, rows["observation"], action, sac.activation)
    return jnp.mean(temperature * density - jnp.min(value, axis=0)), density


def _temperature_loss(log_temperature: Any, density: Any, wanted: float) -> Any:
    return jnp.mean(critics.temperature_loss(log_temperature, density, wanted))
