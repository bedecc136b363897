from brackets import balanced


def test_balanced():
    assert balanced("")
    assert balanced("(a[b]{c})")
    assert balanced("()()")
    assert not balanced("(")
    assert not balanced("(]")
    assert not balanced(")(")
    assert not balanced("[[]")
