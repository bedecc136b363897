"""When trainings happen: Monday at one, made up for when missed, and never two at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bondhu.errors import SettingsInvalid, TrainingInProgress
from bondhu.ports import Task
from bondhu.schedule.jobs import describe, is_due, scheduler, weekly
from bondhu.schedule.lock import only_one
from bondhu.server import make_scheduler
from tests.service.stand import NOW, Clock, opened

MONDAY = datetime(2025, 10, 6, 1, tzinfo=UTC).timestamp()
HOLDER = """
import sys
from pathlib import Path
from bondhu.schedule.lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_job_is_the_published_one_and_runs_next_on_monday_at_one(tmp_path: Path) -> None:
    jobs = describe(make_scheduler(opened(tmp_path)))
    assert [each["id"] for each in jobs] == ["rl_training", "watch"]
    assert jobs[0]["name"] == "Train RL recommendation model"
    assert jobs[0]["trigger"] == "cron[day_of_week='mon', hour='1']"
    following = datetime.fromisoformat(jobs[0]["next_run_time"])
    assert (following.weekday(), following.hour, following.minute, following.second) == (0, 1, 0, 0)
    assert timedelta(0) < following - datetime.now(UTC) <= timedelta(days=7)


def test_the_hour_is_the_one_of_the_time_zone() -> None:
    berlin = weekly("mon", 1, "Europe/Berlin")
    following = berlin.get_next_fire_time(None, datetime(2025, 10, 5, 12, tzinfo=UTC))
    assert following == datetime(2025, 10, 6, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert following.timestamp() == MONDAY - 2 * 3600


@pytest.mark.parametrize(("day", "zone"), [("moonday", "UTC"), ("mon", "Mars/Base"), ("mon", "../etc")])
def test_a_day_or_a_zone_that_there_is_not_is_one_error(day: str, zone: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"\[schedule\] cannot run on .*Europe/Berlin"):
        weekly(day, 1, zone)


def test_a_run_is_due_where_the_hour_passed_since_the_last_one() -> None:
    trigger = weekly("mon", 1, "UTC")
    assert is_due(trigger, MONDAY - 1, MONDAY)
    assert not is_due(trigger, MONDAY, MONDAY + 10)
    assert not is_due(trigger, MONDAY + 0.5, MONDAY + 7 * 86_400 - 1)
    assert is_due(trigger, MONDAY, MONDAY + 7 * 86_400)


@pytest.mark.parametrize(("days", "runs"), [(8, 1), (1, 0)])
def test_a_run_missed_while_nothing_was_up_is_made_up_for_at_the_start(tmp_path: Path, days: int, runs: int) -> None:
    app = opened(tmp_path, Clock(NOW))
    app.tasks.record(Task("rl_training", NOW - days * 86_400, "completed", 0, 0, 0.0, {}))
    jobs = make_scheduler(app)
    assert len(describe(jobs)) == 2 + runs  # with the watch
    done = threading.Event()
    jobs.add_listener(lambda _: done.set())
    jobs.start(paused=True)
    missed = jobs.get_job("rl_training_missed")
    assert (missed is not None) == bool(runs)
    if missed:
        assert missed.misfire_grace_time is None  # a slow start is no reason to leave it out
        assert missed.next_run_time <= datetime.now(UTC)
    jobs.shutdown()


def test_a_missed_run_really_runs_and_only_once() -> None:
    ran: list[float] = []
    jobs = scheduler(
        lambda: ran.append(time.monotonic()),
        day_of_week="mon",
        hour=1,
        timezone="UTC",
        last_run=MONDAY - 1,
        now=MONDAY + 86_400,
    )
    jobs.start()
    for _ in range(1000):
        if ran and jobs.get_job("rl_training_missed") is None:
            break
        time.sleep(0.01)
    jobs.shutdown()
    assert len(ran) == 1
    assert jobs.get_job("rl_training_missed") is None


def test_a_first_start_makes_up_for_nothing(tmp_path: Path) -> None:
    assert [job["id"] for job in describe(make_scheduler(opened(tmp_path)))] == ["rl_training", "watch"]


def test_another_process_holds_the_lock_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "train.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TrainingInProgress, match=f"Process {holder.pid} is training.*Wait for it"), only_one(path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with only_one(path):
        assert path.read_text() == str(os.getpid())


def test_a_training_that_meets_another_leaves_no_row(tmp_path: Path) -> None:
    app = opened(tmp_path)
    refused = pytest.raises(TrainingInProgress, match=f"Process {os.getpid()} is training")
    with only_one(tmp_path / "data" / "train.lock"), refused:
        app.train()
    assert app.tasks.recent("rl_training", 5) == []
    app.train()
    assert [task.status for task in app.tasks.recent("rl_training", 5)] == ["skipped"]


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), only_one(tmp_path / "lock"):
        raise RuntimeError
    with only_one(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
