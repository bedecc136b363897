from paginate import page


def test_page():
    assert page([1, 2, 3, 4, 5], 1, 2) == [1, 2]
    assert page([1, 2, 3, 4, 5], 2, 2) == [3, 4]
    assert page([1, 2, 3, 4, 5], 3, 2) == [5]
    assert page([1, 2, 3, 4, 5], 4, 2) == []
