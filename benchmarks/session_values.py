"""How close estimators of whole sessions come to the exact value of a policy, and how often their intervals hold it.

ICU-Sepsis (Choudhary et al. 2024): admissions are logged by clinicians who draw 30 % of their treatments at random, and
other policies are judged from that log alone; their exact survival is computed from the model. It needs the folder that
BONDHU_DATA names; without it its rows are left out. Seconds are those of a random problem with sessions of about ten
decisions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.report import Row, main
from bondhu import evaluate, screen
from bondhu.domains.probes.markov import Markov
from bondhu.equations.intervals import t_quantile
from bondhu.policies.drawing import draw, evenly
from bondhu.types import Array, Batch, Booleans, Choice, Floats, Policy, Uniforms
from examples.icu_sepsis.model import DEATH, Model, Table

SEEDS = range(100, 110)
ADMISSIONS, FEW = 20_000, 2_000  # in one log, of the full run and of the quick one
SESSIONS = 100_000  # for the seconds
ON_PRODUCTS = ("per_decision", "weighted_per_decision", "session_dr", "weighted_dr", "mrdr", "magic")
ON_VISITS = ("fqe", "dual_dice", "marginalised")
CLOSE = 0.02  # survival: mean absolute error that fitted Q evaluation is to stay within


@dataclass(frozen=True)
class Question:
    """A policy to be judged from the log, and by what."""

    name: str
    policy: Floats  # [S, A]
    estimators: Sequence[str]


def measure(quick: bool) -> list[Row]:
    seeds = SEEDS[:2] if quick else SEEDS
    return [*sepsis(seeds, quick), *seconds(SESSIONS // 100 if quick else SESSIONS)]


# ----------------------------------------------------------------------------------------------------------- ICU-Sepsis


def sepsis(seeds: Sequence[int], quick: bool) -> list[Row]:
    """One row for each estimator and policy."""
    try:
        model = Model.load()
    except FileNotFoundError as missing:
        screen.console.print(f"No rows of ICU-Sepsis: {missing}")
        return []
    ends = np.arange(len(model.start)) >= DEATH
    ward = Markov(model.transition, model.reward, model.start, ends, model.admissible, limit=10_000, factor=1.0)
    even = evenly(model.admissible)
    treated = model.expert.sum(axis=1, keepdims=True) > 0
    log_policy = np.where(treated, 0.7 * model.expert + 0.3 * even, even)
    admissions = FEW if quick else ADMISSIONS
    with screen.console.status("Logging admissions …"):
        logs = [ward.play(Table(log_policy), admissions, np.random.default_rng(seed)) for seed in seeds]
    asked = questions(model, log_policy, ward)
    return [row for question in (asked[:1] if quick else asked) for row in answers(question, logs, model, admissions)]


def questions(model: Model, log_policy: Floats, ward: Markov) -> list[Question]:
    """From policies near the log to the best there is, of whose ways the log holds hardly any."""
    best = np.eye(25)[ward.optimum(1.0).argmax(axis=1)]
    nearly = 0.8 * log_policy + 0.2 * best
    return [
        Question("log moved 20 % towards the optimum", nearly, (*ON_PRODUCTS, *ON_VISITS)),
        Question("clinicians alone", np.where(model.expert.any(1, keepdims=True), model.expert, log_policy), ON_VISITS),
        Question("optimum", best, ("per_decision", *ON_VISITS)),
    ]


def answers(question: Question, logs: Sequence[Batch], model: Model, admissions: int) -> Iterator[Row]:
    """Mean absolute error and how often the interval holds the exact value, over logs."""
    exact = model.value(question.policy)
    for name in question.estimators:
        judge: Any = evaluate.find(name)
        with screen.console.status(f"{question.name}: {name} …"):
            found = [judge()(Table(question.policy), log) for log in logs]
        answered = [each for each in found if each.refused is None]
        label = f"ICU-Sepsis, {admissions:,} admissions, {question.name} (exactly {exact:.4f}): {name}"
        if len(answered) < len(found):
            share = 100 * (1 - len(answered) / len(found))
            why = next(each.refused for each in found if each.refused is not None)
            yield Row(f"{label}, refused: {why.split(':')[0]}", share, "% of logs")
        if 2 * len(answered) > len(found) and len(answered) > 1:
            ends = np.array([(each.value, each.low, each.high) for each in answered])
            yield from figures(label, ends - exact, name)


def figures(label: str, errors: Floats, name: str) -> Iterator[Row]:
    """`errors [logs, 3]`: of the value and of both ends of its interval."""
    size = np.abs(errors[:, 0])
    half = float(t_quantile(0.975, len(size) - 1) * size.std(ddof=1) / len(size) ** 0.5)
    width, seeds = float((errors[:, 2] - errors[:, 1]).mean()) / 2, len(size)
    small = bool(size.mean() <= CLOSE) if name == "fqe" else None
    told = f"{label}, mean |error| ± {half:.2g} ({seeds} logs, bias {errors[:, 0].mean():+.2g}, interval ± {width:.2g})"
    yield Row(told, float(size.mean()), "survival", f"<= {CLOSE:g}" if name == "fqe" else "", small)
    held = int(((errors[:, 1] <= 0) & (errors[:, 2] >= 0)).sum())
    least = least_held(seeds)
    yield Row(f"{label}, intervals that hold it", held, f"of {seeds}", f">= {least}", held >= least)


def least_held(logs: int) -> int:
    """What intervals of 95 % hold in all but one in a hundred such studies."""
    held = np.random.default_rng(0).binomial(logs, 0.95, 100_000)
    return int(np.quantile(held, 0.01))


# -------------------------------------------------------------------------------------------------------------- seconds


def seconds(sessions: int) -> Iterator[Row]:
    """Each estimator on one log: of codes, and of the same decisions seen as floats."""
    rng = np.random.default_rng(SEEDS[0])
    problem, policy = walk(rng)
    log = problem.play(problem.uniform, sessions, rng)
    floats = replace(
        log, observation=seen_as_floats(log.observation), next_observation=seen_as_floats(log.next_observation)
    )
    for name in evaluate.names("session"):
        for kind, batch, limit in (("codes", log, 3.0), ("floats", floats, 10.0)):
            judge: Any = evaluate.find(name)
            with screen.console.status(f"{name}, {kind} …"):
                begin = time.perf_counter()
                judge(discount=0.95)(policy, batch)
                took = time.perf_counter() - begin
            label = f"{name}, {sessions:,} sessions, {len(batch):,} decisions, 8 actions, {kind}"
            yield Row(label, took, "s", f"<= {limit:g}", took <= limit)


def walk(rng: np.random.Generator) -> tuple[Markov, Policy]:
    """50 states, 8 actions, sessions of ten decisions or so; and a policy near the uniform one."""
    states, actions = 50, 8
    transition = rng.dirichlet(np.full(states, 0.3), size=(states, actions)) * 0.9
    transition[:, :, -1] += 0.1
    start = np.append(np.full(states - 1, 1 / (states - 1)), 0.0)
    ends = np.arange(states) == states - 1
    reward, allowed = rng.random((states, actions, states)), np.ones((states, actions), np.bool_)
    near = 0.9 / actions + 0.1 * rng.dirichlet(np.ones(actions), states)
    return Markov(transition, reward, start, ends, allowed), ByFirst(near)


@dataclass(frozen=True)
class ByFirst:
    """A table `[S, A]` of chances that reads the state in the first column, code or float."""

    table: Floats

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:  # noqa: ARG002  all are allowed
        return self.table[observation[:, 0].astype(np.int64)]

    def probability(self, observation: Array, allowed: Booleans, action: Array) -> Floats:
        return self.distribution(observation, allowed)[np.arange(len(action)), action]

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        return draw(self.distribution(observation, allowed), rng)


def seen_as_floats(codes: Array) -> Floats:
    """The number of the state and five functions of it."""
    number = codes.astype(np.float64)
    return np.hstack([number, *(np.sin(number * (k + 1)) for k in range(5))])


if __name__ == "__main__":
    main("session_values", measure)
