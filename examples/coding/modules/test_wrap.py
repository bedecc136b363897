from wrap import wrap


def test_wrap():
    assert wrap([], 5) == []
    assert wrap(["a"], 5) == ["a"]
    assert wrap(["ab", "cd"], 5) == ["ab cd"]
    assert wrap(["ab", "cd"], 4) == ["ab", "cd"]
    assert wrap(["abcdef", "g"], 3) == ["abcdef", "g"]
    assert wrap(["a", "b", "c"], 3) == ["a b", "c"]
