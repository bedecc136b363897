"""What feedback is still to come, judged by how late the feedback of each signal has come so far."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bondhu.equations.delays import DelayDistribution, delay_distribution
from bondhu.ports import Reward
from bondhu.types import Booleans, Records

SAMPLE = 100_000  # decisions that delays are learned from
AT_RISK = 30  # of them, at least this many are old enough for the largest delay that counts
LEAST_SHARE = 0.05  # feedback in time stands for at most 20 times as much

Delays = Mapping[str, tuple[DelayDistribution, float]]  # by signal: how late, and the reward a decision gets of it


def learn(reward: Reward, records: Records, now: float) -> Delays:
    """How late each declared signal comes, and the reward of it that a decision of any age has or will have."""
    decisions = len(records.time)
    chosen = np.zeros(decisions, bool)
    chosen[np.linspace(0, max(decisions - 1, 0), min(SAMPLE, decisions)).astype(np.int64)] = True
    said = np.flatnonzero(chosen[records.feedback_decision])
    decided = records.time[records.feedback_decision[said]]
    delay, age = np.maximum(records.feedback_time[said] - decided, 0.0), now - decided
    signal = records.feedback_signal.take(said)
    found = {}
    for name, worth in reward.signals.items():
        of_signal = signal.among(name) & (delay <= age)
        late = delay_distribution(delay[of_signal], age[of_signal], AT_RISK)
        value = np.clip(records.feedback_value[said[of_signal]], worth.low, worth.high)
        exposure = float(late.within(now - records.time[chosen]).sum())
        found[name] = late, worth.weight * float(value.sum()) / exposure if exposure else 0.0
    return found


def arrived(reward: Reward, delays: Delays) -> dict[str, float]:
    """The share of each signal's feedback that comes within the wait."""
    return {name: max(float(late.within(reward.wait)), LEAST_SHARE) for name, (late, _) in delays.items()}


def outstanding_reward(reward: Reward, delays: Delays, records: Records, now: float, young: Booleans) -> float:
    """What the decisions marked `young [T]` are still expected to earn by what will count, in reward."""
    age = now - records.time[young]
    limit = np.inf if reward.count_late or reward.delay_horizon else reward.wait
    return sum(
        worth * float((late.within(np.maximum(limit, age)) - late.within(age)).sum()) for late, worth in delays.values()
    )
