"""Exploring by gaps: the worse a value looks beside the best one, the more rarely it is tried."""

from __future__ import annotations

from bondhu.types import Booleans, Floats


def inverse_gap(value: Floats, allowed: Booleans, greed: float, chances: Floats) -> int:
    """Write to `chances` p(a) = 1 / (K + greed·(best - value(a))) for each of the K allowed actions but the best, which
    has the rest; several best ones share it evenly: `[T, A]` each. Returns a row that allows nothing, or -1.

    Abe & Long (1999); Foster & Rakhlin (2020), algorithm 1. A plain loop, to be compiled.
    """
    for t in range(len(value)):
        best, count, equal = 0.0, 0, 0
        for a in range(value.shape[1]):
            if allowed[t, a]:
                if count == 0 or value[t, a] > best:
                    best, equal = value[t, a], 0
                equal += value[t, a] == best
                count += 1
        if count == 0:
            return t
        rest = 1.0
        for a in range(value.shape[1]):
            chances[t, a] = 0.0
            if allowed[t, a] and value[t, a] < best:
                chances[t, a] = 1.0 / (count + greed * (best - value[t, a]))
                rest -= chances[t, a]
        for a in range(value.shape[1]):
            if allowed[t, a] and value[t, a] == best:
                chances[t, a] = rest / equal
    return -1
