from backoff import waits


def test_waits():
    assert waits(0, 1, 8) == []
    assert waits(1, 1, 8) == [1]
    assert waits(3, 1, 8) == [1, 2, 4]
    assert waits(5, 1, 8) == [1, 2, 4, 8, 8]
    assert waits(2, 9, 4) == [4, 4]
