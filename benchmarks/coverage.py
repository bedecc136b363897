"""How often 95 % intervals hold the truth over many simulated logs, where they miss, how wide and how fast they are.

The effects of a world are drawn anew for every 25 logs. The full study writes docs/coverage.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.coverage_page import page
from benchmarks.report import Row, main, progress
from benchmarks.simulated_logs import WORLDS, World
from bondhu.equations import regression
from bondhu.equations.intervals import Interval, bootstrap_t, student
from bondhu.equations.sequences import confidence_sequence, empirical_bernstein_sequence
from bondhu.evaluate import find, names
from bondhu.evaluate.decisions.ips import InversePropensity
from bondhu.evaluate.intervals import DEFAULT, KINDS, interval
from bondhu.evaluate.models import Remembered, cross_fitted
from bondhu.types import Batch, Estimate, Estimator, Floats

CONFIDENCE, EACH = 0.95, 25  # logs of each draw of a world's effects
CLIPPED = "ips, weights at most 2"
# Biased by design, which no interval shows: no coverage is promised where the bias is more than SLIGHT deviations.
BIASED = {"dm", "switch_dr", "dros", "sub_gaussian", "sub_gaussian_dr", CLIPPED}
SLIGHT = 0.25  # in standard deviations of the estimate: 95 % become 94.3 %
PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"


@dataclass
class Tally:
    """What became of one kind of interval over the logs of one world."""

    world: World
    what: str
    one_sided: bool = False  # promises to hold at least as often as it says
    off: list[float] = field(default_factory=list)  # value less truth
    ends: list[Interval] = field(default_factory=list)  # less the truth
    refused: int = 0

    def add(self, found: Interval | Estimate, truth: float, value: float = np.nan) -> None:
        if isinstance(found, Estimate):
            if found.refused is not None:
                self.refused += 1
                return
            value, found = found.value, (found.low, found.high)
        self.off.append(value - truth)
        self.ends.append((found[0] - truth, found[1] - truth))

    def row(self, full: bool) -> Row:
        """Misses "above" are those where the truth lies above the interval."""
        low, high = np.array(self.ends).T
        above, below = float((high < 0).mean()), float((low > 0).mean())
        covered, refused = 100 * (1 - above - below), self.refused / (self.refused + len(low))
        bias = float(np.mean(self.off) / np.std(self.off))
        note = f"bias {bias:+.2f} deviations" if self.what in BIASED else ""
        if not self.world.holds:
            note = "too few rows speak where it matters"
        promised = full and self.world.holds and not (self.what in BIASED and abs(bias) > SLIGHT)
        goal = (">= 95" if self.one_sided else "93 to 97") if promised else ""
        fine = covered >= 95 if self.one_sided else 93 <= covered <= 97
        parts = [
            f"{self.world.name}: {self.what}",
            f"truth above {above:.1%} below {below:.1%}",
            f"mean width {np.mean(high - low):.4f}",
            f"refused {refused:.1%}",
            note,
        ]
        return Row("; ".join(filter(None, parts)), covered, "% covered", goal, bool(fine) if goal else None)


def judges() -> dict[str, Estimator]:
    """Every estimator for single decisions at its defaults; those that use the same regression share it."""
    shared, found = Remembered(_within), {}
    for name in names("decision"):
        kind = find(name)
        uses = any(each.name == "model" and each.default is cross_fitted for each in fields(kind))  # type: ignore[arg-type]  # every estimator is a dataclass
        found[name] = kind(model=shared) if uses else kind()  # type: ignore[call-arg]  # it has that field
    return {**found, CLIPPED: InversePropensity(clip=2.0)}


def _within(batch: Batch) -> Floats:
    """The usual model, no prediction outside of what a click can be: the terms then have known bounds."""
    return np.clip(cross_fitted(batch), 0.0, 1.0)


def study(kind: World, logs: int, full: bool) -> Iterator[Row]:
    """Coverage of every estimator, of every kind of interval on the terms of two, and of the gain over the log."""
    tallies: dict[str, Tally] = {}
    for seed in progress(range(logs), kind.name):
        if seed % EACH == 0:
            world = kind.drawn(seed // EACH)
            truth, heaviest = world.truth(world.target()), world.heaviest()
            gain = truth - world.truth(world.logging())
        rng = np.random.default_rng([2027, seed, *kind.name.encode()])
        batch, asked = world.log(rng), judges()
        found = {name: judge(world.target(), batch) for name, judge in asked.items()}
        for name, estimate in found.items():
            tallies.setdefault(name, Tally(kind, name)).add(estimate, truth)
        for name, bounds in (("ips", (0.0, heaviest)), ("dr", (-heaviest, 1 + heaviest))):
            if found[name].refused is None:
                of_terms(tallies, kind, (name, found[name].terms, truth), batch, bounds, rng)
        if found["dr"].refused is None:
            live = asked["dr"](world.logging(), batch)
            terms = found["dr"].terms - live.terms
            ends = interval(terms, DEFAULT, CONFIDENCE, session=batch.session)
            name = "dr, gain over the logging policy"
            tallies.setdefault(name, Tally(kind, name)).add(ends, gain, float(terms.mean()))
    yield from (tally.row(full) for tally in tallies.values() if tally.ends)


def of_terms(
    tallies: dict[str, Tally],
    kind: World,
    subject: tuple[str, Floats, float],
    batch: Batch,
    bounds: Interval,
    rng: np.random.Generator,
) -> None:
    """Every kind of interval on the terms of one estimator."""
    name, terms, truth = subject
    for which in KINDS:
        if which == "bootstrap":
            ends = bootstrap_t(terms, CONFIDENCE, rng, batch.session, resamples=400)
        else:
            ends = interval(terms, which, CONFIDENCE, session=batch.session, bounds=bounds)
        what = f"{name}, {which}"
        tally = tallies.setdefault(what, Tally(kind, what, which in ("empirical_bernstein", "anytime")))
        tally.add(ends, truth, float(terms.mean()))


LOOKS = np.arange(50, 5_001, 50)  # rows after which a growing log is looked at


def peeking(kind: World, logs: int, full: bool) -> Iterator[Row]:
    """How often the truth is inside at every look, from the first at which an estimator would answer."""
    held = np.zeros((3, logs), bool)
    for seed in progress(range(logs), f"{kind.name}, looked at again and again"):
        if seed % EACH == 0:
            world = kind.drawn(100 + seed // EACH)
            target, truth, bounds = world.target(), world.truth(world.target()), (0.0, world.heaviest())
        batch = world.log(np.random.default_rng([2028, seed, *kind.name.encode()]), int(LOOKS[-1]))
        weights = target.probability(batch.observation, batch.allowed, batch.action) / batch.probability
        terms = weights * batch.reward
        answers = (weights.cumsum() ** 2 >= 50 * (weights**2).cumsum()) & ((terms > 0).cumsum() >= 5)
        looks = [terms[:end] for end in LOOKS if answers[end - 1]]
        low, high = empirical_bernstein_sequence(terms, CONFIDENCE, bounds)
        held[:, seed] = (
            all(inside(confidence_sequence(each, CONFIDENCE), truth) for each in looks),
            inside((low, high), truth),
            all(inside(student(each, CONFIDENCE), truth) for each in looks),
        )
    for name, each, sure in zip(
        ("anytime", "empirical Bernstein sequence", "asymptotic"), held, (True, True, False), strict=True
    ):
        value, goal = 100 * float(each.mean()), ">= 95" if full and sure and kind.holds else ""
        yield Row(f"{kind.name}: ips, {name}; at every look", value, "% covered", goal, value >= 95 if goal else None)


def inside(ends: Interval, truth: float) -> bool:
    return ends[0] <= truth <= ends[1]


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def speed(rows: int) -> Iterator[Row]:
    """Cross-fitted rewards of 80 actions from 100 indicator features, and every kind of interval but the bootstrap."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 20, (rows, 5))
    action, reward, fold = rng.integers(0, 80, rows), rng.random(rows), np.arange(rows) % regression.FOLDS

    def fitted() -> Floats:
        design = regression.features(codes, 80)
        return regression.cross_fit(design, regression.by_fold(design, action, reward, fold, 80), fold)

    yield Row(f"rewards [{rows:,} x 80] cross-fitted from 100 features", min(timed(fitted) for _ in range(3)), "s")
    terms, session = rng.random(5 * rows), np.arange(5 * rows) // 3
    for kind in KINDS:
        if kind != "bootstrap":
            work = partial(interval, terms, kind, CONFIDENCE, session=session, bounds=(0.0, 1.0))
            spent = min(timed(work) for _ in range(3))
            yield Row(f"{kind} interval of {5 * rows:,} terms in sessions of 3", 1e3 * spent, "ms")


def measure(quick: bool) -> list[Row]:
    """The quick run looks at too few logs to tell 95 % from 93 %: it has no goals."""
    logs = 6 if quick else 1_000
    rows = [row for world in WORLDS for row in study(world, logs, not quick)]
    rows += [
        row for world in WORLDS if not world.liking and world.rows == 1_000 for row in peeking(world, logs, not quick)
    ]
    if not quick:
        PAGE.write_text(page(rows, logs, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return [*rows, *speed(10_000 if quick else 200_000)]


if __name__ == "__main__":
    main("coverage", measure)
