"""How deep learners are compared with their peers: turns, threads, what is asked for, what is said of failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import pytest

from benchmarks import deep_speed
from benchmarks.deep_speed import Effort, Peer, Task
from benchmarks.report import Row


def test_all_have_a_turn_before_one_has_its_next_and_the_median_counts() -> None:
    heard: list[str] = []
    said = {"ours": iter([1.0, 9.0, 2.0]), "peer": iter([5.0, 3.0, 4.0])}

    def turn(name: str) -> float:
        heard.append(name)
        return next(said[name])

    found = deep_speed.in_turn({"ours": lambda: turn("ours"), "peer": lambda: turn("peer")}, Effort(3))
    assert heard == ["ours", "peer"] * 3
    assert found == {"ours": 2.0, "peer": 4.0}


def test_a_peer_keeps_the_number_of_threads_that_was_faster_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, asked = iter([10.0, 30.0, 20.0]), []
    monkeypatch.setattr(deep_speed, "told", lambda what, threads, *limit: asked.append(threads) or next(rates))
    peer = Peer({"library": "sb3"})
    assert [peer(), peer()] == [30.0, 20.0]
    assert asked == [1, 2, 2]


def test_two_threads_that_take_too_long_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(asked: object, threads: int, limit: float | None = None) -> float:
        if threads == 2:
            raise subprocess.TimeoutExpired("peer", limit or 0.0)
        return 10.0

    monkeypatch.setattr(deep_speed, "told", told)
    peer = Peer({"library": "sb3"})
    assert [peer(), peer(), peer.threads] == [10.0, 10.0, 1]


def test_what_was_promised_comes_first_and_only_presets_have_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_speed, "PEERS", "python")
    monkeypatch.setattr(deep_speed, "told", lambda what, threads, *limit: 100.0 * threads)
    monkeypatch.setattr(deep_speed, "by_preset", lambda task, seconds: 600.0)
    monkeypatch.setattr(deep_speed, "trained", lambda task, chosen, shape, seconds: 300.0)
    monkeypatch.setattr(deep_speed, "environment_share", lambda task, rate: rate / 1000)
    rows = deep_speed.compared(Task("one", "World", "one World", {"sb3": 2.5, "sbx": 4.0}, 1, 8), Effort(1))
    assert [(row.value, row.goal, row.holds, row.peer_value) for row in rows] == [
        (3.0, ">= 2.5", True, 200.0),
        (3.0, ">= 4", False, 200.0),
        (600.0, "", None, None),
        (1.5, "", None, 200.0),
        (1.5, "", None, 200.0),
        (300.0, "", None, None),
        (0.6, "", None, None),
    ]


def test_only_what_is_asked_for_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_speed, "ASKED", "sac|updates")
    monkeypatch.setattr(deep_speed, "compared", lambda task, effort: [Row(task.name, 1.0, "steps/s")])
    monkeypatch.setattr(deep_speed, "update_rows", lambda effort: [Row("updates", 2.0, "updates/s")])
    assert [row.name for row in deep_speed.measure(True)] == ["updates", "deep.sac on Pendulum-v1"]
    monkeypatch.setattr(deep_speed, "ASKED", "sacc")
    with pytest.raises(SystemExit, match=r"'sacc' matches none of: .*; deep.sac on Pendulum-v1; .*; GPU"):
        list(deep_speed.measure(True))


def test_a_peer_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "peer.py"
    script.write_text("raise SystemExit('No module named torch')", encoding="utf-8")
    monkeypatch.setattr(deep_speed, "PEERS", sys.executable)
    monkeypatch.setattr(deep_speed, "SCRIPT", script)
    with pytest.raises(RuntimeError, match=r"(?s)sb3.* ended with 1:.*No module named torch"):
        deep_speed.told({"library": "sb3"}, 1)


def test_a_peer_says_its_figure_on_the_last_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys; print('noise'); print(json.dumps({'per_second': json.loads(sys.argv[1])['threads'] * 10}))",
        encoding="utf-8",
    )
    monkeypatch.setattr(deep_speed, "PEERS", sys.executable)
    monkeypatch.setattr(deep_speed, "SCRIPT", script)
    assert deep_speed.told({"library": "sb3"}, 2) == 20.0


def test_phases_are_measured_on_both_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    device = jax.devices("cpu")[0]
    used: list[object] = []

    def seconds(*_: object) -> float:
        used.append(jax.config.jax_default_device)
        return 0.5

    monkeypatch.setattr(deep_speed, "phase_time", seconds)
    monkeypatch.setattr(deep_speed, "dqn_updates", lambda: 700.0)
    rows = deep_speed.side_by_side(device, device, Effort(1))
    assert [(row.value, row.peer_value, row.unit) for row in rows] == [
        (2.0, 2.0, "phases/s"),
        (700.0, 700.0, "updates/s"),
        (1024.0, 1024.0, "updates/s"),
    ]
    assert used == [device] * 4


def test_without_a_gpu_there_are_no_rows_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(platform: str) -> list[jax.Device]:
        raise RuntimeError(f"Unknown backend {platform}")

    monkeypatch.setattr(jax, "devices", none)
    assert deep_speed.device_rows(Effort(1)) == []
