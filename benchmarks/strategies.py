"""Which strategy or model to answer with, learned from three logs, and what is known of its worth before it is tried.

What is learned from four fifths of the people is judged on the other fifth, in turn, so that nobody is judged by a
policy that saw them; a fixed choice is judged on the same rows. Values are doubly robust estimates with 95 % intervals,
people drawn anew; differences are taken row by row; the gate of the package gives its verdict over the best fixed
choice of the other people. A refusal is a result: it says what the log cannot answer.

And the search for the best choice with a bound on the error: how often it is wrong, and what it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from benchmarks.report import Row, main, progress
from benchmarks.strategies_data import FOLDS, TURNS, Choices, appeals, programmers, there
from benchmarks.strategy import nets
from benchmarks.strategy_table import ARMS, Outcomes, load
from bondhu.equations.bernoulli import divergence
from bondhu.equations.best_arm import allocation
from bondhu.equations.intervals import skewness_corrected
from bondhu.evaluate import find as estimator
from bondhu.evaluate.gate import GateRules, Parts, difference, gate
from bondhu.learners import build
from bondhu.policies.by_value import ByValue
from bondhu.policies.drawing import drawn, pick
from bondhu.policies.greedy import greedy
from bondhu.types import Array, Batch, Booleans, Estimate, Floats, Integers, Learner, Policy, Spec

LEARNER = "bandit.linear_thompson", {"ridge": 100.0}
WORTH = 15.0  # cents that a repaired bug saves
RULES = GateRules(minimum_average_reward=-1.0)  # what a decision earns on average is no reason here
PROBLEMS = {"0.9, 0.6, 0.5, 0.4": (0.9, 0.6, 0.5, 0.4), "0.6, 0.4, 0.3, 0.2": (0.6, 0.4, 0.3, 0.2)}
STEP = 10  # decisions between two looks


def measure(quick: bool) -> Iterable[Row]:
    if there("realhumaneval"):
        yield from decided(programmers())
    if there("persuasion_for_good"):
        yield from dialogues(estimated(appeals()))
    table = load()
    if table is not None:
        yield from bugs(table)
    yield from searched(quick)


# ------------------------------------------------------------------------------------------------------------ policies


@dataclass(frozen=True)
class ByFold:
    """Each row has the policy that never saw its person: the last column of an observation is the fold."""

    policies: Sequence[Policy]

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        shares, fold = np.zeros(allowed.shape), observation[:, -1].astype(np.int64)
        for number, policy in enumerate(self.policies):
            rows = fold == number
            shares[rows] = policy.distribution(observation[rows, :-1], allowed[rows])
        return shares

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return pick(self.distribution(observation, allowed), action)

    sample = drawn


def always(arm: int, arms: int) -> Policy:
    """One arm; where it is not there, the first that is."""
    values = -np.arange(arms, dtype=np.float64)
    values[arm] = 1.0
    return ByValue(lambda observation: np.broadcast_to(values, (len(observation), arms)), greedy)


def taught(log: Choices, name: str, given: dict[str, Any], *, explore: bool = False) -> Policy:
    """By fold, what a learner has learned from the people of the others."""
    policies = []
    for number in range(FOLDS):
        rng, seen = np.random.default_rng(number), without_fold(log.batch.take(log.fold != number))
        learner: Learner[Any] = build(name, given)
        spec = Spec(Box(-np.inf, np.inf, seen.observation.shape[1:]), Discrete(len(log.arms)))
        state, _ = learner.update(learner.init(spec, rng), seen, rng)
        policies.append(learner.policy(state, explore=explore))
    return ByFold(policies)


def best_fixed(log: Choices) -> Policy:
    """By fold, the arm whose weighted mean reward is highest among the people of the others."""
    policies = []
    for number in range(FOLDS):
        seen = log.batch.take(log.fold != number)
        means = [estimator("snips")()(always(arm, len(log.arms)), seen).value for arm in range(len(log.arms))]
        policies.append(always(int(np.nanargmax(means)), len(log.arms)))
    return ByFold(policies)


def without_fold(batch: Batch) -> Batch:
    return replace(batch, observation=batch.observation[:, :-1], next_observation=batch.next_observation[:, :-1])


# ------------------------------------------------------------------------------------------------------------- judging


def decided(log: Choices, what: str = "", truth: Floats | None = None) -> Iterable[Row]:
    """Every arm, the best of them as the other people tell, and what was learned; `truth [N, A]` where it is known."""
    what, people = f"{log.name}{what}", f"{len(np.unique(log.person))} {log.people}"
    policies = {f"always {name}": always(arm, len(log.arms)) for arm, name in enumerate(log.arms)}
    policies |= {"best fixed": best_fixed(log), "learned": taught(log, *LEARNER)}
    found = {name: judged(log, policy) for name, policy in policies.items()}
    true = {name: worth(policy, log, truth) for name, policy in policies.items()}
    for name, estimate in found.items():
        yield valued(f"{what}: {name}", estimate, true[name])
    learned, live = found["learned"], found["best fixed"]
    for name, estimate in found.items():
        if name != "learned" and not estimate.refused and not learned.refused:
            gap = None if truth is None else (true["learned"] or 0.0) - (true[name] or 0.0)
            yield beside(f"{what}, {people}: learned less {name}", log, (learned, estimate), gap)
    facts = {"interactions": float(len(log.batch)), "exploration": 0.0}
    verdict = gate(learned, live, facts, RULES, Parts(difference(learned, live, session=log.person)))
    yield Row(f"{what}: the gate says {verdict.decision}: {verdict.reasons[0]}", len(log.batch), "decisions")


def judged(log: Choices, policy: Policy) -> Estimate:
    """Doubly robust, people together."""
    found = estimator("dr")()(policy, log.batch)
    if found.refused:
        return found
    low, high = skewness_corrected(found.terms, 0.95, log.person)
    return replace(found, low=low, high=high)


def worth(policy: Policy, log: Choices, truth: Floats | None) -> float | None:
    if truth is None:
        return None
    shares = policy.distribution(log.batch.observation, log.batch.allowed)
    return float((shares * np.where(shares > 0.0, truth, 0.0)).sum(axis=1).mean())


def valued(what: str, estimate: Estimate, truth: float | None) -> Row:
    if estimate.refused:
        known = float(np.nan_to_num(estimate.effective_samples))
        return Row(f"{what}: refused: {estimate.refused}", known, "effective rows")
    name = f"{what} [{estimate.low:.3f}, {estimate.high:.3f}], {estimate.effective_samples:.0f} effective rows"
    if truth is None:
        return Row(name, estimate.value, "reward")
    return Row(
        name, estimate.value, "reward", "interval holds it", estimate.low <= truth <= estimate.high, "truth", truth
    )


def beside(what: str, log: Choices, pair: tuple[Estimate, Estimate], truth: float | None) -> Row:
    """The first of two less the second, row by row, people together."""
    found = difference(*pair, session=log.person)
    name, known = f"{what} [{found.low:+.3f}, {found.high:+.3f}]", "" if truth is None else "truth"
    return Row(name, found.value, "reward", "above 0, surely", found.low > 0, known, truth)


# ------------------------------------------------------------------------------------------------------ the three logs


def estimated(log: Choices) -> Choices:
    """The log with probabilities that behaviour cloning gives to what was done, learned from the other people."""
    done = replace(log, batch=replace(log.batch, reward=np.ones(len(log.batch))))
    policy = taught(done, "imitation.behaviour_cloning", {"hidden": (), "passes": 30}, explore=True)
    chance = policy.probability(log.batch.observation, log.batch.allowed, log.batch.action)
    return replace(log, batch=replace(log.batch, probability=np.clip(chance, 0.01, 1.0)))


def dialogues(log: Choices) -> Iterable[Row]:
    """The first appeal by itself, and whole sessions of three."""
    first = np.arange(len(log.batch)) % len(TURNS) == 0
    outcome = log.batch.reward.reshape(-1, len(TURNS)).sum(axis=1)
    seen = log.batch.take(first)
    opening = Batch.single(seen.observation, seen.allowed, seen.action, seen.probability, outcome)
    yield from decided(replace(log, batch=opening, person=log.person[first]), ", the first appeal")
    learned = taught(replace(log, batch=replace(log.batch, reward=np.repeat(outcome, len(TURNS)))), *LEARNER)
    policies = {"learned": learned} | {
        f"always {name}": always(arm, len(log.arms)) for arm, name in enumerate(log.arms)
    }
    for name, policy in policies.items():
        for told in ("weighted_dr", "fqe"):
            found = estimator(told)()(policy, log.batch)
            yield valued(f"{log.name}, three appeals, {told}: {name}", found, None)


def bugs(table: Outcomes) -> Iterable[Row]:
    """Which model to ask to repair a bug, and how, from logs with known chances: each bug tried once, or ten times."""
    values = nets(table, WORTH) / WORTH
    weight = table.allowed * np.linspace(1.0, 2.0, len(ARMS))
    chances = weight / weight.sum(axis=1, keepdims=True)
    for times in (1, 10):
        rng, rows = np.random.default_rng(0), np.tile(np.arange(len(chances)), times)
        action = (chances[rows].cumsum(axis=1) > rng.random((len(rows), 1))).argmax(axis=1)
        observation = np.hstack([table.context, table.fold[:, None]])[rows]
        batch = Batch.single(observation, table.allowed[rows], action, chances[rows, action], values[rows, action])
        log = Choices("debugbench", tuple("/".join(arm) for arm in ARMS), batch, table.problem[rows], "problems")
        yield from decided(log, f", a bug worth {WORTH:g} cents, log of {len(rows):,}", values[rows])


# -------------------------------------------------------------------------------------------------------- the best arm


def searched(quick: bool) -> Iterable[Row]:
    """How often `bandit.best_arm` is wrong and how many tries it takes, beside even shares and what no search beats."""
    runs = 500 if quick else 1_000
    problems = list(PROBLEMS.items())[: 1 if quick else None]
    for name, chances in progress(problems, "the best arm"):
        for risk in (0.1,) if quick else (0.1, 0.01):
            means = np.array(chances)
            _, hardness = allocation(means, np.ones(len(means), np.bool_))
            what, least = f"best of {name}, risk {risk:g}", hardness * divergence(risk, 1.0 - risk)
            wrong, tries = runs_of(means, risk, runs, evenly=False)
            yield Row(f"{what}: wrong, of {runs:,} runs", wrong, "of runs", f"<= {risk:g}", wrong <= risk)
            yield Row(f"{what}: tries; no search needs fewer than the peer value", tries, "tries", "", None,
                      "lower bound", least)  # fmt: skip
            wrong, even = runs_of(means, risk, runs, evenly=True)
            less = 100 * (1 - tries / even)
            yield Row(f"{what}: tries less than with even shares, which take {even:,.0f}", less, "%",
                      "> 0", tries < even)  # fmt: skip


def runs_of(means: Floats, risk: float, runs: int, *, evenly: bool) -> tuple[float, float]:
    """Share of runs that settled on another arm, and the mean tries of a run; each is a segment of one table."""
    rng, tries = np.random.default_rng(0), np.zeros(runs)
    learner: Learner[Any] = build("bandit.best_arm", {"risk": risk})
    state = learner.init(Spec(MultiDiscrete([runs]), Discrete(len(means))), rng)
    going = np.arange(runs)
    while len(going):
        rows = np.repeat(going, STEP)[:, None]
        allowed = np.ones((len(rows), len(means)), np.bool_)
        choice = learner.policy(state, explore=True).sample(rows, allowed, rng)
        action = rng.integers(len(means), size=len(rows)) if evenly else choice.action
        reward = (rng.random(len(rows)) < means[action]).astype(np.float64)
        state, _ = learner.update(state, Batch.single(rows, allowed, action, choice.probability, reward), rng)
        tries[going] += STEP
        going = np.flatnonzero(state.best < 0)
    return float((state.best != means.argmax()).mean()), float(tries.mean())


if __name__ == "__main__":
    main("strategies", measure)
