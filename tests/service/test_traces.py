"""Which callers' traces are followed: the flags of a `traceparent`, bit by bit."""

from __future__ import annotations

import pytest

from bondhu.monitor.traces import sampled

IDS = b"-" + b"a" * 32 + b"-" + b"b" * 16 + b"-"


@pytest.mark.parametrize(
    ("parent", "followed"),
    [
        (b"00" + IDS + b"01", True),
        (b"00" + IDS + b"03", True),  # with random ids beside it
        (b"00" + IDS + b"ff", True),
        (b"00" + IDS + b"00", False),
        (b"00" + IDS + b"02", False),
        (b"01" + IDS + b"01-later", True),  # a version to come may say more behind it
        (b"00" + IDS, False),
        (b"00" + IDS + b"zz", False),
        (b"", False),
    ],
)
def test_the_lowest_bit_of_the_flags_says_whether_a_trace_is_followed(parent: bytes, followed: bool) -> None:
    assert sampled(parent) is followed
