from overlap import overlap


def test_overlap():
    assert overlap((0, 4), (2, 6)) == 2
    assert overlap((2, 6), (0, 4)) == 2
    assert overlap((0, 9), (3, 4)) == 1
    assert overlap((0, 1), (1, 2)) == 0
    assert overlap((0, 1), (5, 6)) == 0
