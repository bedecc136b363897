"""Deep Q-learning (Mnih et al. 2015) with what made it better since, each a field: double (van Hasselt et al. 2016),
dueling (Wang et al. 2016), rewards of n steps, prioritised replay (Schaul et al. 2016), noisy weights (Fortunato et al.
2018), and distributions of returns, on atoms (C51, Bellemare et al. 2017) or by quantiles (QR-DQN, Dabney et al. 2018).
All of them together are Rainbow (Hessel et al. 2018).

Every update remembers its rows as they are, then takes `updates_per_step` gradient steps for each, CALL at a time; what
is left is owed to the next update. Masks hold in acting and in the maximum of the target. Values are bootstrapped at
cuts and not at ends.
Metrics: `loss`, `td_error` mean |δ| (of a distribution, its loss), `gradient_norm` before it is limited,
`value_estimation` mean value of the actions learned from, `reward_signal` mean reward, `exploration_rate` ε,
`confidence` mean probability of the actions taken, `learning_rate`, `replay_rows`, `updates` gradient steps taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Space

from bondhu.catalogue import require
from bondhu.equations import action_values, losses
from bondhu.errors import InvalidInput, UnknownName, nearest
from bondhu.learners import _action_values, _columns, _networks, _optimiser, _replay
from bondhu.learners._action_values import ActionValues, Known
from bondhu.learners._columns import Actions
from bondhu.learners._optimiser import Moments
from bondhu.learners._replay import Replay
from bondhu.learners._scales import scaling
from bondhu.types import Array, Batch, Beliefs, Floats, Metrics, Policy, Spec

CALL = 32  # gradient steps of one call: one shape is compiled, and priorities are brought up to date after each
DISTRIBUTIONS = ("none", "categorical", "quantile")


@dataclass(frozen=True)
class Memory:
    """What was learned."""

    parameters: ActionValues
    target: ActionValues  # that values what comes next, and follows the parameters
    moments: Moments[ActionValues]
    replay: Replay
    known: Known
    owed: float  # gradient steps
    seed: int  # of the noise in acting


class Learned(NamedTuple):
    """What gradient steps change."""

    parameters: ActionValues
    target: ActionValues
    moments: Moments[ActionValues]


@dataclass(frozen=True)
class Dqn:
    """Q(x, a) follows Σ γ^i·r + γ^n·max_a' Q_target(x', a'), on minibatches of what was remembered."""

    learning_rate: float = 1e-3  # of Adam
    anneal_steps: int = 0  # environment steps over which the learning rate falls to 0; 0: it stays
    discount: float = 0.99  # γ
    hidden: tuple[int, ...] = (128, 64)  # width of each layer
    activation: str = "relu"  # or "tanh", "silu"
    capacity: int = 100_000  # rows remembered
    minibatch: int = 64  # rows of a gradient step
    updates_per_step: float = 0.5  # gradient steps for each row
    learning_starts: int = 500  # rows remembered before the first gradient step
    target_every: int = 1  # gradient steps after which the target follows
    target_share: float = 0.01  # of the parameters in the target, each time it follows; 1: a copy
    double: bool = True  # the network chooses the action that the target values
    dueling: bool = False  # values of contexts and advantages of actions apart
    n_step: int = 3  # rewards until the bootstrap; fewer for the last rows of a play: choose phases longer than n
    prioritised: float = 0.0  # power of the error in how likely a row is drawn; 0: all alike
    importance: float = 0.4  # β at first: how far unequal chances are corrected for
    importance_steps: int = 100_000  # environment steps until β = 1
    noisy: bool = False  # weights with noise that is learned, instead of ε
    first_deviation: float = 0.5  # of a noisy weight, times 1 / √inputs
    distribution: str = "none"  # "categorical": C51; "quantile": QR-DQN
    atoms: int = 51  # of a distribution
    low: float = -10.0  # the least return that C51 tells apart
    high: float = 10.0  # the largest
    huber: float = 1.0  # error from which the loss grows in a line; 0: squared throughout
    gradient_limit: float = 10.0  # on the norm of all gradients together
    first_epsilon: float = 1.0  # ε, the share of random actions
    last_epsilon: float = 0.05
    exploration_steps: int = 5_000  # environment steps in which ε falls, in a line
    normalise_layers: bool = True  # the sums of every layer, to mean 0 and variance 1, against values that run away
    normalise_observations: bool = False  # by what was seen so far; the replay holds them as they are

    observes: ClassVar[type[Space[Any]]] = Box
    State: ClassVar[type[Memory]] = Memory
    probes: ClassVar[tuple[str, ...]] = ("one_hot_corridor", "one_hot_cut", "one_hot_trap")

    def __post_init__(self) -> None:
        require(self, 0.0, 1.0, "learning_rate", "discount", "target_share", "first_epsilon", "last_epsilon")
        require(self, 0.0, 1.0, "prioritised", "importance")
        require(
            self, 0.0, math.inf, "updates_per_step", "huber", "first_deviation", "exploration_steps", "anneal_steps"
        )
        require(self, 1, math.inf, "capacity", "minibatch", "learning_starts", "target_every", "n_step", "atoms")
        require(self, 1, math.inf, "importance_steps")
        require(self, 1e-6, math.inf, "gradient_limit")
        require(self, -math.inf, math.inf, "low", "high")
        if self.distribution not in DISTRIBUTIONS:
            fix = nearest(self.distribution, DISTRIBUTIONS)
            raise UnknownName(f"No distribution {self.distribution!r}.", field="distribution",
                              value=self.distribution, fix=fix)  # fmt: skip
        if self.distribution == "categorical" and not (self.low < self.high and self.atoms > 1):
            raise InvalidInput(f"{self.atoms} atoms cannot lie from {self.low:g} to {self.high:g}.", field="atoms",
                               value=self.atoms, fix="Give two atoms or more, and high above low.")  # fmt: skip

    def init(self, spec: Spec, rng: np.random.Generator) -> Memory:
        actions, seen = _columns.counted(spec.action, "deep.dqn"), _columns.seen_by(spec)
        _networks.known_activation(self.activation)
        numbers = 1 if self.distribution == "none" else self.atoms
        replay = _replay.nothing(spec.observation, Actions((actions,), 0), self.capacity)
        network = _networks.network(rng, seen, self.hidden, (actions, numbers), gain=0.1)
        deviation = self.first_deviation if self.noisy else 0.0
        parameters = _action_values.action_values(rng, network, dueling=self.dueling, deviation=deviation)
        known, seed = _action_values.unknown(seen, actions), int(rng.integers(2**31))
        return Memory(parameters, parameters, _optimiser.begun(parameters), replay, known, 0.0, seed)

    def update(self, state: Memory, batch: Batch, rng: np.random.Generator) -> tuple[Memory, Metrics]:
        if not len(batch):
            return state, {}
        _columns.check(batch, Actions((len(state.known.tries),), 0), state.replay.rows.observation.shape[1:])
        known = _action_values.experienced(state.known, batch, normalise=self.normalise_observations)
        replay = _replay.remembered(state.replay, batch, self.capacity, self.n_step, self.discount)
        owed = state.owed + len(batch) * self.updates_per_step if known.rows >= self.learning_starts else 0.0
        learned, told = Learned(state.parameters, state.target, state.moments), []
        for _ in range(int(owed) // CALL):
            learned, replay, metrics = self._learned(learned, replay, known, rng)
            told.append(metrics)
        metrics = _averaged(told)
        if told:
            known = _action_values.erring(known, metrics.pop("squared_error"), len(batch))
        after = Memory(*learned, replay, known, owed % CALL, state.seed)
        return after, metrics | {
            "reward_signal": float(batch.reward.mean()),
            "exploration_rate": self._epsilon(known),
            "confidence": float(batch.probability.mean()),
            "replay_rows": float(len(replay.rows)),
            "updates": float(learned.moments.steps),
        }

    def _learned(
        self, learned: Learned, replay: Replay, known: Known, rng: np.random.Generator
    ) -> tuple[Learned, Replay, dict[str, Any]]:
        """CALL gradient steps, on rows drawn beforehand."""
        shape = (CALL, self.minibatch)
        if self.prioritised:
            chosen, weight = _replay.drawn_by_priority(replay, *shape, rng)
            beta = _action_values.share_of_chance(self.importance, 1.0, self.importance_steps, float(known.rows))
            weight = (weight / weight.max(axis=1, keepdims=True)) ** beta
        else:
            chosen, weight = _replay.drawn(replay, *shape, rng), np.ones(shape)
        look, columns = scaling(known.scale), dict(_replay.columns_of(replay, chosen))
        columns |= {name: _rows(look, columns[name]) for name in ("observation", "next_observation")}
        columns["weight"], seed = weight.astype(np.float32), rng.integers(2**31) if self.noisy else 0
        learned, size, metrics = _phase(self, learned, columns, np.float32(known.rows), seed)
        if self.prioritised:
            replay = _replay.reprioritised(replay, chosen, np.asarray(size), self.prioritised)
        return learned, replay, metrics

    def policy(self, state: Memory, *, explore: bool = False) -> Policy:
        return _action_values.acting(self._values(state, noisy=explore), self._epsilon(state.known) if explore else 0.0)

    def beliefs(self, state: Memory) -> Beliefs:
        return _action_values.beliefs_of(self._values(state), state.known)

    def _epsilon(self, known: Known) -> float:
        if self.noisy:
            return 0.0
        steps = float(known.rows)
        return _action_values.share_of_chance(self.first_epsilon, self.last_epsilon, self.exploration_steps, steps)

    def _values(self, state: Memory, *, noisy: bool = False) -> Callable[[Array], Floats]:
        """What the policy looks up, `[T, F]` to `[T, A]`; noise is drawn once."""
        seed = np.array([state.seed, state.known.rows], np.uint32) if noisy and self.noisy else None
        network = (_action_values.folded if self.noisy or self.dueling else _action_values.plain)(
            state.parameters, seed
        )
        ask = _networks.asked(network, self.activation, self.normalise_layers)
        look, support = scaling(state.known.scale), _support(self)
        return lambda seen: _action_values.expected(ask(look(seen)), self.distribution, support, np)


def _averaged(told: list[dict[str, Any]]) -> dict[str, float]:
    """The means of what several calls report, all fetched at once."""
    fetched = jax.device_get(told)
    return {name: float(np.mean([each[name] for each in fetched])) for name in (fetched[0] if fetched else ())}


def _rows(look: Callable[[Array], Any], column: Array) -> Any:
    """Scales a column of minibatches, `[updates, rows, …]`."""
    return look(column.reshape(-1, *column.shape[2:])).reshape(column.shape)


def _support(dqn: Dqn) -> Any:
    """The returns that C51 tells apart: `[K]`."""
    return np.linspace(dqn.low, dqn.high, dqn.atoms, dtype=np.float32)


@partial(jax.jit, static_argnums=0)
def _phase(dqn: Dqn, learned: Learned, columns: Any, steps: Any, seed: Any) -> tuple[Learned, Any, dict[str, Any]]:
    """The gradient steps on the device: what was learned, the error of every row, `[updates, rows]`, and metrics."""
    if dqn.noisy:
        columns = columns | {"key": jax.random.split(jax.random.key(seed), CALL)}
    rate = _optimiser.falling(dqn.learning_rate, steps, dqn.anneal_steps)
    learned, (size, told) = jax.lax.scan(partial(_step, dqn, rate), learned, columns)
    return learned, size, {name: jnp.mean(each) for name, each in told.items()} | {"learning_rate": rate}


def _step(dqn: Dqn, rate: Any, learned: Learned, rows: Any) -> tuple[Learned, Any]:
    """One gradient step, after which the target may follow."""
    target = _target(dqn, learned, rows)
    (_, (size, told)), gradients = jax.value_and_grad(_loss, has_aux=True)(learned.parameters, dqn, rows, target)
    gradients, norm = _optimiser.limited(gradients, dqn.gradient_limit)
    parameters, moments = _optimiser.adam(learned.parameters, gradients, learned.moments, rate)
    share = jnp.where(moments.steps % dqn.target_every == 0, dqn.target_share, 0.0)
    following = jax.tree.map(lambda old, new: (1 - share) * old + share * new, learned.target, parameters)
    return Learned(parameters, following, moments), (size, told | {"gradient_norm": norm})


def _said(dqn: Dqn, parameters: ActionValues, key: Any, seen: Any) -> Any:
    """What a network says in JAX: `[B, A, K]`."""
    return _networks.outputs(_action_values.plain(parameters, key), seen, dqn.activation, dqn.normalise_layers)


def _target(dqn: Dqn, learned: Learned, rows: Any) -> Any:
    """What the action taken should have said: `[B]`, or `[B, K]` of a distribution (on atoms: probabilities)."""
    key, other = jax.random.split(rows["key"]) if dqn.noisy else (None, None)
    ahead, allowed = rows["next_observation"], rows["next_allowed"]
    said = _said(dqn, learned.target, other, ahead)
    support = _support(dqn)
    chosen = values = _action_values.expected(said, dqn.distribution, support)
    if dqn.double:
        chosen = _action_values.expected(_said(dqn, learned.parameters, key, ahead), dqn.distribution, support)
    if dqn.distribution == "none":
        return action_values.double_q_target(rows["reward"], rows["continuing"], chosen, values, allowed)
    best = jnp.argmax(jnp.where(allowed, chosen, -jnp.inf), axis=1)
    continuing, following = rows["continuing"] * jnp.any(allowed, axis=1), action_values.taken(said, best)
    if dqn.distribution == "quantile":
        return rows["reward"][:, None] + continuing[:, None] * following
    return action_values.categorical_projection(jax.nn.softmax(following), rows["reward"], continuing, support)


def _loss(parameters: ActionValues, dqn: Dqn, rows: Any, target: Any) -> tuple[Any, Any]:
    """The mean of the rows' losses times their weights; the rows' errors, and metrics."""
    key = jax.random.split(rows["key"])[0] if dqn.noisy else None
    mine = action_values.taken(_said(dqn, parameters, key, rows["observation"]), rows["action"])
    value = _action_values.expected(mine, dqn.distribution, _support(dqn))
    if dqn.distribution == "categorical":
        each = size = action_values.categorical_loss(mine, target)
        error = target @ _support(dqn) - value
    elif dqn.distribution == "quantile":
        each = size = action_values.quantile_loss(mine, target, dqn.huber)
        error = jnp.mean(target, axis=1) - value
    else:
        error = target - value
        each, size = losses.huber(error, dqn.huber) if dqn.huber else 0.5 * error**2, jnp.abs(error)
    loss = jnp.mean(rows["weight"] * each)
    told = {
        "loss": loss,
        "td_error": jnp.mean(size),
        "value_estimation": jnp.mean(value),
        "squared_error": jnp.mean(error**2),
    }
    return loss, (size, told)
