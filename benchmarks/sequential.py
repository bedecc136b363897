"""Trials that are looked at again and again: false alarms, power and time to decide, beside a test at a planned end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import NamedTuple

import numpy as np

from benchmarks.report import Row, main
from bondhu.equations import effects
from bondhu.equations.corrections import holm
from bondhu.equations.effects import Sums
from bondhu.equations.power import stopped_by
from bondhu.equations.sequences import always_valid_p, radius
from bondhu.equations.tails import normal_of_t, normal_tail
from bondhu.experiments.effects import MINIMUM_USERS, Looks, effect
from bondhu.experiments.exposures import Exposures
from bondhu.experiments.ratio import ratio_check
from bondhu.types import Booleans, Floats, Integers

LOOKS, NEW = 30, 40  # looks, and new users before each; older ones return
GROWS = 15  # the look after which the share grows
TOGETHER = 250  # runs simulated side by side
ALPHA, REACH = 0.05, 1.959964
PLANNED = 10  # the look at which the fixed-horizon test is planned, with a power of 80 %


@dataclass(frozen=True)
class World:
    """Users who differ in how often they come and in how often they are pleased; a few rewards may be large."""

    name: str
    pleased: float  # chance of a reward, of the mean user
    shape: float | None = None  # of the Gamma distribution of a reward; None: it is 1
    liking: float = 1.0  # standard deviation of a user's own logarithm of that chance
    returning: float = 0.3  # chance that a user decides between two looks, Beta distributed
    shares: tuple[float, float] = (0.1, 0.5)
    greedy: bool = False  # the share grows only once the trial looks better, in each run at its own time
    treated_lift: float = 0.0  # what the treatment multiplies the chance by, less 1


class Path(NamedTuple):
    """What runs saw at each look: `[L, R]`."""

    statistic: Floats  # difference over the package's standard error for always-valid intervals
    naive: Floats  # over the standard error of the users alone
    effective: Floats
    own_effective: Floats  # by the standard error of the users alone
    users: Floats  # of the smaller side, as many as equally active ones would tell as much
    error: Floats
    mean: Floats  # of the control


def simulate(world: World, runs: int, seed: int) -> Path:
    """Looks at `runs` trials of LOOKS x NEW users, by the package's own equations, many runs side by side."""
    parts = [
        _trials(world, min(TOGETHER, runs - at), np.random.default_rng([seed, at])) for at in range(0, runs, TOGETHER)
    ]
    return Path(*[np.concatenate(each, axis=1) for each in zip(*parts, strict=True)])


def _trials(world: World, runs: int, rng: np.random.Generator) -> Path:
    users = LOOKS * NEW
    share = np.array(world.shares)
    treated = rng.random((runs, 1, users)) < share[:, None]
    own = world.pleased * np.exp(rng.normal(0, world.liking, (runs, users)) - world.liking**2 / 2)
    active = rng.beta(2 * world.returning, 2 - 2 * world.returning, (runs, users))
    rows, earned, squares = np.zeros((runs, 2, users)), np.zeros((runs, 2, users)), np.zeros((runs, 2, 3))
    step, every = np.zeros(runs, np.int64), np.arange(runs)
    looks = []
    for look in range(LOOKS):
        come, reward = _between_looks(world, (own, active, treated[every, step]), look, rng)
        count = come.shape[1]
        rows[every, step, :count] += come
        earned[every, step, :count] += reward
        squares[every, step] += np.stack([(reward**2).sum(1), reward.sum(1), come.sum(1)], axis=1)
        sums = Sums(rows[..., :count], earned[..., :count], rows[..., :count], treated[..., :count], squares)
        looks.append(_look(sums, share))
        ripe = look + 1 >= GROWS
        step = np.where(ripe & ((looks[-1].statistic > 0) | (not world.greedy)), 1, step)
    return Path(*[np.stack(each) for each in zip(*looks, strict=True)])


def _between_looks(
    world: World, people: tuple[Floats, Floats, Booleans], look: int, rng: np.random.Generator
) -> tuple[Booleans, Floats]:
    """Who decides before this look, at most once, and what they earn: `[R, U]` of the users so far."""
    count = (look + 1) * NEW
    own, active, treated = (each[:, :count] for each in people)
    come = rng.random(own.shape) < active
    come[:, look * NEW :] = True
    hit = rng.random(own.shape) < np.minimum(own * (1 + world.treated_lift * treated), 1)
    size = rng.gamma(world.shape, 1 / world.shape, own.shape) if world.shape else 1.0
    return come, come * hit * size


def _look(sums: Sums, share: Floats) -> Path:
    found = effects.ratio_contrast(sums, share)
    own, design = effects.error_of(found), effects.design_error(found, share)
    error = np.maximum(own, design)
    value = found.treated - found.control
    degrees = np.maximum(np.floor(np.minimum(found.degrees, found.users.sum(-1) - 2)), 1)
    return Path(
        normal_of_t(_over(value, error), degrees),
        normal_of_t(_over(value, own), degrees),
        effects.effective_rows(found.spread, error),
        effects.effective_rows(found.spread, own),
        found.users.min(-1),
        own,
        found.control,
    )


def _over(top: Floats, bottom: Floats) -> Floats:
    return np.asarray(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0))


def alarms(path: Path) -> Booleans:
    """Whether the always-valid test has stopped by each look: `[L, R]`."""
    p = np.where(path.users >= MINIMUM_USERS, always_valid_p(path.statistic, path.effective), 1.0)
    return np.asarray(np.minimum.accumulate(p, axis=0) <= ALPHA)


def false_alarms(runs: int) -> list[Row]:
    """A/A trials under continuous looks, and the fixed-horizon test looked at as often."""
    worlds = (
        World("clicks of 10 %", 0.1),
        World("clicks of 2 %", 0.02),
        World("money, 5 % pay", 0.05, shape=0.3),
        World("clicks of 30 %, even split", 0.3, liking=0.3, shares=(0.5, 0.5)),
        World("clicks of 10 %, share grows if better", 0.1, greedy=True),
    )
    rows = []
    for number, world in enumerate(worlds):
        path = simulate(world, runs, number)
        early = path.users >= MINIMUM_USERS
        wrong = 100 * float(alarms(path)[-1].mean())
        peeking = 100 * float((np.where(early, np.abs(path.naive), 0) > REACH).any(0).mean())
        plain = np.where(early, always_valid_p(path.naive, path.own_effective), 1.0).min(0) <= ALPHA
        once = 100 * float((np.abs(path.naive[-1]) > REACH).mean())
        name = f"A/A, {world.name}: false alarms in {LOOKS} looks, {runs:,} runs"
        rows.append(Row(name, wrong, "%", "<= 5", wrong <= 5, "fixed-horizon test looked at as often", peeking))
        rows.append(
            Row(
                f"A/A, {world.name}: fixed-horizon test, one look at the end",
                once,
                "%",
                peer="sequence by the users' own errors alone",
                peer_value=100 * float(plain.mean()),
            )
        )
    return rows


def power(runs: int) -> list[Row]:
    """Time to decide beside the fixed-horizon test that was planned for 80 % power at look PLANNED."""
    even = World("power", 0.3, liking=0.3, shares=(0.5, 0.5))
    null = simulate(even, runs, 20)
    clicks, reach = float(null.mean[-1].mean()), REACH + 0.841621
    first_guess = reach * float(null.error[PLANNED - 1].mean())
    moved = simulate(replace(even, treated_lift=first_guess / clicks), runs, 21)  # other clicks vary otherwise
    planned_effect = reach * float(moved.error[PLANNED - 1].mean())
    decisions = NEW * np.cumsum(1 + even.returning * np.arange(LOOKS))
    planned = float(decisions[PLANNED - 1])
    rows = [Row("power: decisions of the fixed-horizon test, planned for 80 %", planned, "decisions")]
    for number, times in enumerate((0.5, 1.0, 1.5, 2.0, 3.0)):
        path = simulate(replace(even, treated_lift=times * planned_effect / clicks), runs, 30 + number)
        stopped = alarms(path)
        fixed = 100 * float((np.abs(path.naive[PLANNED - 1]) > REACH).mean())
        at_planned, at_end = (100 * float(stopped[look].mean()) for look in (PLANNED - 1, LOOKS - 1))
        first = np.where(stopped.any(0), stopped.argmax(0), LOOKS)
        middle = int(np.median(first))
        median = float(decisions[middle]) if middle < LOOKS else np.nan
        rows += [
            Row(f"{times:g} x planned effect: found by the planned end", at_planned, "%", "", None, "fixed", fixed),
            Row(f"{times:g} x planned effect: found by {decisions[-1] / planned:.1f} x planned", at_end, "%"),
            Row(
                f"{times:g} x planned effect: median decisions until it stops",
                median,
                "decisions",
                peer="fixed",
                peer_value=planned,
            ),
            _predicted(times, path, times * planned_effect, 100 * stopped.mean(1)),
        ]
    return rows


def _predicted(times: float, path: Path, difference: float, seen: Floats) -> Row:
    """What the planner's quadrature says of the same looks."""
    rows = path.effective.mean(1)
    reach = radius(rows, 1 - ALPHA)
    spread = rows[-1] * float(path.error[-1].mean()) ** 2  # 4 times the variance of a decision
    told = 100 * stopped_by(rows, reach, difference / np.sqrt(spread))
    off = float(np.abs(told - seen).max())
    return Row(f"{times:g} x planned effect: planner's chance of having stopped, largest error", off, "points")


def mismatch(runs: int) -> list[Row]:
    """Users lost of one variant: false alarms over all looks, and how many draws it takes to see a loss."""
    rows = []
    for lost, users in ((0.0, 2_000), (0.05, 20_000), (0.1, 20_000)):
        count = runs if not lost else min(runs, 500)
        found = [
            ratio_check(_split(users, lost, np.random.default_rng([40, int(100 * lost), run]))) for run in range(count)
        ]
        flagged = 100 * float(np.mean([each.mismatch for each in found]))
        once = 100 * float(np.mean([each.p < 0.01 for each in found]))
        goal, holds = ("", None) if lost else ("<= 1", flagged <= 1)
        what = (
            f"users split as assigned, {users:,}"
            if not lost
            else f"{100 * lost:g} % of the treated lost, {users:,} users"
        )
        rows.append(
            Row(f"{what}: mismatch at any look, {count:,} runs", flagged, "%", goal, holds, "one look at the end", once)
        )
    return rows


def _split(users: int, lost: float, rng: np.random.Generator) -> Exposures:
    """Users who come once while a tenth is treated, once while half is, or in both."""
    place = rng.random(users)
    unit = np.concatenate([np.arange(users // 2), rng.permutation(users)[: users // 2]])
    share = np.repeat([0.1, 0.5], users // 2)
    treated = place[unit] < share
    kept = ~treated | (rng.random(users)[unit] >= lost)
    count = int(kept.sum())
    return Exposures(unit[kept], treated[kept], share[kept], np.arange(count, dtype=np.float64), {})


def cuped(runs: int) -> list[Row]:
    """Variance removed by values before, in each effect's own words and in truth."""
    rows = []
    for correlation in (0.5, 0.8):
        plain, adjusted, removed, held = np.zeros((4, runs))
        for run in range(runs):
            rng = np.random.default_rng([50, int(10 * correlation), run])
            before, noise = rng.normal(size=(2, 1_000))
            reward = correlation * before + np.sqrt(1 - correlation**2) * noise
            unit: Integers = np.arange(1_000)
            treated = rng.random(1_000) < 0.5
            known = {"reward": np.where(rng.random(1_000) < 0.9, before, np.nan)}
            trial = Exposures(unit, treated, np.full(1_000, 0.5), unit.astype(np.float64), {"reward": reward}, known)
            found = effect(trial, "reward")
            plain[run] = reward[treated].mean() - reward[~treated].mean()
            adjusted[run], removed[run], held[run] = found.value, found.variance_removed, found.low <= 0 <= found.high
        truth = 100 * 0.9 * correlation**2
        in_truth = 100 * float(1 - adjusted.var() / plain.var())
        name = f"CUPED, correlation {correlation:g}, known of 90 %: variance removed"
        rows.append(
            Row(name, 100 * float(removed.mean()), "%", "", None, f"by the spread over {runs:,} runs", in_truth)
        )
        rows.append(Row(f"{name}, by the equation", truth, "%"))
        covered = 100 * float(held.mean())
        rows.append(Row(f"CUPED, correlation {correlation:g}: 95 % intervals cover", covered, "%"))
    return rows


def family(runs: int) -> list[Row]:
    """Ten dependent metrics of which two have an effect: any false alarm among the other eight."""
    rng = np.random.default_rng(60)
    z = np.sqrt(0.5) * (rng.normal(size=(runs, 1)) + rng.normal(size=(runs, 10)))
    z[:, :2] += 3.0
    p = np.vectorize(normal_tail)(z)
    adjusted = np.array([holm(each) for each in p])
    wrong, plain = (100 * float((each[:, 2:] <= ALPHA).any(1).mean()) for each in (adjusted, p))
    return [
        Row(f"Holm, 10 metrics: any false alarm, {runs:,} runs", wrong, "%", "<= 5", wrong <= 5, "uncorrected", plain)
    ]


def speed(rows: int) -> list[Row]:
    """One effect, from rows to intervals."""
    rng = np.random.default_rng(70)
    unit = rng.integers(0, rows // 10, rows)
    share = np.repeat([0.1, 0.5], rows // 2)
    treated = rng.random(rows // 10)[unit] < share
    trial = Exposures(unit, treated, share, np.arange(rows, dtype=np.float64), {"reward": rng.random(rows)})
    best = np.inf
    for _ in range(3):
        start = perf_counter()
        effect(trial, "reward", Looks())
        best = min(best, perf_counter() - start)
    return [Row(f"effect of {rows:,} decisions of {rows // 10:,} users", best, "s")]


def measure(quick: bool) -> list[Row]:
    runs = 250 if quick else 10_000
    rows = false_alarms(runs) + power(100 if quick else 2_000)
    rows += mismatch(40 if quick else 10_000) + cuped(60 if quick else 4_000) + family(runs)
    return rows + speed(20_000 if quick else 1_000_000)


if __name__ == "__main__":
    main("sequential", measure)
