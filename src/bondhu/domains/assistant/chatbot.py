"""A chatbot that helps people to debug: a worked example of why the polite answer need not be the good one.

Somebody writes "My code is giving an error". Answer A thanks and asks how to help (politeness 1.0, relevance 0.3),
answer B asks for the error message and the stack trace (0.7 and 1.0). From there the example tells one course of five
turns for each, so later answers change nothing here. With γ = 0.9 the returns are 6.03148 and 6.79706. The example
prints 6.044 and 6.807: its terms are rounded, and four of them wrongly (1.097 for 1.0935, 1.190 for 1.18098, 1.241 for
1.2393, 1.058 for 1.04976). B is ahead by 0.76558, and by 0.763 as printed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from bondhu.equations.returns import discounted_return
from bondhu.types import Array

FACTOR = 0.9  # γ
GENERIC, DIRECT = 0, 1
ACTIONS = (
    "Thank you for reaching out about your code error. How can I assist you today?",
    "Could you share the error message and stack trace you're seeing?",
)


class Turn(NamedTuple):
    """What the user's message is, and what the answer to it is worth: politeness + relevance, each from 0 to 1."""

    message: str
    reward: float


# The first message is the same; what follows depends on the first answer.
COURSES: tuple[tuple[Turn, ...], ...] = (
    (
        Turn("error", 1.3),  # answered politely, but generically: 1.0 + 0.3
        Turn("explanation", 1.2),  # the user explains the error
        Turn("question", 1.7),  # now the stack trace is asked for: 0.7 + 1.0
        Turn("trace", 1.5),  # the user sends it
        Turn("debugging", 1.8),  # debugging begins
    ),
    (
        Turn("error", 1.7),  # the stack trace is asked for at once: 0.7 + 1.0
        Turn("trace", 1.5),
        Turn("debugging", 1.8),
        Turn("progress", 1.7),
        Turn("resolution", 1.6),
    ),
)
PRINTED = (6.044, 6.807)  # as the example has it
MESSAGES = ("error", "explanation", "question", "trace", "debugging", "progress", "resolution")
TURNS = 5


def worth(action: int, factor: float = FACTOR) -> float:
    """Q(first message, action): the discounted return of the course that this first answer leads to."""
    return discounted_return(np.array([turn.reward for turn in COURSES[action]]), factor)


class DebuggingChatbot(gymnasium.Env[Array, Any]):
    """One conversation: seen are the user's kind of message and the number of the turn; it truly ends after five.

    The turn is seen since what a message is worth depends on how much of the conversation is left: "debugging" may come
    third or last. `info` holds the user's kind of message in words.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  Gymnasium's own convention

    def __init__(self) -> None:
        self.observation_space = MultiDiscrete([len(MESSAGES), TURNS])
        self.action_space = Discrete(len(ACTIONS))
        self._course, self._turn = COURSES[GENERIC], 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._turn = 0
        return self._seen()

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        if self._turn == 0:
            self._course = COURSES[int(action)]
        reward = self._course[self._turn].reward
        self._turn += 1
        ended = self._turn == TURNS
        self._turn = min(self._turn, TURNS - 1)  # nothing follows the last message: it is shown again
        observation, info = self._seen()
        return observation, reward, ended, False, info

    def _seen(self) -> tuple[Array, dict[str, Any]]:
        message = self._course[self._turn].message
        return np.array([MESSAGES.index(message), self._turn]), {"message": message}
