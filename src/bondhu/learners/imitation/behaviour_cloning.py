"""Behaviour cloning (Pomerleau 1991): the policy that makes what was done likeliest,

    maximise Σ w·log π(a|x),   w = max(r, 0)

so that rows shown by somebody who knows, with reward 1, all count alike; rows that earned nothing do not; and from a
log of mixed worth what earned more is imitated more (reward-weighted regression, Peters & Schaal 2007).

Actions are told apart by what is seen, `[F]`, or, where candidates differ in each context, by the features of each,
`[A, F]`: one network then scores every candidate, and a policy may be asked about more of them than it was shown.
Metrics: `loss` mean -log π(a|x) of rows that count, `agreement` how often the likeliest action was the one that was
taken, both after learning; `rows` that counted; `gradient_norm` of the last step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.errors import InvalidInput
from bondhu.learners import _columns, _networks, _optimiser
from bondhu.learners._networks import Network
from bondhu.learners._optimiser import Moments
from bondhu.learners._table import refused
from bondhu.policies.by_value import ByValue
from bondhu.policies.greedy import greedy
from bondhu.policies.softmax import softmax
from bondhu.types import Array, Batch, Belief, Beliefs, Floats, Integers, Metrics, Policy, Spec

FORBIDDEN = -1e9  # preference of an action that may not be taken


class Cloned(eqx.Module):
    """What was learned."""

    parameters: Network  # [F] to one number for each action, or for the candidate whose features they are
    moments: Moments[Network]
    seen: Array  # [1] or [2] shape of what is observed; candidates are first
    rows: Array  # [] that counted so far


@dataclass(frozen=True)
class BehaviourCloning:
    """A softmax over the outputs of a network, by minibatches of Adam on the cross-entropy."""

    learning_rate: float = 1e-3  # of Adam
    passes: int = 10  # over each batch
    minibatch: int = 64  # rows of a gradient step
    decay: float = 1e-4  # of the weights, in each step, times the learning rate (Loshchilov & Hutter 2019)
    gradient_limit: float = 5.0  # on the norm of all gradients together
    hidden: tuple[int, ...] = (64,)  # width of each layer; none: a linear model
    activation: str = "relu"  # or "tanh", "silu"

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Cloned]] = Cloned
    probes: ClassVar[tuple[str, ...]] = ("clicks", "candidates")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "decay")
        require(self, 1, math.inf, "passes", "minibatch")
        require(self, 1e-6, math.inf, "gradient_limit")
        _networks.known_activation(self.activation)

    def init(self, spec: Spec, rng: np.random.Generator) -> Cloned:
        shape = spec.observation.shape or ()
        actions = _columns.counted(spec.action, "imitation.behaviour_cloning")
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] != actions):
            fix = "Encode what is seen as features, [F], or as features of every candidate, [A, F]."
            raise InvalidInput(f"Observations {spec.observation} cannot be learned from.", field="observation_space",
                               value=str(spec.observation), fix=fix)  # fmt: skip
        outputs = (actions if len(shape) == 1 else 1, 1)
        parameters = _networks.network(rng, shape[-1:], self.hidden, outputs, gain=0.01)
        return Cloned(parameters, _optimiser.begun(parameters), np.array(shape), np.zeros(()))

    def update(self, state: Cloned, batch: Batch, rng: np.random.Generator) -> tuple[Cloned, Metrics]:
        if not len(batch):
            return state, {}
        if batch.observation.shape[1:] != tuple(state.seen.tolist()):
            shape = (len(batch), *state.seen.tolist())
            raise refused("observation", f"shape {batch.observation.shape}", f"Its shape must be {shape}.")
        _columns.check(batch, _columns.Actions((batch.allowed.shape[1],), 0), batch.observation.shape[1:])
        batch = batch.take(np.asarray(batch.reward > 0))
        if not len(batch):
            return state, {}
        rows = {
            "observation": batch.observation.astype(np.float32),
            "allowed": np.ascontiguousarray(batch.allowed, np.bool_),
            "action": batch.action.astype(np.int32),
            "worth": batch.reward.astype(np.float32),
        }
        rows = _columns.padded(rows, _columns.whole(max(len(batch), _columns.FEWEST), self.minibatch))
        order = _columns.shuffled(len(rows["weight"]), self.minibatch, self.passes, rng).reshape(-1, self.minibatch)
        (parameters, moments), told = _phase(self, (state.parameters, state.moments), rows, order)
        learned = Cloned(parameters, moments, state.seen, state.rows + len(batch))
        return learned, dict(_columns.reported(told)) | {"rows": float(len(batch))}

    def policy(self, state: Cloned, *, explore: bool = False) -> Policy:
        return ByValue(self._preferences(state), softmax if explore else greedy)

    def beliefs(self, state: Cloned) -> Beliefs:
        """The value of an action is its probability: how likely it is what was shown."""
        preferences = self._preferences(state)

        def believed(observation: Array) -> Belief:
            wanted = preferences(observation)
            shares = softmax(wanted, np.ones(wanted.shape, np.bool_))
            tries = np.full(wanted.shape, float(state.rows) / wanted.shape[1])
            return Belief(shares, np.sqrt(shares * (1.0 - shares) / (1.0 + tries)), tries, float(state.rows))

        return believed

    def _preferences(self, state: Cloned) -> Any:
        """From what is observed to a preference for every action: `[T, F]` or `[T, A, F]` to `[T, A]`."""
        asked = _networks.asked(state.parameters, self.activation)

        def preferences(observation: Array) -> Floats:
            said = asked(observation.reshape(-1, observation.shape[-1]))
            return said.reshape(observation.shape[:2] if observation.ndim == 3 else said.shape[:2])

        return preferences


@partial(jax.jit, static_argnums=0)
def _phase(
    method: BehaviourCloning, carry: tuple[Network, Moments[Network]], rows: dict[str, Any], order: Integers
) -> tuple[tuple[Network, Moments[Network]], dict[str, Any]]:
    """All gradient steps of an update, on the device."""

    def loss(parameters: Network, part: dict[str, Any]) -> Any:
        likely = _log_likelihood(method, parameters, part)
        worth = part["weight"] * part["worth"]
        return -(worth * likely).sum() / jnp.maximum(worth.sum(), 1e-9)

    def step(carry: Any, index: Any) -> tuple[Any, Any]:
        parameters, moments = carry
        part = {name: column[index] for name, column in rows.items()}
        gradients, norm = _optimiser.limited(jax.grad(loss)(parameters, part), method.gradient_limit)
        moved, moments = _optimiser.adam(parameters, gradients, moments, method.learning_rate)
        shrink = 1.0 - method.learning_rate * method.decay
        after = jax.tree.map(lambda each: shrink * each, moved), moments
        real = part["weight"].sum() > 0
        return jax.tree.map(lambda new, old: jnp.where(real, new, old), after, carry), norm

    carry, norms = jax.lax.scan(step, carry, order)
    counts = rows["weight"].sum()
    preferences = _preferred(method, carry[0], rows)
    agreed = (preferences.argmax(axis=1) == rows["action"]) * rows["weight"]
    told = {"loss": loss(carry[0], rows), "agreement": agreed.sum() / counts, "gradient_norm": norms[-1]}
    return carry, told


def _preferred(method: BehaviourCloning, parameters: Network, rows: dict[str, Any]) -> Any:
    """The preference for every action, `[T, A]`, by JAX."""
    seen = rows["observation"]
    said = _networks.outputs(parameters, seen.reshape(-1, seen.shape[-1]), method.activation)
    return jnp.where(rows["allowed"], said.reshape(len(seen), -1), FORBIDDEN)


def _log_likelihood(method: BehaviourCloning, parameters: Network, rows: dict[str, Any]) -> Any:
    """log π(a|x) of what was done: `[T]`."""
    logs = jax.nn.log_softmax(_preferred(method, parameters, rows), axis=1)
    return jnp.take_along_axis(logs, rows["action"][:, None], axis=1)[:, 0]
