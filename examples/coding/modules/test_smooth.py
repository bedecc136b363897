from smooth import smooth


def test_smooth():
    assert smooth([], 1) == []
    assert smooth([1, 2, 3], 1) == [1, 2, 3]
    assert smooth([1, 3, 5, 7], 2) == [2, 4, 6]
    assert smooth([1, 2, 3], 3) == [2]
    assert smooth([1, 2], 3) == []
