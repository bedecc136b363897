"""Rewards of the next n steps, for values that bootstrap n steps ahead."""

from __future__ import annotations

import numpy as np

from bondhu.types import Booleans, Floats, Integers


def n_step(
    reward: Floats, discount: Floats, has_next: Booleans, steps: int, factor: float
) -> tuple[Floats, Floats, Integers]:
    """R = Σ_{i<k} γ^i·r_{t+i}, the discount that remains, and the row whose next observation is valued: `[T]` each.

    k = `steps`, or fewer where the trajectory ends or is cut before: nothing crosses a boundary. What remains is γ^k,
    or 0 after a true end (`discount` 0); the target is R + remains·v(next_observation[row]). `factor` is γ
    (Sutton & Barto 2018, equation 7.1; Hessel et al. 2018). Rows lie trajectory after trajectory.
    """
    row = np.arange(len(reward))
    total = np.array(reward, np.float64)
    remains = factor * np.asarray(discount, np.float64)
    goes_on = np.asarray(has_next, np.bool_) & (remains > 0)
    goes_on[-1:] = False  # beyond the last row there is nothing to add
    for _ in range(steps - 1):
        going = goes_on[row]
        row = row + going
        total += np.where(going, remains * np.asarray(reward)[row], 0.0)
        remains = np.where(going, remains * factor * np.asarray(discount)[row], remains)
    return total, remains, row
