from duration import seconds


def test_seconds():
    assert seconds("") == 0
    assert seconds("5s") == 5
    assert seconds("2m") == 120
    assert seconds("30s") == 30
    assert seconds("1h5m") == 3900
    assert seconds("1d12h") == 129600
