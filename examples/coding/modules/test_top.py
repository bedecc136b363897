from top import top


def test_top():
    assert top([], 2) == []
    assert top(["a"], 2) == ["a"]
    assert top(["b", "a", "b"], 2) == ["b", "a"]
    assert top(["b", "a"], 2) == ["a", "b"]
    assert top(["c", "b", "c", "a", "b", "c"], 1) == ["c"]
