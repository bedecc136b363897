"""When trainings happen: Monday at one, made up for when missed, and never two at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bondhu.errors import SettingsInvalid, TrainingInProgress
from bondhu.log.lock import holder, only_one
from bondhu.ports import Task
from bondhu.schedule.jobs import describe, is_due, scheduler, weekly
from bondhu.server import keeping, make_scheduler
from bondhu.server.keeping import Keeper
from tests.service.postgres import own_cluster
from tests.service.stand import NOW, Clock, opened

MONDAY = datetime(2025, 10, 6, 1, tzinfo=UTC).timestamp()
HOLDER = """
import sys
from pathlib import Path
from bondhu.log.lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_job_is_the_published_one_and_runs_next_on_monday_at_one(tmp_path: Path) -> None:
    jobs = describe(make_scheduler(opened(tmp_path)))
    assert [each["id"] for each in jobs] == ["rl_training", "watch", "tidy"]
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
    assert len(describe(jobs)) == 3 + runs  # with the watch and what tidies up
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
    assert [job["id"] for job in describe(make_scheduler(opened(tmp_path)))] == ["rl_training", "watch", "tidy"]


def test_another_process_holds_the_lock_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "train.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(TrainingInProgress, match=f"Process {holder.pid} is at it already.*Wait for it"),
            only_one(path),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with only_one(path):
        assert path.read_text() == str(os.getpid())


def test_a_training_that_meets_another_leaves_no_row(tmp_path: Path) -> None:
    app = opened(tmp_path)
    refused = pytest.raises(TrainingInProgress, match=f"Process {os.getpid()} is at it already")
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


def test_one_keeper_leads_and_the_next_takes_over_when_it_stops(tmp_path: Path) -> None:
    first, second = Keeper(opened(tmp_path)), Keeper(opened(tmp_path))
    assert [first.lead(), second.lead(), first.lead(), second.lead()] == [True, False, True, False]
    first.stop()
    assert second.lead()
    assert not first.lead()
    second.stop()


def test_a_keeper_that_loses_its_lock_stops_and_another_one_leads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A lock in a database goes with the connection to it: the server is started anew."""
    with own_cluster() as cluster:
        apps = [opened(tmp_path / name, store={"log": cluster.address()}) for name in ("one", "two")]
        first, second = map(Keeper, apps)
        assert [first.lead(), second.lead(), first.lead()] == [True, False, True]
        running = first._scheduler
        assert running is not None
        cluster.stop()
        assert [first.lead(), first.lead(), second.lead()] == [False] * 3
        cluster.start()
        assert second.lead()
        assert not first.lead()
        eventually_ended(first)
        assert not running.running
        assert [each.message.count("right to run the schedule") for each in caplog.records].count(1) == 1
        second.stop()
        assert _tries(first.lead)
        first.stop()
        for app in apps:
            app.stores.close()


def eventually_ended(keeper: Keeper) -> None:
    assert keeper._ending is not None
    keeper._ending.join()


def _tries(what: Callable[[], bool]) -> bool:
    """Whether this comes true: the server may have yet to see that somebody has gone."""
    return any(what() for _ in range(1000))


def test_who_leads_everything_looks_again_every_few_seconds_whether_it_still_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    waits: list[float] = []
    monkeypatch.setattr(Keeper, "lead", lambda self: looks.append(0) or True)  # type: ignore[func-returns-value]  # None

    def stopped(seconds: float) -> bool:
        waits.append(seconds)
        return len(looks) == 50

    keeping.keep([opened(tmp_path)], stopped)
    assert len(looks) == 50
    assert set(waits) == {0.0, keeping.LOOK}
    assert keeping.LOOK <= 5.0


def test_a_keeper_waits_for_what_was_under_way_when_it_lost_its_lock(tmp_path: Path) -> None:
    keeper = Keeper(opened(tmp_path))
    assert keeper.lead()
    begun, may_end = threading.Event(), threading.Event()
    jobs = keeper._scheduler
    assert jobs is not None
    job = jobs.add_job(lambda: (begun.set(), may_end.wait()))
    begun.wait()
    while jobs.get_job(job.id):  # the scheduler's own thread is at it still
        pass
    keeper._holds = lambda: False
    assert [keeper.lead(), keeper.lead()] == [False, False]
    other = Keeper(opened(tmp_path))
    assert other.lead()
    other.stop()
    may_end.set()
    keeper.stop()


def test_a_keeper_that_cannot_run_its_schedule_lets_others_try(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Keeper(opened(tmp_path, schedule={"day_of_week": "moonday"}))
    assert [broken.lead(), broken.lead()] == [False, False]
    assert [each.message.count("moonday") for each in caplog.records] == [1]  # said once
    good = Keeper(opened(tmp_path))
    assert good.lead()
    good.stop()


def test_who_holds_a_lock_is_known_to_others_while_it_is_held(tmp_path: Path) -> None:
    assert holder(tmp_path / "lock") is None
    with only_one(tmp_path / "lock"):
        assert holder(tmp_path / "lock") == os.getpid()
    assert holder(tmp_path / "lock") is None
