"""How fast a million logged decisions say what a policy is worth; and whole sessions against exact values."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from benchmarks import session_values
from benchmarks.report import Row, main
from bondhu.evaluate import find
from bondhu.evaluate.models import Memory, Remembered
from bondhu.types import Array, Batch, Booleans, Choice, Estimate, Floats, Uniforms

ACTIONS, SIZES = 27, (5, 5, 5, 5, 5, 3, 8, 4)  # five traits in five bins and three categories
STATES = int(np.prod(SIZES))
SESSION = 0.8  # chance that the next decision belongs to the same session
SECONDS, MEBIBYTES = 3.0, 2048.0  # goals of a million rows


@dataclass(frozen=True)
class Looked:
    """A policy that looks its probabilities up: `[S, A]` by the state that the codes make."""

    table: Floats

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:  # noqa: ARG002  all are allowed here
        return np.asarray(self.table[state(observation)])

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:  # noqa: ARG002
        return np.asarray(self.table[state(observation), action])

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        chances = self.distribution(observation, allowed)
        action = np.minimum((rng.random(len(chances))[:, None] > chances.cumsum(1)).sum(1), ACTIONS - 1)
        return Choice(action, chances[np.arange(len(action)), action], np.empty((len(action), 0)))


def state(observation: Array) -> Array:
    return np.asarray(np.ravel_multi_index(tuple(observation.T), SIZES))


def problem(rows: int) -> tuple[Looked, Batch]:
    """A policy that exploits, and what a more even one logged; rewards are clicks that codes and action make likely."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 0.7, (STATES, ACTIONS))
    target, logging = (Looked(np.exp(each) / np.exp(each).sum(1, keepdims=True)) for each in (logits, logits / 3))
    observation = np.stack([rng.integers(0, size, rows) for size in SIZES], axis=1)
    allowed = np.broadcast_to(np.ones(ACTIONS, bool), (rows, ACTIONS))
    choice = logging.sample(observation, allowed, rng)
    reward = rng.random(rows) < 1 / (1 + np.exp(1 - logits[state(observation), choice.action]))
    starts = rng.random(rows) >= SESSION
    starts[0] = True
    none = np.zeros(rows)
    batch = Batch(
        observation, allowed, choice.action, choice.probability, reward.astype(np.float64), none, ~starts,
        observation, allowed, np.cumsum(starts), np.arange(rows, dtype=np.float64), np.empty((rows, 0)),
    )  # fmt: skip
    return target, batch


def judged(target: Looked, batch: Batch) -> dict[str, Estimate]:
    """Four estimators with intervals, one distribution and one reward model between them."""
    policy, model = Memory(target), Remembered()
    judges = [find("ips")(), find("snips")(), find("dm")(model=model), find("dr")(model=model)]  # type: ignore[call-arg]  # both have the field
    return {each.name: each(policy, batch) for each in judges}


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def traced(work: Callable[[], object]) -> float:
    """The most memory that arrays held at once during the work, in MiB."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def speed(rows: int, whole: bool) -> list[Row]:
    target, batch = problem(rows)
    judged(target, batch.take(np.arange(len(batch)) < 20_000))  # compiles
    best = min(timed(lambda: judged(target, batch)) for _ in range(5))
    own = min(timed(lambda: find("dm")()(Memory(target), batch)) for _ in range(2))
    peak = traced(lambda: judged(target, batch))
    refused = [f"{name}: {each.refused}" for name, each in judged(target, batch).items() if each.refused]
    if refused:
        raise SystemExit("\n".join(refused))
    goals = (f"<= {SECONDS:g} s", f"<= {MEBIBYTES:g} MiB") if whole else ("", "")
    name = f"{rows:,} decisions x {ACTIONS} actions: ips, snips, dm, dr with intervals"
    return [
        Row(name, best, "s", goals[0], best <= SECONDS if whole else None),
        Row(f"{name}, most memory at once", peak, "MiB", goals[1], peak <= MEBIBYTES if whole else None),
        Row(f"{rows:,} decisions x {ACTIONS} actions: dm with its own regression and interval", own, "s"),
    ]


def measure(quick: bool) -> list[Row]:
    return [*speed(20_000 if quick else 1_000_000, not quick), *session_values.measure(quick)]


if __name__ == "__main__":
    main("ope", measure)
