"""Attacks gain nothing, by either isolation, of root and of any user; and the next program is answered rightly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bondhu.sandbox.isolation import as_nobody, folders
from tests.sandbox.attacks import HONEST, PATIENT, assault, attack, attacks, descendants, descriptors, host, settled
from tests.sandbox.conftest import KINDS, available

from bondhu.sandbox.program import Call, Program  # isort: skip

ROOT = Path(__file__).resolve().parents[2]


def check_nothing_was_gained(found: dict[str, Any]) -> None:
    assert found["won"] == []
    assert found["wrong"] == []
    assert found["after"] == found["before"]
    assert len(found["ended"]) == len(attacks())


def test_there_are_attacks_of_every_kind() -> None:
    kinds = Counter(each.kind for each in attacks())
    assert set(kinds) == {"forge", "escape", "leak", "net", "dos", "persist"}
    assert min(kinds.values()) >= 5
    assert len({each.name for each in attacks()}) == sum(kinds.values()) >= 100


@pytest.mark.parametrize("kind", KINDS)
def test_no_attack_gains_anything(kind: str) -> None:
    with available(kind, 1) as sandbox:
        check_nothing_was_gained(assault(sandbox, attacks()))


@pytest.mark.parametrize("kind", KINDS)
def test_no_attack_gains_anything_where_the_host_is_no_root(kind: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("these tests are not run by root: the ones before have been by a user")
    available(kind, 1).close()
    interpreter = os.path.realpath(sys.executable)
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    command = [interpreter, "-m", "tests.sandbox.attacks", kind]
    readable = [*folders(interpreter), interpreter, str(ROOT / "src"), str(ROOT / "tests")]
    launched = as_nobody(command, readable, environment)
    done = subprocess.run(launched, capture_output=True, text=True, timeout=120, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["user"] != 0
    check_nothing_was_gained(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_day_leaves_nothing_behind(kind: str) -> None:
    """300 programs by two jails side by side, 3 % of them attacks."""
    rng = Random(7)
    chosen = [each for each in attacks() if each.kind != "net"]
    with available(kind, 2) as sandbox, host() as target:
        before = (descendants(), descriptors())
        for _ in range(10):
            assert not attack(sandbox, rng.choice(chosen), target)[0]
            numbers = [(rng.randrange(1 << 40), rng.randrange(1 << 40)) for _ in range(29)]
            outcomes = sandbox.run_all([Program(HONEST, "f", (Call(each),), limits=PATIENT) for each in numbers])
            assert [each.ended for each in outcomes] == ["done"] * 29
            assert [each.answers[0].value[0] for each in outcomes] == [x + y for x, y in numbers]
        assert settled(before) == before
