"""What N environments did in S steps, as columns [N, S], and the Batch and the episodes made of them.

What follows a step is what is seen at the next one; where an environment has begun anew by then, the last observation
of the episode is kept beside (`Last`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bondhu.errors import InvalidInput
from bondhu.types import Array, Batch, Booleans, Choice, Floats, Integers


class Episode(NamedTuple):
    """One episode that ended."""

    total_reward: float  # as the environment paid it
    length: int  # steps
    terminated: bool  # False: a time limit cut it
    success: bool | None = None  # what the environment says of it, if it says so


class Last(NamedTuple):
    """The last observations of episodes whose environments have begun anew in the same step."""

    step: int
    who: Integers  # [K] numbers of the environments
    observation: Array  # [K, F]
    allowed: Booleans  # [K, A]


class Rows(NamedTuple):
    """Which entries of [N, S] are rows, and how they hang together."""

    live: Booleans  # [N, S] False where the step only began anew
    starts: Booleans  # [T] whether the row opens an episode or the play
    ended: Booleans  # [T]
    whole: bool  # whether every step is a row

    def of(self, column: Array) -> Array:
        """[N, S, ...] -> [T, ...]."""
        chosen: Array = column.reshape(self.live.size, *column.shape[2:]) if self.whole else column[self.live]
        return chosen

    def own(self, column: Array) -> Array:
        """The same, to be written to: of one environment, `of` may be the column itself."""
        chosen = self.of(column)
        return chosen.copy() if np.may_share_memory(chosen, column) else chosen


class Trace:
    """Columns of S steps of N environments, filled as they are played."""

    def __init__(self, observation: Array, allowed: Booleans, steps: int, *, masked: bool) -> None:
        count = len(observation)
        self.filled = 0  # steps played
        self.shown = 1  # columns of what was seen: one more, unless something broke on the way
        self.observation = np.empty((count, steps + 1, *observation.shape[1:]), observation.dtype)
        self.observation[:, 0] = observation
        self.actions = allowed.shape[1]
        self.allowed = np.empty((count, steps + 1, self.actions), bool) if masked else None
        if self.allowed is not None:
            self.allowed[:, 0] = allowed
        self.paid = self.reward = np.empty((count, steps))
        self.terminated = np.empty((count, steps), bool)
        self.ended = np.empty((count, steps), bool)
        self.lasts: list[Last] = []
        self.success: dict[tuple[int, int], bool] = {}  # by environment and step

    def chosen(self, choice: Choice) -> None:
        """Keep what the policy did at the step being played."""
        step = self.filled
        if step == 0:
            self._columns_for(choice)
        self.action[:, step] = choice.action
        self.probability[:, step] = choice.probability
        if self.memo.shape[2]:
            self.memo[:, step] = choice.memo

    def happened(self, reward: Floats, terminated: Booleans, ended: Booleans, paid: Floats | None) -> None:
        """Keep what the environments answered; the step is played. `paid`: what counts for the total of an episode,
        where a wrapper has changed the reward."""
        step = self.filled
        self.reward[:, step] = reward
        if paid is not None and self.paid is self.reward:
            self.paid = self.reward.copy()
        if self.paid is not self.reward:
            self.paid[:, step] = reward if paid is None else paid
        self.terminated[:, step] = terminated
        self.ended[:, step] = ended
        self.filled = step + 1

    def saw(self, observation: Array, allowed: Booleans) -> None:
        """Keep what is seen after the step just played."""
        self.observation[:, self.filled] = observation
        if self.allowed is not None:
            self.allowed[:, self.filled] = allowed
        self.shown = self.filled + 1

    def _columns_for(self, choice: Choice) -> None:
        shape = self.reward.shape
        action, memo = np.asarray(choice.action), np.asarray(choice.memo)
        self.action = np.empty((*shape, *action.shape[1:]), action.dtype)
        self.probability = np.empty(shape, np.asarray(choice.probability).dtype)
        self.memo = np.empty((*shape, memo.shape[1]), memo.dtype)

    def rows(self, opening: Booleans | None) -> Rows:
        """Which steps are rows. `opening` [N]: which environments spent the first step on beginning anew, where a step
        does so (NEXT_STEP); None where none does."""
        live, starts = np.ones_like(self.ended), np.ones_like(self.ended)
        if opening is None:
            starts[:, 1:] = self.ended[:, :-1]
        else:
            live[:, 0] = ~opening
            live[:, 1:] = ~self.ended[:, :-1]
            starts[:, 1:] = ~live[:, :-1]
        return Rows(live, starts[live], self.ended[live], bool(live.all()))

    def batch(self, rows: Rows, *, time: float) -> Batch:
        """The rows, one trajectory after the other; the first has this time."""
        discount = 1.0 - rows.of(self.terminated)
        following = rows.own(self.observation[:, 1:])
        allowed, afterwards = self._masks(rows, len(discount))
        for last in self.lasts:  # only where every step is a row
            at = last.who * self.reward.shape[1] + last.step
            following[at], afterwards[at] = last.observation, last.allowed
        following[discount == 0] = 0
        afterwards[discount == 0] = True
        afterwards[~afterwards.any(axis=1)] = True  # where a cut leaves nothing to choose from
        final = np.zeros_like(rows.live)
        final[:, -1:] = True
        return Batch(
            observation=rows.of(self.observation[:, :-1]),
            allowed=allowed,
            action=rows.of(self.action),
            probability=rows.of(self.probability),
            reward=rows.of(self.reward),
            discount=discount,
            has_next=~(rows.ended | rows.of(final)),
            next_observation=following,
            next_allowed=afterwards,
            session=np.cumsum(rows.starts) - 1,
            time=time + np.arange(len(discount), dtype=float),
            memo=rows.of(self.memo),
        )

    def _masks(self, rows: Rows, count: int) -> tuple[Booleans, Booleans]:
        """What was allowed before and after each row: `[T, A]` each."""
        if self.allowed is None:
            return np.ones((count, self.actions), bool), np.ones((count, self.actions), bool)
        return rows.of(self.allowed[:, :-1]), rows.own(self.allowed[:, 1:])

    def episodes(self, rows: Rows, total: Floats, length: Integers) -> list[Episode]:
        """Those that ended, in the order they did. `total` and `length` [N] are of the episodes under way: they are
        read, and set to what is under way afterwards."""
        who, step = np.nonzero(rows.live)
        first = np.flatnonzero(rows.starts)
        if not len(first):
            return []
        last = np.r_[first[1:], len(who)] - 1
        sums = np.add.reduceat(self.paid[rows.live], first)
        lengths = last - first + 1
        owner = who[first]
        opens = np.r_[True, owner[1:] != owner[:-1]]  # the piece that goes on with what was under way
        sums[opens] += total[owner[opens]]
        lengths[opens] += length[owner[opens]]
        over = rows.ended[last]
        total[owner], length[owner] = np.where(over, 0.0, sums), np.where(over, 0, lengths)  # the last piece stays
        pieces = np.flatnonzero(over)
        pieces = pieces[np.argsort(step[last[pieces]], kind="stable")]
        return [
            Episode(
                float(sums[piece]),
                int(lengths[piece]),
                bool(self.terminated[owner[piece], step[last[piece]]]),
                self.success.get((int(owner[piece]), int(step[last[piece]]))),
            )
            for piece in pieces
        ]

    def check(self, before: int, live: Booleans | None = None) -> None:
        """Raise InvalidInput if a reward is not finite or an observation not a number; `before` steps went before."""
        reward = self.reward[:, : self.filled]
        wrong = ~np.isfinite(reward)
        if wrong.any() and (live is None or (wrong & live).any()):
            _refuse("reward", wrong if live is None else wrong & live, before + 1, reward)
        if np.issubdtype(self.observation.dtype, np.floating):
            observation = self.observation[:, : self.shown]
            missing = np.isnan(observation)
            if missing.any():
                _refuse("observation", missing, before, observation)
            for last in self.lasts:
                missing = np.isnan(last.observation)
                if missing.any():
                    _refuse(
                        "observation", missing[:, None], before + last.step + 1, last.observation[:, None], last.who
                    )


def _refuse(field: str, wrong: Booleans, before: int, column: Array, who: Integers | None = None) -> None:
    """Name the earliest place `[N, S, ...]` that is wrong; the first column is of step `before`."""
    places = np.argwhere(wrong)
    place = tuple(places[places[:, 1].argmin()].tolist())
    inner = "".join(f"[{each}]" for each in place[2:])
    number = place[0] if who is None else int(who[place[0]])
    raise InvalidInput(
        f"{field}{inner} of environment {number} is {column[place]} after step {before + place[1]}.",
        field=f"{field}{inner}",
        value=float(column[place]),
        fix="Look at what the environment computes there; nothing was learned from this play.",
    )


def said_of_success(info: Mapping[str, Any], who: Integers) -> dict[int, bool]:
    """What the environments numbered `who` say of their episodes: `is_success` or `success`, if they say it."""
    for source in (info.get("final_info"), info):
        for key in ("is_success", "success"):
            if isinstance(source, Mapping) and key in source:
                value, given = source[key], source.get(f"_{key}")
                return {int(each): bool(value[each]) for each in who if given is None or given[each]}
    return {}
