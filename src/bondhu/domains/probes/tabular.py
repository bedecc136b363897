"""Finite Markov problems by which learners over a table are told apart in the textbooks."""

from __future__ import annotations

import numpy as np

from bondhu.domains.probes.markov import Markov


def maximisation_bias(actions: int = 10) -> Markov:
    """Sutton & Barto 2018, example 6.7: Q*(0, ·) = (-0.1, 0). Catches a maximum over noisy values that is believed.

    State 0 can go left to state 1 or right to the end, both for nothing; each of the many actions of state 1 earns
    -0.1 on average with standard deviation 1. Here the noise is two ends, 2 and 3, worth 0.9 and -1.1.
    """
    transition, reward = np.zeros((4, actions, 4)), np.zeros((4, actions, 4))
    transition[0, 0, 1] = transition[0, 1:, 2] = transition[2:, :, 2] = 1.0
    transition[1, :, 2:] = 0.5
    reward[1, :, 2], reward[1, :, 3] = 0.9, -1.1
    allowed = np.ones((4, actions), np.bool_)
    allowed[0, 2:] = False
    return Markov(transition, reward, np.eye(4)[0], np.arange(4) >= 2, allowed, factor=1.0)


def random_walk(states: int = 5) -> Markov:
    """Sutton & Barto 2018, example 6.2: V(s) = s / (states + 1) between the ends. Catches values that are a little off.

    From the middle one step left or right by chance, until one of the ends: the right one is worth 1, the left one 0.
    """
    count = states + 2
    transition = np.eye(count)[:, None]
    for state in range(1, states + 1):
        transition[state, 0] = 0.5 * (np.eye(count)[state - 1] + np.eye(count)[state + 1])
    reward = np.zeros((count, 1, count))
    reward[states, 0, states + 1] = 1.0
    ends = np.isin(np.arange(count), [0, states + 1])
    return Markov(transition, reward, np.eye(count)[count // 2], ends, np.ones((count, 1), np.bool_), factor=1.0)
