from flatten import flatten


def test_flatten():
    assert flatten([]) == []
    assert flatten([1, 2]) == [1, 2]
    assert flatten([[1], [2, 3]]) == [1, 2, 3]
    assert flatten([1, [2, [3, []]]]) == [1, 2, 3]
