"""The example of coding, in small: what it prints is what happened."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bondhu.domains.coding.loading import load
from bondhu.domains.coding.testing import Judge
from bondhu.errors import SandboxUnavailable
from bondhu.sandbox.pool import open_sandbox
from examples.coding import __main__ as example
from examples.coding import playing
from examples.coding.playing import PHASE, draw, judged, practised


@pytest.fixture(autouse=True)
def jailed() -> None:
    try:
        open_sandbox(workers=1).close()
    except SandboxUnavailable as problem:
        pytest.skip(str(problem))


def test_every_module_has_a_bug_and_a_solution() -> None:
    tasks = load(example.MODULES)
    with open_sandbox() as sandbox:
        judge = Judge(sandbox, example.LIMITS)
        found = [judge.judge(task, task.source) for task in tasks]
        right = [judge.judge(task, task.solution or "") for task in tasks]
    assert len(tasks) == 13
    assert not any(each.solved for each in found)
    assert all(each.solved for each in right)


def test_the_session_runs_and_names_what_the_cheat_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "coding.png"
    words = f"example --executions 20 --bugs 1 --practise 0 --steps {PHASE} --episodes 16 --picture {picture}"
    monkeypatch.setattr("sys.argv", words.split())
    monkeypatch.setattr(playing, "JUDGED", PHASE)
    example.main()
    said = capsys.readouterr().out
    assert said.count("$ bondhu code run") == 3
    assert re.search(r"Learned from \d+ fixes, [1-7] of people's bugs", said)
    assert re.search(r"by heart +-3 +-5 +-5 +-13", said)
    assert "by heart, proven: special-cased inputs" in said
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_ppo_practises_with_masks_and_is_judged_on_what_it_has_not_seen(tmp_path: Path) -> None:
    tasks, rng = load(example.MODULES), np.random.default_rng(0)
    with open_sandbox(workers=1) as sandbox:
        policy, points = practised(tasks[:2], sandbox, PHASE, rng)
        share = judged(policy, tasks[2:4], sandbox, rng)
    draw(tmp_path / "curve.png", points, 0.0, 2)
    assert [point.steps for point in points] == [PHASE]
    assert 0.0 <= points[0].solved <= 1.0
    assert 0.0 <= share <= 1.0
    assert (tmp_path / "curve.png").stat().st_size > 1000
