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
    batch = transitions(1_000_000 if quick else 5_000_000, rng)
    part = batch.take(np.arange(len(batch)) < (100_000 if quick else 500_000))
    dictionary, dictionary_speed = with_dictionaries(part)
    array, array_speed = with_numpy(part)
    table, kernel_speed, whole_speed = with_kernel(batch, part)
    for state, row in dictionary.items():
        for action, value in row.items():
            assert abs(table[state, action] - value) < 1e-9, "the kernel and the dictionaries disagree"
    assert np.allclose(table, array, rtol=0, atol=1e-9), "the kernel and the NumPy loop disagree"
    size = f"{int(np.prod(SIZES)):,} x {ACTIONS}, {len(batch):,} transitions"
    ratio = kernel_speed / dictionary_speed
    return [
        Row(
            f"kernel, {size}",
            kernel_speed,
            "updates/s",
            ">= 5e6",
            kernel_speed >= 5e6,
            "dictionaries",
            dictionary_speed,
        ),
        Row("kernel / dict of dicts", ratio, "x", ">= 100", ratio >= 100),
        Row("kernel / NumPy loop", kernel_speed / array_speed, "x", peer="NumPy loop", peer_value=1.0),
        Row("update() with checks and encoding", whole_speed, "updates/s"),
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
    kernel = best_of(3, lambda: compiled_sweep()(table, rows, (RATE, 0.0), True))
    whole = best_of(2, lambda: learner.update(state, batch, rng))
    return learned, len(batch) / kernel, len(batch) / whole


def with_dictionaries(batch: Batch) -> tuple[dict[int, dict[int, float]], float]:
    """The peer: `{state: {action: value}}` keyed by whole numbers, with the same counts and metrics as the kernel."""
    rows = list(zip(*_lists(batch), strict=True))

    def learn() -> dict[int, dict[int, float]]:
        table: dict[int, dict[int, float]] = defaultdict(lambda: dict.fromkeys(range(ACTIONS), 0.0))
        visits: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
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

    return learn(), len(rows) / best_of(3, learn)


def with_numpy(batch: Batch) -> tuple[Array, float]:
    """The second peer: a table in NumPy, one row at a time in Python."""
    rows = list(zip(*_lists(batch), strict=True))
    table = np.zeros((int(np.prod(SIZES)), ACTIONS))
    start = perf_counter()
    for state, action, reward, discount, following in rows:
        target = reward + discount * table[following].max() if discount else reward
        table[state, action] += RATE * (target - table[state, action])
    return table, len(rows) / (perf_counter() - start)


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


def _lists(batch: Batch) -> list[list[Any]]:
    observations = (batch.observation, batch.next_observation)
    row, following = (np.asarray(np.ravel_multi_index(tuple(each.T), SIZES)) for each in observations)
    columns: list[Array] = [row, batch.action, batch.reward, batch.discount * FACTOR, following]
    return [column.tolist() for column in columns]


if __name__ == "__main__":
    main("tabular", measure)
