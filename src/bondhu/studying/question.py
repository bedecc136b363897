"""What a study is asked: two policies, and the decisions they are compared on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bondhu.app import ADAPTIVE
from bondhu.errors import InvalidInput
from bondhu.evaluate.gate import GateRules
from bondhu.evaluate.models import Memory
from bondhu.evaluate.parts import Seen
from bondhu.train.judge import Judgement
from bondhu.types import Acting, Batch

SEED = 0  # of resampling: the same study twice is the same page


@dataclass(frozen=True)
class Question:
    """Two policies, the decisions, and what was said of them already."""

    names: tuple[str, str]
    batch: Batch
    pair: tuple[Seen, Seen] | None  # None: one of them cannot see these decisions, and the judgement says why
    judgement: Judgement
    rules: GateRules

    @property
    def judged_by(self) -> str:
        """The estimator that the gate looked at."""
        return list(self.judgement.candidate)[-1]

    @property
    def adaptive(self) -> bool:
        """Whether the decisions depend on each other, so that most estimators do not hold."""
        return ADAPTIVE in self.judgement.candidate


def seen_by_both(candidate: Acting, against: Acting, batch: Batch) -> tuple[Seen, Seen] | None:
    """Both policies, each with the decisions as it observes them."""
    try:
        ours, theirs = (batch.seen_by(acting.encoder) for acting in (candidate, against))
    except (KeyError, InvalidInput):
        return None
    if np.array_equal(ours.observation, theirs.observation):
        theirs = ours  # so that one model of rewards does for both
    return Seen(Memory(candidate.policy), ours), Seen(Memory(against.policy), theirs)
