"""What bandits over a table share: an independent bandit in each row, and what each of its actions earned.

A bandit looks at one decision at a time: what follows a decision does not count. Metrics: `reward` mean reward of a
decision; `rounds` decisions learned from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from bondhu.compiled import compiled
from bondhu.learners._table import UNTRIED, blended, check, refused, row_finder, shape_of, writable
from bondhu.types import Array, Batch, Belief, Beliefs, Floats, Integers, Metrics, PerAction, Spec


@dataclass(frozen=True)
class Arms:
    """What was learned; 16 bytes for each action of each row. A row is a state; where the table is hashed, several."""

    totals: Annotated[Floats, PerAction(1)]  # [rows, A] sum of rewards, so that equal means are equal to the last bit
    tries: Annotated[Floats, PerAction(1)]  # [rows, A] decisions behind it; fractions where evidence fades
    sizes: Integers  # [F] codes of each observation column
    noise: float  # variance of a reward around its mean
    repeats: int  # rewards behind the noise: those of actions tried before
    rounds: int  # decisions learned from


def no_arms(spec: Spec, noise: float = 1.0) -> Arms:
    """Nothing was tried; `noise` counts as seen once."""
    sizes, *shape = shape_of(spec)
    return Arms(np.zeros(shape), np.zeros(shape), sizes, noise, repeats=1, rounds=0)


def beliefs_of(state: Arms, variance: float, mean: float = 0.0, weight: float = 0.0) -> Beliefs:
    """Mean rewards and their errors, where `mean` counts as seen `weight` times, and a reward has this variance."""
    row_of, least = row_finder(state.sizes, len(state.tries)), UNTRIED if weight == 0.0 else 0.0

    def believed(observation: Array) -> Belief:
        row = row_of(observation)
        tries = state.tries.take(row, 0)
        evidence = np.maximum(tries + weight, least)
        value = (state.totals.take(row, 0) + mean * weight) / evidence
        return Belief(value, np.sqrt(variance / evidence), tries, state.rounds)

    return believed


def ready(batch: Batch, sizes: Integers, rows: int, actions: int) -> tuple[Integers, Integers, Floats]:
    """Row, action and reward `[T]` as compiled loops read them; what cannot be learned from is refused."""
    check(batch, sizes, actions)
    row: Integers = row_finder(sizes, rows)(batch.observation)
    return row, np.ascontiguousarray(batch.action, np.int64), np.ascontiguousarray(batch.reward, np.float64)


def check_share(batch: Batch) -> None:
    """Refuse rewards outside 0 to 1."""
    outside = (batch.reward < 0.0) | (batch.reward > 1.0)
    if outside.any():
        row = int(outside.argmax())
        raise refused("reward", batch.reward[row], f"Row {row} needs a reward from 0 to 1: scale and shift rewards.")


def tallied(state: Arms, batch: Batch, keep: float = 1.0) -> tuple[Arms, Metrics]:
    """The arms after a batch; `keep` is what remains of a row's evidence at each new decision in it."""
    rows = ready(batch, state.sizes, *state.tries.shape)
    totals, tries = writable(state.totals), writable(state.tries)
    squares, repeats = compiled(tally)(totals, tries, rows, keep)
    noise = blended(state.noise, squares, repeats, state.repeats)
    learned = Arms(totals, tries, state.sizes, noise, state.repeats + repeats, state.rounds + len(batch))
    return learned, reported(batch, state.rounds)


def tally(totals: Floats, tries: Floats, rows: tuple[Integers, Integers, Floats], keep: float) -> tuple[float, int]:
    """One pass over T decisions, in place: what they add to the squared deviations from the means, and how many do.

    From the second try of an action on, δ·(reward - new mean) is one variance on average (Welford 1962).
    """
    row, action, reward = rows
    squares, repeats = 0.0, 0
    for t in range(len(row)):
        s, a = row[t], action[t]
        if keep < 1.0:
            for b in range(tries.shape[1]):
                totals[s, b] *= keep
                tries[s, b] *= keep
        if tries[s, a] > 0.0:
            error = reward[t] - totals[s, a] / tries[s, a]
            squares += error * error * tries[s, a] / (tries[s, a] + 1.0)
            repeats += 1
        totals[s, a] += reward[t]
        tries[s, a] += 1.0
    return squares, repeats


def reported(batch: Batch, rounds: int) -> Metrics:
    """The metrics of an update after so many `rounds` before it."""
    return {"reward": float(batch.reward.sum()) / max(len(batch), 1), "rounds": float(rounds + len(batch))}
