"""What batches of single decisions share, and what they leave behind."""

import gc
import weakref

import numpy as np

from bondhu.types import Batch


def single(rows):
    zeros, codes = np.zeros(rows), np.zeros((rows, 1), np.int64)
    return Batch.single(codes, np.ones((rows, 2), bool), np.zeros(rows, np.int64), zeros + 0.5, zeros)


def test_what_stands_beside_single_decisions_is_shared_by_small_batches_and_let_go_with_large_ones():
    assert single(1).session is single(1).session
    assert single(64).discount is single(64).discount
    large = single(65)
    left = [weakref.ref(part) for part in (large.discount, large.has_next, large.session, large.time, large.memo)]
    assert large.session.tolist() == list(range(65))
    assert not large.session.flags.writeable
    del large
    gc.collect()
    assert [part() for part in left] == [None] * 5
