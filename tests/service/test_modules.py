"""What the documentation runs as a module or through make: the demonstration, the benchmarks and the examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bondhu.app import open_app
from bondhu.registry import versions
from bondhu.settings import load
from tests.documents import ROOT, environment, free_port, wait_for

DATA = Path(os.environ.get("BONDHU_DATA", ROOT.parent / "shared" / "data"))
BUGS = all((DATA / name).exists() for name in ("humanevalpack_python", "mbpp"))
TOLD = (DATA / "debugbench_outcomes").exists()
ASKED = (DATA / "routellm").exists()
BENCHMARKS = (
    *(
        "bandit_quality",
        "bandit_speed",
        "coverage",
        "decide",
        "deep_quality",
        "deep_speed",
        "injected",
        "join",
        "learners",
        "ope",
    ),
    *("dashboard", "faults", "gateway", "pooling", "power_cut", "release", "replay", "sequential", "serving", "soak"),
    *("sandbox", "tabular", "tabular_quality", "testbed"),
    pytest.param("strategy", marks=pytest.mark.skipif(not TOLD, reason="no outcomes: set BONDHU_DATA to their folder")),
    pytest.param("router", marks=pytest.mark.skipif(not ASKED, reason="no questions: set BONDHU_DATA to their folder")),
    "strategies",
    pytest.param("repair", marks=pytest.mark.skipif(not BUGS, reason="no bugs: set BONDHU_DATA to their folder")),
)


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment(0), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_a_table_and_writes_its_rows(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    printed = run(f"benchmarks.{name}", "--quick", "--json", str(file))
    rows = json.loads(file.read_text(encoding="utf-8"))
    assert f"benchmarks.{name}" in printed
    assert rows
    for row in rows:
        assert {"name", "value", "unit", "peer", "peer_value", "goal", "holds"} <= set(row)
        assert row["value"] is not None or row["holds"] is not True  # what could not be measured holds nothing
    assert any(row["value"] is not None for row in rows)


def test_make_demo_runs_the_demonstration() -> None:
    steps = subprocess.run(
        ["make", "-n", "--no-print-directory", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert steps.rstrip().endswith("/bondhu demo")


def test_people_use_the_live_demonstration_and_say_what_they_think(tmp_path: Path) -> None:
    printed = run("bondhu", "demo", str(tmp_path / "demo"), "--live", "--port", "0", "--seconds", "4")
    assert "Watch it learn: http://127.0.0.1:" in printed
    app = open_app(load(tmp_path / "demo"))
    held = app.log.summary(app.domain.name)
    assert held.decisions >= 20  # who arrived at the first tick
    assert held.feedback > 0
    assert app.settings.dashboard.demo is True


def test_the_demonstration_beats_the_rule_and_leaves_a_picture_and_a_deployment(tmp_path: Path) -> None:
    printed = run("bondhu", "demo", str(tmp_path / "demo"), "--no-stay")
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line.startswith(("baseline", "learned "))}
    assert float(rows["learned"][2]) > float(rows["baseline"][2]) + 0.05
    app = open_app(load(tmp_path / "demo"))
    first, second, poisoned = (each.version for each in app.events() if each.kind == "added")
    stands = {each.version: each for each in versions(app.events())}
    assert (stands[first].status, stands[second].status) == ("retired", "live")
    assert "it surely loses" in stands[first].why
    assert (app.verdicts(poisoned)[-1].figures["decision"], stands[poisoned].status) == ("refuse", "candidate")
    assert [each.share for each in app.events() if each.kind == "tried" and each.version == second] == [0.1, 0.5, 1.0]
    assert {each.by for each in app.events() if each.kind in ("tried", "promoted", "withdrawn")} == {"release"}
    assert all(each.reason for each in app.events() if each.kind != "added")
    picture = (tmp_path / "demo" / "learning.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "bondhu", "serve", "-C", "demo"], cwd=tmp_path, env=environment(port)
    )
    try:
        wait_for(f"http://localhost:{port}/health", server)
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert "live" in run("bondhu", "status", "-C", str(tmp_path / "demo"))


@pytest.mark.skipif(
    not (DATA / "obd").exists(), reason="no Open Bandit Dataset: set BONDHU_DATA to the folder with obd/"
)
def test_the_open_bandit_example_agrees_with_what_the_uniform_policy_earned() -> None:
    printed = run("examples.open_bandit")
    assert "10,000 decisions, 46 clicks, 0 rows refused" in printed
    assert "Earned when the uniform policy really acted: 0.0046" in printed


@pytest.mark.skipif(not (DATA / "icu_sepsis").exists(), reason="no ICU-Sepsis model: set BONDHU_DATA to its folder")
def test_offline_q_learning_saves_more_patients_than_the_clinicians_did() -> None:
    printed = run("examples.icu_sepsis", "--seeds", "1")
    line = next(line for line in printed.splitlines() if "learned by Q-learning" in line)
    survival = next(float(word) for word in line.split() if word.startswith("0."))
    assert survival >= 0.85
