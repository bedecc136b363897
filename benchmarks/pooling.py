"""What a new user's first decisions cost, with and without learning from other people: regret over paired seeds."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Row, main
from bondhu.domains.probes.people import differing, tastes
from bondhu.domains.recommendation.newcomers import arrive, first_steps, history, spec
from bondhu.domains.recommendation.simulator import ACTIONS, Population
from bondhu.equations.intervals import student
from bondhu.learners import build
from bondhu.types import Array, Batch, Floats

BEFORE, DECISIONS = 500, 20  # people who were there before, and what each of them decided, at random
NEW = 200  # people who arrive, side by side
FIRST = 10  # decisions over which the issue asks for regret
TUNING = (9_001, 9_002)  # seeds on which every peer's settings are chosen; no result uses them
POPULATION = Population()
LEVELS = np.stack([(np.arange(ACTIONS) // size % 3) - 1.0 for size in (9, 3, 1)])  # energy, diversity, novelty


@dataclass(frozen=True)
class World:
    """How people differ beyond their traits, and how long the new ones are followed."""

    name: str
    own: Floats  # [27, 27] covariance
    steps: int


@dataclass(frozen=True)
class Peer:
    """A way of pooling: settings of one and the same learner, and those of them that are chosen for it."""

    name: str
    settings: Mapping[str, Any]
    spreads: tuple[float, ...] = ()
    scales: tuple[float, ...] = (0.0, 0.1, 0.25)  # of Thompson sampling; 0 is greedy

    def choices(self) -> Iterator[dict[str, Any]]:
        for scale, spread in product(self.scales, self.spreads or (None,)):
            exploration = {"name": "thompson", "scale": scale}
            yield {**self.settings, "exploration": exploration, **({} if spread is None else {"spread": spread})}


ALONE = Peer("no pooling", {"shared": False, "adaptive": False, "width": 8}, (0.05, 0.2, 0.5))
MEANS = Peer("no pooling but of action means", {"penalty": 1e9, "pairs": 0.0, "adaptive": False}, (0.05, 0.2, 0.5))
COMPLETE = Peer("complete pooling", {"spread": 0.0})
PARTIAL = Peer("partial pooling", {})
SHIPPED = Peer("partial pooling, as shipped", {}, scales=(0.25,))
PEERS = (ALONE, MEANS, COMPLETE, PARTIAL, SHIPPED)


def worlds() -> list[World]:
    """As simulated, where people of equal traits want the same; and with tastes of their own in each part of an action,
    of which traits tell nothing."""
    alike, differ = np.zeros((ACTIONS, ACTIONS)), tastes(0.4 * LEVELS, 0.08)
    return [World("simulator", alike, FIRST), World("simulator with tastes", differ, 2 * FIRST)]


def regrets(world: World, settings: Mapping[str, Any], seed: int, new: int = NEW) -> Floats:
    """Mean regret of each of the first decisions: `[steps]`. People and history depend on the seed alone."""
    rng = np.random.default_rng(seed)
    before = arrive(POPULATION, BEFORE, world.own, 1, rng)
    log = joined(history(POPULATION, before, DECISIONS, rng))
    people = arrive(POPULATION, new, world.own, BEFORE + 1, rng)
    learner = build("bandit.pooled", settings)
    state, _ = learner.update(learner.init(spec(BEFORE + new), rng), log, rng)
    return first_steps(POPULATION, people, learner, state, world.steps, np.random.default_rng([seed, 1]))


def joined(batches: list[Batch]) -> Batch:
    names = ("observation", "allowed", "action", "probability", "reward")
    return Batch.single(*(np.concatenate([getattr(each, name) for each in batches]) for name in names))


def chosen(world: World, peer: Peer, tuning: tuple[int, ...]) -> dict[str, Any]:
    """The settings with the least regret on the seeds for tuning; the first ones without such seeds."""
    choices = list(peer.choices())
    if len(choices) == 1 or not tuning:
        return choices[0]
    totals = [sum(regrets(world, each, seed)[:FIRST].sum() for seed in tuning) for each in choices]
    return choices[int(np.argmin(totals))]


def study(world: World, seeds: int, tuning: tuple[int, ...], new: int) -> tuple[list[Row], dict[str, Floats]]:
    """Rows, and regret by peer, `[seeds, steps]`."""
    settings = {peer.name: chosen(world, peer, tuning) for peer in PEERS}
    curves = {
        name: np.array([regrets(world, each, seed, new) for seed in range(seeds)]) for name, each in settings.items()
    }
    rows = []
    for steps in range(FIRST, world.steps + 1, FIRST):
        where = f"{world.name}, first {steps}"
        totals = {name: curve[:, :steps].sum(axis=1) for name, curve in curves.items()}
        rows += [_regret(where, name, total, settings[name]) for name, total in totals.items()]
        for name in (PARTIAL.name, SHIPPED.name):
            rows += [_less(where, name, other, totals) for other in (ALONE.name, MEANS.name, COMPLETE.name)]
    return rows, curves


def _regret(where: str, name: str, total: Floats, settings: Mapping[str, Any]) -> Row:
    low, high = student(total, 0.95)
    told = f"scale {settings['exploration']['scale']:g}"
    told += f", spread {settings['spread']:g}" if settings.get("spread") else ""
    return Row(f"{where}: {name} ({told}), 95 % {low:.3f} to {high:.3f}", float(total.mean()), "regret")


def _less(where: str, name: str, other: str, totals: Mapping[str, Floats]) -> Row:
    less = 100.0 * (1.0 - totals[name] / totals[other])
    low, high = student(less, 0.95)
    goal, holds = "", None
    if other == ALONE.name:
        goal, holds = ">= 25", low >= 25.0
    return Row(
        f"{where}: {name} against {other}, 95 % {low:.1f} to {high:.1f}", float(less.mean()), "% less", goal, holds
    )


def learned_covariance(people: int, seeds: int) -> Row:
    """How far the learned covariance is from the true one, which is known: 8 actions, 20 decisions a person."""
    directions = np.array([np.linspace(0.5, -0.5, 8), np.cos(np.arange(8)) / 3])
    truth = tastes(directions, 0.1)
    errors = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, people])
        world = differing(people, rng.normal(0.0, 0.4, (3, 2, 8)), truth, rng)
        learner = build("bandit.pooled", {})
        state = learner.init(world.spec, rng)
        state, _ = learner.update(state, world.play(world.uniform, people * 20, rng), rng)
        error = learner.prior(state).covariance - truth  # type: ignore[attr-defined]  # of this learner alone
        errors.append(100.0 * np.linalg.norm(error) / np.linalg.norm(truth))
    low, high = student(np.array(errors), 0.95)
    return Row(
        f"covariance learned from {people:,} people, 95 % {low:.1f} to {high:.1f}", float(np.mean(errors)), "% off"
    )


def measure(quick: bool, picture: Path | None = None) -> list[Row]:
    seeds, tuning, new = (2, (), 20) if quick else (20, TUNING, NEW)
    rows, curves = [], {}
    for world in worlds():
        found, curves[world.name] = study(world, seeds, tuning, new)
        rows += found
    if picture:
        draw(curves, picture)
    return [*rows, *(learned_covariance(people, 2 if quick else 20) for people in (100, 500, 2_500))]


COLOURS = {ALONE.name: "#8a8f98", MEANS.name: "#c07830", COMPLETE.name: "#2e8b57", PARTIAL.name: "#1769aa"}


def draw(curves: Mapping[str, Mapping[str, Array]], path: Path) -> None:
    """Regret of each decision in each world, with 95 % intervals of the mean over seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, len(curves), figsize=(12, 4.8), layout="constrained", sharey=True)
        for panel, (world, peers) in zip(axes, curves.items(), strict=True):
            for name, colour in COLOURS.items():
                curve = peers[name]
                steps = np.arange(1, curve.shape[1] + 1)
                low, high = np.array([student(column, 0.95) for column in curve.T]).T
                panel.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
                wide = 5.0 if name == COMPLETE.name else 2.0  # where both pool the same, both are to be seen
                panel.plot(steps, curve.mean(axis=0), color=colour, linewidth=wide, label=name)
            panel.set_title(world, loc="left", fontweight="bold")
            panel.set_xlabel("decision of a new user")
            panel.set_xticks([1, *range(5, curve.shape[1] + 1, 5)])
        axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel("mean regret (exact; band: 95 % interval over seeds)")
        axes[-1].legend(frameon=False, loc="upper right")
        figure.savefig(path, dpi=130)
        plt.close(figure)


if __name__ == "__main__":
    extra = ArgumentParser(add_help=False)
    extra.add_argument("--picture", type=Path, metavar="FILE")
    options, sys.argv[1:] = extra.parse_known_args()
    main("pooling", partial(measure, picture=options.picture))
