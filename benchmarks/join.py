"""How fast facts are logged, and how fast a million of them become a batch: `python -m benchmarks.join`."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete

from benchmarks.report import Row, main
from bondhu.domains.recommendation import TRAITS, domain
from bondhu.log.join import join, read_window
from bondhu.log.sqlite import SqliteLog
from bondhu.types import Decision, Feedback

START = 1.7e9  # seconds
GAP = 0.5  # seconds between decisions
SIGNALS = ("like", "dislike", "complete", "skip", "share")


def measure(quick: bool) -> list[Row]:
    """The full sizes of the promise, or a twenty-fifth of them."""
    decisions, feedback = (40_000, 64_000) if quick else (1_000_000, 1_600_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        appended = _append(path, decisions, feedback)
        seconds, grown, rows, mean = _apart(_ours, path)
        peer_seconds, peer_grown, peer_rows, peer_mean = _apart(_peer, path)
    if rows != decisions or rows != peer_rows or not np.isclose(mean, peer_mean):
        raise AssertionError(f"{rows} rows with mean {mean}, the peer {peer_rows} with {peer_mean}")
    share = decisions / 1_000_000
    peer = "sqlite3 and dictionaries"
    size = f"{decisions:,} decisions, {feedback:,} feedback"
    return [
        *appended,
        Row(f"log to batch: {size}", seconds, "s", f"<= {6 * share:g}", seconds <= 6 * share, peer, peer_seconds),
        Row("log to batch: memory grown by", grown, "MiB", "<= 1536", grown <= 1536, peer, peer_grown),
    ]


# ------------------------------------------------------------------------------------------------------------ appending


def _append(path: Path, decisions: int, feedback: int) -> list[Row]:
    """Build the log of the join, and time appends of one row and of a thousand on the way."""
    rng = np.random.default_rng(0)
    with SqliteLog(path) as log:
        thousand, chunk = [], 20_000
        for first in range(0, decisions, chunk):
            made = list(_decisions(first, chunk, rng))
            said = _feedback(made, feedback * chunk // decisions, rng)
            if first < 5 * chunk:
                thousand += [_timed(log.append, made[row : row + 1000]) for row in range(0, chunk, 1000)]
                log.append([], said)
            else:
                log.append(made, said)
    with SqliteLog(path.with_name("single.db")) as log:
        single = [_timed(log.append, [row]) for row in _decisions(0, 2000, rng)]
    flush = _fdatasync(path.with_name("flushed"))
    peer = _peer_append(path.with_name("peer.db"), list(_decisions(0, 20_000, rng)))
    best, rate = np.median(single), 1000 / np.median(thousand)
    return [
        Row("fdatasync of 4 KiB, p50", flush * 1e6, "µs"),
        # the promise of 200 µs is for a disk that flushes in 100 µs
        Row("append 1 decision, p50", best * 1e6, "µs", "<= 100 + fdatasync", bool(best <= 1e-4 + flush)),
        Row("append 1 decision, p99", float(np.quantile(single, 0.99)) * 1e6, "µs"),
        Row("append 1,000 at a time", rate, "decisions/s", ">= 100,000", bool(rate >= 1e5), "sqlite3", peer),
    ]


def _decisions(first: int, count: int, rng: np.random.Generator) -> Iterator[Decision]:
    """Uniform contexts and actions of 20,000 users; ids are UUIDv7 as production makes them."""
    choices = domain()
    fields = {name: rng.integers(0, 101, count).tolist() for name in TRAITS}
    for name, values in {
        "content_type": ("music", "video", "game"),
        "mood": ("neutral", "happy", "sad", "anxious", "calm"),
        "time_of_day": ("morning", "afternoon", "evening", "night"),
    }.items():
        fields[name] = [values[each] for each in rng.integers(0, len(values), count).tolist()]
    contexts = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    actions = rng.integers(0, len(choices.actions), count).tolist()
    users = rng.integers(0, 20_000, count).tolist()
    for row, (context, action, user) in enumerate(zip(contexts, actions, users, strict=True)):
        now = START + (first + row) * GAP
        yield Decision(
            *(_id(now, rng), choices.name, f"session-{user}", f"user-{user}", now, context, choices.actions),
            *(choices.actions[action], 1 / 27, (), "baseline", "live"),
        )


def _feedback(decisions: list[Decision], count: int, rng: np.random.Generator) -> list[Feedback]:
    rows = np.sort(rng.integers(0, len(decisions), count)).tolist()
    signals = rng.integers(0, len(SIGNALS), count).tolist()
    return [
        Feedback(_id(decisions[row].time + 60, rng), decisions[row].id, SIGNALS[signal], 1.0, decisions[row].time + 60)
        for row, signal in zip(rows, signals, strict=True)
    ]


def _id(now: float, rng: np.random.Generator) -> str:
    number = f"{int(now * 1000):012x}7{int(rng.integers(2**62)):019x}"
    return f"{number[:8]}-{number[8:12]}-{number[12:16]}-{number[16:20]}-{number[20:]}"


def _timed(call: Callable[[list[Decision]], None], rows: list[Decision]) -> float:
    began = time.perf_counter()
    call(rows)
    return time.perf_counter() - began


def _fdatasync(path: Path) -> float:
    """Median seconds; a log cannot be faster than its disk."""
    seconds = []
    with path.open("wb", buffering=0) as file:
        for _ in range(300):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def _peer_append(path: Path, decisions: list[Decision]) -> float:
    """Decisions a second through the standard library, with the same guarantees and one index."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE decision (id TEXT UNIQUE, domain, session, user, time, context, allowed, action, p, version)"
    )

    def add(rows: list[Decision]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (*each[:5], json.dumps(each.context), 1, each.action, each.probability, each.version)
                for each in rows
                if each.action in each.allowed and 0 < each.probability <= 1
            ],
        )
        connection.execute("COMMIT")

    seconds = [_timed(add, decisions[row : row + 1000]) for row in range(0, len(decisions), 1000)]
    connection.close()
    return float(1000 / np.median(seconds))


# -------------------------------------------------------------------------------------------------------------- joining

Outcome = tuple[float, int, float]  # seconds, rows, mean reward


def _apart(work: Callable[[Path], Outcome], path: Path) -> tuple[float, float, int, float]:
    """Seconds, MiB of memory that the work added at its peak, rows and mean reward: in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answers: SimpleQueue[Any] = context.SimpleQueue()
    process = context.Process(target=_answer, args=(work, path, answers))
    process.start()
    before, after, (seconds, rows, mean) = answers.get()
    process.join()
    return seconds, (after - before) / 1024, rows, mean


def _answer(work: Callable[[Path], Outcome], path: Path, answers: SimpleQueue[Any]) -> None:
    domain().encoder(MultiDiscrete)  # what any process has loaded already
    before = _peak()
    outcome = work(path)
    answers.put((before, _peak(), outcome))


def _peak() -> int:
    """Most KiB of memory held so far; `getrusage` would begin with what the parent process held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def _ours(path: Path) -> Outcome:
    began = time.perf_counter()
    with SqliteLog(path) as log:
        records = read_window(domain(), log, -np.inf, np.inf)
        batch = join(domain(), records, start=-np.inf, end=np.inf, observes=MultiDiscrete).batch
    return time.perf_counter() - began, len(batch), float(batch.reward.mean())


def _peer(path: Path) -> Outcome:
    """One pass over each table with a dictionary of rewards, as a script would: observations, rewards, sessions."""
    began = time.perf_counter()
    toy = domain()
    weights = {name: signal.weight for name, signal in toy.reward.signals.items()}
    codes: dict[str, dict[str, int]] = {"content_type": {}, "mood": {}, "time_of_day": {}}
    number = {name: row for row, name in enumerate(toy.actions)}
    connection = sqlite3.connect(path)
    rewards: dict[str, float] = {}
    for decision, signal, value in connection.execute("SELECT decision_id, signal, value FROM feedback"):
        rewards[decision] = rewards.get(decision, 0.0) + weights[signal] * value
    observation, action, reward = [], [], []
    last: dict[str, tuple[int, float]] = {}
    following: dict[int, int] = {}
    query = "SELECT id, session, time, context, action FROM decision ORDER BY time"
    for row, (id_, session, at, context, chosen) in enumerate(connection.execute(query)):
        fields = json.loads(context)
        observation.append(
            [min(int(fields[name] / 20), 4) for name in TRAITS]
            + [known.setdefault(fields[name], len(known)) for name, known in codes.items()]
        )
        action.append(number[chosen])
        reward.append(rewards.get(id_, toy.reward.default))
        before = last.get(session)
        if before is not None and at - before[1] < toy.idle:
            following[before[0]] = row
        last[session] = (row, at)
    connection.close()
    batch = np.array(observation), np.array(action), np.array(reward)
    return time.perf_counter() - began, len(batch[0]), float(batch[2].mean())


if __name__ == "__main__":
    main("join", measure)
