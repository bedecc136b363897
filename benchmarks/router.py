"""When to call the strong model, learned from a log in which one model answered each question: RouteLLM's MMLU.

The log: a rule sends a question to the strong model with a chance of 35 %, where it is long 65 %; the chance is logged,
and of the answers only that of the model which was called. A learner of the package gives both models' chances to be
right, as far as the words of the question tell; questions are called strong in the order of the difference, as many as
the budget has. Each fifth of the questions is judged by routers that never saw them, on logs drawn anew for each seed;
harder, each fifth of the subjects by routers that never met the subject. The one setting, the ridge, is chosen in the
log alone: by cross-fitting, with the estimator `snips`.

Intervals: 95 %, questions drawn anew 2,000 times (whole subjects where subjects are held out), the router and random
mixing on the same ones. "Gap" is what always calling the strong model adds to always calling the weak one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from benchmarks.report import Row, main, progress
from benchmarks.router_data import FOLDS, Questions, load
from bondhu.evaluate import find as estimator
from bondhu.learners import build
from bondhu.policies.by_value import ByValue
from bondhu.policies.greedy import greedy
from bondhu.types import Batch, Floats, Integers, Learner, Spec

BUDGETS = 0.2, 0.4, 0.6  # shares of questions that may be called strong
RIDGES = 300.0, 3_000.0, 30_000.0, 100_000.0  # that the log chooses from
LINEAR = "bandit.linear_thompson"
LONG = 4.0  # logarithm of the words from which the logged rule finds a question long
SKLEARN = find_spec("sklearn") is not None
PARTS = 4  # of the log, for cross-fitting
# Table of MMLU results in arXiv 2406.18665, trained with D_arena and 1,500 golden labels of MMLU: the best router each.
PUBLISHED = {"CPT(50 %)": 35.4, "APGR": 0.603}


@dataclass(frozen=True)
class Way:
    """A way of learning a router."""

    name: str
    seen: tuple[str, ...] = ("text", "words")
    learner: str = LINEAR
    given: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0  # of the log
    at_once: bool = False  # learn the difference from weighted rewards, rather than both models' chances
    buckets: int = 256


HEADLINE = Way("words and length")
SUBJECT = Way("words, length and the name of the subject", ("text", "words", "subject"))
ABLATED = [
    Way("words alone", ("text",)),
    Way("length alone", ("words",)),
    Way("the name of the subject alone", ("subject",)),
    Way("words in 1,024 buckets", given={"ridge": 30_000.0}, buckets=1_024),
    Way("three to five characters in a row, of scikit-learn, in 256 buckets", ("grams",)),
    Way("a tenth of the log", share=0.1),
    Way("a third of the log", share=1 / 3),
    Way("the difference at once, from r / p", at_once=True),
    Way("one ridge, 1", given={"ridge": 1.0}),
    Way("bandit.fourier_ridge", learner="bandit.fourier_ridge", given={"strictness": 30.0}),
    Way("bandit.logistic_thompson", learner="bandit.logistic_thompson"),
    Way("bandit.off_policy, dm", learner="bandit.off_policy", given={"method": "dm"}),
    Way("bandit.off_policy, dr", learner="bandit.off_policy", given={"method": "dr"}),
    Way("bandit.off_policy, ips", learner="bandit.off_policy", given={"method": "ips"}),
]


def measure(quick: bool) -> Iterable[Row]:
    questions = load()
    if questions is None:
        return
    questions = questions.take(np.arange(0, len(questions.gain), 8)) if quick else questions
    rounds = 1 if quick else 2  # each is five seeds: five folds, a log each
    yield from known(questions)
    for by in ("question", "subject"):
        yield from judged(questions, replace(HEADLINE, buckets=64) if quick else HEADLINE, by, rounds)
        if SKLEARN:
            yield from told(
                questions, f"{by} held out: scikit-learn, both answers known", by, everything(questions, by)
            )
    if not quick:
        yield from judged(questions, SUBJECT, "question", rounds)
        yield from limited(questions)
        for by in ("question", "subject"):
            for way in progress([each for each in ABLATED if SKLEARN or "grams" not in each.seen], f"less, {by}"):
                yield recovered(questions, f"{by} held out: {way.name}", by, places(questions, way, by, 1))


def known(questions: Questions) -> Iterable[Row]:
    """What there is to gain."""
    weak, strong = 100 * questions.right.mean(axis=0)
    yield Row(f"questions, of {len(set(questions.subject))} subjects", len(questions.gain), "questions")
    yield Row("always weak", float(weak), "% right")
    yield Row("always strong", float(strong), "% right")
    best = ranked(questions.gain, np.random.default_rng(0))
    for budget in BUDGETS:
        yield Row(f"knows both answers: {budget:.0%} strong", quality(questions, best[None], budget), "% right")


# ----------------------------------------------------------------------------------------------------------- learning


def logged(questions: Questions, features: Floats, rng: np.random.Generator) -> Batch:
    """Every question once, answered by one of the models, with a known chance; in any order."""
    order = rng.permutation(len(questions.gain))
    chance = np.where(questions.words >= LONG, 0.65, 0.35)[order]
    action = (rng.random(len(order)) < chance).astype(np.int64)
    probability = np.where(action == 1, chance, 1.0 - chance)
    reward = questions.right[order, action]
    return Batch.single(features[order], np.ones((len(order), 2), np.bool_), action, probability, reward)


def learned(way: Way, given: Mapping[str, Any], log: Batch, rng: np.random.Generator) -> Any:
    """The difference that the strong model is believed to make, as a function of features `[T, F]`: `[T]`."""
    learner: Learner[Any] = build(way.learner, given)
    if way.at_once:  # of one action: its reward is r / p where the strong model was called, else -r / p
        centred = (log.reward - log.reward.mean()) / log.probability
        log = replace(log, action=np.ones_like(log.action), reward=np.where(log.action == 1, centred, -centred))
    spec = Spec(Box(-np.inf, np.inf, log.observation.shape[1:]), Discrete(2))
    state, _ = learner.update(learner.init(spec, rng), log, rng)
    believed = learner.beliefs(state)

    def difference(features: Floats) -> Floats:
        value = believed(features).value
        return value[:, 1] - (0.0 if way.at_once else value[:, 0])

    return difference


def chosen(way: Way, log: Batch, rng: np.random.Generator) -> Mapping[str, Any]:
    """The ridge whose routers, each of a part of the log, earn most on the rest of it, by `snips` over the budgets."""
    if way.given or way.learner != LINEAR:
        return way.given
    part = rng.integers(PARTS, size=len(log))
    return max(({"ridge": ridge} for ridge in RIDGES), key=lambda given: _earned(way, given, log, part, rng))


def _earned(way: Way, given: Mapping[str, Any], log: Batch, part: Integers, rng: np.random.Generator) -> float:
    total = 0.0
    for number in range(PARTS):
        other = log.take(part == number)
        added = learned(way, given, log.take(part != number), rng)(other.observation)
        other = replace(other, observation=added[:, None])
        for budget in BUDGETS:
            price = float(np.quantile(added, 1.0 - budget))
            total += len(other) * estimator("snips")()(priced(price), other).value
    return total


def priced(price: float) -> ByValue:
    """Calls the strong model where it is believed to add more than its price; observes what is believed, `[T, 1]`."""
    return ByValue(lambda added: np.hstack([np.full_like(added, price), added]), greedy)


# ------------------------------------------------------------------------------------------------------------ judging


def places(questions: Questions, way: Way, by: str, rounds: int) -> Floats:
    """Where each question comes in its fold's order of being called, from 0, first, to 1: `[rounds, N]`."""
    features, fold = questions.features(*way.seen, buckets=way.buckets), questions.folds(by)
    place = np.empty((rounds, len(fold)))
    for seed in range(rounds * FOLDS):
        rng, test = np.random.default_rng(seed), fold == seed % FOLDS
        log = logged(questions.take(~test), features[~test], rng)
        log = log.take(np.arange(round(way.share * len(log))))
        difference = learned(way, chosen(way, log, rng), log, rng)
        place[seed // FOLDS, test] = ranked(difference(features[test]), rng)
    return place


def everything(questions: Questions, by: str) -> Floats:
    """The same of scikit-learn's logistic regressions on TF-IDF words, one a model, which know both answers."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    fold, place = questions.folds(by), np.empty((1, len(questions.gain)))
    for number in range(FOLDS):
        test = fold == number
        words = TfidfVectorizer(sublinear_tf=True, min_df=3)
        seen, other = words.fit_transform(questions.prompt[~test]), words.transform(questions.prompt[test])
        fits = [LogisticRegression(max_iter=1_000).fit(seen, right) for right in questions.right[~test].T]
        weak, strong = (fit.predict_proba(other)[:, 1] for fit in fits)
        place[0, test] = ranked(strong - weak, np.random.default_rng(number))
    return place


def ranked(difference: Floats, rng: np.random.Generator) -> Floats:
    """The share of questions that come before each; equals in any order: `[N]`."""
    order = np.lexsort((rng.random(len(difference)), -difference))
    place = np.empty(len(order))
    place[order] = np.arange(len(order)) / len(order)
    return place


def quality(questions: Questions, place: Floats, budget: float) -> float:
    """Percent of right answers where the first `budget` of the questions are called strong."""
    called = (place < budget).mean(axis=0)
    return 100 * float((questions.right[:, 0] + called * questions.gain).mean())


def judged(questions: Questions, way: Way, by: str, rounds: int) -> Iterable[Row]:
    """All that is asked of a router, and what others report."""
    place, what = places(questions, way, by, rounds), f"{by} held out: {way.name}"
    yield from told(questions, what, by, place)
    gains = questions.gain / questions.gain.sum()
    area = float(((1.0 - place) * gains).sum(axis=1).mean())
    shares = np.linspace(0.0, 1.0, 1_001)
    reached = np.array([float(((place < share).mean(axis=0) * gains).sum()) for share in shares])
    half = 100 * float(shares[int((reached >= 0.5).argmax())])
    who = "RouteLLM's best: published, other training data"
    yield Row(f"{what}: APGR, the gap recovered on average over all budgets", area, "of the gap", "> 0.5", area > 0.5,
              who, PUBLISHED["APGR"])  # fmt: skip
    yield Row(f"{what}: CPT(50 %), strong calls that recover half of the gap", half, "% of calls", "< 50", half < 50.0,
              who, PUBLISHED["CPT(50 %)"])  # fmt: skip


def told(questions: Questions, what: str, by: str, place: Floats) -> Iterable[Row]:
    """Quality at each budget beside random mixing, and the share of the gap at 40 %."""
    for budget in BUDGETS:
        called = (place < budget).mean(axis=0)
        low, high = drawn_anew(questions, by, 100 * (called - called.mean()) * questions.gain)
        random = 100 * float((questions.right[:, 0] + called.mean() * questions.gain).mean())
        value = quality(questions, place, budget)
        name = f"{what}: {budget:.0%} strong; over random mixing {value - random:+.2f} [{low:+.2f}, {high:+.2f}]"
        yield Row(name, value, "% right", "over random, surely", low > 0, "random mixing", random)
    yield recovered(questions, what, by, place)


def recovered(questions: Questions, what: str, by: str, place: Floats, budget: float = 0.4) -> Row:
    """How much of the gap a router recovers with so many strong calls, and its interval."""
    called = (place < budget).mean(axis=0)
    low, high = drawn_anew(questions, by, 100 * called * questions.gain, questions.gain)
    value = 100 * float((called * questions.gain).sum() / questions.gain.sum())
    name = f"{what}: gap recovered with {budget:.0%} strong [{low:.1f}, {high:.1f}]"
    return Row(name, value, "% of the gap", ">= 50", value >= 50.0, "random mixing", 100 * float(called.mean()))


def drawn_anew(
    questions: Questions, by: str, values: Floats, over: Floats | None = None, times: int = 2_000
) -> tuple[float, float]:
    """95 % of Σ values / Σ over (of questions, if None), with questions or whole subjects drawn anew."""
    cluster = questions.topic if by == "subject" else questions.question
    above = np.bincount(cluster, values)
    below = np.bincount(cluster, over)
    rng, found = np.random.default_rng(0), np.empty(times)
    for number in range(times):
        drawn = rng.integers(len(above), size=len(above))
        found[number] = above[drawn].sum() / below[drawn].sum()
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def limited(questions: Questions, budget: float = 0.4) -> Iterable[Row]:
    """The budget as a limit of `objectives.vector_reward`: its price is learned, and asks for no order of questions."""
    features, fold = questions.features(*HEADLINE.seen), questions.folds("question")
    inner = {"name": LINEAR, "ridge": RIDGES[-2]}
    learner = build(
        "objectives.vector_reward", {"inner": inner, "limits": {"spared": 1 - budget}, "multiplier_rate": 0.1}
    )
    called = np.empty(len(fold))
    for number in range(FOLDS):
        rng, test = np.random.default_rng(number), fold == number
        log = logged(questions.take(~test), features[~test], rng)
        log = replace(log, objectives={"spared": 1.0 - log.action})
        state = learner.init(Spec(Box(-np.inf, np.inf, features.shape[1:]), Discrete(2)), rng)
        for start in range(0, len(log), 200):
            state, _ = learner.update(state, log.take(np.arange(start, min(start + 200, len(log)))), rng)
        everything_allowed = np.ones((int(test.sum()), 2), np.bool_)
        called[test] = learner.policy(state).distribution(features[test], everything_allowed)[:, 1]
    low, high = drawn_anew(questions, "question", 100 * (called - called.mean()) * questions.gain)
    value = 100 * float((questions.right[:, 0] + called * questions.gain).mean())
    random = 100 * float((questions.right[:, 0] + called.mean() * questions.gain).mean())
    name = f"a limit of {budget:.0%} strong: called {called.mean():.1%}; over random mixing {value - random:+.2f}"
    yield Row(f"{name} [{low:+.2f}, {high:+.2f}]", value, "% right", "over random, surely", low > 0,
              "random mixing", random)  # fmt: skip


if __name__ == "__main__":
    main("router", measure)
