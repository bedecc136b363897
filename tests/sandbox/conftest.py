"""A sandbox of each kind that this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bondhu.errors import SandboxUnavailable
from bondhu.sandbox.pool import Pool, open_sandbox

KINDS = ("namespaces", "landlock")


@pytest.fixture(scope="package", params=KINDS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Pool]:
    with available(request.param) as opened:
        yield opened


@pytest.fixture(scope="package")
def any_sandbox() -> Iterator[Pool]:
    with available("auto") as opened:
        yield opened


def available(kind: str, workers: int = 2) -> Pool:
    try:
        return open_sandbox(workers, kind)
    except SandboxUnavailable as reason:
        pytest.skip(str(reason))
