"""A small task whose rewards and menus can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bondhu.domains.coding.env import CodingEnv
from bondhu.domains.coding.rules import Rules
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import assertions
from tests.coding.inside import Inside

BROKEN = """\
def positives(values):
    count = 0
    for value in values:
        if value >= 0:
            count += 1
    return count
"""
RIGHT = BROKEN.replace(">=", ">")
# The first two pass as it is found; of the two that fail, each executes the lines 4 and 5.
SEEN = """\
assert positives([]) == 0
assert positives([1, 2]) == 2
assert positives([0]) == 0
assert positives([0, 5]) == 1
"""
UNSEEN = "assert positives([-1, 0, 3]) == 1\n"
TASK = Task(
    "toy/positives",
    "positives",
    "Count the values above zero.",
    BROKEN,
    assertions(SEEN, "positives"),
    assertions(UNSEEN, "positives", name="held out"),
    solution=RIGHT,
)
SMALL = Rules(lines=2, candidates=2, operators=("comparison_operator", "constant_changed"), discount=0.5)
# What numbers mean under SMALL.
GENERATE, EDIT, UNDO, SEARCH, COMPILE, TEST, ASK, CONTEXT, SUBMIT = range(9)
FIRST_LINE, SECOND_LINE, COMPARISON, CONSTANT, FIRST, SECOND, MORE, BACK = range(9, 17)
SOLVING = (TEST, EDIT, FIRST_LINE, COMPARISON, MORE, FIRST, TEST)


def toy(rules: Rules = SMALL, **more: Any) -> CodingEnv:
    return CodingEnv([TASK], Inside(), rules=rules, **more)


def allowed(info: dict[str, Any]) -> list[int]:
    found: list[int] = np.flatnonzero(info["action_mask"]).tolist()
    return found


def walked(env: CodingEnv, actions: Sequence[int]) -> tuple[list[float], dict[str, Any]]:
    """The rewards of these actions, from the beginning of an episode, and the last info."""
    _, info = env.reset(seed=0)
    rewards = []
    for action in actions:
        _, reward, *_, info = env.step(action)
        rewards.append(reward)
    return rewards, info
