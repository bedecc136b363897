from cuts import cuts


def test_cuts():
    assert cuts(0, [2]) == 0
    assert cuts(4, [2]) == 2
    assert cuts(3, [2]) == -1
    assert cuts(6, [1, 3, 4]) == 2
    assert cuts(11, [1, 5]) == 3
