from checksum import valid


def test_valid():
    assert valid("0")
    assert valid("18")
    assert valid("59")
    assert valid("79927398713")
    assert not valid("1")
    assert not valid("58")
    assert not valid("79927398710")
