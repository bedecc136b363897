"""The memory of recurrent policies, by hand and by two ways of computing it."""

import numpy as np

from bondhu.learners import _recurrent
from bondhu.learners._recurrent import Cell
from bondhu.policies.remembering import Remembering
from bondhu.policies.uniform import Uniform


def made():
    return _recurrent.cell(np.random.default_rng(0), 2, 3)


def test_a_cell_begins_with_orthogonal_matrices_and_a_bias_to_keep():
    cell = made()
    assert (cell.seen.shape, cell.kept.shape) == ((2, 9), (3, 9))
    for part in range(3):
        matrix = cell.kept[:, 3 * part : 3 * part + 3]
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    assert cell.bias.tolist() == [1.0] * 3 + [0.0] * 6


def test_one_number_is_kept_and_renewed_as_worked_by_hand():
    cell = Cell(np.float32([[1.0, 0.0, 0.5]]), np.float32([[0.0, 1.0, 2.0]]), np.float32([0.0, 0.0, 0.0]))
    keep, reset = 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(-0.4))  # x = 1, h = 0.4
    expected = keep * 0.4 + (1 - keep) * np.tanh(0.5 + reset * 0.8)
    seen = np.float32([[1.0, 0.4]])
    np.testing.assert_allclose(_recurrent.after(cell, seen), [[1.0, expected]], rtol=1e-6)
    np.testing.assert_allclose(_recurrent.remembering(cell)(seen), [[1.0, expected]], rtol=1e-6)


def test_sequences_go_on_from_row_to_row_and_begin_anew_with_the_stored_memory_where_they_open():
    cell, rng = made(), np.random.default_rng(1)
    rows = rng.normal(size=(2, 4, 5)).astype(np.float32)
    opens = np.array([[True, False, True, False], [True, False, False, False]])
    recall, expected = _recurrent.remembering(cell), np.empty_like(rows)
    for each in range(2):
        for step in range(4):
            row = rows[each, step : step + 1].copy()
            if not opens[each, step]:
                row[0, 2:] = expected[each, step - 1, 2:]
            expected[each, step] = recall(row)[0]
    np.testing.assert_allclose(_recurrent.through(cell, rows, opens), expected, rtol=1e-5, atol=1e-6)


def test_a_row_is_remembered_alone_as_among_others():
    cell = _recurrent.cell(np.random.default_rng(0), 37, 16)
    rows = np.random.default_rng(1).normal(size=(64, 53)).astype(np.float32)
    recall = _recurrent.remembering(cell)
    np.testing.assert_array_equal(recall(rows), np.concatenate([recall(rows[k : k + 1]) for k in range(64)]))
    assert recall(rows[:0]).shape == (0, 53)


def test_a_remembering_policy_shows_its_memory_behind_the_memo_of_the_policy_it_holds():
    recall = _recurrent.remembering(made())
    seen, allowed = np.ones((4, 5), np.float32), np.ones((4, 2), bool)
    choice = Remembering(Uniform(), recall, 3).sample(seen, allowed, np.random.default_rng(0))
    np.testing.assert_array_equal(choice.memo, recall(seen)[:, -3:])
    assert choice.probability.tolist() == [0.5] * 4
