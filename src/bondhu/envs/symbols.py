"""MiniGrid seen as symbols: what stands in each cell as codes, so that "key" is not twice a "wall".

The agent's view has for each cell the kind of object, its colour and its state (Chevalier-Boisvert et al. 2023); with
the direction that is a MultiDiscrete of 7·7·3 + 1 codes, of which `spaces.features` makes 984 columns of 0 and 1. One
column for each value, because the numbers of the kinds mean nothing: a network that reads them as sizes (the image as
it is, or divided by 10) must first learn to tell 4 from 5.

A mission with places to fill ("get the {color} key") adds one code for each place. A mission that never changes adds
none.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, MultiDiscrete

from bondhu.errors import InvalidInput
from bondhu.types import Integers

MISSIONS = 100_000  # ways to fill a mission's places up to which they are listed


class Symbols(gymnasium.ObservationWrapper[Any, Any, Any]):
    """One MiniGrid environment, observed as codes."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX

        space = env.observation_space
        if not isinstance(space, Dict) or "image" not in space.spaces or "direction" not in space.spaces:
            raise InvalidInput(f"This is no MiniGrid observation: {space}.", field="observation_space")
        cells = int(np.prod(space["image"].shape or ())) // 3
        kinds = [max(table.values()) + 1 for table in (OBJECT_TO_IDX, COLOR_TO_IDX, STATE_TO_IDX)]
        self._mission, sizes = _reader(space["mission"])
        self.observation_space = MultiDiscrete(np.r_[np.tile(kinds, cells), 4, sizes].astype(np.int64))

    def observation(self, observation: Any) -> Integers:
        """Codes of the cells, the direction, and the mission's places."""
        codes = [observation["image"].ravel(), [observation["direction"]], self._mission(observation["mission"])]
        joined: Integers = np.concatenate(codes).astype(np.int64)
        return joined


def _reader(space: Any) -> tuple[Callable[[str], list[int]], list[int]]:
    """From a mission to the number of the word in each of its places, and how many words each place knows."""
    places: list[list[str]] = getattr(space, "ordered_placeholders", None) or []
    sizes = [len(words) for words in places]
    if prod(sizes) > MISSIONS:
        raise InvalidInput(
            f"The mission can be said in {prod(sizes):,} ways.",
            field="mission",
            fix=f"Wrap the environment so that it is seen otherwise; up to {MISSIONS:,} are listed.",
        )
    known = {space.mission_func(*map(str, words)): numbers for words, numbers in _fillings(places)}
    if not places:
        return lambda mission: [], sizes  # noqa: ARG005  # there is nothing to tell apart

    def read(mission: str) -> list[int]:
        if mission not in known:
            raise InvalidInput(f"The mission {mission!r} is none of its space.", field="mission", value=mission)
        return known[mission]

    return read, sizes


def _fillings(places: list[list[str]]) -> list[tuple[tuple[str, ...], list[int]]]:
    numbers = product(*(range(len(words)) for words in places))
    return [
        (tuple(words[number] for words, number in zip(places, chosen, strict=True)), list(chosen)) for chosen in numbers
    ]
