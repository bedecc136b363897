"""Tabular Q-learning: the compiled kernel against plain loops over the same transitions, and the latency of acting."""

from __future__ import annotations

import timeit
from collections import defaultdict
from time import perf_counter
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from benchmarks.report import Row, main
from bondhu.learners import build
from bondhu.types import Array, Batch, Spec

SIZES = [5, 5, 5, 5, 5, 4, 8, 3]  # 300,000 states: five traits in 5 bins, time of day, mood, content type
ACTIONS = 27
FACTOR = 0.95
RATE = 0.1


def measure(quick: bool) -> list[Row]:
    rng = np.random.default_rng(0)
    batch = transitions(100_000 if quick else 5_000_000, rng)
    part = batch.take(np.arange(len(batch)) < (20_000 if quick else 500_000))
    table, kernel, whole = with_kernel(batch, part)
    tuples, numbers = (with_dictionaries(part, table, as_tuples=each) for each in (True, False))
    array = with_numpy(part, table)
    size = f"{int(np.prod(SIZES)):,} x {ACTIONS}, {len(batch):,} transitions"
    return [
        Row(f"kernel, {size}", kernel, "updates/s", ">= 5e6", kernel >= 5e6, "dict of dicts", numbers),
        Row("kernel / dict of dicts, integers as keys", kernel / numbers, "x", ">= 100", kernel >= 100 * numbers),
        Row("kernel / dict of dicts, tuples as keys", kernel / tuples, "x", ">= 100", kernel >= 100 * tuples),
        Row("kernel / NumPy loop", kernel / array, "x"),
        Row("update() with checks and encoding", whole, "updates/s"),
        *acting(rng),
    ]


def transitions(count: int, rng: np.random.Generator) -> Batch:
    """States drawn at random, which is the worst case for memory; a session of ten decisions, all actions allowed."""
    observation = rng.integers(0, SIZES, (count + 1, len(SIZES)))
    allowed = np.broadcast_to(np.ones(ACTIONS, np.bool_), (count, ACTIONS))
    last = np.arange(count) % 10 == 9
    return Batch(
        observation=observation[:-1],
        allowed=allowed,
        action=rng.integers(0, ACTIONS, count),
        probability=np.full(count, 1 / ACTIONS),
        reward=rng.normal(size=count),
        discount=(~last).astype(np.float64),
        has_next=~last,
        next_observation=observation[1:],
        next_allowed=allowed,
        session=np.arange(count) // 10,
        time=np.arange(count, dtype=np.float64),
        memo=np.empty((count, 0)),
    )


def with_kernel(batch: Batch, part: Batch) -> tuple[Array, float, float]:
    """The table after `part`, then updates per second on `batch`: the kernel alone, and the whole of update()."""
    from bondhu.learners.tabular.q_learning import compiled_sweep, prepared

    learner = build("tabular.q_learning", {"learning_rate": RATE, "discount": FACTOR})
    rng = np.random.default_rng(0)
    state = learner.init(Spec(MultiDiscrete(SIZES), Discrete(ACTIONS)), rng)
    state, _ = learner.update(state, part, rng)
    learned = state.values.copy()
    table, rows = (state.values, state.visits, state.best), prepared(state, batch, FACTOR)
    kernel = best_of(7, lambda: compiled_sweep()(table, rows, (RATE, 0.0), True))
    whole = best_of(2, lambda: learner.update(state, batch, rng))
    return learned, len(batch) / kernel, len(batch) / whole


def with_dictionaries(batch: Batch, expected: Array, *, as_tuples: bool) -> float:
    """Updates per second of `{state: {action: value}}` in plain Python, with the same counts and metrics.

    The keys are tuples, as seed 002 keeps its table, or the row numbers that an encoder would have to make first.
    """
    states, following_states, actions = _keys(batch, as_tuples=as_tuples)
    names = sorted(set(actions))
    numbers = [each.tolist() for each in (batch.reward, batch.discount * FACTOR)]
    rows = list(zip(states, actions, *numbers, following_states, strict=True))

    def learn() -> dict[Any, dict[Any, float]]:
        table: dict[Any, dict[Any, float]] = defaultdict(lambda: dict.fromkeys(names, 0.0))
        visits: dict[Any, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
        total = largest = 0.0
        for state, action, reward, discount, following in rows:
            target = reward + discount * max(table[following].values()) if discount else reward
            visits[state][action] += 1
            row = table[state]
            error = target - row[action]
            row[action] = value = row[action] + RATE * error
            total += abs(error)
            largest = max(largest, abs(value))
        return table

    for state, row in learn().items():
        at = np.ravel_multi_index(state, SIZES) if as_tuples else state
        assert np.allclose(expected[at], list(row.values()), rtol=0, atol=1e-9), "kernel and dictionaries disagree"
    return len(rows) / best_of(3, learn)


def with_numpy(batch: Batch, expected: Array) -> float:
    """Updates per second of a NumPy table, one row at a time in Python."""
    states, following_states, actions = _keys(batch, as_tuples=False)
    table = np.zeros_like(expected)
    start = perf_counter()
    for state, action, reward, discount, following in zip(
        states, actions, batch.reward.tolist(), (batch.discount * FACTOR).tolist(), following_states, strict=True
    ):
        target = reward + discount * table[following].max() if discount else reward
        table[state, action] += RATE * (target - table[state, action])
    speed = len(batch) / (perf_counter() - start)
    assert np.allclose(table, expected, rtol=0, atol=1e-9), "kernel and NumPy loop disagree"
    return speed


def acting(rng: np.random.Generator) -> list[Row]:
    """Microseconds for one decision, and decisions per second for a thousand at once."""
    learner = build("tabular.q_learning", {})
    state = learner.init(Spec(MultiDiscrete(SIZES), Discrete(ACTIONS)), rng)
    state.values[:] = rng.normal(size=state.values.shape)
    observation, allowed = rng.integers(0, SIZES, (1_000, len(SIZES))), np.ones((1_000, ACTIONS), np.bool_)
    rows = []
    for name, explore in (("greedy", False), ("epsilon-greedy", True)):
        policy = learner.policy(state, explore=explore)
        one = timeit.Timer(lambda p=policy: p.sample(observation[:1], allowed[:1], rng))  # type: ignore[misc]  # default binds the loop's policy
        rows.append(Row(f"sample() of one row, {name}", min(one.repeat(7, 5_000)) / 5_000 * 1e6, "µs"))
    many = timeit.Timer(lambda: policy.sample(observation, allowed, rng))
    rows.append(Row("sample() of 1,000 rows", 1_000 * 20 / min(many.repeat(5, 20)), "decisions/s"))
    return rows


def best_of(times: int, work: Any) -> float:
    """Seconds of the fastest run."""
    return min(timeit.repeat(work, number=1, repeat=times))


def _keys(batch: Batch, *, as_tuples: bool) -> tuple[list[Any], list[Any], list[Any]]:
    """States, next states and actions: as tuples of codes, or as whole numbers."""
    codes = (batch.observation, batch.next_observation)
    if as_tuples:
        parts = np.array(np.unravel_index(batch.action, (3, 3, 3))).T
        state, following, action = ([tuple(row) for row in each.tolist()] for each in (*codes, parts))
        return state, following, action
    state, following = (np.asarray(np.ravel_multi_index(tuple(each.T), SIZES)).tolist() for each in codes)
    return state, following, batch.action.tolist()


if __name__ == "__main__":
    main("tabular", measure)
