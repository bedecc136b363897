"""Simulated users with a personality, moods that recommendations move, and feedback that is late or missing.

Everything is a pure function of arrays and a generator. A situation is one number for (content, mood, time); the mean
of every reward is known exactly, so that regret is exact as well (`planning`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from bondhu.domains.fields import Category
from bondhu.domains.recommendation import TRAITS, domain
from bondhu.errors import InvalidInput
from bondhu.ports import Reward
from bondhu.types import Booleans, Floats, Integers

SHAPE = (3, 8, 4)  # content, mood, time
SITUATIONS = 96
ACTIONS = 27
CONTENTS, MOODS, TIMES = (item.values for item in domain().fields if isinstance(item, Category))

# [8, 2] valence and arousal of each mood (the circumplex of Russell 1980), in the order of the domain's list.
MOOD_PLACES = np.array(
    [[0, 0], [0.8, 0.4], [-0.8, -0.5], [-0.6, 0.6], [0.4, -0.6], [0.6, -0.7], [0.6, 0.9], [-0.7, 0.7]]
)
MOOD_SHARES = np.array([0.26, 0.14, 0.10, 0.10, 0.12, 0.10, 0.09, 0.09])  # at the start of a session
TIME_SHARES = np.array([0.15, 0.2, 0.45, 0.2])
CONTENT_SHARES = np.array([0.6, 0.3, 0.1])

# [8, 5] personalities come in types rather than evenly (Gerlach et al. 2018); traits in the order of TRAITS.
TYPES = np.array(
    [
        [50, 50, 50, 50, 50],  # average
        [90, 50, 70, 70, 10],  # adventurous
        [10, 70, 30, 50, 50],  # settled
        [30, 30, 90, 10, 50],  # self-centred
        [30, 50, 30, 50, 10],  # reserved
        [70, 90, 70, 90, 10],  # role model
        [70, 30, 10, 50, 90],  # sensitive
        [50, 50, 70, 70, 90],  # restless
    ]
)
TYPE_SHARES = np.array([0.26, 0.12, 0.12, 0.10, 0.12, 0.10, 0.09, 0.09])


class Heard(NamedTuple):
    """Feedback on some of the rows; several on one row, none on another."""

    row: Integers  # [K]
    signal: Sequence[str]  # [K]
    value: Floats  # [K]
    delay: Floats  # [K] seconds after the decision


class Step(NamedTuple):
    """What followed n decisions."""

    situation: Integers  # [n] of the next decision, if the session goes on
    ended: Booleans  # [n] the session is over
    heard: Heard


@dataclass(frozen=True)
class Population:
    """How users differ, like, answer and move on."""

    reward: Reward = field(default_factory=lambda: domain().reward)
    spread: float = 4.0  # points, standard deviation of each trait around its type
    tolerance: float = 1.3  # how far from what is wanted a recommendation still appeals: higher is easier
    respond: float = 0.65  # share of decisions that are answered at all
    quit: float = 0.15  # chance that a session ends after a decision
    switch: float = 0.1  # chance that the content changes within a session
    pass_time: float = 0.1  # chance that the time of day moves on within a session
    delays: Mapping[str, float] = field(  # seconds, mean of the exponential delay of each signal
        default_factory=lambda: {
            "like": 1_800.0,
            "dislike": 1_800.0,
            "complete": 600.0,
            "skip": 600.0,
            "share": 21_600.0,
            "completion_rate": 600.0,
            "mood_improvement": 43_200.0,
        }
    )

    def __post_init__(self) -> None:
        if self.reward.default != 0.0:
            raise InvalidInput(
                f"The default reward is {self.reward.default}.",
                field="reward.default",
                value=self.reward.default,
                fix="The simulator's exact means hold for a default of 0 only.",
            )

    # ------------------------------------------------------------------------------------------------ who and where

    def users(self, n: int, rng: np.random.Generator) -> Floats:
        """Traits of n people: `[n, 5]` in 0 to 100."""
        types = rng.choice(len(TYPES), n, p=TYPE_SHARES)
        return np.clip(TYPES[types] + self.spread * rng.standard_normal((n, len(TRAITS))), 0.0, 100.0).round(1)

    def reset(self, n: int, rng: np.random.Generator) -> Integers:
        """The situation in which each of n sessions starts: `[n]`."""
        return rng.choice(SITUATIONS, n, p=self.starts)

    @cached_property
    def starts(self) -> Floats:
        """Probability that a session starts in each situation: `[96]`."""
        shares: Floats = np.multiply.outer(np.multiply.outer(CONTENT_SHARES, MOOD_SHARES), TIME_SHARES).ravel()
        return shares

    def contexts(self, traits: Floats, situation: Integers) -> list[dict[str, Any]]:
        """The contexts an app would send: n dictionaries that JSON can hold."""
        names = [item.name for item in domain().fields]
        parts = zip((CONTENTS, MOODS, TIMES), parts_of(situation), strict=True)
        situated = [[values[code] for code in codes.tolist()] for values, codes in parts]
        return [
            dict(zip(names, row, strict=True)) for row in zip(*np.asarray(traits).T.tolist(), *situated, strict=True)
        ]

    def codes(self, traits: Floats, situation: Integers, bins: int = 5) -> Integers:
        """The observation that the domain's code encoder makes of these contexts: `[n, 8]`."""
        binned = [item.codes(traits[:, number]) for number, item in enumerate(domain(bins).fields[: len(TRAITS)])]
        return np.stack([*binned, *parts_of(situation)], axis=1)

    # ------------------------------------------------------------------------------------- what people want and say

    def appeal(self, levels: Integers, situation: Integers, action: Integers) -> Floats:
        """How well an action meets what is wanted, in (0, 1]: exp(-distance² / tolerance). Arguments broadcast."""
        energy, diversity, novelty = action // 9, action // 3 % 3, action % 3
        wanted = wishes(levels, situation)
        distance = (energy - wanted[0]) ** 2 + 0.8 * (diversity - wanted[1]) ** 2 + 0.8 * (novelty - wanted[2]) ** 2
        appeal: Floats = np.exp(-distance / self.tolerance)
        return appeal

    def expected_reward(self, traits: Floats, situation: Integers) -> Floats:
        """Exact mean of the reward that a log would show, missing and late feedback included: `[n, 27]`."""
        return self.mean_reward(levels_of(traits)[:, None], situation[:, None], np.arange(ACTIONS)[None])

    def mean_reward(self, levels: Integers, situation: Integers, action: Integers) -> Floats:
        """The same for broadcast arguments; the last axis of `levels` holds the traits."""
        said = chances(self.appeal(levels, situation, action), levels)
        finished = said["complete"]
        valence = MOOD_PLACES[:, 0]
        change = (self.next_mood(levels, situation, action) @ valence - valence[_mood(situation)]) / 2
        values = {**said, "completion_rate": finished + 0.2 * (1 - finished), "mood_improvement": MOOD_ASKED * change}
        total: Floats = sum(
            (self.reward.signals[name].weight * self._on_time(name) * value for name, value in values.items()),
            start=np.zeros(()),
        )
        return self.respond * total

    def next_mood(self, levels: Integers, situation: Integers, action: Integers) -> Floats:
        """Probability of each mood after the action: `[..., 8]`, a softmax around where the action moves it."""
        mood, energy = _mood(situation), action // 9
        appeal = self.appeal(levels, situation, action)
        moved = np.stack(np.broadcast_arrays(appeal - 0.4 - 0.15 * levels[..., 4], 0.3 * (energy - 1.0)), axis=-1)
        target = MOOD_PLACES[mood] + moved
        squared = ((target[..., None, :] - MOOD_PLACES) ** 2).sum(axis=-1)
        stay = 0.8 * (mood[..., None] == np.arange(len(MOODS)))
        weight = np.exp(stay - 2.0 * squared)
        probability: Floats = weight / weight.sum(axis=-1, keepdims=True)
        return probability

    # ------------------------------------------------------------------------------------------------- what happens

    def step(self, traits: Floats, situation: Integers, action: Integers, rng: np.random.Generator) -> Step:
        """Draw what n users say of their actions and where they go from there."""
        levels = levels_of(traits)
        content, mood, time = parts_of(situation)
        next_mood = _drawn(rng, self.next_mood(levels, situation, action))
        next_content = _drawn(rng, _switching(self.switch, SHAPE[0])[content])
        next_time = (time + (rng.random(len(action)) < self.pass_time)) % SHAPE[2]
        following = np.ravel_multi_index((next_content, next_mood, next_time), SHAPE)
        improvement = (MOOD_PLACES[next_mood, 0] - MOOD_PLACES[mood, 0]) / 2
        heard = self._heard(chances(self.appeal(levels, situation, action), levels), improvement, rng)
        return Step(following, rng.random(len(action)) < self.quit, heard)

    def observed_reward(self, heard: Heard, n: int) -> Floats:
        """The reward of each of n rows as the log's join counts it: late feedback only where the domain says so."""
        weights = np.array([self.reward.signals[name].weight for name in heard.signal])
        counted = (heard.delay <= self.reward.wait) | self.reward.count_late
        return np.bincount(heard.row, weights * heard.value * counted, n).astype(np.float64)

    def _heard(self, said: Mapping[str, Floats], improvement: Floats, rng: np.random.Generator) -> Heard:
        n = len(improvement)
        answered = rng.random(n) < self.respond
        finished = rng.random(n) < said["complete"]
        ones = np.ones(n)
        happened = {
            "complete": (finished, ones),
            "skip": (~finished & (rng.random(n) < SKIPPED), ones),
            "completion_rate": (np.ones(n, bool), np.where(finished, 1.0, 0.4 * rng.random(n))),
            **{name: (rng.random(n) < said[name], ones) for name in ("like", "dislike", "share")},
            "mood_improvement": (rng.random(n) < MOOD_ASKED, improvement),
        }
        rows = {name: np.flatnonzero(answered & mask) for name, (mask, _) in happened.items()}
        return Heard(
            row=np.concatenate(list(rows.values())),
            signal=np.repeat(list(rows), [len(row) for row in rows.values()]).tolist(),
            value=np.concatenate([happened[name][1][row] for name, row in rows.items()]),
            delay=np.concatenate([rng.exponential(self.delays[name], len(row)) for name, row in rows.items()]),
        )

    def _on_time(self, signal: str) -> float:
        """Share of a signal's feedback that counts."""
        return 1.0 if self.reward.count_late else float(-np.expm1(-self.reward.wait / self.delays[signal]))


SKIPPED = 0.8  # share of what is not completed that is skipped openly
MOOD_ASKED = 0.25  # share of answered decisions after which the change of mood is reported


def parts_of(situation: Integers) -> tuple[Integers, Integers, Integers]:
    """Content, mood and time of a situation; any shape.

    By division, since NumPy 2.4's `unravel_index` is wrong for arrays of shape [n, 1] with more than 8,192 rows.
    """
    return situation // 32, situation // 4 % 8, situation % 4


def levels_of(traits: Floats) -> Integers:
    """-1 below 40, 0 from 40, 1 from 60: people differ by low, middle and high traits."""
    return (traits >= 40.0).astype(np.int64) + (traits >= 60.0) - 1


def wishes(levels: Integers, situation: Integers) -> tuple[Floats, Floats, Floats]:
    """The energy, diversity and novelty wanted, each in 0 to 2. In a low mood, anxious people want to be soothed and
    stable ones to be cheered up, which no rule by mood alone can know."""
    openness, order, outgoing, _, nerves = np.moveaxis(levels, -1, 0)
    content, mood, time = parts_of(situation)
    valence, arousal = MOOD_PLACES[mood, 0], MOOD_PLACES[mood, 1]
    low = valence < 0
    energy = (
        1.0
        + 0.6 * outgoing
        + np.where(low, -0.9 * nerves, 0.6 * arousal)
        + np.array([0.3, 0.2, 0.0, -0.4])[time]
        + np.array([0.0, -0.3, 0.6])[content]
    )
    diversity = 1.0 + 0.8 * openness - 0.4 * order + np.array([0.0, 0.4, -0.5])[content]
    novelty = 1.0 + 0.5 * openness - np.where(low, 0.3 + 0.6 * nerves, -0.3) + 0.3 * (np.asarray(time) == 2)
    return np.clip(energy, 0, 2), np.clip(diversity, 0, 2), np.clip(novelty, 0, 2)


def chances(appeal: Floats, levels: Integers) -> dict[str, Floats]:
    """Probability of each thing an answering user may do."""
    finished = 0.1 + 0.65 * appeal
    return {
        "complete": finished,
        "skip": SKIPPED * (1 - finished),
        "like": 0.5 * appeal,
        "dislike": 0.45 * (1 - appeal),
        "share": 0.15 * appeal * (1 + 0.5 * levels[..., 3]),  # agreeable people share more
    }


def situation_moves(population: Population) -> tuple[Floats, Floats]:
    """How content `[3, 3]` and time of day `[4, 4]` move on, whatever is recommended."""
    stay = np.eye(SHAPE[2])
    onward = (1 - population.pass_time) * stay + population.pass_time * np.roll(stay, 1, axis=1)
    return _switching(population.switch, SHAPE[0]), onward


def _mood(situation: Integers) -> Integers:
    return parts_of(situation)[1]


def _switching(chance: float, size: int) -> Floats:
    """`[size, size]` stay, or go to any of the others."""
    return np.where(np.eye(size, dtype=bool), 1 - chance, chance / (size - 1))


def _drawn(rng: np.random.Generator, probabilities: Floats) -> Integers:
    """One draw a row of `[n, k]`."""
    reached = rng.random((len(probabilities), 1)) >= np.cumsum(probabilities, axis=-1)
    drawn: Integers = np.minimum(reached.sum(axis=-1), probabilities.shape[-1] - 1)
    return drawn
