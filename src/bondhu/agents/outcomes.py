"""A model of what the tests will say of an edit, learned from those that were run: used to try first what is likely to
pass, and not to try what is not.

    P(outcome | program, edit) by multinomial regression on the features of the edit, calibrated by one temperature
    (Guo et al. 2017) on executions that it was not fitted to

Planning with it: an edit is worth the chance that it solves the task, and the chance that it leads to a program from
which that is nearer, times what going on is worth (one step of look-ahead, as in Dyna, Sutton 1991).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box, Discrete

from bondhu.agents.ranking import LEAST
from bondhu.agents.search import Context, Repair
from bondhu.domains.coding.testing import Judgement
from bondhu.learners.imitation.behaviour_cloning import BehaviourCloning, Cloned
from bondhu.types import Batch, Floats, Integers, Spec

OUTCOMES = ("solved", "better", "same", "worse", "broken")
ONWARD = 0.3  # what a better program is worth, beside one that passes
LEARNER = BehaviourCloning(learning_rate=2e-3, passes=8, minibatch=256, decay=1e-2)
TEMPERATURES = np.geomspace(0.25, 4.0, 65)
BINS = 10  # of the calibration's curve


def outcome(judgement: Judgement, before: Judgement) -> str:
    """Which of OUTCOMES a program had, beside the one it was made from."""
    if judgement.solved:
        return "solved"
    if not any(judgement.passed) and judgement.outcome.ended != "done":
        return "broken"
    gain = judgement.share - before.share
    return "better" if gain > 0 else "worse" if gain < 0 else "same"


@dataclass(frozen=True)
class Observed:
    """Edits that were run: their features `[N, F]`, and the number of the outcome of each `[N]`."""

    features: Floats
    outcome: Integers

    @property
    def worth(self) -> Floats:
        """1 for what solves the task, ONWARD for what makes a better program, else 0: `[N]`."""
        return np.array([1.0, ONWARD, 0.0, 0.0, 0.0])[self.outcome]

    @classmethod
    def of(cls, parts: Sequence[Observed]) -> Observed:
        """All of them together."""
        return cls(np.concatenate([each.features for each in parts]), np.concatenate([each.outcome for each in parts]))


def observed(found: Repair) -> Observed:
    """What a search saw of the edits of the program it began with."""
    assert found.context is not None, "a search that edited nothing"
    context = found.context
    numbers = {edit: number for number, edit in enumerate(context.edits)}
    tried = [each for each in found.attempts if len(each.edits) == 1]
    table = context.features[[numbers[each.edits[0]] for each in tried]].astype(np.float32)
    came = [OUTCOMES.index(outcome(each.judgement, context.judgement)) for each in tried]
    return Observed(table, np.array(came, np.int64))


@dataclass(frozen=True)
class OutcomeModel:
    """What was learned of outcomes."""

    state: Cloned
    temperature: float = 1.0

    def probabilities(self, table: Floats) -> Floats:
        """Of every outcome, for the edits of these features: `[N, 5]`."""
        policy = LEARNER.policy(self.state, explore=True)
        shares = policy.distribution(table.astype(np.float32), np.ones((len(table), len(OUTCOMES)), np.bool_))
        return tempered(shares, self.temperature)

    def __call__(self, context: Context) -> Floats:
        """log of what each edit is worth: `[N]`."""
        shares = self.probabilities(context.features)
        worth: Floats = np.log(np.maximum(shares[:, 0] + ONWARD * shares[:, 1], LEAST))
        return worth


def tempered(shares: Floats, temperature: float) -> Floats:
    """p^(1/τ), normalised: less sure where τ > 1. `[N, K]`."""
    logarithms = np.log(np.maximum(shares, LEAST)) / temperature
    weights = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    found: Floats = weights / weights.sum(axis=1, keepdims=True)
    return found


def learned(fitted: Observed, kept: Observed, rng: np.random.Generator) -> OutcomeModel:
    """A model fitted to some executions, its temperature to others."""
    width = fitted.features.shape[1]
    spec = Spec(Box(-np.inf, np.inf, (width,), np.float32), Discrete(len(OUTCOMES)))
    rows, masks = len(fitted.outcome), np.ones((len(fitted.outcome), len(OUTCOMES)), np.bool_)
    batch = Batch.single(fitted.features, masks, fitted.outcome, np.ones(rows), np.ones(rows))
    state, _ = LEARNER.update(LEARNER.init(spec, rng), batch, rng)
    shares = OutcomeModel(state).probabilities(kept.features)
    losses = [log_loss(tempered(shares, each), kept.outcome) for each in TEMPERATURES.tolist()]
    return OutcomeModel(state, float(TEMPERATURES[int(np.argmin(losses))]))


def log_loss(shares: Floats, outcome: Integers) -> float:
    """Mean of -log p of what came: `[N, K]` and `[N]`."""
    return float(-np.log(np.maximum(shares[np.arange(len(outcome)), outcome], LEAST)).mean())


def brier(shares: Floats, outcome: Integers, of: int = 0) -> float:
    """Mean squared error of the probability of one outcome (Brier 1950)."""
    return float(np.mean((shares[:, of] - (outcome == of)) ** 2))


def calibration(shares: Floats, outcome: Integers, of: int = 0) -> list[tuple[float, float, int]]:
    """Said, seen and how many, for BINS bins of the probability of one outcome; empty bins are left out."""
    said, came = shares[:, of], outcome == of
    bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    return [
        (float(said[bins == each].mean()), float(came[bins == each].mean()), int((bins == each).sum()))
        for each in np.unique(bins).tolist()
    ]


def calibration_error(curve: Iterable[tuple[float, float, int]]) -> float:
    """Mean distance between said and seen, by how many rows a bin holds (Naeini et al. 2015)."""
    found = list(curve)
    return sum(abs(said - came) * count for said, came, count in found) / max(sum(count for *_, count in found), 1)
