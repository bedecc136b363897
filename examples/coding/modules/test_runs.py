from runs import runs


def test_runs():
    assert runs("") == []
    assert runs("a") == [("a", 1)]
    assert runs("aa") == [("a", 2)]
    assert runs("aaab") == [("a", 3), ("b", 1)]
    assert runs("abbb") == [("a", 1), ("b", 3)]
    assert runs("aba") == [("a", 1), ("b", 1), ("a", 1)]
