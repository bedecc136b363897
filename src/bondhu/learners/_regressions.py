"""K linear regressions of the reward on features of context and action, as learners over very many features share them.

With the context's features u (`learners._hashed`) and the description g_a of an action, its value is
base + u·(own_a + shared g_a). So own_a holds the action's identity and its products with the context (C×I, C×C×I in the
words of Vowpal Wabbit), `shared` the action's features and their products with it (A, C×A, C×C×A). The context alone
is left out: it is the same for all actions and would only take its part of each step. Where each candidate comes with
its own features, u is made of these, and the weights are the same for all.

Observations count in units of their spread so far, from their mean; actions' features in those of the first list of
actions. A regression has at most 2^bits weights. Memory: 16 bytes for each weight of each regression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from bondhu.compiled import compiled
from bondhu.equations.adaptive import descend, running_moments, standardised
from bondhu.equations.rows import product
from bondhu.learners._hashed import expanded, expanded_width
from bondhu.learners._table import blended, check_size, refused, writable
from bondhu.types import Array, Batch, Belief, Beliefs, Declared, Floats, Integers, Metrics, PerAction, Spec

ENTRIES = 2**20  # numbers held at once for the features of some decisions: 8 MB


@dataclass(frozen=True)
class Regressions:
    """What K regressions on the same features learned."""

    own: Annotated[Floats, PerAction(1)]  # [K, A, W] weights of each action; W = 0 where candidates come with features
    own_evidence: Annotated[Floats, PerAction(1)]  # [K, A, W] sum of importance · x²
    shared: Floats  # [K, 1 + W·G] weights of all actions: the base, and of what is known of them
    shared_evidence: Floats  # [K, 1 + W·G]
    action_features: Annotated[Floats, Declared()]  # [A, G] as declared; a 1 where candidates come with features
    tries: Annotated[Floats, PerAction(0)]  # [A] decisions for each action
    action_units: Floats  # [2, G] centre and spread of the first list of actions
    mean: Floats  # [F] of what was observed
    squares: Floats  # [F] sum of squared deviations from the mean
    rewards: Floats  # [2, 1] mean of the rewards and the sum of their squared deviations from it
    rounds: int  # decisions learned from; what exploration counts
    noise: float  # mean squared error of a prediction

    @property
    def described(self) -> Floats:
        """What is known of the actions, in units of the first list: `[A, G]`."""
        centre, spread = self.action_units
        known: Floats = (self.action_features - centre) / spread
        return known

    @property
    def candidates(self) -> bool:
        """Whether candidates come with their own features, `[T, A, F]`."""
        return bool(self.own.shape[2] == 0)

    @property
    def width(self) -> int:
        """How many features u has."""
        return int(self.own.shape[2] or self.shared.shape[1] - 1)

    @property
    def scale(self) -> float:
        """Standard deviation of the rewards; 1 where they never varied."""
        return math.sqrt(self.rewards[1, 0] / max(self.rounds, 1)) or 1.0


class Window(NamedTuple):
    """Some rows of a batch as the regressions see them."""

    rows: slice
    features: Floats  # [rows, 1, W] u, or [rows, A, W] where candidates come with features and all are asked for
    mean: Floats  # [F] after these rows
    squares: Floats  # [F]


def begun(spec: Spec, bits: int, quadratic: bool, members: int) -> Regressions:
    """So many regressions, with all weights at 0."""
    if not isinstance(spec.action, Discrete):
        raise refused("action", spec.action, "It needs a Discrete action space.")
    actions, space = int(spec.action.n), spec.observation
    if not isinstance(space, Box) or len(space.shape) not in (1, 2) or space.shape[:-1] not in ((), (actions,)):
        raise refused("observation", space, f"It needs a Box of shape (F,), or ({actions}, F) for features of each.")
    candidates, columns = len(space.shape) == 2, space.shape[-1]
    known, units = _descriptions(spec, actions, candidates)
    sharing = known.shape[1] + (0 if candidates else actions)
    if 2**bits < 1 + sharing:
        least = math.ceil(math.log2(1 + sharing))
        raise refused("bits", bits, f"{sharing} weights for each feature need at least {least}.")
    width = min(expanded_width(columns, quadratic), (2**bits - 1) // sharing)
    own, shared = (members, actions, 0 if candidates else width), (members, 1 + width * known.shape[1])
    return Regressions(
        own=np.zeros(own),
        own_evidence=np.zeros(own),
        shared=np.zeros(shared),
        shared_evidence=np.zeros(shared),
        action_features=known,
        tries=np.zeros(actions),
        action_units=units,
        mean=np.zeros(columns),
        squares=np.zeros(columns),
        rewards=np.zeros((2, 1)),
        rounds=0,
        noise=0.0,
    )


def _descriptions(spec: Spec, actions: int, candidates: bool) -> tuple[Floats, Floats]:
    """What is known of each action, `[A, G]`, and the centre and spread of each column, `[2, G]`."""
    if candidates:
        return np.ones((actions, 1)), np.array([[0.0], [1.0]])
    known = np.zeros((actions, 0)) if spec.action_features is None else np.asarray(spec.action_features, np.float64)
    if known.ndim != 2 or len(known) != actions or not np.isfinite(known).all():
        raise refused("action_features", known.shape, f"It needs a row of numbers for each of the {actions} actions.")
    spread = known.std(axis=0)
    return known, np.stack([known.mean(axis=0), np.where(spread > 0, spread, 1.0)])


# ------------------------------------------------------------------------------------------------------------- learning


def check(batch: Batch, state: Regressions) -> None:
    """Refuse what would spoil the weights; nothing has been written yet."""
    rows, actions = len(batch), len(state.tries)
    expected = (rows, actions, len(state.mean)) if state.candidates else (rows, len(state.mean))
    if batch.observation.shape != expected:
        raise refused("observation", f"shape {batch.observation.shape}", f"Its shape must be {expected}.")
    unknown = (batch.action < 0) | (batch.action >= actions)
    if unknown.any():
        raise refused("action", batch.action[unknown][0], f"There are the actions 0 to {actions - 1}.")
    check_size("observation", batch.observation)
    check_size("reward", batch.reward)


def learned(
    state: Regressions, batch: Batch, importance: Floats, quadratic: bool, step: tuple[float, float]
) -> tuple[Regressions, Metrics]:
    """Let each regression learn the reward of the action taken, with its own importance of each row: `[K, T]`."""
    state, last, errors = opened(state, batch.reward), None, [np.zeros(0)]
    for last in windows(state, batch, quadratic):
        action, reward = batch.action[last.rows], batch.reward[last.rows]
        features = features_of(state, last, np.arange(len(action)), action)
        for member, weight in enumerate(importance[:, last.rows]):
            before = taught(state, member, (features, action, reward, weight), step)
            errors.append((reward - before)[weight > 0.0])
    return closed(state, batch, last, np.concatenate(errors))


def opened(state: Regressions, target: Floats) -> Regressions:
    """The same state with weights that may be written to. The base starts at the first target: nothing better is known
    of where they lie."""
    names = ("own", "own_evidence", "shared", "shared_evidence")
    weights: dict[str, Any] = {name: writable(getattr(state, name)) for name in names}
    if state.rounds == 0:
        weights["shared"][:, 0] = target[:1].sum()
    return replace(state, **weights)


def windows(state: Regressions, batch: Batch, quadratic: bool, every: bool = False) -> Iterator[Window]:
    """The batch in parts that fit in memory, each row in the units that hold with it. Of candidates, only the one taken
    is seen, unless `every` one is asked for."""
    size, mean, squares, count = _rows_at_once(state, quadratic), state.mean, state.squares, state.rounds
    for start in range(0, len(batch), size):
        rows = slice(start, start + size)
        observation = batch.observation[rows].astype(np.float64)
        taken = observation[np.arange(len(observation)), batch.action[rows]] if state.candidates else observation
        means, sums = running_moments(taken, mean, squares, count)
        numbers = np.arange(count + 1, count + len(taken) + 1)[:, None, None]
        shown = observation if state.candidates and every else taken[:, None]
        scaled = standardised(shown, means[:, None], sums[:, None], numbers)
        mean, squares, count = means[-1], sums[-1], count + len(taken)
        yield Window(rows, expanded(scaled, quadratic, state.width), mean, squares)


def features_of(state: Regressions, window: Window, row: Integers, action: Integers) -> Floats:
    """What the weights multiply in these events, each an action in a row of the window: `[E, C + W]`."""
    u = window.features[row, action if window.features.shape[1] > 1 else 0]
    both = (u[:, :, None] * state.described[action][:, None, :]).reshape(len(u), -1)
    return np.concatenate([np.ones((len(u), 1)), both, u[:, : state.own.shape[2]]], axis=1)


def taught(state: Regressions, member: int, events: tuple[Array, ...], step: tuple[float, float]) -> Floats:
    """Let one regression learn from events (features, action, target, importance); each one's value before that."""
    features, action, target, importance = events
    weights = (state.shared[member], state.own[member])
    evidence = (state.shared_evidence[member], state.own_evidence[member])
    chosen = np.ascontiguousarray(action, np.int64)
    numbers = np.ascontiguousarray(target, np.float64), np.ascontiguousarray(importance, np.float64)
    values: Floats = compiled(descend)(weights, evidence, (features, chosen, *numbers), step)
    return values


def closed(state: Regressions, batch: Batch, last: Window | None, errors: Floats) -> tuple[Regressions, Metrics]:
    """The state after a batch, and what is reported of it, from the errors of the predictions before each step."""
    rows, count = len(batch), max(len(errors), 1)
    with np.errstate(over="ignore"):  # said below
        absolute, squared = float(np.abs(errors).sum()) / count, float(errors @ errors) / count
    if not math.isfinite(squared):
        largest = float(np.abs(batch.reward).max())
        raise refused("reward", largest, "Values are no longer finite: scale the rewards down.")
    after = replace(
        state,
        tries=state.tries + np.bincount(batch.action, minlength=len(state.tries)),
        mean=last.mean if last else state.mean,
        squares=last.squares if last else state.squares,
        rewards=_moments(state, batch.reward) if rows else state.rewards,
        rounds=state.rounds + rows,
        noise=blended(state.noise, squared * rows, rows, state.rounds),
    )
    reward = float(batch.reward.sum()) / max(rows, 1)
    return after, {"error": absolute, "squared_error": squared, "reward": reward, "rounds": float(after.rounds)}


def _moments(state: Regressions, reward: Floats) -> Floats:
    """Mean and squares of the rewards, these included: `[2, 1]`."""
    mean, before = state.rewards
    means, squares = running_moments(reward[:, None].astype(np.float64), mean, before, state.rounds)
    return np.stack([means[-1], squares[-1]])


# --------------------------------------------------------------------------------------------------------------- acting


def values_of(state: Regressions, quadratic: bool) -> Callable[[Array], Floats]:
    """What each regression says that each action is worth: observation to `[K, T, A]`."""
    products = _products(state, quadratic, _of_actions(state, state.shared, state.own, state.described))
    base = state.shared[:, :1, None]
    return lambda observation: base + products(observation)[0]


def beliefs_of(state: Regressions, quadratic: bool) -> Beliefs:
    """What the first regression knows: its values, with the errors σ·√(Σ x² / (1 + evidence)), as if features were
    uncorrelated; σ² is the mean squared error of its predictions and, as one more, the variance of the rewards."""
    shared, own = 1.0 / (1.0 + state.shared_evidence[:1]), 1.0 / (1.0 + state.own_evidence[:1])
    coefficients = _of_actions(state, state.shared[:1], state.own[:1], state.described)
    doubts = _of_actions(state, shared, own, state.described**2)
    products, rounds, scale = _products(state, quadratic, coefficients, doubts), float(state.rounds), state.scale
    noise = (state.noise * rounds + scale**2) / (rounds + 1.0)

    def believed(observation: Array) -> Belief:
        known, doubted = products(observation)
        value, error = state.shared[0, 0] + known[0], np.sqrt(noise * (shared[0, 0] + doubted[0]))
        return Belief(value, error, tries_of(state, value), rounds, scale=scale)

    return believed


def tries_of(state: Regressions, value: Floats) -> Floats:
    """Decisions behind each value, `[T, A]`: all of them, where the weights are the same for all candidates."""
    return np.broadcast_to(float(state.rounds) if state.candidates else state.tries, value.shape)


def _of_actions(state: Regressions, shared: Floats, own: Floats, described: Floats) -> Floats:
    """What multiplies u for each action, own_a + shared g_a: `[K, A, W]`, or `[K, 1, W]`, the same for candidates."""
    known: Floats = shared[:, 1:].reshape(len(shared), state.width, -1).swapaxes(1, 2)
    return known if state.candidates else own + described @ known


def _products(state: Regressions, quadratic: bool, *coefficients: Floats) -> Callable[[Array], list[Floats]]:
    """From coefficients `[K, A, W]` or `[K, 1, W]`, to be multiplied with u, and others, with the squares of u: a
    function of an observation to the products of each, `[K, T, A]`, computed in parts that fit in memory."""
    size, (members, actions, width) = _rows_at_once(state, quadratic), coefficients[0].shape
    columns = [each.reshape(-1, width).T for each in coefficients]

    def multiplied(observation: Array) -> list[Floats]:
        parts: list[list[Floats]] = [[] for _ in columns]
        for start in range(0, max(len(observation), 1), size):
            scaled = standardised(observation[start : start + size], state.mean, state.squares, state.rounds)
            u = expanded(scaled, quadratic, width)
            for power, each in enumerate(columns, start=1):
                products = product(u**power, each)
                shaped = products if state.candidates else products.reshape(len(u), members, actions).swapaxes(1, 2)
                parts[power - 1].append(shaped)
        return [np.moveaxis(np.concatenate(each), 2, 0) for each in parts]

    return multiplied


def _rows_at_once(state: Regressions, quadratic: bool) -> int:
    """Rows whose features, before they are hashed and with those of all actions, are at most ENTRIES numbers."""
    actions, columns = len(state.tries), int(state.shared.shape[1])
    before = expanded_width(len(state.mean), quadratic) * (actions if state.candidates else 1)
    return max(ENTRIES // (before + actions * (int(state.own.shape[2]) + columns)), 1)
