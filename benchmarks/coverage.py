"""How often 95 % intervals hold the truth over many simulated logs, and how wide and how fast they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from benchmarks.report import Row, main
from bondhu.equations import regression
from bondhu.equations.intervals import bootstrap, empirical_bernstein
from bondhu.evaluate import find, names
from bondhu.policies.by_value import ByValue
from bondhu.types import Array, Batch, Booleans, Estimate, Floats

ROWS, ACTIONS, SIZES = 1_000, 6, (5, 3, 4)
FOLLOWING = 0.6  # chance that the next decision belongs to the same user, in the log with sessions


def softmax(values: Floats, allowed: Booleans) -> Floats:
    chances = np.where(allowed, np.exp(values), 0.0)
    return np.asarray(chances / chances.sum(1, keepdims=True))


@dataclass(frozen=True)
class World:
    """Rewards are clicks whose chances depend on three codes and the action; `liking` adds what a user brings along."""

    name: str
    effects: Floats  # [codes, A] logits by code, summed over the columns
    base: float  # logit
    liking: float = 0.0  # standard deviation of a user's own logit
    greed: float = 1.0  # how much the logging policy favours what looks good to it

    def logits(self, observation: Array) -> Floats:
        shifts = np.concatenate([[0], np.cumsum(SIZES)[:-1]])
        return np.asarray(self.effects[observation + shifts].sum(1))

    def logging(self) -> ByValue:
        return ByValue(lambda seen: -self.greed * self.logits(seen), softmax)

    def target(self) -> ByValue:
        return ByValue(self.logits, softmax)

    def chances(self, observation: Array, own: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(self.base + self.logits(observation) + own[:, None]))))

    def log(self, rng: np.random.Generator, rows: int) -> Batch:
        """Decisions of the logging policy; users stay for several decisions where they bring something along."""
        starts = rng.random(rows) >= (FOLLOWING if self.liking else 0.0)
        starts[0] = True
        session = np.cumsum(starts) - 1
        own = rng.normal(0, self.liking, rows)[session]
        observation = np.stack([rng.integers(0, size, rows) for size in SIZES], axis=1)
        allowed = np.ones((rows, ACTIONS), bool)
        choice = self.logging().sample(observation, allowed, rng)
        reward = rng.random(rows) < self.chances(observation, own)[np.arange(rows), choice.action]
        return Batch(
            observation,
            allowed,
            choice.action,
            choice.probability,
            reward.astype(np.float64),
            np.zeros(rows),
            np.zeros(rows, bool),
            np.zeros_like(observation),
            allowed,
            session,
            np.arange(rows, dtype=np.float64),
            np.zeros((rows, 0)),
        )

    def truth(self) -> float:
        """Reward of the target policy over every context, and over users by Gauss-Hermite quadrature."""
        observation = np.stack([each.ravel() for each in np.meshgrid(*map(np.arange, SIZES))], axis=1)
        target = self.target().distribution(observation, np.ones((len(observation), ACTIONS), bool))
        nodes, weights = np.polynomial.hermite_e.hermegauss(41)
        rewards = [
            weight * (target * self.chances(observation, np.full(len(observation), self.liking * node))).sum(1).mean()
            for node, weight in zip(nodes, weights, strict=True)
        ]
        return float(sum(rewards) / weights.sum())


def worlds() -> list[World]:
    effects = np.random.default_rng(0).normal(0, 0.4, (sum(SIZES), ACTIONS))
    return [
        World("even", effects, -0.3, greed=0.0),
        World("skewed", effects, -0.3, greed=0.5),
        World("rare clicks", effects, -3.5, greed=0.0),
        World("sessions", effects, -0.3, liking=2.0, greed=0.0),
    ]


def study(world: World, logs: int) -> list[Row]:
    """Coverage of every estimator's interval over `logs` logs of ROWS decisions."""
    truth, target = world.truth(), world.target()
    found: dict[str, list[Estimate]] = {name: [] for name in names()}
    for seed in range(logs):
        batch = world.log(np.random.default_rng([1, seed]), ROWS)
        for name in names():
            found[name].append(find(name)()(target, batch))
    rows = []
    for name, estimates in found.items():
        kept = [each for each in estimates if each.refused is None]
        covered = float(np.mean([each.low <= truth <= each.high for each in kept]))
        width = float(np.mean([each.high - each.low for each in kept]))
        proof = name != "dm"  # a model's bias is in no interval
        rows.append(
            Row(
                f"{world.name}: {name} (95 %), mean width {width:.4f}, refused {len(estimates) - len(kept)}",
                100 * covered,
                "% covered",
                "91 to 99" if proof else "",
                0.91 <= covered <= 0.99 if proof else None,
            )
        )
    return rows


def intervals(world: World, logs: int) -> list[Row]:
    """The other two kinds of interval, on the terms of IPS."""
    truth, judge, target = world.truth(), find("ips")(), world.target()
    covered, widths = np.zeros((2, logs)), np.zeros((2, logs))
    for seed in range(logs):
        rng = np.random.default_rng([2, seed])
        batch = world.log(rng, ROWS)
        terms = judge(target, batch).terms
        largest = float((target.distribution(batch.observation, batch.allowed) * ACTIONS).max())  # uniform logging
        kinds = (bootstrap(terms, 0.95, rng, resamples=500), empirical_bernstein(terms, 0.95, (0.0, largest)))
        for which, (low, high) in enumerate(kinds):
            covered[which, seed], widths[which, seed] = low <= truth <= high, high - low
    return [
        Row(f"{world.name}: ips, {name}, mean width {width:.4f}", 100 * share, "% covered", goal, bool(share >= least))
        for name, share, width, goal, least in zip(
            ("bootstrap", "empirical Bernstein"),
            covered.mean(1),
            widths.mean(1),
            (">= 91", ">= 95"),
            (0.91, 0.95),
            strict=True,
        )
    ]


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def speed(rows: int) -> list[Row]:
    """Cross-fitted rewards of 80 actions from 100 indicator features."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 20, (rows, 5))
    action, reward, fold = rng.integers(0, 80, rows), rng.random(rows), np.arange(rows) % regression.FOLDS

    def work() -> Floats:
        design = regression.features(codes, 80)
        return regression.cross_fit(design, regression.by_fold(design, action, reward, fold, 80), fold)

    return [Row(f"rewards [{rows:,} x 80] cross-fitted from 100 features", min(timed(work) for _ in range(3)), "s")]


def measure(quick: bool) -> list[Row]:
    logs = 200 if quick else 1_000
    rows = [row for world in worlds() for row in study(world, logs)]
    return [*rows, *intervals(worlds()[0], logs), *speed(10_000 if quick else 200_000)]


if __name__ == "__main__":
    main("coverage", measure)
