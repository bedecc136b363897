"""What was done since the environments last began anew, as arrays."""

import numpy as np

from bondhu.runs.stretch import ACTIONS, MEMOS, Stretch
from bondhu.types import Choice


def test_memos_of_a_policy_that_changed_are_kept_side_by_side_with_zeros_before_the_shorter_ones() -> None:
    stretch = Stretch()  # such as of td3, which draws uniformly before it has learned
    stretch.choices.append(Choice(np.zeros((2, 1)), np.ones(2), np.empty((2, 0))))
    stretch.choices.append(Choice(np.ones((2, 1)), np.ones(2), np.full((2, 1), -0.5)))
    arrays = stretch.arrays()
    assert arrays[ACTIONS].tolist() == [[[0.0], [0.0]], [[1.0], [1.0]]]
    assert arrays[MEMOS].tolist() == [[[0.0], [0.0]], [[-0.5], [-0.5]]]


def test_nothing_done_is_nothing() -> None:
    assert Stretch().arrays() == {}
