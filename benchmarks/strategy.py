"""Which model to ask and how, learned from what came of asking: real judged repairs (`strategy_table`) at real prices.

A learner meets the bugs of four fifths of the problems one after another, in another order for each seed, and is shown
only what its own choice came to. It is then judged, without exploring, on the other fifth, beside the best fixed choice
in hindsight of the same four fifths, acting at random, and who knows every outcome; seeds take the fifths in turn, so
that every bug is judged equally often. What counts is cents: what a repaired bug is worth, less what was paid.
Intervals: 95 %, problems drawn anew 2,000 times, all bugs of a problem together.

Several attempts: an agent of the package (`agents.episodes`) tests what it was given and may ask again; every attempt
starts from the bug as it was found, and the same question has the same answer. One run of the tests costs 0.01 cents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from benchmarks.report import Row, main, progress
from benchmarks.strategy_table import ARMS, FOLDS, PRICES, Outcomes, load
from bondhu.agents.budget import Use
from bondhu.agents.conversation import Ask
from bondhu.agents.episodes import begun, play, practised
from bondhu.agents.proposing import Proposal, Proposed
from bondhu.agents.strategy import Setup, Worth, moves
from bondhu.domains.coding.tasks import Task
from bondhu.evaluate import find as estimator
from bondhu.learners import build
from bondhu.policies.uniform import Uniform
from bondhu.types import Batch, Floats, Integers, Learner, Policy, Spec

WORTHS = 5.0, 15.0, 50.0  # cents that a repaired bug saves
PASSES, EVERY = 3, 16  # over the bugs that are learned from; decisions between two updates
RUN = 0.01  # cents of running the tests once
LEARNERS: list[tuple[str, dict[str, Any]]] = [
    ("bandit.lin_ucb", {}),
    ("bandit.linear_thompson", {}),
    ("bandit.logistic_thompson", {}),
    ("bandit.online_regression", {}),
    ("bandit.off_policy", {"method": "dr"}),
    ("deep.actor_critic", {"passes": 4}),
]
OFTEN = {"exploration": {"name": "epsilon_greedy", "epsilon": 0.2}}
AHEAD: list[tuple[str, dict[str, Any]]] = [
    ("tabular.q_learning", {"discount": 1.0, "learning_rate": 1.0, "step_power": 0.75, **OFTEN}),
    ("tabular.fitted_q", {"discount": 1.0, "sweeps": 30, **OFTEN}),
    ("bandit.linear_thompson", {}),
]
ESTIMATORS = "ips", "snips", "dr", "sndr", "switch_dr"


def measure(quick: bool) -> Iterable[Row]:
    table = load()
    if table is None:
        return
    seeds, worths = (FOLDS, WORTHS[1:2]) if quick else (2 * FOLDS, WORTHS)
    chosen = LEARNERS[1:4:2] if quick else LEARNERS
    yield from known(table)
    for worth in worths:
        yield from single(table, worth, chosen, seeds)
    if not quick:
        for what, other in (("nobody tells the kind of bug", table.without_kinds()),
                            ("only attempts with a verdict", table.verdicts_only())):  # fmt: skip
            yield from single(other, WORTHS[1], LEARNERS[1:2], seeds, f", {what}")
    for worth in worths:
        yield from several(table, worth, AHEAD[:1] if quick else AHEAD, seeds)
    yield from judged(table, WORTHS[1], 10 if quick else 200)


def known(table: Outcomes) -> Iterable[Row]:
    """What every arm comes to, wherever the table knows it."""
    yield Row("usable bugs", len(table.allowed), "bugs")
    yield Row("problems they are in", len(np.unique(table.problem)), "problems")
    for arm, (model, how) in enumerate(ARMS):
        rows = table.allowed[:, arm]
        where = f"{model}, {how}, {int(rows.sum()):,} bugs"
        yield Row(f"{where}: solved", 100 * float(table.solved[rows, arm].mean()), "%")
        yield Row(f"{where}: cost", float(table.cents[rows, arm].mean()), "cents")


# --------------------------------------------------------------------------------------------------------- what counts


@dataclass(frozen=True)
class Lived:
    """What came of a way of choosing on bugs that were held out, on average over the seeds."""

    solved: Floats  # [N] chance
    cents: Floats  # [N]

    def net(self, worth: float) -> Floats:
        """Cents: `[N]`."""
        return worth * self.solved - self.cents


Chosen = Callable[[Outcomes, Outcomes, int], Lived]  # bugs to learn from, bugs to be judged on, seed


def held_out(table: Outcomes, chosen: Chosen, seeds: int) -> Lived:
    """Every bug as it comes off with somebody who never saw its problem; folds in turn, one a seed."""
    solved, cents, times = np.zeros((3, len(table.fold)))
    for seed in range(seeds):
        rows = table.fold == seed % FOLDS
        lived = chosen(table.take(~rows), table.take(rows), seed)
        solved[rows] += lived.solved
        cents[rows] += lived.cents
        times[rows] += 1
    return Lived(solved / times, cents / times)


def resampled(values: Floats, problem: Integers, rng: np.random.Generator, times: int = 2_000) -> tuple[float, float]:
    """95 % of the means of `values` `[N]` over problems drawn anew, all bugs of a problem together."""
    problems = np.unique(problem, return_inverse=True)[1]
    sums, counts = np.bincount(problems, weights=values), np.bincount(problems)
    drawn = rng.integers(len(counts), size=(times, len(counts)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def beside(what: str, lived: Lived, fixed: tuple[Lived, Lived], problem: Integers, worth: float) -> Row:
    """Net cents of a bug against the best fixed choice, of the problems that were learned from and of these very bugs,
    with intervals of the differences; the row holds if the first is above 0."""
    gains = [lived.net(worth) - each.net(worth) for each in fixed]
    (low, high), other = (resampled(each, problem, np.random.default_rng(0)) for each in gains)
    row = plainly(what, lived, worth)
    gained = f"gain {gains[0].mean():+.2f} [{low:+.2f}, {high:+.2f}]"
    hindsight = f"on these very bugs {gains[1].mean():+.2f} [{other[0]:+.2f}, {other[1]:+.2f}]"
    peer = float(fixed[0].net(worth).mean())
    name = f"{row.name}; {gained}, {hindsight}"
    return replace(row, name=name, goal="gain above 0", holds=low > 0, peer="best fixed", peer_value=peer)


def plainly(what: str, lived: Lived, worth: float) -> Row:
    share, cents = 100 * float(lived.solved.mean()), float(lived.cents.mean())
    ratio = share / 100 / max(cents, 1e-9)
    return Row(f"{what}; {share:.1f} % solved for {cents:.2f} cents, {ratio:.2f} solved a cent",
               float(lived.net(worth).mean()), "cents a bug")  # fmt: skip


# -------------------------------------------------------------------------------------------------------- one attempt


def single(
    table: Outcomes, worth: float, learners: Sequence[tuple[str, dict[str, Any]]], seeds: int, beside_that: str = ""
) -> Iterable[Row]:
    """One attempt a bug: learners, the best order of preference, chance and hindsight."""
    what = f"one attempt, worth {worth:g} cents{beside_that}"
    fixed = held_out(table, lambda seen, new, _: of_shares(new, preferred(new, best_order(seen, worth))), FOLDS)
    yield plainly(f"{what}: best fixed order", fixed, worth)
    order = best_order(table, worth)
    told, very = "/".join(ARMS[order[0]]), of_shares(table, preferred(table, order))
    yield plainly(f"{what}: the order that is best on these very bugs, {told} first", very, worth)
    evenly = Uniform().distribution(table.context, table.allowed)
    yield plainly(f"{what}: at random", of_shares(table, evenly), worth)
    yield plainly(f"{what}: knows every outcome", of_shares(table, perfect(table, worth)), worth)
    for name, given in progress(learners, f"one attempt, {worth:g} cents"):
        lived = held_out(table, partial(chose, name, given, worth), seeds)
        yield beside(f"{what}: {name}", lived, (fixed, very), table.problem, worth)


def chose(name: str, given: dict[str, Any], worth: float, seen: Outcomes, new: Outcomes, seed: int) -> Lived:
    """What a learner that has met the ones comes to on the others."""
    policy = taught(build(name, given), seen, worth, seed)
    return of_shares(new, policy.distribution(new.context, new.allowed))


def of_shares(table: Outcomes, shares: Floats) -> Lived:
    """What comes of choosing arms with these chances `[N, A]`."""
    return Lived((shares * table.solved).sum(axis=1), (shares * table.cents).sum(axis=1))


def nets(table: Outcomes, worth: float) -> Floats:
    """Cents of each arm: `[N, A]`; -∞ where nothing is known."""
    return np.where(table.allowed, worth * table.solved - table.cents, -np.inf)


def preferred(table: Outcomes, order: Sequence[int]) -> Floats:
    """The first arm of the order that is there: `[N, A]` of 0 and 1."""
    chosen = np.array(order)[table.allowed[:, order].argmax(axis=1)]
    shares: Floats = np.eye(len(ARMS))[chosen]
    return shares


def best_order(table: Outcomes, worth: float) -> tuple[int, ...]:
    """Of all orders of preference, that which brings most: which needs every outcome."""
    values = np.where(table.allowed, nets(table, worth), 0.0)
    return max(permutations(range(len(ARMS))), key=lambda order: float((preferred(table, order) * values).sum()))


def perfect(table: Outcomes, worth: float) -> Floats:
    shares: Floats = np.eye(len(ARMS))[nets(table, worth).argmax(axis=1)]
    return shares


def taught(learner: Learner[Any], table: Outcomes, worth: float, seed: int) -> Policy:
    """The policy of a learner that has met the bugs and was shown what its own choices came to."""
    rng = np.random.default_rng(seed)
    state = learner.init(Spec(Box(-np.inf, np.inf, table.context.shape[1:]), Discrete(len(ARMS))), rng)
    values, chances = nets(table, worth) / worth, "logistic" in type(learner).__module__
    visits = np.concatenate([rng.permutation(len(values)) for _ in range(PASSES)])
    for start in range(0, len(visits) // EVERY * EVERY, EVERY):
        rows = visits[start : start + EVERY]
        choice = learner.policy(state, explore=True).sample(table.context[rows], table.allowed[rows], rng)
        reward = values[rows, choice.action]
        batch = Batch.single(table.context[rows], table.allowed[rows], choice.action, choice.probability,
                             (1 + np.clip(reward, -1, 1)) / 2 if chances else reward)  # fmt: skip
        state, _ = learner.update(state, batch, rng)
    return learner.policy(state)


# ---------------------------------------------------------------------------------------------------- several attempts


@dataclass(frozen=True)
class Verdict:
    """Of the judge of a table: solved or not."""

    solved: bool

    @property
    def passed(self) -> tuple[bool, ...]:
        return (self.solved,)

    @property
    def problems(self) -> tuple[str, ...]:
        return ("" if self.solved else "failed",)

    @property
    def share(self) -> float:
        return float(self.solved)


@dataclass(frozen=True)
class Records:
    """A judge that looks the verdict up; a program is called by its bug and its arm."""

    table: Outcomes

    def judge(self, task: Task, source: str, *, held_out: bool = False) -> Verdict:  # noqa: ARG002  # all tests are seen
        _, _, arm = source.partition("/")
        return Verdict(bool(arm) and bool(self.table.solved[int(task.id), int(arm)]))


@dataclass(frozen=True)
class Recorded:
    """A model that says what it once said, at the price of that."""

    name: str
    table: Outcomes

    def most(self, ask: Ask) -> Use:
        return Use(Decimal(float(self.table.cents[int(ask.task.id), self._arm(ask)])) / 100)

    def propose(self, ask: Ask) -> Proposed:
        return Proposed((Proposal(f"{ask.task.id}/{self._arm(ask)}", ""),), self.most(ask))

    def _arm(self, ask: Ask) -> int:
        return ARMS.index((self.name, ask.strategy))


ALWAYS = 4  # arms that every bug was tried with: both models, repairing and rewriting


def several(table: Outcomes, worth: float, learners: Sequence[tuple[str, dict[str, Any]]], seeds: int) -> Iterable[Row]:
    """Attempts until it is enough: agents against the best fixed sequence in hindsight."""
    what = f"several attempts, worth {worth:g} cents"
    fixed = held_out(table, lambda seen, new, _: in_turn(new, best_sequence(seen, worth)), FOLDS)
    yield plainly(f"{what}: best fixed sequence", fixed, worth)
    sequence = best_sequence(table, worth)
    told = ", then ".join("/".join(ARMS[arm]) for arm in sequence) or "nothing"
    very = in_turn(table, sequence)
    yield plainly(f"{what}: the sequence that is best on these very bugs, {told}", very, worth)
    yield plainly(f"{what}: knows every outcome", hindsight(table, worth), worth)
    evenly = held_out(table, lambda _, new, seed: walked(Uniform(), new, worth, seed), seeds)
    yield plainly(f"{what}: at random", evenly, worth)
    for name, given in progress(learners, f"several attempts, {worth:g} cents"):
        lived = held_out(table, partial(practice, name, given, worth), seeds)
        yield beside(f"{what}: {name}", lived, (fixed, very), table.problem, worth)


def best_sequence(table: Outcomes, worth: float) -> tuple[int, ...]:
    """Of all sequences, that which brings most: which needs every outcome."""
    return max(sequences(), key=lambda each: float(in_turn(table, each).net(worth).sum()))


def sequences() -> list[tuple[int, ...]]:
    """Every order of up to four arms, each once; and to try nothing."""
    return [each for length in range(ALWAYS + 1) for each in permutations(range(ALWAYS), length)]


def in_turn(table: Outcomes, sequence: Sequence[int]) -> Lived:
    """One arm after another until one solves the bug; what comes last is handed in without a test."""
    open_still, cents = np.ones(len(table.allowed), np.bool_), np.zeros(len(table.allowed))
    for arm in sequence:
        cents += open_still * (table.cents[:, arm] + (RUN if arm != sequence[-1] else 0.0))
        open_still = open_still & ~table.solved[:, arm]
    return Lived(1.0 - open_still, cents)


def hindsight(table: Outcomes, worth: float) -> Lived:
    """The cheapest arm that solves the bug, where that pays; else nothing."""
    value = np.maximum(nets(table, worth)[:, :ALWAYS], 0.0)
    best, tried = value.argmax(axis=1), value.max(axis=1) > 0
    rows = np.arange(len(best))
    return Lived((table.solved[rows, best] & tried).astype(float), table.cents[rows, best] * tried)


def setup_of(table: Outcomes, worth: float) -> Setup:
    """What an agent may do with these bugs; a reward of 1 is what a repaired bug is worth."""
    return Setup(
        proposers=tuple(Recorded(model, table) for model in PRICES),
        judge=Records(table),
        moves=moves(list(PRICES), ["repair", "rewrite"]),
        worth=Worth(dollar=100 / worth, execution=RUN / worth),
        describe=lambda task: table.context[int(task.id), :-1],  # no traceback can be asked for here
        clock=lambda: 0.0,
    )


def tasks_of(table: Outcomes) -> list[Task]:
    return [Task(str(number), "f", "", "as it was found", ()) for number in range(len(table.allowed))]


def practice(name: str, given: dict[str, Any], worth: float, seen: Outcomes, new: Outcomes, seed: int) -> Lived:
    """What an agent that has met the ones comes to on the others."""
    rng, setup, tasks = np.random.default_rng(seed), setup_of(seen, worth), tasks_of(seen)
    agent = begun(build(name, given), setup, tasks[0], rng)
    for _ in range(PASSES):
        met = [tasks[number] for number in rng.permutation(len(tasks))]
        agent, _ = practised(agent, setup, met, rng, every=4 * EVERY)
    return walked(agent.policy(), new, worth, seed, coded=agent.coded)


def walked(policy: Policy, table: Outcomes, worth: float, seed: int, *, coded: bool = False) -> Lived:
    """What a policy comes to on these bugs."""
    setup, rng = setup_of(table, worth), np.random.default_rng([1, seed])
    ended = [play(policy, setup, task, rng, coded=coded) for task in tasks_of(table)]
    cents = [100 * float(each.last.spent.dollars) + RUN * each.last.spent.executions for each in ended]
    return Lived(np.array([float(each.solved) for each in ended]), np.array(cents))


# ---------------------------------------------------------------------------------------------------- judged from a log


def judged(table: Outcomes, worth: float, logs: int) -> Iterable[Row]:
    """A learned policy's value, estimated from logs of choices made evenly, against what it really is."""
    policy = taught(build("bandit.linear_thompson", {}), table.take(table.fold >= 2), worth, 0)
    other = table.take(table.fold < 2)
    truth = float(of_shares(other, policy.distribution(other.context, other.allowed)).net(worth).mean())
    drawn = [logged(other, worth, np.random.default_rng([2, number])) for number in range(logs)]
    for name in ESTIMATORS:
        found = [estimator(name)()(policy, log) for log in drawn]
        answered = [each for each in found if each.refused is None]
        if not answered:
            yield Row(f"{name} refused every log: {found[0].refused}", float("nan"), "cents a bug")
            continue
        held = 100 * float(np.mean([each.low <= truth <= each.high for each in answered]))
        half = float(np.mean([(each.high - each.low) / 2 for each in answered]))
        what = f"{name}, {len(answered)} of {logs} logs of {len(other.allowed)} decisions, ± {half:.2f}"
        value = float(np.mean([each.value for each in answered]))
        yield Row(f"{what}: value of linear_thompson, {worth:g} cents", value, "cents a bug", "", None, "truth", truth)
        yield Row(f"{what}: intervals that hold the truth", held, "%", ">= 95", held >= 95)


def logged(table: Outcomes, worth: float, rng: np.random.Generator) -> Batch:
    """Every bug once, one of the arms that are known, each with the same chance."""
    choice = Uniform().sample(table.context, table.allowed, rng)
    reward = nets(table, worth)[np.arange(len(choice.action)), choice.action]
    return Batch.single(table.context, table.allowed, choice.action, choice.probability, reward)


if __name__ == "__main__":
    main("strategy", measure)
