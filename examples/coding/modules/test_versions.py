from versions import newer


def test_newer():
    assert newer("2.0", "1.9")
    assert newer("1.10", "1.9")
    assert newer("1.0.1", "1.0")
    assert not newer("1.9", "1.10")
    assert not newer("1.0", "1.0")
